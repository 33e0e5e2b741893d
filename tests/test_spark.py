"""The same laws, the same judge, the same bytes on Spark."""

from __future__ import annotations

import math
import random
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffing import views
from diffing.dialects import DialectChoice
from diffing.engines import spark, spark_run
from diffing.engines.duckdb import DuckDBEngine
from diffing.engines.spark import SparkEngine
from diffing.engines.spark_session import session
from diffing.engines.spark_sql import SPARK
from diffing.errors import PlanError, SourceError
from diffing.export import write_csv
from diffing.jobs import JobState
from diffing.plan import Choices, Plan, make_plan
from diffing.result import Result, Summary
from diffing.services import Services, Settings
from diffing.sources import open_source
from diffing.views import By, Filter, Order
from tests import test_properties as properties
from tests.on_spark import spark_engine
from tests.stacks import drawn, stacks
from tests.tables import Case
from tests.test_planted_faults import EVIDENCE

LAWS = {
    properties.test_the_engine_agrees_with_the_judge: 2,
    properties.test_the_engine_agrees_with_the_judge_as_if_tables_were_wide: 1,
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


def both(plan: Plan, home: Path, engine: SparkEngine, *, totals: bool = True) -> tuple[Result, Result]:
    """The results of both engines."""
    found = []
    for each in (DuckDBEngine(threads=2), engine):
        folder = home / each.name
        folder.mkdir()
        result = each.run(plan, folder)
        found.append(each.add_totals(result) if totals else result)
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
    for case in stacks(1):
        properties.test_the_engine_agrees_with_the_judge_when_rows_repeat.hypothesis.inner_test(case=case, at=[1, 5, 17, 17, 40, 99])


@pytest.mark.parametrize("many", ["one task", "many tasks"])
def test_the_engine_agrees_with_the_judge_on_crowded_keys(many, engine, monkeypatch):
    if many == "many tasks":
        monkeypatch.setattr(spark_run, "CROWDED", 0)
    for case in drawn(properties.crowded_keys(), 1):
        properties.assert_agrees(case)


def test_both_engines_say_the_same_about_the_evidence_of_faults(engine, tmp_path, monkeypatch):
    usual = spark.SMALL
    for n, case in enumerate(above_each_other(EVIDENCE)):
        # Some questions are compiled, as for large files, which takes seconds: those with numbers, a tolerance, and dates.
        monkeypatch.setattr(spark, "SMALL", 0 if n < 3 else usual)
        home = tmp_path / str(n)
        home.mkdir()
        found = both(case.plan(case.old.write(home / "old.csv"), case.new.write(home / "new.csv")), home, engine, totals=n == 0)
        assert said(found[0]) == said(found[1])


def above_each_other(cases: list[Case]) -> Iterator[Case]:
    """The cases with those of the same columns and rules as one, with their numbers as a part of the key."""
    alike: dict[str, list[Case]] = {}
    for case in cases:
        alike.setdefault(repr((case.old.header, case.new.header, case.rules, case.nulls)), []).append(case)
    for first, *more in alike.values():
        if more:
            old, new = (
                replace(
                    getattr(first, side),
                    header=(*getattr(first, side).header, "#"),
                    rows=tuple((*row, str(n)) for n, case in enumerate((first, *more)) for row in getattr(case, side).rows),
                )
                for side in ("old", "new")
            )
            first = replace(first, old=old, new=new, key=(*first.key, len(first.old.header)))
        yield first


def test_a_small_comparison_leaves_no_settings_to_a_large_one(engine, monkeypatch, tmp_path):
    def settings_of(small: int) -> list[str]:
        monkeypatch.setattr(spark, "SMALL", small)
        (tmp_path / "old.csv").write_text("id\n1\n")
        plan = make_plan(*[open_source(tmp_path / "old.csv", workdir=tmp_path)] * 2, Choices(key=("id",)))
        with session(engine.master, {**spark._sized(plan), **engine.settings}) as opened:
            return [opened.conf.get(f"spark.sql.codegen.{name}") for name in ("wholeStage", "factoryMode")]

    assert settings_of(64 << 20) == ["false", "NO_CODEGEN"]
    assert settings_of(0) == ["true", "FALLBACK"]


# --- texts that engines write differently ----------------------------------------------------------


def test_every_letter_has_the_same_lower_case(engine, tmp_path):
    letters = "".join(chr(n) for n in range(1, 0x20000) if not 0xD800 <= n < 0xE000)  # no script beyond has two cases
    told = tmp_path / "letters.parquet"
    pq.write_table(pa.table({"letter": list(letters), "word": [f"A{letter}" for letter in letters]}), told)
    items = ", ".join(f"{SPARK.lower(name)} AS {name}" for name in ("letter", "word"))
    with session(engine.master, engine.settings) as opened:
        opened.sql(f"SELECT letter AS id, {items} FROM parquet.`{told}`").write.parquet(str(tmp_path / "lower"))
    differ = "SELECT id FROM read_parquet($files) WHERE lower(id) <> letter OR lower('A' || id) <> word"
    assert duckdb.execute(differ, {"files": f"{tmp_path}/lower/*.parquet"}).fetchall() == []


def test_every_double_is_written_with_the_same_digits(engine, tmp_path):
    dice = random.Random(5)
    drawn_bits = (struct.unpack("<d", dice.randbytes(8))[0] for _ in range(6_000))
    round_ones = (float(f"{dice.randrange(1, 10 ** dice.randrange(1, 18))}e{dice.randrange(-330, 300)}") for _ in range(6_000))
    large = (float(dice.randrange(10**16, 10**27)) for _ in range(6_000))
    doubles = [each for each in (*drawn_bits, *round_ones, *large, 5e-324, 1e23, 2e23, -1e22) if math.isfinite(each)]
    told = tmp_path / "doubles.parquet"
    pq.write_table(pa.table({"x": doubles}), told)
    with session(engine.master, engine.settings) as opened:
        opened.sql(f"SELECT x, {SPARK.digits('x')} AS said FROM parquet.`{told}`").write.parquet(str(tmp_path / "said"))
    rows = duckdb.execute("SELECT x, said FROM read_parquet($files)", {"files": f"{tmp_path}/said/*.parquet"}).fetchall()
    assert [(x, said) for x, said in rows if Decimal(said) != Decimal(repr(x))] == []


def test_cells_of_parquet_files_are_the_same_texts(engine, tmp_path):
    moments = [datetime(2024, 1, 5, 10, 0, 0, 500_000), datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59), None]
    floats = [1.5, -0.0, 1e16, 1e-5, 123456789.125, 5e-324, math.inf, -math.inf, math.nan, 1e15, 0.0001, 1e23, None]
    rows = len(floats)
    columns = {
        "id": pa.array(range(rows), pa.int64()),
        "double": pa.array(floats, pa.float64()),
        "float": pa.array([0.1, 16777216.0, 1e10, 3.4e38, 1e-45, -2.5, *floats[6:]], pa.float32()),
        "decimal": pa.array([Decimal("1.50"), Decimal("-0.000001"), Decimal(0), *[None] * (rows - 3)], pa.decimal128(20, 6)),
        "moment": pa.array(moments * 3 + [None], pa.timestamp("us")),
        "instant": pa.array(moments * 3 + [None], pa.timestamp("us", "UTC")),
        "day": pa.array([date(2024, 1, 5), date(1, 1, 1), date(9999, 12, 31), *[None] * (rows - 3)]),
        "flag": pa.array([True, False, *[None] * (rows - 2)]),
        "text": pa.array(["", "a", "\n", *["é"] * (rows - 3)]),
    }
    pq.write_table(pa.table(columns), tmp_path / "old.parquet")
    nothing = pa.table({name: pa.nulls(rows, pa.string()) if name != "id" else column for name, column in columns.items()})
    pq.write_table(nothing, tmp_path / "new.parquet")
    assert_same(tmp_path / "old.parquet", tmp_path / "new.parquet", tmp_path, engine, Choices(key=("id",)))


