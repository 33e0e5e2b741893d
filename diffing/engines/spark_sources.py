"""Tables that only the cluster sees: described from a sample, checked line by line where they are.

A line is a record there. What would need to know the lines before it (a cell with a line end in it)
is refused, as is what Spark can't read as lines of text.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from diffing.dialects import DialectChoice
from diffing.engines.run import has_changed
from diffing.engines.spark_reading import Lines, cell_pattern, literally, parquet_texts
from diffing.engines.spark_sql import SPARK
from diffing.errors import SourceError
from diffing.grammar import Shape
from diffing.keys import SPELLINGS
from diffing.naming import header_names
from diffing.records import BAD_LINES_KEPT, MAX_RECORD, SHOWN_TEXT, BadLine, BadLines, Records, refusal
from diffing.sources import SAMPLE_ROWS, Source, describe_columns, open_source
from diffing.sql import Sql

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

READ = ("utf-8", "latin-1", "windows-1252")
"""Encodings in which a line end is one byte that stands for nothing else."""
END = "\\z"
OPEN, AFTER, RETURN = "a quote that is never closed", "text after a closing quote", "a carriage return between cells"
PATTERN = "*?[]{}\\"
"""Characters that make a path a pattern of names."""


@dataclass(frozen=True, slots=True)
class Place:
    """What the cluster lists at a place. Files without a byte, and those whose names begin with a dot or an underscore, don't count."""

    location: str
    files: tuple[tuple[str, int, int], ...]
    """Path, bytes and time of change in microseconds of each file, in order."""

    @property
    def digest(self) -> str:
        """What tells this content from another."""
        return f"{self.location}:{hashlib.sha256(repr(self.files).encode()).hexdigest()}"

    @property
    def sample(self) -> str:
        """The largest file, as Spark is told to read it."""
        return _literal_path(max(self.files, key=lambda file: file[1])[0])

    @property
    def layouts(self) -> set[tuple[str, ...]]:
        """For each file the columns that are in the names of folders (`day=2024-01-05`) below the place, instead of in the file."""
        given = {part for part in self.location.split("/") if not any(mark in part for mark in PATTERN)}
        folders = ([part for part in path.split("/")[:-1] if "=" in part and part not in given] for path, *_ in self.files)
        return {tuple(part.partition("=")[0] for part in parts) for parts in folders}

    @property
    def partitions(self) -> tuple[str, ...]:
        """All of these columns."""
        return tuple(dict.fromkeys(name for layout in sorted(self.layouts) for name in layout))


def look(spark: SparkSession, location: str) -> Place:
    """What is at a place now."""
    files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(location)
    found = files.selectExpr("path", "length", "unix_micros(modificationTime) AS changed").where("length > 0").collect()
    return Place(location, tuple(sorted((row["path"], row["length"], row["changed"]) for row in found)))


def look_again(spark: SparkSession, source: Source) -> Place:
    """What is at the place of a source.

    Raises:
        SourceError: it is not what was described.
    """
    place = look(spark, source.location or "")
    if place.digest != source.digest:
        raise has_changed(source)
    return place


def _literal_path(path: str) -> str:
    """A path in which no character is part of a pattern."""
    return re.sub(r"([*?\[\]{}\\])", r"\\\1", path)


def _url(location: str) -> str:
    """A place as a URL; what is none is on the file system that this machine and the cluster share."""
    if "://" in location:
        return location
    path = Path(location).absolute()
    return f"file://{_literal_path(str(path)) if path.is_dir() else path}"


def _name(location: str) -> str:
    """What people call a place: its last part, or those from the last folder that is no pattern."""
    parts = location.rstrip("/").split("/")
    first = next((n for n, part in enumerate(parts) if any(mark in part for mark in PATTERN)), len(parts))
    return "/".join(parts[max(first - 1, 0) :]) or location


