"""python -m benchmarks.run [ROWS]: how long comparisons take, as ratios to only reading the files."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.data import orders
from benchmarks.measure import Measured, measure
from diffing.demo import ensure_demo

DEMO = Path(__file__).parent.parent / "data" / "demo"
KEYS = {
    "revenue": "date,segment_field,segment_value_id,stat",
    "c_revenue": "cohort,cohort_id,month_nth,segment_field,segment_value_id,stat",
}


def line(what: str, found: Measured, base: Measured) -> None:
    print(f"{what:<44} {found.seconds:>7.2f} s {found.seconds / base.seconds:>6.2f} R {found.megabytes:>7.0f} MB", flush=True)


def diff(old: Path, new: Path, key: str) -> list[str]:
    return ["-m", "diffing", str(old), str(new), "--key", key, "--json"]


def other(way: str, old: Path, new: Path, key: str) -> list[str]:
    return ["-m", "benchmarks.others", way, str(old), str(new), key]


def main() -> None:
    """All benchmarks, one line each; R is reading both files as text with DuckDB."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    for order in ("shuffled", "in_order"):
        old, new = orders(rows, order)
        base = measure(other("read", old, new, "id"))
        line(f"{rows:,} orders, {order}: only reading (R)", base, base)
        line("  this tool", measure(diff(old, new, "id")), base)
        line("  full outer join of the parsed files", measure(other("join", old, new, "id")), base)
    ensure_demo(DEMO)
    for metric, key in KEYS.items():
        old, new = DEMO / f"{metric}_old.csv", DEMO / f"{metric}_new.csv"
        base = measure(other("read", old, new, key))
        line(f"{metric}: only reading (R)", base, base)
        line("  this tool", measure(diff(old, new, key)), base)
        line("  pandas merge and apply", measure(other("merge", old, new, key), runs=1), base)


if __name__ == "__main__":
    main()
