"""Do records have the same hash exactly if the compared columns have the same text?"""

from __future__ import annotations

from pathlib import Path

import pytest

from diffing import lines
from diffing.engines.hashes import Hashes, Runs
from diffing.lines import Marks


def hashes(folder: Path, text: str, runs: Runs | None, *, columns: int = 3) -> list[int]:
    crlf = "\r\n" in text
    found = Hashes(folder / "one.hashes", Marks(ord(","), ord('"'), columns), runs)
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


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("columns", [[0], [1], [3], [0, 2], [1, 3], [0, 1, 2, 3]])
def test_cells_end_at_the_same_places_however_they_are_looked_for(monkeypatch, columns, end):
    rows = [(str(i), '"a,b"' if i % 3 else "", "x" * (i * 37 % 200), '"two\nlines"' if i % 5 else "y") for i in range(100)]
    block = written((0, 1, 2, 3), end, rows).encode()
    marks = Marks(ord(","), ord('"'), 4)
    found = []
    for near in (0, 4):
        monkeypatch.setattr(lines, "NEAR", near)
        found.append(lines.cell_ends(block, lines.record_ends(block, ord('"')), marks, columns).tolist())
    assert found[0] == found[1]
    places = [0]
    for row in rows:
        for cell in row:
            places.append(places[-1] + len(cell) + 1)
        places[-1] += len(end) - 1
    assert found[0] == [[places[4 * i + column + 1] - 1 for column in columns] for i in range(len(rows))]
