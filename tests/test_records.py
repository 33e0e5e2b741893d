"""Are the records of a file found, counted and checked as they are spelled?"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffing import records
from diffing.dialects import CsvDialect
from diffing.errors import BadLinesError, SourceError
from diffing.lines import Positions, record_ends
from diffing.records import BadLines, Body, Records, check_records

LINE_END = re.compile("\r\n|\n|\r")
DUCKDB = duckdb.connect()
FEW = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


# --- a reader that goes character by character -----------------------------------------------------


@dataclass(frozen=True)
class Read:
    """What a slow and simple reader makes of a text."""

    rows: list[list[str]]
    bad: list[tuple[int, str]]
    """Line number and reason."""


def read_slowly(text: str, delimiter: str, quote: str, columns: int) -> Read:
    """RFC 4180 with any line end; a quote inside a bare cell is a character; bad lines end with their line."""
    found, at, line = Read([], []), 0, 1
    while at < len(text):
        cells, end, reason = record_at(text, at, delimiter, quote)
        if reason is None and len(cells) != columns and end > at:
            reason = f"{len(cells)} cell{'s' * (len(cells) != 1)} instead of {columns}"
        if reason:
            found.bad.append((line, reason))
        elif len(cells) == columns:
            found.rows.append(cells)
        line_end = LINE_END.match(text, end)
        stop = line_end.end() if line_end else end
        line += len(LINE_END.findall(text[at:end])) + 1
        at = stop
    return found


def record_at(text: str, at: int, delimiter: str, quote: str) -> tuple[list[str], int, str | None]:
    """The cells of the record that starts here, where it ends, and why it is none."""
    cells, start = [], at
    while True:
        cell, at, reason = cell_at(text, at, delimiter, quote)
        if reason:
            line_end = LINE_END.search(text, start)
            return [], line_end.start() if line_end else len(text), reason
        cells.append(cell)
        if text[at : at + 1] != delimiter:
            return cells, at, None
        at += 1


def cell_at(text: str, at: int, delimiter: str, quote: str) -> tuple[str, int, str | None]:
    if not quote or text[at : at + 1] != quote:
        end = at
        while text[end : end + 1] not in ("", delimiter, "\r", "\n"):
            end += 1
        return text[at:end], end, None
    cell, at = "", at + 1
    while True:
        close = text.find(quote, at)
        if close < 0:
            return "", at, "a quote that is never closed"
        cell, at = cell + text[at:close], close + 1
        if text[at : at + 1] != quote:
            break
        cell, at = cell + quote, at + 1
    after = text[at : at + 1]
    return cell, at, None if after in ("", delimiter, "\r", "\n") else "text after a closing quote"


# --- the reader of the package, and two others -----------------------------------------------------


def check(data: bytes | str, folder: Path, *, columns: int = 2, bad_lines: BadLines = BadLines.SKIP, **dialect: str) -> Records:
    """The records of a file without a header."""
    file = folder / "table.csv"
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    body = Body(file, CsvDialect(**dialect), columns, offset=0, line=1, name="table.csv")
    taker = Taker(dialect.get("quote", '"'))
    found = check_records(body, bad_lines, folder / "clean.csv", taker=taker)
    assert taker.rows == found.rows
    return found


class Taker:
    """Counts the records that it is given."""

    def __init__(self, quote: str) -> None:
        self.quote, self.rows = ord(quote) if quote else None, 0

    def add(self, block: bytes, ends: Positions | None, *, crlf: bool) -> None:
        found = record_ends(block, self.quote)
        assert ends is None or ends.tolist() == found.tolist()
        self.rows += len(found)


def cells_by_duckdb(found: Records, columns: int, delimiter: str = ",", quote: str = '"') -> list[list[str]]:
    """The rows as the engine reads them; an empty cell is an empty text here."""
    if not found.rows:
        return []
    names = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(columns))
    fixed = f"auto_detect = false, header = false, nullstr = '', skip = {found.skip_lines}, columns = {{{names}}}"
    line_end = found.line_end.encode("unicode_escape").decode()
    size = max(1 << 21, found.longest + 1024)
    read = DUCKDB.execute(
        f"SELECT * FROM read_csv($file, delim = $delimiter, quote = $quote, escape = $quote, {fixed},"
        f" new_line = '{line_end}', max_line_size = {size}, buffer_size = {4 * size})",
        {"file": str(found.path), "delimiter": delimiter, "quote": quote},
    )
    return [[cell or "" for cell in row] for row in read.fetchall()]


def cells_by_python(text: str, columns: int, delimiter: str, quote: str) -> list[list[str]]:
    quoting = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quotechar=quote or None, quoting=quoting)
    return [row or [""] for row in reader if row or columns == 1]


@dataclass(frozen=True)
class Spelled:
    """A text, and how it is meant."""

    text: str
    delimiter: str
    quote: str
    columns: int


@st.composite
def odd_texts(draw: st.DrawFn) -> Spelled:
    """Texts that are mostly delimiters, quotes and line ends, in any order."""
    delimiter, quote = draw(st.sampled_from(",;\t|^~\x01: §")), draw(st.sampled_from(('"', '"', "'", "")))
    marks = [delimiter, delimiter, "\n", "\r\n", "\r", quote, quote * 2, delimiter + quote, quote + delimiter, quote + "\n"]
    pieces = st.sampled_from(["a", "b", "é", "\x01", " ", '"', "'", *marks])
    return Spelled("".join(draw(st.lists(pieces, max_size=30))), delimiter, quote, draw(st.integers(1, 3)))


@st.composite
def written_tables(draw: st.DrawFn) -> Spelled:
    """Tables as programs write them, with blank lines, and with or without a last line end."""
    delimiter, quote = draw(st.sampled_from(",;\t|^~\x01:§")), draw(st.sampled_from("\"'"))
    columns, line_end = draw(st.integers(1, 4)), draw(st.sampled_from(("\n", "\r\n", "\r")))
    hard = (delimiter, quote, "\n", "\r", "\r\n", quote + delimiter, "  ", "é", "\x01", "😀")
    cells = st.lists(st.sampled_from(("", "x", "12", *hard)), max_size=3).map("".join)

    def spelled(cell: str, always: bool) -> str:
        needed = any(mark in cell for mark in (delimiter, "\n", "\r")) or cell.startswith(quote)
        return quote + cell.replace(quote, quote * 2) + quote if needed or always else cell

    rows = draw(st.lists(st.lists(cells, min_size=columns, max_size=columns), min_size=1, max_size=8))
    always = draw(st.booleans())
    lines = [delimiter.join(spelled(cell, always) for cell in row) for row in rows]
    for at in draw(st.lists(st.integers(0, len(lines)), max_size=2)):
        lines.insert(at, "")
    return Spelled(line_end.join(lines) + draw(st.sampled_from(("", line_end))), delimiter, quote, columns)


SPELLED = odd_texts() | written_tables()


@contextmanager
def pieces_of(size: int, *, large: bool = False) -> Iterator[None]:
    """Look at files in pieces of so many bytes; with the quick look at many lines of large files, or without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "CHUNK", size)
        patch.setattr(records, "QUICK", 0 if large else 1 << 40)
        yield


