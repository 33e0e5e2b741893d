"""The registry: comparisons with a name, each of an old and a new file, in a TOML file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import StrEnum
from os.path import normpath
from pathlib import Path, PureWindowsPath
from typing import Any

from diffing.dialects import DialectChoice
from diffing.errors import MetricError, PlanError, SourceError
from diffing.grammar import ColumnType
from diffing.plan import Choices, EngineName, Tolerance, parse_tolerance
from diffing.records import BadLines
from diffing.sources import URL, is_place

DialectOverrides = Mapping[str, Any]
"""Fields of a `DialectChoice` to text, number or flag; those not named are found from the file."""

_ID = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Metric:
    """An entry of the registry: two files and how to compare them."""

    id: str
    """Letters, digits, - and _: it is part of addresses."""
    title: str
    """What people call it; the id when the registry gives none."""
    description: str
    """May be empty."""
    old: Path
    """Where the old file should be; see `check_files`."""
    new: Path
    choices: Choices
    """Without a key, rows are compared whole."""
    old_dialect: DialectOverrides
    """What the registry says about the spelling of the old file."""
    new_dialect: DialectOverrides
    folder: Path
    """The folder of the registry; both files are inside, unless links lead out of it."""
    urls: Mapping[str, str] = field(default_factory=dict)
    """Sides that are at a URL, which a cluster reads; their paths mean nothing."""
    engine: EngineName | None = None
    """What compares; None: what the server or the command line uses."""

    def place(self, side: str) -> Path | str:
        """Where the "old" or "new" file is: a path, or what only a cluster reads (see `is_place`)."""
        path: Path = {"old": self.old, "new": self.new}[side]
        if side in self.urls:
            return self.urls[side]
        return str(path) if self.engine is EngineName.SPARK and is_place(str(path)) else path

    def shown(self, side: str) -> str:
        """The path of the "old" or "new" file as people write it in the registry."""
        if side in self.urls:
            return self.urls[side]
        path: Path = {"old": self.old, "new": self.new}[side]
        return path.relative_to(self.folder).as_posix()

    @property
    def missing(self) -> tuple[str, ...]:
        """Which of "old" and "new" is not there."""
        places = ((side, self.place(side)) for side in ("old", "new"))
        return tuple(side for side, place in places if isinstance(place, Path) and not place.is_file())

    def check_files(self) -> None:
        """Make sure that both files are there.

        Raises:
            MetricError: one is not; the message names it as the registry does.
        """
        for side in self.missing:
            raise MetricError(
                f"The {side} file of the metric “{self.id}” is not there: {self.shown(side)}.",
                f"Put it there, or correct “{side}” of this metric in the registry.",
            )


def load_metrics(path: str | Path) -> dict[str, Metric]:
    """Read a registry: its metrics by id, in the order of the file.

    The files of the metrics are not looked at.

    Raises:
        MetricError: the registry is missing or no TOML, or an entry says something that can't be.
    """
    path = Path(path).absolute()
    entries = _parse(_read(path), path.name)
    return {id_: _metric(id_, entry, path) for id_, entry in entries.items()}


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise MetricError(f"There is no registry {path.name}.", "Create it, or say where it is.") from error
    except OSError as error:
        raise MetricError(f"{path.name} can't be read: {error.strerror}.", "Check that it is a file and may be read.") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise MetricError(f"{path.name} is not UTF-8 in line {line}.", "Save it as UTF-8.") from error


def _parse(text: str, file: str) -> dict[str, Any]:
    import tomllib  # takes a while, and only those who look into the registry need it

    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError says the line; an endless integer is another ValueError
        hint = "Correct the line. Texts stand in double quotes, lists in [ ], tables in { }."
        raise MetricError(f"{file} is no TOML: {error}.", hint) from error


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in a registry something is said, for messages."""

    file: str
    metric: str
    field: str = ""

    def error(self, what: str, hint: str) -> MetricError:
        return MetricError(f"{self.file}: in the metric “{self.metric}”, “{self.field}” {what}.", hint)

    def wrong(self, value: object, right: str, hint: str) -> MetricError:
        return self.error(f"must be {right}, not {_in_words(value)}", hint)

    def within(self, name: str) -> _Place:
        return replace(self, field=f"{self.field}.{name}" if self.field else name)

    def refuse_unknown(self, entry: Iterable[str], known: Iterable[str]) -> None:
        for name in entry:
            if name not in known:
                raise self.within(name).error("is no field", _nearest(name, known))


