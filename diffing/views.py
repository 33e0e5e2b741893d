"""Questions to a result, answered as small tables.

A result is one Parquet file (see `result`); a question reads the columns it needs, and of the rows
of a page only those. Names of columns never reach SQL, and values are bound.
"""

from __future__ import annotations

import calendar
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, NamedTuple

import duckdb

from diffing import grammar
from diffing.engines.duckdb import DUCKDB
from diffing.errors import ColumnNotFound, DiffError, EngineError, PlanError
from diffing.grammar import ColumnType
from diffing.locked import connected
from diffing.plan import ColumnPair, Plan
from diffing.result import Cell, Change, Result
from diffing.sql import Sql, old_cell, old_key

PAGE_SIZE = 200
MOST_VALUES = 30
"""Values that `by_value` names; the rest is counted together."""
MOST_FACETS = 40
"""Columns that are looked at closely for `facets`."""
NUMBER_SIGNS = frozenset("0123456789+-.eE")
MOST_SEARCHES = 8
"""Searches whose rows are remembered, at nine bytes each."""
FEW_HITS = 10_000
"""Rows that are looked up by their places rather than searched for again."""
FEW_ROWS = 5_000
"""Row groups smaller than this say nothing about how many values a column has."""
WIDE_SPAN = 1_000
"""A distribution whose largest change is this many times a small one gets logarithmic bins."""
BUCKETS = {"day": 100, "week": 731, "month": 9_200}
"""The longest span, in days, that is counted in these; longer ones are counted by year."""
MEMORY_LIMIT = "1GB"
DIFFERING = (Change.ADDED, Change.REMOVED, Change.CHANGED)
"""The fates of the rows in a result."""


# --- what can be asked ---------------------------------------------------------------------------


class Test(StrEnum):
    """What a condition asks of a cell."""

    EQUALS = "equals"
    """It is one of the values, to the character."""
    CONTAINS = "contains"
    """One of the values occurs in it, in upper or lower case."""
    BETWEEN = "between"
    """From the first value to the second, both included; an empty one is open.

    Numbers and dates go by value in columns of their type, other text by its bytes. A day as the
    upper bound is included whole.
    """
    NULL = "null"
    NOT_NULL = "not_null"


@dataclass(frozen=True, slots=True)
class Condition:
    """A test that the old or the new cell of a key or compared column must pass.

    An added row has no old cell and a removed row no new one, so these are not null either.

    Raises:
        PlanError: the values don't suit the test.
    """

    column: str
    """The output name of the pair."""
    test: Test
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        suits = {
            Test.EQUALS: bool(self.values) and all(self.values),
            Test.CONTAINS: bool(self.values) and all(self.values),
            Test.BETWEEN: len(self.values) == 2 and any(self.values),
        }
        if not self.column or not suits.get(self.test, not self.values):
            raise PlanError(f"The condition on “{self.column}” lacks its values.", "Say what to look for.")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows of a result are meant: those for which every part holds. The empty one means all."""

    changes: tuple[Change, ...] = ()
    """Any of these fates; empty: all."""
    changed_columns: tuple[str, ...] = ()
    """In any of these columns the row changed; empty: no matter."""
    search: str = ""
    """Text that occurs in any cell, old or new, in upper or lower case."""
    conditions: tuple[Condition, ...] = ()
    change_at_least: tuple[str, str] | None = None
    """Number column and the least absolute size of its change; cells without a change have no size."""
    change_at_most: tuple[str, str] | None = None
    change_between: tuple[str, str, str] | None = None
    """Number column and its signed change: from (included), below (not included); 0 is no change."""

    def to_query(self) -> dict[str, str]:
        """The filter as values for the query part of a URL (still to be percent-encoded)."""
        parts = {
            "fate": _joined(self.changes),
            "changed": _joined(self.changed_columns),
            "find": self.search,
            "where": _NEXT.join(_joined((each.column, each.test, *each.values)) for each in self.conditions),
            "least": _joined(self.change_at_least or ()),
            "most": _joined(self.change_at_most or ()),
            "step": _joined(self.change_between or ()),
        }
        return {name: text for name, text in parts.items() if text}

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Filter:
        """The filter that a URL names. What is unknown or broken is left out."""
        texts = {name: text for name, text in query.items() if isinstance(text, str)}
        fates = _split(texts.get("fate", ""))
        where = texts.get("where", "")
        return cls(
            changes=tuple(fate for fate in DIFFERING if fate in fates),
            changed_columns=tuple(dict.fromkeys(filter(None, _split(texts.get("changed", ""))))),
            search=texts.get("find", ""),
            conditions=tuple(filter(None, map(_condition, where.split(_NEXT)))),
            change_at_least=_two(_sizes(texts.get("least", ""))),
            change_at_most=_two(_sizes(texts.get("most", ""))),
            change_between=_three(_sizes(texts.get("step", ""))),
        )

    def fitting(self, plan: Plan) -> Filter:
        """The filter without the parts for which this plan has no column."""
        return replace(
            self,
            changed_columns=tuple(name for name in self.changed_columns if _fits(plan, Filter(changed_columns=(name,)))),
            conditions=tuple(each for each in self.conditions if _fits(plan, Filter(conditions=(each,)))),
            change_at_least=self.change_at_least if _fits(plan, Filter(change_at_least=self.change_at_least)) else None,
            change_at_most=self.change_at_most if _fits(plan, Filter(change_at_most=self.change_at_most)) else None,
            change_between=self.change_between if _fits(plan, Filter(change_between=self.change_between)) else None,
        )

    def narrowed(self, by: Filter) -> Filter:
        """This filter with what another one says: conditions add up, the rest takes its place."""
        more = tuple(each for each in by.conditions if each not in self.conditions)
        said = {name: value for name in self.__slots__ if (value := getattr(by, name))}
        return replace(self, **{**said, "conditions": self.conditions + more})


class By(StrEnum):
    """What rows are ordered by."""

    KEY = "key"
    """The order of the output; no column is named."""
    OLD = "old"
    NEW = "new"
    CHANGE_SIZE = "size"
    """The absolute size of a number's change; in other columns, whether the cell changed."""


