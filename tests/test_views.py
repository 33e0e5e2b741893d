"""Do questions to a result get the answers that counting by hand gives?"""

from __future__ import annotations

import csv
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffing import export, views
from diffing.engines.duckdb import DuckDBEngine
from diffing.errors import ColumnNotFound, EngineError, PlanError
from diffing.grammar import ColumnType
from diffing.plan import Choices, make_plan
from diffing.result import Cell, Change, Result
from diffing.sources import open_source
from diffing.views import By, CellPair, Condition, Facet, FacetKind, Fates, Filter, Order

EQUALS, CONTAINS, BETWEEN, NULL, NOT_NULL = views.Test
ADDED, REMOVED, CHANGED = views.DIFFERING
Table = list[list[str]]


def compared(folder: Path, old: Table, new: Table, **choices: Any) -> Result:
    """The result of two tables, each with its header."""
    home = folder / "results" / "1"
    home.mkdir(parents=True)
    for name, rows in (("old", old), ("new", new)):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    sources = [open_source(folder / f"{name}.csv", workdir=folder) for name in ("old", "new")]
    return DuckDBEngine(threads=2).run(make_plan(*sources, Choices(**choices)), home)


# --- a table to count by hand --------------------------------------------------------------------

COLUMNS = ["id", "day", "price", "status", "note"]
STATUS = ["open", "paid", "void", ""]
NOTES = ["Tea, 50% off", "tea_pot", "Čaj", "čaj “50”", "", "a\\b", "O'Neil", "x%_y"]


@dataclass(frozen=True)
class Differing:
    """A row that differs, as plain Python sees it."""

    change: Change
    old: dict[str, str] | None
    new: dict[str, str] | None

    def cells(self, column: str) -> list[str]:
        """The cells there are, old before new."""
        return [side[column] for side in (self.old, self.new) if side is not None]

    @property
    def words(self) -> list[str]:
        return [cell for column in COLUMNS for cell in self.cells(column)]

    def changed(self, column: str) -> bool:
        return self.change is CHANGED and len(set(self.cells(column))) == 2

    @property
    def step(self) -> Decimal:
        """New price minus old."""
        return Decimal((self.new or {}).get("price") or 0) - Decimal((self.old or {}).get("price") or 0)


@dataclass(frozen=True)
class Case:
    result: Result
    rows: list[Differing]

    def where(self, holds: Callable[[Differing], bool]) -> list[int]:
        return [i for i, row in enumerate(self.rows) if holds(row)]


def drawn_row(dice: random.Random, number: int) -> list[str]:
    price = "" if dice.random() < 0.1 else f"{dice.randrange(-20_000, 100_000) / 100:.2f}"
    day = "" if dice.random() < 0.05 else f"{date(2023, 11, 20) + timedelta(days=dice.randrange(90))}"
    return [str(number), day, price, dice.choice(STATUS), dice.choice(NOTES)]


def in_parts(result: Result, sizes: list[int]) -> Result:
    """The same result as a cluster writes it: a folder of files whose names are in order."""
    rows = pq.read_table(result.rows_file)
    result.rows_file.unlink()
    result.rows_file.mkdir()
    for n, first in enumerate(accumulate(sizes, initial=0)):
        pq.write_table(rows.slice(first, sizes[n] if n < len(sizes) else None), result.rows_file / f"part-{n:05}-c000.parquet")
    return result


