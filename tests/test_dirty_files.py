"""Is a dirty file read as the right table, or clearly refused? All of it: `python -m tests.drills.dirty`."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from diffing.dialects import NO_DELIMITER, DialectChoice
from diffing.errors import SourceError
from diffing.sources import open_source
from tests.drills import _inputs
from tests.drills._inputs import KINDS, Input, Table
from tests.drills.dirty import judge, report

PUBLIC = Path(__file__).parent / "data" / "dirty"
HEAVY = (_inputs.bad_lines_far_down, _inputs.too_much)
"""Kinds of large files; `test_bad_input` has some of them."""
SAMPLE = [each for kind in KINDS if kind not in HEAVY for each in islice(kind(), 0, None, 53)]


@pytest.mark.parametrize("each", SAMPLE, ids=lambda each: f"{each.kind}: {each.what}")
def test_a_dirty_file_is_read_right_or_refused(each):
    outcome = judge(each)
    assert outcome.verdict != "wrong", outcome.why


def test_a_file_read_wrong_is_told():
    text = b"id,v\n1,a\n2,b\n"
    table = Table(("id", "v"), (("1", "a"), ("2", "c")))
    outcomes = [judge(Input("told", "another cell", text, table)), judge(Input("told", "not refused", text, refused="line 2"))]
    outcomes += [judge(Input("told", "refused", b"id,v\n1\n", table)), judge(Input("told", "unclear", b"id,v\n1\n", refused="line 3"))]
    outcomes.append(judge(Input("told", "right", text, Table(("id", "v"), (("1", "a"), ("2", "b"))), said=DialectChoice(delimiter=","))))
    assert [each.verdict for each in outcomes] == ["wrong"] * 4 + ["right"]
    assert "| told | 5 | 1 | 1 | 0 | 4 |" in report(outcomes)


# --- where a table begins --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, skipped",
    [
        ("Sales report\nid,v\n1,2\n", 1),
        ("Sales report\n\n2024-01-05\n\nid;v\n1;1,5\n2;2,5\n", 3),
        ('the shop\'s report\n"id"\t"v"\n"1"\t"2"\n', 1),
        ("id,v\n1,2\n", 0),
        ("name\nSmith, J\nDoe, K\n", 0),
        ("amount\n1,5\n2,5\n", 0),
        ("city\nname,city\nBob,Rome\n", 0),
    ],
)
def test_lines_above_a_header_are_found_where_they_are_sure(tmp_path, text, skipped):
    (tmp_path / "a.csv").write_text(text)
    assert open_source(tmp_path / "a.csv", workdir=tmp_path).dialect.skip_rows == skipped


def test_lines_above_are_rows_if_that_is_said(tmp_path):
    (tmp_path / "a.csv").write_text("Sales report\nid,v\n1,2\n")
    source = open_source(tmp_path / "a.csv", workdir=tmp_path, choice=DialectChoice(skip_rows=0))
    assert [column.name for column in source.columns] == ["Sales report"]


def test_a_file_of_bad_lines_only_is_refused_and_not_taken_for_an_empty_one(tmp_path):
    (tmp_path / "a.csv").write_text('\n1,"a" ,2\n3,"b" ,4\n')
    with pytest.raises(SourceError, match="no line that is a row: line 2 has text after a closing quote: '1,\"a\" ,2'"):
        open_source(tmp_path / "a.csv", workdir=tmp_path, choice=DialectChoice(header=False))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_after_lines_in_another_encoding_is_refused(tmp_path, encoding):
    (tmp_path / "a.csv").write_bytes("id,vä\n1,a\n".encode() + "2,b\n3,c\n4,d\n".encode(encoding))
    with pytest.raises(SourceError, match="goes on in UTF-16 from line 3"):
        open_source(tmp_path / "a.csv", workdir=tmp_path)


# --- what others test with -------------------------------------------------------------------------


def expected(origin: str) -> list[Any]:
    found = json.loads((PUBLIC / origin / "expected.json").read_text(encoding="utf-8"))
    return [pytest.param(PUBLIC / origin / name, right, id=f"{origin}/{name}") for name, right in found.items()]


@pytest.mark.parametrize("path, right", [*expected("csv-spectrum"), *expected("csvkit"), *expected("papaparse")])
def test_a_public_test_file_is_read_right_or_refused(path, right):
    named = right.get("columns") != [f"c{i + 1}" for i in range(len(right.get("columns", ())))] or not right["columns"]
    table = _table(tuple(right["columns"]) if named else None, right["rows"]) if "rows" in right else None
    outcome = judge(Input("public", path.name, path.read_bytes(), table, right.get("refused", ""), name=path.name), compare=False)
    assert outcome.verdict == ("refused" if table is None else "right"), outcome.why


def test_every_public_file_has_its_table():
    for origin in ("csv-spectrum", "csvkit", "papaparse"):
        there = {path.name for path in (PUBLIC / origin).iterdir()} - {"LICENSE", "expected.json", "cases.json"}
        assert there == set(json.loads((PUBLIC / origin / "expected.json").read_text(encoding="utf-8")))


CASES = json.loads((PUBLIC / "papaparse" / "cases.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["description"])
def test_a_case_of_papaparse_is_read_right_or_refused(case):
    one_column = {len(row) for row in case.get("rows", ())} == {1}
    said = DialectChoice(delimiter=case.get("delimiter", NO_DELIMITER if one_column else None), quote=case.get("quote"), header=False)
    table = _table(None, case["rows"]) if "rows" in case else None
    outcome = judge(Input("public", case["description"], case["input"].encode(), table, case.get("refused", ""), said), compare=False)
    assert outcome.verdict == ("refused" if table is None else "right"), outcome.why


def _table(header: tuple[str, ...] | None, rows: list[list[str]]) -> Table:
    return Table(header, tuple(map(tuple, rows)))