def describe(spark: SparkSession, location: str, workdir: Path, choice: DialectChoice, name: str | None = None) -> Source:
    """A table by its place (a URL, a folder or a pattern): its dialect, columns and types from a sample of it.

    Raises:
        SourceError: there is nothing, or nothing that Spark can read as a table.
    """
    name = name or _name(location)
    place = look(spark, _url(location))
    if not place.files:
        raise SourceError(f"There are no files in {name}.", "Check the address, and that the cluster may read it.")
    sample = workdir / f"{uuid.uuid4().hex}.sample"
    lines = spark.read.option("lineSep", "\n").text(place.sample).selectExpr("CAST(value AS BINARY) AS line").limit(SAMPLE_ROWS).collect()
    first = bytes(lines[0]["line"]) if lines else b""
    if first.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        raise SourceError(f"{name} has compressed files whose names don't say so.", "Name them with .gz at the end, or unpack them.")
    if first.startswith(b"PAR1"):
        source = _parquet(spark, place, name, sample)
    else:
        sample.write_bytes(b"".join(bytes(row["line"]) + b"\n" for row in lines))
        source = open_source(sample, workdir=workdir, choice=choice, name=name)
        _refuse(source, place)
    size, changed = sum(size for _, size, _ in place.files), max(at for *_, at in place.files)
    return replace(source, digest=place.digest, size=size, mtime_ns=changed * 1000, location=place.location)


def parquet_rows(spark: SparkSession, place: Place, name: str) -> DataFrame:
    """The rows of all Parquet files of a place, as `read_parquet` gives them."""
    return parquet_texts(_parquet_table(spark, place, name), name, Sql(cast(Any, None), SPARK))


def _parquet_table(spark: SparkSession, place: Place, name: str) -> DataFrame:
    """All columns of all files; those that are in names of folders come last. What a file lacks is empty in its rows."""
    reader = spark.read.option("mergeSchema", "true")
    if not place.partitions:
        return reader.option("recursiveFileLookup", "true").parquet(place.location)
    listed = ", ".join(place.partitions)
    if any(mark in place.location for mark in PATTERN):
        raise SourceError(
            f"{name} leaves out columns that are in the names of folders: {listed}.", "Give the folder above them, or one of them."
        )
    table = reader.parquet(place.location)
    if len(place.layouts) > 1 or not set(place.partitions) <= set(table.columns):
        raise SourceError(
            f"{name} has files beside its folders by {listed}.", "Give a folder that is partitioned throughout, or not at all."
        )
    return table


