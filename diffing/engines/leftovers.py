"""What is not identical in both files: the only rows that are looked at closely.

Identical rows cancel one for one: of a row that occurs k times in the old and m times in the new
file, k − m are left in the old one, or m − k in the new one. Rows are told apart by a 64-bit hash
of their line (or of their cells). For a row to be lost, it must share its hash with another row of
the files by chance: about d · n / 2^64 for d differing among n rows, one in a million million
for 1,000 among 10 million.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diffing.engines.reading import cells, cut_lines, lines
from diffing.engines.run import SIDES, Run

MOST_LEFT = 0.3
"""If more than this share of the lines is left, cutting them out as lines does not pay."""
FEW_ROWS = 100_000
"""Below this it does not matter."""


def find_leftovers(run: Run) -> None:
    """Make tables old_left and new_left: p0, p1, … and the matching forms of key cells."""
    if not (_lines_are_rows(run) and _cancel_lines(run)):
        _cancel_rows(run, {side: cells(run, side) for side in SIDES})


def _lines_are_rows(run: Run) -> bool:
    """Whether equal lines are equal rows, column for column."""
    sides = [run.sides[side] for side in SIDES]
    if not all(each.rows and each.records and each.records.line_is_row for each in sides):
        return False
    old, new = ((s.dialect.delimiter, s.dialect.quote, len(s.columns)) for s in (each.source for each in sides))
    return old == new and all(pair.old == pair.new for pair in run.plan.pairs)


def _cancel_lines(run: Run) -> bool:
    """Cancel identical lines; False if too many are left for that to pay."""
    _find_surplus(run, {side: f"SELECT hash(line) AS h FROM ({lines(run, side)})" for side in SIDES})
    left = run.number("SELECT sum(abs(net)) FROM surplus")
    if left > max(MOST_LEFT * sum(run.sides[side].rows for side in SIDES), FEW_ROWS):
        return False
    for side in SIDES:
        _create(run, side, cut_lines(run, side, _without_partner(run, side, lines(run, side), ["line"])))
    if _can_hide_in_lines(run):
        for side in SIDES:
            run.execute(f"ALTER TABLE {side}_left RENAME TO {side}_cut")
        _cancel_rows(run, {side: f"SELECT {', '.join(run.cell_names())} FROM {side}_cut" for side in SIDES})
        for side in SIDES:
            run.execute(f"DROP TABLE {side}_cut")
    return True


def _can_hide_in_lines(run: Run) -> bool:
    """Whether rows can be the same although their lines are not: by quotes, or columns left out."""
    quoted = any(each.records is not None and each.records.quoted for each in run.sides.values())
    return quoted or len(run.plan.pairs) < len(run.plan.new.columns)


def _cancel_rows(run: Run, rows: Mapping[str, str]) -> None:
    """Cancel rows with the same text in all cells of the plan; `rows` is SQL per side."""
    names = run.cell_names()
    row_hash = _hash(names)
    _find_surplus(run, {side: f"SELECT {row_hash} AS h FROM ({rows[side]})" for side in SIDES})
    for side in SIDES:
        _create(run, side, _without_partner(run, side, rows[side], names))


def _hash(names: Sequence[str]) -> str:
    return f"hash({', '.join(names)})"


def _find_surplus(run: Run, hashes: Mapping[str, str]) -> None:
    """Table `surplus`: hashes that occur more often in one file, by how many (old − new), and whether only there."""
    both = f"SELECT h, 1 AS one FROM ({hashes['old']}) UNION ALL SELECT h, -1 AS one FROM ({hashes['new']})"
    run.execute(
        "CREATE OR REPLACE TEMP TABLE surplus AS SELECT h, sum(one) AS net, count(*) = abs(sum(one)) AS alone"
        f" FROM ({both}) GROUP BY h HAVING sum(one) <> 0"
    )


def _without_partner(run: Run, side: str, rows: str, names: Sequence[str]) -> str:
    """SQL for a file's rows that have no identical row in the other, as often as they have none."""
    more = f"net {'>' if side == 'old' else '<'} 0"
    listed, row_hash = ", ".join(names), _hash(names)
    alone = f"SELECT {listed} FROM ({rows}) WHERE {row_hash} IN (SELECT h FROM surplus WHERE alone AND {more})"
    if not run.number(f"SELECT count(*) FROM surplus WHERE NOT alone AND {more}"):
        return alone
    one_each = ", ".join(f"first({name}) AS {name}" for name in names)
    partly = f"SELECT h FROM surplus WHERE NOT alone AND {more}"
    once = f"SELECT {row_hash} AS h, {one_each} FROM ({rows}) WHERE {row_hash} IN ({partly}) GROUP BY {row_hash}"
    copies = f"SELECT {listed}, unnest(range(CAST(abs(net) AS BIGINT))) FROM ({once}) JOIN surplus USING (h)"
    return f"{alone} UNION ALL SELECT {listed} FROM ({copies})"


def _create(run: Run, side: str, rows: str) -> None:
    run.execute(f"CREATE OR REPLACE TEMP TABLE {side}_left AS SELECT *{run.sql.forms(side)} FROM ({rows})")
