"""Does bad input end in a message and a hint, or in the right answer; never in a traceback, a hang or a wrong count?"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import resource
import stat
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from diffing.cli import main
from tests.running import Ran

ROOT = Path(__file__).parent.parent
FULL = "id,v\n1,a\n2,b\n3,c\n"
QUICK_SECONDS, LITTLE_MEMORY = 30, 400 << 20
"""On a busy machine; bytes of memory at most in use."""


@dataclass(frozen=True)
class Ended(Ran):
    """Of a process also: how long it took, and the most memory it used, in bytes."""

    seconds: float = 0
    memory: int = 0

    @property
    def fates(self) -> tuple[int, ...]:
        """added, removed, changed, unchanged"""
        assert self.code in (0, 1), self.err
        assert self.err == ""
        found = self.json
        assert found["old_rows"] == found["unchanged"] + found["changed"] + found["removed"]
        assert found["new_rows"] == found["unchanged"] + found["changed"] + found["added"]
        return super().fates

    @property
    def refusal(self) -> str:
        """What a refused command says: a message and a hint, and nothing else."""
        assert (self.code, self.out) == (2, "")
        message, hint = self.err.splitlines()
        assert message.startswith("error: ")
        assert hint.startswith("hint: ")
        assert "unexpected" not in message
        assert "report" not in hint
        return self.err


def run(*argv: object) -> Ended:
    """The command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(list(map(str, argv)))
    return Ended(code, out.getvalue(), err.getvalue())


