"""Does the command line do what its options say, and tell it in words, in JSON and by its exit code?"""

from __future__ import annotations

import csv
import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from diffing import sources
from diffing.cli import main
from tests.running import Ran

ROOT = Path(__file__).parent.parent
OLD = "id,name,v\n1,a,1.0\n2,b,2\n3,c,3\n"
NEW = "id,name,v\n1,a,1.00\n2,B,2\n4,d,4\n"


class CommandLine:
    """Runs commands in a folder, in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys

    def run(self, *argv: str) -> Ran:
        try:
            code = main(argv)
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = self.capsys.readouterr()
        return Ran(code, said.out, said.err)

    def file(self, text: str | bytes, name: str) -> str:
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def compare(self, old: str | bytes, new: str | bytes, *options: str) -> Ran:
        """Compare two texts by id, unless the options say otherwise, and tell it as JSON."""
        key = () if {"--key", "--no-key"} & set(options) else ("--key", "id")
        return self.run(self.file(old, "old.csv"), self.file(new, "new.csv"), *key, *options, "--json")

    def refused(self, *argv: str) -> str:
        """The message and hint of a command that can't be carried out."""
        ran = self.run(*argv)
        assert (ran.code, ran.out) == (2, "")
        first, *rest = ran.err.splitlines()
        assert first.startswith("error: ")
        assert rest[0].startswith("hint: ")
        assert "unexpected" not in ran.err
        assert "report" not in ran.err
        return ran.err


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "o.csv").write_text(OLD)
    (tmp_path / "n.csv").write_text(NEW)
    return CommandLine(tmp_path, capsys)