def seen(spelled: Spelled, folder: Path) -> tuple[list[list[str]], list[tuple[int, str]]]:
    """Rows and bad lines; that the record's properties hold is asserted on the way."""
    found = check(spelled.text, folder, columns=spelled.columns, delimiter=spelled.delimiter, quote=spelled.quote)
    rows = cells_by_duckdb(found, spelled.columns, spelled.delimiter, spelled.quote)
    assert found.rows == len(rows)
    assert found.bad_lines == len(found.bad)
    if not found.quoted and found.rows and spelled.quote:
        assert spelled.quote.encode() not in found.path.read_bytes()
    return rows, [(each.line, each.reason) for each in found.bad]


@given(SPELLED)
@FEW
def test_a_table_is_read_as_a_slow_reader_reads_it(spelled: Spelled) -> None:
    with TemporaryDirectory() as folder:
        rows, bad = seen(spelled, Path(folder))
    slow = read_slowly(spelled.text, spelled.delimiter, spelled.quote, spelled.columns)
    assert (rows, bad) == (slow.rows, slow.bad)


@given(SPELLED)
@FEW
def test_a_table_without_bad_lines_is_read_as_python_reads_it(spelled: Spelled) -> None:
    with TemporaryDirectory() as folder:
        rows, bad = seen(spelled, Path(folder))
    if not bad:
        assert rows == cells_by_python(spelled.text, spelled.columns, spelled.delimiter, spelled.quote)


