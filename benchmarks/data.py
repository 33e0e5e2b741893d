"""A table of orders and an edit of it: 1% changed, 0.5% added, 0.5% removed, shuffled or not."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

FOLDER = Path(__file__).parent / "data"

ORDERS = """
CREATE TABLE orders AS SELECT
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
NEW = """
SELECT id, customer, date,
  CASE WHEN id * 2654435761 % 1000 < 10 THEN printf('%.2f', CAST(price AS DOUBLE) + 1) ELSE price END AS price,
  qty, status, country, note, ref
FROM orders WHERE id * 40503 % 1000 >= 5
UNION ALL SELECT id + {rows}, customer, date, price, qty, status, country, note, ref FROM orders WHERE id * 69069 % 1000 < 5
"""
ORDERED = {"shuffled": "id * 2654435761 % 4294967296, id", "in_order": "id"}


def orders(rows: int, order: str = "shuffled") -> tuple[Path, Path]:
    """The old and the new file with about so many rows of 9 columns; made once."""
    FOLDER.mkdir(exist_ok=True)
    old, new = FOLDER / f"orders_{rows}_old.csv", FOLDER / f"orders_{rows}_{order}_new.csv"
    if not (old.exists() and new.exists()):
        with duckdb.connect() as con:
            con.execute(ORDERS.format(rows=rows))
            _write(con, "SELECT * FROM orders ORDER BY id", old)
            _write(con, f"SELECT * FROM ({NEW.format(rows=rows)}) ORDER BY {ORDERED[order]}", new)
    return old, new


def _write(con: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    part = path.with_suffix(".part")
    con.execute(f"COPY ({query}) TO '{part}' (FORMAT csv, HEADER true)")
    os.replace(part, path)
