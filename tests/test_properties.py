"""Laws that hold for any two versions of a table, and the judge's verdict on each."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from diffing.digits import Digits
from diffing.engines.duckdb import DuckDBEngine
from diffing.errors import PlanError
from diffing.export import write_csv
from diffing.grammar import ColumnType
from diffing.plan import ColumnPair, Plan, Tolerance
from diffing.result import RULE_WORDS, Summary
from tests import oracle
from tests.tables import ID, Case, Kind, Rule, Table, cases, edited_rows, rows_of

engine = DuckDBEngine(threads=1)


def runs(examples: int) -> settings:
    """So many examples, or more with EFFORT=10 in the environment. With CI set they are the same ones each time."""
    effort = int(os.environ.get("EFFORT", "1"))
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples * effort, deadline=None, derandomize="CI" in os.environ, suppress_health_check=slow)


@dataclass(frozen=True)
class Compared:
    """What the engine says about a case."""

    plan: Plan
    summary: Summary
    csv: bytes

    @property
    def rows(self) -> list[list[str]]:
        """The diffed CSV without its header, as any reader reads it."""
        return list(csv.reader(io.StringIO(self.csv.decode(), newline="")))[1:]


def planned(case: Case, home: Path) -> Plan:
    """The plan of a case; one that leaves nothing to compare is drawn again."""
    try:
        return case.plan(case.old.write(home / "old.csv"), case.new.write(home / "new.csv"))
    except PlanError as error:
        if "in common" in error.message or "are ignored" in error.message:
            reject()
        raise


def compared(case: Case, change_plan: Callable[[Plan], Plan] = lambda plan: plan) -> Compared:
    with TemporaryDirectory() as directory:
        home = Path(directory)
        plan = change_plan(planned(case, home))
        result = engine.run(plan, home)
        write_csv(result, home / "diff.csv")
        return Compared(plan, result.summary, (home / "diff.csv").read_bytes())


def said_by_engine(summary: Summary) -> dict[str, object]:
    return {
        "rows": (summary.old.rows, summary.new.rows),
        "fates": (summary.added, summary.removed, summary.changed, summary.unchanged),
        "changed cells": summary.changed_cells,
        "changed by column": {column.name: column.changed for column in summary.columns},
        "same by rule": {column.name: dict(column.same_by_rule) for column in summary.columns},
        "keys same by rule": dict(summary.key_same_by_rule),
    }


def said_by_judge(verdict: oracle.Verdict, case: Case) -> dict[str, object]:
    rules = {name: {RULE_WORDS[code]: n for code, n in codes.items()} for name, codes in verdict.same_by_rule.items()}
    return {
        "rows": (len(case.old.rows), len(case.new.rows)),
        "fates": (verdict.added, verdict.removed, verdict.changed, verdict.unchanged),
        "changed cells": verdict.changed_cells,
        "changed by column": verdict.changed_by_column,
        "same by rule": rules,
        "keys same by rule": verdict.key_same_by_rule,
    }


def as_csv(rows: list[list[str]]) -> bytes:
    """RFC 4180 with LF: quotes only around cells that need them, or hold a #."""

    def spelled(cell: str) -> str:
        return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\r\n#') else cell

    return "".join(",".join(map(spelled, row)) + "\n" for row in rows).encode()


def assert_agrees(case: Case) -> None:
    """The engine and the judge say the same about a case, to the byte."""
    found = compared(case)
    verdict = oracle.judge(case.old.rows, case.new.rows, found.plan)
    assert said_by_engine(found.summary) == said_by_judge(verdict, case)
    assert found.rows == verdict.rows
    assert found.csv == as_csv([oracle.header(found.plan), *verdict.rows])


# --- the judge's verdict -------------------------------------------------------------------------


@given(case=cases())
@runs(70)
def test_the_engine_agrees_with_the_judge(case):
    assert_agrees(case)


@given(case=cases(), at=st.lists(st.integers(0, 6), min_size=1, max_size=9))
@runs(25)
def test_the_engine_agrees_with_the_judge_when_rows_repeat(case, at):
    def repeated(table: Table) -> Table:
        again = [table.rows[i % len(table.rows)] for i in at] if table.rows else []
        return replace(table, rows=(*table.rows, *again))

    assert_agrees(replace(case, old=repeated(case.old), new=repeated(case.new)))


