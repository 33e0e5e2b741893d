"""How often the keys of two files occur, counted on all of their records, and some of these records.

Only the cells of the key are looked at, and only their hashes are kept. That needs files in which the
same key is the same bytes: plain records, and keys with quotes around whole cells at most.
"""

from __future__ import annotations

import codecs
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from diffing.engines import Watch
from diffing.engines.hashes import Hashed, Hashes, marks_of, runs_of
from diffing.engines.pieces import cut, put_together
from diffing.engines.run import SIDES, Clock, of_both, reading_progress
from diffing.errors import SourceError
from diffing.lines import Marks, Positions
from diffing.plan import ColumnPair, Plan
from diffing.records import BadLines, Records, check_records
from diffing.sources import Source

AT_ONCE = 1 << 22
"""About so many keys are sorted at once, by each of two threads."""
ONE = np.uint64(1)


@dataclass(frozen=True, slots=True)
class Counted:
    """How the keys occur; pairs are of the old and the new file."""

    rows: tuple[int, int]
    alone: tuple[int, int]
    """Rows whose key no other row of their file has."""
    keys: tuple[int, int]
    """Different keys."""
    common: int
    """Keys that both files have."""
    empty: tuple[int, int]
    """Rows with an empty key cell."""

    @property
    def overlap(self) -> float:
        """The share of the keys of the file that has fewer which the other has too."""
        return self.common / (min(self.keys) or 1)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of all records of both files."""

    hashes: Mapping[str, _KeyHashes]
    picked: Mapping[str, Records]
    """Files of all records of some keys, the same keys of both."""

    def counted(self, check: Callable[[], None] = lambda: None) -> Counted:
        """Sort them, and count. `check` is called now and then, and may raise to stop."""
        rows = sum(each.rows for each in self.hashes.values())
        bits = np.uint64(max((rows // AT_ONCE).bit_length(), 1))

        def portion(side: str, n: int) -> Hashed:
            return _some(self.hashes[side], n, bits)

        return count_keys(portion, 1 << int(bits), [self.hashes[side].empty for side in SIDES], check)


def count_keys(portion: Callable[[str, int], Hashed], portions: int, empty: Sequence[int], check: Callable[[], None]) -> Counted:
    """Count keys by their hashes, in portions that have no key in common; `portion` gives those of the old or the new file.

    `empty` is how many rows of each have an empty key cell. `check` is called now and then, and may raise to stop.
    """

    def count(n: int) -> list[int]:
        check()
        return _count(*(portion(side, n) for side in SIDES))

    with ThreadPoolExecutor(2) as pool:
        found = [sum(each) for each in zip(*pool.map(count, range(portions)), strict=True)]
    return Counted((found[0], found[1]), (found[2], found[3]), (found[4], found[5]), found[6], (empty[0], empty[1]))


def read_keys(plan: Plan, sets: Sequence[Sequence[ColumnPair]], every: int, work: Path, watch: Watch) -> list[Keys] | None:
    """The keys of both files by each of some sets of columns, and all records of one in so many keys; `every` 0: of none.

    None if the same key need not be the same bytes, or a file can't be read. What it needs on disk is in
    the folder `work`, which is there and empty, and is needed as long as the keys are.

    Raises:
        Cancelled: the watch was told to stop.
    """
    takers = _takers(plan, sets, every, work)
    if not takers:
        return None
    clock = Clock(watch)
    clock.stage("reading the columns that could be the key")
    progress, unlike = reading_progress(plan, clock), threading.Event()

    def read(side: str) -> Records:
        source: Source = getattr(plan, side)
        taker, copy = takers[side], work / f"{side}.csv"

        def go_on(done: int) -> None:
            if copy.exists() or taker.unlike or unlike.is_set():
                unlike.set()
                raise _Unlike
            progress(done)

        records = check_records(source.body, BadLines.SKIP, copy, go_on, taker)
        taker.finish()
        go_on(0)
        return records

    try:
        records = of_both(read)
    except (_Unlike, SourceError):
        return None
    found = [{side: takers[side].sets[i] for side in SIDES} for i in range(len(sets))]
    return [Keys(each, {side: each[side].picked_of(records[side]) for side in SIDES}) for each in found]


class _Unlike(Exception):
    """The same key may be spelled in two ways."""


def _takers(plan: Plan, sets: Sequence[Sequence[ColumnPair]], every: int, work: Path) -> dict[str, _Taker]:
    """What takes the records of each file in; nothing if keys can't be told apart by their bytes."""

    def taker(side: str, marks: Marks) -> _Taker:
        columns = [[getattr(pair, side) for pair in key] for key in sets]
        return _Taker([_KeyHashes(work / f"{side}.{i}.hashes", marks, each, every) for i, each in enumerate(columns)])

    return {side: taker(side, marks) for side, marks in marks_of(plan).items()}


