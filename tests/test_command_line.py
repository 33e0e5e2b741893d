"""The command line as the README tells it, and what it says to bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from diffing.cli import main

ROOT = Path(__file__).parent.parent
OLD = "id,amount,note\n1,1.50,a\n2,2.0,B\n3,3.0,c\n"
NEW = "id,amount,note\n1,1.5,a\n2,2.5,b\n4,4.0,d\n"


@pytest.fixture
def files(tmp_path, monkeypatch):
    (tmp_path / "old.csv").write_text(OLD)
    (tmp_path / "new.csv").write_text(NEW)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys, *arguments: str) -> tuple[int, dict]:
    code = main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_summary_as_json_has_the_promised_names(files, capsys):
    code, found = said(capsys, "old.csv", "new.csv", "--key", "id")
    assert code == 1
    assert (found["old_rows"], found["new_rows"], found["added"], found["removed"]) == (3, 3, 1, 1)
    assert (found["changed"], found["unchanged"], found["changed_cells"]) == (1, 1, 2)
    assert found["columns"]["amount"]["changed"] == 1
    assert found["null_keys"] == found["bad_lines"] == {"old": 0, "new": 0}
    assert found["duplicate_keys"] == {side: {"keys": 0, "rows": 0} for side in ("old", "new")}
    assert found["key"] == ["id"]
    assert {"columns_added", "columns_removed", "warnings", "seconds"} <= set(found)


@pytest.mark.parametrize(
    "options, changed",
    [
        ([], 2),
        (["--ignore-case"], 1),
        (["--ignore-case=note"], 1),
        (["--tolerance", "amount=0.5", "--ignore-case"], 0),
        (["--tolerance", "amount=25%"], 1),
        (["--ignore", "amount,note"], 0),
        (["--text"], 3),
        (["--type", "amount=text"], 3),
        (["--null", "b", "--null", "B"], 1),
    ],
)
def test_an_option_does_what_it_says(files, capsys, options, changed):
    _, found = said(capsys, *options, "old.csv", "new.csv", "--key", "id")
    assert found["changed_cells"] == changed


def test_nothing_different_is_exit_code_0(files, capsys):
    assert main(["old.csv", "old.csv", "--key", "id"]) == 0
    assert "No row differs" in capsys.readouterr().out


def test_files_may_be_spelled_differently(files, capsys):
    (files / "new.csv").write_bytes(OLD.replace(",", ";").replace("id;amount;note\n", "").encode("utf-16"))
    code, found = said(capsys, "old.csv", "new.csv", "--key", "id", "--new-no-header", "--new-delimiter", ";", "--new-encoding", "utf-16")
    assert (code, found["unchanged"]) == (0, 3)


@pytest.mark.parametrize("name", ["diff.csv", "diff.parquet", "diff.jsonl"])
def test_the_differing_rows_are_written(files, capsys, name):
    assert main(["old.csv", "new.csv", "--key", "id", "-o", name]) == 1
    written = (files / name).read_bytes()
    if name.endswith("csv"):
        assert written.decode().splitlines()[0] == "change,id,amount_old,amount_new,amount_change,note_old,note_new"
    elif name.endswith("jsonl"):
        rows = [json.loads(line) for line in written.splitlines()]
        assert [row["change"] for row in rows] == ["changed", "removed", "added"]
        assert rows[0]["amount_change"] == "0.5"
    else:
        assert written.startswith(b"PAR1")


def test_formulas_are_defused_for_spreadsheets_only_when_asked(files, capsys):
    (files / "new.csv").write_text(NEW.replace("4.0,d", "-4.0,=1+1"))
    main(["old.csv", "new.csv", "--key", "id", "-o", "plain.csv"])
    main(["old.csv", "new.csv", "--key", "id", "-o", "safe.csv", "--for-spreadsheets"])
    assert ",=1+1" in (files / "plain.csv").read_text()
    assert ",'=1+1" in (files / "safe.csv").read_text()
    assert ",-4.0," in (files / "safe.csv").read_text()


def test_a_key_is_found_and_said(files, capsys):
    assert main(["old.csv", "new.csv"]) == 1
    assert "matched by id (found: `id` names every row in both files" in capsys.readouterr().out


def test_characters_that_move_the_cursor_are_shown_not_sent(files, capsys):
    (files / "new.csv").write_text(NEW.replace("4.0,d", "4.0,\x1b[31mred"))
    main(["old.csv", "new.csv", "--key", "id"])
    assert "\x1b" not in capsys.readouterr().out


def write(folder: Path, name: str, data: bytes) -> str:
    (folder / name).write_bytes(data)
    return name


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["gone.csv", "new.csv", "--key", "id"], "There is no file gone.csv"),
        ([".", "new.csv", "--key", "id"], "is a folder"),
        (["old.csv", "new.csv", "--key", "idd"], "Did you mean “id”?"),
        (["old.csv", "new.csv", "--key", "id,id"], "named twice"),
        (["old.csv", "new.csv", "--key", "id", "--ignore", "id"], "both as a key and as a column to ignore"),
        (["old.csv", "new.csv", "--key", "id", "--no-key"], "not allowed with"),
        (["old.csv", "new.csv", "--key", "id", "--tolerance", "amount=x"], "no tolerance"),
        (["old.csv", "new.csv", "--key", "id", "--tolerance", "amount"], "COLUMN=VALUE"),
        (["old.csv", "new.csv", "--key", "id", "--encoding", "klingon"], "no encoding"),
        (["old.csv", "new.csv", "--key", "id", "--delimiter", "ab"], "one character"),
        (["old.csv", "new.csv", "--key", "id", "--memory-limit", "lots"], "no amount such as"),
        (["old.csv", "new.csv", "--key", "id", "-o", "no/such/folder/x.csv"], "no folder"),
        (["old.csv"], "required"),
        (["metric", "nothing"], "registry"),
    ],
)
def test_a_mistake_ends_in_a_message_and_exit_code_2(files, capsys, arguments, message):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "data, message",
    [
        (bytes(range(256)) * 40, "binary"),
        (b"PK\x03\x04" + b"x" * 100, "ZIP or Excel"),
        (b"id,amount,note\n1,2\n", "line 2 has 2 cells instead of 3"),
        (b'id,amount,note\n1,2,"open\n3,4,x\n', "line 2 has a quote that is never closed"),
        (b"id,amount,note\n1,2,a\0b\n", "line 2 has"),
        ("id,amount,note\né,é,é\n".encode() + b"1,2,\xff\n", "line 3 has bytes that are no UTF-8"),
        (b"x,y\n1,2\n", "no column in common"),
    ],
)
def test_a_bad_file_ends_in_a_message_and_exit_code_2(files, capsys, data, message):
    assert main(["old.csv", write(files, "bad.csv", data), "--no-key"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("data, removed", [(b"", 3), (b"id,amount,note\n", 3)])
def test_a_file_without_rows_is_a_table(files, capsys, data, removed):
    _, found = said(capsys, "old.csv", write(files, "few.csv", data), "--key", "id")
    assert (found["removed"], found["added"]) == (removed, 0)


def test_a_line_of_20_mb_is_refused(files, capsys):
    assert main(["old.csv", write(files, "long.csv", b"x" * (20 << 20)), "--no-key"]) == 2
    assert "longer than 16 MB" in capsys.readouterr().err


def test_a_full_disk_is_said_plainly(files, capsys):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    assert main(["old.csv", "new.csv", "--key", "id", "-o", "/dev/full"]) == 2
    assert "can't be written" in capsys.readouterr().err


def test_two_thousand_columns_are_compared(files, capsys):
    header = ",".join(["id", *(f"c{i}" for i in range(2000))])
    rows = [",".join([str(r), *(str(r * i % 7) for i in range(2000))]) for r in range(5)]
    write(files, "wide_old.csv", "\n".join([header, *rows, ""]).encode())
    write(files, "wide_new.csv", "\n".join([header, *rows[:-1], rows[-1] + "9", ""]).encode())
    _, found = said(capsys, "wide_old.csv", "wide_new.csv", "--key", "id")
    assert (found["changed"], found["changed_cells"]) == (1, 1)


def test_help_imports_nothing_that_takes_time():
    code = (
        "import sys; from diffing.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'duckdb', 'pandas', 'pyarrow', 'numpy'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_describe_and_keys_answer(files, capsys):
    assert main(["describe", "old.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 3
    assert main(["keys", "old.csv", "new.csv"]) == 0
    assert "`id` names every row" in capsys.readouterr().out