def process(*argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A run of its own, with warnings about open files and the like."""
    command = [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-m", "diffing", *argv]
    return subprocess.run(command, cwd=ROOT, check=False, text=True, timeout=60, **{"capture_output": True, **options})


# --- exit code -------------------------------------------------------------------------------------


def test_the_exit_code_is_0_if_nothing_differs(cli):
    ran = cli.compare(OLD, OLD)
    assert (ran.code, ran.fates) == (0, (0, 0, 0, 3))


def test_the_exit_code_is_1_if_a_row_differs(cli):
    ran = cli.compare(OLD, NEW)
    assert (ran.code, ran.fates) == (1, (1, 1, 1, 1))


@pytest.mark.parametrize("old, new", [("id,v\n1,2\n", "id\n1\n"), ("id\n1\n", "id,v\n1,2\n")])
def test_the_exit_code_is_1_if_a_column_differs(cli, old, new):
    assert cli.compare(old, new).code == 1


def test_the_exit_code_is_1_if_bad_lines_were_left_out(cli):
    ran = cli.compare("id,v\n1,2\nbad\n", "id,v\n1,2\n", "--skip-bad-lines")
    assert (ran.code, ran.fates, ran.json["bad_lines"]) == (1, (0, 0, 0, 1), {"old": 1, "new": 0})


def test_the_exit_code_is_2_if_it_can_not_be_done(cli):
    assert "There is no file nope.csv" in cli.refused("o.csv", "nope.csv")


def test_the_same_file_twice_does_not_differ(cli):
    assert cli.run("o.csv", "o.csv").code == 0


# --- what is told ----------------------------------------------------------------------------------


def test_the_answer_comes_first_then_the_evidence(cli):
    out = cli.run("o.csv", "n.csv", "--key", "id").out
    assert out.startswith("o.csv → n.csv\n3 rows differ: 1 changed, 1 added, 1 removed. 1 is the same.\n3 rows before, 3 after.")
    assert "Rows are matched by id." in out
    assert "           1  name\n" in out
    assert "~ id=2  name b → B\n" in out
    assert "v: numbers by value" in out


def test_files_of_the_same_name_are_told_apart_by_their_folders(cli):
    for folder in ("monday", "tuesday"):
        (cli.folder / folder).mkdir()
    cli.file(OLD, "monday/stock.csv")
    cli.file(NEW + "bad\n", "tuesday/stock.csv")
    assert "tuesday/stock.csv has a bad line" in cli.refused("monday/stock.csv", "tuesday/stock.csv", "--key", "id")
    out = cli.run("monday/stock.csv", "tuesday/stock.csv", "--key", "id", "--skip-bad-lines").out
    assert out.startswith("monday/stock.csv → tuesday/stock.csv\n")
    assert f"There is no file {cli.folder}/stock.csv" in cli.refused("monday/stock.csv", f"{cli.folder}/stock.csv")


def test_an_example_of_a_changed_row_shows_only_the_cells_that_differ(cli):
    old, new = (cli.file(f"id,v,w\n1,{v},{w}\n2,1.0,c\n", f"{w}.csv") for v, w in (("1.5", "a"), ("1.50", "b")))
    assert "  ~ id=1  w a → b\n" in cli.run(old, new, "--key", "id").out


def test_an_example_of_long_cells_shows_where_they_differ(cli):
    old, new = (cli.file(f"id,v\n1,{'x' * 90}{end}\n", f"{end}.csv") for end in ("old", "new"))
    x = "x" * 36
    assert f"  ~ id=1  v …{x}old → …{x}new\n" in cli.run(old, new, "--key", "id").out


def test_columns_that_are_left_out_are_said(cli):
    assert "Columns left out: name.\n" in cli.run("o.csv", "n.csv", "--key", "id", "--ignore", "name").out


def test_standard_input_is_refused_in_words(cli):
    assert "standard input can't be read twice" in cli.refused("-", "n.csv")


def test_no_difference_is_said_in_a_sentence(cli):
    assert "No row differs. 3 are the same." in cli.run("o.csv", "o.csv", "--key", "id").out


def test_the_suggested_key_is_used_and_said(cli):
    out = cli.run("o.csv", "n.csv").out
    assert "Rows are matched by id (found: " in out
    assert cli.run("o.csv", "n.csv", "--json").json["key"] == ["id"]


def test_the_summary_as_json_has_its_names(cli):
    found = cli.run("o.csv", "n.csv", "--key", "id", "--json").json
    assert (found["old_rows"], found["new_rows"], found["changed_cells"]) == (3, 3, 1)
    assert (found["columns_added"], found["columns_removed"], found["key"]) == ([], [], ["id"])
    assert {name: column["changed"] for name, column in found["columns"].items()} == {"name": 1, "v": 0}
    assert found["null_keys"] == found["bad_lines"] == {"old": 0, "new": 0}
    assert found["duplicate_keys"] == {"old": {"keys": 0, "rows": 0}, "new": {"keys": 0, "rows": 0}}
    assert found["warnings"] == []
    assert found["seconds"] > 0


def test_json_keeps_letters_of_all_alphabets(cli):
    ran = cli.compare("id,größe 😀\n1,2\n", "id,größe 😀\n1,3\n")
    assert list(ran.json["columns"]) == ["größe 😀"]
    assert "größe 😀" in ran.out


def test_nothing_but_the_answer_is_printed(cli):
    assert cli.run("o.csv", "n.csv", "--key", "id").err == ""
    assert "\x1b" not in cli.run("o.csv", "n.csv", "--key", "id").out


def test_what_cells_and_names_would_do_to_a_terminal_is_shown_instead(cli):
    old = 'id,"a\x1b[2J",b\n1,x,y\n2,"two\nlines",\u202ez\n' + "3,as usual,as usual\n" * 10
    cli.file(old, "\x1b[31mold.csv")
    cli.file(old.replace("x", "\x1b]0;title\x07").replace("z", "\x9b1m"), "new.csv")
    for command in ((), ("keys",), ("describe",)):
        files = ("\x1b[31mold.csv",) if command == ("describe",) else ("\x1b[31mold.csv", "new.csv")
        out = cli.run(*command, *files).out
        assert not set(out) & set("\x1b\x07\x9b\u202e")
    assert "\\x1b[31mold.csv → new.csv" in cli.run("\x1b[31mold.csv", "new.csv", "--key", "id").out


def test_an_error_is_told_without_control_characters(cli):
    assert "\x1b" not in cli.refused("\x1b[31m.csv", "n.csv")


def test_a_terminal_gets_colours_unless_it_wants_none(cli):
    told = {name: on_a_terminal({**os.environ, "TERM": "xterm", **extra}) for name, extra in (("", {}), ("none", {"NO_COLOR": "1"}))}
    assert "\x1b[34m~\x1b[0m id=2" in told[""]
    assert "\x1b" not in told["none"]


def on_a_terminal(environment: dict[str, str]) -> str:
    """What a terminal shows of a comparison."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "diffing", str(Path.cwd() / "o.csv"), str(Path.cwd() / "n.csv"), "--key", "id"]
    with subprocess.Popen(command, cwd=ROOT, stdout=theirs, stderr=subprocess.DEVNULL, env=environment):
        os.close(theirs)
        shown = b""
        try:
            while more := os.read(ours, 1 << 16):
                shown += more
        except OSError:  # how a terminal tells its end
            pass
        finally:
            os.close(ours)
    return shown.decode()


# --- keys ------------------------------------------------------------------------------------------


def test_a_key_may_be_of_several_columns(cli):
    text = 'a,"b, c",v\n1,1,x\n1,2,y\n'
    ran = cli.compare(text, text.replace("y", "z"), "--key", 'a,"b, c"')
    assert (ran.fates, ran.json["key"]) == ((0, 0, 1, 1), ["a", "b, c"])


def test_a_key_may_be_given_in_parts(cli):
    assert cli.run("o.csv", "n.csv", "--key", "id", "--key", "name", "--json").json["key"] == ["id", "name"]


def test_without_a_key_rows_are_compared_whole(cli):
    ran = cli.run("o.csv", "n.csv", "--no-key", "--json")
    assert (ran.fates, ran.json["key"]) == ((2, 2, 0, 1), [])


@pytest.mark.parametrize(
    "said, told",
    [
        (("--key", "idd"), "Did you mean “id”?"),
        (("--key", "ID"), "Did you mean “id”?"),
        (("--key", "id, name"), "Did you mean “name”?"),
        (("--key", "id,id"), "“id” is named twice as a key"),
        (("--key", "id", "--key", "id"), "“id” is named twice as a key"),
        (("--key", ""), "no column is named"),
        (("--key", "id", "--no-key"), "not allowed with argument --key"),
        (("--key", 'id,"name'), "a quote that is not closed"),
        (("--key", "id\nname"), "a line break in quotes"),
        (("--key", "id", "--ignore", "id"), "both as a key and as a column to ignore"),
    ],
)
def test_a_key_that_can_not_be_is_refused(cli, said, told):
    assert told in cli.refused("o.csv", "n.csv", *said)


# --- rules -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "old, new, options, changed",
    [
        ("1", "1.05", (), 1),
        ("1", "1.05", ("--tolerance", "v=0.1"), 0),
        ("1", "1.05", ("--tolerance", "v=1e-6"), 1),
        ("1000", "1001", ("--tolerance", "v=0.1%"), 0),
        ("1000", "1002", ("--tolerance", "v=0.1%"), 1),
        ("1.5", "1.50", ("--text",), 1),
        ("1.5", "1.50", ("--type", "v=text"), 1),
        ("x", "X", (), 1),
        ("x", "X", ("--ignore-case",), 0),
        ("x", "X", ("--ignore-case=v",), 0),
        ("x", "X", ("--ignore-case=w",), 1),
        ("x", " x ", ("--ignore-space",), 0),
        ("x", " x ", ("--ignore-space=w,v",), 0),
        ("NA", "", (), 1),
        ("NA", "", ("--null", "NA"), 0),
        ("NA", "-", ("--null", "NA", "--null", "-"), 0),
        ("05.01.2024", "2024-01-05", (), 1),
        ("05.01.2024", "2024-01-05", ("--old-date-format", "v=%d.%m.%Y"), 0),
        ("05.01.2024", "5.1.2024", ("--date-format", "v=%d.%m.%Y"), 0),
        ("05.01.2024", "2024-01-05", ("--new-date-format", "v=%d.%m.%Y"), 1),
        ("x", "y", ("--ignore", "v"), 0),
    ],
)
def test_a_rule_decides_what_is_the_same(cli, old, new, options, changed):
    ran = cli.compare(f"id,v,w\n1,{old},a\n", f"id,v,w\n1,{new},a\n", *options)
    assert (ran.fates, ran.code) == ((0, 0, changed, 1 - changed), changed)


