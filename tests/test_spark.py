"""The same laws, the same judge, the same bytes on Spark."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from diffing.engines import spark, spark_run
from diffing.engines.duckdb import DuckDBEngine
from diffing.engines.spark import SparkEngine
from diffing.export import write_csv
from diffing.plan import Choices, Plan, make_plan
from diffing.result import Result, Summary
from diffing.sources import open_source
from tests import test_properties as properties
from tests.on_spark import spark_engine
from tests.stacks import drawn, stacks
from tests.test_planted_faults import EVIDENCE

LAWS = {
    properties.test_the_engine_agrees_with_the_judge: 4,
    properties.test_the_engine_agrees_with_the_judge_as_if_tables_were_wide: 2,
    properties.test_every_row_has_exactly_one_fate: 1,
    properties.test_a_table_does_not_differ_from_itself: 1,
    properties.test_swapping_old_and_new_swaps_added_and_removed_and_negates_changes: 1,
    properties.test_applying_the_diff_to_the_old_rows_gives_the_new_rows: 1,
    properties.test_a_sum_of_changes_is_the_sum_of_the_changes: 1,
}
"""Laws, and on how many stacks of 25 tables they are tried."""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> SparkEngine:
    chosen = spark_engine()
    monkeypatch.setattr(properties, "engine", chosen)
    return chosen


def both(plan: Plan, home: Path, engine: SparkEngine) -> tuple[Result, Result]:
    """The results of both engines, with totals."""
    found = []
    for each in (DuckDBEngine(threads=2), engine):
        folder = home / each.name
        folder.mkdir()
        found.append(each.add_totals(each.run(plan, folder)))
    return found[0], found[1]


def said(result: Result) -> tuple[Summary, bytes]:
    """All that an engine says, to the byte."""
    write_csv(result, result.folder / "diff.csv")
    return replace(result.summary, seconds={}), (result.folder / "diff.csv").read_bytes()


def assert_same(old: Path, new: Path, home: Path, engine: SparkEngine, choices: Choices) -> Result:
    """Both engines say the same about two files; what Spark says."""
    plan = make_plan(open_source(old, workdir=home), open_source(new, workdir=home), choices)
    embedded, cluster = both(plan, home, engine)
    assert said(cluster) == said(embedded)
    return cluster


# --- laws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__.removeprefix("test_"))
def test_the_laws_hold_on_stacks_of_drawn_tables(law, engine):
    for case in stacks(LAWS[law]):
        law.hypothesis.inner_test(case=case)


def test_the_engine_agrees_with_the_judge_when_rows_repeat(engine):
    for case in stacks(2):
        properties.test_the_engine_agrees_with_the_judge_when_rows_repeat.hypothesis.inner_test(case=case, at=[1, 5, 17, 17, 40, 99])


@pytest.mark.parametrize("many", ["one task", "many tasks"])
def test_the_engine_agrees_with_the_judge_on_crowded_keys(many, engine, monkeypatch):
    if many == "many tasks":
        monkeypatch.setattr(spark_run, "CROWDED", 0)
    for case in drawn(properties.crowded_keys(), 2):
        properties.assert_agrees(case)


def test_both_engines_say_the_same_about_the_evidence_of_faults(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(spark, "SMALL", 0)  # questions are compiled, as for large files
    for n, case in enumerate(EVIDENCE):
        home = tmp_path / str(n)
        home.mkdir()
        found = both(case.plan(case.old.write(home / "old.csv"), case.new.write(home / "new.csv")), home, engine)
        assert said(found[0]) == said(found[1])
