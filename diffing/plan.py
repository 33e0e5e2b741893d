"""What to compare, decided before anything runs.

A plan is data: no engine, no open file, no clock. It says everything a result depends on, so its
fingerprint names the result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from functools import cached_property

from diffing.errors import ColumnNotFound, PlanError
from diffing.grammar import SPELLED_IN_TWO_WAYS, ColumnType, Shape, is_number
from diffing.naming import unique_names
from diffing.records import BadLines
from diffing.sources import Column, Source

PLAN_VERSION = 2
"""Part of every fingerprint: raise it when the same plan would give another result, or one that is stored in another way."""


class EngineName(StrEnum):
    """What may carry out a plan. The answer is the same."""

    DUCKDB = "duckdb"
    """The embedded engine."""
    SPARK = "spark"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far apart two numbers may be and still be the same.

    `absolute` is in the column's own unit, `relative` a fraction of the larger magnitude (0.01 is
    one percent). Either is enough. Both zero: numbers are compared exactly.
    """

    absolute: float = 0.0
    relative: float = 0.0

    def __post_init__(self) -> None:
        for value in (self.absolute, self.relative):
            if not 0 <= value < float("inf"):
                raise PlanError(f"A tolerance must be zero or more, not {value}.", "Give a number such as 0.01.")


DEFAULT_TOLERANCE = Tolerance(relative=1e-9)
"""What number columns get when the user says nothing; only where a cell has a non-zero fraction."""


def parse_tolerance(text: str) -> Tolerance:
    """A tolerance as people write it: "0.01" in the column's own unit, "0.1%" of the larger number.

    Raises:
        PlanError: the text is neither, or below zero.
    """
    number = text.strip().removesuffix("%").rstrip()
    if not is_number(number) or float(number) < 0:
        raise PlanError(
            f"“{text}” is no tolerance.",
            "Write a distance such as 0.01 or 1e-6 with a decimal point, a share such as 0.1%, or 0 for exactly.",
        )
    if "%" in text:
        return Tolerance(relative=abs(float(Decimal(number) / 100)))
    return Tolerance(absolute=abs(float(number)))


@dataclass(frozen=True, slots=True)
class ColumnPair:
    """One column of the old file and one of the new, compared under one name.

    `old` and `new` are positions in the files, from 0.
    """

    name: str
    old: int
    new: int
    type: ColumnType = ColumnType.TEXT
    """TEXT: no rule for numbers or dates. Inside the other types each pair of cells decides."""
    tolerance: Tolerance | None = None
    """None: the default rule of number columns (see DEFAULT_TOLERANCE)."""
    ignore_case: bool = False
    ignore_space: bool = False
    """Ignore surrounding blanks, tabs and no-break spaces; what is trimmed to nothing is null."""
    nulls: tuple[str, ...] = ()
    """Texts that mean null."""
    old_format: str | None = None
    """How dates of the old file may be spelled (strptime), beside ISO 8601 as in `grammar`."""
    new_format: str | None = None
    by_value: bool = False
    """For key columns: match numbers or dates by value, not as text."""

    @property
    def widened(self) -> bool:
        """Whether two different texts can match in this column as a key."""
        rules = (self.ignore_case, self.ignore_space, self.nulls, self.by_value)
        return any(rules) or bool(self.old_format or self.new_format)


@dataclass(frozen=True)
class Plan:
    """Two sources, the key that matches their rows, and the columns to compare."""

    old: Source
    new: Source
    key: tuple[ColumnPair, ...]
    """Empty: there is no key; rows are compared whole, as multisets, without tolerances."""
    columns: tuple[ColumnPair, ...]
    """The compared columns, in the order of the new file; the key is not among them."""
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()
    columns_renamed: Mapping[str, str] = field(default_factory=dict)
    """Old name to new name."""
    columns_ignored: tuple[str, ...] = ()
    bad_lines: BadLines = BadLines.REFUSE
    notes: tuple[str, ...] = ()
    """What a person should know about how the plan was made, such as a widened key."""

    @cached_property
    def fingerprint(self) -> str:
        """Thirty-two hex digits: the same question about the same files has the same."""
        asked = {
            "version": PLAN_VERSION,
            "old": self.old.identity,
            "new": self.new.identity,
            "key": [asdict(pair) for pair in self.key],
            "columns": [asdict(pair) for pair in self.columns],
            "reported": [self.columns_added, self.columns_removed, dict(self.columns_renamed), self.columns_ignored],
            "bad_lines": self.bad_lines,
        }
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def pairs(self) -> tuple[ColumnPair, ...]:
        """Key and compared columns, in this order."""
        return self.key + self.columns


