"""Is it found out how a file spells its table, and can the user say otherwise?"""

from __future__ import annotations

import pytest

from diffing.dialects import NO_DELIMITER, CsvDialect, DialectChoice, codec_name, detect_dialect, looks_like_header, parse
from diffing.errors import SourceError


def found(text: str, **said: object) -> CsvDialect:
    return detect_dialect(text, "utf-8", DialectChoice(**said))  # type: ignore[arg-type]


# --- delimiter -------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "^", "~", "\x01", ":", " "])
def test_the_delimiter_cuts_all_lines_alike(delimiter):
    text = "\n".join(delimiter.join(row) for row in (["id", "name", "v"], ["1", "a", "5"], ["2", "b", "6"]))
    assert found(text).delimiter == delimiter


@pytest.mark.parametrize(
    "text, delimiter",
    [
        ("a;b\n1,5;2,5\n4,5;5,6\n", ";"),
        ("a\tb\n1,2\t3,4\n5,6\t7,8\n", "\t"),
        ('a;b\n"x,y";2\n"x,y,z";3\n', ";"),
        ("a|b|c\n1|2,3|4\n", "|"),
        ('"a\nb",c\n1,2\n', ","),
        ('"a,b";c\n1;2\n', ";"),
    ],
)
def test_what_stands_inside_cells_is_no_delimiter(text, delimiter):
    assert found(text).delimiter == delimiter


@pytest.mark.parametrize(
    "text",
    [
        "name\nSmith, J\nDoe, K\n",
        "full name\nJohn Smith\nJane Doe\n",
        "2024-01-05 10:00:00\n2024-01-06 11:00:00\n",
        "10:00\n11:30\n12:45\n",
        'x\n"a,b"\n"c,d"\n',
        "1\n2\n3\n",
        "a",
    ],
)
def test_a_file_of_one_column_is_not_cut(text):
    dialect = found(text)
    assert {len(row) for row in parse(text, dialect.delimiter, dialect.quote, -1)} == {1}


def test_a_comma_inside_the_cells_of_one_column_is_no_delimiter():
    assert found("name\nSmith, J\nDoe, K\n").delimiter == NO_DELIMITER
    assert found("name\nSmith, J\nDoe, K\n").in_words()["delimiter"] == "none"


def test_the_first_line_of_excel_names_the_delimiter():
    dialect = found("sep=;\r\na,x;b\r\n1;2\r\n")
    assert (dialect.delimiter, dialect.skip_rows) == (";", 1)


# --- quote -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, quote",
    [
        ('"a","b"\n"1","2"\n', '"'),
        ("'a','b'\n'x,1','y'\n", "'"),
        ("'a';'b'\r\n'1';'2'\r\n", "'"),
        ("it's,b\n'tis,c\n", '"'),
        ("a,b\n'x',5\n", '"'),
        ("a,b\n1,2\n", '"'),
    ],
)
def test_the_quote_is_what_stands_around_cells(text, quote):
    assert found(text).quote == quote


def test_a_delimiter_that_is_a_double_quote_leaves_no_quote():
    assert found('a"b\n1"2\n', delimiter='"').quote == ""


# --- header ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "id,v\n1,2\n3,4\n",
        "a,b\nx,y\nz,w\n",
        "day,v\n2024-01-05,x\n",
        "region,2020,2021\nnorth,10.5,11\n",
        "id,v\n",
        "id,v\n(m),(s)\n1,2\n3,4\n",
        "id,,v\n1,2,3\n",
        "v,v\n1,2\n",
        "name\nx\ny\n",
    ],
)
def test_the_first_row_names_the_columns(text):
    assert found(text).header


@pytest.mark.parametrize(
    "text",
    ["1,2\n3,4\n", "1,2\n", "2024-01-05,x\n2024-01-06,y\n", "2020,2021\n2019,2022\n", "x,y\nx,z\nx,y\n", "1\n2\n3\n", "1,a\n2,b\n3,c\n"],
)
def test_the_first_row_is_a_row(text):
    assert not found(text).header


def test_a_table_without_records_has_a_header():
    assert looks_like_header([])


# --- lines -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_the_line_end_is_what_ends_the_first_line(line_end):
    assert found(f"a,b{line_end}1,2{line_end}").line_end == line_end
    assert found(f'"a\nb",c{line_end}1,2{line_end}').line_end == line_end


def test_skipped_rows_are_not_looked_at():
    dialect = found("A title; with a semicolon\n\nid,v\n1,2\n", skip_rows=2)
    assert (dialect.delimiter, dialect.header, dialect.skip_rows) == (",", True, 2)


# --- what the user says ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said, value",
    [
        ("delimiter", ";"),
        ("delimiter", "§"),
        ("quote", "'"),
        ("quote", ""),
        ("header", False),
        ("skip_rows", 1),
        ("skip_after_header", 1),
    ],
)
def test_what_the_user_says_is_taken(said, value):
    assert getattr(found('id,v\n"1",2\n3,4\n', **{said: value}), said) == value


@pytest.mark.parametrize(
    "said",
    [
        {"delimiter": ""},
        {"delimiter": "ab"},
        {"delimiter": "\n"},
        {"delimiter": "\0"},
        {"delimiter": "\udcff"},
        {"quote": "''"},
        {"quote": "\r"},
        {"quote": "“"},
        {"delimiter": "'", "quote": "'"},
        {"encoding": "latin-7000"},
        {"encoding": "rot13"},
        {"encoding": "a\0"},
        {"skip_rows": -1},
        {"skip_after_header": -1},
    ],
)
def test_what_can_not_be_is_refused_with_a_hint(said):
    with pytest.raises(SourceError) as error:
        DialectChoice(**said)
    assert error.value.hint


@pytest.mark.parametrize(
    "said, name",
    [("UTF8", "utf-8"), ("latin1", "latin-1"), ("cp1252", "windows-1252"), ("UTF-16", "utf-16"), ("ascii", "utf-8")],
)
def test_an_encoding_has_one_name(said, name):
    assert codec_name(said) == name


def test_a_dialect_is_told_in_words():
    dialect = CsvDialect("\t", "", "latin-1", "\r\n", header=False, skip_rows=1, skip_after_header=2)
    assert dialect.in_words() == {
        "delimiter": "tab",
        "quote": "none",
        "encoding": "latin-1",
        "line_end": "CRLF",
        "header": False,
        "skip_rows": 1,
        "skip_after_header": 2,
    }
