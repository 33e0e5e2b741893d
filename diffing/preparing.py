"""From two files and some choices to a plan: what a person would otherwise do by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from diffing.dialects import DialectChoice
from diffing.errors import PlanError, SourceError
from diffing.grammar import SPACES
from diffing.plan import Choices, Plan, make_plan, spelled_in_two_ways
from diffing.records import BadLines
from diffing.sources import Column, Source, describe_columns, is_place, open_source, sample_rows

if TYPE_CHECKING:
    from diffing.keys import KeySuggestion

NO_KEY_THERE = (
    "Keys are not looked for in tables that only a cluster sees.",
    "Say which columns name their rows (--key A,B), or compare whole rows (--no-key).",
)


@runtime_checkable
class Cluster(Protocol):
    """What reads tables that this machine does not see."""

    def describe(self, location: str, workdir: Path, choice: DialectChoice, name: str | None = None) -> Source:
        """A table by its place, with a folder for a sample of it; without a name it is called by its place."""

    def matches_by_value(
        self, old: Source, new: Source, key: Sequence[str], *, workdir: Path, rename: Mapping[str, str], bad_lines: BadLines
    ) -> tuple[str, ...]:
        """See `keys.matches_by_value`."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan, and the key suggestion it rests on, if the user gave no key."""

    plan: Plan
    suggestion: KeySuggestion | None


def open_pair(
    old: Path | str,
    new: Path | str,
    *,
    workdir: Path,
    old_choice: DialectChoice = DialectChoice(),
    new_choice: DialectChoice = DialectChoice(),
    cluster: Cluster | None = None,
    presume: bool = False,
) -> tuple[Source, Source]:
    """Describe both files, at the same time. Files of the same name are called by their folders too.

    A text that is a place (see `is_place`) is described by the cluster. `presume` is told to `open_source`.
    """
    files = zip((old, new), _names(Path(old), Path(new)), (old_choice, new_choice), strict=True)

    def opened(place: Path | str, name: str, choice: DialectChoice) -> Source:
        if cluster and isinstance(place, str) and is_place(place):
            return cluster.describe(place, workdir, choice, name)
        if "://" in str(place):
            raise SourceError(f"{place} is no file on this machine.", "Give a CSV or Parquet file; a cluster's tables need --engine spark.")
        return open_source(place, workdir=workdir, choice=choice, name=name, presume=presume)

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(opened, *each) for each in files]
        return both[0].result(), both[1].result()


def _names(old: Path, new: Path) -> tuple[str, str]:
    """What two files are called: by the last parts of their paths, as many as tell them apart."""
    ends = ((Path(*old.parts[-n:]), Path(*new.parts[-n:])) for n in range(1, max(len(old.parts), len(new.parts)) + 1))
    a, b = next(((a, b) for a, b in ends if a != b), (Path(old.name), Path(new.name)))
    return str(a), str(b)


def prepare(
    old: Source, new: Source, choices: Choices, *, workdir: Path, keyless: bool = False, cluster: Cluster | None = None
) -> Prepared:
    """A plan by the user's choices; without a key, with the best verified suggestion.

    `keyless` says that the user wants whole rows compared. `cluster` is asked about what only it sees.

    Raises:
        PlanError: there is no key, and nothing suggests itself.
    """
    suggestion = None
    plan = make_plan(*typed_by_rules(old, new, choices), choices)
    if not choices.key and not keyless and plan.columns:
        suggestion = _best_key(plan.old, plan.new, choices, workdir)
        choices = replace(choices, key=suggestion.columns)
        plan = make_plan(plan.old, plan.new, choices)
    if choices.text or not spelled_in_two_ways(plan):
        return Prepared(plan, suggestion)
    from diffing.keys import matches_by_value  # takes a while

    names = tuple(pair.name for pair in plan.key)
    by_value = cluster.matches_by_value if cluster and (old.location or new.location) else matches_by_value
    widened = by_value(plan.old, plan.new, names, workdir=workdir, rename=choices.rename, bad_lines=choices.bad_lines)
    return Prepared(make_plan(plan.old, plan.new, choices, by_value=widened) if widened else plan, suggestion)


def typed_by_rules(old: Source, new: Source, choices: Choices) -> tuple[Source, Source]:
    """Both sources with the types that their cells have by the rules: null words are empty, and ignored spaces are not there."""
    if choices.text or not (choices.nulls or choices.ignore_space):
        return old, new
    return _typed(old, choices), _typed(new, choices)


def _typed(source: Source, choices: Choices) -> Source:
    if not source.columns:
        return source
    columns: list[Column] = []
    for column, cells in zip(source.columns, zip(*sample_rows(source), strict=True), strict=False):
        named = {column.name, choices.rename.get(column.name, column.name)}
        case, space = (each if isinstance(each, bool) else bool(named & {*each}) for each in (choices.ignore_case, choices.ignore_space))
        nulls = {word.lower() if case else word for word in choices.nulls}
        trimmed = [cell.strip(SPACES) if space else cell for cell in cells]
        known = [["" if (cell.lower() if case else cell) in nulls else cell] for cell in trimmed]
        columns += describe_columns([column.name], known)
    return replace(source, columns=tuple(columns) or source.columns)


def _best_key(old: Source, new: Source, choices: Choices, workdir: Path) -> KeySuggestion:
    if old.location or new.location:
        raise PlanError(*NO_KEY_THERE)
    from diffing.keys import suggest_keys  # takes a while

    found = suggest_keys(old, new, workdir=workdir, rename=choices.rename, ignore=choices.ignore)
    usable = [each for each in found if each.names_rows]
    if usable:
        return usable[0]
    raise PlanError(
        f"No column of {old.name} and {new.name}, nor up to six together, names their rows.",
        "Say which columns do (--key A,B), or compare whole rows (--no-key).",
    )