@dataclass(frozen=True)
class Choices:
    """What a user may decide about a comparison. The empty one leaves all to the defaults.

    Columns are named as in the new file (or the old one, for those the new one lacks). For
    `ignore_case` and `ignore_space`, True means every column, the key's too.
    """

    key: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    """Old name to new name."""
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    ignore_case: bool | tuple[str, ...] = False
    ignore_space: bool | tuple[str, ...] = False
    nulls: tuple[str, ...] = ()
    """Words that mean an empty cell, in every column."""
    column_nulls: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Column name to words that mean an empty cell in this one too."""
    types: Mapping[str, ColumnType] = field(default_factory=dict)
    old_formats: Mapping[str, str] = field(default_factory=dict)
    """Column name to the strptime format of its dates in the old file."""
    new_formats: Mapping[str, str] = field(default_factory=dict)
    text: bool = False
    """Compare all cells as text: no numbers or dates by value, no tolerance."""
    bad_lines: BadLines = BadLines.REFUSE


def make_plan(old: Source, new: Source, choices: Choices = Choices(), *, by_value: Iterable[str] = ()) -> Plan:
    """Pair the columns of two sources and decide how each pair is compared.

    `by_value` names key columns that were found to hold the same numbers or dates in two
    spellings (`keys.matches_by_value` finds them).

    Raises:
        ColumnNotFound: a name in `choices` is no column.
        PlanError: no column in common, a name used twice, or choices that contradict each other.
    """
    old, new = _adopt(old, new)
    pairing = _pair_columns(old, new, choices.rename)
    if not pairing:
        raise PlanError(
            f"{old.name} and {new.name} have no column in common.",
            "Check the delimiter and the header of both files, or say which columns were renamed.",
        )
    names = _Names(pairing, old, new)
    key = names.all_of(choices.key, "a key", once=True)
    ignored = names.all_of(choices.ignore, "a column to ignore", paired=False)
    if both := [name for name in key if name in ignored]:
        raise PlanError(f"“{both[0]}” is named both as a key and as a column to ignore.", "Take it out of one of the two.")
    if pairing and set(pairing) <= {*ignored, *key} and not key:
        raise PlanError("All columns that both files have are ignored.", "Leave at least one to compare.")
    _refuse_contradictions(choices)
    rules = _rules(choices, names)
    widened = set(names.all_of(tuple(by_value), "a key"))
    pairs = {
        name: _ruled(ColumnPair(name, i, j, type=_common_type(old.columns[i], new.columns[j])), choices, rules, name in widened)
        for name, (i, j) in pairing.items()
    }
    used_old, used_new = ({at[side] for at in pairing.values()} for side in (0, 1))
    plan = Plan(
        old,
        new,
        key=tuple(pairs[name] for name in key),
        columns=tuple(pair for name, pair in pairs.items() if name not in key and name not in ignored),
        columns_added=tuple(c.name for j, c in enumerate(new.columns) if j not in used_new and c.name not in ignored),
        columns_removed=tuple(c.name for i, c in enumerate(old.columns) if i not in used_old and c.name not in ignored),
        columns_renamed={old.columns[i].name: name for name, (i, _) in pairing.items() if old.columns[i].name in choices.rename},
        columns_ignored=ignored,
        bad_lines=choices.bad_lines,
    )
    return replace(plan, notes=tuple(_notes(plan)))


def spelled_in_two_ways(plan: Plan) -> list[ColumnPair]:
    """The key columns that, by their samples, may hold the same numbers or dates in two spellings."""
    return [pair for pair in plan.key if shapes_of(plan, pair) in SPELLED_IN_TWO_WAYS]


def shapes_of(plan: Plan, pair: ColumnPair) -> frozenset[Shape]:
    """What the cells of a column look like in both files."""
    return frozenset({plan.old.columns[pair.old].shape, plan.new.columns[pair.new].shape})


def _adopt(old: Source, new: Source) -> tuple[Source, Source]:
    """An empty file is a table of no rows, with the columns of the other (or one, if both are empty)."""
    if not old.columns and not new.columns:
        one = (Column("column 1", ColumnType.TEXT, Shape.EMPTY),)
        return replace(old, columns=one), replace(new, columns=one)
    if not old.columns:
        return replace(old, columns=new.columns), new
    if not new.columns:
        return old, replace(new, columns=old.columns)
    return old, new


def _pair_columns(old: Source, new: Source, rename: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Output name to the positions in both files, in the order of the new file."""
    if not (old.has_header and new.has_header):
        return _pair_by_position(old, new)
    at = {column.name: i for i, column in enumerate(old.columns)}
    there = {column.name for column in new.columns}
    for before, after in rename.items():
        if before not in at:
            raise ColumnNotFound.among(before, at, use="the old name of a renamed column")
        if after not in there:
            raise ColumnNotFound.among(after, there, use="the new name of a renamed column")
    if len(set(rename.values())) < len(rename):
        raise PlanError("Two columns are renamed to the same name.", "Give each its own new name.")
    origin = {after: before for before, after in rename.items()}
    free = {name for name in at if name not in rename}
    found = {}
    for j, column in enumerate(new.columns):
        name = origin.get(column.name, column.name)
        if name in free or column.name in origin:
            found[column.name] = (at[name], j)
    return found