@pytest.fixture(scope="module", params=["a file", "parts"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    dice = random.Random(11)
    old = {number: drawn_row(dice, number) for number in range(900)}
    new = {n: list(row) for n, row in old.items() if dice.random() > 0.15}
    for number, row in new.items():
        for at in range(1, 5):
            if dice.random() < 0.25:
                row[at] = drawn_row(dice, number)[at]
    new |= {number: drawn_row(dice, number) for number in range(900, 1000)}
    rows = []
    for number in sorted({**old, **new}):
        before, after = (dict(zip(COLUMNS, side[number])) if number in side else None for side in (old, new))
        if before != after:
            rows.append(Differing(REMOVED if after is None else ADDED if before is None else CHANGED, before, after))
    tables = ([COLUMNS, *side.values()] for side in (old, new))
    result = compared(tmp_path_factory.mktemp("case"), *tables, key=("id",))
    return Case(in_parts(result, [1, 300, 0, 7]) if request.param == "parts" else result, rows)


def price_between(low: float, high: float) -> Callable[[Differing], bool]:
    return lambda row: any(cell and low <= float(cell) <= high for cell in row.cells("price"))


FILTERS: list[tuple[Filter, Callable[[Differing], bool]]] = [
    (Filter(), lambda row: True),
    (Filter(changes=(ADDED,)), lambda row: row.change is ADDED),
    (Filter(changes=(ADDED, CHANGED)), lambda row: row.change in (ADDED, CHANGED)),
    (Filter(changes=(Change.UNCHANGED,)), lambda row: False),
    (Filter(changed_columns=("price",)), lambda row: row.changed("price")),
    (Filter(changed_columns=("status", "note")), lambda row: row.changed("status") or row.changed("note")),
    (Filter(search="tea"), lambda row: any("tea" in word.lower() for word in row.words)),
    (Filter(search="ČAJ"), lambda row: any("čaj" in word.lower() for word in row.words)),
    (Filter(search="%_"), lambda row: any("%_" in word for word in row.words)),
    (Filter(search="50"), lambda row: any("50" in word for word in row.words)),
    (Filter(search="O'Neil"), lambda row: any("o'neil" in word.lower() for word in row.words)),
    (Filter(search="a\\b"), lambda row: any("a\\b" in word for word in row.words)),
    (Filter(conditions=(Condition("status", EQUALS, ("paid",)),)), lambda row: "paid" in row.cells("status")),
    (Filter(conditions=(Condition("status", EQUALS, ("Paid",)),)), lambda row: False),
    (Filter(conditions=(Condition("status", EQUALS, ("paid", "open")),)), lambda row: bool({"paid", "open"} & {*row.cells("status")})),
    (Filter(conditions=(Condition("id", EQUALS, ("950",)),)), lambda row: "950" in row.cells("id")),
    (Filter(conditions=(Condition("note", CONTAINS, ("TEA",)),)), lambda row: any("tea" in word.lower() for word in row.cells("note"))),
    (Filter(conditions=(Condition("note", CONTAINS, ("_y", "’")),)), lambda row: any("_y" in word for word in row.cells("note"))),
    (Filter(conditions=(Condition("price", BETWEEN, ("-10", "99.5")),)), price_between(-10, 99.5)),
    (Filter(conditions=(Condition("price", BETWEEN, ("5e2", "")),)), price_between(500, 1e9)),
    (Filter(conditions=(Condition("price", BETWEEN, ("", "0")),)), price_between(-1e9, 0)),
    (
        Filter(conditions=(Condition("day", BETWEEN, ("2024-01-01", "2024-01-31")),)),
        lambda row: any(day.startswith("2024-01") for day in row.cells("day")),
    ),
    (Filter(conditions=(Condition("day", BETWEEN, ("2024-02-10", "")),)), lambda row: any(day >= "2024-02-10" for day in row.cells("day"))),
    (Filter(conditions=(Condition("status", BETWEEN, ("p", "v")),)), lambda row: any("p" <= word <= "v" for word in row.cells("status"))),
    (Filter(conditions=(Condition("status", NULL),)), lambda row: "" in row.cells("status")),
    (Filter(conditions=(Condition("status", NOT_NULL),)), lambda row: any(row.cells("status"))),
    (Filter(conditions=(Condition("id", NULL),)), lambda row: False),
    (Filter(change_at_least=("price", "400")), lambda row: abs(row.step) >= 400),
    (Filter(change_at_most=("price", "100.5")), lambda row: 0 < abs(row.step) <= Decimal("100.5")),
    (Filter(change_between=("price", "-50", "25")), lambda row: row.step != 0 and -50 <= row.step < 25),
    (
        Filter(
            changes=(CHANGED,),
            changed_columns=("price",),
            search="te",
            conditions=(Condition("status", NULL), Condition("price", BETWEEN, ("0", ""))),
            change_at_least=("price", "100"),
        ),
        lambda row: (
            row.changed("price")
            and any("te" in word.lower() for word in row.words)
            and "" in row.cells("status")
            and price_between(0, 1e9)(row)
            and abs(row.step) >= 100
        ),
    ),
]
KEPT = pytest.mark.parametrize(("asked", "holds"), FILTERS, ids=[str(each.to_query()) for each, _ in FILTERS])


@KEPT
def test_a_filter_keeps_the_rows_for_which_it_holds(case, asked, holds):
    kept = case.where(holds)
    assert views.positions(case.result, asked, size=10_000) == kept
    assert views.count(case.result, asked) == {fate: sum(case.rows[i].change is fate for i in kept) for fate in views.DIFFERING}


@KEPT
def test_changed_cells_are_counted_within_a_filter(case, asked, holds):
    kept = [case.rows[i] for i in case.where(holds)]
    assert views.changed_by_column(case.result, asked) == {name: sum(row.changed(name) for row in kept) for name in COLUMNS[1:]}


# --- pages ---------------------------------------------------------------------------------------


def test_the_pages_together_are_all_rows_in_the_order_of_the_output(case):
    pages = [views.page(case.result, number=number, size=70) for number in range(1, 20)]
    ids = [(row.key[0].new or row.key[0].old) for each in pages for row in each.rows]
    assert ids == [row.cells("id")[0] for row in case.rows]


def test_a_page_shows_the_cells_of_its_rows(case):
    page = views.page(case.result, Filter(search="tea"), number=2, size=50, columns="all")
    kept = case.where(lambda row: any("tea" in word.lower() for word in row.words))[50:100]
    assert (page.key, page.columns) == (("id",), tuple(COLUMNS[1:]))
    assert [row.position for row in page.rows] == kept
    for row in page.rows:
        expected = case.rows[row.position]
        assert row.change is expected.change
        for name, cell in zip(page.columns, row.cells):
            before, after = ((side or {}).get(name) or None for side in (expected.old, expected.new))
            assert (cell.old, cell.new) == (before, after)
            assert (cell.code is Cell.DIFFERS) == expected.changed(name)
            assert (cell.code is Cell.ALONE) == (expected.change is not CHANGED)


def test_a_row_is_opened_by_its_position(case):
    page = views.page(case.result, order=Order("price", By.NEW), size=5, columns="all")
    assert [views.row(case.result, each.position) for each in page.rows] == list(page.rows)
    assert views.row(case.result, len(case.rows)) is None
    assert views.row(case.result, -1) is None


def test_a_page_beyond_the_last_is_empty(case):
    assert views.page(case.result, number=1000).rows == ()
    assert views.page(case.result, Filter(search="tea"), number=1000).rows == ()


def there(value: Any) -> tuple[bool, Any]:
    """A sort key that puts None last."""
    return value is None, 0 if value is None else value


SIDES = {By.OLD: lambda row: row.old, By.NEW: lambda row: row.new}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("by", [By.OLD, By.NEW])
@pytest.mark.parametrize("column", COLUMNS)
def test_rows_are_ordered_by_a_cell_with_missing_ones_last(case, column, by, descending):
    def cell(row: Differing) -> Any:
        side = SIDES[by](row) or (row.old or row.new if column == "id" else None) or {}
        text = side.get(column) or None
        return Decimal(text) if text and column in ("id", "price") else text

    cells = [cell(row) for row in case.rows]
    filled = sorted((i for i, each in enumerate(cells) if each is not None), key=lambda i: cells[i], reverse=descending)
    ties = [list(group) for group in by_value_in_order(filled, cells)]
    expected = [i for group in ties for i in sorted(group)] + [i for i, each in enumerate(cells) if each is None]
    assert views.positions(case.result, order=Order(column, by, descending), size=10_000) == expected


def by_value_in_order(positions: list[int], cells: list[Any]) -> Iterator[list[int]]:
    """Runs of positions with the same cell."""
    run: list[int] = []
    for i in positions:
        if run and cells[run[-1]] != cells[i]:
            yield run
            run = []
        run.append(i)
    yield run


def test_rows_are_ordered_by_the_size_of_a_change(case):
    found = views.positions(case.result, order=Order("price", By.CHANGE_SIZE, descending=True), size=10_000)
    assert found == sorted(range(len(case.rows)), key=lambda i: (-abs(case.rows[i].step), i))


def test_in_a_text_column_the_size_of_a_change_is_whether_it_changed(case):
    found = views.positions(case.result, order=Order("note", By.CHANGE_SIZE, descending=True), size=10_000)
    assert found == sorted(range(len(case.rows)), key=lambda i: (not case.rows[i].changed("note"), i))


def test_the_order_of_the_output_can_be_turned_around(case):
    backwards = list(range(len(case.rows)))[::-1]
    assert views.positions(case.result, order=Order(descending=True), number=2, size=100) == backwards[100:200]
    assert views.positions(case.result, Filter(search=""), Order(descending=True), size=10_000) == backwards
    paid = Filter(conditions=(Condition("status", EQUALS, ("paid",)),))
    kept = case.where(lambda row: "paid" in row.cells("status"))
    assert views.positions(case.result, paid, Order(descending=True), size=10_000) == kept[::-1]


# --- groups --------------------------------------------------------------------------------------


def fates_of(rows: list[Differing]) -> Fates:
    return Fates(*(sum(row.change is fate for row in rows) for fate in views.DIFFERING))


def test_rows_are_counted_by_each_value_they_have_or_had(case):
    found = dict(views.by_value(case.result, "status").values)
    assert found == {word or None: fates_of([row for row in case.rows if word in row.cells("status")]) for word in STATUS}


def test_a_group_counts_the_rows_that_its_filter_keeps(case):
    tea = Filter(search="tea")
    for value, fates in views.by_value(case.result, "status", tea).values:
        condition = Condition("status", NULL) if value is None else Condition("status", EQUALS, (value,))
        assert views.count(case.result, tea.narrowed(Filter(conditions=(condition,)))) == {
            each: getattr(fates, each) for each in views.DIFFERING
        }


def test_of_many_values_the_most_frequent_are_named_and_the_rest_counted_together(tmp_path):
    old = [["id", "name"], *([str(i), f"n{i % 40}"] for i in range(100))]
    result = compared(tmp_path, old, [["id", "name"]], key=("id",))
    found = views.by_value(result, "name")
    assert [name for name, _ in found.values][:3] == ["n0", "n1", "n10"]
    assert (len(found.values), found.others, found.other) == (30, 10, Fates(removed=20))
    assert sum(each.removed for _, each in found.values) == 80


def test_rows_are_counted_by_the_weeks_they_are_or_were_in(case):
    found = views.over_time(case.result, "day")
    assert found.unit == "day"
    assert sum(each.fates.total for each in found.buckets) == sum(len({*row.cells("day")} - {""}) for row in case.rows)
    assert found.undated == fates_of([row for row in case.rows if "" in row.cells("day")])
    for each in found.buckets:
        assert each.first == each.last
        assert each.fates == fates_of([row for row in case.rows if str(each.first) in row.cells("day")])


@pytest.mark.parametrize(
    ("days", "unit", "first", "last"),
    [(99, "day", "2024-01-31", "2024-01-31"), (400, "week", "2024-01-29", "2024-02-04"), (4000, "month", "2024-01-01", "2024-01-31")],
)
def test_the_span_decides_how_time_is_cut(tmp_path, days, unit, first, last):
    start = date(2024, 1, 31)
    new = [["id", "day"], *([str(i), f"{start + timedelta(days=i)}"] for i in range(days + 1))]
    result = compared(tmp_path, [["id", "day"]], new, key=("id",))
    found = views.over_time(result, "day")
    assert (found.unit, str(found.buckets[0].first), str(found.buckets[0].last)) == (unit, first, last)
    assert sum(each.fates.added for each in found.buckets) == days + 1
    assert all(before.last < after.first for before, after in zip(found.buckets, found.buckets[1:]))


def test_the_whole_calendar_can_be_counted(tmp_path):
    new = [["id", "day"], ["1", "0001-01-01"], ["2", "9999-12-31 23:59:59"], ["3", "2024-02-30"], ["4", "0000-01-01"]]
    result = compared(tmp_path, [["id", "day"]], new, key=("id",))
    found = views.over_time(result, "day")
    assert [(str(each.first), str(each.last), each.fates.added) for each in found.buckets] == [
        ("0001-01-01", "0001-12-31", 1),
        ("9999-01-01", "9999-12-31", 1),
    ]
    assert (found.unit, found.undated) == ("year", Fates(added=2))
    for first, last, rows in (("0001-01-01", "0001-12-31", 1), ("9999-12-31", "9999-12-31", 1), ("", "9999-12-31", 2)):
        condition = Condition("day", BETWEEN, (first, last))
        assert views.count(result, Filter(conditions=(condition,)))[ADDED] == rows


def test_a_day_as_upper_bound_is_included_whole_and_offsets_are_heeded(tmp_path):
    days = ["2024-01-31 00:00", "2024-01-31T23:59:59.999999", "2024-02-01T00:30+01:00", "2024-02-01T00:00", "2024-01-31T23:30-01:00"]
    result = compared(tmp_path, [["id", "day"]], [["id", "day"], *([str(i), day] for i, day in enumerate(days))], key=("id",))
    january = Filter(conditions=(Condition("day", BETWEEN, ("2024-01-01", "2024-01-31")),))
    assert views.positions(result, january) == [0, 1, 2]
    moment = Filter(conditions=(Condition("day", BETWEEN, ("2024-02-01T01:30+01:00", "2024-02-01 00:30")),))
    assert views.positions(result, moment) == [4]


def test_dates_in_a_format_of_their_own_are_counted_and_ordered_by_day(tmp_path):
    old = [["id", "day"], ["1", "05.02.2024"], ["2", "31.01.2024"]]
    new = [["id", "day"], ["1", "2024-02-06"], ["2", "2024-03-01"]]
    result = compared(tmp_path, old, new, key=("id",), old_formats={"day": "%d.%m.%Y"})
    assert [str(each.first) for each in views.over_time(result, "day").buckets] == ["2024-01-31", "2024-02-05", "2024-02-06", "2024-03-01"]
    assert views.positions(result, order=Order("day", By.OLD)) == [1, 0]
    january = Filter(conditions=(Condition("day", BETWEEN, ("2024-01-01", "2024-01-31")),))
    assert views.positions(result, january) == [1]


def test_the_bins_of_a_distribution_hold_the_changes_that_their_filter_keeps(case):
    found = views.distribution(case.result, "price")
    steps = [row.step for row in case.rows if row.changed("price")]
    assert sum(each.count for each in found.bins) == sum(step != 0 for step in steps)
    assert (found.increases, found.decreases) == (sum(step > 0 for step in steps), sum(step < 0 for step in steps))
    for each in found.bins:
        assert each.count == sum(step != 0 and Decimal(each.low) <= step < Decimal(each.high) for step in steps)
        within = Filter(changes=(CHANGED,), changed_columns=("price",), change_between=("price", each.low, each.high))
        assert views.count(case.result, within)[CHANGED] == each.count
    assert all(before.high == after.low for before, after in zip(found.bins, found.bins[1:]))


def stepping(folder: Path, steps: list[str]) -> Result:
    """A result in which the column `n` goes from 0 to each of the numbers."""
    ids = range(len(steps))
    old, new = [["id", "n"], *([str(i), "0"] for i in ids)], [["id", "n"], *([str(i), step] for i, step in zip(ids, steps))]
    return compared(folder, old, new, key=("id",))


def test_changes_of_very_different_sizes_get_logarithmic_bins(tmp_path):
    found = views.distribution(stepping(tmp_path, ["0.002", "-0.3", "5", "-70", "800", "1e7"]), "n")
    assert found.logarithmic
    edges = [Decimal(each.low) for each in found.bins]
    assert (edges[0], found.bins[-1].high) == (-100, "100000000")
    assert 0 in edges
    assert {edge.as_tuple().digits[0] for edge in edges} <= {0, 1}
    assert sum(each.count for each in found.bins) == 6


def test_one_size_of_change_is_one_bin(tmp_path):
    found = views.distribution(stepping(tmp_path, ["3"] * 5), "n")
    assert [(each.low, each.high, each.count) for each in found.bins] == [("3", "4", 5)]
    assert found.whole


def test_whole_changes_get_whole_bins(tmp_path):
    found = views.distribution(stepping(tmp_path, ["1", "2", "2", "-1"]), "n")
    assert [(each.low, each.count) for each in found.bins] == [("-1", 1), ("0", 0), ("1", 1), ("2", 2)]


def test_a_change_to_what_is_no_number_is_counted_as_unreadable(tmp_path):
    steps = ["1"] * 30
    result = compared(
        tmp_path,
        [["id", "n"], *([str(i), "0"] for i in range(31))],
        [["id", "n"], *([str(i), step] for i, step in enumerate([*steps, "n/a"]))],
        key=("id",),
    )
    found = views.distribution(result, "n")
    assert (found.unreadable, sum(each.count for each in found.bins)) == (1, 30)


def test_without_changes_a_distribution_has_no_bins(tmp_path):
    result = compared(tmp_path, [["id", "n"], ["1", "1"]], [["id", "n"], ["1", "1"], ["2", "2"]], key=("id",))
    assert views.distribution(result, "n").bins == ()


def test_the_largest_changes_come_first_and_rows_without_any_are_left_out(case):
    found = views.largest_changes(case.result, "price", most=7)
    expected = sorted(case.rows, key=lambda row: -abs(row.step))[:7]
    assert [row.key[0].old or row.key[0].new for row in found.rows] == [row.cells("id")[0] for row in expected]
    assert [Decimal(row.cells[0].change or 0) for row in found.rows] == [row.step for row in expected]
    assert len(views.largest_changes(case.result, "price", most=10_000).rows) == sum(row.step != 0 for row in case.rows)


# --- columns -------------------------------------------------------------------------------------


def test_columns_of_few_values_and_dates_suit_grouping(case):
    assert views.facets(case.result) == (
        Facet("day", FacetKind.TIME),
        Facet("status", FacetKind.VALUES),
        Facet("note", FacetKind.VALUES),
    )
    assert Facet("note", FacetKind.VALUES) not in views.facets(case.result, max_values=5)


def test_a_large_result_is_not_read_to_see_that_a_column_has_many_values(tmp_path):
    rows = [[str(i), f"{i * 7919 % 30_011}", f"{i % 45}", f"{i // 500}"] for i in range(30_000)]
    result = compared(tmp_path, [["id", "many", "few", "some"]], [["id", "many", "few", "some"], *rows], key=("id",))
    assert [each.column for each in views.facets(result)] == ["few"]
    assert [each.column for each in views.facets(result, max_values=70)] == ["few", "some"]


def test_a_page_shows_the_columns_that_changed_anywhere_or_are_asked_about(tmp_path):
    old = [["id", "a", "b", "c"], ["1", "x", "x", "x"], ["2", "x", "x", "x"]]
    new = [["id", "a", "b", "c"], ["1", "x", "y", "x"]]
    result = compared(tmp_path, old, new, key=("id",))
    assert views.page(result).columns == ("b",)
    assert views.page(result, order=Order("c", By.OLD)).columns == ("b", "c")
    assert views.page(result, Filter(conditions=(Condition("a", EQUALS, ("x",)),))).columns == ("a", "b")
    assert views.page(result, columns=("c", "a")).columns == ("c", "a")
    assert views.page(result, columns="all").columns == ("a", "b", "c")


def test_where_rows_were_only_added_all_columns_are_shown(tmp_path):
    result = compared(tmp_path, [["id", "a"]], [["id", "a"], ["1", "x"]], key=("id",))
    assert views.page(result).columns == ("a",)


def test_a_key_that_matches_by_a_rule_shows_both_texts(tmp_path):
    result = compared(tmp_path, [["id", "a"], ["X", "1"]], [["id", "a"], ["x", "2"]], key=("id",), ignore_case=True)
    (row,) = views.page(result).rows
    assert row.key == (CellPair("X", "x", None),)
    for text in ("X", "x"):
        assert views.count(result, Filter(conditions=(Condition("id", EQUALS, (text,)),)))[CHANGED] == 1


def test_without_a_key_rows_are_added_and_removed_whole(tmp_path):
    result = compared(tmp_path, [["a", "b"], ["1", "x"], ["1", "x"]], [["a", "b"], ["1", "x"], ["2", ""]])
    page = views.page(result)
    assert [(row.change, row.key, [(cell.old, cell.new) for cell in row.cells]) for row in page.rows] == [
        (ADDED, (), [(None, "2"), (None, None)]),
        (REMOVED, (), [("1", None), ("x", None)]),
    ]
    assert views.count(result, Filter(conditions=(Condition("b", NULL),))) == {ADDED: 1, REMOVED: 0, CHANGED: 0}


NASTY = ['"; DROP TABLE x; --', "it's", "$v0", "a,b~_c", "change", "codes", "k0_old", "é\nf", "%s{}", "A", "a"]


def test_any_name_and_any_value_can_be_asked_about(tmp_path):
    old = [["id", *NASTY], ["1", *NASTY], ["2", *NASTY]]
    new = [["id", *NASTY], ["1", *(f"{name}!" for name in NASTY)]]
    result = compared(tmp_path, old, new, key=("id",))
    for name in NASTY:
        asked = Filter(changed_columns=(name,), conditions=(Condition(name, EQUALS, (name,)),), search=f"{name}!")
        assert views.count(result, Filter.from_query(asked.to_query()))[CHANGED] == 1
        assert views.positions(result, asked, Order.from_query(Order(name, By.NEW).to_query())) == [0]
        assert dict(views.by_value(result, name).values) == {name: Fates(removed=1, changed=1), f"{name}!": Fates(changed=1)}


def test_equal_results_of_another_order_by_the_first_page_only_read_what_they_show(tmp_path):
    names = [f"n{i}" for i in range(300)]
    old = [["id", *names], *([str(i), *["7"] * 300] for i in range(200))]
    new = [["id", *names], *([str(i), "8", *["7"] * 299] for i in range(200))]
    result = compared(tmp_path, old, new, key=("id",))
    assert views.page(result).columns == ("n0",)
    assert len(views.page(result, columns="all").rows[0].cells) == 300
    assert views.count(result, Filter(search="8"))[CHANGED] == 200


# --- what can't be answered ----------------------------------------------------------------------


def test_what_names_no_column_is_refused_in_words(case):
    with pytest.raises(ColumnNotFound, match="“prize”"):
        views.count(case.result, Filter(changed_columns=("prize",)))
    with pytest.raises(ColumnNotFound, match="“id”"):
        views.count(case.result, Filter(changed_columns=("id",)))
    with pytest.raises(PlanError, match="“status” is no number column"):
        views.count(case.result, Filter(change_at_least=("status", "1")))
    with pytest.raises(PlanError, match="“much” is no number"):
        views.count(case.result, Filter(change_at_least=("price", "much")))
    with pytest.raises(PlanError, match="“soon” is no date"):
        views.count(case.result, Filter(conditions=(Condition("day", BETWEEN, ("soon", "")),)))
    with pytest.raises(PlanError, match="“note” is no date column"):
        views.over_time(case.result, "note")
    with pytest.raises(PlanError, match="“note” is no number column"):
        views.distribution(case.result, "note")


def test_a_condition_needs_values_that_suit_its_test():
    for test, values in ((EQUALS, ()), (EQUALS, ("",)), (BETWEEN, ("1",)), (BETWEEN, ("", "")), (NULL, ("x",)), (CONTAINS, ("",))):
        with pytest.raises(PlanError):
            Condition("a", test, values)


def test_a_filter_is_fitted_to_a_plan_by_dropping_what_it_has_no_column_for(case):
    asked = Filter(
        changes=(ADDED,),
        changed_columns=("price", "gone", "id"),
        search="tea",
        conditions=(Condition("gone", NULL), Condition("price", BETWEEN, ("a", "")), Condition("status", NULL)),
        change_at_least=("status", "1"),
        change_at_most=("price", "5"),
        change_between=("gone", "1", "2"),
    )
    assert asked.fitting(case.result.plan) == Filter(
        changes=(ADDED,), changed_columns=("price",), search="tea", conditions=(Condition("status", NULL),), change_at_most=("price", "5")
    )
    assert Order("gone", By.NEW).fitting(case.result.plan) == Order()


def test_a_result_whose_file_is_gone_is_an_error_in_words(tmp_path):
    result = compared(tmp_path, [["id", "a"]], [["id", "a"], ["1", "x"]], key=("id",))
    result.rows_file.unlink()
    with pytest.raises(EngineError, match="The result can't be read"):
        views.page(result)


def test_a_result_computed_anew_in_the_same_place_is_read_anew(tmp_path):
    first = compared(tmp_path / "a", [["id", "a"]], [["id", "a"], ["1", "x"]], key=("id",))
    other = compared(tmp_path / "b", [["id", "a"]], [["id", "a"], *([str(i), "y"] for i in range(500))], key=("id",))
    assert views.count(first, Filter(search="x"))[ADDED] == 1
    time.sleep(0.01)
    other.rows_file.replace(first.rows_file)
    assert views.count(first, Filter(search="y"))[ADDED] == 500


def test_only_the_folder_of_the_results_can_be_reached(tmp_path):
    result = compared(tmp_path, [["id", "a"]], [["id", "a"], ["1", "x"]], key=("id",))
    question = views._Question(result)
    for reach in ("SELECT * FROM read_csv('/etc/passwd')", "SET enable_external_access = true", "INSTALL httpfs"):
        with pytest.raises(EngineError):
            question.fetch(reach)


def test_many_threads_can_ask_at_once(case):
    def ask(i: int) -> int:
        return sum(views.count(case.result, FILTERS[i % len(FILTERS)][0]).values())

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(124)))
    assert found == [len(case.where(FILTERS[i % len(FILTERS)][1])) for i in range(124)]


