"""Rows that one file has more often than the other, by the hashes of their records.

Of the buckets of hashes (see `hashes`) those are opened whose sums differ, some million rows at a time,
and sorted; rows that are equal stand side by side then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from diffing.engines.hashes import Hashed, Hashes
from diffing.engines.run import SIDES
from diffing.lines import Positions

AT_ONCE = 1 << 22
"""About so many rows of both files are sorted at once."""

Mask = npt.NDArray[np.bool_]


def rows_without_partner(hashes: Mapping[str, Hashes], check: Callable[[], None]) -> dict[str, Positions]:
    """The numbers of each side's rows that the other has no equal of, in order; of equal rows the first ones.

    `check` is called now and then, and may raise to stop.
    """
    found: dict[str, list[Positions]] = {side: [] for side in SIDES}
    with ThreadPoolExecutor(len(SIDES)) as pool:
        for buckets in _shares(hashes):
            check()
            old, new = pool.map(lambda side, some=buckets: _picked(hashes[side], some), SIDES)
            for side, rows in zip(SIDES, without_partner(*old, *new), strict=True):
                found[side].append(rows)
    return {side: np.sort(np.concatenate(rows)) for side, rows in found.items()}


def _shares(hashes: Mapping[str, Hashes]) -> Iterator[Mask]:
    """The buckets that differ, in portions of AT_ONCE rows."""
    uneven = hashes["old"].sums != hashes["new"].sums
    share = np.count_nonzero(uneven) / len(uneven)
    portions = 1 + int(share * sum(each.rows for each in hashes.values())) // AT_ONCE
    of_portion = np.arange(len(uneven)) % portions
    for n in range(portions):
        yield uneven & (of_portion == n)


def _picked(hashes: Hashes, buckets: Mask) -> tuple[Hashed, Positions]:
    """The hashes in these buckets, and the numbers of their rows."""
    found: list[tuple[Hashed, Positions]] = [(np.empty(0, np.uint64), np.empty(0, np.intp))]
    for rows in hashes.batches():
        at = np.flatnonzero(buckets.take(hashes.buckets(rows.hashes), mode="clip"))
        found.append((rows.hashes.take(at, mode="clip"), at + rows.first))
    picked, numbers = zip(*found, strict=True)
    return np.concatenate(picked), np.concatenate(numbers)


def without_partner(old: Hashed, old_rows: Positions, new: Hashed, new_rows: Positions) -> tuple[Positions, Positions]:
    """The rows that are left when equal hashes cancel one for one: the first ones of each hash. Rows are given in order."""
    both = np.concatenate((old, new))
    if not len(both):
        return old_rows, new_rows
    order = np.argsort(both)
    differs = np.diff(both.take(order, mode="clip")) != 0
    starts = np.concatenate(([0], np.flatnonzero(differs) + 1))
    sizes = np.diff(starts, append=len(both))
    news = np.add.reduceat(order >= len(old), starts, dtype=np.intp)
    olds = sizes - news
    left = np.abs(olds - news)
    uneven = np.flatnonzero(left)
    size, begin = sizes[uneven], np.where(olds > news, 0, olds)[uneven]
    group = np.repeat(np.arange(len(uneven)) * len(both), size)
    members = np.sort(group + order[np.repeat(left > 0, sizes)]) - group  # of each hash: old rows first, in order
    rank = np.arange(len(members)) - np.repeat(np.cumsum(size) - size, size)
    kept = members[(rank >= np.repeat(begin, size)) & (rank < np.repeat(begin + left[uneven], size))]
    is_new = kept >= len(old)
    return old_rows[kept[~is_new]], new_rows[kept[is_new] - len(old)]