def _pair_by_position(old: Source, new: Source) -> dict[str, tuple[int, int]]:
    shared = min(len(old.columns), len(new.columns))
    named = old if old.has_header else new
    names = unique_names([column.name for column in named.columns[:shared]])
    return {name: (i, i) for i, name in enumerate(names)}


class _Names:
    """The names a user may say: those of the pairs, and of columns on one side only."""

    def __init__(self, pairing: Mapping[str, tuple[int, int]], old: Source, new: Source) -> None:
        self.pairs = {name: name for name in pairing}
        for name, (i, j) in pairing.items():
            self.pairs.setdefault(new.columns[j].name, name)
            self.pairs.setdefault(old.columns[i].name, name)
        self.single = {c.name: c.name for c in (*new.columns, *old.columns) if c.name not in self.pairs}
        self.shown = list(pairing)

    def one(self, name: str, use: str, *, paired: bool = True) -> str:
        known = self.pairs if paired else self.single | self.pairs
        if name in known:
            return known[name]
        if paired and name in self.single:
            raise PlanError(
                f"“{name}” can't be used as {use}: only one of the files has it.",
                "Say which column it was renamed from or to, or choose another.",
            )
        raise ColumnNotFound.among(name, self.shown, use=use)

    def all_of(self, names: tuple[str, ...], use: str, *, paired: bool = True, once: bool = False) -> tuple[str, ...]:
        found = [self.one(name, use, paired=paired) for name in names]
        if once and (twice := [name for name in found if found.count(name) > 1]):
            raise PlanError(f"“{twice[0]}” is named twice as {use}.", "Name each column once.")
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class _Rules:
    """The choices about single columns, by output name."""

    tolerances: Mapping[str, Tolerance]
    types: Mapping[str, ColumnType]
    old_formats: Mapping[str, str]
    new_formats: Mapping[str, str]
    case: frozenset[str]
    space: frozenset[str]
    nulls: Mapping[str, tuple[str, ...]]


