"""Is only what differs looked at closely?"""

from __future__ import annotations

from pathlib import Path

import pytest

from diffing.engines import leftovers
from diffing.engines.run import Run
from tests.comparing import compare_texts

HEADER = "id,price,note\n"
ROWS = [f"{i},{i / 4:.2f},the same words in every row {i % 7}\n" for i in range(60_000)]  # more than the head that is worth skipping


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many rows of each side are read into cells."""
    seen: dict[str, int] = {}
    cells = leftovers.cells

    def watched(run: Run, side: str) -> str:
        each = run.sides[side]
        seen[side] = each.left.rows if each.left else each.rows
        return cells(run, side)

    monkeypatch.setattr(leftovers, "cells", watched)
    return seen


def compared(new: list[str], folder: Path) -> None:
    compare_texts(HEADER + "".join(ROWS), HEADER + "".join(new), folder, key=("id",))


def test_of_identical_files_nothing_is_read(read, tmp_path):
    compared(ROWS, tmp_path)
    assert read == {"old": 0, "new": 0}


def test_of_rows_added_at_the_end_nothing_else_is_read(read, tmp_path):
    compared([*ROWS, "a,1,x\n", "b,2,y\n"], tmp_path)
    assert read == {"old": 0, "new": 2}


def test_of_moved_rows_with_some_edits_the_edited_ones_are_read(read, tmp_path):
    edited = ["0,9.99,new\n" if row.startswith("0,") else row for row in ROWS]
    compared(edited[::-1], tmp_path)
    assert read == {"old": 1, "new": 1}


def test_where_most_rows_differ_no_search_is_made_for_the_others(read, tmp_path):
    compared([row.replace("words", "texts") if i % 10 else row for i, row in enumerate(ROWS)], tmp_path)
    assert read == {"old": len(ROWS), "new": len(ROWS)}


@pytest.mark.parametrize("first", [True, False])
def test_a_cell_that_begins_as_files_with_a_byte_order_mark_do_keeps_it(first, tmp_path):
    rows = [f"{i},1,x\n" for i in range(50)]
    old, new = ([f"\ufeffa,{price},x\n", *rows] if first else [*rows, f"\ufeffa,{price},x\n"] for price in "23")
    found = compare_texts(HEADER + "".join(old), HEADER + "".join(new[::-1]), tmp_path, key=("id",))
    assert found.fates == {"added": 0, "removed": 0, "changed": 1, "unchanged": 50}
    assert found.rows[0]["id"] == "\ufeffa"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_last_record_without_a_line_end_is_copied_as_it_is(end, tmp_path):
    old, new = (end.join(["id,price,note", *(f"{i},1,x" for i in range(50)), last]) for last in ("last,1,a", "last,1,b"))
    found = compare_texts(old, new, tmp_path, key=("id",))
    assert [(row["id"], row["note_old"], row["note_new"]) for row in found.rows] == [("last", "a", "b")]