def many(cell: str) -> str:
    """A table in which half of the cells of `v` are numbers, and half are the given text."""
    return "id,v\n" + "".join(f"{i},{cell if i % 2 else f'{i}.5'}\n" for i in range(40))


@pytest.mark.parametrize(
    "cell, options, kind",
    [
        ("NA", (), "text"),
        ("NA", ("--null", "NA"), "number"),
        ("na", ("--null", "NA"), "text"),
        ("na", ("--null", "NA", "--ignore-case"), "number"),
        (" 7", (), "text"),
        (" 7", ("--ignore-space",), "number"),
        (" 7", ("--ignore-space=v",), "number"),
        (" 7", ("--ignore-space=id",), "text"),
        (" NA", ("--null", "NA", "--ignore-space=v"), "number"),
        ("NA", ("--null", "NA", "--text"), "text"),
        ("NA", ("--null", "NA", "--type", "v=text"), "text"),
    ],
)
def test_a_column_has_the_type_of_what_its_cells_mean_by_the_rules(cli, cell, options, kind):
    ran = cli.compare(many(cell), many(cell).replace(".5\n", ".50\n"), *options)
    assert ran.json["columns"]["v"]["type"] == kind
    assert ran.json["changed_cells"] == (0 if kind == "number" else 20)


def test_a_column_of_nothing_but_null_words_agrees_to_numbers(cli):
    ran = cli.compare("id,v\n1,NA\n2,NA\n", "id,v\n1,1.5\n2,\n", "--null", "NA")
    assert (ran.json["columns"]["v"]["type"], ran.json["columns"]["v"]["sum_of_changes"], ran.json["changed"]) == ("number", "1.5", 1)


