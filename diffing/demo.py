"""Data for the two demo metrics: an old and a new file of each, with differences that are planned.

The same sizes give the same bytes on every machine: cells come from row numbers by arithmetic that
is exact, or defined to the last bit (IEEE 754); no random generator and no library's hash is asked.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from math import ceil, gcd
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from diffing.errors import MetricError
from diffing.locked import connected

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

REVENUE_ROWS = 400_000
C_REVENUE_ROWS = 2_000_000

PLANNED_FILE = "planned.json"
FILES = ("revenue_old.csv", "revenue_new.csv", "c_revenue_old.csv", "c_revenue_new.csv", PLANNED_FILE)

SEGMENT_COLUMNS = ("segment_field", "segment_name", "segment_value", "segment_value_id")
PROVINCES = (
    "Western Australia", "New South Wales", "Victoria", "Queensland", "Tasmania", "São Paulo", "Rio de Janeiro",
    "Ceará", "Paraná", "東京都", "大阪府", "北海道", "Île-de-France", "Provence-Alpes-Côte d'Azur", "Bretagne",
    "Bayern", "Thüringen", "Baden-Württemberg", "Québec", "Ontario", "Nuevo León", "Malmöhus län", "Łódzkie",
    "Московская область", "Αττική", "İstanbul", "القاهرة", "서울특별시",
)  # fmt: skip
COUNTRIES = (
    "Australia", "Brasil", "日本", "France", "Deutschland", "Canada", "México", "Sverige", "Polska", "Россия",
    "Ελλάδα", "Türkiye", "مصر", "대한민국", "Österreich", "Côte d'Ivoire", "Congo, Democratic Republic", "New Zealand",
)  # fmt: skip
CHANNELS = (("7", "Web shop"), ("007", "Agent shop"), ("0050E4", "Market place"), ("00E091", "Affiliates"))
"""Ids of which two would be one if they were read as numbers."""
GOODS = ("Espresso cup", "Teapot", 'Plate 12"', "Tray, oak", "Crème brûlée dish", "湯呑み", "Carafe", "Linen napkin")
LAST_PRODUCT = 1_234_567_890_123_456_789
"""Products are numbered downwards from here; as doubles most of these numbers would be one."""
LEAST_SEGMENTS = 122

WEEKDAYS = (1.0, 0.96, 0.98, 1.02, 1.15, 1.3, 1.2)
"""From Monday."""
ADDED_EVERY = 400
"""Old rows for each added row."""

Cells = dict[str, str | float | None]
"""A point in time or a segment: its cells in the CSV file, by column, and numbers by name.

