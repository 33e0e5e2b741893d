"""Are the demo data what they are planned to be?"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from functools import cache
from itertools import pairwise
from math import isclose
from pathlib import Path

import pytest

from diffing.demo import FILES, Planned, ensure_demo, main, write_demo
from diffing.errors import MetricError
from diffing.metrics import load_metrics

ROOT = Path(__file__).parent.parent
SIZES = {"revenue_rows": 20_000, "c_revenue_rows": 40_000}
KEYS = {id_: metric.choices.key for id_, metric in load_metrics(ROOT / "metrics.toml").items()}
METRICS = ("revenue", "c_revenue")

Row = dict[str, str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder, **SIZES)
    return folder


@cache
def rows(folder: Path, metric: str, side: str) -> list[Row]:
    with (folder / f"{metric}_{side}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def by_key(metric: str, table: list[Row]) -> dict[tuple[str, ...], Row]:
    return {tuple(row[name] for name in KEYS[metric]): row for row in table}


def same(old: str, new: str) -> bool:
    """The default rule for numbers, by itself."""
    a, b = Decimal(old), Decimal(new)
    fraction = a % 1 != 0 or b % 1 != 0
    return a == b or (fraction and isclose(a, b, rel_tol=1e-9, abs_tol=0))


def counted(metric: str, old: list[Row], new: list[Row]) -> Planned:
    """What is planned, found again by reading both files."""
    before, after = by_key(metric, old), by_key(metric, new)
    both = [(before[key], after[key]) for key in before.keys() & after.keys()]
    respelled = [a["value"] != b["value"] and Decimal(a["value"]) == Decimal(b["value"]) for a, b in both]
    noise = [a["value"] != b["value"] and same(a["value"], b["value"]) for a, b in both]
    unchanged = [all(a[name] == b[name] for name in a if name != "value") and same(a["value"], b["value"]) for a, b in both]
    return Planned(
        old_rows=len(old),
        new_rows=len(new),
        added=len(after.keys() - before.keys()),
        removed=len(before.keys() - after.keys()),
        changed=len(both) - sum(unchanged),
        unchanged=sum(unchanged),
        noise_cells=sum(noise),
        respelled_cells=sum(respelled),
        old_null_keys=sum("" in key for key in before),
        new_null_keys=sum("" in key for key in after),
    )


@pytest.mark.parametrize("metric", METRICS)
def test_an_independent_count_finds_what_was_planned(folder: Path, metric: str) -> None:
    planned = ensure_demo(folder)[metric]
    assert counted(metric, rows(folder, metric, "old"), rows(folder, metric, "new")) == planned


@pytest.mark.parametrize("metric", METRICS)
def test_every_kind_of_difference_occurs_about_as_often_as_promised(folder: Path, metric: str) -> None:
    planned = ensure_demo(folder)[metric]
    assert planned.old_rows == SIZES[f"{metric}_rows"]
    assert planned.added == planned.old_rows // 400
    assert 0.0005 < planned.removed / planned.old_rows < 0.004
    assert 0.002 < planned.changed / planned.old_rows < 0.01
    assert 0.08 < planned.noise_cells / planned.old_rows < 0.12
    assert 0 < planned.respelled_cells < 0.005 * planned.old_rows
    assert planned.old_rows == planned.unchanged + planned.changed + planned.removed
    assert planned.new_rows == planned.unchanged + planned.changed + planned.added


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("side", ["old", "new"])
def test_a_key_names_one_row_in_each_file(folder: Path, metric: str, side: str) -> None:
    table = rows(folder, metric, side)
    assert len(by_key(metric, table)) == len(table)


@pytest.mark.parametrize("metric", METRICS)
def test_what_changed_is_far_beyond_the_tolerance_and_what_did_not_is_well_within(folder: Path, metric: str) -> None:
    before, after = (by_key(metric, rows(folder, metric, side)) for side in ("old", "new"))
    for key in before.keys() & after.keys():
        a, b = (Decimal(each[key]["value"]) for each in (before, after))
        share = abs(a - b) / max(a, b, Decimal(1))
        assert share < Decimal("2.1e-10") or share > Decimal("1e-4")


def test_whole_numbers_change_too_and_carry_no_noise(folder: Path) -> None:
    before, after = (by_key("revenue", rows(folder, "revenue", side)) for side in ("old", "new"))
    orders = [(before[key]["value"], after[key]["value"]) for key in before.keys() & after.keys() if key[-1] == "orders"]
    assert all(Decimal(a) % 1 == 0 and Decimal(b) % 1 == 0 for a, b in orders)
    assert any(Decimal(a) != Decimal(b) for a, b in orders)
    assert any(a + ".0" == b for a, b in orders)


@pytest.mark.parametrize("metric", METRICS)
def test_the_new_file_has_its_own_order(folder: Path, metric: str) -> None:
    old, new = (list(by_key(metric, rows(folder, metric, side))) for side in ("old", "new"))
    shared = set(old) & set(new)
    place = {key: n for n, key in enumerate(key for key in old if key in shared)}
    order = [place[key] for key in new if key in shared]
    jumps = sum(b != a + 1 for a, b in pairwise(order))
    assert jumps > len(order) / 4


def test_the_files_have_the_columns_of_the_metrics(folder: Path) -> None:
    segment = "segment_field,segment_name,segment_value,segment_value_id"
    for side in ("old", "new"):
        revenue, c_revenue = ((folder / f"{metric}_{side}.csv").read_bytes() for metric in METRICS)
        assert revenue.startswith(f"date,{segment},stat,value\n".encode())
        assert c_revenue.startswith(f"cohort,cohort_id,month_date,month_nth,{segment},stat,value\n".encode())


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".csv")])
def test_the_files_are_utf_8_with_line_feeds_and_names_from_all_over(folder: Path, name: str) -> None:
    text = (folder / name).read_bytes().decode("utf-8")
    assert "\r" not in text and text.endswith("\n") and not text.startswith("\ufeff")
    assert all(word in text for word in ("São Paulo", "東京都", "Île-de-France", "Western Australia"))


def test_rows_without_a_segment_and_the_own_month_of_a_cohort_have_empty_cells(folder: Path) -> None:
    table = rows(folder, "c_revenue", "old")
    assert all((row["month_nth"] == "") == (row["cohort"] == row["month_date"]) for row in table)
    assert any(row["month_nth"] == "" for row in table)
    whole = [row for row in table if not row["segment_field"]]
    assert whole and not any(row["segment_name"] or row["segment_value"] or row["segment_value_id"] for row in whole)


def test_months_are_counted_from_the_cohort(folder: Path) -> None:
    for row in rows(folder, "c_revenue", "new"):
        cohort, month = date.fromisoformat(row["cohort"]), date.fromisoformat(row["month_date"])
        assert (month.year - cohort.year) * 12 + month.month - cohort.month == int(row["month_nth"] or 0)


@pytest.mark.parametrize("metric", METRICS)
def test_some_keys_are_one_key_to_whoever_reads_them_as_numbers(folder: Path, metric: str) -> None:
    ids = {row["segment_value_id"] for row in rows(folder, metric, "old")}
    assert {"1234567890123456789", "1234567890123456788", "7", "007"} <= ids
    assert float("1234567890123456789") == float("1234567890123456788")


def test_the_old_file_is_a_time_series_of_three_years_that_grows(folder: Path) -> None:
    whole = [row for row in rows(folder, "revenue", "old") if not row["segment_field"] and row["stat"] == "revenue"]
    days = [date.fromisoformat(row["date"]) for row in whole]
    assert days == sorted(days) and (days[-1] - days[0]).days > 900
    early, late = ([float(row["value"]) for row in part] for part in (whole[:3], whole[-3:]))
    assert sum(late) > 1.2 * sum(early)


def test_a_cohort_brings_more_from_month_to_month(folder: Path) -> None:
    whole = [row for row in rows(folder, "c_revenue", "old") if not row["segment_field"] and row["stat"] == "c-revenue"]
    cohorts = Counter((row["cohort"], row["cohort_id"]) for row in whole)
    assert max(cohorts.values()) > 1
    for cohort in cohorts:
        brought = [float(row["value"]) for row in whole if (row["cohort"], row["cohort_id"]) == cohort]
        assert brought == sorted(brought)


def test_the_amount_per_order_is_the_amount_by_the_orders(folder: Path) -> None:
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for row in rows(folder, "revenue", "old"):
        found.setdefault((row["date"], row["segment_field"], row["segment_value_id"]), {})[row["stat"]] = float(row["value"])
    complete = [each for each in found.values() if len(each) == 3]
    assert complete and all(isclose(each["aov"], each["revenue"] / each["orders"]) for each in complete)


def test_two_runs_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_demo(tmp_path, **SIZES)
    assert [(tmp_path / name).read_bytes() for name in FILES] == [(folder / name).read_bytes() for name in FILES]


def test_nothing_but_the_finished_files_is_left(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_the_plan_is_beside_the_files(folder: Path) -> None:
    written = json.loads((folder / "planned.json").read_text(encoding="utf-8"))
    assert written == {metric: asdict(each) for metric, each in ensure_demo(folder).items()}


def test_data_that_are_there_are_not_written_again(tmp_path: Path) -> None:
    first = ensure_demo(tmp_path / "demo", revenue_rows=10, c_revenue_rows=10)
    times = {name: (tmp_path / "demo" / name).stat().st_mtime_ns for name in FILES}
    assert ensure_demo(tmp_path / "demo", revenue_rows=20, c_revenue_rows=20) == first
    assert times == {name: (tmp_path / "demo" / name).stat().st_mtime_ns for name in FILES}


def test_a_missing_file_is_written_again(tmp_path: Path) -> None:
    ensure_demo(tmp_path, revenue_rows=10, c_revenue_rows=10)
    before = (tmp_path / "revenue_new.csv").read_bytes()
    (tmp_path / "revenue_new.csv").unlink()
    ensure_demo(tmp_path, revenue_rows=10, c_revenue_rows=10)
    assert (tmp_path / "revenue_new.csv").read_bytes() == before


@pytest.mark.parametrize("size", [1, 2, 3, 399, 400, 401, 1_235])
def test_any_size_comes_out_exactly(tmp_path: Path, size: int) -> None:
    planned = write_demo(tmp_path, revenue_rows=size, c_revenue_rows=size)
    for metric in METRICS:
        old, new = rows(tmp_path, metric, "old"), rows(tmp_path, metric, "new")
        assert len(old) == size
        assert counted(metric, old, new) == planned[metric]


def test_more_rows_than_usual_get_more_segments(tmp_path: Path) -> None:
    write_demo(tmp_path, revenue_rows=450_000, c_revenue_rows=1)
    with (tmp_path / "revenue_old.csv").open(encoding="utf-8", newline="") as file:
        keys = {(day, field, id_, stat) for day, field, _, _, id_, stat, _ in csv.reader(file)}
    assert len(keys) == 450_000 + 1  # the header


def test_a_size_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MetricError, match="at least one row"):
        write_demo(tmp_path, revenue_rows=0)


def test_a_folder_that_can_t_be_written_is_told_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(MetricError) as caught:
        write_demo(tmp_path / "taken", revenue_rows=1, c_revenue_rows=1)
    assert str(tmp_path) not in caught.value.message + caught.value.hint


def test_a_broken_plan_says_what_to_do(tmp_path: Path) -> None:
    ensure_demo(tmp_path, revenue_rows=10, c_revenue_rows=10)
    (tmp_path / "planned.json").write_text("{")
    with pytest.raises(MetricError, match=r"planned\.json") as caught:
        ensure_demo(tmp_path)
    assert "Delete it" in caught.value.hint


def test_the_command_line_writes_the_data_and_says_what_is_planned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--folder", str(tmp_path), "--revenue-rows", "800", "--c-revenue-rows", "400"]) == 0
    assert "revenue: 800 old and 8" in capsys.readouterr().out
    assert (tmp_path / "c_revenue_new.csv").is_file()


def test_the_command_line_ends_with_a_message_when_it_can_t(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["--folder", str(tmp_path), "--revenue-rows", "0"])
    assert "at least one row" in capsys.readouterr().err


def test_importing_the_generator_does_not_load_the_engine() -> None:
    code = "import sys, diffing.demo; sys.exit('duckdb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