# --- filters and orders in URLs ------------------------------------------------------------------

TEXT = st.text(min_size=1, max_size=6) | st.sampled_from(["~", "~_", "~-~.", "a~_b", ",", "&=?#%"])
NUMBERS = st.integers(-1000, 1000).map(str) | st.sampled_from(["1.5", "1e3", "-.5"])
CONDITIONS = st.one_of(
    st.builds(Condition, TEXT, st.sampled_from([EQUALS, CONTAINS]), st.lists(TEXT, min_size=1, max_size=3).map(tuple)),
    st.builds(Condition, TEXT, st.just(BETWEEN), st.tuples(TEXT, TEXT | st.just(""))),
    st.builds(Condition, TEXT, st.sampled_from([NULL, NOT_NULL])),
)


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values, max_size=3, unique=True).map(tuple)


FILTER = st.builds(
    Filter,
    changes=st.sets(st.sampled_from(views.DIFFERING)).map(lambda fates: tuple(fate for fate in views.DIFFERING if fate in fates)),
    changed_columns=some(TEXT),
    search=st.text(max_size=5),
    conditions=st.lists(CONDITIONS, max_size=3).map(tuple),
    change_at_least=st.none() | st.tuples(TEXT, NUMBERS),
    change_at_most=st.none() | st.tuples(TEXT, NUMBERS),
    change_between=st.none() | st.tuples(TEXT, NUMBERS, NUMBERS),
)