def test_an_option_with_or_without_columns_may_stand_before_the_files(cli):
    for options in (["--ignore-case"], ["--ignore-case=name"], ["--ignore-space", "--ignore-case"]):
        assert cli.run(*options, "o.csv", "n.csv", "--key", "id", "--json").fates == (1, 1, 0, 2)


def test_a_renamed_column_is_compared(cli):
    ran = cli.compare("id,a,b\n1,x,y\n", "id,c,d\n1,x,z\n", "--rename", "a=c,b=d")
    assert (ran.fates, ran.json["columns_renamed"]) == ((0, 0, 1, 0), {"a": "c", "b": "d"})
    assert ran.json["columns"]["d"]["changed"] == 1


def test_lists_are_quoted_as_in_csv(cli):
    old, new = 'id,"a,b","c=d"\n1,1,1\n', 'id,"a,b","c=d"\n1,2,2\n'
    ran = cli.compare(old, new, "--tolerance", '"a,b=1",c=d=1')
    assert ran.fates == (0, 0, 0, 1)
    ran = cli.compare(old, new, "--ignore", '"a,b",c=d')
    assert ran.fates == (0, 0, 0, 1)


@pytest.mark.parametrize("said", ['"d,e"=%d.%m.%Y', "d,e=%d.%m.%Y"])
def test_a_date_format_may_name_a_column_with_a_comma(cli, said):
    ran = cli.compare('id,"d,e"\n1,05.01.2024\n', 'id,"d,e"\n1,2024-01-05\n', "--date-format", said)
    assert ran.fates == (0, 0, 0, 1)


def test_short_lines_are_filled(cli):
    ran = cli.compare("id,v,w\n1,2,\n2,3,4\n", "id,v,w\n1,2\n2,3,4\n", "--fill-short-lines")
    assert (ran.fates, ran.json["filled_lines"]) == ((0, 0, 0, 2), {"old": 0, "new": 1})


def test_totals_are_added_up_over_all_rows(cli):
    found = cli.run("o.csv", "n.csv", "--key", "id", "--totals", "--json").json
    assert (found["columns"]["v"]["old_total"], found["columns"]["v"]["new_total"]) == ("6", "7")
    assert found["keys_counted_over"] == "whole files"
    assert "v: 6 → 7" in cli.run("o.csv", "n.csv", "--key", "id", "--totals").out


def test_memory_disk_and_threads_may_be_limited(cli):
    assert cli.run("o.csv", "n.csv", "--key", "id", "--memory-limit", "500MB", "--disk-limit", "1.5 GiB", "--threads", "1").code == 1