A time has a `size` (orders or customers of the whole), a `worth` (of each of them, as a multiple of
the price) and says whether it is `late` (not final in the old file, so that many rows change); a
segment has a `weight` (its share of the size) and a `price` (cents). Times of one `luck` are alike.
"""

MACROS = """
CREATE MACRO spread(n) AS n * 2654435761 % 2147483648;
CREATE MACRO dice(n) AS spread(xor(spread(n), spread(n) >> 15));
CREATE MACRO share(n) AS n / 2147483648e0;
CREATE MACRO moved(n, thousandths) AS n + sign(thousandths) * (1 + n * abs(thousandths) // 1000);
"""
"""`dice`: a number below 2^31 that looks like chance, for a row number below 2^31; `share` is it between 0 and 1."""

PAIRS = """
CREATE OR REPLACE TEMP TABLE pairs AS
WITH placed AS (
    SELECT n, n // $segments * $last_time // greatest($used - 1, 1) AS nth_time, n % $segments AS nth_segment
    FROM range($used * $segments) AS t(n)
), lucky AS (
    SELECT placed.n, times.* EXCLUDE (n, luck), segments.* EXCLUDE (n, luck),
        dice(times.luck * 1000003 + segments.luck) AS luck
    FROM placed JOIN times ON times.n = nth_time JOIN segments ON segments.n = nth_segment
), counted AS (
    SELECT *, 1 + floor(size * weight * (0.85e0 + 0.3e0 * share(luck)))::BIGINT AS count FROM lucky
)
SELECT * EXCLUDE (size, weight, luck, price, worth),
    floor(count * price * worth * (0.9e0 + 0.2e0 * share(dice(luck))))::BIGINT AS cents
FROM counted ORDER BY n * $step % ($used * $segments)
"""
"""Times by segments with what was counted and paid there, in the order of `step`."""

ROWS = f"""
WITH numbered AS (
    SELECT *, n * 3 + stat AS i FROM (SELECT *, unnest([0, 1, 2]) AS stat FROM pairs)
), valued AS (
    SELECT *, CASE stat WHEN 0 THEN cents / 100e0 WHEN 1 THEN count ELSE cents / 100e0 / count END AS value,
        dice(i + 1) AS dice
    FROM numbered WHERE i < $size
), drawn AS (
    SELECT *, dice * 100000 // 2147483648 AS lot,
        CASE WHEN dice % 4 = 0 THEN -1 ELSE 1 END * (1 + dice // 4 % 200) AS drift
    FROM valued
), nudged AS (
    SELECT *, value * (1 + drift * 5e-13) AS near, value <> trunc(value) AS has_fraction FROM drawn
), fated AS (
    SELECT *, CASE
        WHEN i % {ADDED_EVERY + 1} = {ADDED_EVERY} THEN 'added'
        WHEN lot < 200 THEN 'removed'
        WHEN lot < 200 + CASE WHEN late THEN 2300 ELSE 300 END THEN 'changed'
        WHEN lot BETWEEN 10000 AND 10099 THEN 'respelled'
        WHEN lot >= 85000 AND has_fraction AND near <> value AND abs(near - value) < 2e-10 * value THEN 'nudged'
        ELSE 'identical' END AS fate
    FROM nudged
), spelled AS (
    SELECT *, CASE WHEN stat = 1 THEN count::VARCHAR ELSE value::VARCHAR END AS old_text FROM fated
), rows AS (
    SELECT *, CASE fate
        WHEN 'changed' THEN CASE stat
            WHEN 0 THEN (moved(cents, drift) / 100e0)::VARCHAR
            WHEN 1 THEN moved(count, drift)::VARCHAR
            ELSE (value * (1 + drift / 1000e0))::VARCHAR END
        WHEN 'nudged' THEN near::VARCHAR
        WHEN 'respelled' THEN old_text || CASE WHEN stat = 1 THEN '.0' ELSE '0' END
        ELSE old_text END AS new_text
    FROM spelled
)
"""
"""Every row of either file with its fate and its value as text: three stats for each pair, numbered by `i`.

The dice draw a lot (of 100,000) and a drift: by so many thousandths a changed value moves, by so
many halves of 1e-12 a nudged one. Only values with a fraction are nudged: about 10% of all.
"""


@dataclass(frozen=True, slots=True)
class Planned:
    """What a comparison of the two files of a metric finds under the default rules. All are counts."""

    old_rows: int
    new_rows: int
    added: int
    removed: int
    changed: int
    unchanged: int
    noise_cells: int
    """Cells of unchanged rows whose text differs and counts as the same."""
    respelled_cells: int
    """Those of them that are the same number exactly, as 312241.31 and 312241.310; the rest is within 1e-9."""
    old_null_keys: int
    """Rows of the whole old file with an empty key cell."""
    new_null_keys: int


@dataclass(frozen=True)
class _Demo:
    """A metric before anything is changed: its rows are all times by all segments by three stats."""

    id: str
    columns: tuple[str, ...]
    """Of the CSV files."""
    stats: tuple[str, str, str]
    """What the amount, the count and the amount per count are called."""
    times: list[Cells]
    null_key: str
    """SQL: whether a key cell is empty."""


def write_demo(folder: Path, *, revenue_rows: int = REVENUE_ROWS, c_revenue_rows: int = C_REVENUE_ROWS) -> dict[str, Planned]:
    """Write `<metric>_old.csv` and `<metric>_new.csv` of both metrics, and `planned.json` about them.

    Sizes are rows of the old files, 1 or more. A file appears when it is complete, `planned.json` last.

    Raises:
        MetricError: a size below 1, or files that can't be written.
    """
    if min(revenue_rows, c_revenue_rows) < 1:
        raise MetricError("The demo data need at least one row.", "Ask for 1 row or more of each metric.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".", suffix=".part") as draft:
            planned = _write_all(Path(draft), [(_revenue(), revenue_rows), (_c_revenue(), c_revenue_rows)])
            for name in FILES:
                os.replace(Path(draft, name), folder / name)
    except OSError as error:
        hint = "Check that the folder may be written and that the disk has room."
        raise MetricError(f"The demo data can't be written: {error.strerror or error}.", hint) from error
    return planned


def ensure_demo(folder: Path, *, revenue_rows: int = REVENUE_ROWS, c_revenue_rows: int = C_REVENUE_ROWS) -> dict[str, Planned]:
    """What is planned in the demo data of a folder; they are written first if any file is missing.

    Data of other sizes stay as they are.
    """
    if all((folder / name).is_file() for name in FILES):
        return _read_planned(folder)
    return write_demo(folder, revenue_rows=revenue_rows, c_revenue_rows=c_revenue_rows)


def _read_planned(folder: Path) -> dict[str, Planned]:
    try:
        counts = json.loads((folder / PLANNED_FILE).read_text(encoding="utf-8"))
        return {id_: Planned(**each) for id_, each in counts.items()}
    except (ValueError, TypeError, AttributeError) as error:
        hint = "Delete it; the demo data are then written anew."
        raise MetricError(f"{PLANNED_FILE} of the demo data can't be read.", hint) from error


def _revenue() -> _Demo:
    """Three years of days, with weekdays, a season before the end of the year, and growth."""
    days = [date(2017, 7, 1) + timedelta(days=n) for n in range(3 * 365 + 1)]
    sizes = [900 * (1 + n / 1500) * _season(day) * WEEKDAYS[day.weekday()] for n, day in enumerate(days)]
    return _Demo(
        id="revenue",
        columns=("date", *SEGMENT_COLUMNS, "stat", "value"),
        stats=("revenue", "orders", "aov"),
        times=[
            {"date": str(day), "size": sizes[n], "worth": 1 + n / 9000, "luck": n, "late": n >= len(days) - 110}
            for n, day in enumerate(days)
        ],
        null_key="segment_field IS NULL",
    )


def _c_revenue() -> _Demo:
    """Five years of monthly cohorts, counted in two ways (`cohort_id`), each up to the last month."""
    return _Demo(
        id="c_revenue",
        columns=("cohort", "cohort_id", "month_date", "month_nth", *SEGMENT_COLUMNS, "stat", "value"),
        stats=("c-revenue", "c-customers", "c-revenue-pc"),
        times=[_age(cohort, id_, nth) for cohort in range(60) for id_ in (15, 16) for nth in range(60 - cohort)],
        null_key="segment_field IS NULL OR month_nth IS NULL",
    )


def _age(cohort: int, id_: int, nth: int) -> Cells:
    """A cohort some months after its own: as many customers as ever, who have brought more."""
    first, month = (date(2015 + (n + 6) // 12, (n + 6) % 12 + 1, 1) for n in (cohort, cohort + nth))
    return {
        "cohort": str(first),
        "cohort_id": str(id_),
        "month_date": str(month),
        "month_nth": str(nth) if nth else None,
        "size": 4200 * (1 + cohort / 60) * _season(first) / (id_ - 14),
        "worth": 1 + nth / (nth + 14),
        "luck": 2 * cohort + id_,
        "late": cohort + nth >= 57,
    }


def _season(day: date) -> float:
    return {7: 0.9, 8: 0.9, 11: 1.4, 12: 1.4}.get(day.month, 1.0)


def _segments(count: int) -> list[Cells]:
    """The whole, then provinces, countries and channels, and as many products as it takes."""
    named: list[tuple[str | None, ...]] = [(None, None, None, None)]
    named += [("shipping_province", "states", name, name) for name in PROVINCES]
    named += [("shipping_country", "countries", name, name) for name in COUNTRIES]
    named += [("sales_channel", "channels", name, id_) for id_, name in CHANNELS]
    goods = [f"{GOODS[n % len(GOODS)]}, no. {n}" for n in range(count - len(named))]
    named += [("product_id", "products", name, str(LAST_PRODUCT - n)) for n, name in enumerate(goods)]
    return [_segment(n, cells) for n, cells in enumerate(named)]


def _segment(n: int, cells: Sequence[str | None]) -> Cells:
    weight = (3 + n * 37 % 97) / 1000 if n else 1.0
    return dict(zip(SEGMENT_COLUMNS, cells, strict=True)) | {
        "luck": n,
        "weight": weight,
        "price": 6000 + n * 53 % 41 * 100,
    }


def _write_all(folder: Path, demos: Sequence[tuple[_Demo, int]]) -> dict[str, Planned]:
    import duckdb  # takes a while, and is needed to write only

    try:
        with connected(folders=[folder]) as con:
            con.execute(MACROS)
            planned = {demo.id: _write(con, folder, demo, rows) for demo, rows in demos}
    except duckdb.Error as error:
        raise MetricError("The demo data can't be written.", "Check that the disk has room.") from error
    counts = {id_: asdict(each) for id_, each in planned.items()}
    (folder / PLANNED_FILE).write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8", newline="\n")
    return planned


def _write(con: DuckDBPyConnection, folder: Path, demo: _Demo, rows: int) -> Planned:
    """Write both files of a metric. When the rows are few, few of the times are used, from first to last."""
    size = rows + rows // ADDED_EVERY
    segments = max(LEAST_SEGMENTS, ceil(size / (3 * len(demo.times))))
    used = ceil(size / (3 * segments))
    _keep(con, "times", demo.times)
    _keep(con, "segments", _segments(segments))
    for side, absent, step in (("old", "added", 1), ("new", "removed", _step(used * segments))):
        con.execute(PAIRS, {"last_time": len(demo.times) - 1, "used": used, "segments": segments, "step": step})
        query = f"{ROWS} SELECT {_cells(demo, side)} FROM rows WHERE fate <> '{absent}'"
        said = {"size": size, "stats": demo.stats, "file": str(folder / f"{demo.id}_{side}.csv")}
        con.execute(f"COPY ({query}) TO $file (FORMAT csv, HEADER true, DELIMITER ',', QUOTE '\"')", said)
    return _count(con, demo, size)


def _keep(con: DuckDBPyConnection, table: str, cells: list[Cells]) -> None:
    """Make a table of times or segments, numbered by `n` from 0."""
    query = "SELECT each.*, nth - 1 AS n FROM (SELECT unnest($cells) AS each, generate_subscripts($cells, 1) AS nth)"
    con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {query}", {"cells": cells})


def _cells(demo: _Demo, side: str) -> str:
    """SQL for the columns of a file."""
    made = {"stat": "$stats[stat + 1] AS stat", "value": f"{side}_text AS value"}
    return ", ".join(made.get(column, column) for column in demo.columns)


def _step(size: int) -> int:
    """A step that visits every number below `size` once before it comes back, far from one to the next."""
    return next(n for n in range(size * 5 // 8, 2 * size + 1) if gcd(n, size) == 1)


def _count(con: DuckDBPyConnection, demo: _Demo, size: int) -> Planned:
    query = f"{ROWS} SELECT fate, count(*), count(*) FILTER ({demo.null_key}) FROM rows GROUP BY fate"
    found = con.execute(query, {"size": size}).fetchall()
    rows = Counter({fate: n for fate, n, _ in found})
    nulls = Counter({fate: n for fate, _, n in found})
    return Planned(
        old_rows=rows.total() - rows["added"],
        new_rows=rows.total() - rows["removed"],
        added=rows["added"],
        removed=rows["removed"],
        changed=rows["changed"],
        unchanged=rows["identical"] + rows["nudged"] + rows["respelled"],
        noise_cells=rows["nudged"] + rows["respelled"],
        respelled_cells=rows["respelled"],
        old_null_keys=nulls.total() - nulls["added"],
        new_null_keys=nulls.total() - nulls["removed"],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: write the demo data and say what is planned in them."""
    parser = argparse.ArgumentParser(prog="python -m diffing.demo", description="Write the data of the demo metrics.")
    parser.add_argument("--folder", type=Path, default=Path("data/demo"), help="where to (default: %(default)s)")
    parser.add_argument("--missing", action="store_true", help="only if it is not there yet")
    parser.add_argument("--revenue-rows", type=int, default=REVENUE_ROWS, help="rows of the old file (%(default)s)")
    parser.add_argument("--c-revenue-rows", type=int, default=C_REVENUE_ROWS, help="likewise (%(default)s)")
    asked = parser.parse_args(arguments)
    try:
        if asked.missing:
            ensure_demo(asked.folder)
            return 0
        planned = write_demo(asked.folder, revenue_rows=asked.revenue_rows, c_revenue_rows=asked.c_revenue_rows)
    except MetricError as error:
        parser.exit(1, f"{error.message} {error.hint}\n")
    for id_, each in planned.items():
        print(
            f"{id_}: {each.old_rows:,} old and {each.new_rows:,} new rows, {each.added:,} added, "
            f"{each.removed:,} removed, {each.changed:,} changed"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