@given(FILTER)
def test_a_filter_comes_back_from_a_url_as_it_was(asked):
    assert Filter.from_query(asked.to_query()) == asked


@given(st.none() | TEXT, st.sampled_from(By), st.booleans())
def test_an_order_comes_back_from_a_url_as_it_was(column, by, descending):
    order = Order(None if by is By.KEY else column or "x", by, descending)
    assert Order.from_query(order.to_query()) == order


@given(
    st.dictionaries(
        st.sampled_from(["fate", "changed", "find", "where", "least", "most", "step", "sort", "?"]), st.text("~_-.ab,1", max_size=12)
    )
)
def test_a_broken_url_is_read_as_far_as_it_goes(query):
    assert Filter.from_query(Filter.from_query(query).to_query()) == Filter.from_query(query)
    assert Order.from_query(Order.from_query(query).to_query()) == Order.from_query(query)


def test_what_a_url_says_wrongly_is_left_out():
    query = {
        "fate": "changed~_eaten",
        "where": "a~_equals~-b~_likes~_c~-d~_null~-~_null",
        "least": "a~_much",
        "most": "a",
        "sort": "~_new~_desc",
    }
    assert Filter.from_query(query) == Filter(changes=(CHANGED,), conditions=(Condition("d", NULL),))
    assert Filter.from_query({"find": 7, "fate": None}) == Filter()  # type: ignore[dict-item]
    assert Order.from_query(query) == Order()


