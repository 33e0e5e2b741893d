"""Does the registry say what it means, and does it tell a person where it is wrong?"""

from __future__ import annotations

import ast
import csv
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from diffing.dialects import DialectChoice
from diffing.errors import MetricError, PlanError
from diffing.grammar import ColumnType
from diffing.metrics import Metric, load_metrics
from diffing.plan import Choices, Tolerance, parse_tolerance
from diffing.records import BadLines

ROOT = Path(__file__).parent.parent
FILES = 'old = "old.csv"\nnew = "new.csv"\n'

Registry = Callable[[str], Path]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    def write(text: str) -> Path:
        path = tmp_path / "metrics.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def entry(registry: Registry) -> Callable[[str], Metric]:
    """A metric `m` with two files and the given fields."""
    return lambda fields: load_metrics(registry(f"[m]\n{FILES}{fields}\n"))["m"]


def test_a_metric_is_two_files_and_how_to_compare_them(registry: Registry, tmp_path: Path) -> None:
    text = """
    [orders]
    title = "Orders"
    description = "Orders per day."
    old = "data/old.csv"
    new = "data/new.csv.gz"
    key = ["day", "shop"]
    ignore = ["exported_at"]
    rename = { shop_id = "shop" }
    tolerances = { total = "0.01", rate = "0.1%", tax = 0 }
    ignore_case = ["shop"]
    ignore_space = true
    null_words = ["NULL", "-"]
    types = { zip = "text" }
    date_formats = { day = "%d.%m.%Y", due = { old = "%m/%d/%y" } }
    bad_lines = "fill"
    old_dialect = { delimiter = ";", encoding = "windows-1252" }
    new_dialect = { header = false, skip_rows = 2 }
    """
    assert load_metrics(registry(text))["orders"] == Metric(
        id="orders",
        title="Orders",
        description="Orders per day.",
        old=tmp_path / "data" / "old.csv",
        new=tmp_path / "data" / "new.csv.gz",
        choices=Choices(
            key=("day", "shop"),
            ignore=("exported_at",),
            rename={"shop_id": "shop"},
            tolerances={"total": Tolerance(0.01), "rate": Tolerance(relative=0.001), "tax": Tolerance()},
            ignore_case=("shop",),
            ignore_space=True,
            nulls=("NULL", "-"),
            types={"zip": ColumnType.TEXT},
            old_formats={"day": "%d.%m.%Y", "due": "%m/%d/%y"},
            new_formats={"day": "%d.%m.%Y"},
            bad_lines=BadLines.FILL,
        ),
        old_dialect={"delimiter": ";", "encoding": "windows-1252"},
        new_dialect={"header": False, "skip_rows": 2},
        folder=tmp_path,
    )


def test_a_metric_needs_no_more_than_two_files(entry: Callable[[str], Metric]) -> None:
    metric = entry("")
    assert (metric.title, metric.description, metric.choices) == ("m", "", Choices())
    assert (metric.old_dialect, metric.new_dialect) == ({}, {})


def test_metrics_come_in_the_order_of_the_file(registry: Registry) -> None:
    assert list(load_metrics(registry(f"[z]\n{FILES}[a-1]\n{FILES}[_]\n{FILES}"))) == ["z", "a-1", "_"]


def test_an_empty_registry_has_no_metrics(registry: Registry) -> None:
    assert load_metrics(registry("# nothing yet\n")) == {}


def test_a_registry_saved_by_windows_is_read(registry: Registry) -> None:
    path = registry("")
    path.write_bytes(b"\xef\xbb\xbf[m]\r\nold = 'a.csv'\r\nnew = 'b.csv'\r\n")
    assert list(load_metrics(path)) == ["m"]


