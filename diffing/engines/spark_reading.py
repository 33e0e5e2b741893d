"""Files as Spark reads them: a line is a record, and our own SQL takes it apart.

Spark's reader of CSV leaves out lines of blanks, takes text after a closing quote for a cell, and
splits or joins records by rules of its own. So it is not used. Lines are read as text, which many
tasks can do at once, and their cells are told apart by what `records` means by a record. A record
that spans lines is written as one line before, with NUL for its line ends; NUL is in no text.

A header is not skipped but taken off again: rows have no order, so one row less that spells like the
header is the same as the rows without it. That is what the weight `w` of a row is for: 1, or -1.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffing.engines.spark_sql import SPARK, canonical, let, shortest_digits
from diffing.errors import SourceError
from diffing.records import Records
from diffing.sources import Source
from diffing.sql import Sql

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

NUL = "\0"
PIECE = 1 << 22


@dataclass(frozen=True, slots=True)
class Lines:
    """A file, or many, of lines that each are a record."""

    path: str
    delimiter: str
    quote: str
    header: str | None = None
    """The line that each file begins with and that is no row."""
    quoted: bool = True
    """Whether there may be quotes."""
    ends_with_cr: bool = False
    joined: bool = False
    """Whether NUL stands for line ends inside cells."""


def one_line_each(source: Source, records: Records, copy: Path) -> Lines:
    """The checked records of a file, written again where a record spans lines."""
    dialect = source.dialect
    crlf = records.line_end == "\r\n"
    lines = Lines(_url(records.path, copy), dialect.delimiter, dialect.quote, quoted=records.quoted, ends_with_cr=crlf)
    if records.skip_lines > 1 or (records.quoted and _line_ends(records) > records.rows):
        _write_joined(records, dialect.quote.encode(), copy)
        return Lines(copy.as_uri(), dialect.delimiter, dialect.quote, None, records.quoted, crlf, joined=True)
    if records.skip_lines:
        with records.path.open("rb") as file:
            header = file.read(records.offset).removeprefix(codecs.BOM_UTF8).rstrip(b"\n").decode()
        return Lines(lines.path, lines.delimiter, lines.quote, header, lines.quoted or lines.quote in header, crlf)
    return lines


def _url(path: Path, copy: Path) -> str:
    """A path as a URL. Spark passes over files whose names begin with a dot or an underscore, and unpacks by suffix."""
    if path.name[0] in "._" or path.suffix.lower() in (".gz", ".bz2", ".zst", ".snappy", ".lz4", ".deflate", ".zip") or "%" in str(path):
        link = copy.with_suffix(".link.csv")
        link.symlink_to(path.resolve())
        return f"file://{link.absolute()}"
    return f"file://{path.absolute()}"


def _line_ends(records: Records) -> int:
    count, last = 0, b"\n"
    with records.path.open("rb") as file:
        file.seek(records.offset)
        while piece := file.read(PIECE):
            count += piece.count(b"\n")
            last = piece[-1:]
    return count + (last != b"\n")


def _write_joined(records: Records, quote: bytes, copy: Path) -> None:
    inside = False
    with records.path.open("rb") as file, copy.open("wb") as out:
        file.seek(records.offset)
        while piece := file.read(PIECE):
            parts = piece.split(quote) if quote else [piece]
            for at in range(0 if inside else 1, len(parts), 2):
                parts[at] = parts[at].replace(b"\n", b"\0")
            inside ^= len(parts) % 2 == 0
            out.write(quote.join(parts))


def read_lines(spark: SparkSession, lines: Lines) -> DataFrame:
    """Lines `l` without their ends, and weights `w`."""
    text = spark.read.option("lineSep", "\n").option("recursiveFileLookup", "true").text(lines.path)
    value = "TRIM(TRAILING '\\r' FROM value)" if lines.ends_with_cr else "value"
    rows = text.selectExpr(f"{value} AS l", "1 AS w")
    if lines.header is None:
        return rows
    header = lines.header.rstrip("\r") if lines.ends_with_cr else lines.header
    taken_off = spark.sql("SELECT :header AS l, -1 AS w", {"header": header})
    return rows.unionAll(taken_off)


def cells_of_lines(lines: Lines, at: Mapping[str, int], bind: Callable[[Any], str]) -> tuple[str, str]:
    """SQL for the cells of a line `l` as an array, and for select items that take those wanted by name from it."""
    delimiter = literally(lines.delimiter)
    cells = f"split(l, {bind(delimiter)}, -1)"
    if lines.quoted and lines.quote:
        cell = f"{delimiter}({cell_pattern(lines.delimiter, lines.quote)})(?={delimiter}|\\z)"
        whole = f"concat({bind(lines.delimiter)}, l)"
        cells = f"CASE WHEN contains(l, {bind(lines.quote)}) THEN regexp_extract_all({whole}, {bind(cell)}, 1) ELSE {cells} END"
    items = ", ".join(f"{_cell(lines, f'get(cells, {place})', bind)} AS {name}" for name, place in at.items())
    return cells, items


def cell_pattern(delimiter: str, quote: str, neither: str = "") -> str:
    """A cell as a pattern: in quotes, or bare and then without the characters of `neither`. It never steps back."""
    d, q = literally(delimiter), literally(quote)
    return f"(?:{q}(?:[^{q}]++|{q}{q})*+{q}|(?!{q})[^{d}{neither}]*+)"


def _cell(lines: Lines, cell: str, bind: Callable[[Any], str]) -> str:
    if lines.quoted and lines.quote:
        quote = bind(lines.quote)
        bare = f"replace(substring({cell}, 2, length({cell}) - 2), {bind(lines.quote * 2)}, {quote})"
        cell = f"CASE WHEN startswith({cell}, {quote}) THEN {bare} ELSE {cell} END"
    if lines.joined:
        cell = f"translate({cell}, {bind(NUL)}, {bind(chr(10))})"
    return f"nullif({cell}, '')"


def literally(character: str) -> str:
    """A character as a pattern."""
    return f"\\x{{{ord(character):x}}}"


# --- Parquet -------------------------------------------------------------------------------------

AS_THEY_ARE = ("string", "char", "varchar", "boolean", "tinyint", "smallint", "int", "bigint", "decimal")


def read_parquet(spark: SparkSession, path: str, name: str, sql: Sql) -> DataFrame:
    """The columns of Parquet files as texts c0, c1, …, and weights `w`; empty text is null.

    Raises:
        SourceError: a column has a type that has no text.
    """
    return parquet_texts(spark.read.option("recursiveFileLookup", "true").parquet(path), name, sql)


def parquet_texts(table: DataFrame, name: str, sql: Sql) -> DataFrame:
    """The same of a table that was opened."""
    items = []
    for i, field in enumerate(table.schema.fields):
        text = _text_of(field.dataType.simpleString(), f"c{i}", sql)
        if not text:
            raise SourceError(
                f"The column “{field.name}” of {name} has the type {field.dataType.simpleString()}, which can't be compared on Spark.",
                "Leave it out when the file is written, or write it as text.",
            )
        items.append(f"nullif({text}, '') AS c{i}")
    return table.toDF(*(f"c{i}" for i in range(len(items)))).selectExpr(*items, "1 AS w")


def _text_of(type_: str, column: str, sql: Sql) -> str:
    """SQL for a typed cell as the text that DuckDB has for it; nothing for a type without one."""
    kind = type_.split("(")[0]
    if kind in AS_THEY_ARE:
        return f"CAST({column} AS STRING)"
    if kind in ("timestamp", "timestamp_ntz", "date"):
        return canonical(column) + (" || 'Z'" if kind == "timestamp" else "")
    if kind in ("double", "float"):
        return let("value", column, _double("value", kind, sql))
    return ""


def _double(value: str, kind: str, sql: Sql) -> str:
    """A float as text: `0.1`, `1000.0`, `1e+16`, `1e-05`, `nan`, `inf`."""
    digits = SPARK.digits(value) if kind == "double" else shortest_digits(value, "FLOAT", 8)
    plain = (
        "CASE WHEN power >= 0 THEN bare || repeat('0', power) || '.0'"
        " WHEN point <= 0 THEN '0.' || repeat('0', -point) || bare"
        " ELSE left(bare, point) || '.' || right(bare, -power) END"
    )
    mantissa = "left(bare, 1) || CASE WHEN length(bare) > 1 THEN '.' || substring(bare, 2) ELSE '' END"
    size = "CAST(abs(point - 1) AS STRING)"
    exponent = f"CASE WHEN point > 0 THEN '+' ELSE '-' END || lpad({size}, greatest(2, length({size})), '0')"
    written = f"CASE WHEN point BETWEEN -3 AND 16 THEN {plain} ELSE {mantissa} || 'e' || {exponent} END"
    power = "CAST(split_part(form, 'e', 2) AS INT)"
    inner = let("power", power, let("point", "length(bare) + power", written))
    inner = let("bare", "TRIM(LEADING '-' FROM split_part(form, 'e', 1))", inner)
    signed = f"CASE WHEN form = '0e0' THEN '0.0' ELSE {inner} END"
    sign = f"CASE WHEN CAST({value} AS STRING) LIKE '-%' THEN '-' ELSE '' END"
    number = f"{sign} || {let('form', sql.canonical_number(digits), signed)}"
    strange = f"replace(lower(CAST({value} AS STRING)), 'infinity', 'inf')"
    return f"CASE WHEN {SPARK.finite(f'CAST({value} AS DOUBLE)')} THEN {number} ELSE {strange} END"