def run_apart(*argv: object, **options: Any) -> Ended:
    """The command line in a process of its own, with warnings about open files and the like."""
    command = [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-m", "diffing", *map(str, argv)]
    start = time.monotonic()
    with TemporaryDirectory() as folder:
        out, err = (Path(folder) / name for name in ("out", "err"))
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(command, cwd=ROOT, stdout=out_file, stderr=err_file, **options)
            memory = 0
            while process.poll() is None:
                memory = max(memory, _most_memory(process.pid))
                time.sleep(0.01)
        return Ended(process.returncode, out.read_text(), err.read_text(), time.monotonic() - start, memory)


def _most_memory(process: int) -> int:
    """The most resident memory a process has used so far; 0 if it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return 0


def files(folder: Path, old: str | bytes, new: str | bytes = FULL) -> tuple[Path, Path]:
    paths = folder / "old.csv", folder / "new.csv"
    for path, data in zip(paths, (old, new), strict=True):
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return paths


def compared(folder: Path, old: str | bytes, new: str | bytes = FULL, *options: object) -> Ended:
    key = () if {"--key", "--no-key"} & set(map(str, options)) else ("--key", "id")
    return run(*files(folder, old, new), *key, *options, "--json")


# --- what is no file -------------------------------------------------------------------------------


def test_a_missing_file(tmp_path):
    told = run(tmp_path / "nope.csv", tmp_path / "new.csv").refusal
    assert f"There is no file {tmp_path / 'nope.csv'}." in told


def test_a_folder(tmp_path):
    assert "is a folder, not a file" in run(tmp_path, *files(tmp_path, FULL)[1:]).refusal


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path):
    old, new = files(tmp_path, FULL)
    old.chmod(0)
    assert "no permission" in run(old, new).refusal


def test_a_pipe_that_nobody_writes_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe or a device" in run(tmp_path / "pipe", *files(tmp_path, FULL)[1:]).refusal


# --- what is no table ------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [bytes(range(256)) * 50, b"\x7fELF" + b"\0" * 500, b"PK\x03\x04" + b"\0" * 500, b"PAR1 no more"])
def test_a_binary_file(tmp_path, data):
    compared(tmp_path, data).refusal  # noqa: B018 - the property asserts


def test_an_empty_file_against_a_full_one(tmp_path):
    assert compared(tmp_path, "").fates == (3, 0, 0, 0)
    assert compared(tmp_path, FULL, "").fates == (0, 3, 0, 0)


def test_an_empty_file_needs_no_key(tmp_path):
    assert run(*files(tmp_path, ""), "--json").fates == (3, 0, 0, 0)


def test_two_empty_files(tmp_path):
    ended = compared(tmp_path, "", codecs.BOM_UTF8, "--no-key")
    assert (ended.code, ended.fates) == (0, (0, 0, 0, 0))


def test_only_a_header(tmp_path):
    assert compared(tmp_path, "id,v\n").fates == (3, 0, 0, 0)
    assert compared(tmp_path, "id,v\n", "id,v").fates == (0, 0, 0, 0)
    assert compared(tmp_path, FULL, "v,id\r\n").fates == (0, 3, 0, 0)


def test_only_a_header_against_nothing(tmp_path):
    assert compared(tmp_path, "id,v\n", "").fates == (0, 0, 0, 0)


def test_no_column_in_common(tmp_path):
    assert "no column in common" in compared(tmp_path, "a,b\n1,2\n").refusal


# --- too long, too wide ----------------------------------------------------------------------------


@pytest.mark.parametrize("head, megabytes", [(b"", 40), (b"id,v\n1,", 200), (b'id,v\n1,"', 40), (b"id,v\n1,\xe9", 40)])
def test_an_endless_line_is_refused_quickly_and_with_little_memory(tmp_path, head, megabytes):
    with (tmp_path / "old.csv").open("wb") as file:
        file.write(head)
        for _ in range(megabytes):
            file.write(b"x" * (1 << 20))
    (tmp_path / "new.csv").write_text(FULL)
    ended = run_apart(tmp_path / "old.csv", tmp_path / "new.csv", "--key", "id")
    assert "16 MB" in ended.refusal
    assert ended.seconds < QUICK_SECONDS
    assert ended.memory < LITTLE_MEMORY


def test_a_file_of_nothing_but_line_ends_is_empty(tmp_path):
    ended = run_apart(*files(tmp_path, b"\r\n" * (10 << 20)), "--key", "id", "--json")
    assert ended.fates == (3, 0, 0, 0)
    assert ended.seconds < QUICK_SECONDS


def test_a_quote_that_opens_and_never_closes_in_a_large_file(tmp_path):
    ended = run_apart(*files(tmp_path, 'id,v\n0,"a\n' + f"1,{'b' * 40}\n" * 450_000), "--key", "id")
    assert "old.csv has a bad line (2): line 2 has a quote that is never closed: '0,\"a'." in ended.refusal
    assert ended.seconds < QUICK_SECONDS
    assert ended.memory < LITTLE_MEMORY


def test_a_file_of_nothing_but_bad_lines(tmp_path):
    ended = run_apart(*files(tmp_path, "id,v\n" + '1,"x\n' * 1_000_000), "--key", "id")
    assert "more than 10,000 bad lines (2, 3, 4, 5, 6, …)" in ended.refusal
    assert ended.seconds < QUICK_SECONDS


WIDEST = 5_000 if os.environ.get("SLOW") else 500
"""Columns; with 5,000 the engine takes its time to plan the work."""


def test_thousands_of_columns(tmp_path):
    header = ",".join(["id", *(f"column {i}" for i in range(1, WIDEST))])
    cells = [[str(row), *(f"{row * i}.5" if i % 2 else f"t{i}" for i in range(1, WIDEST))] for row in range(6)]
    old = "\n".join([header, *map(",".join, cells[:5])])
    cells[1][7] = "changed"
    cells[2][WIDEST - 1] += "1"
    new = "\n".join([header, *map(",".join, cells[1:])])
    ended = compared(tmp_path, old, new, "-o", tmp_path / "diff.csv")
    assert ended.fates == (1, 1, 2, 2)
    assert {name: column["changed"] for name, column in ended.json["columns"].items() if column["changed"]} == {
        "column 7": 1,
        f"column {WIDEST - 1}": 1,
    }
    with (tmp_path / "diff.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["change"], row["id"], row["column 7_old"], row["column 7_new"]) for row in rows] == [
        ("removed", "0", "0.5", ""),
        ("changed", "1", "7.5", "changed"),
        ("changed", "2", "14.5", "14.5"),
        ("added", "5", "", "35.5"),
    ]


def test_more_columns_than_any_table_has(tmp_path):
    assert "30,000 columns; at most 20,000 are read" in compared(tmp_path, "," * 29_999 + "\n").refusal


# --- bad bytes and bad lines -----------------------------------------------------------------------

BAD_LINES = {
    "NUL": (b"2,\0", "a NUL character"),
    "broken UTF-8": (b"2,\xc3\xa9\xff", "bytes that are no UTF-8 text"),
    "unclosed quote": (b'2,"b', "a quote that is never closed"),
    "text after a quote": (b'2,"b"c', "text after a closing quote"),
    "too few cells": (b"2", "1 cell instead of 2"),
    "too many cells": (b"2,b,c", "3 cells instead of 2"),
}


@pytest.mark.parametrize("line, why", BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_refused_by_number_and_reason(tmp_path, line, why):
    told = compared(tmp_path, b"id,v\n1,\xc3\xa9\n" + line + b"\n3,c\n").refusal
    assert f"old.csv has a bad line (3): line 3 has {why}" in told
    assert "--skip-bad-lines" in told


@pytest.mark.parametrize("line, why", BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_left_out_and_told(tmp_path, line, why):
    old = b"id,v\n1,\xc3\xa9\n" + line + b"\n3,c\n"
    ended = compared(tmp_path, old, "id,v\n1,é\n2,b\n3,c\n", "--skip-bad-lines")
    assert (ended.code, ended.fates) == (1, (1, 0, 0, 2))
    assert ended.json["bad_lines"] == {"old": 1, "new": 0}
    assert [(each["line"], each["reason"]) for each in ended.json["bad_line_texts"]["old"]] == [(3, why)]
    assert any("1 bad line was left out of old.csv" in each for each in ended.json["warnings"])


def test_the_same_bad_line_in_both_files_is_told_too(tmp_path):
    ended = compared(tmp_path, FULL + "bad\n", FULL + "bad\n", "--skip-bad-lines")
    assert (ended.code, ended.fates, ended.json["bad_lines"]) == (1, (0, 0, 0, 3), {"old": 1, "new": 1})


def test_a_bad_header(tmp_path):
    assert "The header of old.csv (line 1) has a quote that is never closed: 'id,\"v'" in compared(tmp_path, 'id,"v\n1,2\n').refusal


# --- bad keys --------------------------------------------------------------------------------------


def test_a_key_that_does_not_exist(tmp_path):
    assert "Did you mean “id”?" in compared(tmp_path, FULL, FULL, "--key", "idx").refusal


def test_a_key_given_twice(tmp_path):
    assert "“id” is named twice as a key" in compared(tmp_path, FULL, FULL, "--key", "id,id").refusal


def test_a_key_that_one_file_lacks(tmp_path):
    assert "only one of the files has it" in compared(tmp_path, "v\na\n", FULL).refusal


# --- a full disk -----------------------------------------------------------------------------------

MANY = "id,v\n" + "".join(f"{i},{i * 7919 % 10007}\n" for i in range(20_000))


def small_files_only(size: int) -> dict[str, Any]:
    """Options for a process that can't write files larger than so many bytes."""
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))}