@given(case=cases())
@runs(60)
def test_the_engine_agrees_with_the_judge_as_if_tables_were_wide(case):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffing.sql.WIDE", 0)
        patch.setattr("diffing.engines.duckdb.WIDE", 0)
        patch.setattr("diffing.engines.counting.AT_ONCE", 1)
        assert_agrees(case)


PATHS = {
    "by the cells of rows": lambda m: m.setattr("diffing.engines.duckdb.hashes_for", lambda plan, work: {}),
    "by runs of cells": lambda m: m.setattr("diffing.engines.leftovers.are_whole_records", lambda sources, runs: False),
    "by nearly nothing": lambda m: m.setattr("diffing.engines.hashes.BUCKETS", (1, 1)),
    "even if most differ": lambda m: m.setattr("diffing.engines.leftovers.MOST", 1.0),
    "not at all": lambda m: m.setattr("diffing.engines.leftovers.MOST", -1.0),
}


@pytest.mark.parametrize("path", PATHS)
@given(case=cases())
@runs(20)
def test_the_engine_agrees_with_the_judge_however_rows_are_cancelled(case, path):
    with pytest.MonkeyPatch.context() as patch:
        PATHS[path](patch)
        assert_agrees(case)


@given(case=cases())
@runs(30)
def test_the_engine_agrees_with_the_judge_whatever_a_sample_lets_it_expect(case):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffing.engines.duckdb.SAMPLE", 1)
        assert_agrees(case)


DECIMALS = [
    *[
        "0",
        "-0",
        "+5",
        ".5",
        "5.",
        "-.5",
        "0.10",
        "+.000001",
        "-7.250000",
        "0.0000001",
        "9999999999.999999",
        "-9999999999.999999",
        "12345678901.5",
    ],
    "99999999999999999",  # the most that leaves room for a difference in 64 bits, and one digit more
    "-99999999999999999",
    "100000000000000000",
    "9999999999999999999.999999999999999999",
    "-9999999999999999999.999999999999999999",
]


@pytest.mark.parametrize("first", DECIMALS)
def test_decimals_at_the_limits_of_their_types_are_compared_as_the_judge_says(first, monkeypatch):
    monkeypatch.setattr("diffing.engines.duckdb.SAMPLE", 1)
    whole, _, fraction = first.partition(".")
    foreseen = re.compile(Digits.of(len(whole), len(fraction)).pattern)
    values = [first, *(each for each in DECIMALS if foreseen.fullmatch(each))]
    pairs = [(a, b) for a in values for b in [*values, ""] if (a, b) != (first, first)]
    old, new = (Table(("id", "v"), tuple((str(n), pair[side]) for n, pair in enumerate(pairs))) for side in (0, 1))
    for tolerance in (None, Tolerance(absolute=0.5)):
        assert_agrees(Case(old, new, key=(0,), rules=(Rule(), Rule(type=ColumnType.NUMBER, tolerance=tolerance))))


@st.composite
def crowded_keys(draw: st.DrawFn) -> Case:
    """A key with more, and one with fewer, than a thousand possible pairs."""
    kinds = [Kind(("k",) * 9 + ("l",), (str.upper,), ()), ID]
    rows = draw(rows_of(kinds, draw(st.integers(30, 45))))
    old = Table(("k", "v"), tuple(rows))
    return Case(old, replace(old, rows=tuple(draw(edited_rows(rows, kinds)))), key=(0,))


@given(case=crowded_keys())
@runs(6)
def test_the_engine_agrees_with_the_judge_on_crowded_keys(case):
    assert_agrees(case)


# --- laws ----------------------------------------------------------------------------------------


@given(case=cases())
@runs(15)
def test_every_row_has_exactly_one_fate(case):
    found = compared(case)
    said = found.summary
    assert len(case.old.rows) == said.old.rows == said.unchanged + said.changed + said.removed
    assert len(case.new.rows) == said.new.rows == said.unchanged + said.changed + said.added
    fates = Counter(row[0] for row in found.rows)
    assert fates == Counter({"added": said.added, "removed": said.removed, "changed": said.changed})
    assert said.changed <= said.changed_cells <= said.changed * len(said.columns)


