"""Hashes of a file's records, on disk, and their sums by bucket.

Records are hashed while they are checked, a few megabytes at a time. Of two files that are nearly
the same nearly all buckets have the same sum: what is in them is in both files, as often as in the
other. Only the rest has to be sorted out record by record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from diffing.lines import Marks, Positions, cell_ends, record_ends
from diffing.locked import connected

BATCH = 1 << 24
"""Bytes of records that are hashed at once."""
ROWS = 1 << 20
"""Records that are looked at together."""
BYTES_A_BUCKET = 256
BUCKETS = 1 << 12, 1 << 22
"""The fewest and the most."""
IN_CACHE = 1 << 13
HALF = np.uint64(32)
ODD = np.uint64(0x9E3779B97F4A7C15)
"""What mixes the bits of one hash before the next is added."""

Hashed = npt.NDArray[np.uint64]
Lengths = npt.NDArray[np.uint32]
Runs = tuple[tuple[int, int], ...]
"""Neighbouring columns that are hashed as one text: the first and the last of each."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Hashes of records that follow each other, and the number of the first one."""

    first: int
    hashes: Hashed


def bucket_count(size: int) -> int:
    """How many buckets a file of so many bytes should have; a power of two."""
    few, most = BUCKETS
    return min(max(1 << (size // BYTES_A_BUCKET).bit_length(), few), most)


class Hashes:
    """Takes the records of one file in, block by block. Without `runs` whole records are hashed, line ends and all."""

    def __init__(self, file: Path, buckets: int, marks: Marks, runs: Runs | None) -> None:
        self.file = file
        self.marks = marks
        self.runs = runs
        self.sums = np.zeros(buckets, np.uint64)
        self.bits = np.uint64(65 - buckets.bit_length())
        self.rows = 0
        self.crlf = False
        self.waiting: list[tuple[bytes, Positions]] = []
        self.waiting_bytes = 0
        self.not_added: list[Hashed] = []

    @cached_property
    def con(self) -> duckdb.DuckDBPyConnection:
        """What hashes; made when there is something to hash. One thread keeps the order."""
        return connected(threads=1)

    def add(self, block: bytes, ends: Positions | None, *, crlf: bool) -> None:
        """Take in regular records; `ends` says where they end, if that is known."""
        self.crlf = crlf
        if ends is None:
            ends = record_ends(block, self.marks.quote)
        self.waiting.append((block, ends))
        self.waiting_bytes += len(block)
        if self.waiting_bytes >= BATCH:
            self._hash()

    def finish(self) -> None:
        self._hash()
        self._add_up()
        if self.rows:
            self.con.close()

    def _hash(self) -> None:
        if not self.waiting:
            return
        self.rows += sum(len(ends) for _, ends in self.waiting)
        hashes = self._hashes()
        self.not_added.append(hashes)
        if sum(map(len, self.not_added)) >= ROWS:
            self._add_up()
        with self.file.open("ab") as out:
            hashes.tofile(out)
        with _lengths_of(self.file).open("ab") as out:
            for _, ends in self.waiting:
                np.diff(ends, prepend=0).astype(np.uint32).tofile(out)
        self.waiting, self.waiting_bytes = [], 0

    def _add_up(self) -> None:
        """Add hashes to the sums of their buckets, in the order of these: that halves the time in which no other thread runs."""
        hashes = np.sort(np.concatenate([np.empty(0, np.uint64), *self.not_added]))
        np.add.at(self.sums, self.buckets(hashes), hashes)
        self.not_added.clear()

    def _hashes(self) -> Hashed:
        if self.runs is None:
            return self._hashes_of([_binary(block, ends) for block, ends in self.waiting])
        cuts = sorted({cut for first, last in self.runs for cut in (first, last + 1)} | {0, self.marks.columns})
        found = self._hashes_of([_pieces(block, cell_ends(block, self.marks), cuts, self.marks, self.crlf) for block, _ in self.waiting])
        pieces = found.reshape(-1, len(cuts) - 1 + self.crlf)
        return _together(pieces, [cuts.index(first) for first, _ in self.runs])

    def _hashes_of(self, texts: Sequence[pa.Array]) -> Hashed:
        self.con.register("texts", pa.Table.from_batches([pa.RecordBatch.from_arrays([each], names=["t"]) for each in texts]))
        found: Hashed = self.con.execute("SELECT hash(t) AS h FROM texts").fetchnumpy()["h"]
        self.con.unregister("texts")
        return found

    def buckets(self, hashes: Hashed) -> Positions:
        """The bucket of each hash."""
        return (hashes >> self.bits).view(np.intp)

    def forget_sums(self) -> None:
        """When they are not needed any more, their memory is."""
        self.sums = np.empty(0, np.uint64)

    def batches(self) -> Iterator[Rows]:
        """All records in their order in the file."""
        if self.rows:
            with self.file.open("rb") as hashes:
                for first in range(0, self.rows, ROWS):
                    yield Rows(first, np.fromfile(hashes, np.uint64, ROWS))

    def all_lengths(self) -> Iterator[Lengths]:
        """The lengths of all records in bytes, line ends and all, in the same order and as many at a time."""
        if self.rows:
            with _lengths_of(self.file).open("rb") as lengths:
                for _ in range(0, self.rows, ROWS):
                    yield np.fromfile(lengths, np.uint32, ROWS)


def runs_of(pairs: Sequence[tuple[int, int]]) -> tuple[Runs, Runs]:
    """The compared columns of the old and the new file as runs of columns that are neighbours in both."""
    runs: list[list[tuple[int, int]]] = []
    for old, new in sorted(pairs):
        if runs and runs[-1][-1] == (old - 1, new - 1):
            runs[-1].append((old, new))
        else:
            runs.append([(old, new)])
    first, last = ([run[at] for run in runs] for at in (0, -1))
    old_runs, new_runs = (tuple((a[side], b[side]) for a, b in zip(first, last, strict=True)) for side in (0, 1))
    return old_runs, new_runs


def _pieces(block: bytes, cells: Positions, cuts: Sequence[int], marks: Marks, crlf: bool) -> pa.Array:
    """The records of a block cut before these columns. Each piece ends with a delimiter, also that of a record's last cells.

    With CR LF, LF is a piece of its own.
    """
    spelled = np.frombuffer(block, np.uint8).copy()
    spelled[cells[:, -1] - crlf] = marks.delimiter
    ends = np.empty((len(cells), len(cuts) - 1 + crlf), np.int32)
    ends[:, : len(cuts) - 1] = cells[:, [cut - 1 for cut in cuts[1:]]] if len(cuts) <= marks.columns else cells
    ends += 1
    if crlf:
        ends[:, -1] = ends[:, -2]
        ends[:, -2] -= 1
    return _binary(spelled, ends.ravel())


def _together(pieces: npt.NDArray[np.uint64], order: Sequence[int]) -> Hashed:
    """One hash of several of a record, in this order; `pieces` is records × hashes. Some thousand records at a time stay in the cache."""
    found = np.empty(len(pieces), np.uint64)
    for first in range(0, len(pieces), IN_CACHE):
        some = pieces[first : first + IN_CACHE]
        mixed = some[:, order[0]].copy()
        for n in order[1:]:
            mixed ^= mixed >> HALF
            mixed *= ODD
            mixed += some[:, n]
        found[first : first + IN_CACHE] = mixed
    return found


def _lengths_of(file: Path) -> Path:
    return file.with_suffix(".lengths")


def _binary(data: bytes | npt.NDArray[np.uint8], ends: npt.NDArray[np.integer[Any]]) -> pa.Array:
    offsets = np.zeros(len(ends) + 1, np.int32)
    offsets[1:] = ends
    return pa.BinaryArray.from_buffers(pa.binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
