"""Tables that only a cluster sees: folders, patterns and URLs, checked where they are."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffing import cli
from diffing.dialects import DialectChoice
from diffing.engines import Watch
from diffing.engines.duckdb import DuckDBEngine
from diffing.engines.spark import SparkEngine
from diffing.errors import BadLinesError, EngineError, PlanError, SourceError
from diffing.export import write_csv
from diffing.jobs import JobState
from diffing.plan import Choices, Plan
from diffing.preparing import open_pair, prepare
from diffing.records import BadLines
from diffing.result import Result, Summary
from diffing.services import Services, Settings
from tests.on_spark import spark_engine

TRAPS = (
    'id,v\nid,v\nid,v\n1,5" pipe\n2,a"b"c\n3,"say ""hi"""\n4,""""\n5,"""a"""\n'
    '6,""\n7,\n,""\n8,a\\\n9,"b\\"\n10,\\N\n#11,a\n#,#\n 12 , a \n\n13,"e\rf"\n'
)
"""Lines on which readers of CSV disagree, the header among the rows."""


@pytest.fixture
def engine() -> SparkEngine:
    return spark_engine()


def in_parts(text: str, folder: Path, *, header: bool = True) -> str:
    """The table as three files with the header: one has a mark before it, one the line ends of Windows, one none at its end. Its URL."""
    folder.mkdir()
    lines = text.removesuffix("\n").split("\n")
    head, rows = (lines[:1], lines[1:]) if header else ([], lines)
    spelled = [("\ufeff", "\n", "\n"), ("", "\r\n", "\r\n"), ("", "\n", "")]
    for n, (mark, end, last) in enumerate(spelled if header else [("", "\n", "\n")] * 3):
        part = mark + end.join([*head, *rows[n::3]]) + last
        (folder / f"part-{n}.csv").write_bytes(part.encode())
    return f"file://{folder}"


def tables(folder: Path, old: str = "id,v\n0,old\n", new: str = "id,v\n0,new\n") -> list[str]:
    return [in_parts(text, folder / name) for name, text in (("old", old), ("new", new))]


def planned(engine: SparkEngine, places: list[str], home: Path, **choices: object) -> Plan:
    sources = open_pair(*places, workdir=home, cluster=engine)
    return prepare(*sources, Choices(**choices), workdir=home, cluster=engine).plan  # type: ignore[arg-type]


def compared(
    engine: SparkEngine | DuckDBEngine, places: list[str], home: Path, dialect: DialectChoice = DialectChoice(), **choices: object
):
    """The result of two places, the diffed CSV, and the counts without what names the files."""
    home.mkdir(exist_ok=True)
    cluster = engine if isinstance(engine, SparkEngine) else None
    sources = open_pair(*places, workdir=home, old_choice=dialect, new_choice=dialect, cluster=cluster)
    plan = prepare(*sources, Choices(**choices), workdir=home, keyless=True, cluster=cluster).plan  # type: ignore[arg-type]
    (home / "result").mkdir()
    result: Result = engine.add_totals(engine.run(plan, home / "result"))
    write_csv(result, home / "diff.csv")
    return result, (home / "diff.csv").read_bytes(), nameless(result.summary)


def nameless(summary: Summary) -> Summary:
    """A summary without times and without what tells files from places."""
    plain = {side: replace(getattr(summary, side), name=side, dialect={}, bad=()) for side in ("old", "new")}
    return replace(summary, seconds={}, warnings=(), **plain)


def both(engine: SparkEngine, old: str, new: str, home: Path, dialect: DialectChoice = DialectChoice(), **choices: object) -> Result:
    """Whole files on one machine and parts on the cluster give the same; what the cluster says."""
    files = []
    for name, text in (("old", old), ("new", new)):
        (home / f"{name}.csv").write_bytes(text.encode())
        files.append(str(home / f"{name}.csv"))
    parts = [in_parts(text, home / f"{name}_parts", header=dialect.header is not False) for name, text in (("old", old), ("new", new))]
    embedded = compared(DuckDBEngine(threads=2), files, home / "embedded", dialect, **choices)
    cluster = compared(engine, parts, home / "cluster", dialect, **choices)
    assert cluster[1:] == embedded[1:]
    return cluster[0]


def test_a_folder_of_parts_is_the_table_that_its_rows_are(engine, tmp_path):
    spelled = DialectChoice(header=True, delimiter=",", quote='"')
    old, new = f"{TRAPS}14\n15,x\n", f"{TRAPS.replace('a', 'z')}14,\n15,x\n"
    found = both(engine, old, new, tmp_path, spelled, key=("id",), bad_lines=BadLines.FILL)
    assert (found.summary.changed, found.summary.old.filled_lines, found.summary.old.rows) == (6, 1, 19)


def test_parts_of_one_column_without_a_header_are_read_whole(engine, tmp_path):
    rows = "id\n   \n\t\n a\nid\n\na\n\n\nb\n"
    found = both(engine, rows, rows.replace("b", "x"), tmp_path, DialectChoice(header=False, delimiter=","))
    assert (found.summary.old.rows, found.summary.removed) == (10, 1)


def test_bad_lines_are_counted_where_they_are_and_keys_match_by_value(engine, tmp_path):
    old = 'id,v,w\n1,a,b\n2,a\n3,a,b\n4,"a" x,b\n5,a,b,c\n6,a\0,b\n,a,b\n'
    found = both(engine, old, "id,v,w\n1.0,a,b\n2.0,a,\n3.0,a,c\n,a,b\n", tmp_path, key=("id",), bad_lines=BadLines.SKIP)
    said = found.summary
    assert (said.old.bad_lines, said.changed, said.added, said.unchanged) == (4, 1, 1, 2)
    assert ("2,a", "2 cells instead of 3") in [(bad.text, bad.reason) for bad in said.old.bad]


def test_a_pattern_of_compressed_parts_in_another_encoding_is_compared_with_a_file(engine, tmp_path):
    (tmp_path / "old [1]").mkdir()
    for n, word in enumerate(("café", "naïve")):
        (tmp_path / "old [1]" / f"{n}.csv.gz").write_bytes(gzip.compress(f"id,v\n{n},{word}\n".encode("latin-1")))
    (tmp_path / "new.csv").write_text("id,v\n0,cafés\n1,naïve\n")
    places = [f"{tmp_path}/old ?1?/*.gz", f"{tmp_path}/new.csv"]
    found = compared(engine, places, tmp_path / "work", key=("id",))
    assert found[1].decode().splitlines()[1:] == ["changed,0,café,cafés"]


def test_a_partitioned_folder_of_parquet_is_the_table_with_the_columns_of_its_folders(engine, tmp_path):
    rows = {
        side: [{"id": str(n), "v": 1.5 * n + more, "late": "x" if n == 2 else None, "day": f"2024-01-0{n + 1}"} for n in range(3)]
        for side, more in (("old", 0), ("new", 1))
    }
    for side, table in rows.items():
        pq.write_table(pa.Table.from_pylist(table), tmp_path / f"{side}.parquet")
        for n, row in enumerate(table):
            folder = tmp_path / side / f"day={row['day']}"
            folder.mkdir(parents=True)
            written = {name: value for name, value in row.items() if name != "day" and (name != "late" or n == 2)}
            pq.write_table(pa.Table.from_pylist([written]), folder / "part.parquet")
    embedded = compared(DuckDBEngine(threads=2), [f"{tmp_path}/{side}.parquet" for side in rows], tmp_path / "embedded", key=("id", "day"))
    cluster = compared(engine, [f"{tmp_path}/{side}" for side in rows], tmp_path / "cluster", key=("id", "day"))
    assert cluster[1:] == embedded[1:]
    assert cluster[2].columns[0].sum_of_changes == "3"
    (tmp_path / "old" / "beside.parquet").write_bytes((tmp_path / "old.parquet").read_bytes())
    for old, said in (("old", "files beside its folders"), ("old/day=*", "leaves out columns that are in the names of folders: day")):
        with pytest.raises(SourceError, match=said):
            open_pair(f"{tmp_path}/{old}", f"{tmp_path}/new", workdir=tmp_path, cluster=engine)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('id,v\n1,"a\nb"\n', "a record that spans lines, or a quote that is never closed"),
        ('id,v\n1,"a" "b\0\n2,c"\n', "a record that spans lines, or a quote that is never closed"),
        ("id,v\n1,a\r2,b\n", "a carriage return between cells"),
        ('id,v\n1,a\n2\n3,"a"b\n', "'2' has 1 cell instead of 2; '3,\"a\"b' has text after a closing quote"),
        ("1,y\nid,v\n", "Not every file of old begins with the header"),
    ],
)
def test_what_can_not_be_read_there_is_refused_in_words(text, said, engine, tmp_path):
    places = tables(tmp_path)
    (tmp_path / "old" / "strange.csv").write_bytes(text.encode())
    leave_out = BadLines.REFUSE if "instead" in said else BadLines.SKIP
    with pytest.raises((SourceError, BadLinesError), match=said):
        engine.run(planned(engine, places, tmp_path, key=("id",), bad_lines=leave_out), tmp_path)


def test_bad_lines_of_both_places_are_named_together(engine, tmp_path):
    plan = planned(engine, tables(tmp_path, "id,v\n1,a\n2\n", "id,v\n1,a\n3\n"), tmp_path, key=("id",))
    with pytest.raises(BadLinesError, match="old has a bad line: '2'.*new has a bad line: '3'"):
        engine.run(plan, tmp_path)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("file:///nowhere/at/all", "can't find “all”"),
        ("s3a://bucket/table", "knows no such storage"),
        ("{}/*.csv", "find"),
        ("{}/empty", "There are no files in empty"),
        ("{}/packed", "compressed files whose names don't say so"),
        ("{}/days", r"columns in the names of its folders \(day\)"),
    ],
)
def test_a_place_that_spark_can_not_read_is_named(place, said, engine, tmp_path):
    for folder in ("empty", "packed", "days/day=1"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "packed" / "part.csv").write_bytes(gzip.compress(b"id,v\n1,a\n"))
    (tmp_path / "days" / "day=1" / "part.csv").write_text("id,v\n1,a\n")
    with pytest.raises((EngineError, SourceError), match=said):
        engine.describe(place.format(tmp_path), tmp_path, DialectChoice())


@pytest.mark.parametrize("stage", ["reading both files", "counting"])
def test_a_table_that_changes_before_or_while_it_is_compared_is_noticed(stage, engine, tmp_path):
    plan = planned(engine, tables(tmp_path), tmp_path, key=("id",))

    def change(now: str, share: float | None) -> None:
        if now == stage:
            (tmp_path / "new" / "more.csv").write_text("id,v\n1,a\n")

    with pytest.raises(SourceError, match="new changed while"):
        engine.run(plan, tmp_path, Watch(report=change))


def test_without_a_key_the_user_is_asked(engine, tmp_path):
    with pytest.raises(PlanError, match="only a cluster sees"):
        planned(engine, tables(tmp_path), tmp_path)


def test_the_command_line_takes_places_with_spark_only(engine, tmp_path, capsys):
    old, new = tables(tmp_path)
    assert cli.main([str(tmp_path / "old"), new, "--key", "id", "--spark", engine.master, "--json"]) == cli.DIFFERENT
    assert json.loads(capsys.readouterr().out)["changed"] == 1
    assert cli.main([old, new, "--key", "id"]) == cli.TROUBLE
    assert "need --engine spark" in capsys.readouterr().err


def test_a_metric_of_places_is_a_job_as_any_other(engine, tmp_path):
    _, new = tables(tmp_path)
    (tmp_path / "metrics.toml").write_text(f'[there]\nold = "old"\nnew = "{new}"\nkey = ["id"]\nengine = "spark"\n')
    services = Services(Settings(home=tmp_path / "home", metrics=tmp_path / "metrics.toml", threads=1, spark=engine.master))
    try:
        first, second = (services.jobs.wait(services.jobs.submit_metric("there").id, 300, totals=True) for _ in range(2))
        assert (first.state, first.message, first.totals, first.result_id) == (JobState.DONE, "", JobState.DONE, second.result_id)
        assert (first.from_cache, second.from_cache) == (False, True), "the places are looked at again, the rows are not"
        with services.store.lease(first.result_id) as lease:
            assert services.download(lease).read_text().splitlines()[1:] == ["changed,0,old,new"]
    finally:
        services.close()