@given(SPELLED, st.sampled_from((1, 2, 3, 7, 13, 64)), st.booleans())
@FEW
def test_where_a_file_is_cut_into_pieces_means_nothing(spelled: Spelled, size: int, large: bool) -> None:
    with TemporaryDirectory() as folder:
        whole = seen(spelled, Path(folder))
        with pieces_of(size, large=large):
            assert seen(spelled, Path(folder)) == whole


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("row", ["{0},b", '"{0}","b,""{0}"""', '"",{0}'])
def test_a_regular_file_is_read_where_it_is(tmp_path, row, line_end, large):
    text = "".join(row.format(i) + line_end for i in range(20_000))
    with pieces_of(1 << 14, large=large):
        found = check(text, tmp_path)
    assert (found.rows, found.bad_lines, found.path.name) == (20_000, 0, "table.csv")
    assert found.quoted == ('"' in row)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("at", [0, 3_000, 5_999])
@pytest.mark.parametrize("strange", ['1,a"b""', '"1","2"x', "1", "1,2,3", '"1', '"a\nb",2', "a\rb", "", '1,"\x01"', '1,"\r"'])
def test_one_strange_line_among_many_is_seen(tmp_path, strange, at, large):
    lines = [f"{i},b" for i in range(6_000)]
    lines[at] = strange
    text = "\n".join(lines) + "\n"
    with pieces_of(1 << 14, large=large):
        found = check(text, tmp_path)
    slow = read_slowly(text, ",", '"', 2)
    assert [(each.line, each.reason) for each in found.bad] == slow.bad
    assert cells_by_duckdb(found, 2) == slow.rows


# --- blank lines -----------------------------------------------------------------------------------


def test_a_blank_line_is_skipped(tmp_path):
    found = check("\n1,2\n\n\n3,4\n\n", tmp_path)
    assert (found.rows, found.bad_lines) == (2, 0)
    assert cells_by_duckdb(found, 2) == [["1", "2"], ["3", "4"]]


def test_in_a_one_column_file_a_blank_line_is_a_row_with_an_empty_cell(tmp_path):
    found = check("\n1\n\n3\n\n", tmp_path, columns=1)
    assert cells_by_duckdb(found, 1) == [[""], ["1"], [""], ["3"], [""]]


def test_a_line_of_blanks_is_a_bad_line(tmp_path):
    assert [each.line for each in check("1,2\n   \n3,4\n", tmp_path).bad] == [2]


def test_an_empty_body_has_no_rows(tmp_path):
    assert check("", tmp_path).rows == 0


# --- line ends -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1,2\r3,4\r5,6\r", "1,2\r3,4\n5,6\r\n", "1,2\n3,4\r\n5,6", "1,2\r\n3,4\n5,6\r", "1,2\r\n3,4\r5,6"])
def test_lines_may_end_with_any_of_the_three_line_ends(tmp_path, text):
    assert cells_by_duckdb(check(text, tmp_path), 2) == [["1", "2"], ["3", "4"], ["5", "6"]]


@pytest.mark.parametrize("inside", ["\n", "\r\n", "\r", "\n\n", "\r\r\n"])
@pytest.mark.parametrize("outside", ["\n", "\r\n", "\r"])
def test_a_line_end_inside_quotes_is_kept(tmp_path, inside, outside):
    found = check(f'1,"a{inside}b"{outside}3,4{outside}', tmp_path)
    assert cells_by_duckdb(found, 2) == [["1", f"a{inside}b"], ["3", "4"]]


def test_a_last_record_over_two_lines_without_a_line_end_is_read(tmp_path):
    found = check('1,2\n3,"a\nb"', tmp_path)
    assert found.rows == 2
    assert cells_by_duckdb(found, 2) == [["1", "2"], ["3", "a\nb"]]


def test_a_carriage_return_and_a_newline_apart_are_two_line_ends(tmp_path):
    found = check("1\r\n\r2\n", tmp_path, columns=1)
    assert cells_by_duckdb(found, 1) == [["1"], [""], ["2"]]


