"""Files as SQL: their cells under positional names, or their lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from diffing.engines.run import Run
from diffing.records import SEPARATOR, Records
from diffing.sources import parquet_select

WHOLE_LINE = f"delim = '{SEPARATOR.decode()}', quote = '', escape = ''"
LINE_BYTES = 1 << 21
BUFFER_BYTES = 1 << 25


def cells(run: Run, side: str) -> str:
    """SQL for all rows of a file as p0, p1, …; empty cells are NULL."""
    source = run.sides[side].source
    items = ", ".join(f"c{getattr(pair, side)} AS p{i}" for i, pair in enumerate(run.plan.pairs))
    return f"SELECT {items} FROM ({_table(run, side, len(source.columns))})"


def _table(run: Run, side: str, width: int) -> str:
    each = run.sides[side]
    if each.records is None:
        return parquet_select(run.sql.bind(str(each.source.path)), width)
    if not each.rows:
        return "SELECT " + ", ".join(f"CAST(NULL AS VARCHAR) AS c{i}" for i in range(width)) + " WHERE FALSE"
    return _csv(run, side, each.records.path, each.records)


def _csv(run: Run, side: str, path: Path, records: Records) -> str:
    source, bind = run.sides[side].source, run.sql.bind
    columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(source.columns)))
    quote = bind(source.dialect.quote)
    dialect = f"delim = {bind(source.dialect.delimiter)}, quote = {quote}, escape = {quote}"
    return f"SELECT * FROM read_csv({bind(str(path))}, {dialect}, columns = {{{columns}}}, {_fixed(records)})"


def lines(run: Run, side: str) -> str:
    """SQL for the lines of a file as one column `line`; an empty line is NULL."""
    records = run.sides[side].records
    assert records is not None
    path = run.sql.bind(str(records.path))
    return f"SELECT line FROM read_csv({path}, {WHOLE_LINE}, strict_mode = false, columns = {{'line': 'VARCHAR'}}, {_fixed(records)})"


def _fixed(records: Records) -> str:
    """What DuckDB would otherwise find out itself, and could get wrong."""
    new_line = "\\r\\n" if records.line_end == "\r\n" else "\\n"
    longest = max(LINE_BYTES, records.longest + 1024)
    return (
        f"auto_detect = false, header = false, skip = {records.skip_lines}, new_line = '{new_line}', nullstr = '',"
        f" max_line_size = {longest}, buffer_size = {max(BUFFER_BYTES, longest * 4)}"
    )


def cut_lines(run: Run, side: str, lines: str) -> str:
    """SQL that cuts lines, given as SQL, into cells p0, p1, …"""
    each = run.sides[side]
    assert each.records is not None
    wanted = [(i, getattr(pair, side)) for i, pair in enumerate(run.plan.pairs)]
    if each.records.quoted:
        written = _written(run, side, lines)
        table = _csv(run, side, written, replace(each.records, skip_lines=0, line_end="\n"))
        return f"SELECT {', '.join(f'c{at} AS p{i}' for i, at in wanted)} FROM ({table})"
    items = ", ".join(f"nullif(cut[{at + 1}], '') AS p{i}" for i, at in wanted)
    delimiter = run.sql.bind(each.source.dialect.delimiter)
    return f"SELECT {items} FROM (SELECT string_split(coalesce(line, ''), {delimiter}) AS cut FROM ({lines}))"


def _written(run: Run, side: str, lines: str) -> Path:
    """The lines as a file, to be read again with quotes."""
    file = run.work / f"{side}.left.csv"
    empty = run.sql.bind(run.sides[side].source.dialect.quote * 2)
    options = f"FORMAT csv, HEADER false, {WHOLE_LINE.replace('delim =', 'DELIMITER').replace('=', '')}"
    run.execute(f"COPY (SELECT coalesce(line, {empty}) FROM ({lines})) TO {run.sql.bind(str(file))} ({options})")
    return file
