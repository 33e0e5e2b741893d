"""Pieces of bytes: cut by where they end, put together in another order, copied from file to file."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from diffing.lines import Positions
from diffing.records import Records

PIECE = 1 << 21
"""Bytes that are copied at once, at most."""

Ends: TypeAlias = npt.NDArray[np.integer[Any]]
Data: TypeAlias = bytes | memoryview | npt.NDArray[np.uint8] | pa.Buffer


def cut(data: Data, ends: Ends) -> pa.Array:
    """Pieces that follow each other from the first byte on; fewer than 2 GB of them."""
    offsets = np.zeros(len(ends) + 1, np.int32)
    offsets[1:] = ends
    return pa.BinaryArray.from_buffers(pa.binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def put_together(pieces: pa.Array, wanted: npt.NDArray[np.integer[Any]]) -> tuple[pa.Buffer, Ends]:
    """The pieces with these numbers, one after the other, and where each of them ends."""
    numbers = np.ascontiguousarray(wanted, np.int64)
    places = pa.Array.from_buffers(pa.int64(), len(wanted), [None, pa.py_buffer(numbers)])
    taken = _call()("take", [pieces, places], memory_pool=pa.system_memory_pool())  # others keep what they get
    _, offsets, data = taken.buffers()
    return data, np.frombuffer(offsets, np.int32, len(taken) + 1)[1:]


@cache
def _call() -> Callable[..., Any]:
    """Arrow's `call_function`, without the wrappers around it, which take 80 ms to load."""
    try:
        from pyarrow._compute import call_function
    except ImportError:
        from pyarrow.compute import call_function
    found: Callable[..., Any] = call_function
    return found


def copy_records(records: Records, lengths: Iterable[Ends], wanted: Positions, file: Path) -> Records:
    """A file of the records with the wanted numbers, which are in order; `lengths` are those of all, some at a time."""
    with records.path.open("rb") as source, file.open("wb", PIECE // 8) as out:
        _copy_records(source, out, records.offset, lengths, wanted)
    return replace(records, path=file, skip_lines=0, offset=0, rows=len(wanted))


def _copy_records(source: BinaryIO, out: BinaryIO, offset: int, lengths: Iterable[Ends], wanted: Positions) -> None:
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