@given(case=cases(), random=st.randoms(use_true_random=False))
@runs(12)
def test_the_order_of_rows_in_the_files_means_nothing(case, random):
    def shuffled(table: Table) -> Table:
        return replace(table, rows=tuple(random.sample(table.rows, len(table.rows))))

    found, again = compared(case), compared(replace(case, old=shuffled(case.old), new=shuffled(case.new)))
    assert found.csv == again.csv
    assert said_by_engine(found.summary) == said_by_engine(again.summary)


@given(case=cases())
@runs(10)
def test_a_table_does_not_differ_from_itself(case):
    found = compared(replace(case, new=replace(case.old, delimiter=";", line_end="\n"), renamed=()))
    assert not found.summary.differs
    assert found.rows == []


@given(case=cases())
@runs(12)
def test_swapping_old_and_new_swaps_added_and_removed_and_negates_changes(case):
    forth = compared(case)
    back = compared(replace(case, old=case.new, new=case.old), lambda plan: swapped(plan, like=forth.plan))
    assert (forth.summary.added, forth.summary.removed) == (back.summary.removed, back.summary.added)
    matched = [said.changed + said.unchanged for said in (forth.summary, back.summary)]
    assert matched[0] == matched[1]
    if not forth.summary.old.duplicate_keys + forth.summary.new.duplicate_keys:
        assert sorted(forth.rows) == sorted(mirrored(row, forth.plan) for row in back.rows)


@given(case=cases())
@runs(20)
def test_applying_the_diff_to_the_old_rows_gives_the_new_rows(case):
    found = compared(replace(case, text=True))
    rows = Counter(cells(case.old, found.plan, "old"))
    gone: Counter[tuple[str, ...]] = Counter()
    come: Counter[tuple[str, ...]] = Counter()
    width = 1 + len(found.plan.key)
    for change, *row in found.rows:
        key, both = row[: width - 1], row[width - 1 :]
        gone.update([(*key, *both[0::2])] if change != "added" else [])
        come.update([(*key, *both[1::2])] if change != "removed" else [])
    assert gone <= rows
    assert rows - gone + come == Counter(cells(case.new, found.plan, "new"))


@given(case=cases())
@runs(15)
def test_a_sum_of_changes_is_the_sum_of_the_changes(case):
    found = compared(case)
    names = oracle.header(found.plan)
    at = len(names) - sum(len(part) for part in map(parts, found.plan.columns))
    for pair, said in zip(found.plan.columns, found.summary.columns, strict=True):
        at += len(parts(pair))
        if pair.type is ColumnType.NUMBER:
            changes = [row[at - 1] for row in found.rows if row[at - 1]]
            if all(len(change.partition(".")[2]) <= 18 and len(change) < 20 for change in changes):
                assert Decimal(said.sum_of_changes or "0") == exact_sum(changes)


# --- what the laws speak of ----------------------------------------------------------------------


def swapped(plan: Plan, *, like: Plan) -> Plan:
    """The plan of the other direction: the same pairs with old and new in each other's place."""

    def turned(pair: ColumnPair) -> ColumnPair:
        return replace(pair, old=pair.new, new=pair.old, old_format=pair.new_format, new_format=pair.old_format)

    return replace(plan, key=tuple(map(turned, like.key)), columns=tuple(map(turned, like.columns)))


def mirrored(row: list[str], plan: Plan) -> list[str]:
    """A row of the diffed CSV as seen from the other direction."""
    found = [{"added": "removed", "removed": "added"}.get(row[0], row[0])]
    rest = row[1:]
    for pair in plan.key:
        width = 2 if pair.widened else 1
        found, rest = found + rest[:width][::-1], rest[width:]
    for pair in plan.columns:
        old, new, *change = rest[: len(parts(pair))]
        found, rest = found + [new, old, *map(negated, change)], rest[len(parts(pair)) :]
    return found


def parts(pair: ColumnPair) -> tuple[str, ...]:
    """The columns that a compared column has in the diffed CSV."""
    return ("old", "new", "change") if pair.type is ColumnType.NUMBER else ("old", "new")


def negated(change: str) -> str:
    return change if change in ("", "0") else change.removeprefix("-") if change.startswith("-") else f"-{change}"


def cells(table: Table, plan: Plan, side: str) -> list[tuple[str, ...]]:
    """The key and compared cells of each row of a file."""
    return [tuple(row[getattr(pair, side)] for pair in plan.pairs) for row in table.rows]


def exact_sum(numbers: list[str]) -> Decimal:
    with localcontext(prec=100):
        return sum(map(Decimal, numbers), Decimal(0))
