"""A table of orders, and edits of it: each a pair of files with about so many rows of 9 columns."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

FOLDER = Path(__file__).parent / "data"

OLD = """
SELECT
  10000000 + i AS id,
  'cust' || (i * 7919 % 50021) AS customer,
  CAST(DATE '2020-01-01' + CAST(i * 31 % 1500 AS INTEGER) AS VARCHAR) AS date,
  printf('%.2f', (i * 104729 % 100003) / 100.0) AS price,
  i * 13 % 100 AS qty,
  ['open', 'paid', 'shipped', 'void'][CAST(1 + i * 17 % 4 AS INTEGER)] AS status,
  ['US', 'DE', 'FR', 'JP', 'BR'][CAST(1 + i * 19 % 5 AS INTEGER)] AS country,
  'note ' || (i * 15485863 % 1000003) AS note,
  i * 32452843 % 1000033 AS ref
FROM range({rows}) AS r(i)
"""
SHUFFLED = "hash(id), id"
EDITED = """
SELECT * REPLACE (CASE WHEN hash(id) % 1000 < {changed} THEN printf('%.2f', CAST(price AS DOUBLE) + 1) ELSE price END AS price)
FROM old WHERE hash(id + 1) % 1000 >= {one_sided}
UNION ALL SELECT * REPLACE (id + {rows} AS id) FROM old WHERE hash(id + 2) % 1000 < {one_sided}
"""
ONE_PERCENT = EDITED.replace("{changed}", "10").replace("{one_sided}", "5")
NEW = {
    "shuffled": (ONE_PERCENT, SHUFFLED),
    "in order": (ONE_PERCENT, "id"),
    "same bytes": ("FROM old", "id"),
    "appended": ("FROM old UNION ALL SELECT * REPLACE (id + {rows} AS id) FROM old WHERE id % 100 = 0", "id"),
    "0.1% changed": (EDITED.replace("{changed}", "1").replace("{one_sided}", "0"), "id"),
    "other column order": (f"SELECT id, ref, note, country, status, qty, price, date, customer FROM ({ONE_PERCENT})", SHUFFLED),
    "column added": (f"SELECT *, hash(id) % 7 AS channel FROM ({ONE_PERCENT})", SHUFFLED),
    "ignored column": (f"SELECT * REPLACE (hash(ref) AS ref) FROM ({ONE_PERCENT})", SHUFFLED),
    "float noise": ("SELECT * REPLACE (price || '000000000' || (1 + id % 9) AS price) FROM old", SHUFFLED),
    "50% changed": (EDITED.replace("{changed}", "500").replace("{one_sided}", "0"), SHUFFLED),
    "all changed": (EDITED.replace("{changed}", "1000").replace("{one_sided}", "0"), SHUFFLED),
    "all added": ("FROM old", "id"),
}
"""Kinds of edits: the new file as SQL, and its order."""


def orders(rows: int, kind: str = "shuffled") -> tuple[Path, Path]:
    """The old and the new file; made once."""
    FOLDER.mkdir(exist_ok=True)
    old = FOLDER / f"orders_{0 if kind == 'all added' else rows}_old.csv"
    new = FOLDER / f"orders_{rows}_{kind.replace(' ', '_').replace('%', '')}_new.csv"
    if not (old.exists() and new.exists()):
        with duckdb.connect() as con:
            con.execute(f"CREATE TABLE old AS {OLD.format(rows=rows)}")
            _write(con, "SELECT * FROM old WHERE FALSE" if kind == "all added" else "SELECT * FROM old ORDER BY id", old)
            query, order = NEW[kind]
            _write(con, f"SELECT * FROM ({query.format(rows=rows)}) ORDER BY {order}", new)
    return old, new


def _write(con: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    part = path.with_suffix(".part")
    con.execute(f"COPY ({query}) TO '{part}' (FORMAT csv, HEADER true)")
    os.replace(part, path)
