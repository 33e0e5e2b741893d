"""Results as files and streams."""

from __future__ import annotations

import json
import os
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from diffing import grammar
from diffing.errors import EngineError, StoreError
from diffing.grammar import ColumnType
from diffing.locked import FOR_MANY_COLUMNS, connected
from diffing.naming import unique_names
from diffing.plan import Plan
from diffing.result import Result
from diffing.sql import is_wide, old_cell


def output_columns(plan: Plan) -> dict[str, str]:
    """Name in the diffed CSV to SQL over the columns of `rows.parquet`, in output order. Names are unique."""
    found: list[tuple[str, str]] = [("change", "change")]
    for i, pair in enumerate(plan.key):
        if pair.widened:
            found += [(f"{pair.name}_old", f"k{i}_old"), (f"{pair.name}_new", f"k{i}_new")]
        else:
            found.append((pair.name, f"coalesce(k{i}_old, k{i}_new)"))
    for i, pair in enumerate(plan.columns):
        found += [(f"{pair.name}_old", old_cell(plan, i)), (f"{pair.name}_new", f"c{i}_new")]
        if pair.type is ColumnType.NUMBER:
            found.append((f"{pair.name}_change", f"c{i}_change"))
    return dict(zip(unique_names(name for name, _ in found), (column for _, column in found), strict=True))


def write_csv(result: Result, path: Path, *, for_spreadsheets: bool = False) -> None:
    """The diffed CSV: RFC 4180, UTF-8, LF; the same bytes for the same inputs.

    `for_spreadsheets` puts a `'` before what a spreadsheet would run as a formula: a cell that begins like one,
    and what stands in a cell after a sign that separates cells in some countries.

    Raises:
        StoreError: the file can't be written.
    """
    values: dict[str, Any] = {"rows": result.rows_pattern}

    def bind(value: str) -> str:
        values[f"v{len(values)}"] = value
        return f"$v{len(values) - 1}"

    with _written(path) as part, _rows(result, part) as con:
        rows = "read_parquet($rows)" if result.summary.differing_rows else None
        fill_csv(result.plan, part, rows, bind, lambda copy: con.execute(copy, values), for_spreadsheets=for_spreadsheets)


def fill_csv(
    plan: Plan,
    file: Path,
    rows: str | None,
    bind: Callable[[str], str],
    execute: Callable[[str], duckdb.DuckDBPyConnection],
    *,
    for_spreadsheets: bool,
) -> None:
    """Write the diffed CSV; `rows` is SQL for the rows of a result, None if there are none, `bind` gives a parameter for a value."""
    columns = output_columns(plan)
    header = ",".join(_spelled(_defused(name) if for_spreadsheets else name) for name in columns) + "\n"
    if rows is None:
        file.write_bytes(header.encode())
        return
    if for_spreadsheets and len(columns) > MANY:
        _write_defused(file, header, execute(f"SELECT {', '.join(columns.values())} FROM {rows}"))
        return
    items = [_defused_sql(each) if for_spreadsheets else each for each in columns.values()]
    named = ", ".join(f"{item} AS x{i}" for i, item in enumerate(items))
    around = f"PREFIX {bind(header)}, SUFFIX {bind(chr(10))}"  # lines are ended but for the last
    spelling = f"HEADER false, DELIMITER ',', QUOTE '\"', ESCAPE '\"', {around}"
    execute(f"COPY (SELECT {named} FROM {rows}) TO {bind(str(file))} (FORMAT csv, {spelling}, USE_TMP_FILE false)")


def _write_defused(file: Path, header: str, found: duckdb.DuckDBPyConnection) -> None:
    """The same for spreadsheets, row by row."""
    with file.open("w", encoding="utf-8", newline="") as out:
        out.write(header)
        while batch := found.fetchmany(100):
            out.writelines(",".join("" if cell is None else _spelled(_defused_cell(cell)) for cell in row) + "\n" for row in batch)


def _spelled(cell: str) -> str:
    """A cell by RFC 4180, in quotes where DuckDB writes them too: also around `#`, which starts comments for some."""
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\r\n#') else cell


FORMULA = "=+@＝＋＠－-"
"""Signs with which a text begins that a spreadsheet may run."""
FIRST = f"^( *[\\t\\r\\n{FORMULA}])"
INNER = f"([;\\t\\r\\n]+)([\"' ]*[{FORMULA}])"
"""Where it begins: with the cell, or after a sign that separates cells where lists are written with semicolons."""