@pytest.mark.parametrize("name", ["diff.csv", "diff.parquet", "diff.json"])
def test_an_output_that_does_not_fit_is_refused_and_leaves_nothing(tmp_path, name):
    old, new = files(tmp_path, MANY, FULL)
    before = set(os.listdir(tmp_path))
    ended = run_apart(old, new, "--key", "id", "-o", tmp_path / name, **small_files_only(2_000))
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert set(os.listdir(tmp_path)) == before


def test_a_copy_that_does_not_fit_is_refused(tmp_path):
    old, new = files(tmp_path, gzip.compress(MANY.encode()))
    told = run_apart(old, new, "--key", "id", **small_files_only(100_000)).refusal
    assert "A plain copy of old.csv, which has to be made, can't be written: File too large." in told


def test_a_full_device_is_refused_and_stays_a_device(tmp_path):
    device = tmp_path / "full"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 7))
    except PermissionError:
        pytest.skip("only root can make a device")
    old, new = files(tmp_path, MANY)
    assert "can't be written: No space left on device" in run(old, new, "--key", "id", "-o", device).refusal
    assert stat.S_ISCHR(device.stat().st_mode)


def test_an_output_folder_that_is_missing(tmp_path):
    told = run(*files(tmp_path, FULL), "-o", tmp_path / "nowhere" / "diff.csv").refusal
    assert f"There is no folder {tmp_path / 'nowhere'} to write to" in told


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_without_permission(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o555)
    assert "no permission" in run(*files(tmp_path, FULL), "-o", tmp_path / "closed" / "diff.csv").refusal


# --- anything at all -------------------------------------------------------------------------------

PIECES = [
    *(b"id v 1 2 a 1.0 007 2024-01-05 , , , ; \n \n \r\n \r".split(b" ")),
    *(b'" "" \' | # = \\'.split(b" ")),
    b" ", b"\t", b"\0", b"\x01", b"\x1a", b"\xff", b"\xe9", "é".encode(), codecs.BOM_UTF8, codecs.BOM_UTF16_LE, b"sep=;\n",
]  # fmt: skip


@given(old=st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join), edit=st.tuples(st.integers(0, 30), st.sampled_from(PIECES)))
@example(old=b"\xef\xbb\xbf", edit=(0, b""))
@example(old=b'id,v\n1,"a', edit=(0, b""))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_anything_at_all_ends_in_a_refusal_or_in_counts_that_add_up(old: bytes, edit: tuple[int, bytes]) -> None:
    at, piece = edit
    with TemporaryDirectory() as folder:
        paths = files(Path(folder), old, old[:at] + piece + old[at:])
        ended = run(*paths, "--no-key", "--skip-bad-lines", "--threads", "1", "--json")
        if ended.code == 2:
            assert ended.refusal
        else:
            assert (ended.code == 1) == bool(sum(ended.fates[:3]) or left_out(ended) or other_columns(ended))
        same = run(paths[0], paths[0], "--no-key", "--skip-bad-lines", "--threads", "1", "--json")
        if same.code != 2:
            assert same.fates[:3] == (0, 0, 0)


def left_out(ended: Ended) -> int:
    return sum(ended.json["bad_lines"].values())


def other_columns(ended: Ended) -> list[str]:
    return [*ended.json["columns_added"], *ended.json["columns_removed"]]