@dataclass(frozen=True, slots=True)
class Order:
    """How rows are ordered. Cells that are not there come last either way; ties keep the output order."""

    column: str | None = None
    by: By = By.KEY
    descending: bool = False

    def to_query(self) -> dict[str, str]:
        """The order as a value for the query part of a URL; nothing for the order of the output."""
        if self == Order():
            return {}
        return {"sort": _joined((self.column or "", self.by, "desc" if self.descending else "asc"))}

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Order:
        """The order that a URL names; that of the output if it names none."""
        text = query.get("sort", "")
        column, by, way, *_ = [*_split(text if isinstance(text, str) else ""), "", "", ""]
        if by not in tuple(By) or (by != By.KEY) != bool(column):
            return cls()
        return cls(column or None, By(by), way == "desc")

    def fitting(self, plan: Plan) -> Order:
        """This order, or that of the output if the plan has no such column."""
        return self if self.column is None or self.column in _columns(plan) else Order()


_ITEM, _NEXT, _TILDE = "~_", "~-", "~."
"""Between items of a list, between lists, and for `~` itself; no text holds one of them unescaped."""


def _joined(items: Iterable[str]) -> str:
    return _ITEM.join(item.replace("~", _TILDE) for item in items)


def _split(text: str) -> list[str]:
    return [item.replace(_TILDE, "~") for item in text.split(_ITEM)]


def _condition(text: str) -> Condition | None:
    try:
        column, test, *values = _split(text)
        return Condition(column, Test(test), tuple(values))
    except (ValueError, PlanError):
        return None


def _sizes(text: str) -> list[str]:
    """A column and the numbers after it; nothing if any of them is no number."""
    column, *numbers = _split(text)
    return [column, *numbers] if column and all(map(grammar.is_number, numbers)) else []


def _two(items: Sequence[str]) -> tuple[str, str] | None:
    return (items[0], items[1]) if len(items) == 2 else None


def _three(items: Sequence[str]) -> tuple[str, str, str] | None:
    return (items[0], items[1], items[2]) if len(items) == 3 else None


def _fits(plan: Plan, part: Filter) -> bool:
    try:
        _where(Sql(plan, DUCKDB), part)
    except DiffError:
        return False
    return True


# --- what is answered ----------------------------------------------------------------------------


class CellPair(NamedTuple):
    """The cells of a row in one column."""

    old: str | None
    new: str | None
    code: Cell | None
    """None: key cells whose texts differ and match by a rule."""
    change: str | None = None
    """Number columns: new − old in plain decimal notation; None if a cell does not read."""