@pytest.mark.parametrize(
    "said, told",
    [
        (("--tolerance", "v"), "not of the form COLUMN=VALUE"),
        (("--tolerance", "v=x"), "“x” is no tolerance"),
        (("--tolerance", "v=-1"), "“-1” is no tolerance"),
        (("--tolerance", "w=1"), "There is no column “w”"),
        (("--tolerance", "v=1", "--tolerance", "v=2"), "“v” is given a tolerance twice"),
        (("--tolerance", "v=1", "--text"), "can't be used when all cells are compared as text"),
        (("--rename", "a=b"), "There is no column “a”"),
        (("--type", "v=int"), "The types are text, number and date"),
        (("--type", "v=text", "--new-type", "v=date"), "“v” is given a type twice"),
        (("--date-format", "v=%Q"), "“%Q” is no date format"),
        (("--date-format", "v="), "“” is no date format"),
        (("--date-format", "v=%d", "--date-format", "v=%m"), "“v” is given a date format twice"),
        (("--ignore-case=w",), "There is no column “w”"),
        (("--ignore-case=",), "no column is named"),
        (("--ignore", "w"), "There is no column “w”"),
        (("--memory-limit", "much"), "“much” is no amount such as 1GB"),
        (("--memory-limit", "0GB"), "“0GB” is no amount"),
        (("--disk-limit", "-1GB"), "expected one argument"),
        (("--disk-limit", "1 pound"), "“1 pound” is no amount"),
        (("--memory-limit", "1MB"), "needs more memory"),
        (("--threads", "0"), "from 1 to 256"),
        (("--threads", "99999999999"), "from 1 to 256"),
        (("--threads", "²"), "from 1 to 256"),
        (("--skip-bad-lines", "--fill-short-lines"), "not allowed with"),
        (("--format", "xml"), "invalid choice"),
        (("--format", "json"), "no file is named"),
        (("--for-spreadsheets",), "no file is named"),
        (("--for-spreadsheets", "-o", "diff.parquet"), "--for-spreadsheets is for CSV files"),
        (("--ignore-case", "v"), "--ignore-case=A,B"),
        (("--nope",), "Unrecognized arguments"),
        (("--tol", "v=1"), "Unrecognized arguments"),
    ],
)
def test_an_option_that_can_not_be_carried_out_is_refused(cli, said, told):
    assert told in cli.refused("o.csv", "n.csv", "--key", "id", *said)


def test_a_tolerance_of_a_key_column_is_said_to_have_no_effect(cli):
    ran = cli.compare("id,v\n1,a\n2,b\n", "id,v\n2,a\n", "--tolerance", "id=1")
    assert ran.fates == (0, 1, 1, 0)
    assert ran.json["notes"] == ["The tolerance of “id” is not applied: it is a key column, and keys match exactly."]


# --- spelling --------------------------------------------------------------------------------------

PLAIN = "id,v\n1,a\n2,b\n"


@pytest.mark.parametrize(
    "text, options",
    [
        (PLAIN.replace(",", ";"), ("--delimiter", ";")),
        (PLAIN.replace(",", "\t"), ("--delimiter", "tab")),
        (PLAIN.replace(",", "\t"), ("--delimiter", "\\t")),
        (PLAIN.replace("a", "'a'"), ("--quote", "'")),
        (PLAIN.encode("utf-16"), ("--encoding", "utf-16")),
        ("x\ny\n" + PLAIN, ("--skip-rows", "2")),
        (PLAIN.replace("1,", "(unit),\n1,"), ("--skip-after-header", "1")),
    ],
)
@pytest.mark.parametrize("side", ["", "old-", "new-"])
def test_the_spelling_can_be_said_of_both_files_or_of_one(cli, text, options, side):
    name, value = options
    old, new = (text if side in ("", own) else PLAIN for own in ("old-", "new-"))
    assert cli.compare(old, new, name.replace("--", f"--{side}"), value).fates == (0, 0, 0, 2)


def test_what_is_said_of_one_file_counts_before_what_is_said_of_both(cli):
    assert cli.compare(PLAIN.replace(",", ";"), PLAIN, "--delimiter", ",", "--old-delimiter", ";").code == 0


def test_nothing_may_be_a_quote(cli):
    text = "id,v\n1,'a\n2,'b\n"
    assert cli.compare(text, text.replace("'b", '"b'), "--quote", "").json["changed_cells"] == 1


@pytest.mark.parametrize("options", [("--no-header",), ("--old-no-header", "--new-no-header")])
def test_files_may_have_no_header(cli, options):
    ran = cli.compare("x,y\nz,w\n", "x,y\nz,v\n", *options, "--key", "c1")
    assert (ran.fates, ran.json["old_rows"]) == ((0, 0, 1, 1), 2)


def test_one_file_may_have_no_header(cli):
    ran = cli.compare("id,v\nx,y\n", "x,y\nz,w\n", "--new-no-header")
    assert ran.fates == (1, 0, 0, 1)
    assert any("no header" in note for note in ran.json["notes"])


def test_a_header_may_be_insisted_on(cli):
    assert cli.compare("1,2\n3,4\n", "1,2\n3,4\n", "--header", "--key", "1").json["old_rows"] == 1


