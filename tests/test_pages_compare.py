"""The compare and metrics pages without a browser: do they ask the question that people put together?"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from diffing.dialects import DialectChoice
from diffing.grammar import ColumnType
from diffing.jobs import JobState, Question
from diffing.keys import KeySuggestion, suggest_keys
from diffing.plan import BadLines, Choices, Tolerance
from diffing.services import close_services, services
from pages.components.fates import JOINER

MAIN = str(Path(__file__).parent.parent / "pages" / "main.py")
OLD = "id,day,price,qty,note\n" + "".join(f"{i},2024-01-0{i % 9 + 1},{i}.50,{i * 7 % 11},n{i % 3}\n" for i in range(60))
NEW = "id,day,price,quantity,note\n" + "".join(f"{i},2024-01-0{i % 9 + 1},{i}.5,{i * 7 % 11},n{i % 3}\n" for i in range(1, 61))
REGISTRY = """
[sales]
title = "Sales *per* day"
description = "What was sold."
old = "old.csv"
new = "new.csv"
key = ["id"]
tolerances = { price = "0.01" }

[lost]
old = "old.csv"
new = "gone.csv"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server's folder with a registry and the files of a metric."""
    (tmp_path / "metrics.toml").write_text(REGISTRY)
    (tmp_path / "old.csv").write_text(OLD)
    (tmp_path / "new.csv").write_text(NEW)
    for name in [name for name in os.environ if name.startswith("DIFFING_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DIFFING_HOME", str(tmp_path / "store"))
    monkeypatch.setenv("DIFFING_METRICS", str(tmp_path / "metrics.toml"))
    close_services()
    st.cache_resource.clear()
    yield tmp_path
    close_services()


def opened(**query: str) -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=30)
    for name, value in query.items():
        at.query_params[name] = value
    return settled(at.run())


def settled(at: AppTest) -> AppTest:
    """The page when nothing is being found out any more."""
    until = time.time() + 20
    while "shimmer" in shown(at) and time.time() < until:
        time.sleep(0.1)
        at.run()
    assert not at.exception, at.exception
    return at


def shown(at: AppTest) -> str:
    kinds = (at.title, at.markdown, at.caption, at.error, at.warning, at.info)
    return "\n".join(str(each.value) for kind in kinds for each in kind)


def upload(at: AppTest, old: str | bytes = OLD, new: str | bytes = NEW, names: tuple[str, str] = ("mon.csv", "tue.csv")) -> AppTest:
    for name, data in zip(names, (old, new), strict=True):
        at.file_uploader[0].upload(name, data.encode() if isinstance(data, str) else data).run()
    return settled(at)


def press(at: AppTest, label: str) -> AppTest:
    return settled(next(each for each in at.button if each.label == label).click().run())


def asked() -> Question:
    """The question of the newest job."""
    jobs = services().jobs
    with jobs._lock:
        return max(jobs._jobs.values(), key=lambda job: job.submitted).question


def key_of(at: AppTest) -> Any:
    return at.multiselect(key="key")


def test_a_newcomer_is_told_what_to_do():
    at = opened()
    assert at.title[0].value == "What do you want to compare?"
    assert len(at.file_uploader) == 2
    assert "drop both above" in shown(at)
    assert not [each for each in at.button if each.label == "Compare"]


def test_two_files_are_looked_at_without_pressing_anything():
    at = upload(opened())
    assert "60 rows · 5 columns" in shown(at)
    assert len([each for each in at.dataframe if not each.key]) == 2
    assert list(at.dataframe[0].value.columns) == ["id", "day", "price", "qty", "note"]
    assert "**4 columns** in both files · only in new: `quantity` · only in old: `qty`" in shown(at)
    assert "Maybe renamed: `qty` → `quantity`" in shown(at)
    assert key_of(at).value == ["id"]
    assert "`id` names every row in both files" in shown(at)


def test_compare_asks_with_the_suggested_key():
    at = press(upload(opened()), "Compare")
    assert asked().choices.key == ("id",)
    assert len(asked().uploads) == 2
    assert at.query_params["job"]


def test_a_key_that_a_sample_shows_is_told_at_once_and_found_in_the_whole_files_before_it_is_used(monkeypatch):
    go_on, done = threading.Event(), threading.Event()

    def slowly(*given: Any, **more: Any) -> list[KeySuggestion]:
        go_on.wait(20)
        found = suggest_keys(*given, **more)
        done.set()
        return found

    monkeypatch.setattr("diffing.inspect.suggest_keys", slowly)
    at = opened()
    for name, data in (("mon.csv", OLD), ("tue.csv", NEW)):
        at.file_uploader[0].upload(name, data.encode()).run()
    assert key_of(at).value == ["id"]
    assert "In a sample, `id` names every row in both files :shimmer[Checking it in the whole files …]" in shown(at)
    submitted: list[Question] = []
    submit = services().jobs.submit
    monkeypatch.setattr(services().jobs, "submit", lambda question, **more: submitted.append(question) or submit(question, **more))
    next(each for each in at.button if each.label == "Compare").click().run()
    assert [question.choices.key for question in submitted] == [()]
    job = max(services().jobs._jobs.values(), key=lambda job: job.submitted)
    assert services().jobs.wait(job.id, 20).question.choices.key == ("id",)
    go_on.set()
    assert done.wait(20)