# --- quotes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, cells",
    [
        ('1,5" pipe', ["1", '5" pipe']),
        ('1,a""b', ["1", 'a""b']),
        ('1, "x"', ["1", ' "x"']),
        ('"1",""', ["1", ""]),
        ('"","a""b"', ["", 'a"b']),
        ('1,""""', ["1", '"']),
        ('1,","', ["1", ","]),
        ('a",b"', ['a"', 'b"']),
    ],
)
def test_a_quote_means_something_only_around_a_whole_cell(tmp_path, line, cells):
    assert cells_by_duckdb(check(f"{line}\nx,y\n", tmp_path), 2) == [cells, ["x", "y"]]


@pytest.mark.parametrize("line", [',""a', ',"a"b', '"a" ,b', '""a"",b', ',",a"a'])
def test_text_after_a_closing_quote_makes_a_bad_line(tmp_path, line):
    found = check(f"1,2\n{line}\n3,4\n", tmp_path)
    assert [(each.line, each.text, each.reason) for each in found.bad] == [(2, line, "text after a closing quote")]
    assert found.rows == 2


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_unclosed_quote_costs_one_line(tmp_path, at):
    lines = ["1,2", "3,4"]
    lines.insert(at, '5,"6')
    found = check("\n".join(lines) + "\n", tmp_path)
    assert [(each.line, each.text, each.reason) for each in found.bad] == [(at + 1, '5,"6', "a quote that is never closed")]
    assert cells_by_duckdb(found, 2) == [["1", "2"], ["3", "4"]]


def test_where_nothing_quotes_a_quote_is_a_character(tmp_path):
    assert cells_by_duckdb(check("1,'2\n\"3,4'\n", tmp_path, quote=""), 2, quote="") == [["1", "'2"], ['"3', "4'"]]


def test_a_delimiter_of_several_bytes_is_read(tmp_path):
    found = check('1§"2§3"\n4§5\n', tmp_path, delimiter="§")
    assert cells_by_duckdb(found, 2, delimiter="§") == [["1", "2§3"], ["4", "5"]]


# --- bad lines -------------------------------------------------------------------------------------


def test_short_and_long_lines_are_bad_with_number_and_text(tmp_path):
    found = check("1,2\n3\n4,5,6\n7,8\n", tmp_path)
    assert [(each.line, each.text, each.reason) for each in found.bad] == [
        (2, "3", "1 cell instead of 2"),
        (3, "4,5,6", "3 cells instead of 2"),
    ]
    assert (found.rows, found.bad_lines) == (2, 2)


def test_line_numbers_count_the_lines_inside_quotes(tmp_path):
    found = check('1,"a\nb\r\nc\rd"\n\nbad\n2,3\nworse\n', tmp_path)
    assert [each.line for each in found.bad] == [6, 8]


