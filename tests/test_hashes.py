"""Do records have the same hash exactly if the compared columns have the same text?"""

from __future__ import annotations

from pathlib import Path

import pytest

from diffing.engines.hashes import Hashes, Runs
from diffing.lines import Marks


def hashes(folder: Path, text: str, runs: Runs | None, *, columns: int = 3) -> list[int]:
    crlf = "\r\n" in text
    found = Hashes(folder / "one.hashes", 16, Marks(ord(","), ord('"'), columns), runs)
    found.file.unlink(missing_ok=True)
    found.file.with_suffix(".lengths").unlink(missing_ok=True)
    found.add(text.encode(), None, crlf=crlf)
    found.finish()
    return [int(each) for rows in found.batches() for each in rows.hashes]


ROWS = [("1", "a", ""), ("2", '"x,y"', "z"), ("3", '"two\nlines"', "ü"), ("", "", ""), ("12345678901234567890", "b", "c")]
ORDERS = [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)]


def written(order: tuple[int, ...], end: str, rows: list[tuple[str, ...]] = ROWS) -> str:
    return "".join(",".join(row[i] for i in order) + end for row in rows)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("order", ORDERS)
def test_columns_in_another_order_and_other_line_ends_have_the_same_hashes(tmp_path, order, end):
    runs = tuple((order.index(i), order.index(i)) for i in range(3))
    plain = hashes(tmp_path, written((0, 1, 2), "\n"), ((0, 0), (1, 1), (2, 2)))
    assert hashes(tmp_path, written(order, end), runs) == plain
    assert len(set(plain)) == len(ROWS)


@pytest.mark.parametrize("left_out", [0, 1, 2])
def test_a_column_that_is_left_out_does_not_count_and_all_others_do(tmp_path, left_out):
    runs = {0: ((1, 2),), 1: ((0, 0), (2, 2)), 2: ((0, 1),)}[left_out]
    before = hashes(tmp_path, written((0, 1, 2), "\n"), runs)
    for column in range(3):
        edited = [(*row[:column], "other", *row[column + 1 :]) for row in ROWS]
        assert (hashes(tmp_path, written((0, 1, 2), "\n", edited), runs) == before) == (column == left_out)


def test_cells_that_swap_places_are_another_record(tmp_path):
    runs = ((0, 0), (2, 2))
    a, b = (hashes(tmp_path, text, runs) for text in ("x,1,y\n", "y,1,x\n"))
    assert a != b