def test_a_confirmed_rename_is_asked_and_can_be_undone():
    at = press(upload(opened()), "Confirm")
    assert "5 columns" in shown(at)
    press(at, "Compare")
    assert dict(asked().choices.rename) == {"qty": "quantity"}


def test_swapping_turns_files_dialects_and_renames_round():
    at = press(press(upload(opened()), "Confirm"), "Swap old and new")
    assert "**OLD** · **tue\\.csv**" in shown(at)
    press(at, "Compare")
    assert dict(asked().choices.rename) == {"quantity": "qty"}


def test_the_key_can_be_chosen_and_is_judged():
    at = upload(opened())
    key_of(at).set_value(["note"]).run()
    settled(at)
    assert "Rows that share a key are paired by how alike they are" in shown(at)
    press(at, "Compare")
    assert asked().choices.key == ("note",)


def test_whole_rows_can_be_compared():
    at = press(upload(opened()), "Compare whole rows")
    assert "Rows are compared whole" in shown(at)
    press(at, "Compare")
    assert asked().keyless
    assert asked().choices.key == ()


def test_rules_for_all_columns_reach_the_question():
    at = upload(opened())
    at.toggle(key="all_ignore_case").set_value(True).run()
    at.multiselect(key="nulls").set_value(["NULL", "-"]).run()
    press(settled(at), "Compare")
    assert asked().choices.ignore_case is True
    assert asked().choices.nulls == ("NULL", "-")


def test_how_a_file_is_read_can_be_set_by_hand():
    at = upload(opened(), "id,a|b\n1,x|y\n2,z|w\n", "id,a|b\n1,x|y\n2,z|q\n")
    assert key_of(at).options == ["id", "a|b"]
    at.selectbox(key="delimiter_old").set_value("|").run()
    assert "no column in common" in shown(at)
    at.selectbox(key="delimiter_new").set_value("|").run()
    assert key_of(settled(at)).options == ["id,a", "b"]
    press(at, "Compare")
    assert asked().old_dialect.delimiter == asked().new_dialect.delimiter == "|"


def test_a_wrong_encoding_is_told_beside_the_file_and_can_be_taken_back():
    odd = OLD.encode() + b"\n" * (len(OLD) % 2 == 0)
    at = upload(opened(), odd)
    at.selectbox(key="encoding_old").set_value("utf-16").run()
    assert "mon\\.csv is not utf\\-16" in shown(at)
    press(at, "Detect again")
    assert "60 rows" in shown(at)
    assert key_of(at).value == ["id"]


def test_a_file_that_is_no_table_is_told_in_its_place():
    at = upload(opened(), new=b"PK\x03\x04" + bytes(99), names=("mon.csv", "book.xlsx"))
    assert "ZIP or Excel file" in shown(at)
    assert "60 rows" in shown(at)
    assert not [each for each in at.button if each.label == "Compare"]


def test_bad_lines_are_shown_before_comparing_with_the_choice_what_to_do():
    at = upload(opened(), old="id,v\n1,1\n2\n3,3\n", new="id,v\n1,1\n3,4\n")
    assert "One line is no row" in shown(at)
    assert "Line 3" in shown(at)
    at.segmented_control(key="bad_lines").set_value("skip").run()
    press(settled(at), "Compare")
    assert asked().choices.bad_lines == "skip"


def test_names_from_files_are_no_markup():
    name = "*b* `t` :red[x] $y$ <i>"
    text = f"id,{name}\n1,2\n2,3\n"
    at = upload(opened(), text, text.replace(name, "other"), names=("a *b* :smile: [x](http:y).csv", "new.csv"))
    assert f"only in old: ``{name}``" in shown(at)
    assert "a \\*b\\* \\:smile\\: \\[x\\]\\(http\\:y\\)\\.csv" in shown(at).replace(JOINER, "")


def test_nothing_entered_is_lost_by_looking_at_a_metric():
    at = press(upload(opened()), "Confirm")
    at.segmented_control(key="way").set_value("metric").run()
    assert at.title[0].value == "What do you want to compare?"
    at.segmented_control(key="way").set_value("files").run()
    settled(at)
    assert "`qty` is now `quantity`" in shown(at)
    assert "mon\\.csv" in shown(at)


