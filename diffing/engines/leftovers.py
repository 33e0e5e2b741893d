"""What is not identical in both files: the only rows that are looked at closely.

Identical rows cancel one for one: of a row that occurs k times in the old and m times in the new
file, k − m are left in the old one, or m − k in the new one. Rows are told apart by a 64-bit hash
of their bytes (or of their cells). For a row to be lost, it must share its hash with another row of
the files by chance: about d · n / 2^64 for d differing among n rows, one in a million million
for 1,000 among 10 million.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from diffing.engines.hashes import Runs, SummedHashes, bucket_count, runs_of
from diffing.engines.matching import may_repeat
from diffing.engines.pieces import copy_records
from diffing.engines.reading import cells
from diffing.engines.run import SIDES, Run, Side
from diffing.engines.surplus import rows_without_partner
from diffing.lines import Marks, Positions
from diffing.plan import Plan
from diffing.sources import Format, Source

MOST = 0.8
"""From this share of differing rows on, too little would cancel to be worth the search."""


def hashes_for(plan: Plan, work: Path) -> dict[str, SummedHashes]:
    """What takes the records of each file in; nothing if they can't be told apart by their bytes."""
    sources = {"old": plan.old, "new": plan.new}
    (delimiter, quote), *other = {(s.dialect.delimiter.encode(), s.dialect.quote.encode()) for s in sources.values()}
    if other or len(delimiter) > 1 or len(quote) > 1 or any(s.format is not Format.CSV for s in sources.values()):
        return {}
    pairs = sorted(plan.pairs, key=lambda pair: pair.old)
    runs = {"old": runs_of([pair.old for pair in pairs]), "new": runs_of([pair.new for pair in pairs])}
    whole = are_whole_records(sources, runs)
    buckets = bucket_count(max(source.data.stat().st_size for source in sources.values()))
    return {
        side: SummedHashes(
            work / f"{side}.hashes",
            buckets,
            Marks(delimiter[0], quote[0] if quote else None, len(source.columns)),
            None if whole else runs[side],
        )
        for side, source in sources.items()
    }


def are_whole_records(sources: Mapping[str, Source], runs: Mapping[str, Runs]) -> bool:
    """Whether all columns are compared, in the same order in both files, whose lines end alike."""
    one_end = len({source.dialect.line_end for source in sources.values()}) == 1
    return one_end and all(runs[side] == ((0, len(source.columns) - 1),) for side, source in sources.items())


def find_leftovers(run: Run) -> bool:
    """Make tables old_left and new_left: p0, p1, … and the matching forms of key cells.

    True: the key names every row of them. Then rows with the same text can be among them, which
    matching finds to be unchanged just as well.
    """
    old, new = (run.sides[side] for side in SIDES)
    if not (old.hashes and new.hashes):
        _cancel_rows(run, {side: cells(run, side) for side in SIDES})
        return False
    hashed = max(old.hashes.rows, new.hashes.rows) / max(old.rows, new.rows, 1)  # the others are the same in both files
    mostly_differ = bool(run.plan.key) and hashed > MOST and hashed * _share_of_differing(old.hashes, new.hashes) > MOST
    if not mostly_differ:
        _cancel_records(run, {"old": old.hashes, "new": new.hashes})
    old.hashes.forget_sums()
    new.hashes.forget_sums()
    for side in SIDES:
        _create(run, side, cells(run, side))
    if not mostly_differ and not _can_hide(old, new, old.hashes, new.hashes):
        return False
    if run.plan.key and run.sql.same_text_matches and not any(may_repeat(run, side) for side in SIDES):
        return True
    for side in SIDES:
        run.execute(f"CREATE OR REPLACE TEMP TABLE {side}_cells AS SELECT {', '.join(run.cell_names())} FROM {side}_left")
    _cancel_rows(run, {side: f"SELECT * FROM {side}_cells" for side in SIDES})
    for side in SIDES:
        run.execute(f"DROP TABLE {side}_cells")
    return False


def _share_of_differing(old: SummedHashes, new: SummedHashes) -> float:
    """About which share of the hashed rows is not in both files: what makes so many buckets uneven."""
    used = int(np.count_nonzero(old.sums | new.sums))
    even = used - int(np.count_nonzero(old.sums != new.sums))
    rows_a_bucket = max(old.rows, new.rows) / max(used, 1)
    return 1.0 - float((even / max(used, 1)) ** (1 / max(rows_a_bucket, 1.0)))


def _can_hide(old: Side, new: Side, old_hashes: SummedHashes, new_hashes: SummedHashes) -> bool:
    """Whether rows can be the same although their bytes are not."""
    assert old.records and new.records
    return old.records.quoted or new.records.quoted or (old_hashes.runs is None and old_hashes.crlf != new_hashes.crlf)


# --- by the bytes of records ---------------------------------------------------------------------


def _cancel_records(run: Run, hashes: Mapping[str, SummedHashes]) -> None:
    """Let each side read only the records that have no identical one in the other file."""
    wanted = rows_without_partner(hashes, run.clock.watch.check)
    with ThreadPoolExecutor(len(SIDES)) as pool:
        lefts = pool.map(lambda side: _only(run.sides[side], wanted[side], run.work / f"{side}.left.csv"), SIDES)
        run.sides.update(zip(SIDES, lefts, strict=True))


def _only(each: Side, wanted: Positions, file: Path) -> Side:
    """A side that has its wanted rows in a file of their own, unless that is all."""
    if len(wanted) == each.rows:
        return each
    assert each.records and each.hashes
    return replace(each, left=copy_records(each.records, each.hashes.all_lengths(), wanted, file))


# --- by the text of cells ------------------------------------------------------------------------


def _cancel_rows(run: Run, rows: Mapping[str, str]) -> None:
    """Cancel rows with the same text in all cells of the plan; `rows` is SQL for the rows of each side."""
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