def test_paths_start_at_the_folder_of_the_registry(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = registry(f"[m]\n{FILES}")
    monkeypatch.chdir(tmp_path)
    metric = load_metrics(path.name)["m"]
    monkeypatch.chdir("/")
    assert metric.old == tmp_path / "old.csv"


def test_dialect_overrides_are_choices_for_a_source(entry: Callable[[str], Metric]) -> None:
    metric = entry('old_dialect = { delimiter = "\\t", quote = "", header = true }')
    assert DialectChoice(**metric.old_dialect) == DialectChoice(delimiter="\t", quote="", header=True)


# What is wrong, where, and what to do


@pytest.mark.parametrize(
    ("fields", "field", "hint"),
    [
        ('keys = ["a"]', "keys", "“key”"),
        ('tolerance = { a = "1" }', "tolerance", "“tolerances”"),
        ("zzz = 1", "zzz", "title"),
        ("title = 5", "title", "title ="),
        ('key = "day"', "key", 'key = ["…"]'),
        ('key = ["day", 5]', "key", "quotes"),
        ("ignore = true", "ignore", 'ignore = ["…"]'),
        ('rename = ["a", "b"]', "rename", "rename = {"),
        ("rename = { a = 1 }", "rename.a", "rename.a ="),
        ('tolerances = "0.1"', "tolerances", "tolerances = {"),
        ('tolerances = { value = "1,5" }', "tolerances.value", "decimal point"),
        ("tolerances = { value = true }", "tolerances.value", "0.1%"),
        ("tolerances = { value = -1 }", "tolerances.value", "0.01"),
        ("tolerances = { value = nan }", "tolerances.value", "0.01"),
        ('ignore_case = "yes"', "ignore_case", "ignore_case = true"),
        ("ignore_space = [1]", "ignore_space", "quotes"),
        ('null_words = "NA"', "null_words", "null_words = ["),
        ('types = { a = "integer" }', "types.a", "quotes"),
        ('date_formats = { day = "DD.MM.YYYY" }', "date_formats.day", "%d.%m.%Y"),
        ('date_formats = { day = { now = "%Y" } }', "date_formats.day.now", "old"),
        ("date_formats = { day = { old = 1 } }", "date_formats.day.old", "="),
        ("text = 1", "text", "text = true"),
        ('bad_lines = "drop"', "bad_lines", "quotes"),
        ("bad_lines = 2024-01-01", "bad_lines", "quotes"),
        ('old_dialect = ";"', "old_dialect", "old_dialect = {"),
        ('old_dialect = { delimeter = ";" }', "old_dialect.delimeter", "“delimiter”"),
        ("old_dialect = { header = 1 }", "old_dialect.header", "true"),
        ("new_dialect = { skip_rows = true }", "new_dialect.skip_rows", "= 1"),
        ('new_dialect = { delimiter = ";;" }', "new_dialect", "one character"),
        ('new_dialect = { encoding = "utf-9" }', "new_dialect", "utf-8"),
    ],
)
def test_a_mistake_is_told_with_file_metric_and_field(entry: Callable[[str], Metric], fields: str, field: str, hint: str) -> None:
    with pytest.raises(MetricError) as caught:
        entry(fields)
    message = caught.value.message
    assert message.startswith(f"metrics.toml: in the metric “m”, “{field}” ")
    assert message.endswith(".") and ".." not in message
    assert hint in caught.value.hint


def test_a_url_or_a_folder_is_for_spark_and_a_url_says_so(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    entry = '[m]\nold = "s3a://bucket/table"\nnew = "parts"\n'
    metric = load_metrics(registry(f'{entry}engine = "spark"'))["m"]
    assert (metric.place("old"), metric.place("new"), metric.missing) == ("s3a://bucket/table", str(tmp_path / "parts"), ())
    assert (metric.shown("old"), metric.shown("new")) == ("s3a://bucket/table", "parts")
    for engine in ("", 'engine = "duckdb"'):
        with pytest.raises(MetricError, match="“m”, “old” is a URL, which only Spark reads: “s3a://bucket/table”") as caught:
            load_metrics(registry(entry + engine))
        assert 'engine = "spark"' in caught.value.hint
    assert load_metrics(registry('[m]\nold = "parts"\nnew = "parts"\n'))["m"].missing == ("old", "new")


@pytest.mark.parametrize("side", ["old", "new"])
def test_both_files_must_be_named(registry: Registry, side: str) -> None:
    other = {"old": "new", "new": "old"}[side]
    with pytest.raises(MetricError, match=f"metrics.toml: in the metric “m”, “{side}” is missing") as caught:
        load_metrics(registry(f'[m]\n{other} = "a.csv"\n'))
    assert f"{side} =" in caught.value.hint


@pytest.mark.parametrize(
    "path",
    ["../a.csv", "data/../../a.csv", "/etc/passwd", "..", r"..\a.csv", r"C:\a.csv", "C:a.csv", r"\\host\a.csv", "//a"],
)
@pytest.mark.parametrize("side", ["old", "new"])
def test_a_path_that_leaves_the_folder_is_refused(registry: Registry, path: str, side: str) -> None:
    other = {"old": "new", "new": "old"}[side]
    with pytest.raises(MetricError, match=f"“{side}” leaves the folder of the registry") as caught:
        load_metrics(registry(f"[m]\n{other} = 'a.csv'\n{side} = '{path}'\n"))
    assert path in caught.value.message
    assert "relative" in caught.value.hint


@pytest.mark.parametrize("path", ['""', r'"a\u0000b"', "5"])
def test_what_is_no_path_is_refused(registry: Registry, path: str) -> None:
    with pytest.raises(MetricError, match="metric “m”, “old” "):
        load_metrics(registry(f'[m]\nold = {path}\nnew = "a.csv"\n'))


def test_a_path_may_go_up_and_down_inside_the_folder(registry: Registry, tmp_path: Path) -> None:
    metric = load_metrics(registry('[m]\nold = "./a/../old..csv"\nnew = "b/./new.csv"\n'))["m"]
    assert (metric.old, metric.new) == (tmp_path / "old..csv", tmp_path / "b" / "new.csv")


@pytest.mark.parametrize("id_", ["a b", "ä", "a/b", "a.b", "", "m\\n"])
def test_a_metric_has_an_id_that_fits_into_an_address(registry: Registry, id_: str) -> None:
    with pytest.raises(MetricError, match="a metric can't be called") as caught:
        load_metrics(registry(f'["{id_}"]\n{FILES}'))
    assert "letters" in caught.value.hint


@pytest.mark.parametrize("text", ['title = "All"\n', f"[[title]]\n{FILES}"])
def test_what_stands_outside_of_a_metric_is_refused(registry: Registry, text: str) -> None:
    with pytest.raises(MetricError, match="“title” is no metric"):
        load_metrics(registry(text))


def test_broken_toml_is_told_with_its_line(registry: Registry) -> None:
    with pytest.raises(MetricError, match=r"^metrics.toml is no TOML: .*line 3") as caught:
        load_metrics(registry(f"[m]\n{FILES.splitlines()[0]}\nnew = data.csv\n"))
    assert caught.value.hint


def test_the_same_metric_twice_is_told_with_its_line(registry: Registry) -> None:
    with pytest.raises(MetricError, match="line 4"):
        load_metrics(registry(f"[m]\n{FILES}[m]\n{FILES}"))


def test_a_registry_in_another_encoding_is_told_with_its_line(registry: Registry) -> None:
    path = registry("")
    path.write_bytes("[m]\ntitle = 'Umsätze'\n".encode("latin-1"))
    with pytest.raises(MetricError, match=r"metrics.toml is not UTF-8 in line 2\."):
        load_metrics(path)


def test_a_registry_that_is_not_there_is_told_without_its_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(MetricError, match=path.name) as caught:
            load_metrics(path)
        assert str(tmp_path.parent) not in caught.value.message + caught.value.hint


# The files of a metric


def test_files_that_are_there_are_fine(entry: Callable[[str], Metric], tmp_path: Path) -> None:
    metric = entry("")
    for name in ("old.csv", "new.csv"):
        (tmp_path / name).touch()
    metric.check_files()
    assert metric.missing == ()


@pytest.mark.parametrize("side", ["old", "new"])
def test_a_missing_file_is_named_as_the_registry_names_it(registry: Registry, tmp_path: Path, side: str) -> None:
    metric = load_metrics(registry('[m]\nold = "data/old.csv"\nnew = "data/new.csv"\n'))["m"]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / {"old": "new.csv", "new": "old.csv"}[side]).touch()
    with pytest.raises(MetricError) as caught:
        metric.check_files()
    assert caught.value.message == f"The {side} file of the metric “m” is not there: data/{side}.csv."
    assert str(tmp_path) not in caught.value.hint
    assert metric.missing == (side,)


def test_a_folder_is_no_file(entry: Callable[[str], Metric], tmp_path: Path) -> None:
    metric = entry("")
    for name in ("old.csv", "new.csv"):
        (tmp_path / name).mkdir()
    assert metric.missing == ("old", "new")


# Tolerances


@pytest.mark.parametrize(
    ("text", "tolerance"),
    [
        ("1e-6", Tolerance(absolute=1e-6)),
        ("0.01", Tolerance(absolute=0.01)),
        (".5", Tolerance(absolute=0.5)),
        (" 2 ", Tolerance(absolute=2.0)),
        ("0", Tolerance()),
        ("0%", Tolerance()),
        ("0.1%", Tolerance(relative=0.001)),
        ("0.7 %", Tolerance(relative=0.007)),
        ("1e-7%", Tolerance(relative=1e-9)),
        ("100%", Tolerance(relative=1.0)),
    ],
)
def test_a_tolerance_is_a_distance_or_a_share(text: str, tolerance: Tolerance) -> None:
    assert parse_tolerance(text) == tolerance


def test_minus_zero_is_zero() -> None:
    assert repr(parse_tolerance("-0")) == repr(parse_tolerance("-0%")) == repr(Tolerance())


@pytest.mark.parametrize("text", ["", "%", "-1", "-1e-9%", "1,5", "a", "nan", "inf", "1e999", "1%%", "%1", "1_000", "0x1"])
def test_what_is_no_tolerance_is_told_with_what_would_be(text: str) -> None:
    with pytest.raises(PlanError, match=re.escape(f"“{text}” is no tolerance.")) as caught:
        parse_tolerance(text)
    assert "0.1%" in caught.value.hint


# The registry of this repository


def test_the_registry_has_the_two_metrics_of_the_first_service_and_a_real_pair() -> None:
    metrics = load_metrics(ROOT / "metrics.toml")
    assert {id_: metric.choices for id_, metric in metrics.items()} == {
        "revenue": Choices(key=("date", "segment_field", "segment_value_id", "stat")),
        "c_revenue": Choices(key=("cohort", "cohort_id", "month_nth", "segment_field", "segment_value_id", "stat")),
        "weather": Choices(key=("location", "date")),
    }
    assert all(metric.title and metric.description for metric in metrics.values())
    assert metrics["revenue"].shown("new") == "data/demo/revenue_new.csv"


def test_the_example_in_the_registry_is_a_metric_with_every_field(registry: Registry, tmp_path: Path) -> None:
    lines = (ROOT / "metrics.toml").read_text(encoding="utf-8").split("\n\n[revenue]")[0].splitlines()
    example = "\n".join(line.removeprefix("#") for line in lines[lines.index("# [orders]") :])
    example = "\n".join(line.removeprefix(" ") for line in example.splitlines())
    metric = load_metrics(registry(example))["orders"]
    assert metric.choices.old_formats["due"] != metric.choices.new_formats["due"]
    with pytest.raises(MetricError) as caught:
        load_metrics(registry(example + "\n[m]\nzzz = 1\n"))
    fields = caught.value.hint.removeprefix("The fields are ").rstrip(".").split(", ")
    assert set(fields) == set(tomllib.loads(example)["orders"])


def test_the_real_pair_is_there_and_its_key_names_one_row() -> None:
    metric = load_metrics(ROOT / "metrics.toml")["weather"]
    metric.check_files()
    for path in (metric.old, metric.new):
        with path.open(encoding="utf-8", newline="") as file:
            keys = [tuple(row[name] for name in metric.choices.key) for row in csv.DictReader(file)]
        assert len(set(keys)) == len(keys) == 2_922


def test_the_registry_needs_no_engine() -> None:
    tree = ast.parse((ROOT / "diffing" / "metrics.py").read_text(encoding="utf-8"))
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    own = {"diffing.dialects", "diffing.errors", "diffing.grammar", "diffing.plan", "diffing.records", "diffing.sources"}
    assert all(name in own or name.split(".")[0] in sys.stdlib_module_names for name in plain | named)