RISKY = f"[\\t\\r\\n{FORMULA}]"
MANY = 1000
"""With more columns than this a spreadsheet's cells are defused here: a statement would take time with their square."""


def _defused(text: str) -> str:
    return re.sub(FIRST, r"'\1", re.sub(INNER, r"\1'\2", text))


def _defused_cell(cell: str) -> str:
    """Numbers stay as they are."""
    return cell if not re.search(RISKY, cell) or re.fullmatch(grammar.NUMBER, cell) else _defused(cell)


def _defused_sql(cell: str) -> str:
    """The same in SQL."""
    first, inner = (pattern.replace("'", "''") for pattern in (FIRST, INNER))
    risky = f"regexp_matches({cell}, '{RISKY}') AND NOT regexp_full_match({cell}, '{grammar.NUMBER}')"
    defused = f"regexp_replace(regexp_replace({cell}, '{inner}', '\\1''\\2', 'g'), '{first}', '''\\1')"
    return f"CASE WHEN {risky} THEN {defused} ELSE {cell} END"


def write_parquet(result: Result, path: Path, *, only: Sequence[int] | None = None) -> None:
    """The same columns and cells as Parquet, all text: all rows, or `only` those at these places, in ascending order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = output_columns(result.plan)
    with _written(path) as part, _rows(result) as con:
        named = ", ".join(f"{item} AS x{i}" for i, item in enumerate(columns.values()))
        rows = con.sql(f"SELECT {named} FROM read_parquet($rows)", params={"rows": result.rows_pattern})
        reader: Any = rows.to_arrow_reader(50_000)
        schema = pa.schema([field.with_name(name) for field, name in zip(reader.schema, columns, strict=True)])
        with pq.ParquetWriter(part, schema) as writer:
            first = 0
            for batch in reader:
                named_batch = batch.rename_columns(list(columns))
                writer.write_batch(
                    named_batch if only is None else named_batch.take(pa.array(_within(only, first, len(batch)), pa.int64()))
                )
                first += len(batch)


def _within(places: Sequence[int], first: int, count: int) -> list[int]:
    """Those of ascending places that are among so many from the first on, counted from there."""
    return [place - first for place in places[bisect_left(places, first) : bisect_left(places, first + count)]]


def write_json_lines(result: Result, path: Path) -> None:
    """The same rows as JSON, one object per line; empty cells are null."""
    with _written(path) as part, part.open("w", encoding="utf-8") as out:
        for row in differing_rows(result):
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def differing_rows(result: Result, most: int | None = None) -> Iterator[dict[str, str | None]]:
    """Rows of the diffed CSV as dicts by output name, in output order; empty cells are None."""
    return (row for _, row in coded_rows(result, most))


def coded_rows(result: Result, most: int | None = None) -> Iterator[tuple[str, dict[str, str | None]]]:
    """The same rows, each after the codes of its compared cells (see `result.Cell`)."""
    columns = output_columns(result.plan)
    limit = "" if most is None else f" LIMIT {int(most)}"
    with _rows(result) as con:
        found = con.execute(f"SELECT codes, {', '.join(columns.values())} FROM read_parquet($rows){limit}", {"rows": result.rows_pattern})
        while batch := found.fetchmany(10_000):
            for codes, *row in batch:
                yield codes, dict(zip(columns, row, strict=True))


@contextmanager
def _rows(result: Result, *files: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that reads rows in their order, and may write these files."""
    try:
        settings = [FOR_MANY_COLUMNS] if is_wide(result.plan) else []
        with connected(folders=[result.folder], files=files, settings=settings, preserve_insertion_order=True) as con:
            yield con
    except duckdb.Error as error:
        text = str(error)
        if "No space left" in text:
            raise EngineError("The disk is full.", "Free some space, or write to another disk.") from error
        raise EngineError("The result can't be read.", "Compare again.") from error


@contextmanager
def part_of(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place when it is complete."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.touch()
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    """The same; what the system says about it is put into words."""
    try:
        with part_of(path) as part:
            yield part
    except OSError as error:
        why = error.strerror or str(error)
        raise StoreError(f"{path} can't be written: {why}.", "Choose another file or folder, or free some space.") from error
