"""Other ways to compare two files, each a whole process: python -m benchmarks.others WAY OLD NEW KEY."""

from __future__ import annotations

import math
import sys


def read(old: str, new: str, key: str) -> None:
    """DuckDB only reading both files as text: the hash of every row."""
    import duckdb

    for path in (old, new):
        duckdb.sql(f"SELECT count(*), bit_xor(hash(COLUMNS(*))) FROM read_csv('{path}', all_varchar = true)").fetchall()


def join(old: str, new: str, key: str) -> None:
    """DuckDB joining both parsed files on the key and counting what differs."""
    import duckdb

    con = duckdb.connect()
    for name, path in (("o", old), ("n", new)):
        con.execute(f"CREATE VIEW {name} AS SELECT * FROM read_csv('{path}', all_varchar = true)")
    names = [each[0] for each in con.execute("DESCRIBE o").fetchall()]
    on = " AND ".join(f'o."{k}" IS NOT DISTINCT FROM n."{k}"' for k in key.split(","))
    differs = " OR ".join(f'o."{name}" IS DISTINCT FROM n."{name}"' for name in names)
    con.execute(f"SELECT count(*) FROM o FULL JOIN n ON {on} WHERE {differs}").fetchall()


def merge(old: str, new: str, key: str) -> None:
    """pandas merge and a row-wise apply of math.isclose to `value`: what many scripts do."""
    import pandas as pd

    keys = key.split(",")
    before, after = (pd.read_csv(path, dtype=dict.fromkeys(keys, str)) for path in (old, new))
    both = after.merge(before, how="outer", on=keys, suffixes=("_new", "_old"))
    differs = both.apply(lambda row: not math.isclose(row["value_new"], row["value_old"]), axis=1)
    both[differs].to_csv("/dev/null")


WAYS = {"read": read, "join": join, "merge": merge}

if __name__ == "__main__":
    WAYS[sys.argv[1]](*sys.argv[2:5])