@pytest.mark.parametrize("key", [("--key", "id"), ("--no-key",)])
@pytest.mark.parametrize("order", [1, -1])
def test_a_large_file_is_what_all_of_its_bytes_say_and_not_its_samples(cli, monkeypatch, order, key):
    monkeypatch.setattr(sources, "BLOCK", 100)
    rows = [f"{i},a,b\n" for i in range(100_000)]
    texts = ["id,v,w\n" + "".join([*rows, f"x,{last},b\n"][::way]) for last, way in (("Zoë", 1), ("Zoé", order))]
    files = [text.encode("cp1252") for text in texts]
    told = [cli.compare(*files, *key, "--encoding", "latin-1", "-o", "said.csv").json]
    monkeypatch.setattr(sources, "PRESUMED", 0)
    told.append(cli.compare(*files, *key, "-o", "found.csv").json)
    assert (cli.folder / "said.csv").read_bytes() == (cli.folder / "found.csv").read_bytes()
    assert b"Zo\xc3\xab" in (cli.folder / "found.csv").read_bytes()
    assert {each["dialects"]["new"]["encoding"] for each in told} == {"latin-1"}


@pytest.mark.parametrize("said", ["--delimiter=", "--delimiter=ab", "--encoding=nope", "--skip-rows=-1", "--skip-rows=9", "--quote=“"])
def test_a_spelling_that_can_not_be_is_refused(cli, said):
    cli.refused("o.csv", "n.csv", said)


# --- output ----------------------------------------------------------------------------------------

DIFFED = [
    {"change": "changed", "id": "2", "name_old": "b", "name_new": "B", "v_old": "2", "v_new": "2", "v_change": "0"},
    {"change": "removed", "id": "3", "name_old": "c", "name_new": "", "v_old": "3", "v_new": "", "v_change": "-3"},
    {"change": "added", "id": "4", "name_old": "", "name_new": "d", "v_old": "", "v_new": "4", "v_change": "4"},
]


def written(cli: CommandLine, *options: str) -> Ran:
    return cli.run("o.csv", "n.csv", "--key", "id", *options)


def test_the_differing_rows_are_written_as_csv(cli):
    assert written(cli, "-o", "diff.csv").code == 1
    data = (cli.folder / "diff.csv").read_text(encoding="utf-8")
    assert list(csv.DictReader(data.splitlines())) == DIFFED
    assert data.endswith("\n")
    assert "\r" not in data


@pytest.mark.parametrize("options", [("-o", "diff.parquet"), ("--output", "diff", "--format", "parquet")])
def test_the_differing_rows_are_written_as_parquet(cli, options):
    written(cli, *options)
    rows = pq.read_table(options[1]).to_pylist()
    assert [{name: cell or "" for name, cell in row.items()} for row in rows] == DIFFED


@pytest.mark.parametrize("options", [("-o", "diff.json"), ("-o", "diff.jsonl"), ("-o", "diff.csv", "--format", "json")])
def test_the_differing_rows_are_written_as_json_lines(cli, options):
    written(cli, *options)
    lines = Path(options[1]).read_text(encoding="utf-8").splitlines()
    assert [{name: cell or "" for name, cell in json.loads(line).items()} for line in lines] == DIFFED


def test_the_format_that_is_said_counts_before_the_suffix(cli):
    written(cli, "-o", "diff.parquet", "--format", "csv")
    assert (cli.folder / "diff.parquet").read_text().startswith("change,id,")


def test_no_difference_is_written_as_a_header(cli):
    cli.run("o.csv", "o.csv", "--key", "id", "-o", "diff.csv")
    assert (cli.folder / "diff.csv").read_text() == "change,id,name_old,name_new,v_old,v_new,v_change\n"


def test_the_output_and_the_summary_as_json_go_together(cli):
    ran = written(cli, "-o", "diff.csv", "--json")
    assert ran.json["added"] == 1
    assert (cli.folder / "diff.csv").exists()


def test_formulas_are_defused_when_asked(cli):
    old, new = "id,v\n1,a\n2,-5\n", "id,v\n1,=1+1\n2,-6\n"
    cli.compare(old, new, "-o", "plain.csv")
    cli.compare(old, new, "-o", "safe.csv", "--for-spreadsheets")
    assert "changed,1,a,=1+1\n" in (cli.folder / "plain.csv").read_text()
    assert "changed,1,a,'=1+1\n" in (cli.folder / "safe.csv").read_text()
    assert "changed,2,-5,-6\n" in (cli.folder / "safe.csv").read_text()