def test_a_column_of_parquet_without_a_text_is_refused_by_name(engine, tmp_path):
    for name in ("old", "new"):
        pq.write_table(pa.table({"id": [1], "tags": [["a"]]}), tmp_path / f"{name}.parquet")
    with pytest.raises(SourceError, match="column “tags” of old.parquet has the type array<string>"):
        assert_same(tmp_path / "old.parquet", tmp_path / "new.parquet", tmp_path, engine, Choices(key=("id",)))


FORMATS = ("%d.%m.%y", "%b %d, %Y", "%I:%M %p %d/%m/%Y", "%A %-d %B %Y", "%Y%m%d%H%M%S", "%d/%m/%Y %H:%M:%S.%f %z", "%H:%M")
RESPELLED = (str.lower, str.upper, lambda text: f"{text}x", lambda text: f" {text}", lambda text: text.replace("0", "", 1))


@pytest.mark.parametrize("format_", FORMATS)
def test_dates_in_named_formats_read_alike(format_, engine, tmp_path):
    moments = [datetime(1969, 2, 1, 0, 5), datetime(2024, 2, 29, 12, 0, 1, 5000), datetime(2068, 12, 31, 23, 59, 59, 120)]
    texts = [moment.replace(tzinfo=UTC).strftime(format_.replace("%-d", "%d")) for moment in moments]
    texts += [respell(text) for text in texts for respell in RESPELLED]
    lines = [f'{n},"{text}"\n' for n, text in enumerate(texts)]
    (tmp_path / "old.csv").write_text("id,d\n" + "".join(lines))
    (tmp_path / "new.csv").write_text("id,d\n" + "".join(f"{n},{moment.isoformat()}\n" for n, moment in enumerate(moments * 6)))
    assert_same(tmp_path / "old.csv", tmp_path / "new.csv", tmp_path, engine, Choices(key=("id",), old_formats={"d": format_}))