@dataclass(frozen=True, slots=True)
class Row:
    """A differing row, or the columns of it that were asked for."""

    position: int
    """Where it is in the output order, from 0; it names the row for `row`."""
    change: Change
    key: tuple[CellPair, ...]
    cells: tuple[CellPair, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, and the columns that are shown of them."""

    number: int
    """From 1; a page beyond the last has no rows."""
    size: int
    key: tuple[str, ...]
    """Names of the key columns, as in `Row.key`."""
    columns: tuple[str, ...]
    """Names of the compared columns, as in `Row.cells`."""
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Fates:
    """Rows by fate."""

    added: int = 0
    removed: int = 0
    changed: int = 0

    @property
    def total(self) -> int:
        return self.added + self.removed + self.changed


class FacetKind(StrEnum):
    """What question a column suits."""

    TIME = "time"
    """`over_time`"""
    VALUES = "values"
    """`by_value`"""


@dataclass(frozen=True, slots=True)
class Facet:
    """A column that tells where the changes are."""

    column: str
    kind: FacetKind


@dataclass(frozen=True, slots=True)
class ValueCounts:
    """Rows by a column's value. A row whose cell changed counts under its old and its new value."""

    column: str
    values: tuple[tuple[str | None, Fates], ...]
    """The most frequent values first; None is the empty cell."""
    others: int
    """How many values there are besides."""
    other: Fates
    """The rows of these, each counted once per value."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A stretch of time and the rows in it."""

    first: date
    last: date
    """Included."""
    fates: Fates


@dataclass(frozen=True, slots=True)
class TimeCounts:
    """Rows by time. A row whose cell changed counts in the buckets of its old and its new value."""

    column: str
    unit: str
    """day, week (from Monday), month or year."""
    buckets: tuple[Bucket, ...]
    """In order; those without rows are left out."""
    undated: Fates
    """Rows with a cell that is empty or no date."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Changes from `low` (included) to `high` (not included), as plain decimals."""

    low: str
    high: str
    count: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """How large the changes of a number column are, in changed rows. Changes by zero are not counted."""

    column: str
    bins: tuple[Bin, ...]
    """From the lowest to the highest, without gaps; zero is an edge if both signs occur."""
    logarithmic: bool
    """Whether the bins grow with the distance from zero."""
    whole: bool
    """Whether all changes are whole numbers; then no bin is narrower than 1."""
    unreadable: int
    """Cells that changed from or to what is no number."""

    @property
    def decreases(self) -> int:
        return sum(each.count for each in self.bins if Decimal(each.low) < 0)

    @property
    def increases(self) -> int:
        return sum(each.count for each in self.bins if Decimal(each.low) >= 0)


# --- questions -----------------------------------------------------------------------------------


def count(result: Result, filter: Filter = Filter()) -> dict[Change, int]:
    """Rows by fate, of those the filter means."""
    if filter == Filter():
        return {change: getattr(result.summary, change) for change in DIFFERING}
    if filter.search:
        return _hits(_Searched(result, filter)).count()
    asked = _Question(result)
    found = dict(asked.fetch(f"SELECT change, count(*) FROM {asked.rows} WHERE {asked.where(filter)} GROUP BY change"))
    return {change: found.get(change, 0) for change in DIFFERING}


def page(
    result: Result,
    filter: Filter = Filter(),
    order: Order = Order(),
    number: int = 1,
    size: int = PAGE_SIZE,
    columns: Literal["changed", "all"] | Sequence[str] = "changed",
) -> Page:
    """Some rows of those the filter means; the first page has number 1.

    `columns`: all compared columns, those named, or "changed": those that changed in any row of the
    result or that the filter or the order names (all if there are none).
    """
    shown = _shown(result, filter, order, columns)
    rows = _rows_at(result, positions(result, filter, order, number, size), shown)
    return Page(number, size, _names(result.plan.key), _names(each.pair for each in shown), tuple(rows))


def positions(result: Result, filter: Filter = Filter(), order: Order = Order(), number: int = 1, size: int = PAGE_SIZE) -> list[int]:
    """Where the rows of a page are in the output order."""
    first = (max(number, 1) - 1) * size
    if filter == Filter() and order.by is By.KEY:
        every = range(result.summary.differing_rows)
        return list((every[::-1] if order.descending else every)[first : first + size])
    hits = _hits(_Searched(result, filter)).positions.tolist() if filter.search else None
    if hits is not None and order == Order():
        return list(hits[first : first + size])
    asked = _Question(result)
    few = hits is not None and len(hits) <= FEW_HITS
    where = f"file_row_number IN (SELECT unnest({asked.bind(hits)}::BIGINT[]))" if few else asked.where(filter)
    # The rows of a file come in its order, and without ORDER BY the scan ends with the last row of the page.
    ordering = "" if order == Order() else f"ORDER BY {_ordering(asked.sql, order)}"
    found = asked.fetch(
        f"SELECT file_row_number FROM {asked.rows} WHERE {where} {ordering} LIMIT {asked.bind(size)} OFFSET {asked.bind(first)}"
    )
    return [position for (position,) in found]


def row(result: Result, position: int) -> Row | None:
    """All columns of one row, old beside new; None if there is no such row."""
    return next(_rows_at(result, [position], _compared(result.plan)), None)


def changed_by_column(result: Result, filter: Filter = Filter()) -> dict[str, int]:
    """Cells that differ, by compared column, in the changed rows the filter means."""
    names = _names(result.plan.columns)
    if filter == Filter():
        return dict(zip(names, (each.changed for each in result.summary.columns), strict=True))
    counts = [0] * len(names)
    asked = _Question(result)
    for codes, rows in asked.fetch(f"SELECT codes, count(*) FROM {asked.rows} WHERE {asked.where(filter)} GROUP BY codes"):
        at = codes.find(Cell.DIFFERS)
        while at >= 0:
            counts[at] += rows
            at = codes.find(Cell.DIFFERS, at + 1)
    return dict(zip(names, counts, strict=True))


def facets(result: Result, max_values: int = 50) -> tuple[Facet, ...]:
    """The columns by which changes can be grouped: dates, and those with two to so many values.

    Keys come first. Of wide results only the first columns that seem to suit are looked at.
    """
    if not result.summary.differing_rows:
        return ()
    columns = list(_columns(result.plan).values())
    suiting = _with_few_values(result, columns, max_values)
    dates = [each for each in columns if each.pair.type is ColumnType.DATE]
    return tuple(
        Facet(each.pair.name, FacetKind.TIME if each in dates else FacetKind.VALUES) for each in columns if each in dates + suiting
    )


def by_value(result: Result, column: str, filter: Filter = Filter()) -> ValueCounts:
    """Rows by the value of a key or compared column: the thirty most frequent, and the others.

    Each count is that of the rows for which "column equals value" holds.
    """
    asked = _Question(result)
    each = _column(result.plan, column, "a grouping")
    found = asked.fetch(
        f"WITH pairs AS ({asked.pairs(each, filter)}), seen AS ({_seen('o', 'n')}),"
        f" grouped AS (SELECT value, {_FATES} FROM seen GROUP BY value),"
        " ranked AS (SELECT *, row_number() OVER (ORDER BY added + removed + changed DESC, value NULLS FIRST) AS rank FROM grouped)"
        f" SELECT rank > {MOST_VALUES} AS other, CASE WHEN rank <= {MOST_VALUES} THEN value END AS shown,"
        " sum(added), sum(removed), sum(changed), count(*) FROM ranked GROUP BY other, shown ORDER BY min(rank)"
    )
    named = tuple((value, Fates(*map(int, fates))) for other, value, *fates, _ in found if not other)
    others, other = next(((values, Fates(*map(int, fates))) for is_other, _, *fates, values in found if is_other), (0, Fates()))
    return ValueCounts(column, named, others, other)


def over_time(result: Result, column: str, filter: Filter = Filter()) -> TimeCounts:
    """Rows per day, week, month or year of a date column, as the span asks.

    Each count is that of the rows for which "column between first and last" holds.

    Raises:
        PlanError: the column is not one of dates.
    """
    asked = _Question(result)
    each = _column(result.plan, column, "a time")
    if each.pair.type is not ColumnType.DATE:
        raise PlanError(f"“{column}” is no date column.", "Choose one of dates, or set its type and compare again.")
    old, new = _day(asked.sql, "o", each.pair, each.pair.old_format), _day(asked.sql, "n", each.pair, each.pair.new_format)
    long = "".join(f" WHEN days <= {most} THEN '{unit}'" for unit, most in BUCKETS.items())
    found = asked.fetch(
        f"WITH texts AS ({asked.pairs(each, filter)}),"
        f" days AS (SELECT {old} AS o, {new} AS n, change, rows FROM texts),"
        " span AS (SELECT greatest(max(o), max(n)) - least(min(o), min(n)) AS days FROM days),"
        f" unit AS (SELECT CASE{long} ELSE 'year' END AS unit FROM span),"
        " pairs AS (SELECT date_trunc(unit, o)::DATE AS o, date_trunc(unit, n)::DATE AS n, change, rows FROM days, unit),"
        f" seen AS ({_seen('o', 'n')})"
        f" SELECT (FROM unit), value, {_FATES} FROM seen GROUP BY value ORDER BY value NULLS FIRST"
    )
    unit = found[0][0] if found else "day"
    buckets = tuple(Bucket(day, _last(day, unit), Fates(*map(int, fates))) for _, day, *fates in found if day)
    undated = next((Fates(*map(int, fates)) for _, day, *fates in found if day is None), Fates())
    return TimeCounts(column, unit, buckets, undated)


def distribution(result: Result, column: str, filter: Filter = Filter()) -> Distribution:
    """How large the changes of a number column are, in the changed rows the filter means.

    Raises:
        PlanError: the column is not one of numbers.
    """
    asked = _Question(result)
    each = _number_column(result.plan, column)
    within = f"FROM {asked.rows} WHERE {asked.where(filter)} AND {_differs(each)}"
    size = f"TRY_CAST({each.stem}_change AS DOUBLE)"
    ((low, high, small, whole, unreadable),) = asked.fetch(
        "SELECT min(x), max(x), quantile_disc(abs(x), 0.05), bool_and(x = trunc(x)), count(*) FILTER (WHERE x IS NULL)"
        f" FROM (SELECT nullif({size}, 0) AS x, {size} IS NULL OR {size} <> 0 AS counts {within}) WHERE counts"
    )
    if low is None:
        return Distribution(column, (), False, False, unreadable)
    edges, logarithmic = _edges(low, high, small, whole)
    return Distribution(column, tuple(_bins(asked, edges, f"SELECT {size} AS x {within}")), logarithmic, whole, unreadable)


def _bins(asked: _Question, edges: Sequence[Decimal], changes: str) -> Iterator[Bin]:
    """Counts between edges; `histogram` includes upper bounds, so numbers are turned around."""
    bounds = asked.bind([-float(edge) for edge in reversed(edges[:-1])])
    ((found,),) = asked.fetch(f"SELECT histogram(-x, {bounds}::DOUBLE[]) FROM ({changes}) WHERE x <> 0")
    counts = [found.get(-float(edge), 0) for edge in edges[:-1]]
    filled = [i for i, each in enumerate(counts) if each]
    for i in range(filled[0], filled[-1] + 1):
        yield Bin(_plain(edges[i]), _plain(edges[i + 1]), counts[i])


def largest_changes(result: Result, column: str, most: int = 10, filter: Filter = Filter()) -> Page:
    """The rows, of any fate, in which a number changed most; the largest first."""
    _number_column(result.plan, column)
    found = page(result, filter, Order(column, By.CHANGE_SIZE, descending=True), size=most, columns=(column,))
    return replace(found, rows=tuple(each for each in found.rows if Decimal(each.cells[0].change or 0)))


# --- searches ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Searched:
    """A filter with a search of a result, whose folder tells it from all others."""

    result: Result = field(compare=False)
    filter: Filter
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", self.result.folder)


@dataclass(frozen=True, slots=True)
class _Hits:
    """The rows that a search found."""

    positions: Any
    """Where they are in the output order, ascending; an array of whole numbers."""
    fates: Any
    """Their fates as places in DIFFERING; an array likewise."""

    def count(self) -> dict[Change, int]:
        return {change: int((self.fates == place).sum()) for place, change in enumerate(DIFFERING)}


@lru_cache(maxsize=MOST_SEARCHES)
def _hits(searched: _Searched) -> _Hits:
    """All rows that a search finds: reading every cell takes long, and the counts and each page need the same."""
    asked = _Question(searched.result)
    fates = " ".join(f"WHEN '{change}' THEN {place}" for place, change in enumerate(DIFFERING))
    found = asked.arrays(
        f"SELECT file_row_number AS position, (CASE change {fates} END)::UTINYINT AS fate"
        f" FROM {asked.rows} WHERE {asked.where(searched.filter)} ORDER BY position"
    )
    return _Hits(found["position"], found["fate"])


# --- columns -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    """A key or compared column as SQL sees it."""

    plan: Plan
    pair: ColumnPair
    is_key: bool
    at: int
    """Its place in `plan.key` or `plan.columns`."""

    @property
    def stem(self) -> str:
        return f"{'k' if self.is_key else 'c'}{self.at}"

    @property
    def cells(self) -> tuple[str, ...]:
        """SQL for the old and the new cell; for one cell if both always hold the same text."""
        if self.is_key and not self.pair.widened:
            return self.stored
        return self.items[0], self.items[1]

    @property
    def stored(self) -> tuple[str, ...]:
        """The same for whether something holds of one of the cells: an old one that is the same text as the new one is not read."""
        if self.is_key and not self.pair.widened:
            return (f"coalesce({self.stem}_old, {self.stem}_new)",)
        return f"{self.stem}_old", f"{self.stem}_new"

    @property
    def items(self) -> list[str]:
        """SQL for what makes a `CellPair`."""
        has_change = not self.is_key and self.pair.type is ColumnType.NUMBER
        return [
            (old_key if self.is_key else old_cell)(self.plan, self.at),
            f"{self.stem}_new",
            *([f"{self.stem}_change"] if has_change else []),
        ]


def _columns(plan: Plan) -> dict[str, _Column]:
    return {pair.name: _Column(plan, pair, True, i) for i, pair in enumerate(plan.key)} | {each.pair.name: each for each in _compared(plan)}


def _compared(plan: Plan) -> list[_Column]:
    return [_Column(plan, pair, False, i) for i, pair in enumerate(plan.columns)]


def _names(pairs: Iterable[ColumnPair]) -> tuple[str, ...]:
    return tuple(pair.name for pair in pairs)


def _column(plan: Plan, name: str, use: str, *, compared: bool = False) -> _Column:
    known = {name: each for name, each in _columns(plan).items() if not (compared and each.is_key)}
    if name not in known:
        raise ColumnNotFound.among(name, known, use=use)
    return known[name]


def _number_column(plan: Plan, name: str) -> _Column:
    column = _column(plan, name, "a column with changes", compared=True)
    if column.pair.type is not ColumnType.NUMBER:
        raise PlanError(f"“{name}” is no number column, so its changes have no size.", "Choose a column of numbers.")
    return column


def _shown(result: Result, filter: Filter, order: Order, columns: Literal["changed", "all"] | Sequence[str]) -> list[_Column]:
    every = _compared(result.plan)
    if columns == "all":
        return every
    if columns != "changed":
        return [_column(result.plan, name, "a column to show", compared=True) for name in columns]
    sized = (filter.change_at_least, filter.change_at_most, filter.change_between)
    named = {order.column, *filter.changed_columns, *(c.column for c in filter.conditions), *(each[0] for each in sized if each)}
    named |= {each.name for each in result.summary.columns if each.changed}
    return [each for each in every if each.pair.name in named] or every


def _with_few_values(result: Result, columns: Sequence[_Column], most: int) -> list[_Column]:
    """Those of two to so many values that are no dates; the file's own statistics leave out most others."""
    asked = _Question(result)
    unfit = asked.fetch(
        f"SELECT DISTINCT path_in_schema FROM parquet_metadata({asked.file})"
        f" WHERE row_group_num_rows >= {FEW_ROWS} AND coalesce(stats_null_count, 0) < num_values"
        f" AND (NOT contains(encodings, 'DICTIONARY') OR stats_distinct_count > {asked.bind(most)})"
    )
    stems = {name.rpartition("_")[0] for (name,) in unfit}
    likely = [each for each in columns if each.stem not in stems and each.pair.type is not ColumnType.DATE][:MOST_FACETS]
    if not likely:
        return []
    values = (f"coalesce({', '.join(reversed(each.cells))})" for each in likely)
    asked = _Question(result)
    counts = asked.fetch(f"SELECT {', '.join(f'approx_count_distinct({value})' for value in values)} FROM {asked.rows}")[0]
    return [each for each, n in zip(likely, counts, strict=True) if 2 <= n <= most]


# --- rows ----------------------------------------------------------------------------------------


def _rows_at(result: Result, wanted: Sequence[int], columns: Sequence[_Column]) -> Iterator[Row]:
    """The rows at these positions, in the order given."""
    if not wanted:
        return
    asked = _Question(result)
    every = [*(each for each in _columns(result.plan).values() if each.is_key), *columns]
    items = ", ".join(["file_row_number", "change", "codes", *(item for each in every for item in each.items)])
    low, high, listed = asked.bind(min(wanted)), asked.bind(max(wanted)), asked.bind(list(wanted))
    rows = asked.rows_between(min(wanted), max(wanted))
    found = asked.fetch(
        f"SELECT {items} FROM {rows} WHERE file_row_number BETWEEN {low} AND {high} AND file_row_number IN (SELECT unnest({listed}))"
    )
    by_position = {values[0]: values for values in found}
    build = _row_builder(every, len(result.plan.key))
    yield from (build(by_position[position]) for position in wanted if position in by_position)


def _row_builder(columns: Sequence[_Column], keys: int) -> Callable[[Sequence[Any]], Row]:
    """What makes a `Row` of the values of one; made once per page."""
    codes = {code.value: code for code in Cell}
    places, at = [], 3
    for each in columns:
        places.append((at, at + 2 if len(each.items) == 3 else None, each.at))
        at += len(each.items)

    def build(values: Sequence[Any]) -> Row:
        change = Change(values[1])
        key = tuple(_key_pair(values[at], values[at + 1], change) for at, _, _ in places[:keys])
        cells = tuple(
            CellPair(values[at], values[at + 1], codes[values[2][place]], None if sized is None else values[sized])
            for at, sized, place in places[keys:]
        )
        return Row(values[0], change, key, cells)

    return build


def _key_pair(old: str | None, new: str | None, change: Change) -> CellPair:
    if change is not Change.CHANGED:
        return CellPair(old, new, Cell.ALONE)
    return CellPair(old, new, Cell.SAME_TEXT if old == new else None)


def _ordering(sql: Sql, order: Order) -> str:
    way = "DESC" if order.descending else "ASC"
    if order.column is None or order.by is By.KEY:
        return f"file_row_number {way}"
    column = _column(sql.plan, order.column, "an order")
    if order.by is By.CHANGE_SIZE:
        return f"{_size(column)} {way} NULLS LAST, file_row_number"
    cell = column.cells[0] if order.by is By.OLD else column.cells[-1]
    value = _ordered(sql, cell, column.pair, column.pair.old_format if order.by is By.OLD else column.pair.new_format)
    return f"{cell} IS NULL, {value} {way} NULLS LAST, file_row_number"


def _ordered(sql: Sql, cell: str, pair: ColumnPair, format_: str | None) -> str:
    """What cells are ordered by: numbers by value, dates in a format of their own likewise, others as text."""
    if pair.type is ColumnType.NUMBER:
        return f"nullif(TRY_CAST({cell} AS DOUBLE), 'nan'::DOUBLE)"
    return _instant(sql, cell, pair, format_) if pair.type is ColumnType.DATE and format_ else cell


def _size(column: _Column) -> str:
    """How much a cell changed; where sizes make no sense, 1 if it changed."""
    if not column.is_key and column.pair.type is ColumnType.NUMBER:
        return f"abs(TRY_CAST({column.stem}_change AS DOUBLE))"
    return "0" if column.is_key else f"CASE WHEN {_differs(column)} THEN 1 ELSE 0 END"


# --- filters as SQL ------------------------------------------------------------------------------


def _where(sql: Sql, filter: Filter, readable: Collection[str] = ()) -> str:
    """SQL for the filter. `readable`: number columns of which every cell is known to read as a number."""
    return " AND ".join(f"({part})" for part in _parts(sql, filter, readable)) or "TRUE"


def _parts(sql: Sql, filter: Filter, readable: Collection[str]) -> Iterator[str]:
    if filter.changes:
        yield f"change IN ({', '.join(sql.bind(change.value) for change in filter.changes)})"
    if filter.changed_columns:
        columns = (_column(sql.plan, name, "a changed column", compared=True) for name in filter.changed_columns)
        yield " OR ".join(map(_differs, columns))
    if filter.search:
        searched = (each for each in _columns(sql.plan).values() if not _lacks(each, filter.search, readable))
        yield " OR ".join(_contains(sql, each.stored, filter.search) for each in searched) or "FALSE"
    for each in filter.conditions:
        yield _holds(sql, _column(sql.plan, each.column, "a condition"), each, readable)
    yield from _size_parts(sql, filter)


def _lacks(column: _Column, text: str, readable: Collection[str]) -> bool:
    """Whether a text has what no cell of a column has: it holds only numbers, as they are written."""
    pair = column.pair
    return pair.name in readable and not (pair.ignore_space or pair.nulls) and not set(text) <= NUMBER_SIGNS


def _size_parts(sql: Sql, filter: Filter) -> Iterator[str]:
    if filter.change_at_least:
        change, size = _change(sql, *filter.change_at_least)
        yield f"{change} <> 0 AND abs({change}) >= {size}"
    if filter.change_at_most:
        change, size = _change(sql, *filter.change_at_most)
        yield f"{change} <> 0 AND abs({change}) <= {size}"
    if filter.change_between:
        change, low, high = _change(sql, *filter.change_between)
        yield f"{change} <> 0 AND {change} >= {low} AND {change} < {high}"


def _differs(column: _Column) -> str:
    return f"substr(codes, {column.at + 1}, 1) = '{Cell.DIFFERS}'"


def _contains(sql: Sql, cells: Iterable[str], text: str) -> str:
    """Whether a text occurs in any of the cells; text without letters is found faster."""
    if text.lower() == text.upper():
        return " OR ".join(f"contains({cell}, {sql.bind(text)})" for cell in cells)
    return " OR ".join(f"contains(lower({cell}), lower({sql.bind(text)}))" for cell in cells)


def _change(sql: Sql, name: str, *sizes: str) -> list[str]:
    """SQL for the change of a column and for the numbers it is held against."""
    column = _number_column(sql.plan, name)
    return [f"TRY_CAST({column.stem}_change AS DOUBLE)", *(sql.bind(_number(size)) for size in sizes)]


def _number(text: str) -> float:
    if not grammar.is_number(text):
        raise PlanError(f"“{text}” is no number.", "Write it with digits and a point, such as 12.5.")
    return float(text)


def _holds(sql: Sql, column: _Column, condition: Condition, readable: Collection[str]) -> str:
    match condition.test:
        case Test.EQUALS:
            values = ", ".join(map(sql.bind, condition.values))
            return " OR ".join(f"{cell} IN ({values})" for cell in column.stored)
        case Test.CONTAINS:
            return " OR ".join(_contains(sql, column.stored, value) for value in condition.values)
        case Test.BETWEEN:
            return " OR ".join(f"({test})" for test in _between(sql, column, *condition.values, readable=readable))
        case Test.NULL:
            return _is_null(column)
        case Test.NOT_NULL:
            return " OR ".join(f"{cell} IS NOT NULL" for cell in column.stored)


def _is_null(column: _Column) -> str:
    if len(column.cells) == 1:
        return f"{column.cells[0]} IS NULL"
    old, new = column.cells
    return f"({old} IS NULL AND change <> '{Change.ADDED}') OR ({new} IS NULL AND change <> '{Change.REMOVED}')"


def _between(sql: Sql, column: _Column, low: str, high: str, *, readable: Collection[str]) -> Iterator[str]:
    """One test per cell."""
    pair = column.pair
    cells = column.stored if pair.old_format == pair.new_format else column.cells
    for cell, format_ in zip(cells, (pair.old_format, pair.new_format), strict=False):
        if pair.type is ColumnType.NUMBER:
            number = sql.normal(cell, pair)
            bounds = _bounds(sql, f"TRY_CAST({number} AS DOUBLE)", low and _number(low), high and _number(high))
            yield bounds if pair.name in readable else f"{bounds} AND {sql.is_number(number)}"
        elif pair.type is ColumnType.DATE:
            first, last = low and _moment(low, time.min), high and _moment(high, time.max)
            near = "TRUE" if format_ else _near(sql, sql.normal(cell, pair), first, last)
            yield f"{near} AND {_bounds(sql, _instant(sql, cell, pair, format_), first, last)}"
        else:
            yield _bounds(sql, cell, low, high)


def _bounds(sql: Sql, value: str, low: Any, high: Any) -> str:
    """Whether a value is within bounds; an empty text is none."""
    bounds = [f"{value} {sign} {sql.bind(bound)}" for sign, bound in ((">=", low), ("<=", high)) if bound != ""]
    return " AND ".join(bounds) or "TRUE"


def _near(sql: Sql, text: str, low: datetime | str, high: datetime | str) -> str:
    """What holds for all ISO dates within bounds, whatever their offset, and is found without reading them."""
    first = f"{(low - _DAY).date()}" if isinstance(low, datetime) and low > datetime.min + _DAY else ""
    last = f"{(high + 2 * _DAY).date()}" if isinstance(high, datetime) and high < datetime.max - 2 * _DAY else ""
    return _bounds(sql, text, first, last)


def _instant(sql: Sql, cell: str, pair: ColumnPair, format_: str | None) -> str:
    """SQL for a cell as a timestamp, in UTC if it has an offset; NULL if it is no date."""
    return f"TRY_CAST({sql.instant(f'({sql.normal(cell, pair)})', format_)} AS TIMESTAMP)"


_DAY = timedelta(days=1)


def _moment(text: str, of_day: time) -> datetime:
    """A bound as a timestamp; a day without a time gets the time given."""
    try:
        if not grammar.is_date(text):
            raise ValueError
        if len(text) == len("2024-01-05"):
            return datetime.combine(date.fromisoformat(text), of_day)
        read = datetime.fromisoformat(text)
        return read.astimezone(UTC).replace(tzinfo=None) if read.tzinfo else read
    except (ValueError, OverflowError) as error:
        raise PlanError(f"“{text}” is no date.", "Write it as 2024-01-31.") from error


# --- counting ------------------------------------------------------------------------------------

_FATES = ", ".join(f"coalesce(sum(rows) FILTER (WHERE change = '{change}'), 0) AS {change}" for change in DIFFERING)


def _seen(old: str, new: str) -> str:
    """SQL that makes of `pairs` (change, rows, two values) one row per value that is there."""
    return (
        f"SELECT {old} AS value, change, rows FROM pairs WHERE change <> '{Change.ADDED}'"
        f" UNION ALL SELECT {new}, change, rows FROM pairs"
        f" WHERE change = '{Change.ADDED}' OR change = '{Change.CHANGED}' AND {new} IS DISTINCT FROM {old}"
    )


def _day(sql: Sql, cell: str, pair: ColumnPair, format_: str | None) -> str:
    """SQL for the day of a cell, NULL if it is none of the years 1 to 9999."""
    day = f"CAST({_instant(sql, cell, pair, format_)} AS DATE)"
    return f"CASE WHEN {day} BETWEEN DATE '0001-01-01' AND DATE '9999-12-31' THEN {day} END"


def _last(day: date, unit: str) -> date:
    """The last day of the bucket that starts on a day."""
    match unit:
        case "week":
            return day + min(timedelta(days=6), date.max - day)
        case "month":
            return day.replace(day=calendar.monthrange(day.year, day.month)[1])
        case "year":
            return day.replace(month=12, day=31)
        case _:
            return day


def _edges(low: float, high: float, small: float, whole: bool) -> tuple[list[Decimal], bool]:
    """Edges of bins that hold all changes from `low` to `high`, and whether they are logarithmic.

    `small` is the size of a small change.
    """
    largest = max(abs(low), abs(high))
    if largest <= WIDE_SPAN * small:
        return _even_edges(Decimal(repr(low)), Decimal(repr(high)), whole), False
    sizes = _powers(math.floor(math.log10(small)), Decimal(repr(largest)))
    below = [-size for size in reversed(sizes)] if low < 0 else []
    return [*below, Decimal(0), *(sizes if high > 0 else [])], True


def _even_edges(low: Decimal, high: Decimal, whole: bool) -> list[Decimal]:
    step = max(_nice((high - low) / 20 or Decimal(1).scaleb(high.adjusted())), Decimal(whole))
    first, last = math.floor(low / step), math.floor(high / step) + 1
    return [step * i for i in range(first, last + 1)]


def _nice(size: Decimal) -> Decimal:
    """The next number of 1, 2, 5 times a power of ten that is not less."""
    power = Decimal(1).scaleb(size.adjusted())
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= size)


