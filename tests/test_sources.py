"""Is a file described as what it is: encoding, compression, columns, types, identity?"""

from __future__ import annotations

import codecs
import datetime as dt
import gzip
import io
import os
import zipfile
import zlib
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffing import sources
from diffing.dialects import CsvDialect, DialectChoice
from diffing.errors import NotUtf8Error, SourceError
from diffing.grammar import ColumnType, Shape
from diffing.records import BadLines, check_records
from diffing.sources import Format, Source, open_source, parquet_rows, sample_rows

NUMBER, DATE, TEXT = ColumnType.NUMBER, ColumnType.DATE, ColumnType.TEXT


def opened(data: bytes | str, folder: Path, name: str = "table.csv", **said: object) -> Source:
    """A file of this content, described."""
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return open_source(folder / name, workdir=folder, choice=DialectChoice(**said))  # type: ignore[arg-type]


def names(source: Source) -> list[str]:
    return [column.name for column in source.columns]


def types(source: Source) -> dict[str, ColumnType]:
    return {column.name: column.type for column in source.columns}


def rows(source: Source) -> list[list[str]]:
    return sample_rows(source)


def row_count(source: Source, folder: Path) -> int:
    return check_records(source.body, BadLines.REFUSE, folder / "clean.csv").rows


def refusal(data: bytes | str, folder: Path, name: str = "table.csv", **said: object) -> str:
    with pytest.raises(SourceError) as error:
        opened(data, folder, name, **said)
    assert error.value.hint
    assert str(folder) not in error.value.message or "There is no file" in error.value.message
    return error.value.message


# --- encoding --------------------------------------------------------------------------------------

TABLE = "id,näme\n1,Zoë €\n2,\u201cq\u201d\n"


@pytest.mark.parametrize(
    "python, bom, encoding",
    [
        ("utf-8", b"", "utf-8"),
        ("utf-8", codecs.BOM_UTF8, "utf-8"),
        ("utf-16-le", codecs.BOM_UTF16_LE, "utf-16-le"),
        ("utf-16-be", codecs.BOM_UTF16_BE, "utf-16-be"),
        ("utf-16-le", b"", "utf-16-le"),
        ("utf-16-be", b"", "utf-16-be"),
        ("utf-32-le", codecs.BOM_UTF32_LE, "utf-32-le"),
        ("utf-32-be", codecs.BOM_UTF32_BE, "utf-32-be"),
        ("cp1252", b"", "windows-1252"),
    ],
)
def test_the_encoding_is_found_and_the_text_is_the_same(tmp_path, python, bom, encoding):
    source = opened(bom + TABLE.encode(python), tmp_path)
    assert source.dialect.encoding == encoding
    assert names(source) == ["id", "näme"]
    assert rows(source) == [["1", "Zoë €"], ["2", "\u201cq\u201d"]]
    assert row_count(source, tmp_path) == 2


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_found_in_any_alphabet(tmp_path, encoding):
    text = "номер;имя;город\n" + "1;Иван Петрович;Москва\n" * 20
    source = opened(text.encode(encoding), tmp_path)
    assert (source.dialect.encoding, names(source)) == (encoding, ["номер", "имя", "город"])


def test_letters_of_western_europe_alone_are_latin_1(tmp_path):
    source = opened("id,näme\n1,Zoë\n".encode("latin-1"), tmp_path)
    assert source.dialect.encoding == "latin-1"
    assert rows(source) == [["1", "Zoë"]]


def test_bytes_that_windows_1252_lacks_are_latin_1(tmp_path):
    assert opened(b"id,v\n1,\xe9\x81x\n", tmp_path).dialect.encoding == "latin-1"


def test_ascii_is_utf_8_and_read_where_it_is(tmp_path):
    source = opened("id,v\n1,a\n", tmp_path)
    assert (source.dialect.encoding, source.data, source.valid_utf8) == ("utf-8", tmp_path / "table.csv", True)


