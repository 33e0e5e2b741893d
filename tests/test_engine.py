"""What a comparison finds, question by question."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from diffing.demo import write_demo
from diffing.engines import Wanted, Watch, bounds, duckdb, matching, totals
from diffing.engines.duckdb import DuckDBEngine
from diffing.errors import Cancelled, EngineError, PlanError, SourceError
from diffing.export import differing_rows, write_csv
from diffing.grammar import ColumnType
from diffing.metrics import load_metrics
from diffing.plan import Choices, Tolerance, make_plan
from diffing.preparing import prepare
from diffing.result import SUMMARY_FILE, Summary
from diffing.sources import open_source
from tests.comparing import ENGINE, compare_files, compare_texts

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.usefixtures("engine")


# --- keys ----------------------------------------------------------------------------------------


def test_a_null_key_matches_a_null_key(tmp_path):
    found = compare_texts("k,v\n,1\na,1\n", "k,v\n,2\na,1\n", tmp_path, key=("k",))
    assert found.fates == {"added": 0, "removed": 0, "changed": 1, "unchanged": 1}
    assert (found.summary.old.null_keys, found.summary.new.null_keys) == (1, 1)


def test_null_keys_are_counted_over_whole_files_only_with_totals(tmp_path):
    texts = "k,v\n,1\na,1\n", "k,v\n,1\na,2\n"
    assert compare_texts(*texts, tmp_path, key=("k",)).summary.old.null_keys == 0
    assert compare_texts(*texts, tmp_path, key=("k",), totals=True).summary.old.null_keys == 1


def test_integers_match_whole_decimals_when_a_whole_column_is_spelled_so(tmp_path):
    found = compare_texts("k,v\n1,a\n2,b\n,c\n", "k,v\n1.0,a\n2.0,x\n,c\n", tmp_path, key=("k",))
    assert found.fates == {"added": 0, "removed": 0, "changed": 1, "unchanged": 2}
    assert any("numbers by value" in note for note in found.summary.notes)
    assert found.summary.key_same_by_rule == {"k": 2}
    assert found.rows[0]["k_old"] == "2" and found.rows[0]["k_new"] == "2.0"


def test_one_other_spelling_in_the_column_and_keys_match_as_text(tmp_path):
    found = compare_texts("k,v\n1,a\n2,b\n", "k,v\n1.0,a\n2.5,b\n", tmp_path, key=("k",))
    assert found.fates == {"added": 2, "removed": 2, "changed": 0, "unchanged": 0}


def test_dates_match_midnights_when_a_whole_column_is_spelled_so(tmp_path):
    found = compare_texts("d,v\n2024-01-05,1\n", "d,v\n2024-01-05 00:00:00,1\n", tmp_path, key=("d",))
    assert found.fates == {"added": 0, "removed": 0, "changed": 0, "unchanged": 1}


def test_keys_match_by_the_rules_a_user_switches_on(tmp_path):
    found = compare_texts("k,v\nA,1\n", "k,v\n a ,1\n", tmp_path, key=("k",), ignore_case=True, ignore_space=True)
    assert found.fates["unchanged"] == 1
    assert any("ignoring case" in note for note in found.summary.notes)


def test_a_word_can_mean_empty_in_one_column_and_be_a_word_in_another(tmp_path):
    said = {"nulls": ("NA",), "column_nulls": {"v": ("-", "none")}}
    found = compare_texts("k,v,w\na,,\nb,none,\nc,NA,\n", "k,v,w\na,-,NA\nb,,-\nc,,none\n", tmp_path, key=("k",), **said)
    assert [(row["k_old"], row["w_old"], row["w_new"]) for row in found.rows] == [("b", "", "-"), ("c", "", "none")]
    assert {each.name: each.changed for each in found.summary.columns} == {"v": 0, "w": 2}


def test_words_of_a_column_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(PlanError, match="nope"):
        compare_texts("k,v\na,1\n", "k,v\na,2\n", tmp_path, key=("k",), column_nulls={"nope": ("-",)})


def test_hardly_any_matching_key_is_warned_of_with_a_reason(tmp_path):
    old = "k,v\n" + "".join(f"ab{i},1\n" for i in range(200))
    new = "k,v\n" + "".join(f"AB{i},1\n" for i in range(200))
    warnings = compare_texts(old, new, tmp_path, key=("k",)).summary.warnings
    assert any("0 of 200" in warning and "differ in case" in warning for warning in warnings)


@pytest.mark.parametrize("key", ["A{}", "Ж{}"])
def test_keys_of_nothing_in_common_are_not_explained_by_their_spelling(tmp_path, key):
    old = "".join(f"{key.format(i)}a,1\n" for i in range(20))
    new = "".join(f"{chr(ord('к') + i)},1\n" for i in range(20))
    found = compare_texts(f"k,v\n{old}", f"k,v\n{new}", tmp_path, key=("k",))
    assert any("Check that the key is right" in each for each in found.summary.warnings)


# --- repeated keys -------------------------------------------------------------------------------


def test_repeated_keys_pair_the_rows_that_differ_least(tmp_path):
    found = compare_texts("k,a,b\nk,1,x\nk,2,y\n", "k,a,b\nk,2,z\nk,3,x\n", tmp_path, key=("k",))
    assert [(row["a_old"], row["a_new"], row["b_old"], row["b_new"]) for row in found.rows] == [("1", "3", "x", "x"), ("2", "2", "y", "z")]
    assert (found.summary.old.duplicate_keys, found.summary.old.duplicate_key_rows) == (1, 2)


@pytest.mark.parametrize("last", ["7", "8"])
def test_repeated_keys_are_found_among_any_number_of_others(tmp_path, monkeypatch, last):
    monkeypatch.setattr(matching, "AT_ONCE", 2)
    old, new = ("id,v\n" + "".join(f"{i},{v}\n" for i in [*range(8), last]) for v in "ab")
    found = compare_texts(old, new, tmp_path, key=("id",))
    assert found.summary.old.duplicate_keys == (last == "7")
    assert found.summary.changed == 9


def test_a_crowded_key_is_paired_in_text_order_and_says_so(tmp_path):
    old = "k,v\n" + "".join(f"k,{i:03}\n" for i in range(40))
    new = "k,v\n" + "".join(f"k,{i + 500:03}\n" for i in range(41))
    found = compare_texts(old, new, tmp_path, key=("k",), text=True)
    assert found.fates == {"added": 1, "removed": 0, "changed": 40, "unchanged": 0}
    assert found.rows[-1]["v_new"] == "540" or found.rows[0]["v_new"] == "540"
    assert any("text order" in warning for warning in found.summary.warnings)


def test_many_identical_lines_do_not_explode(tmp_path):
    found = compare_texts("k,v\n" + "a,1\n" * 50_000, "k,v\n" + "a,1\n" * 49_000 + "b,1\n", tmp_path, key=("k",))
    assert found.fates == {"added": 1, "removed": 1000, "changed": 0, "unchanged": 49_000}


# --- no key, columns -----------------------------------------------------------------------------


def test_without_a_key_rows_are_compared_whole_by_value_and_without_tolerance(tmp_path):
    found = compare_texts("a,b\n1.50,x\n1.5,x\n0.3,y\n", "a,b\n1.5,x\n0.30000000000000004,y\n", tmp_path)
    assert found.fates == {"added": 1, "removed": 2, "changed": 0, "unchanged": 1}


def test_columns_of_one_side_are_reported_and_make_a_difference(tmp_path):
    found = compare_texts("k,v,gone\na,1,x\n", "new,v,k\nn,1,a\n", tmp_path, key=("k",))
    assert (found.summary.columns_added, found.summary.columns_removed) == (("new",), ("gone",))
    assert found.summary.differing_rows == 0 and found.summary.differs


def test_a_renamed_column_is_compared(tmp_path):
    found = compare_texts("k,qty\na,1\n", "k,quantity\na,2\n", tmp_path, key=("k",), rename={"qty": "quantity"})
    assert found.changed_cells == {"quantity": 1}
    assert found.summary.columns_renamed == {"qty": "quantity"}


def test_an_ignored_column_does_not_count_even_if_every_line_differs(tmp_path):
    old = "k,v,at\n" + "".join(f"{i},{i},{i}\n" for i in range(1000))
    new = "k,v,at\n" + "".join(f"{i},{i},x{i}\n" for i in range(1000))
    assert compare_texts(old, new, tmp_path, key=("k",), ignore=("at",)).fates["unchanged"] == 1000


def test_names_that_clash_in_the_output_get_a_number(tmp_path):
    found = compare_texts("k,v,v_old\na,1,x\n", "k,v,v_old\na,2,y\n", tmp_path, key=("k",), text=True)
    assert found.csv.splitlines()[0] == "change,k,v_old,v_new,v_old_old,v_old_new"
    found = compare_texts("change,v\na,1\n", "change,v\na,2\n", tmp_path, key=("change",), text=True)
    assert found.csv.splitlines()[0] == "change,change (2),v_old,v_new"


def test_an_empty_file_is_a_table_of_no_rows(tmp_path):
    found = compare_texts("", "k,v\na,1\n", tmp_path, key=("k",))
    assert found.fates == {"added": 1, "removed": 0, "changed": 0, "unchanged": 0}
    assert compare_texts("", "", tmp_path).fates == dict.fromkeys(("added", "removed", "changed", "unchanged"), 0)


def test_a_file_without_a_header_pairs_by_position(tmp_path):
    found = compare_texts("1,2.5,x\n2,3.5,y\n", "id,amount,note\n1,2.5,x\n2,4.5,y\n", tmp_path, key=("id",))
    assert found.changed_cells == {"amount": 1}
    assert any("by position" in note for note in found.summary.notes)


# --- numbers -------------------------------------------------------------------------------------


def test_changes_are_exact_decimals_in_plain_notation(tmp_path):
    old = "k,v\na,0.1\nb,1e3\nc,99999999999999999999.5\nd,1e-25\ne,x\nf,\n"
    new = "k,v\na,0.3\nb,2500\nc,99999999999999999999.75\nd,0\ne,5\nf,7\ng,1.50\n"
    found = compare_texts(old, new, tmp_path, key=("k",), tolerances={"v": Tolerance()})
    assert {row["k"]: row["v_change"] for row in found.rows} == {
        "a": "0.2", "b": "1500", "c": "0.25", "d": "-0.0000000000000000000000001", "e": "", "f": "7", "g": "1.5",
    }  # fmt: skip


def test_sums_neither_overflow_nor_lose_digits(tmp_path):
    old = "k,v\n" + "".join(f"{i},1\n" for i in range(300))
    new = "k,v\n" + "".join(f"{i},9999999999999999999.1\n" for i in range(300))
    column = compare_texts(old, new, tmp_path, key=("k",), totals=True).summary.columns[0]
    assert column.sum_of_changes == "2999999999999999999430"
    assert (column.old_total, column.new_total) == ("300", "2999999999999999999730")


def test_cells_that_do_not_read_are_compared_as_text_and_counted(tmp_path):
    old = "k,v\n" + "".join(f"{i},{i}.5\n" for i in range(30)) + "x,n/a\ny,n/a\n"
    new = "k,v\n" + "".join(f"{i},{i}.50\n" for i in range(30)) + "x,N/A\ny,n/a\n"
    found = compare_texts(old, new, tmp_path, key=("k",))
    assert found.changed_cells == {"v": 1}
    assert found.summary.columns[0].unreadable == 2
    assert found.same_by_rule == {"v": {"numbers by value": 30}}


def test_a_tolerance_of_a_user_replaces_the_default_and_zero_is_exact(tmp_path):
    texts = "k,v\na,100\nb,0.1000000000001\n", "k,v\na,101\nb,0.1\n"
    assert compare_texts(*texts, tmp_path, key=("k",)).changed_cells == {"v": 1}
    assert compare_texts(*texts, tmp_path, key=("k",), tolerances={"v": Tolerance(relative=0.01)}).changed_cells == {}
    assert compare_texts(*texts, tmp_path, key=("k",), tolerances={"v": Tolerance()}).changed_cells == {"v": 2}


# --- notes ---------------------------------------------------------------------------------------


def test_lines_left_out_above_a_table_are_told(tmp_path):
    found = compare_texts("Report of sales\n\nid,v\n1,2\n2,3\n", "id,v\n1,2\n2,4\n", tmp_path, key=("id",))
    assert found.fates == {"added": 0, "removed": 0, "changed": 1, "unchanged": 1}
    assert "1 line above the table of old.csv left out." in found.summary.notes


# --- metrics -------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["revenue", "c_revenue"])
def test_the_demo_metrics_give_exactly_the_planned_counts(metric, tmp_path):
    planned = write_demo(tmp_path / "data" / "demo", revenue_rows=20_000, c_revenue_rows=30_000)[metric]
    (tmp_path / "metrics.toml").write_bytes((ROOT / "metrics.toml").read_bytes())
    entry = load_metrics(tmp_path / "metrics.toml")[metric]
    found = compare_files(entry.old, entry.new, tmp_path, totals=True, key=entry.choices.key).summary
    assert (found.old.rows, found.new.rows) == (planned.old_rows, planned.new_rows)
    assert (found.added, found.removed, found.changed) == (planned.added, planned.removed, planned.changed)
    assert found.unchanged == planned.unchanged
    assert sum(sum(column.same_by_rule.values()) for column in found.columns) == planned.noise_cells
    assert (found.old.null_keys, found.new.null_keys) == (planned.old_null_keys, planned.new_null_keys)
    assert (found.old.duplicate_keys, found.new.duplicate_keys) == (0, 0)


# --- the engine as a machine ---------------------------------------------------------------------


def small_plan(tmp_path: Path, rows: int = 1000):
    for name, shift in (("old", 0), ("new", 1)):
        lines = "".join(f"{i},{i + shift},text {i}\n" for i in range(rows))
        (tmp_path / f"{name}.csv").write_text("k,v,t\n" + lines)
    old, new = (open_source(tmp_path / f"{name}.csv", workdir=tmp_path) for name in ("old", "new"))
    return make_plan(old, new, Choices(key=("k",)))


def test_a_summary_survives_the_disk(tmp_path, engine):
    result = engine.run(small_plan(tmp_path), tmp_path)
    import json

    assert Summary.from_json(json.loads((tmp_path / SUMMARY_FILE).read_text())) == result.summary


def test_nothing_is_left_but_the_result(tmp_path, engine):
    folder = tmp_path / "result"
    folder.mkdir()
    engine.run(small_plan(tmp_path), folder)
    assert sorted(os.listdir(folder)) == ["rows.parquet", "summary.json"]


@pytest.mark.parametrize("for_spreadsheets", [False, True])
def test_the_diffed_csv_is_written_at_once_where_no_rows_are_kept(tmp_path, engine, for_spreadsheets):
    plan = small_plan(tmp_path)
    write_csv(engine.run(plan, tmp_path), tmp_path / "diff.csv", for_spreadsheets=for_spreadsheets)
    result = engine.run(plan, tmp_path, wanted=Wanted(0, tmp_path / "at_once.csv", for_spreadsheets))
    assert (tmp_path / "at_once.csv").read_bytes() == (tmp_path / "diff.csv").read_bytes()
    assert result.summary.changed == 1000


def test_totals_of_many_columns_are_those_of_few(tmp_path, monkeypatch):
    cells = "1,0.1,1e400,-7,,x\n2,0.2,5,12345678901234567890123,3,4\n3,,-1,0,0.30,1e-3\n"
    header = "k,a,b,c,d,e\n"
    (tmp_path / "old.csv").write_text(header + cells)
    (tmp_path / "new.csv").write_text(header + cells.replace("0.2", "0.25") + "4,1,1,1,1,1\n")
    old, new = (open_source(tmp_path / f"{name}.csv", workdir=tmp_path) for name in ("old", "new"))
    numbers = dict.fromkeys("abcde", ColumnType.NUMBER)
    for choices in (Choices(key=("k",), types=numbers), Choices(key=("k",), types=numbers, nulls=("0",), column_nulls={"a": ("1",)})):
        plan = make_plan(old, new, choices)
        few = ENGINE.add_totals(ENGINE.run(plan, tmp_path)).summary
        assert {column.name for column in few.columns if column.old_total} == set("abcde")
        for at_once in (2000, 2):
            with monkeypatch.context() as patch:
                patch.setattr("diffing.sql.WIDE", 0)
                patch.setattr(totals, "AT_ONCE", at_once)
                many = ENGINE.add_totals(ENGINE.run(plan, tmp_path)).summary
            assert many.columns == few.columns


def test_the_rows_that_are_kept_are_the_first_ones(tmp_path):
    plan = small_plan(tmp_path)
    rows = list(differing_rows(ENGINE.run(plan, tmp_path)))
    few = ENGINE.run(plan, tmp_path, wanted=Wanted(7))
    assert list(differing_rows(few)) == rows[:7]
    assert few.summary.differing_rows == len(rows)


def test_no_output_is_written_if_a_file_changes_before_the_end(tmp_path, engine):
    plan, diff = small_plan(tmp_path), tmp_path / "diff.csv"
    diff.write_text("older")
    (tmp_path / "new.csv").write_text("k,v,t\n1,2,3\n")
    with pytest.raises(SourceError, match="new.csv changed while"):
        engine.run(plan, tmp_path, wanted=Wanted(csv=diff))
    assert diff.read_text() == "older"
    assert not list(tmp_path.glob(".diff.csv*"))


def test_a_file_that_can_not_be_read_is_not_taken_for_the_output(tmp_path, monkeypatch):
    def fail(*given: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(duckdb, "check_records", fail)
    with pytest.raises(EngineError, match="could not be written or read: Input/output error") as error:
        ENGINE.run(small_plan(tmp_path), tmp_path, wanted=Wanted(csv=tmp_path / "diff.csv"))
    assert "diff.csv" not in error.value.message
    assert not list(tmp_path.glob("*diff.csv*"))


def test_a_comparison_can_be_cancelled(tmp_path, engine):
    watch = Watch()
    watch.cancelled.set()
    with pytest.raises(Cancelled):
        engine.run(small_plan(tmp_path), tmp_path, watch)


def test_a_comparison_is_cancelled_in_the_middle_of_a_query(tmp_path, engine):
    plan, watch = small_plan(tmp_path, 20_000 if engine.name == "spark" else 200_000), Watch()
    stages: list[str] = []

    def cancel_when_comparing(stage: str, share: float | None) -> None:
        stages.append(stage)
        if stage == "comparing cells":
            threading.Timer(0.02, watch.cancelled.set).start()

    watch.report = cancel_when_comparing
    with pytest.raises(Cancelled):
        engine.run(plan, tmp_path, watch)
    assert not (tmp_path / "work").exists()


def test_the_stages_are_told_and_timed(tmp_path, engine):
    stages: list[str] = []
    result = engine.run(small_plan(tmp_path), tmp_path, Watch(report=lambda stage, share: stages.append(stage)))
    assert list(dict.fromkeys(stages)) == [name for name in result.summary.seconds if name != "total"]


def test_a_file_that_changes_before_the_end_stops_the_comparison(tmp_path, engine):
    plan = small_plan(tmp_path)
    with (tmp_path / "new.csv").open("a") as file:
        file.write("5000,1,x\n")
    with pytest.raises(SourceError, match="new.csv changed while"):
        engine.run(plan, tmp_path)


def test_too_little_memory_is_said_plainly(tmp_path):
    with pytest.raises(EngineError, match="memory"):
        DuckDBEngine(memory_limit="1MB").run(small_plan(tmp_path, 50_000), tmp_path)


def test_no_more_is_put_aside_on_disk_than_is_allowed(tmp_path):
    def wait(stage: str, share: float | None) -> None:
        if stage == "matching rows":
            time.sleep(0.3)

    plan = small_plan(tmp_path, 20_000)
    with pytest.raises(EngineError, match=r"more aside on disk than it may \(100 kB\)"):
        DuckDBEngine(disk_limit=100_000).run(plan, tmp_path, Watch(report=wait))
    assert not (tmp_path / "work").exists()
    assert DuckDBEngine(disk_limit=100_000_000).run(plan, tmp_path, Watch(report=wait)).summary.changed == 20_000


def test_what_does_not_fit_in_memory_keeps_to_the_disk_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "folder_size", lambda folder: 0)
    with pytest.raises(EngineError, match=r"more aside on disk than it may \(1.0 MB\)"):
        DuckDBEngine(memory_limit="60MB", disk_limit=1_000_000, threads=1).run(small_plan(tmp_path, 300_000), tmp_path)


def test_the_same_question_has_the_same_fingerprint_and_another_another(tmp_path):
    plan = small_plan(tmp_path)
    again = make_plan(plan.old, plan.new, Choices(key=("k",)))
    other = make_plan(plan.old, plan.new, Choices(key=("k",), text=True))
    assert plan.fingerprint == again.fingerprint != other.fingerprint


def test_column_names_never_reach_the_engine(tmp_path):
    names = 'id,"a"";DROP TABLE x;--","$v0","c0","p1"\n'
    found = compare_texts(names + "1,a,b,c,d\n", names + "1,A,B,C,D\n", tmp_path, key=("id",))
    assert found.summary.changed_cells == 4


def test_without_a_key_and_without_any_suggestion_the_user_is_asked(tmp_path):
    for name in ("old", "new"):
        (tmp_path / f"{name}.csv").write_text("a,b\n" + "x,y\n" * 50)
    old, new = (open_source(tmp_path / f"{name}.csv", workdir=tmp_path) for name in ("old", "new"))
    with pytest.raises(PlanError, match="names their rows") as error:
        prepare(old, new, Choices(), workdir=tmp_path)
    assert "--no-key" in error.value.hint


# --- dates ---------------------------------------------------------------------------------------


def test_a_named_format_is_held_to_what_it_says(tmp_path):
    old = "k,d\na,05.01.2024\nb, 05.01.2024\nc,5.1.24\nd,5.1.2024\ne,05.01.2024 \n"
    new = "k,d\na,2024-01-05\nb,2024-01-05\nc,0024-01-05\nd,2024-01-05\ne,05.01.2024\n"
    found = compare_texts(old, new, tmp_path, key=("k",), old_formats={"d": "%d.%m.%Y"}, new_formats={"d": "%d.%m.%Y"})
    assert [row["k"] for row in found.rows] == ["b", "c", "e"]


def test_a_named_format_with_an_offset_reads_instants(tmp_path):
    formats = {"old_formats": {"d": "%Y-%m-%dT%H:%M:%S%z"}}
    found = compare_texts("k,d\na,2024-01-05T10:00:00+0200\n", "k,d\na,2024-01-05T08:00Z\n", tmp_path, key=("k",), **formats)
    assert found.same_by_rule == {"d": {"dates by value": 1}}


def test_identical_rows_cancel_also_where_their_key_is_read_in_two_ways(tmp_path):
    old, new = "d,v\n05.01.2024,1\n2024-01-05,1\n", 'd,v\n"05.01.2024","1"\n'
    found = compare_texts(old, new, tmp_path, key=("d",), new_formats={"d": "%d.%m.%Y"})
    assert found.fates == {"added": 0, "removed": 1, "changed": 0, "unchanged": 1}
    assert {value for name, value in found.rows[0].items() if name.startswith("d")} == {"2024-01-05", ""}