def test_a_filter_is_short_and_readable_in_a_url():
    asked = Filter(changes=(CHANGED,), changed_columns=("price", "qty"), conditions=(Condition("status", EQUALS, ("open",)),))
    assert asked.to_query() == {"fate": "changed", "changed": "price~_qty", "where": "status~_equals~_open"}
    assert (Filter().to_query(), Order().to_query()) == ({}, {})


def test_a_filter_is_narrowed_by_another():
    status = Condition("status", EQUALS, ("open",))
    before = Filter(changes=(ADDED, CHANGED), search="tea", conditions=(status,))
    after = before.narrowed(Filter(changes=(CHANGED,), conditions=(status, Condition("note", NULL))))
    assert after == Filter(changes=(CHANGED,), search="tea", conditions=(status, Condition("note", NULL)))
    assert before.narrowed(Filter()) == before


def test_counts_without_a_filter_need_no_file(tmp_path):
    result = compared(tmp_path, [["id", "a"], ["1", "x"]], [["id", "a"], ["1", "y"]], key=("id",))
    result.rows_file.unlink()
    assert views.count(result) == Counter({CHANGED: 1, ADDED: 0, REMOVED: 0})
    assert views.changed_by_column(result) == {"a": 1}


@pytest.mark.parametrize("order", [Order(), Order("v", By.NEW, descending=True), Order(descending=True)])
def test_a_search_finds_the_same_whether_it_is_remembered_or_not(tmp_path: Path, order: Order):
    old = [["id", "v", "w"], *([str(i), str(i % 7), f"old {i}"] for i in range(50))]
    new = [["id", "v", "w"], *([str(i), str(i % 5), f"New {i}"] for i in range(3, 55))]
    result = compared(tmp_path, old, new, key=("id",))
    every = views.page(result, size=1_000, columns="all").rows
    for search in ("old 4", "NEW 4", "4", "nothing"):
        said = {row.position: [cell for pair in (*row.key, *row.cells) for cell in (pair.old, pair.new) if cell] for row in every}
        wanted = [position for position, cells in said.items() if any(search.lower() in cell.lower() for cell in cells)]
        for _ in range(2):
            found = views.positions(result, Filter(search=search), order, size=100)
            assert sorted(found) == wanted
            assert sum(views.count(result, Filter(search=search)).values()) == len(wanted)
        assert views.positions(result, Filter(search=search), order, number=2, size=3) == found[3:6]


