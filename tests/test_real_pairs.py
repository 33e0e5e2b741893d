"""Real files in two published versions, against an independent count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diffing.dialects import DialectChoice
from diffing.plan import Tolerance
from tests.comparing import compare_files

DATA = Path(__file__).parent / "data"
WEATHER = Path(__file__).parent.parent / "data" / "weather"
PAIRS = {
    "vega_weather": (WEATHER / "old.csv", WEATHER / "new.csv", WEATHER / "truth.json"),
    **{
        name: (DATA / name / "old.csv.gz", DATA / name / "new.csv.gz", DATA / name / "truth.json")
        for name in ("ieee_oui", "airportsdata", "unicode_data", "sam_cec_modules")
    },
}


def truth_and_counts(name, workdir, *, text):
    old, new, truth_file = PAIRS[name]
    truth = json.loads(truth_file.read_text())
    return truth, compare_files(old, new, workdir, key=tuple(truth["key"]), text=text)


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("name", PAIRS)
def test_a_real_pair_has_the_counts_of_the_independent_count(name, text, tmp_path):
    """The truth leaves out keys that repeat (two in ieee_oui, five rows on each side); they are unchanged here.

    Nothing else remains to be explained: the truth's numbers are equal within 1e-9 relative also
    where both are whole, which no pair has.
    """
    truth, found = truth_and_counts(name, tmp_path, text=text)
    kind = "text" if text else "num"
    assert (found.summary.old.rows, found.summary.new.rows) == (truth["old"]["rows"], truth["new"]["rows"])
    assert (found.summary.added, found.summary.removed) == (truth["added"], truth["removed"])
    assert found.summary.changed == truth[f"changed_rows_{kind}"]
    assert found.summary.changed_cells == truth[f"changed_cells_{kind}"]
    assert found.changed_cells == truth[f"per_column_{kind}"]
    assert found.summary.unchanged == truth["matched"] - found.summary.changed + truth["ambiguous_rows_old"]
    assert list(found.summary.columns_added) == truth["cols_only_new"]
    assert list(found.summary.columns_removed) == truth["cols_only_old"]


def test_what_counts_as_same_is_said_per_column_and_rule(tmp_path):
    truth, found = truth_and_counts("airportsdata", tmp_path, text=False)
    as_text, by_value = truth["per_column_text"], truth["per_column_num"]
    for column in ("lat", "lon"):
        assert sum(found.same_by_rule[column].values()) == as_text[column] - by_value[column]


def test_a_tolerance_hides_rounded_coordinates(tmp_path):
    """12,333 rows is what `math.isclose` finds; in decimals alone it would be 15 fewer, exactly 1e-6 apart."""
    old, new, _ = PAIRS["airportsdata"]
    found = compare_files(old, new, tmp_path, key=("icao",), tolerances={"lat": Tolerance(1e-6), "lon": Tolerance(1e-6)})
    assert found.summary.changed == 12_333


def test_rows_of_units_under_the_header_can_be_skipped(tmp_path):
    old, new, truth_file = PAIRS["sam_cec_modules"]
    truth, dialect = json.loads(truth_file.read_text()), DialectChoice(skip_after_header=2)
    found = compare_files(old, new, tmp_path, key=("Name",), old_dialect=dialect, new_dialect=dialect)
    assert (found.summary.old.rows, found.summary.new.rows) == (truth["old"]["rows"] - 2, truth["new"]["rows"] - 2)
    assert (found.summary.added, found.summary.removed) == (truth["added"], truth["removed"])
    # the row "Units" is the same in both files in all columns they share, and so is "[0]"
    assert found.summary.changed == truth["changed_rows_num"]
    assert found.summary.unchanged == 0


def test_hex_keys_are_not_numbers(tmp_path):
    """661 of these keys would collide if they were read as numbers."""
    _, found = truth_and_counts("ieee_oui", tmp_path, text=False)
    assert {"0050E4", "00E091"} & {row["Assignment"] for row in found.rows} == set()
    assert len({row["Assignment"] for row in found.rows}) == found.summary.differing_rows
