"""A quick look at many records at once: are they all regular, and where do they end?

Positions of bytes are kept as bits, 64 to a word, so that quotes, delimiters and line ends are
matched for many bytes at a time and other threads run meanwhile. It only ever says yes when it is
sure; anything else is looked at again with more care (see `records`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LF, CR = 10, 13
NEAR = 4
"""The first so many columns of each record are found from its beginning on; for others all of the block's delimiters are listed."""
ONE = np.uint64(1)
TOP = np.uint64(63)
Positions = npt.NDArray[np.intp]
Bits = npt.NDArray[np.uint64]
"""One bit a byte, the first byte in the lowest bit of the first word."""


@dataclass(frozen=True, slots=True)
class Block:
    """Records that stand one after the other."""

    ends: Positions
    """Where each record ends, after its line end."""
    lines: int
    quoted: bool


@dataclass(frozen=True, slots=True)
class Marks:
    """How records are spelled; delimiter and quote are bytes."""

    delimiter: int
    quote: int | None
    columns: int


def is_even(data: bytes | memoryview, byte: int) -> bool:
    """Whether a byte occurs an even number of times."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == byte)) % 2 == 0


def regular_records(chunk: bytes, marks: Marks, *, crlf: bool) -> Block | None:
    """The records of a chunk that ends with a line end; None if they are not plainly regular."""
    if b"\0" in chunk:
        return None
    data = np.frombuffer(chunk, np.uint8)
    line_ends = _bits(data == LF)
    ends = _places(line_ends)
    if (crlf and (chunk.count(b"\r") != len(ends) or (data[ends - 1] != CR).any())) or (not crlf and b"\r" in chunk):
        return None
    lines = len(ends)
    cuts = _bits(data == marks.delimiter)
    quoted = marks.quote is not None and bytes([marks.quote]) in chunk
    if quoted:
        quotes = _bits(data == marks.quote)
        inside = _parity(quotes)
        bounds = cuts | line_ends | _bits(data == CR) if crlf else cuts | line_ends
        if not _in_place(quotes, inside, bounds) or _at(inside, ends[-1:]).any():
            return None
        cuts &= ~inside
        ends = ends[~_at(inside, ends)]
    if not np.array_equal(_count_before(cuts, ends), np.arange(1, len(ends) + 1) * (marks.columns - 1)):
        return None
    if marks.columns == 1 and (np.diff(ends, prepend=-1) <= 1 + crlf).any():
        return None  # blank lines
    return Block(ends + 1, lines, quoted)


def record_ends(block: bytes, quote: int | None) -> Positions:
    """Where each record of a block ends, after its line end; they are known to be regular and to end with LF or CR LF."""
    data = np.frombuffer(block, np.uint8)
    ends = _places(_bits(data == LF))
    inside = _inside(block, quote)
    return (ends if inside is None else ends[~_at(inside, ends)]) + 1


def cell_ends(block: bytes, ends: Positions, marks: Marks, columns: Sequence[int]) -> Positions:
    """Where the cells of some columns end in each regular record (with CR LF, that of LF after the last one): rows × columns."""
    early = [column for column in columns if column < marks.columns - 1]
    if early and max(early) >= NEAR:
        every = _all_cell_ends(block, marks)
        return every if [*columns] == [*range(marks.columns)] else every[:, np.array(columns)]
    found = np.empty((len(ends), len(columns)), np.intp)
    cuts, at = _cuts(block, marks) if early else np.empty(0, np.uint64), np.concatenate(([0], ends[:-1]))
    for column in range(max(early, default=-1) + 1):
        at = _next(cuts, at)
        if column in early:
            found[:, columns.index(column)] = at
        at += 1
    if marks.columns - 1 in columns:
        found[:, columns.index(marks.columns - 1)] = ends - 1
    return found


def _all_cell_ends(block: bytes, marks: Marks) -> Positions:
    data = np.frombuffer(block, np.uint8)
    at = np.flatnonzero((data == marks.delimiter) | (data == LF))
    inside = _inside(block, marks.quote)
    return (at if inside is None else at[~_at(inside, at)]).reshape(-1, marks.columns)


def _cuts(block: bytes, marks: Marks) -> Bits:
    """The delimiters outside quotes."""
    cuts, inside = _bits(np.frombuffer(block, np.uint8) == marks.delimiter), _inside(block, marks.quote)
    return cuts if inside is None else cuts & ~inside


def _inside(block: bytes, quote: int | None) -> Bits | None:
    """The bytes inside quotes; None if there are no quotes."""
    if quote is None or bytes([quote]) not in block:
        return None
    return _parity(_bits(np.frombuffer(block, np.uint8) == quote))


def _bits(mask: npt.NDArray[np.bool_] | npt.NDArray[np.uint8]) -> Bits:
    packed = np.packbits(mask, bitorder="little")
    packed.resize(-(-len(packed) // 8) * 8, refcheck=False)
    return packed.view(np.uint64)


def _places(bits: Bits) -> Positions:
    """Where bits are set. They are looked for 32 at a time if no two are that near each other."""
    words = bits.view(np.uint32)
    at = np.flatnonzero(words != 0)
    found = words.take(at, mode="clip")
    if (found & (found - np.uint32(1))).any():
        return np.flatnonzero(np.unpackbits(bits.view(np.uint8), bitorder="little"))
    return (at << 5) + np.bitwise_count(~found & (found - np.uint32(1)))


def _parity(bits: Bits) -> Bits:
    """Whether an odd number of bits is set up to each place, itself included."""
    odd = bits.copy()
    for shift in (1, 2, 4, 8, 16, 32):
        odd ^= odd << np.uint64(shift)
    before = np.bitwise_xor.accumulate(odd >> TOP)
    odd[1:] ^= np.uint64(0) - before[:-1]
    return odd


def _in_place(quotes: Bits, inside: Bits, bounds: Bits) -> bool:
    """Whether every quote opens a cell, closes one, or is doubled inside one."""
    opening, closing = quotes & inside, quotes & ~inside
    before = (bounds | closing) << ONE
    before[1:] |= (bounds | closing)[:-1] >> TOP
    before[0] |= ONE
    after = (bounds | opening) >> ONE
    after[:-1] |= (bounds | opening)[1:] << TOP
    return not ((opening & ~before).any() or (closing & ~after).any())


def _at(bits: Bits, at: Positions) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = ((bits[at >> 6] >> (at & 63).astype(np.uint64)) & ONE).astype(np.bool_)
    return found


def _next(bits: Bits, at: Positions) -> Positions:
    """The first place from each place on that has its bit set; there is one."""
    word = at >> 6
    from_there = bits[word] >> (at & 63).view(np.uint64)
    found = at + _zeros_below(from_there)
    later = np.flatnonzero(from_there == 0)
    word = word[later]
    while len(later):
        word += 1
        whole = bits[word]
        found[later] = (word << 6) + _zeros_below(whole)
        none = whole == 0
        later, word = later[none], word[none]
    return found


def _zeros_below(words: Bits) -> npt.NDArray[np.uint8]:
    """How many bits are not set before the first one that is."""
    below: npt.NDArray[np.uint8] = np.bitwise_count(~words & (words - ONE))
    return below


def _count_before(bits: Bits, at: Positions) -> Positions:
    """How many bits are set before each place."""
    before = np.zeros(len(bits) + 1, np.intp)
    np.cumsum(np.bitwise_count(bits), out=before[1:])
    word = at >> 6
    below = (ONE << (at & 63).view(np.uint64)) - ONE
    below &= bits.take(word, mode="clip")
    found: Positions = before.take(word, mode="clip")
    found += np.bitwise_count(below)
    return found