def test_a_search_for_words_finds_them_among_numbers_too(tmp_path: Path):
    rows = [[str(i), "n/a" if i == 7 else str(i * 2), "x"] for i in range(100)]
    changed = [[*row[:2], "y"] for row in rows if int(row[0]) % 7 == 0]
    new = [row for row in rows if int(row[0]) % 7] + changed
    result = compared(tmp_path, [["id", "n", "t"], *rows], [["id", "n", "t"], *new], key=("id",))
    assert result.plan.columns[0].type is ColumnType.NUMBER
    for search in ("N/A", "x", "14", "e", "8"):
        wanted = [row for row in changed if any(search.lower() in cell for cell in (*row, "x"))]
        assert sum(views.count(result, Filter(search=search)).values()) == len(wanted)


def test_the_files_made_of_a_result_in_parts_are_those_of_one_in_a_file(tmp_path):
    tables = ([["id", "v"], *([str(n), str(n + more)] for n in range(900))] for more in (0, 1))
    result = compared(tmp_path, *tables, key=("id",))
    writers = (export.write_csv, export.write_json_lines, export.write_parquet)
    whole, parts = ([(tmp_path / f"{when}{n}") for n in range(3)] for when in ("whole", "parts"))
    for write, path in zip(writers, whole, strict=True):
        write(result, path)
    in_parts(result, [1, 300, 0, 7])
    for write, path in zip(writers, parts, strict=True):
        write(result, path)
    assert [path.read_bytes() for path in parts[:2]] == [path.read_bytes() for path in whole[:2]]
    assert pq.read_table(parts[2]) == pq.read_table(whole[2])
