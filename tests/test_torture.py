"""Twelve small pairs on which other tools go wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diffing.errors import BadLinesError
from diffing.records import BadLines
from tests.comparing import Compared, compare_files

pytestmark = pytest.mark.usefixtures("engine")
CASES = Path(__file__).parent / "data" / "torture"
EXPECTED = json.loads((CASES / "expected.json").read_text())


def compare(case: str, tmp_path: Path, *, new: str | None = None, **choices: object) -> Compared:
    old = case if new else f"{case}_a"
    return compare_files(CASES / f"{old}.csv", CASES / f"{new or case + '_b'}.csv", tmp_path, **choices)


def verdict(found: Compared) -> dict[str, object]:
    """The result in the form of the expected verdicts."""
    changed = {
        row["id"]: {
            name: [row[f"{name}_old"], row[f"{name}_new"]]
            for name in (column.name for column in found.summary.columns)
            if row[f"{name}_old"] != row[f"{name}_new"]
        }
        for row in found.rows
        if row["change"] == "changed"
    }
    alone = {fate: [row["id"] for row in found.rows if row["change"] == fate] for fate in ("removed", "added")}
    return {**alone, "changed": changed}


@pytest.mark.parametrize("new", ["mixed_ub", "mixed_ub_sorted"])
def test_as_text_every_cell_has_the_verdict_of_its_text(tmp_path, new):
    found = compare("mixed_ua", tmp_path, new=new, key=("id",), text=True)
    expected = EXPECTED["mixed_ua_vs_ub"]["text"]
    assert verdict(found) == {name: expected[name] for name in ("removed", "added", "changed")}
    assert found.summary.unchanged == len(expected["equal"])
    assert list(found.summary.columns_added) == expected["columns_added"]
    assert list(found.summary.columns_removed) == expected["columns_removed"]


def test_by_default_numbers_count_as_same_by_value_and_within_tolerance(tmp_path):
    found = compare("mixed_ua", tmp_path, new="mixed_ub", key=("id",))
    assert found.fates == {"added": 1, "removed": 1, "changed": 3, "unchanged": 3}
    assert found.summary.changed_cells == 6
    assert found.same_by_rule == {"amount": {"numbers by value": 1, "within tolerance": 1}}


def test_cells_count_as_same_under_the_rules_a_user_switches_on(tmp_path):
    rules = {"ignore_case": ("note",), "ignore_space": ("note",), "nulls": ("NULL",), "new_formats": {"day": "%m/%d/%Y"}}
    found = compare("mixed_ua", tmp_path, new="mixed_ub", key=("id",), **rules)
    assert found.changed_cells == {"amount": 2}
    assert found.same_by_rule["note"] == {"ignoring surrounding spaces": 1, "null words": 1, "ignoring case": 1}
    assert found.same_by_rule["day"] == {"dates by value": 1}


def test_null_and_duplicate_keys_are_matched_and_counted(tmp_path):
    found = compare("mixed", tmp_path, key=("id",), text=True, totals=True)
    assert found.fates == {"added": 2, "removed": 1, "changed": 4, "unchanged": 5}
    assert [row["note_new"] for row in found.rows if row["id"] == "009"] == ["dupC"]
    old, new = found.summary.old, found.summary.new
    assert (old.null_keys, old.duplicate_keys, old.duplicate_key_rows) == (1, 1, 2)
    assert (new.null_keys, new.duplicate_keys, new.duplicate_key_rows) == (1, 1, 3)


@pytest.mark.parametrize("text", [True, False])
def test_integers_beyond_doubles_differ(tmp_path, text):
    assert compare("big", tmp_path, key=("id",), text=text).changed_cells == {"acct": 1}


@pytest.mark.parametrize("text", [True, False])
def test_leading_zeros_make_another_key(tmp_path, text):
    found = compare("lz", tmp_path, key=("id",), text=text)
    assert [(row["id"], row["v_old"], row["v_new"]) for row in found.rows] == [("01", "y", "z")]


@pytest.mark.parametrize("case", ["ck", "cc"])
@pytest.mark.parametrize("text", [True, False])
def test_compound_keys_do_not_collide_as_joined_text(tmp_path, case, text):
    assert compare(case, tmp_path, key=("k1", "k2"), text=text).fates == {"added": 1, "removed": 1, "changed": 0, "unchanged": 0}


@pytest.mark.parametrize("case", ["bom", "bomc"])
@pytest.mark.parametrize("text", [True, False])
def test_a_byte_order_mark_and_other_line_ends_are_no_difference(tmp_path, case, text):
    found = compare(case, tmp_path, key=("id",), text=text)
    assert [(row["id"], row["v_old"], row["v_new"]) for row in found.rows] == [("2", "b", "c")]


@pytest.mark.parametrize("text", [True, False])
def test_latin_1_is_read(tmp_path, text):
    found = compare("lat", tmp_path, key=("id",), text=text)
    assert [(row["v_old"], row["v_new"]) for row in found.rows] == [("café", "cafés")]


def test_ragged_lines_of_both_files_are_refused_with_their_numbers(tmp_path):
    with pytest.raises(BadLinesError, match=r"rag_a.csv has a bad line .2.*2 cells instead of 3.* rag_b.csv has a bad line .3.*4 cells"):
        compare("rag", tmp_path, key=("id",))


def test_ragged_lines_can_be_left_out_with_a_warning(tmp_path):
    found = compare("rag", tmp_path, key=("id",), bad_lines=BadLines.SKIP)
    assert found.fates == {"added": 1, "removed": 1, "changed": 0, "unchanged": 0}
    assert [(side.bad_lines, side.bad[0].line) for side in (found.summary.old, found.summary.new)] == [(1, 2), (1, 3)]
    assert sum("left out" in warning for warning in found.summary.warnings) == 2
    assert found.summary.differs


@pytest.mark.parametrize("text", [True, False])
def test_a_repeated_header_is_two_columns(tmp_path, text):
    assert compare("dh", tmp_path, key=("id",), text=text).changed_cells == {"v (2)": 1}


@pytest.mark.parametrize("text", [True, False])
def test_a_header_alone_is_a_table_of_no_rows(tmp_path, text):
    assert compare("em", tmp_path, key=("id",), text=text).fates == {"added": 1, "removed": 0, "changed": 0, "unchanged": 0}