def _parquet(spark: SparkSession, place: Place, name: str, sample: Path) -> Source:
    """A source whose sample is written as texts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = _parquet_table(spark, place, name)
    names = header_names(table.columns)
    texts = parquet_texts(table, name, Sql(cast(Any, None), SPARK)).drop("w").limit(SAMPLE_ROWS).collect()
    rows = [[cell or "" for cell in row] for row in texts]
    pq.write_table(pa.table({name: pa.array([row[i] or None for row in rows], pa.string()) for i, name in enumerate(names)}), sample)
    source = open_source(sample, workdir=sample.parent, name=name)
    return replace(source, columns=tuple(describe_columns(names, rows)))


def _refuse(source: Source, place: Place) -> None:
    dialect = source.dialect
    if place.partitions:
        what = f"{source.name} has columns in the names of its folders ({', '.join(place.partitions)}), which lines of text don't have."
        raise SourceError(what, "Give one of these folders, or write the table as Parquet.")
    if dialect.encoding not in READ:
        raise SourceError(f"{source.name} is {dialect.encoding} text, which Spark can't read as lines.", "Write it as UTF-8.")
    if dialect.skip_rows or dialect.skip_after_header:
        raise SourceError(f"{source.name} has lines beside its rows and its header.", "Write the table alone, or compare on one machine.")
    if dialect.header and source.first_line != 2:
        raise SourceError(f"The header of {source.name} is not one line, the first.", "Write it so, or compare on one machine.")


# --- checking ------------------------------------------------------------------------------------


def check_lines(spark: SparkSession, place: Place, source: Source, bad_lines: BadLines, side: str) -> tuple[Records, Lines]:
    """Count and check all lines where they are; view `{side}_rows` has those that are rows.

    Raises:
        BadLinesError: there are bad lines and they are refused.
        SourceError: lines are no records there, or a file lacks the header.
    """
    dialect = source.dialect
    header = _first_line(spark, place, dialect.encoding) if dialect.header else None
    judged = _judged(spark, source, header, side)
    judged.createOrReplaceTempView(f"{side}_judged")
    items = "count(*) AS n, min(CASE WHEN leads THEN at END) AS first, min(CASE WHEN leads AND header THEN at END) AS headed"
    counts = spark.sql(
        f"SELECT file, bad, short, {items}, max(length(l)) AS longest FROM {side}_judged GROUP BY file, bad, short"
    ).collect()
    _refuse_strange(source, spark, side, {row["bad"] for row in counts})
    with_header = {row["file"] for row in counts if row["headed"] is not None}
    if header is not None and not _headed(counts):
        raise SourceError(f"Not every file of {source.name} begins with the header.", "Write it into each, or into none (--no-header).")
    fills = bad_lines is BadLines.FILL
    filled = sum(row["n"] for row in counts if row["bad"] and row["short"] and fills)
    bad = sum(row["n"] for row in counts if row["bad"]) - filled
    shown = _shown(spark, side) if bad or filled else ()
    if bad and bad_lines is not BadLines.SKIP:
        what = "a bad line" if bad == 1 else f"{bad:,} bad lines"
        texts = "; ".join(f"{each.text[:80]!r} has {each.reason}" for each in shown[:5])
        raise refusal(source.name, f"{what}: {texts}", bad_lines)
    kept = "bad IS NULL OR short" if fills else "bad IS NULL"
    rows = spark.sql(f"SELECT l, 1 AS w FROM {side}_judged WHERE {kept}")
    if header is not None:
        rows = rows.unionAll(spark.sql("SELECT :header AS l, CAST(:times AS INT) AS w", {"header": header, "times": -len(with_header)}))
    rows.createOrReplaceTempView(f"{side}_rows")
    count = sum(row["n"] for row in counts if not row["bad"]) - len(with_header) + filled
    longest = max((row["longest"] or 0 for row in counts), default=0)
    if longest > MAX_RECORD:
        what = f"{source.name} has a line of more than {MAX_RECORD >> 20} million characters."
        raise SourceError(what, "Check the delimiter and the line ends; a table has shorter lines.")
    lines = Lines(source.location or "", dialect.delimiter, dialect.quote)
    return Records(source.path, 0, 0, dialect.line_end, count + bad, count, bad, filled, shown, True, longest), lines


def _first_line(spark: SparkSession, place: Place, encoding: str) -> str:
    value = spark.read.option("lineSep", "\n").text(place.sample).selectExpr("CAST(value AS BINARY)").first()
    return (bytes(value[0]) if value else b"").decode(encoding).removeprefix("\ufeff").removesuffix("\r")


def _headed(counts: list[Any]) -> bool:
    """Whether the first line of each file is the header."""
    first: dict[str, int] = {}
    headed: dict[str, int] = {}
    for row in counts:
        for found, name in ((first, "first"), (headed, "headed")):
            if row[name] is not None:
                found[row["file"]] = min(row[name], found.get(row["file"], row[name]))
    return first == headed and set(first) == {row["file"] for row in counts}


def _judged(spark: SparkSession, source: Source, header: str | None, side: str) -> DataFrame:
    """Each line `l` that is not blank, its file, why it is bad, and whether only by too few cells.

    And whether it spells like the `header`, and its place `at` among the lines of the piece of a file
    that one task reads; `leads` says that it is the first piece.
    """
    dialect, width = source.dialect, len(source.columns)
    params: dict[str, Any] = {}

    def bind(value: Any) -> str:
        params[f"j{len(params)}"] = value
        return f":j{len(params) - 1}"

    text = spark.read.option("lineSep", "\n").option("recursiveFileLookup", "true").text(source.location)
    where = ("_metadata.file_path AS file", "_metadata.file_block_start = 0 AS leads", "monotonically_increasing_id() AS at")
    text.selectExpr("value", *where).createOrReplaceTempView(f"{side}_text")
    value = "value" if dialect.encoding == "utf-8" else f"decode(CAST(value AS BINARY), '{_java_name(dialect.encoding)}')"
    line = f"CASE WHEN endswith({value}, '\\r') THEN left({value}, length({value}) - 1) ELSE {value} END"
    delimiter, quote = bind(dialect.delimiter), bind(dialect.quote)
    cells = f"length(l) - length(replace(l, {delimiter}, '')) + 1"
    wrong = ["contains(l, chr(0)) THEN 'a NUL character'", "NOT is_valid_utf8(l) THEN 'bytes that are no UTF-8 text'"]
    if dialect.quote:
        d, q = literally(dialect.delimiter), literally(dialect.quote)
        cell, strict = (cell_pattern(dialect.delimiter, dialect.quote, neither) for neither in ("", "\\r"))
        record = bind(f"\\A{strict}(?:{d}{strict})*+\\z")
        open_ = bind(f"\\A(?:{strict}{d})*+{q}(?:[^{q}]++|{q}{q})*+\\z")
        found = f"regexp_extract_all(concat({delimiter}, l), {bind(f'{d}({cell})(?={d}|{END})')}, 1)"
        cells = f"CASE WHEN contains(l, {quote}) THEN size({found}) ELSE {cells} END"
        odd = f"(length(l) - length(replace(l, {quote}, ''))) % 2 = 1"
        wrong = [
            f"contains(l, {quote}) AND (l RLIKE {open_} OR {odd}) AND NOT l RLIKE {record} THEN '{OPEN}'",  # the next line may be its rest
            *wrong,
            f"contains(l, {quote}) AND NOT l RLIKE {record} THEN CASE WHEN contains(l, '\\r') THEN '{RETURN}' ELSE '{AFTER}' END",
            f"NOT contains(l, {quote}) AND contains(l, '\\r') THEN '{RETURN}'",
        ]
    else:
        wrong.append(f"contains(l, '\\r') THEN '{RETURN}'")
    counted = f"SELECT *, {cells} AS cells FROM (SELECT {line} AS l, file, leads, at FROM {side}_text)"
    wrong.append(f"cells <> {width} THEN concat(cells, CASE WHEN cells = 1 THEN ' cell' ELSE ' cells' END, ' instead of {width}')")
    headed = "FALSE" if header is None else f"l = {bind(header)}"
    bad = f"CASE {' '.join(f'WHEN {each}' for each in wrong)} END"
    judged = f"SELECT l, file, leads, at, {bad} AS bad, {headed} AS header, cells < {width} AS fewer FROM ({counted})"
    blank = " WHERE l <> ''" if width > 1 else ""
    return spark.sql(f"SELECT l, file, leads, at, header, bad, fewer AND bad LIKE '% instead of %' AS short FROM ({judged}){blank}", params)


def _java_name(encoding: str) -> str:
    return {"latin-1": "ISO-8859-1", "windows-1252": "windows-1252"}[encoding]


def _refuse_strange(source: Source, spark: SparkSession, side: str, reasons: set[str | None]) -> None:
    strange = next((each for each in (RETURN, OPEN) if each in reasons), None)
    if strange is None:
        return
    example = spark.sql(f"SELECT min(l) FROM {side}_judged WHERE bad = :bad", {"bad": strange}).collect()[0][0]
    what = "a record that spans lines, or a quote that is never closed" if strange == OPEN else strange
    raise SourceError(
        f"{source.name} has {what}, which can't be read where a line is a record: {example[:80]!r}.",
        "Write it as Parquet or without line ends in cells, or compare it on one machine.",
    )


def _shown(spark: SparkSession, side: str) -> tuple[BadLine, ...]:
    """Some bad lines; files that many tasks read have no line numbers, so they are in the order of their text."""
    bad = f"SELECT left(l, {SHOWN_TEXT}) AS l, bad FROM {side}_judged WHERE bad IS NOT NULL ORDER BY l, bad LIMIT {BAD_LINES_KEPT}"
    return tuple(BadLine(0, row["l"], row["bad"]) for row in spark.sql(bad).collect())


# --- keys by value -------------------------------------------------------------------------------


def misses(spark: SparkSession, cells: str, at: int, shape: Shape) -> int:
    """How many non-empty cells of a key column are not of the shape that the sample shows."""
    if shape not in SPELLINGS:
        return int(shape is not Shape.EMPTY)
    fits = SPARK.matches(f"p{at}", f"'{SPELLINGS[shape]}'")
    return int(spark.sql(f"SELECT coalesce(sum(CASE WHEN p{at} IS NOT NULL AND NOT {fits} THEN w END), 0) FROM ({cells})").collect()[0][0])