def test_an_older_output_is_replaced_and_nothing_else_is_left(cli):
    (cli.folder / "diff.csv").write_text("older")
    before = set(os.listdir(cli.folder))
    written(cli, "-o", "diff.csv")
    assert set(os.listdir(cli.folder)) == before
    assert (cli.folder / "diff.csv").read_text().startswith("change,")


def test_an_output_through_a_link_goes_where_it_leads(cli):
    (cli.folder / "link.csv").symlink_to("real.csv")
    written(cli, "-o", "link.csv")
    assert (cli.folder / "link.csv").is_symlink()
    assert (cli.folder / "real.csv").read_text().startswith("change,")


def test_a_pipe_or_a_device_is_written_to_and_not_replaced(cli):
    os.mkfifo("pipe")
    with subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE, text=True) as reader:
        assert written(cli, "-o", "pipe", "--format", "csv").code == 1
        out, _ = reader.communicate(timeout=10)
    assert out.startswith("change,id,")
    assert (cli.folder / "pipe").is_fifo()


@pytest.mark.parametrize(
    "path, told",
    [
        ("nowhere/diff.csv", "There is no folder nowhere"),
        (".", "is a folder"),
        ("o.csv", "one of the compared files"),
        ("same.csv", "one of the compared files"),
        ("", "the name of the file is empty"),
        ("o.csv/diff.csv", "There is no folder o.csv"),
    ],
)
def test_an_output_that_can_not_be_is_refused_before_the_work(cli, path, told):
    (cli.folder / "same.csv").symlink_to("n.csv")
    assert told in cli.refused("o.csv", "n.csv", "--key", "id", "-o", path)
    assert (cli.folder / "n.csv").read_text() == NEW


# --- other commands --------------------------------------------------------------------------------


def test_keys_are_suggested_best_first(cli):
    assert cli.run("keys", "o.csv", "n.csv").out.startswith("1. `id` names every row in both files")
    first, *_ = json.loads(cli.run("keys", "o.csv", "n.csv", "--json").out)
    assert (first["columns"], first["unique_old"]) == (["id"], 1.0)


def test_keys_can_be_guessed_from_samples(cli):
    assert cli.run("keys", "o.csv", "n.csv", "--quick").out.startswith("1. In a sample, `id` names every row in both files")


def test_keys_may_be_asked_for_renamed_columns_and_other_spellings(cli):
    cli.file(NEW.replace("id", "ident").replace(",", ";"), "other.csv")
    ran = cli.run("keys", "o.csv", "other.csv", "--rename", "id=ident", "--new-delimiter", ";", "--json")
    assert json.loads(ran.out)[0]["columns"] == ["ident"]


def test_a_file_is_described(cli):
    cli.file("a;b\r\n1;x\r\n2;\r\nbad\r\n", "some.csv")
    found = cli.run("describe", "some.csv", "--json").json
    assert (found["rows"], found["bad_lines"], found["bad"][0]["line"]) == (2, 1, 4)
    assert found["columns"] == [{"name": "a", "type": "number", "cells": "integer"}, {"name": "b", "type": "text", "cells": "text"}]
    assert (found["dialect"]["delimiter"], found["dialect"]["line_end"], found["format"]) == ("semicolon", "CRLF", "csv")


def test_a_file_is_described_in_words(cli):
    cli.file("a;b\n1;x\nbad\n", "some.csv")
    out = cli.run("describe", "some.csv").out
    assert out.startswith('some.csv: 1 rows, 2 columns, 12 bytes\ndelimiter: semicolon, quote: ", encoding: utf-8')
    assert "  number  a  (integer)\n" in out
    assert "  line 3: 1 cell instead of 2: bad\n" in out


def test_a_parquet_file_and_an_empty_file_are_described(cli):
    written(cli, "-o", "diff.parquet")
    assert cli.run("describe", "diff.parquet", "--json").json["rows"] == 3
    cli.file("", "empty.csv")
    assert cli.run("describe", "empty.csv", "--json").json["rows"] == 0


@pytest.mark.parametrize("command", ["describe nope.csv", "keys o.csv nope.csv", "keys o.csv", "describe", "metric"])
def test_other_commands_are_refused_in_the_same_form(cli, command):
    cli.refused(*command.split())


