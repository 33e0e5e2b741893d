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

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from diffing.engines.pieces import cut, put_together
from diffing.lines import Marks, Positions, cell_ends, record_ends
from diffing.locked import connected
from diffing.plan import Plan
from diffing.sources import Format

BATCH = 1 << 24
"""Bytes of records that are hashed at once."""
ROWS = 1 << 20
"""Records that are looked at together."""
BYTES_A_BUCKET = 256
BUCKETS = 1 << 12, 1 << 22
"""The fewest and the most."""

Hashed = npt.NDArray[np.uint64]
Lengths = npt.NDArray[np.uint32]
Runs = tuple[tuple[int, int], ...]
"""Columns that are hashed, in this order: the first and the last of such as are neighbours."""


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

    def __init__(self, file: Path, marks: Marks, runs: Runs | None) -> None:
        self.file = file
        self.marks = marks
        self.runs = runs
        self.rows = 0
        self.crlf = False
        self.waiting: list[tuple[bytes, Positions]] = []
        self.waiting_bytes = 0

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
        """After the last record."""
        self._hash()
        if self.rows:
            self.con.close()

    def _hash(self) -> None:
        if self.waiting:
            self.rows += sum(len(ends) for _, ends in self.waiting)
            self._keep(self._hashes())
            self.waiting, self.waiting_bytes = [], 0

    def _keep(self, hashes: Hashed) -> None:
        """Write down what the records that wait are known by."""
        with self.file.open("ab") as out:
            hashes.tofile(out)

    def _texts(self) -> list[pa.Array]:
        """What is hashed of the records that wait."""
        if self.runs is None:
            return [cut(block, ends) for block, ends in self.waiting]
        return [_rearranged(block, ends, self.runs, self.marks, self.crlf) for block, ends in self.waiting]

    def _hashes(self) -> Hashed:
        texts = self._texts()
        self.con.register("texts", pa.Table.from_batches([pa.RecordBatch.from_arrays([each], names=["t"]) for each in texts]))
        found: Hashed = self.con.execute("SELECT hash(t) AS h FROM texts").fetchnumpy()["h"]
        self.con.unregister("texts")
        return found

    def batches(self) -> Iterator[Rows]:
        """All records in their order in the file."""
        if self.rows:
            with self.file.open("rb") as hashes:
                for first in range(0, self.rows, ROWS):
                    yield Rows(first, np.fromfile(hashes, np.uint64, ROWS))


class SummedHashes(Hashes):
    """The same, added up by bucket, and the lengths of records."""

    def __init__(self, file: Path, buckets: int, marks: Marks, runs: Runs | None) -> None:
        super().__init__(file, marks, runs)
        self.sums = np.zeros(buckets, np.uint64)
        self.bits = np.uint64(65 - buckets.bit_length())
        self.not_added: list[Hashed] = []

    def finish(self) -> None:
        super().finish()
        self._add_up()

    def _keep(self, hashes: Hashed) -> None:
        super()._keep(hashes)
        with _lengths_of(self.file).open("ab") as out:
            for _, ends in self.waiting:
                np.diff(ends, prepend=0).astype(np.uint32).tofile(out)
        self.not_added.append(hashes)
        if sum(map(len, self.not_added)) >= ROWS:
            self._add_up()

    def _add_up(self) -> None:
        """Add hashes to the sums of their buckets, in the order of these: that halves the time in which no other thread runs."""
        hashes = np.sort(np.concatenate([np.empty(0, np.uint64), *self.not_added]))
        np.add.at(self.sums, self.buckets(hashes), hashes)
        self.not_added.clear()

    def buckets(self, hashes: Hashed) -> Positions:
        """The bucket of each hash."""
        return (hashes >> self.bits).view(np.intp)

    def all_lengths(self) -> Iterator[Lengths]:
        """The lengths of all records in bytes, line ends and all, in the same order and as many at a time."""
        if self.rows:
            with _lengths_of(self.file).open("rb") as lengths:
                for _ in range(0, self.rows, ROWS):
                    yield np.fromfile(lengths, np.uint32, ROWS)

    def forget_sums(self) -> None:
        """When they are not needed any more, their memory is."""
        self.sums = np.empty(0, np.uint64)


def marks_of(plan: Plan) -> dict[str, Marks]:
    """How the records of each file are spelled; nothing if the same cells are not the same bytes in both."""
    sources = {"old": plan.old, "new": plan.new}
    (delimiter, quote), *other = {(s.dialect.delimiter.encode(), s.dialect.quote.encode()) for s in sources.values()}
    if other or len(delimiter) > 1 or len(quote) > 1 or any(s.format is not Format.CSV for s in sources.values()):
        return {}
    return {side: Marks(delimiter[0], quote[0] if quote else None, len(source.columns)) for side, source in sources.items()}


def runs_of(columns: Sequence[int]) -> Runs:
    """Columns of a file, in any order, as runs of neighbours."""
    runs: list[tuple[int, int]] = []
    for column in columns:
        if runs and runs[-1][1] == column - 1:
            runs[-1] = (runs[-1][0], column)
        else:
            runs.append((column, column))
    return tuple(runs)


def _rearranged(block: bytes, ends: Positions, runs: Runs, marks: Marks, crlf: bool) -> pa.Array:
    """The records of a block with the cells of these runs only, in this order, each ended by a delimiter."""
    cuts = sorted({each for first, last in runs for each in (first, last + 1)} | {0, marks.columns})
    pieces = len(cuts) - 1 + crlf  # LF of CR LF is a piece of its own, which nobody takes
    spelled = np.frombuffer(block, np.uint8).copy()
    spelled[ends - 1 - crlf] = marks.delimiter
    bounds = np.empty((len(ends), pieces), np.int32)
    bounds[:, : len(cuts) - 1] = cell_ends(block, ends, marks, [each - 1 for each in cuts[1:]])
    bounds += 1
    if crlf:
        bounds[:, -1] = ends
        bounds[:, -2] = ends - 1
    found = cut(spelled, bounds.ravel())
    if pieces == 1:
        return found
    order = np.array([cuts.index(first) for first, _ in runs])
    texts, of_pieces = put_together(found, (np.arange(len(ends))[:, None] * pieces + order).ravel())
    return cut(texts, of_pieces[len(runs) - 1 :: len(runs)])


def _lengths_of(file: Path) -> Path:
    return file.with_suffix(".lengths")