class _Taker:
    """Takes the records of one file in, for each of some keys."""

    def __init__(self, sets: Sequence[_KeyHashes]) -> None:
        self.sets = sets

    def add(self, block: bytes, ends: Positions | None, *, crlf: bool) -> None:
        for each in self.sets:
            each.add(block, ends, crlf=crlf)

    def finish(self) -> None:
        for each in self.sets:
            each.finish()

    @property
    def unlike(self) -> bool:
        """Whether the same key need not be the same bytes."""
        return any(each.unlike for each in self.sets)


class _KeyHashes(Hashes):
    """Hashes of the key cells of each record, without the quotes around them."""

    def __init__(self, file: Path, marks: Marks, columns: Sequence[int], every: int) -> None:
        super().__init__(file, marks, runs_of(columns))
        self.every = np.uint64(every)
        self.picked = 0
        self.picked_file = file.with_suffix(".csv")
        self.picked_file.write_bytes(codecs.BOM_UTF8)  # readers take one away; what a cell begins with stays
        self.columns = len(columns)
        self.empty = 0
        """Records with an empty key cell."""
        self.unlike = False
        """Whether a key has delimiters or quotes inside, and so need not be the same bytes where it is the same."""

    def _keep(self, hashes: Hashed) -> None:
        super()._keep(hashes)
        if not self.every:
            return
        wanted = np.flatnonzero(hashes % self.every == 0)
        self.picked += len(wanted)
        first = 0
        with self.picked_file.open("ab") as out:
            for block, ends in self.waiting:
                here = wanted[slice(*np.searchsorted(wanted, (first, first + len(ends))))] - first
                out.write(put_together(cut(block, ends), here)[0])
                first += len(ends)

    def picked_of(self, records: Records) -> Records:
        """What was picked of the records of a file."""
        return replace(records, path=self.picked_file, skip_lines=0, offset=0, rows=self.picked)

    def _texts(self) -> list[pa.Array]:
        return [self._bare(keys) for keys in super()._texts()]

    def _bare(self, keys: pa.Array) -> pa.Array:
        _, offsets, data = keys.buffers()
        cells = np.frombuffer(data, np.uint8)[: np.frombuffer(offsets, np.int32)[len(keys)]]
        if self.marks.quote is not None and (quotes := cells == self.marks.quote).any():
            self.unlike |= bool((quotes[1:] & quotes[:-1]).any())
            cells = cells[~quotes]
        ends = np.flatnonzero(cells == self.marks.delimiter)
        if len(ends) != len(keys) * self.columns:
            self.unlike = True
            return keys
        empty = np.diff(ends, prepend=-1).reshape(-1, self.columns) == 1
        self.empty += int(np.count_nonzero(empty.any(axis=1)))
        return cut(cells, ends[self.columns - 1 :: self.columns] + 1)


def _some(hashes: Hashes, portion: int, bits: np.uint64) -> Hashed:
    """Those hashes that begin with these bits."""
    shift, wanted = np.uint64(64) - bits, np.uint64(portion)
    found = [rows.hashes.take(np.flatnonzero(rows.hashes >> shift == wanted), mode="clip") for rows in hashes.batches()]
    return np.concatenate([np.empty(0, np.uint64), *found])


def _count(old: Hashed, new: Hashed) -> list[int]:
    """Rows of the old and the new file, keys that are alone in each, different keys of each, and common ones.

    They are sorted together, without their lowest bit, which says from which file they are.
    """
    both = np.concatenate((old & ~ONE, new | ONE))
    if not len(both):
        return [0] * 7
    both.sort()
    is_new, apart = (both & ONE).astype(np.bool_), both[1:] != both[:-1]
    begins, ends = np.concatenate(([True], apart)), np.concatenate((apart, [True]))
    counts = [int(np.count_nonzero(each & of)) for each in (begins & ends, begins) for of in (~is_new, is_new)]
    return [len(old), len(new), *counts, int(np.count_nonzero(both[1:] ^ both[:-1] == ONE))]
