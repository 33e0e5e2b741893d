"""Rows that one file has more often than the other, by the hashes of their records.

Of the buckets of hashes (see `hashes`) those are opened whose sums differ, some million rows at a time,
and sorted; rows that are equal stand side by side then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from diffing.engines.hashes import Hashed, SummedHashes
from diffing.engines.run import SIDES
from diffing.lines import Positions

AT_ONCE = 1 << 22
"""About so many rows of both files are sorted at once."""

OTHER_BITS, FINE = np.uint64(10), np.uint64((1 << 20) - 1)
"""Buckets of hashes go by their highest bits; which others tell those of a portion apart, and how many."""

Mask = npt.NDArray[np.bool_]
Picked = tuple[Hashed, Positions]
"""Hashes, and the numbers of their rows."""


def rows_without_partner(hashes: Mapping[str, SummedHashes], check: Callable[[], None]) -> dict[str, Positions]:
    """The numbers of each side's rows that the other has no equal of, in order; of equal rows the first ones.

    `check` is called now and then, and may raise to stop.
    """
    found: dict[str, list[Positions]] = {side: [np.empty(0, np.intp)] for side in SIDES}
    with ThreadPoolExecutor(len(SIDES)) as pool:
        for buckets in _shares(hashes):
            check()
            picked = pool.map(lambda side, some=buckets: _picked(hashes[side], some), SIDES)
            for side, rows in zip(SIDES, without_partner(*_in_smaller_buckets(*picked)), strict=True):
                found[side].append(rows)
    return {side: np.sort(np.concatenate(rows)) for side, rows in found.items()}


def _shares(hashes: Mapping[str, SummedHashes]) -> Iterator[Mask]:
    """The buckets that differ, in portions of AT_ONCE rows."""
    if not any(each.rows for each in hashes.values()):
        return
    uneven = hashes["old"].sums != hashes["new"].sums
    share = np.count_nonzero(uneven) / len(uneven)
    portions = 1 + int(share * sum(each.rows for each in hashes.values())) // AT_ONCE
    for n in range(portions):
        portion = np.zeros_like(uneven)
        portion[n::portions] = uneven[n::portions]
        yield portion


def _picked(hashes: SummedHashes, buckets: Mask) -> Picked:
    """The rows in these buckets."""
    found: list[Picked] = [(np.empty(0, np.uint64), np.empty(0, np.intp))]
    for rows in hashes.batches():
        at = np.flatnonzero(buckets.take(hashes.buckets(rows.hashes), mode="clip"))
        found.append((rows.hashes.take(at, mode="clip"), at + rows.first))
    picked, numbers = zip(*found, strict=True)
    return np.concatenate(picked), np.concatenate(numbers)


def _in_smaller_buckets(old: Picked, new: Picked) -> tuple[Picked, Picked]:
    """Those of the rows that are left when they are put in buckets by other bits of their hashes, of which few hold more than one."""
    at = [((hashes >> OTHER_BITS) & FINE).view(np.intp) for hashes, _ in (old, new)]
    sums = np.zeros(int(FINE) + 1, np.uint64)
    np.add.at(sums, at[0], old[0])
    np.subtract.at(sums, at[1], new[0])
    kept = [np.flatnonzero(sums.take(each, mode="clip")) for each in at]
    a, b = ((hashes.take(each, mode="clip"), rows.take(each, mode="clip")) for (hashes, rows), each in zip((old, new), kept, strict=True))
    return a, b


def without_partner(olds_picked: Picked, news_picked: Picked) -> tuple[Positions, Positions]:
    """The rows that are left when equal hashes cancel one for one: the first ones of each hash. Rows are given in order."""
    (old, old_rows), (new, new_rows) = olds_picked, news_picked
    both = np.concatenate((old, new))
    if not len(both):
        return old_rows, new_rows
    ordered, order = in_order(both)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(ordered) != 0) + 1))
    sizes = np.diff(starts, append=len(both))
    news = np.add.reduceat(order >= len(old), starts, dtype=np.intp)
    olds = sizes - news
    left = np.abs(olds - news)
    uneven = np.flatnonzero((left > 0) & (sizes > 1))
    size, begin = sizes[uneven], np.where(olds > news, 0, olds)[uneven]
    rank = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    members = order[np.repeat(starts[uneven], size) + rank]  # of each hash: old rows first, in order
    some = members[(rank >= np.repeat(begin, size)) & (rank < np.repeat(begin + left[uneven], size))]
    kept = np.concatenate((order[starts[sizes == 1]], some))
    is_new = kept >= len(old)
    return old_rows[kept[~is_new]], new_rows[kept[is_new] - len(old)]


def in_order(hashes: Hashed) -> tuple[Hashed, Positions]:
    """Hashes in order, and the place of each; equal ones stay in their order.

    A sort of numbers takes a fifth of the time of a sort of places, so the places stand in the lowest bits
    of what is sorted. Where hashes differ in those bits only, they are put right afterwards.
    """
    low = np.uint64((1 << len(hashes).bit_length()) - 1)
    sorted_ = np.sort(hashes & ~low | np.arange(len(hashes), dtype=np.uint64))
    order = (sorted_ & low).view(np.intp)
    ordered = hashes.take(order, mode="clip")
    wrong = np.flatnonzero(ordered[1:] < ordered[:-1])
    if len(wrong):
        sorted_ &= ~low
        for high in np.unique(sorted_[wrong]):
            mixed = slice(np.searchsorted(sorted_, high), np.searchsorted(sorted_, high, "right"))
            right = np.argsort(ordered[mixed], kind="stable")
            order[mixed], ordered[mixed] = order[mixed][right], ordered[mixed][right]
    return ordered, order