LATE = "id,v\n" + "1,a\n" * 200_000
"""Samples of it don't meet what stands near its end."""


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as large whatever their size, and samples of them are small."""
    monkeypatch.setattr(sources, "PRESUMED", 0)
    monkeypatch.setattr(sources, "BLOCK", 100)


@pytest.mark.parametrize("text", ["é", "a"])
def test_a_large_file_of_which_samples_are_utf_8_may_be_presumed_to_be(tmp_path, large, text):
    (tmp_path / "table.csv").write_text(LATE.replace("a", text), encoding="utf-8")
    source = open_source(tmp_path / "table.csv", workdir=tmp_path, presume=True)
    assert (source.dialect.encoding, source.presumed_utf8, source.valid_utf8) == ("utf-8", True, False)
    assert row_count(source, tmp_path) == 200_000


@pytest.mark.parametrize("text", ["é", "é\x81"])
def test_who_reads_a_file_that_was_wrongly_presumed_to_be_utf_8_is_told(tmp_path, large, text):
    (tmp_path / "table.csv").write_bytes(f"{LATE}2,{text}\n3,b\n".encode("latin-1"))
    source = open_source(tmp_path / "table.csv", workdir=tmp_path, presume=True)
    assert source.presumed_utf8
    with pytest.raises(NotUtf8Error, match="table.csv is not UTF-8"):
        row_count(source, tmp_path)


def test_what_samples_show_to_be_no_utf_8_is_not_presumed_to_be(tmp_path, large):
    (tmp_path / "table.csv").write_bytes(LATE.replace("a", "é").encode("cp1252"))
    source = open_source(tmp_path / "table.csv", workdir=tmp_path, presume=True)
    assert (source.dialect.encoding, source.presumed_utf8) == ("latin-1", False)


def test_a_single_broken_character_does_not_change_the_encoding(tmp_path):
    source = opened("id,v\n1,é\n2,".encode() + b"\xff\n", tmp_path)
    assert (source.dialect.encoding, source.valid_utf8) == ("utf-8", False)
    assert check_records(source.body, BadLines.SKIP, tmp_path / "clean.csv").bad_lines == 1


def test_a_character_across_two_pieces_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "PIECE", 3)
    assert opened("id,é\n1,€€€€\n", tmp_path).valid_utf8
    utf_16 = opened("id,é\n1,😀😀\n".encode("utf-16"), tmp_path, "utf16.csv")
    assert rows(utf_16) == [["1", "😀😀"]]


def test_the_user_may_name_the_encoding(tmp_path):
    source = opened("id,v\n1,é\n", tmp_path, encoding="latin-1")
    assert rows(source) == [["1", "Ã©"]]
    assert rows(opened("id,v\n1,é\n".encode("utf-16-le"), tmp_path, "other.csv", encoding="utf-16")) == [["1", "é"]]


def test_a_wrong_encoding_is_refused(tmp_path):
    message = refusal(b"id,v\n1,\x81\n", tmp_path, encoding="windows-1252")
    assert message.startswith("table.csv is not windows-1252 text")
    assert "truncated data near byte" in refusal("id,v\n1,é\n".encode("utf-16") + b"x", tmp_path)


def test_a_byte_order_mark_is_no_part_of_a_file_without_a_header(tmp_path):
    source = opened(codecs.BOM_UTF8 + b'"1",2\n3,4\n', tmp_path, header=False)
    assert rows(source) == [["1", "2"], ["3", "4"]]
    clean = check_records(source.body, BadLines.REFUSE, tmp_path / "clean.csv")
    assert clean.path.read_bytes() == b'"1",2\n3,4\n'


# --- compression -----------------------------------------------------------------------------------


def packed(data: bytes, kind: str) -> bytes:
    return gzip.compress(data) if kind == "gzip" else pa.compress(data, "zstd", asbytes=True)  # type: ignore[no-any-return]


NUMBERS = b"id,v\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(5_000))


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_compressed_file_is_read_whatever_its_name(tmp_path, kind):
    source = opened(packed(NUMBERS, kind), tmp_path, "table.txt")
    assert source.compression == kind
    assert row_count(source, tmp_path) == 5_000


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_parts_that_were_compressed_apart_are_one_file(tmp_path, kind):
    assert row_count(opened(packed(NUMBERS[:100], kind) + packed(NUMBERS[100:], kind), tmp_path), tmp_path) == 5_000


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_compressed_file_may_be_of_any_encoding(tmp_path, kind):
    source = opened(packed(TABLE.encode("utf-16"), kind), tmp_path)
    assert rows(source) == [["1", "Zoë €"], ["2", "\u201cq\u201d"]]


@pytest.mark.parametrize("name", ["table.csv.gz", "table.csv.zst"])
def test_a_plain_file_with_the_name_of_a_compressed_one_is_plain(tmp_path, name):
    source = opened("id,v\n1,a\n", tmp_path, name)
    assert (source.compression, rows(source)) == (None, [["1", "a"]])
    assert source.data.suffix not in (".gz", ".zst")


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("cut", [0.5, 0.99])
def test_a_cut_off_file_is_refused(tmp_path, kind, cut):
    whole = packed(NUMBERS, kind)
    message = refusal(whole[: int(len(whole) * cut)], tmp_path)
    assert message.startswith(f"table.csv is a damaged or cut-off {kind} file")


def test_a_file_with_a_wrong_checksum_is_refused(tmp_path):
    assert "damaged" in refusal(gzip.compress(NUMBERS)[:-8] + b"\0" * 8, tmp_path)


def test_a_file_that_can_not_be_unpacked_is_refused(tmp_path):
    start = gzip.compress(b"")[:10]
    assert "damaged" in refusal(start + b"\xff" * 100, tmp_path)
    with pytest.raises(zlib.error):
        gzip.decompress(start + b"\xff" * 100)


def test_a_refused_file_leaves_nothing_behind(tmp_path):
    refusal(gzip.compress(NUMBERS)[:-20], tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["table.csv"]


# --- Parquet ---------------------------------------------------------------------------------------


def parquet(folder: Path, name: str = "table.parquet", **columns: object) -> Source:
    pq.write_table(pa.table(columns), folder / name)
    return open_source(folder / name, workdir=folder)


NOON = dt.datetime(2024, 1, 5, 12, 30, 15, 250_000)


@pytest.mark.parametrize(
    "values, texts, kind",
    [
        (pa.array([1, None, -3], pa.int8()), ["1", "", "-3"], NUMBER),
        (pa.array([2**64 - 1, 0], pa.uint64()), ["18446744073709551615", "0"], NUMBER),
        (pa.array([Decimal("1.50"), Decimal("-12345678901234567890.12")]), ["1.50", "-12345678901234567890.12"], NUMBER),
        (pa.array([0.1, 1e300, -0.5]), ["0.1", "1e+300", "-0.5"], NUMBER),
        (pa.array([0.1], pa.float32()), ["0.1"], NUMBER),
        (pa.array([float("nan"), float("inf")]), ["nan", "inf"], TEXT),
        (pa.array([dt.date(2024, 1, 5), None]), ["2024-01-05", ""], DATE),
        (pa.array([NOON], pa.timestamp("us")), ["2024-01-05 12:30:15.25"], DATE),
        (pa.array([NOON], pa.timestamp("ns")), ["2024-01-05 12:30:15.25"], DATE),
        (pa.array([NOON], pa.timestamp("us", tz="Europe/Berlin")), ["2024-01-05 12:30:15.25Z"], DATE),
        (pa.array([True, False, None]), ["true", "false", ""], TEXT),
        (pa.array(["007", "", None, "a,b"]), ["007", "", "", "a,b"], TEXT),
        (pa.array(["007", "008"]), ["007", "008"], TEXT),
        (pa.array(["x", "y", "x"]).dictionary_encode(), ["x", "y", "x"], TEXT),
        (pa.array([[1, 2], None]), ["[1, 2]", ""], TEXT),
        (pa.nulls(2), ["", ""], TEXT),
    ],
)
def test_a_typed_cell_is_the_text_a_csv_would_have(tmp_path, values, texts, kind):
    source = parquet(tmp_path, v=values)
    assert [row[0] for row in rows(source)] == texts
    assert types(source) == {"v": kind}
    assert source.format is Format.PARQUET


def test_parquet_columns_keep_their_names(tmp_path):
    header = ["v", "v", "V", "", "v_1", "a,b", "two\nlines"]
    pq.write_table(pa.table([[i] for i in range(len(header))], names=header), tmp_path / "table.parquet")
    source = open_source(tmp_path / "table.parquet", workdir=tmp_path)
    assert names(source) == ["v", "v (2)", "V", "column 4", "v_1", "a,b", "two\nlines"]
    assert rows(source) == [["0", "1", "2", "3", "4", "5", "6"]]


def test_parquet_columns_with_parts_count_once(tmp_path):
    source = parquet(tmp_path, a=[1], b=[{"x": 1, "y": {"z": [1]}}], c=[[{"k": 1}]], d=[2])
    assert names(source) == ["a", "b", "c", "d"]
    assert rows(source)[0][3] == "2"


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path):
    folder = tmp_path / "year=2024"
    folder.mkdir()
    source = parquet(folder, v=[1])
    assert (names(source), rows(source)) == (["v"], [["1"]])


def test_a_parquet_file_without_rows_has_its_columns(tmp_path):
    source = parquet(tmp_path, id=pa.array([], pa.string()), v=pa.array([], pa.int64()))
    assert (names(source), parquet_rows(source.data)) == (["id", "v"], 0)
    assert [column.shape for column in source.columns] == [Shape.EMPTY, Shape.EMPTY]


@pytest.mark.parametrize("keep", [4, 50, -1])
def test_a_damaged_parquet_file_is_refused(tmp_path, keep):
    parquet(tmp_path, v=list(range(100)))
    data = (tmp_path / "table.parquet").read_bytes()[:keep]
    assert refusal(data, tmp_path) == "table.csv is not a Parquet file that can be read."


# --- what is no table ------------------------------------------------------------------------------


def a_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("xl/workbook.xml", "<x/>")
    return buffer.getvalue()


NO_TABLES = {
    "ZIP": (a_zip(), "a ZIP or Excel file"),
    "old Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "an Excel file"),
    "PDF": (b"%PDF-1.7\n1 0 obj\n", "a PDF file"),
    "bzip2": (b"BZh91AY&SY", "a bzip2 file"),
    "xz": (b"\xfd7zXZ\0", "an xz file"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "a binary file"),
    "database": (b"SQLite format 3\0" + b"\0" * 5_000, "a binary file"),
    "bytes": (bytes(range(256)) * 100, "a binary file"),
    "ZIP in gzip": (gzip.compress(a_zip()), "a binary file"),
}


@pytest.mark.parametrize("data, what", NO_TABLES.values(), ids=NO_TABLES)
def test_what_is_no_table_is_refused(tmp_path, data, what):
    assert what in refusal(data, tmp_path)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(SourceError, match="is a folder, not a file"):
        open_source(tmp_path, workdir=tmp_path)


@pytest.mark.parametrize("path", ["", ".", "..", "/"])
def test_a_folder_has_a_name_in_the_message(tmp_path, path):
    with pytest.raises(SourceError, match=r"^\S+ is a folder"):
        open_source(path, workdir=tmp_path)


def test_a_missing_file_is_named_with_its_folder(tmp_path):
    with pytest.raises(SourceError) as error:
        open_source(tmp_path / "nope.csv", workdir=tmp_path)
    assert error.value.message == f"There is no file {tmp_path / 'nope.csv'}."


@pytest.mark.parametrize("path", ["x" * 300, "nope\0.csv", "table.csv/inside", "loop"])
def test_a_path_that_can_not_be_is_refused(tmp_path, path):
    (tmp_path / "table.csv").write_text("a\n1\n")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SourceError) as error:
        open_source(tmp_path / path, workdir=tmp_path)
    assert error.value.hint


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="pipe is a pipe or a device"):
        open_source(tmp_path / "pipe", workdir=tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path):
    (tmp_path / "table.csv").write_text("a\n1\n")
    (tmp_path / "table.csv").chmod(0)
    with pytest.raises(SourceError, match="no permission"):
        open_source(tmp_path / "table.csv", workdir=tmp_path)


def test_a_file_name_that_is_no_text_is_refused(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv"))
    path.write_text("a\n1\n")
    with pytest.raises(SourceError, match="name of the file is not UTF-8"):
        open_source(path, workdir=tmp_path)


@pytest.mark.parametrize("name", ["o[1].csv", "n*.csv", "a?{b,c}.csv", 'it\'s "$q".csv', "~.csv", "😀.csv", "two\nlines.csv", "a;b.csv"])
def test_a_file_may_have_any_name(tmp_path, name):
    for other in ("o1.csv", "nn.csv", "axb.csv"):
        (tmp_path / other).write_text("wrong\n1\n")
    source = opened("id,v\n1,a\n", tmp_path, name)
    assert (source.name, rows(source)) == (name, [["1", "a"]])
    assert source.data.samefile(tmp_path / name)
    assert not set("*?[]{}~\"'") & set(source.data.name)


def test_the_link_of_an_odd_name_is_made_once(tmp_path):
    first = opened("id\n1\n", tmp_path, "o[1].csv")
    assert open_source(tmp_path / "o[1].csv", workdir=tmp_path).data == first.data


# --- tables of no rows -----------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\n\n\r\n", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, gzip.compress(b"", mtime=0)])
def test_a_file_of_nothing_is_a_table_of_no_columns(tmp_path, data):
    source = opened(data, tmp_path)
    assert (source.columns, source.body.columns) == ((), 0)


@pytest.mark.parametrize("data", ["id,v", "id,v\n", "\r\n\r\nid,v\r\n", "sep=,\nid,v\n"])
def test_a_header_alone_is_a_table_of_no_rows(tmp_path, data):
    source = opened(data, tmp_path)
    assert names(source) == ["id", "v"]
    assert row_count(source, tmp_path) == 0
    assert {column.shape for column in source.columns} == {Shape.EMPTY}


def test_the_null_device_is_an_empty_file(tmp_path):
    assert open_source(os.devnull, workdir=tmp_path).columns == ()


# --- columns ---------------------------------------------------------------------------------------


def test_columns_without_a_name_or_with_one_twice_get_their_own(tmp_path):
    assert names(opened("v,,v,V,\n1,2,3,4,5\n", tmp_path)) == ["v", "column 2", "v (2)", "V", "column 5"]


def test_columns_without_a_header_are_numbered(tmp_path):
    assert names(opened("1,2\n3,4\n", tmp_path)) == ["c1", "c2"]


def test_a_header_may_span_lines(tmp_path):
    source = opened('"two\nlines",v\n1,2\n', tmp_path)
    assert (names(source), source.first_line) == (["two\nlines", "v"], 3)
    assert row_count(source, tmp_path) == 1


def test_rows_before_the_header_and_under_it_are_skipped(tmp_path):
    source = opened('A "title\n\nid,v\n(m),(s)\n1,2\n', tmp_path, skip_rows=2, skip_after_header=1)
    assert (names(source), rows(source), source.first_line) == (["id", "v"], [["1", "2"]], 5)
    assert row_count(source, tmp_path) == 1


@pytest.mark.parametrize("text", ["title\n1,2\n", "title\r\n1,2\r\n", "title\r1,2\r", 'ti"tle\n1,2'])
def test_rows_before_a_table_without_a_header_are_skipped(tmp_path, text):
    source = opened(text, tmp_path, skip_rows=1, header=False)
    assert (names(source), rows(source)) == (["c1", "c2"], [["1", "2"]])
    assert row_count(source, tmp_path) == 1


def test_skipping_the_whole_file_is_refused(tmp_path):
    assert refusal("id,v\n1,2\n", tmp_path, skip_rows=5) == "Nothing is left of table.csv after 5 skipped lines."


def test_in_a_one_column_file_blank_lines_under_the_header_are_rows(tmp_path):
    assert row_count(opened("v\n\n\n1\n", tmp_path), tmp_path) == 3
    assert row_count(opened("\n1\n\n", tmp_path, header=False), tmp_path) == 3


def test_blank_lines_around_a_header_are_skipped(tmp_path):
    assert row_count(opened("\n\nid,v\n\n1,2\n\n", tmp_path), tmp_path) == 1


@pytest.mark.parametrize(
    "data, why",
    [
        (b'id,"v\n1,2\n', "a quote that is never closed"),
        (b'id,"v"x\n1,2\n', "text after a closing quote"),
        (b"id,\0v\n" + b"1,2\n" * 9, "a NUL character"),
        (b"id,\xff\n1," + "ä".encode() * 9 + b"\n", "bytes that are no UTF-8 text"),
    ],
)
def test_a_header_that_can_not_be_read_is_refused(tmp_path, data, why):
    assert f"The header of table.csv (line 1) has {why}" in refusal(data, tmp_path)


@pytest.mark.parametrize("delimiter", ["\x01", "\x02", "\x1f"])
def test_a_control_character_may_be_the_delimiter(tmp_path, delimiter):
    source = opened(f"id{delimiter}v\n1{delimiter}2\n", tmp_path, delimiter=delimiter)
    assert rows(source) == [["1", "2"]]
    assert opened("id\x01v\n1\x012\n", tmp_path, "found.csv").dialect.delimiter == "\x01"


def test_a_table_after_endless_blank_lines_is_refused_and_not_taken_for_none(tmp_path):
    assert opened(b"\n" * (1 << 20), tmp_path).columns == ()
    assert "blank lines" in refusal(b"\n" * (1 << 20) + b"id,v\n1,2\n", tmp_path)


def test_too_many_columns_are_refused(tmp_path):
    assert "20,001 columns" in refusal("," * 20_000 + "\n", tmp_path)


def test_a_first_line_without_an_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_RECORD", 1 << 20)
    assert "first line of table.csv is longer than 1 MB" in refusal(b"x" * (2 << 20), tmp_path)


# --- types -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cells, kind, shape",
    [
        (["1", "-2", "+3", "0"], NUMBER, Shape.INTEGER),
        (["1.0", "2."], NUMBER, Shape.WHOLE_DECIMAL),
        (["1.5", "2", ".5", "1e-3"], NUMBER, Shape.NUMBER),
        (["2024-01-05", "2024-02-30"], DATE, Shape.DATE),
        (["2024-01-05 00:00:00", "2024-01-05T00:00"], DATE, Shape.MIDNIGHT),
        (["2024-01-05", "2024-01-05T10:00Z"], DATE, Shape.TIMESTAMP),
        (["007", "008"], TEXT, Shape.TEXT),
        (["1_000", "1,5", "0x1F", "nan", "inf", " 5"], TEXT, Shape.TEXT),
        (["1e400", "1e999999999999"], TEXT, Shape.NUMBER),
        (["", ""], TEXT, Shape.EMPTY),
    ],
)
def test_a_column_has_the_type_its_cells_read_as(tmp_path, cells, kind, shape):
    source = opened("id;v\n" + "".join(f"x;{cell}\n" for cell in cells), tmp_path, delimiter=";")
    assert (source.columns[1].type, source.columns[1].shape) == (kind, shape)


@pytest.mark.parametrize("strange, kind", [(10, NUMBER), (11, TEXT)])
def test_nine_cells_in_ten_make_the_type(tmp_path, strange, kind):
    cells = ["?"] * strange + ["5"] * (100 - strange) + [""] * 50
    assert types(opened("id,v\n" + "".join(f"x,{cell}\n" for cell in cells), tmp_path))["v"] == kind


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_large_file_is_sampled_all_over(tmp_path, line_end):
    cells = [str(i) if i < 20_000 else f"x{i}" for i in range(200_000)]
    source = opened(f"id,v{line_end}" + "".join(f"{i},{cell}{line_end}" for i, cell in enumerate(cells)), tmp_path)
    assert types(source) == {"id": NUMBER, "v": TEXT}
    assert 1_000 < len(rows(source)) <= sources.SAMPLE_ROWS


def test_a_large_file_of_long_lines_is_sampled(tmp_path):
    source = opened("id,text,v\n" + "".join(f"{i},{'x' * 50_000},5\n" for i in range(100)), tmp_path)
    assert types(source) == {"id": NUMBER, "text": TEXT, "v": NUMBER}


# --- identity --------------------------------------------------------------------------------------


def test_the_identity_is_that_of_the_content_and_its_spelling(tmp_path):
    def identity(text: str, **said: object) -> list[object]:
        (tmp_path / "a.csv").write_text(text)
        return open_source(tmp_path / "a.csv", workdir=tmp_path, choice=DialectChoice(**said), by_content=True).identity  # type: ignore[arg-type]

    first = identity("id,v\n1,2\n")
    assert identity("id,v\n1,2\n") == first
    assert identity("id,v\n1,3\n") != first
    assert identity("id,v\n1,2\n", header=False) != first


def test_a_registered_file_is_known_by_path_size_and_time(tmp_path):
    first = opened("id,v\n1,2\n", tmp_path)
    assert opened("id,v\n1,2\n", tmp_path, "copy.csv").digest != first.digest
    os.utime(first.path, ns=(0, 0))
    assert open_source(first.path, workdir=tmp_path).digest != first.digest


def test_a_file_that_was_touched_cut_or_lost_has_changed(tmp_path):
    source = opened("id,v\n1,2\n", tmp_path)
    assert not source.has_changed()
    os.utime(source.path, ns=(source.mtime_ns + 1, source.mtime_ns + 1))
    assert source.has_changed()
    source.path.unlink()
    assert source.has_changed()


def test_a_converted_copy_is_made_once_and_not_of_another_content(tmp_path):
    first = opened(TABLE.encode("utf-16"), tmp_path)
    made = first.data.stat().st_mtime_ns
    assert open_source(first.path, workdir=tmp_path).data.stat().st_mtime_ns == made
    assert rows(opened(TABLE.upper().encode("utf-16"), tmp_path))[0] == ["1", "ZOË €"]


def test_a_source_may_have_another_name_than_its_file(tmp_path):
    (tmp_path / "3f2a.bin").write_text("id,v\n1,2\n3\n")
    source = open_source(tmp_path / "3f2a.bin", workdir=tmp_path, name="sales.csv")
    assert source.name == source.body.name == "sales.csv"


def test_the_dialect_of_a_source_is_what_was_found(tmp_path):
    source = opened("a;b\r\n1;2\r\n".encode("utf-16"), tmp_path)
    assert source.dialect == CsvDialect(";", '"', "utf-16-le", "\r\n", header=True)
