"""What is not identical in both files: the only rows that are looked at closely.

Identical rows cancel one for one: of a row that occurs k times in the old and m times in the new
file, k − m are left in the old one, or m − k in the new one. Rows are told apart by a 64-bit hash
of their bytes (or of their cells). For a row to be lost, it must share its hash with another row of
the files by chance: about d · n / 2^64 for d differing among n rows, one in a million million
for 1,000 among 10 million.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from diffing.engines.hashes import Lengths, Runs, SummedHashes, bucket_count, marks_of, runs_of
from diffing.engines.matching import may_repeat
from diffing.engines.pieces import cut, put_together
from diffing.engines.reading import cells
from diffing.engines.run import SIDES, Run, Side
from diffing.engines.surplus import rows_without_partner
from diffing.lines import Positions
from diffing.plan import Plan
from diffing.sources import Source

PIECE = 1 << 21
"""Bytes that are copied at once, at most."""
MOST = 0.8
"""From this share of differing rows on, too little would cancel to be worth the search."""


def hashes_for(plan: Plan, work: Path) -> dict[str, SummedHashes]:
    """What takes the records of each file in; nothing if they can't be told apart by their bytes."""
    sources = {"old": plan.old, "new": plan.new}
    pairs = sorted(plan.pairs, key=lambda pair: pair.old)
    runs = {side: runs_of([getattr(pair, side) for pair in pairs]) for side in SIDES}
    whole = are_whole_records(sources, runs)
    buckets = bucket_count(max(source.data.stat().st_size for source in sources.values()))
    return {
        side: SummedHashes(work / f"{side}.hashes", buckets, marks, None if whole else runs[side]) for side, marks in marks_of(plan).items()
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
    with each.records.path.open("rb") as source, file.open("wb", PIECE // 8) as out:
        _copy_records(source, out, each.records.offset, each.hashes.all_lengths(), wanted)
    return replace(each, left=replace(each.records, path=file, skip_lines=0, offset=0, rows=len(wanted)))


def _copy_records(source: BinaryIO, out: BinaryIO, offset: int, lengths: Iterator[Lengths], wanted: Positions) -> None:
    """Copy the records with the wanted numbers, by the lengths of all; the first one begins at `offset`."""
    out.write(codecs.BOM_UTF8)  # readers take one away; what a cell begins with stays
    first = done = 0
    buffer = memoryview(bytearray(PIECE))
    for some in lengths:
        ends = np.cumsum(some, dtype=np.intp)
        stop = int(np.searchsorted(wanted, first + len(ends)))
        at = wanted[done:stop] - first
        if len(at):
            turns = np.flatnonzero(np.diff(at) != 1)
            firsts, lasts = np.concatenate((at[:1], at[turns + 1])), np.concatenate((at[turns], at[-1:]))
            _copy_ranges(source, out, offset + ends[firsts] - some[firsts], offset + ends[lasts], buffer)
        first, done = first + len(ends), stop
        offset += int(ends[-1])


def _copy_ranges(source: BinaryIO, out: BinaryIO, starts: Positions, stops: Positions, buffer: memoryview) -> None:
    """Copy ranges of bytes, which are in order: those that are near each other are read together, into the buffer of a PIECE."""
    at = 0
    while at < len(starts):
        base = int(starts[at])
        after = int(np.searchsorted(stops, base + PIECE, "right"))
        if after == at:  # a long range
            stop, after = int(stops[at]), at + 1
            for piece in range(base, stop, PIECE):
                out.write(os.pread(source.fileno(), min(PIECE, stop - piece), piece))
        else:
            there = os.preadv(source.fileno(), [buffer[: int(stops[after - 1]) - base]], base)
            bounds = np.column_stack((starts[at:after], stops[at:after])).ravel() - base
            np.minimum(bounds, there, out=bounds)  # the last record may lack the line end that it was given
            ranges, _ = put_together(cut(buffer, bounds), np.arange(1, len(bounds), 2))  # the others are what is between them
            out.write(ranges)
        at = after


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