def _powers(exponent: int, largest: Decimal) -> list[Decimal]:
    """Sizes from a power of ten up to beyond the largest: every power, or also 2 and 5 times it."""
    top = largest.adjusted() + 1
    exponent = max(exponent, top - 15)
    digits = (1, 2, 5) if top - exponent <= 5 else (1,)
    sizes = [Decimal(digit).scaleb(power) for power in range(exponent, top) for digit in digits]
    return [*sizes, Decimal(1).scaleb(top)]


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


# --- the file ------------------------------------------------------------------------------------


class _Question:
    """A statement about the rows of a result, with its bound values."""

    def __init__(self, result: Result) -> None:
        self.result, self.path, self.summary = result, result.rows_file.resolve(), result.summary
        self.sql = Sql(result.plan, DUCKDB)
        self.bind = self.sql.bind

    @property
    def file(self) -> str:
        return self.bind(self.result.rows_pattern)

    @property
    def rows(self) -> str:
        """SQL for the rows with their positions, `file_row_number`."""
        return self.rows_between(0, self.summary.differing_rows)

    def rows_between(self, low: int, high: int) -> str:
        """The same; of a result in parts only those parts in which there are rows of these positions."""
        if not self.path.is_dir():
            return f"read_parquet({self.file}, file_row_number = true)"
        parts = self._parts()
        wanted = [(file, first) for file, first, count in parts if first <= high and first + count > low] or parts[:1]
        files, firsts = self.bind([each[0] for each in wanted]), self.bind([each[1] for each in wanted])
        position = f"file_row_number + CAST({firsts} AS BIGINT[])[CAST(file_index AS BIGINT) + 1]"
        return f"(SELECT * REPLACE ({position} AS file_row_number) FROM read_parquet(CAST({files} AS VARCHAR[]), file_row_number = true))"

    def _parts(self) -> list[tuple[str, int, int]]:
        """The files of a result in parts: path, position of the first row, number of rows."""
        asked = _Question(self.result)
        sizes = asked.fetch(f"SELECT file_name, num_rows FROM parquet_file_metadata({asked.file}) ORDER BY file_name")
        firsts = accumulate((count for _, count in sizes), initial=0)
        return [(file, first, count) for (file, count), first in zip(sizes, firsts, strict=False)]

    def where(self, filter: Filter) -> str:
        return _where(self.sql, filter, self.readable)

    @property
    def readable(self) -> set[str]:
        """Compared columns of numbers of which every cell reads as one."""
        pairs = zip(self.sql.plan.columns, self.summary.columns, strict=True)
        return {pair.name for pair, each in pairs if pair.type is ColumnType.NUMBER and not each.unreadable}

    def pairs(self, column: _Column, filter: Filter) -> str:
        """SQL that counts rows by fate, old cell `o` and new cell `n`."""
        old, new = column.cells[0], column.cells[-1]
        return f"SELECT {old} AS o, {new} AS n, change, count(*) AS rows FROM {self.rows} WHERE {self.where(filter)} GROUP BY ALL"

    def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        """The answer as rows.

        Raises:
            EngineError: the file is gone or damaged, or the question needs too much memory.
        """
        found: list[tuple[Any, ...]] = self._asked(statement, "fetchall")
        return found

    def arrays(self, statement: str) -> dict[str, Any]:
        """The answer as an array per column.

        Raises:
            EngineError: as above.
        """
        found: dict[str, Any] = self._asked(statement, "fetchnumpy")
        return found

    def _asked(self, statement: str, fetch: str) -> Any:
        try:
            with _connection(self.path.parent.parent).cursor() as cursor:
                return getattr(cursor.execute(statement, self.sql.params), fetch)()
        except duckdb.OutOfMemoryException as error:
            hint = "Narrow the filter, or choose another column."
            raise EngineError("This view of the result needs too much memory.", hint) from error
        except duckdb.Error as error:
            raise EngineError("The result can't be read.", "Compare again.") from error


@lru_cache(maxsize=4)
def _connection(folder: Path) -> duckdb.DuckDBPyConnection:
    """A connection that reaches the results in a folder and nothing else. Use a cursor per question."""
    return connected(
        folders=[folder],
        settings=["TimeZone = 'UTC'", "parquet_metadata_cache = true"],
        threads=2,
        memory_limit=MEMORY_LIMIT,
        enable_external_file_cache=False,
    )
