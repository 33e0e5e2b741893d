"""What needs every row: totals of number columns, and null and duplicate keys of whole files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from diffing.engines.matching import KeyCounts
from diffing.engines.reading import cells
from diffing.engines.run import SIDES, Run
from diffing.engines.sums import PARTS, exact_item, exact_sum, sum_items
from diffing.grammar import ColumnType
from diffing.result import Summary
from diffing.sql import Sql, is_wide

AT_ONCE = 2000
"""So many columns are added up by one statement: the cells of 2,048 rows of them are in memory at the same time."""


def with_totals(summary: Summary, totals: Callable[[str], dict[int, str]], keys: Callable[[str], KeyCounts]) -> Summary:
    """The summary with what an engine finds of each side filled in: sums by position of a column, and key counts."""
    sums = {side: totals(side) for side in SIDES}
    columns = tuple(replace(column, old_total=sums["old"].get(i), new_total=sums["new"].get(i)) for i, column in enumerate(summary.columns))
    sides = {side: getattr(summary, side) for side in SIDES}
    if summary.key:
        counts = {side: keys(side) for side in SIDES}
        sides = {
            side: replace(sides[side], null_keys=each.null_rows, duplicate_keys=each.repeated, duplicate_key_rows=each.repeated_rows)
            for side, each in counts.items()
        }
    return replace(summary, columns=columns, old=sides["old"], new=sides["new"], whole_files=True)


def number_totals(
    sql: Sql, sums: Callable[[str, str], list[str]], rows: str, ask: Callable[[str], Sequence[Any]], carried: str = ""
) -> dict[int, str]:
    """Position of each compared number column to the exact sum of its cells that read.

    `sums` are the items of a sum in the engine's spelling, `rows` SQL for the cells, `ask` what
    answers one row, and `carried` what the sums need of the rows besides.
    """
    first = len(sql.plan.key)
    numbers = [(i, pair) for i, pair in enumerate(sql.plan.columns) if pair.type is ColumnType.NUMBER]
    if not numbers:
        return {}
    texts = ", ".join(f"{sql.normal(f'p{first + i}', pair)} AS x{i}" for i, pair in numbers)
    exact = ", ".join(f"{exact_item(sql, f'x{i}')} AS d{i}" for i, _ in numbers)
    items = ", ".join(item for i, _ in numbers for item in sums(f"x{i}", f"d{i}"))
    row = ask(f"SELECT {items} FROM (SELECT *, {exact} FROM (SELECT {carried}{texts} FROM ({rows})))")
    return {i: exact_sum(*row[PARTS * at : PARTS * (at + 1)]) for at, (i, _) in enumerate(numbers)}


def totals(run: Run, side: str) -> dict[int, str]:
    """The same of a file, by DuckDB."""
    if is_wide(run.plan):
        return _totals_of_many(run, side)
    return number_totals(run.sql, partial(sum_items, run.sql), cells(run, side), run.row)


def _totals_of_many(run: Run, side: str) -> dict[int, str]:
    """The same where there are many columns: their cells one below the other, for the time of expressions grows with their square."""
    first, found = len(run.plan.key), dict[int, str]()
    exact = exact_item(run.sql, "x")
    for pair, at in run.sql.rule_groups():
        for begin in range(0, len(at) if pair.type is ColumnType.NUMBER else 0, AT_ONCE):
            some = at[begin : begin + AT_ONCE]
            found |= dict.fromkeys(some, exact_sum(None, None, None, None))
            below = f"unnest([{', '.join(map(str, some))}]) AS i, unnest([{', '.join(f'p{first + i}' for i in some)}]) AS p"
            numbers = f"SELECT i, {run.sql.normal('p', pair)} AS x FROM (SELECT {below} FROM ({cells(run, side)}))"
            sums = ", ".join(sum_items(run.sql, "x", "d"))
            for i, *parts in run.execute(f"SELECT i, {sums} FROM (SELECT *, {exact} AS d FROM ({numbers})) GROUP BY i").fetchall():
                found[i] = exact_sum(*parts)
    return found


def whole_keys(run: Run, side: str) -> KeyCounts:
    """Null and repeated keys of a whole file."""
    listed = ", ".join(run.sql.match_names())
    keys = f"SELECT {listed} FROM (SELECT *{run.sql.forms(side)} FROM ({cells(run, side)}))"
    grouped = f"SELECT count(*) AS n, bool_or({run.sql.has_empty()}) AS empty FROM ({keys}) GROUP BY {listed}"
    found = run.row(
        "SELECT coalesce(sum(n) FILTER (WHERE empty), 0), count(*) FILTER (WHERE n > 1), coalesce(sum(n) FILTER (WHERE n > 1), 0)"
        f" FROM ({grouped})"
    )
    return KeyCounts(*map(int, found))
