"""Files as SQL: their cells under positional names."""

from __future__ import annotations

from diffing.engines.run import Run, Side
from diffing.records import Records
from diffing.sources import parquet_select

LINE_BYTES = 1 << 21
BUFFER_BYTES = 1 << 25


def cells(run: Run, side: str) -> str:
    """SQL for the rows of a file (those that are left of it) as p0, p1, …; empty cells are NULL."""
    each = run.sides[side]
    records = each.left or each.records
    width = len(each.source.columns)
    items = ", ".join(f"c{getattr(pair, side)} AS p{i}" for i, pair in enumerate(run.plan.pairs))
    if records is None:
        table = parquet_select(run.sql.bind(str(each.source.path)), width)
    elif not records.rows:
        table = "SELECT " + ", ".join(f"CAST(NULL AS VARCHAR) AS c{i}" for i in range(width)) + " WHERE FALSE"
    else:
        table = _csv(run, each, records)
    return f"SELECT {items} FROM ({table})"


def _csv(run: Run, each: Side, records: Records) -> str:
    bind, dialect = run.sql.bind, each.source.dialect
    columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(each.source.columns)))
    quote = bind(dialect.quote)
    spelling = f"delim = {bind(dialect.delimiter)}, quote = {quote}, escape = {quote}"
    return f"SELECT * FROM read_csv({bind(str(records.path))}, {spelling}, columns = {{{columns}}}, {_fixed(records)})"


def _fixed(records: Records) -> str:
    """What DuckDB would otherwise find out itself, and could get wrong."""
    new_line = "\\r\\n" if records.line_end == "\r\n" else "\\n"
    longest = max(LINE_BYTES, records.longest + 1024)
    return (
        f"auto_detect = false, header = false, skip = {records.skip_lines}, new_line = '{new_line}', nullstr = '',"
        f" max_line_size = {longest}, buffer_size = {max(BUFFER_BYTES, longest * 4)}"
    )
