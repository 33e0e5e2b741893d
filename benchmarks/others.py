"""Other ways to compare two files, each a whole process: python benchmarks/others.py WAY OLD NEW KEY [OUT]."""

from __future__ import annotations

import math
import sys


def read(old: str, new: str, key: str) -> None:
    """DuckDB only reading both files as text: the hash of every row."""
    import duckdb

    for path in (old, new):
        duckdb.sql(f"SELECT count(*), bit_xor(hash(COLUMNS(*))) FROM read_csv('{path}', all_varchar = true)").fetchall()


def join(old: str, new: str, key: str, out: str = "/dev/null") -> None:
    """DuckDB joining both parsed files on the key, writing the rows that differ as this tool does, in order, with changes of numbers."""
    import duckdb

    con = duckdb.connect()
    con.execute("SET enable_progress_bar = false")
    for name, path in (("o", old), ("n", new)):
        con.execute(f"CREATE VIEW {name} AS SELECT * FROM read_csv('{path}', all_varchar = true)")
    names = [each[0] for each in con.execute("DESCRIBE o").fetchall()]
    keys = key.split(",")
    on = " AND ".join(f'o."{k}" IS NOT DISTINCT FROM n."{k}"' for k in keys)
    cells = [name for name in names if name not in keys]
    differs = " OR ".join(f'o."{name}" IS DISTINCT FROM n."{name}"' for name in cells)
    typed = {name: kind for name, kind, *_ in con.execute(f"DESCRIBE SELECT * FROM read_csv('{old}')").fetchall()}
    numbers = {name for name, kind in typed.items() if kind in ("BIGINT", "DOUBLE")}
    key_items = [f'coalesce(o."{k}", n."{k}") AS "{k}"' for k in keys]
    cell_items = [f'o."{name}" AS "{name}_old", n."{name}" AS "{name}_new"' + (_change(name) if name in numbers else "") for name in cells]
    lost, come = (f'{side}."{keys[-1]}" IS NULL' for side in "no")
    change = f"CASE WHEN {come} THEN 'added' WHEN {lost} THEN 'removed' ELSE 'changed' END AS change"
    order = ", ".join(f"TRY_CAST({i} AS BIGINT)" if k in numbers else i for k, i in ((k, f'coalesce(o."{k}", n."{k}")') for k in keys))
    query = f"SELECT {', '.join([change, *key_items, *cell_items])} FROM o FULL JOIN n ON {on} WHERE {lost} OR {come} OR {differs}"
    query += f" ORDER BY {order}"
    con.execute(f"COPY ({query}) TO '{out}' (FORMAT csv)")


def _change(name: str) -> str:
    """new − old as a decimal; a missing row counts as nothing."""
    new, old = (f'coalesce(TRY_CAST({side}."{name}" AS DECIMAL(38,18)), 0)' for side in "no")
    return f""", rtrim(rtrim(CAST({new} - {old} AS VARCHAR), '0'), '.') AS "{name}_change\""""


def merge(old: str, new: str, key: str) -> None:
    """pandas merge and a row-wise apply of math.isclose to `value`: what many scripts do."""
    import pandas as pd

    keys = key.split(",")
    before, after = (pd.read_csv(path, dtype=dict.fromkeys(keys, str)) for path in (old, new))
    both = after.merge(before, how="outer", on=keys, suffixes=("_new", "_old"))
    differs = both.apply(lambda row: not math.isclose(row["value_new"], row["value_old"]), axis=1)
    both[differs].to_csv("/dev/null")


def datacompy(old: str, new: str, key: str) -> None:
    import polars as pl
    from datacompy import PolarsCompare

    print(PolarsCompare(pl.read_csv(old), pl.read_csv(new), key.split(",")).report())


def diffly(old: str, new: str, key: str) -> None:
    import polars as pl
    from diffly import compare_frames

    print(compare_frames(pl.read_csv(old), pl.read_csv(new), primary_key=key.split(",")).summary())


def csv_diff(old: str, new: str, key: str) -> None:
    from csv_diff import compare, load_csv

    with open(old) as a, open(new) as b:
        print(len(compare(load_csv(a, key=key), load_csv(b, key=key))["changed"]))


def duckdiff(old: str, new: str, key: str) -> None:
    """It counts, and writes no rows."""
    from duckdiff.cli import main

    sys.argv = ["duckdiff", "compare", f"old={old}", f"new={new}", "--key", key]
    main()


WAYS = {each.__name__: each for each in (read, join, merge, datacompy, diffly, csv_diff, duckdiff)}

if __name__ == "__main__":
    WAYS[sys.argv[1]](*sys.argv[2:])
