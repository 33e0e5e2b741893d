"""Is what both files have in the same order left out, and nothing else?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffing.engines import duckdb, stretches
from diffing.errors import BadLinesError
from diffing.records import BadLines
from tests.comparing import Compared, compare_texts
from tests.tables import Case, Table, cases
from tests.test_properties import assert_agrees, runs

HEADER = "id,v,w\n"


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> list[stretches.Common | None]:
    """What each comparison finds to be common; files of any size are walked through, a few bytes at a time."""
    small(monkeypatch)
    seen: list[stretches.Common | None] = []
    find = stretches.find_common

    def watched(*given: Any) -> stretches.Common | None:
        seen.append(find(*given))
        return seen[-1]

    monkeypatch.setattr(duckdb, "find_common", watched)
    return seen


def small(patch: pytest.MonkeyPatch, near: int = 200) -> None:
    for name, value in {"LEAST": 1, "BUFFER": 50, "GLANCE": 8, "NEAR": near, "PIECE": 20, "MOST": 10.0, "FEW": 10**9}.items():
        patch.setattr(stretches, name, value)


def compare(old: str, new: str, folder: Path, **more: Any) -> Compared:
    return compare_texts(HEADER + old, HEADER + new, folder, key=("id",), **more)


def lines(*numbers: int, **other: str) -> str:
    return "".join(f"{n},{other.get(f'v{n}', 'a')},b\n" for n in numbers)


# --- the same answer -------------------------------------------------------------------------------


@given(case=cases())
@runs(30)
def test_the_engine_agrees_with_the_judge(case):
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        assert_agrees(case)


ON_A_LINE = ["", "a", "b", '"', ",", 'x,"y"', "long words that go on and on and on"]
CELLS = [ON_A_LINE, ON_A_LINE, [*ON_A_LINE, "\n", "a\nb", '"\n', 'x,"y"\n']]


@st.composite
def edited_in_place(draw: st.DrawFn) -> Case:
    """Cells with quotes and line ends; rows stay in order, but some are edited, removed or added."""
    cells = st.sampled_from(draw(st.sampled_from(CELLS)))
    rows = [(str(n), draw(cells), draw(cells)) for n in range(draw(st.integers(1, 12)))]
    new: list[tuple[str, ...]] = []
    for n, row in enumerate(rows):
        edit = draw(st.sampled_from(["", "", "", "changed", "removed", "added"]))
        new += [] if edit == "removed" else [(row[0], draw(cells), row[2]) if edit == "changed" else row]
        new += [(f"{n}a", draw(cells), "b")] if edit == "added" else []
    ends = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    spelled: Any = {"line_end": ends}
    return Case(
        Table(("id", "v", "w"), tuple(rows), ended=draw(st.booleans()), **spelled),
        Table(("id", "v", "w"), tuple(new), ended=draw(st.booleans()), **spelled),
        key=(0,),
    )


@given(case=edited_in_place(), near=st.sampled_from([20, 60, 400]))
@runs(80)
def test_the_engine_agrees_with_the_judge_on_rows_edited_in_place(case, near):
    with pytest.MonkeyPatch.context() as patch:
        small(patch, near)
        assert_agrees(case)


# --- what is left out ------------------------------------------------------------------------------


def test_between_edits_nothing_is_hashed(walked, tmp_path):
    found = compare(lines(*range(50)), lines(*range(20), *range(21, 40), 77, *range(40, 50), v10="x"), tmp_path)
    assert found.fates == {"added": 1, "removed": 1, "changed": 1, "unchanged": 48}
    assert walked[0].rows == 48
    assert {side: body.path.name for side, body in walked[0].rests.items()} == {"old": "old.rest.csv", "new": "new.rest.csv"}


def test_lines_of_which_some_are_in_the_middle_of_a_record_are_no_records(walked, tmp_path):
    found = compare('1,"a\nb",x\n2,"c\nd",x\n', '1,"a\nd",x\n2,"c\nb",x\n', tmp_path)
    assert found.fates == {"added": 0, "removed": 0, "changed": 2, "unchanged": 0}


def test_lines_that_a_quote_of_the_new_file_takes_in_are_no_records(walked, tmp_path):
    same = lines(2, 3, 4)
    found = compare(f"1,a,b\n{same}5,a,b\n", f'1,"a\n{same}5,a",b\n', tmp_path)
    assert found.fates == {"added": 0, "removed": 4, "changed": 1, "unchanged": 0}


def test_records_of_several_lines_are_left_out_at_the_beginning_only(walked, tmp_path):
    found = compare('1,"a\nb",x\n2,c,x\n3,c,x\n', '1,"a\nb",x\n2,z,x\n3,c,x\n', tmp_path)
    assert found.fates == {"added": 0, "removed": 0, "changed": 1, "unchanged": 2}
    assert walked[0].rows == 1


@pytest.mark.parametrize("bad_lines", [BadLines.SKIP, BadLines.REFUSE])
@pytest.mark.parametrize("bad", [("4,a\n", "4,a\n"), ("", "4,a\n"), ("4,a\n", "")])
def test_bad_lines_are_counted_and_named_by_their_numbers(bad_lines, bad, walked, tmp_path):
    old, new = (lines(1, 2, 3) + each + lines(5, 6) for each in bad)
    if bad_lines is BadLines.REFUSE:
        with pytest.raises(BadLinesError, match=r"has a bad line \(5\)"):
            compare(old, new, tmp_path, bad_lines=bad_lines)
        return
    found = compare(old, new, tmp_path, bad_lines=bad_lines)
    assert [side.bad_lines for side in (found.summary.old, found.summary.new)] == [bool(each) for each in bad]
    assert [each.line for side in (found.summary.old, found.summary.new) for each in side.bad] == [5 for each in bad if each]
    assert found.fates == {"added": 0, "removed": 0, "changed": 0, "unchanged": 5}


def test_identical_rows_that_repeat_cancel_one_for_one(walked, tmp_path):
    found = compare_texts("id,v\n" + "1,a\n" * 9 + "2,b\n", "id,v\n" + "1,a\n" * 5 + "2,c\n" + "1,a\n", tmp_path, key=("id",))
    assert found.fates == {"added": 0, "removed": 3, "changed": 1, "unchanged": 6}


def test_the_walk_ends_where_too_much_differs(walked, monkeypatch, tmp_path):
    monkeypatch.setattr(stretches, "FEW", 3)
    monkeypatch.setattr(stretches, "WORTH", 1000)
    compare(lines(*range(50)), lines(*range(50), **{f"v{n}": "x" for n in range(10, 50, 2)}), tmp_path)
    assert walked[0].rows == 10, "what both begin with is left out all the same"


def test_a_file_in_another_order_is_not_walked_through(walked, tmp_path):
    compare(lines(*range(60)), lines(*range(59, -1, -1)), tmp_path)
    assert walked == [None]


@given(data=st.binary(max_size=40), at=st.integers(0, 39), begin=st.integers(0, 8))
@runs(200)
def test_the_first_difference_is_found_wherever_the_bytes_stand(data, at, begin):
    a = np.frombuffer(bytes(begin) + data, np.uint8)[begin:]
    b = a.copy()
    b[at:] ^= 255
    assert stretches._first_difference(a, b) == min(at, len(data))
    assert stretches._first_difference(a, a.copy()) == len(data)


# --- checked in pieces -------------------------------------------------------------------------------


def test_the_pieces_of_a_file_add_up_to_the_whole(walked, tmp_path):
    found = compare(lines(*range(200)), lines(*range(200)), tmp_path)
    assert walked[0].rows == 200
    assert found.fates == {"added": 0, "removed": 0, "changed": 0, "unchanged": 200}


def test_a_record_that_stands_in_two_pieces_is_one_record(walked, tmp_path):
    text = lines(1, 2, 3) + '4,"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm",x\n' + lines(5, 6)
    found = compare(text, text, tmp_path)
    assert walked[0].rows == 6
    assert found.fates == {"added": 0, "removed": 0, "changed": 0, "unchanged": 6}
