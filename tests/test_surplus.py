"""Are the rows that are left those that the other file has not as often?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffing.engines import surplus
from diffing.engines.hashes import SummedHashes
from diffing.engines.surplus import in_order, rows_without_partner, without_partner
from diffing.lines import Marks
from tests.test_properties import runs

HASHES = st.lists(st.one_of(st.integers(0, 4), st.integers(0, 2**64 - 1)), max_size=40)


def left(mine: list[int], others: list[int]) -> list[int]:
    """The places of the rows of one side that are left, counted one by one."""
    there, rows = Counter(mine) - Counter(others), []
    for place, each in enumerate(mine):
        if there[each]:
            there[each] -= 1
            rows.append(place)
    return rows


@given(old=HASHES, new=HASHES)
@runs(300)
def test_equal_rows_cancel_one_for_one_and_the_first_are_left(old, new):
    sides = [(np.array(each, np.uint64), 3 * np.arange(len(each))) for each in (old, new)]
    found = without_partner(*sides)
    assert [sorted((rows // 3).tolist()) for rows in found] == [left(old, new), left(new, old)]


@given(st.lists(st.sampled_from([0, 1, 2, 2**63, 2**63 + 1, 2**63 + 9, 2**64 - 1]), max_size=40))
@runs(300)
def test_hashes_that_differ_in_few_bits_are_put_in_order_and_equal_ones_stay_in_theirs(hashes):
    numbers = np.array(hashes, np.uint64)
    ordered, places = in_order(numbers)
    assert places.tolist() == sorted(range(len(hashes)), key=hashes.__getitem__)
    assert ordered.tolist() == sorted(hashes)


def hashed(folder: Path, name: str, hashes: np.ndarray) -> SummedHashes:
    found = SummedHashes(folder / name, 64, Marks(ord(","), None, 1), None)
    hashes.tofile(found.file)
    np.add.at(found.sums, found.buckets(hashes), hashes)
    found.rows = len(hashes)
    return found


@pytest.mark.parametrize("fine", [surplus.FINE, np.uint64(7)])
def test_portions_give_what_all_at_once_gives(tmp_path, monkeypatch, fine):
    monkeypatch.setattr(surplus, "FINE", fine)
    draw = np.random.default_rng(1).integers
    old, new = draw(0, 2**64, 5000, np.uint64), draw(0, 2**64, 5000, np.uint64)
    new[:4700] = old[300:]
    old[10:20], new[10:15] = old[9], old[9]
    both = {"old": hashed(tmp_path, "old", old), "new": hashed(tmp_path, "new", new)}
    whole = rows_without_partner(both, lambda: None)
    monkeypatch.setattr(surplus, "AT_ONCE", 50)
    monkeypatch.setattr("diffing.engines.hashes.ROWS", 700)
    portions = rows_without_partner(both, lambda: None)
    sides = [old.tolist(), new.tolist()]
    assert [portions[side].tolist() for side in both] == [left(*sides), left(*sides[::-1])]
    assert [whole[side].tolist() for side in both] == [portions[side].tolist() for side in both]