def test_line_numbers_go_on_from_where_the_records_start(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("title\nid,v\n1,2\n3\n")
    body = Body(file, CsvDialect(), 2, offset=11, line=3, name="table.csv")
    assert [each.line for each in check_records(body, BadLines.SKIP, tmp_path / "clean.csv").bad] == [4]


def test_a_nul_character_makes_a_bad_line(tmp_path):
    found = check(b"1,2\n3,\0\n4,5\n", tmp_path)
    assert [(each.line, each.reason) for each in found.bad] == [(2, "a NUL character")]
    assert found.rows == 2


@pytest.mark.parametrize("broken", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"])
def test_bytes_that_are_no_text_make_a_bad_line(tmp_path, broken):
    found = check(b"1,2\n3," + broken + b"\n4,5\n", tmp_path)
    assert [(each.line, each.reason) for each in found.bad] == [(2, "bytes that are no UTF-8 text")]
    assert found.rows == 2


def test_refused_bad_lines_are_named(tmp_path):
    with pytest.raises(BadLinesError) as error:
        check("1,2\n3\n4,5,6\n", tmp_path, bad_lines=BadLines.REFUSE)
    assert error.value.message.startswith("table.csv has 2 bad lines (2, 3): line 2 has 1 cell instead of 2: '3'; line 3")
    assert "--skip-bad-lines" in error.value.hint


def test_short_lines_are_filled_with_empty_cells(tmp_path):
    found = check('1,2,3\n4\n"5\n6",7\n', tmp_path, columns=3, bad_lines=BadLines.FILL)
    assert cells_by_duckdb(found, 3) == [["1", "2", "3"], ["4", "", ""], ["5\n6", "7", ""]]
    assert (found.rows, found.bad_lines, found.filled_lines) == (3, 0, 2)
    assert [(each.line, each.reason) for each in found.bad] == [(2, "1 cell instead of 3"), (3, "2 cells instead of 3")]


@pytest.mark.parametrize("line", [b"1,2,3,4", b'1,"2', b"1\0", b"1\xff"])
def test_lines_that_are_not_short_are_refused_when_short_ones_are_filled(tmp_path, line):
    with pytest.raises(BadLinesError) as error:
        check(b"1,2,3\n" + line + b"\n4\n", tmp_path, columns=3, bad_lines=BadLines.FILL)
    assert "a bad line (2" in error.value.message
    assert "--fill-short-lines" not in error.value.hint


def test_only_the_first_hundred_bad_lines_are_kept_and_all_are_counted(tmp_path):
    found = check("bad\n" * 250 + "1,2\n", tmp_path)
    assert (found.bad_lines, len(found.bad), found.bad[-1].line, found.rows) == (250, 100, 100, 1)


def test_the_text_of_a_long_bad_line_is_cut(tmp_path):
    assert len(check("x" * 10_000 + "\n1,2\n", tmp_path).bad[0].text) == 200


@given(odd_texts())
@FEW
def test_records_are_rows_and_bad_lines_and_nothing_else(spelled: Spelled) -> None:
    with TemporaryDirectory() as folder:
        found = check(spelled.text, Path(folder), columns=spelled.columns, delimiter=spelled.delimiter, quote=spelled.quote)
    slow = read_slowly(spelled.text, spelled.delimiter, spelled.quote, spelled.columns)
    assert found.rows + found.bad_lines == len(slow.rows) + len(slow.bad)


# --- odd bytes and sizes ---------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1,\x01\n3,4\n", '1,"\x01"\n3,4\n'])
def test_a_control_character_may_stand_in_a_cell(tmp_path, text):
    found = check(text, tmp_path)
    assert cells_by_duckdb(found, 2) == [["1", "\x01"], ["3", "4"]]


def test_a_control_character_may_be_the_delimiter(tmp_path):
    found = check("1\x012\n", tmp_path, delimiter="\x01")
    assert cells_by_duckdb(found, 2, delimiter="\x01") == [["1", "2"]]


def test_a_record_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "MAX_RECORD", 1 << 20)
    with pytest.raises(SourceError, match=r"table\.csv has a record of more than 1 MB at line 2"):
        check("1,2\n" + "x" * (3 << 20) + "\n", tmp_path)


def test_a_record_below_the_limit_is_read(tmp_path):
    found = check(f'1,"{"x" * (3 << 20)}"\n3,{"y" * (3 << 20)}\n', tmp_path)
    assert [len(row[1]) for row in cells_by_duckdb(found, 2)] == [3 << 20, 3 << 20]


def test_a_quote_that_is_not_closed_within_the_limit_costs_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "MAX_RECORD", 1 << 16)
    found = check('1,"2\n' + "3,4\n" * 100_000, tmp_path)
    assert [each.line for each in found.bad] == [1]
    assert found.rows == 100_000


def test_progress_is_told_of_every_byte(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("1,2\n" * 300_000)
    done: list[int] = []
    check_records(Body(file, CsvDialect(), 2, 0, 1, "table.csv"), BadLines.REFUSE, tmp_path / "clean.csv", done.append)
    assert sum(done) == file.stat().st_size


@pytest.mark.parametrize("before", ['"title\n', 'It\'s "so"\n', '"a\nb",c\n', "\ufeff", '\ufeff"a",b\n', "\n\na,b\n", "a,b\r", "a\r\nb\n"])
def test_what_stands_before_the_records_is_never_read_as_one(tmp_path, before):
    file = tmp_path / "table.csv"
    file.write_bytes((before + "1,2\n3,4\n").encode())
    line = 1 + len(LINE_END.findall(before))
    body = Body(file, CsvDialect(), 2, offset=len(before.encode()), line=line, name="table.csv")
    found = check_records(body, BadLines.REFUSE, tmp_path / "clean.csv")
    assert cells_by_duckdb(found, 2) == [["1", "2"], ["3", "4"]]
