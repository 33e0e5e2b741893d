"""What needs every row: totals of number columns, and null and duplicate keys of whole files."""

from __future__ import annotations

from dataclasses import replace

from diffing.engines.reading import cells
from diffing.engines.run import Run
from diffing.engines.sums import PARTS, exact_item, exact_sum, sum_items
from diffing.grammar import ColumnType
from diffing.result import SideSummary, Summary


def with_totals(run: Run, summary: Summary) -> Summary:
    """The summary with totals of both files filled in."""
    totals = {side: _totals(run, side) for side in ("old", "new")}
    columns = tuple(
        replace(column, old_total=totals["old"].get(i), new_total=totals["new"].get(i)) for i, column in enumerate(summary.columns)
    )
    old, new = _with_keys(run, "old", summary.old), _with_keys(run, "new", summary.new)
    return replace(summary, columns=columns, old=old, new=new, whole_files=True)


def _totals(run: Run, side: str) -> dict[int, str]:
    """Position of each compared number column to the exact sum of its cells that read."""
    first = len(run.plan.key)
    numbers = [(i, pair) for i, pair in enumerate(run.plan.columns) if pair.type is ColumnType.NUMBER]
    if not numbers:
        return {}
    texts = ", ".join(f"{run.sql.normal(f'p{first + i}', pair)} AS x{i}" for i, pair in numbers)
    exact = ", ".join(f"{exact_item(run.sql, f'x{i}')} AS d{i}" for i, _ in numbers)
    items = [item for i, _ in numbers for item in sum_items(run.sql, f"x{i}", f"d{i}")]
    row = (
        run.execute(f"SELECT {', '.join(items)} FROM (SELECT *, {exact} FROM (SELECT {texts} FROM ({cells(run, side)})))").fetchone() or ()
    )
    return {i: exact_sum(*row[PARTS * at : PARTS * (at + 1)]) for at, (i, _) in enumerate(numbers)}


def _with_keys(run: Run, side: str, summary: SideSummary) -> SideSummary:
    if not run.plan.key:
        return summary
    names = run.sql.match_names()
    listed = ", ".join(names)
    keys = f"SELECT {listed} FROM (SELECT *{run.sql.forms(side)} FROM ({cells(run, side)}))"
    grouped = f"SELECT count(*) AS n, bool_or({' OR '.join(f'{name} IS NULL' for name in names)}) AS empty FROM ({keys}) GROUP BY {listed}"
    found = run.execute(
        "SELECT coalesce(sum(n) FILTER (WHERE empty), 0), count(*) FILTER (WHERE n > 1), coalesce(sum(n) FILTER (WHERE n > 1), 0)"
        f" FROM ({grouped})"
    ).fetchone() or (0, 0, 0)
    return replace(summary, null_keys=int(found[0]), duplicate_keys=int(found[1]), duplicate_key_rows=int(found[2]))
