"""Does the judge judge as chapter "What a diff means" says? By hand, sentence by sentence."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from diffing.grammar import ColumnType
from diffing.plan import ColumnPair, Tolerance
from diffing.result import Cell
from tests.oracle import Verdict, compare, difference, header, judge, read_date, read_number

TEXT = ColumnPair("t", 1, 1)
NUMBER = ColumnPair("v", 1, 1, ColumnType.NUMBER)
DATE = ColumnPair("d", 1, 1, ColumnType.DATE)
ID = ColumnPair("id", 0, 0)


@dataclass(frozen=True)
class Asked:
    """As much of a plan as the judge reads."""

    key: tuple[ColumnPair, ...]
    columns: tuple[ColumnPair, ...]


def verdict(old: list[str], new: list[str], value: ColumnPair = TEXT, key: tuple[ColumnPair, ...] = (ID,)) -> Verdict:
    """Two tables written as words: `1:a` is a row with the key 1 and the cell a."""
    columns = (value,) if key else (ID, value)
    return judge([row.split(":") for row in old], [row.split(":") for row in new], Asked(key, columns))


def counts(found: Verdict) -> tuple[int, int, int, int]:
    """Added, removed, changed, unchanged."""
    return found.added, found.removed, found.changed, found.unchanged


@pytest.mark.parametrize("spelling", ["1.5", "+1.5", "15e-1", "15E-1", "0.15e1", "1.500"])
def test_numbers_are_the_same_by_value(spelling):
    assert compare("1.50", spelling, NUMBER) is Cell.NUMBER


def test_numbers_are_exact_at_any_size():
    assert compare("9007199254740993", "9007199254740992.0", NUMBER) is Cell.DIFFERS
    assert compare("9007199254740992", "9007199254740992.0", NUMBER) is Cell.NUMBER


@pytest.mark.parametrize(
    "cell", ["007", "1_000", " 5", "5 ", "1,5", "0x1F", "nan", "inf", "1e400", "", ".", "+", "1e", "1e0000000001", "٣", "5\n"]
)
def test_what_does_not_read_as_a_number_is_text(cell):
    assert read_number(cell) is None


@pytest.mark.parametrize("cell", ["0", "-0", "5.", ".5", "-.5e3", "1e5", "0e400", "1e-400", "0.0"])
def test_what_reads_as_a_number(cell):
    assert read_number(cell) is not None


def test_leading_zeros_differ_even_in_a_number_column():
    assert compare("007", "7", NUMBER) is Cell.DIFFERS


def test_null_is_neither_zero_nor_the_text_null():
    assert compare("", "0", NUMBER) is Cell.DIFFERS
    assert compare("", "NULL", TEXT) is Cell.DIFFERS
    assert compare("", "", TEXT) is Cell.SAME_TEXT


def test_the_default_tolerance_asks_for_a_fraction():
    assert compare("0.30000000000000004", "0.3", NUMBER) is Cell.TOLERANCE
    assert compare("10000000000", "10000000001", NUMBER) is Cell.DIFFERS
    assert compare("10000000000.0", "10000000001.00", NUMBER) is Cell.DIFFERS
    assert compare("10000000000.5", "10000000001", NUMBER) is Cell.TOLERANCE


def test_a_given_tolerance_holds_for_whole_numbers_and_zero_is_exact():
    assert compare("10", "11", _with(Tolerance(absolute=1))) is Cell.TOLERANCE
    assert compare("10", "12", _with(Tolerance(absolute=1))) is Cell.DIFFERS
    assert compare("100", "101", _with(Tolerance(relative=0.01))) is Cell.TOLERANCE
    assert compare("0.30000000000000004", "0.3", _with(Tolerance())) is Cell.DIFFERS
    assert compare("0.3", "0.2", _with(Tolerance(absolute=0.1))) is Cell.TOLERANCE


def test_what_is_at_the_edge_of_a_tolerance_in_doubles_only_or_in_decimals_only_differs():
    assert compare("0.4", "0.3", _with(Tolerance(absolute=0.1))) is Cell.DIFFERS
    assert compare("9007199254740993", "9007199254740992", _with(Tolerance(absolute=0.5))) is Cell.DIFFERS
    assert compare("9007199254740993", "9007199254740992", _with(Tolerance(absolute=1))) is Cell.TOLERANCE


def test_no_tolerance_makes_a_number_of_text():
    assert compare("nan", "NaN", _with(Tolerance(absolute=9))) is Cell.DIFFERS


def test_dates_are_the_same_by_value():
    assert compare("2024-01-05", "2024-01-05 00:00:00", DATE) is Cell.DATE
    assert compare("2024-01-05", "2024-01-05T00:00", DATE) is Cell.DATE
    assert compare("2024-01-05", "2024-01-06", DATE) is Cell.DIFFERS
    assert compare("2024-01-05", "05.01.2024", DATE) is Cell.DIFFERS


def test_instants_are_compared_only_when_both_have_an_offset():
    assert compare("2024-01-05T10:00Z", "2024-01-05 12:00:00+02:00", DATE) is Cell.DATE
    assert compare("2024-01-05T10:00Z", "2024-01-05T10:00", DATE) is Cell.DIFFERS


@pytest.mark.parametrize(
    "cell",
    [
        "2024-02-30",
        "2024-1-5",
        "2024-01-05T24:00",
        "2024-01-05T10:00:60",
        "2024-01-05T10:00:00.1234567",
        "epoch",
        "2024-01-05Z",
        "0000-01-01",
    ],
)
def test_what_does_not_read_as_a_date_is_text(cell):
    assert read_date(cell) is None


def test_other_spellings_of_dates_are_read_with_a_named_format_only():
    pair = ColumnPair("d", 1, 1, ColumnType.DATE, old_format="%d/%m/%Y")
    assert compare("05/01/2024", "2024-01-05", pair) is Cell.DATE
    assert compare("2024-01-05", "05/01/2024", pair) is Cell.DIFFERS
    assert compare("2024-01-05", "2024-01-05 00:00", pair) is Cell.DATE


def test_the_first_rule_that_makes_cells_the_same_names_it():
    pair = ColumnPair("v", 1, 1, ColumnType.NUMBER, ignore_case=True, ignore_space=True, nulls=("NA",))
    assert compare(" 1", "1\u00a0", pair) is Cell.SPACE
    assert compare("\t", "", pair) is Cell.SPACE
    assert compare(" na ", "", pair) is Cell.NULL_WORD
    assert compare(" 1.0", "1", pair) is Cell.NUMBER
    assert compare("x", " X", pair) is Cell.CASE
    assert compare("NA", "0", pair) is Cell.DIFFERS


def test_every_row_has_one_fate():
    found = verdict(["1:a", "2:b", "3:c"], ["3:c", "2:B", "4:d"])
    assert counts(found) == (1, 1, 1, 1)
    assert found.rows == [["removed", "1", "a", ""], ["changed", "2", "b", "B"], ["added", "4", "", "d"]]


def test_keys_match_as_text():
    assert counts(verdict(["7:a"], ["007:a"])) == (1, 1, 0, 0)
    number = ColumnPair("id", 0, 0, ColumnType.NUMBER)
    assert counts(verdict(["1:a"], ["1.0:a"], key=(number,))) == (1, 1, 0, 0)


def test_keys_read_by_value_match_in_two_spellings():
    number = ColumnPair("id", 0, 0, ColumnType.NUMBER, by_value=True)
    found = verdict(["1:a", "2:b"], ["1.0:a", "2.0:c"], key=(number,))
    assert counts(found) == (0, 0, 1, 1)
    assert found.rows == [["changed", "2", "2.0", "b", "c"]]
    assert found.key_same_by_rule == {"id": 2}


def test_a_null_key_matches_a_null_key():
    assert counts(verdict([":a"], [":b"])) == (0, 0, 1, 0)


def test_compound_keys_do_not_collide_as_joined_text():
    key, value = (ID, ColumnPair("k", 1, 1)), ColumnPair("v", 2, 2)
    found = judge([["a,b", "c", "1"]], [["a", "b,c", "1"]], Asked(key, (value,)))
    assert counts(found) == (1, 1, 0, 0)


def test_rows_of_a_repeated_key_are_paired_by_fewest_differences():
    found = verdict(["9:a", "9:b"], ["9:b", "9:a", "9:c"])
    assert counts(found) == (1, 0, 0, 2)
    key, columns = (ID,), (ColumnPair("v", 1, 1), ColumnPair("w", 2, 2))
    found = judge([["9", "a", "x"], ["9", "b", "y"]], [["9", "b", "z"], ["9", "c", "z"]], Asked(key, columns))
    assert [row[2:] for row in found.rows] == [["a", "c", "x", "z"], ["b", "b", "y", "z"]]


def test_ties_of_a_repeated_key_go_by_the_rows_text():
    found = verdict(["9:b", "9:a"], ["9:d", "9:c", "9:"])
    assert found.rows == [["added", "9", "", "d"], ["changed", "9", "a", ""], ["changed", "9", "b", "c"]]


def test_a_key_with_more_than_a_thousand_pairs_is_paired_in_text_order():
    old = [f"9:{i:02}" for i in range(32)]
    new = [f"9:{i:02}" for i in range(40, 72)] + ["9:00 "]
    pair = ColumnPair("t", 1, 1, ignore_space=True)
    assert counts(verdict(old, new, pair)) == (1, 0, 31, 1)
    assert counts(verdict(old, ["9:", *new], pair)) == (2, 0, 32, 0)


def test_without_a_key_rows_are_multisets_and_tolerances_are_not_applied():
    found = verdict(["a:1", "a:1", "b:0.3"], ["a:1.0", "a:1", "b:0.30000000000000004"], NUMBER, key=())
    assert counts(found) == (1, 1, 0, 2)
    assert found.same_by_rule == {"id": {}, "v": {Cell.NUMBER: 1}}
    assert found.rows[0] == ["added", "", "b", "", "0.30000000000000004", "0.30000000000000004"]


def test_what_counts_as_the_same_is_counted_by_rule_and_column():
    found = verdict(["1:1.50", "2:0.3", "3:4", "4:x"], ["1:1.5", "2:0.30000000000000004", "3:4", "4:y"], NUMBER)
    assert found.same_by_rule == {"v": {Cell.NUMBER: 1, Cell.TOLERANCE: 1}}
    assert found.changed_by_column == {"v": 1}


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [("1.5", "1.75", "0.25"), ("", "2.50", "2.5"), ("2", "", "-2"), ("", "", "0"), ("x", "1", ""), ("0.1", "0.3", "0.2"),
     ("9007199254740993", "9007199254740992", "-1"), ("1e3", "1", "-999"), ("0", "-0", "0"), ("", "1e22", "1" + "0" * 22),
     ("0", "1e-7", "0.0000001"), ("-1e308", "1e308", ""), ("1", "007", "")],
)  # fmt: skip
def test_a_change_is_new_minus_old_in_plain_decimals(old, new, change):
    assert difference(old, new, NUMBER) == change


def test_output_is_ordered_by_key_with_numbers_by_value_and_empty_first():
    number = ColumnPair("id", 0, 0, ColumnType.NUMBER)
    old = [f"{key}:a" for key in ("10", "9", "x", "", "é", "9.0", "-1e1", "07")]
    assert [row[1] for row in verdict(old, [], key=(number,)).rows] == ["", "-1e1", "9", "9.0", "10", "07", "x", "é"]
    assert [row[1] for row in verdict(old, []).rows] == ["", "-1e1", "07", "10", "9", "9.0", "x", "é"]


def test_keys_read_by_value_are_ordered_by_value_beyond_what_doubles_tell_apart():
    number = ColumnPair("id", 0, 0, ColumnType.NUMBER, by_value=True)
    old = [f"{key}:a" for key in ("90071992547409921", "90071992547409920", "1.5000000000000001", "1.50")]
    keys = [row[1] for row in verdict(old, [], key=(number,)).rows]
    assert keys == ["1.50", "1.5000000000000001", "90071992547409920", "90071992547409921"]


def test_a_header_names_key_and_sides_and_stays_unique():
    assert header(Asked((ID,), (NUMBER,))) == ["change", "id", "v_old", "v_new", "v_change"]
    wide = ColumnPair("id", 0, 0, ignore_case=True)
    assert header(Asked((wide,), (ColumnPair("id_old", 1, 1),))) == ["change", "id_old", "id_new", "id_old_old", "id_old_new"]
    assert header(Asked((ColumnPair("change", 0, 0),), ())) == ["change", "change (2)"]


def _with(tolerance: Tolerance) -> ColumnPair:
    return ColumnPair("v", 1, 1, ColumnType.NUMBER, tolerance)