def test_a_metric_starts_with_what_the_registry_says():
    at = opened(metric="sales")
    assert "What was sold" in shown(at)
    assert key_of(at).value == ["id"]
    press(at, "Compare")
    assert asked().metric == "sales"
    assert asked().choices.tolerances == {"price": Tolerance(absolute=0.01)}


def test_a_missing_file_of_a_metric_is_named_as_in_the_registry():
    at = opened(metric="lost")
    assert "**Missing:** gone\\.csv" in shown(at)
    assert str(services().settings.home.parent) not in shown(at)


def test_compare_again_begins_with_the_same_choices():
    at = upload(opened())
    at.toggle(key="all_ignore_space").set_value(True).run()
    press(press(settled(at), "Compare whole rows"), "Compare")
    job = services().jobs.list()[0] if services().jobs.list() else None
    id_ = job.id if job else next(iter(services().jobs._jobs))
    again = opened(job=str(id_))
    assert "mon\\.csv" in shown(again)
    assert again.toggle(key="all_ignore_space").value
    assert "Rows are compared whole" in shown(again)


EVERYTHING = Choices(
    key=("id", "day"),
    ignore=("note",),
    rename={"qty": "quantity"},
    tolerances={"price": Tolerance(absolute=0.5), "quantity": Tolerance(relative=0.01)},
    types={"day": ColumnType.TEXT},
    ignore_case=("note",),
    ignore_space=True,
    nulls=("NULL", "-"),
    column_nulls={"price": ("free",), "quantity": ("none", "-")},
    bad_lines=BadLines.SKIP,
)


def test_no_choice_is_lost_from_one_comparison_to_the_next():
    press(upload(opened(), OLD.replace(",", ";")), "Compare")
    first = services().jobs.submit(replace(asked(), choices=EVERYTHING, new_dialect=DialectChoice(quote="")))
    services().jobs.wait(first.id, 20, totals=True)
    press(opened(job=str(first.id)), "Compare")
    assert asked() == first.question
    again = max(services().jobs._jobs.values(), key=lambda job: job.submitted)
    assert again.id != first.id
    assert again.from_cache


def test_a_metric_with_other_rules_is_compared_again_with_these():
    question = services().files.ask("sales")
    first = services().jobs.submit(replace(question, choices=replace(question.choices, ignore=("note",), tolerances={})))
    press(opened(job=str(first.id)), "Compare")
    assert asked() == first.question


def test_compare_again_with_an_unknown_job_says_so():
    assert "There is no job" in shown(opened(job="nothing"))


def test_an_upload_that_is_no_longer_kept_is_asked_for_again():
    at = upload(opened())
    services().uploads.remove(services().uploads._files.popitem()[0], "")
    at.run()
    assert len(at.file_uploader) == 1
    assert "no longer kept" in shown(at)


def test_a_broken_registry_is_told_on_both_pages(home):
    (home / "metrics.toml").write_text("[")
    at = opened()
    assert len(at.file_uploader) == 2
    at.switch_page("metrics.py").run()
    assert "metrics\\.toml is no TOML" in shown(at)


def test_the_metrics_page_lists_the_registry_and_runs_all_that_can_run():
    at = opened()
    settled(at.switch_page("metrics.py").run())
    assert "Sales \\*per\\* day" in shown(at)
    assert "gone\\.csv" in shown(at)
    press(at, "Run all")
    assert "1 comparison started" in at.success[0].value
    job = services().jobs.list()[0]
    assert services().jobs.wait(job.id, 20).state is JobState.DONE
    at.run()
    assert [each for each in at.button if "differ" in each.label]


def test_a_metric_on_a_cluster_is_run_as_it_is_registered(home):
    (home / "metrics.toml").write_text('[far]\nold = "s3a://bucket/table"\nnew = "old.csv"\nengine = "spark"\n')
    at = opened(metric="far")
    assert "s3a\\:\\/\\/bucket\\/table" in shown(at) and "Run it as registered, from Metrics" in shown(at)
    settled(at.switch_page("metrics.py").run())
    assert "read by Spark" in shown(at) and "missing" not in shown(at)
    assert not next(each for each in at.button if each.label == "Run").disabled


def test_words_that_mean_empty_in_one_column_are_taken_from_its_row():
    def rows_edited() -> None:
        import streamlit as st

        from pages.components import rules_table
        from pages.components.files_draft import draft

        for column, words in (("price", ["free", "-"]), ("note", ["none"]), ("note", [])):
            rules_table.EDITS[rules_table.NULLS](column, words, None)
        st.text(f"{draft().choices.column_nulls} {rules_table.in_words(draft().choices)}")

    at = AppTest.from_function(rows_edited, default_timeout=30).run()
    assert at.text[0].value == "{'price': ('free', '-')} numbers within 1e-9, 2 words for empty"