def _in_words(value: object) -> str:
    """A value of a TOML file as a person wrote it."""
    words: dict[type, Callable[[Any], str]] = {
        str: lambda text: f"“{text}”",
        bool: lambda flag: str(flag).lower(),
        list: lambda _: "a list",
        dict: lambda _: "a table",
    }
    return words.get(type(value), str)(value)


def _nearest(name: str, known: Iterable[str]) -> str:
    """A hint with the names there are, the one that was meant first."""
    near = get_close_matches(name.lower(), known, n=1)
    meant = f"Did you mean “{near[0]}”? " if near else ""
    return meant + "The fields are " + ", ".join(known) + "."


def _text(value: object, place: _Place) -> str:
    if not isinstance(value, str):
        raise place.wrong(value, "a text", f'Write {place.field} = "…".')
    return value


def _texts(value: object, place: _Place) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise place.wrong(value, "a list of texts", f'Write {place.field} = ["…"].')
    for each in value:
        if not isinstance(each, str):
            raise place.wrong(each, "a list of texts alone", "Write each of them in quotes.")
    return tuple(value)


def _flag(value: object, place: _Place) -> bool:
    if not isinstance(value, bool):
        raise place.wrong(value, "true or false", f"Write {place.field} = true, without quotes.")
    return value


def _whole(value: object, place: _Place) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise place.wrong(value, "a whole number", f"Write {place.field} = 1, without quotes.")
    return value


def _flag_or_texts(value: object, place: _Place) -> bool | tuple[str, ...]:
    if not isinstance(value, bool | list):
        raise place.wrong(value, "true, false or a list of columns", f'Write {place.field} = true, or = ["…"].')
    return value if isinstance(value, bool) else _texts(value, place)


def _table(value: object, place: _Place) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise place.wrong(value, "a table", f'Write {place.field} = {{ name = "…" }}.')
    return value


def _path(value: object, place: _Place) -> str:
    """A path inside the registry's folder, as text, or a URL. Links are followed later and may lead out."""
    text = _text(value, place)
    if URL.match(text):
        return text
    there = PureWindowsPath(normpath(text))  # reads / and \ alike, and knows drives
    if not text or "\0" in text:
        raise place.error("is no path", "Write the path of a file, relative to the folder of the registry.")
    if there.root or there.drive or ".." in there.parts:
        hint = "Write a path relative to the folder of the registry, and keep the file inside it."
        raise place.error(f"leaves the folder of the registry: “{text}”", hint)
    return normpath(text)


def _tolerance(value: object, place: _Place) -> Tolerance:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise place.wrong(value, "a tolerance", 'Write it as "0.01", "1e-6" or "0.1%".')
    try:
        return parse_tolerance(str(value))
    except PlanError as error:
        raise place.wrong(value, "a tolerance", error.hint) from error


def _date_format(value: object, place: _Place) -> str:
    text = _text(value, place)
    if "%" not in text:
        raise place.wrong(text, "a date format", 'Write one such as "%d.%m.%Y".')
    return text


def _date_formats(value: object, place: _Place) -> dict[str, str]:
    """How the dates of one column are spelled: side to strptime format. One format is for both sides."""
    if not isinstance(value, dict):
        return dict.fromkeys(("old", "new"), _date_format(value, place))
    place.refuse_unknown(value, ("old", "new"))
    return {side: _date_format(form, place.within(side)) for side, form in value.items()}


_DIALECT: dict[str, Callable[[object, _Place], Any]] = {
    "delimiter": _text,
    "quote": _text,
    "encoding": _text,
    "header": _flag,
    "skip_rows": _whole,
    "skip_after_header": _whole,
}


