"""Plans and other frozen data as JSON and back, so that they outlive the process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from diffing.errors import StoreError
from diffing.plan import PLAN_VERSION, Plan


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """A plan as plain data, with the version of what plans mean."""
    return {"version": PLAN_VERSION, "plan": to_plain(plan)}


def plan_from_json(data: Mapping[str, Any]) -> Plan:
    """The plan that was written.

    Raises:
        StoreError: it was written by another version, or is damaged.
    """
    if data.get("version") != PLAN_VERSION:
        raise StoreError("This result was made by another version of the program.", "Compare again.")
    return cast(Plan, from_plain(Plan, data.get("plan")))


def to_plain(value: Any) -> Any:
    """Frozen data as dicts, lists, texts and numbers, the same after a round trip through JSON."""
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(each) for each in value]
    return str(value) if isinstance(value, Path | StrEnum) else value


def from_plain(kind: Any, data: Any) -> Any:
    """Data of a type (a dataclass, or what one is made of) from what `to_plain` made of it.

    Raises:
        StoreError: the data are not of this type.
    """
    try:
        return _read(kind, data)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"What was stored is no {getattr(kind, '__name__', kind)}.", "Compare again.") from error


def _read(kind: Any, data: Any) -> Any:
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _read(_chosen(inside, data), data)
    if origin is tuple:
        return tuple(_read(inside[0], each) for each in data)
    if origin is not None and issubclass(origin, Mapping):
        return {name: _read(inside[1], each) for name, each in data.items()}
    if is_dataclass(kind):
        hints = _hints(cast(type, kind))
        return cast(Any, kind)(**{name: _read(hints[name], each) for name, each in data.items()})
    if kind is Path or (isinstance(kind, type) and issubclass(kind, StrEnum)):
        return kind(data)
    if isinstance(kind, type) and not isinstance(data, (int, float) if kind is float else kind):
        raise TypeError(f"{data!r} is no {kind.__name__}")
    return data


def _chosen(kinds: tuple[Any, ...], data: Any) -> Any:
    """Which of several types the data are of: none, a list, or the one that is left."""
    if data is None and type(None) in kinds:
        return type(None)
    many = [kind for kind in kinds if get_origin(kind) is tuple]
    if isinstance(data, list) and many:
        return many[0]
    left = [kind for kind in kinds if kind is not type(None) and kind not in many]
    return next((kind for kind in left if type(data) is kind), left[0])


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