def _rules(choices: Choices, names: _Names) -> _Rules:
    every = frozenset(names.shown)

    def columns(choice: bool | tuple[str, ...], use: str) -> frozenset[str]:
        if isinstance(choice, bool):
            return every if choice else frozenset()
        return frozenset(names.all_of(choice, use))

    return _Rules(
        tolerances={names.one(n, "a column with a tolerance"): t for n, t in choices.tolerances.items()},
        types={names.one(n, "a column with a type"): t for n, t in choices.types.items()},
        old_formats={names.one(n, "a date column"): f for n, f in choices.old_formats.items()},
        new_formats={names.one(n, "a date column"): f for n, f in choices.new_formats.items()},
        case=columns(choices.ignore_case, "a column that ignores case"),
        space=columns(choices.ignore_space, "a column that ignores spaces"),
        nulls={names.one(n, "a column with words that mean empty"): words for n, words in choices.column_nulls.items()},
    )


def _refuse_contradictions(choices: Choices) -> None:
    if choices.text and choices.tolerances:
        raise PlanError("A tolerance can't be used when all cells are compared as text.", "Leave out one of the two.")
    if choices.text and (choices.old_formats or choices.new_formats):
        raise PlanError("A date format can't be used when all cells are compared as text.", "Leave out one of the two.")


def _common_type(old: Column, new: Column) -> ColumnType:
    """The type both sides have; a side with only empty cells agrees to any."""
    if old.shape is Shape.EMPTY:
        return new.type
    if new.shape is Shape.EMPTY:
        return old.type
    return old.type if old.type is new.type else ColumnType.TEXT


def _ruled(pair: ColumnPair, choices: Choices, rules: _Rules, by_value: bool) -> ColumnPair:
    name = pair.name
    old_format, new_format = rules.old_formats.get(name), rules.new_formats.get(name)
    type_ = rules.types.get(name, pair.type)
    if old_format or new_format:
        type_ = rules.types.get(name, ColumnType.DATE)
        if type_ is not ColumnType.DATE:
            raise PlanError(f"“{name}” has a date format, but its type was set to {type_}.", "Leave out one of the two.")
    if name in rules.tolerances:
        type_ = rules.types.get(name, ColumnType.NUMBER)
        if type_ is not ColumnType.NUMBER:
            raise PlanError(f"“{name}” has a tolerance, but its type was set to {type_}.", "Leave out one of the two.")
    if choices.text:
        type_ = ColumnType.TEXT
    return replace(
        pair,
        type=type_,
        tolerance=rules.tolerances.get(name),
        ignore_case=name in rules.case,
        ignore_space=name in rules.space,
        nulls=tuple(dict.fromkeys((*choices.nulls, *rules.nulls.get(name, ())))),
        old_format=old_format,
        new_format=new_format,
        by_value=by_value and not choices.text,
    )


def _notes(plan: Plan) -> Iterable[str]:
    if not plan.key:
        yield "There is no key: rows are compared whole, and tolerances are not applied."
    for pair in plan.key:
        if pair.tolerance is not None:
            yield f"The tolerance of “{pair.name}” is not applied: it is a key column, and keys match exactly."
        said = []
        if pair.by_value:
            said.append(f"{pair.type}s by value")
        if pair.ignore_case:
            said.append("ignoring case")
        if pair.ignore_space:
            said.append("ignoring surrounding spaces")
        if pair.nulls:
            said.append("with " + ", ".join(f"“{word}”" for word in pair.nulls) + " meaning empty")
        if pair.old_format or pair.new_format:
            said.append("dates in the named format")
        if said:
            yield f"Rows match in the key column “{pair.name}” " + ", ".join(said) + "."
    if plan.old.has_header != plan.new.has_header:
        bare = plan.new if plan.old.has_header else plan.old
        yield f"{bare.name} seems to have no header, so columns were paired by position."
    for source, other in ((plan.old, plan.new), (plan.new, plan.old)):
        if above := source.dialect.skip_rows:
            yield f"{above:,} {'line' if above == 1 else 'lines'} above the table of {source.name} left out."
        if source.size == 0:
            yield f"{source.name} is empty: a table of no rows with the columns of {other.name}."
