"""A quick look at many lines at once: are they regular records, one to a line?

Works on positions of bytes with numpy, which lets other threads run meanwhile. It only ever says
yes when it is sure; anything else is looked at again with more care (see `records`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LF, CR = 10, 13
Positions = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines that are records."""

    rows: int
    quoted: bool


def regular_lines(chunk: bytes, delimiter: int, quote: int | None, columns: int, *, crlf: bool) -> Lines | None:
    """The lines of a chunk that ends with a line end; None if they are not plainly regular.

    `delimiter` and `quote` are bytes. No line holds a quoted line end if this answers.
    """
    if b"\0" in chunk or b"\x01" in chunk or chunk.count(b"\r") != (chunk.count(b"\n") if crlf else 0):
        return None
    data = np.frombuffer(chunk, np.uint8)
    ends = np.flatnonzero(data == LF)
    starts = np.concatenate(([0], ends[:-1] + 1))
    if (ends - starts <= crlf).any() or (crlf and (data[ends - 1] != CR).any()):
        return None
    cuts = data == delimiter
    quoted = quote is not None and bytes([quote]) in chunk
    if quoted:
        quotes = data == quote
        inside = np.cumsum(quotes, dtype=np.uint8) & 1  # an odd number of quotes so far; may wrap
        if inside[ends].any() or not _in_place(data, np.flatnonzero(quotes), delimiter):
            return None
        cuts &= inside == 0
    counts = np.add.reduceat(cuts.view(np.uint8), starts)
    whole = int(counts.sum()) == np.count_nonzero(cuts)  # no count is beyond the type of `counts`
    return Lines(len(ends), quoted) if whole and (counts == columns - 1).all() else None


def _in_place(data: npt.NDArray[np.uint8], quotes: Positions, delimiter: int) -> bool:
    """Whether every quote opens a cell, closes one, or is doubled inside one."""
    opening, closing = quotes[0::2], quotes[1::2]
    doubled = opening[1:] == closing[:-1] + 1
    before, after = data[opening - 1], data[np.minimum(closing + 1, len(data) - 1)]
    opens = (before == delimiter) | (before == LF) | (opening == 0)
    closes = (after == delimiter) | (after == LF) | (after == CR)
    opens[1:] |= doubled
    closes[:-1] |= doubled
    return bool(opens.all() and closes.all())
