"""python -m benchmarks.scale [ROWS …]: whether cost grows with the rows alone, what is wide, repeated or large, as tables and a chart.

Rows per second are those of both files, by the comparison's own clock, so without the start of Python.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.data import FOLDER, orders
from benchmarks.measure import ENVIRONMENT

CHART = Path(__file__).parents[1] / "docs" / "speed.svg"
LIMIT = "1GB"


@dataclass(frozen=True)
class Run:
    """One comparison, as a whole process."""

    seconds: float
    """By its own clock."""
    whole: float
    """The whole process."""
    megabytes: float
    """Peak resident memory."""
    summary: Mapping[str, Any]


def compared(old: Path, new: Path, *options: str, runs: int = 1) -> Run:
    """The median run."""
    found = sorted((_once(old, new, *options) for _ in range(runs)), key=lambda each: each.seconds)
    return found[len(found) // 2]


def _once(old: Path, new: Path, *options: str) -> Run:
    command = [sys.executable, "-m", "diffing", str(old), str(new), "--json", *options]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT)
    assert process.stdout
    said = process.stdout.read()
    peak = _wait(process)
    summary = json.loads(said)
    return Run(float(summary["seconds"]), time.perf_counter() - started, peak, summary)


def _wait(process: subprocess.Popen[bytes]) -> float:
    """Megabytes that a process took at most."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"failed: {process.args}")
    return usage.ru_maxrss / 1024


# --- rows ------------------------------------------------------------------------------------------


def growth(sizes: Sequence[int], runs: int) -> Iterator[tuple[int, float, Run]]:
    """Rows of both files, rows per second, and the run, for files of each size."""
    for rows in sizes:
        run = compared(*orders(rows, "shuffled"), "--key", "id", runs=runs)
        both = run.summary["old_rows"] + run.summary["new_rows"]
        yield both, both / run.seconds, run


def draw(points: Sequence[tuple[int, float]]) -> str:
    """Rows per second over rows, as an SVG: bars whose height would be the same if cost grew with the rows alone."""
    wide, high, left, low = 640, 300, 70, 50
    top = max(speed for _, speed in points) * 1.15
    step = (wide - left - 20) / len(points)

    def y(speed: float) -> float:
        return high - low - speed / top * (high - low - 20)

    bars = "".join(
        f'<rect x="{left + i * step + step * 0.2:.0f}" y="{y(speed):.0f}" width="{step * 0.6:.0f}" height="{high - low - y(speed):.0f}"'
        f' fill="#0072B2"/><text x="{left + (i + 0.5) * step:.0f}" y="{y(speed) - 6:.0f}">{speed / 1e6:.2f} M</text>'
        f'<text x="{left + (i + 0.5) * step:.0f}" y="{high - low + 20}">{rows / 1e6:g} M rows</text>'
        for i, (rows, speed) in enumerate(points)
    )
    mean = y(statistics.mean(speed for _, speed in points))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="13"'
        ' text-anchor="middle" fill="#555" role="img" aria-label="Rows compared per second, by rows of both files">'
        f'{bars}<line x1="{left}" x2="{wide - 20}" y1="{mean:.0f}" y2="{mean:.0f}" stroke="#888" stroke-dasharray="4 4"/>'
        f'<line x1="{left}" x2="{wide - 20}" y1="{high - low}" y2="{high - low}" stroke="#888"/>'
        f'<text x="{(wide + left) / 2:.0f}" y="{high - 8}">rows of both files · rows compared per second, mean dashed</text></svg>\n'
    )


# --- other shapes ----------------------------------------------------------------------------------


def _written(name: str, old: str, new: str) -> tuple[Path, Path]:
    """Two files of what two queries answer; made once."""
    FOLDER.mkdir(exist_ok=True)
    files = tuple(FOLDER / f"{name}_{side}.csv" for side in ("old", "new"))
    for file, query in zip(files, (old, new), strict=True):
        if not file.exists():
            with duckdb.connect() as con:
                con.execute(f"COPY ({query}) TO '{file}' (FORMAT csv, HEADER true)")
    return files[0], files[1]


def wide(rows: int, columns: int) -> tuple[Path, Path]:
    """A key and columns of numbers, of which one changed in every hundredth row."""
    cells = ", ".join(f"(i * {7 + k} + {k}) % 10007 AS v{k}" for k in range(1, columns))
    old = f"SELECT i AS id, {cells} FROM range({rows}) AS r(i)"
    return _written(f"wide_{rows}_{columns}", old, f"SELECT * REPLACE (v1 + CAST(id % 100 = 0 AS INT) AS v1) FROM ({old})")


def identical(rows: int) -> tuple[Path, Path]:
    """A file of identical lines, and one that has some fewer and some others."""
    line = "SELECT 'a' AS k, 1 AS v, 'the same words' AS note FROM range({})"
    return _written(
        f"identical_{rows}",
        line.format(rows),
        f"{line.format(rows - rows // 100)} UNION ALL SELECT 'b', 2, 'other words' FROM range({rows // 50})",
    )


SHAPES: dict[str, Callable[[], Run]] = {
    "100,000 rows × 500 columns": lambda: compared(*wide(100_000, 500), "--key", "id"),
    "1,000 rows × 2,500 columns": lambda: compared(*wide(1_000, 2_500), "--key", "id"),
    "1,000 rows × 5,000 columns": lambda: compared(*wide(1_000, 5_000), "--key", "id"),
    "1,000 rows × 2,500 columns, no key given, with totals": lambda: compared(*wide(1_000, 2_500), "--totals"),
    "1,000 rows × 5,000 columns, no key given, with totals": lambda: compared(*wide(1_000, 5_000), "--totals"),
    "1,000,000 identical lines, by key": lambda: compared(*identical(1_000_000), "--key", "k"),
    "1,000,000 identical lines, whole rows": lambda: compared(*identical(1_000_000), "--no-key"),
    f"10,000,000 rows, 1% changed, --memory-limit {LIMIT}": lambda: limited(10_000_000, "shuffled"),
    f"30,000,000 rows, all changed, --memory-limit {LIMIT}": lambda: limited(30_000_000, "all changed"),
}


def limited(rows: int, kind: str) -> Run:
    return compared(*orders(rows, kind), "--key", "id", "--memory-limit", LIMIT)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("rows", nargs="*", type=int, default=[1_000_000, 3_000_000, 10_000_000, 30_000_000])
    parser.add_argument("--shapes", nargs="*", metavar="WORD", help="other shapes instead, those with one of these words")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    if given.shapes is not None:
        print("| files | seconds | whole process, s | MB | changed |\n|---|---:|---:|---:|---:|", flush=True)
        for name, measured in SHAPES.items():
            if not given.shapes or any(word in name for word in given.shapes):
                run = measured()
                print(f"| {name} | {run.seconds:.1f} | {run.whole:.1f} | {run.megabytes:,.0f} | {run.summary['changed']:,} |", flush=True)
        return
    points = []
    print("| rows of both files | seconds | rows per second | MB |\n|---:|---:|---:|---:|", flush=True)
    for rows, speed, run in growth(given.rows, given.runs):
        print(f"| {rows:,} | {run.seconds:.2f} | {speed:,.0f} | {run.megabytes:,.0f} |", flush=True)
        points.append((rows, speed))
    CHART.write_text(draw(points))


if __name__ == "__main__":
    main()