def test_a_format_that_spark_can_not_read_is_refused(engine, tmp_path):
    for name in ("old", "new"):
        (tmp_path / f"{name}.csv").write_text(f"id,d\n1,{name}\n")
    with pytest.raises(PlanError, match="%U"):
        assert_same(tmp_path / "old.csv", tmp_path / "new.csv", tmp_path, engine, Choices(key=("id",), old_formats={"d": "%Y %U"}))


# --- lines ---------------------------------------------------------------------------------------


TRAPS = {
    "lines of blanks": "id\n   \n\t\n a\n",
    "blank lines in one column": "id\n\na\n\n\nb\n",
    "rows that spell like the header": "id,v\nid,v\nid,v\na,1\n",
    "line ends in cells": 'id,v\n1,"a\nb"\n2,"c\r\nd"\n3,"e\rf"\n',
    "line ends in the header": '"i\nd",v\n1,a\n',
    "quotes inside bare cells": 'id,v\n1,5" pipe\n2,a"b"c\n',
    "doubled quotes": 'id,v\n1,"say ""hi"""\n2,""""\n3,"""a"""\n',
    "quoted and bare empty cells": 'id,v\n1,""\n2,\n,""\n3,a\n',
    "backslashes": 'id,v\n1,a\\\n2,"b\\"\n3,\\N\n',
    "signs of comments": "id,v\n#1,a\n#,#\n",
    "old Macs": "id,v\r1,a\r2,b\r",
    "Windows": "id,v\r\n1,a\r\n2,b\r\n",
    "no last line end": "id,v\n1,a\n2,b",
    "a byte order mark": "\ufeffid,v\n1,a\n",
    "spaces around cells": "id,v\n 1 , a \n",
    "empty cells at the end": "id,v,w\n1,,\n2,a,\n,,\n",
}


@pytest.mark.parametrize("trap", TRAPS)
def test_files_on_which_readers_of_csv_disagree_are_read_alike(trap, engine, tmp_path):
    (tmp_path / "_old.csv").write_bytes(TRAPS[trap].encode())
    (tmp_path / "new.csv").write_bytes(TRAPS[trap].replace("a", "z").encode())
    header = TRAPS[trap].partition(",")[0].removeprefix("\ufeff").strip('"')
    choices = Choices(key=() if "," not in TRAPS[trap] else (header,))
    spelled = DialectChoice(header=True, delimiter=",", quote='"')
    sources = (open_source(tmp_path / name, workdir=tmp_path, choice=spelled) for name in ("_old.csv", "new.csv"))
    embedded, cluster = both(make_plan(*sources, choices), tmp_path, engine)
    assert said(cluster) == said(embedded)
    assert cluster.summary.differing_rows


# --- the server ------------------------------------------------------------------------------------


@pytest.fixture
def services(engine, tmp_path):
    for name, more in (("old", 0), ("new", 1)):
        (tmp_path / f"{name}.csv").write_text("id,v\n" + "".join(f"{n},{n + more * (n % 2)}\n" for n in range(60_000)))
    entry = 'old = "old.csv"\nnew = "new.csv"\nkey = ["id"]\n'
    (tmp_path / "metrics.toml").write_text(f'[usual]\n{entry}\n[large]\n{entry}engine = "spark"\n')
    settings = Settings(home=tmp_path / "home", metrics=tmp_path / "metrics.toml", threads=1, memory_limit="500MB", spark=engine.master)
    found = Services(settings)
    yield found
    found.close()


def test_a_metric_that_asks_for_spark_is_compared_there_and_looks_the_same(services):
    answers = []
    for metric in ("usual", "large"):
        job = services.jobs.wait(services.jobs.submit_metric(metric, again=True).id, 300, totals=True)
        assert (job.state, job.message, job.totals) == (JobState.DONE, "", JobState.DONE)
        with services.store.lease(job.result_id) as lease:
            result = lease.result
            page = views.page(result, Filter(change_at_least=("v", "1")), Order("v", By.NEW, descending=True), number=3, size=50)
            pages = views.page(result, number=200, size=100), page, views.count(result)
            download = services.download(lease).read_bytes()
            answers.append((result.rows_file.is_dir(), replace(result.summary, seconds={}), pages, download))
    assert [in_parts for in_parts, *_ in answers] == [False, True]
    assert answers[0][1:] == answers[1][1:]


def test_a_job_on_spark_can_be_cancelled_and_leaves_nothing(services):
    job = services.jobs.submit_metric("large")
    while services.jobs.get(job.id).stage not in ("cancelling identical rows", "matching rows"):
        time.sleep(0.02)
    services.jobs.cancel(job.id)
    assert services.jobs.wait(job.id, 60).state is JobState.CANCELLED
    until = time.monotonic() + 60
    while any(services.store.folder.iterdir()) and time.monotonic() < until:
        time.sleep(0.1)  # what was running on Spark is ended first
    assert list(services.store.folder.iterdir()) == []