def _dialect(value: object, place: _Place) -> DialectOverrides:
    table = _table(value, place)
    place.refuse_unknown(table, _DIALECT)
    said = {name: _DIALECT[name](each, place.within(name)) for name, each in table.items()}
    try:
        DialectChoice(**said)
    except SourceError as error:
        raise place.error(f"can't be used: {error.message.rstrip('.')}", error.hint) from error
    return said


def _one_of(words: type[StrEnum]) -> Callable[[object, _Place], StrEnum]:
    listed = ", ".join(f'"{word}"' for word in words)

    def read(value: object, place: _Place) -> StrEnum:
        if value not in list(words):
            raise place.wrong(value, f"one of {listed}", "Write one of these words, in quotes.")
        return words(str(value))

    return read


def _each(read: Callable[[object, _Place], Any]) -> Callable[[object, _Place], dict[str, Any]]:
    """Reads a table of columns to something."""

    def read_table(value: object, place: _Place) -> dict[str, Any]:
        return {name: read(each, place.within(name)) for name, each in _table(value, place).items()}

    return read_table


_CHOICES: dict[str, Callable[[object, _Place], Any]] = {
    "key": _texts,
    "ignore": _texts,
    "rename": _each(_text),
    "tolerances": _each(_tolerance),
    "ignore_case": _flag_or_texts,
    "ignore_space": _flag_or_texts,
    "null_words": _texts,
    "types": _each(_one_of(ColumnType)),
    "date_formats": _each(_date_formats),
    "text": _flag,
    "bad_lines": _one_of(BadLines),
}
"""The fields of an entry that become `Choices`."""

_FIELDS: dict[str, Callable[[object, _Place], Any]] = {
    "title": _text,
    "description": _text,
    "old": _path,
    "new": _path,
    **_CHOICES,
    "old_dialect": _dialect,
    "new_dialect": _dialect,
    "engine": _one_of(EngineName),
}


def _metric(id_: str, entry: object, registry: Path) -> Metric:
    place = _Place(registry.name, id_)
    said = _said(_checked_entry(entry, place), place)
    urls = {side: said[side] for side in ("old", "new") if URL.match(said[side])}
    for side, url in urls.items():
        if said.get("engine") is not EngineName.SPARK:
            raise place.within(side).error(
                f"is a URL, which only Spark reads: “{url}”", 'Write engine = "spark" too, or the path of a file.'
            )
    return Metric(
        id=id_,
        title=said.get("title", id_),
        description=said.get("description", ""),
        old=registry.parent / said["old"],
        new=registry.parent / said["new"],
        choices=_choices({name: said[name] for name in _CHOICES if name in said}),
        old_dialect=said.get("old_dialect", {}),
        new_dialect=said.get("new_dialect", {}),
        engine=said.get("engine"),
        folder=registry.parent,
        urls=urls,
    )


def _checked_entry(entry: object, place: _Place) -> dict[str, Any]:
    """An entry that is a table with a proper id."""
    if not isinstance(entry, dict):
        hint = f"Write it under the [name] of its metric, or write [{place.metric}] once."
        raise MetricError(f"{place.file}: “{place.metric}” is no metric but {_in_words(entry)}.", hint)
    if not _ID.fullmatch(place.metric):
        hint = "Use letters without accents, digits, - and _ only, at least one."
        raise MetricError(f"{place.file}: a metric can't be called “{place.metric}”.", hint)
    return entry


def _said(entry: Mapping[str, Any], place: _Place) -> dict[str, Any]:
    """What an entry says, field by field, read and checked."""
    place.refuse_unknown(entry, _FIELDS)
    for side in ("old", "new"):
        if side not in entry:
            raise place.within(side).error("is missing", f'Write {side} = "path/to/the/{side}/file.csv".')
    return {name: _FIELDS[name](value, place.within(name)) for name, value in entry.items()}


def _choices(said: dict[str, Any]) -> Choices:
    formats = said.pop("date_formats", {})
    nulls = said.pop("null_words", ())
    old, new = ({name: form[side] for name, form in formats.items() if side in form} for side in ("old", "new"))
    return Choices(**said, nulls=nulls, old_formats=old, new_formats=new)