REGISTRY = '[pair]\ntitle = "A pair"\nold = "o.csv"\nnew = "n.csv"\nkey = ["id"]\n'


def test_a_metric_is_compared_as_its_entry_says(cli):
    cli.file(REGISTRY, "metrics.toml")
    ran = cli.run("metric", "pair", "--json")
    assert (ran.code, ran.fates, ran.json["key"]) == (1, (1, 1, 1, 1), ["id"])
    assert cli.run("metric", "pair", "-o", "diff.csv").code == 1
    assert (cli.folder / "diff.csv").exists()


def test_an_unknown_metric_and_a_missing_registry_are_refused(cli):
    assert "There is no registry metrics.toml" in cli.refused("metric", "pair")
    cli.file(REGISTRY, "other.toml")
    assert "The metrics are pair" in cli.refused("metric", "pear", "--metrics", "other.toml")


def test_a_metric_whose_file_is_missing_is_refused_by_name(cli):
    cli.file(REGISTRY.replace("n.csv", "nope.csv"), "metrics.toml")
    told = cli.refused("metric", "pair")
    assert "pair" in told
    assert "nope.csv" in told


def test_help_is_given_for_every_command(cli):
    for command in ((), ("metric",), ("keys",), ("describe",)):
        ran = cli.run(*command, "--help")
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.startswith("usage: diffing")


# --- as a process ----------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["--help", "keys --help", "describe --help", "metric --help", "old new --nope"])
def test_help_and_wrong_options_import_nothing_that_takes_time(said):
    code = (
        "import sys\nfrom diffing.cli import main\n"
        f"try: main({said.split()!r})\nexcept SystemExit: pass\n"
        "print('LATE', sorted({'duckdb', 'pandas', 'pyarrow', 'numpy', 'streamlit'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("LATE []\n")


def test_a_whole_run_gives_no_warning(cli):
    done = process(str(cli.folder / "o.csv"), str(cli.folder / "n.csv"), "-o", str(cli.folder / "diff.csv"), "--totals", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["added"] == 1


def test_a_reader_that_goes_away_is_no_trouble(cli):
    command = [sys.executable, "-X", "dev", "-m", "diffing", str(cli.folder / "o.csv"), str(cli.folder / "n.csv"), "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        assert run.stderr.read() == ""
    assert run.returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_full_disk_under_the_printed_answer_is_told(cli):
    with open("/dev/full", "w") as full:
        done = process(str(cli.folder / "o.csv"), str(cli.folder / "n.csv"), capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr.startswith("error: The output can't be written: No space left on device.\nhint: ")


def test_without_any_output_the_exit_code_still_tells(cli):
    def close() -> None:
        os.close(1)
        os.close(2)

    done = process(str(cli.folder / "o.csv"), str(cli.folder / "n.csv"), capture_output=False, preexec_fn=close)
    assert done.returncode == 1
    done = process(str(cli.folder / "o.csv"), "nope.csv", capture_output=False, preexec_fn=close)
    assert done.returncode == 2


def test_a_narrow_encoding_of_the_output_is_no_trouble(cli):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = process(str(cli.folder / "o.csv"), str(cli.folder / "n.csv"), env=environment)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("o.csv \\u2192 n.csv\n")


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_clears_up(cli, told):
    old = "id,a,b\n" + "".join(f"{i},{i * 7919 % 10007},{i}\n" for i in range(400_000))
    files = [cli.file(old, "big_old.csv"), cli.file(old.replace(",7", ",8"), "big_new.csv")]
    home = cli.folder / "temporary"
    home.mkdir()
    command = [sys.executable, "-m", "diffing", *files, "--no-key", "--threads", "1"]
    environment = {**os.environ, "TMPDIR": str(home)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        deadline = time.monotonic() + 20
        while not list(home.glob("diffing-*/work")) and time.monotonic() < deadline:
            time.sleep(0.01)
        run.send_signal(told)
        _, err = run.communicate(timeout=20)
    assert (run.returncode, err) == (130, "error: Stopped.\n")
    assert list(home.iterdir()) == []


def test_the_temporary_folder_is_gone_after_a_run(cli, monkeypatch):
    home = cli.folder / "temporary"
    home.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    cli.run("o.csv", "n.csv")
    cli.run("o.csv", "nope.csv")
    assert list(home.iterdir()) == []
