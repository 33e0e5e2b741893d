"""python -m benchmarks.spark pairs|growth [ROWS …]: Apache Spark on this machine beside the embedded engine, and what it moves.

`pairs`: the demo metric c_revenue (2M rows) and the orders of 10M rows × 9 columns, by both engines.
`growth`: what Spark reads, shuffles and spills per million rows, from its own event log.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.data import orders
from benchmarks.run import DEMO, KEYS
from diffing.demo import ensure_demo

MASTER = "local[2]"
GROWTH = (1_000_000, 5_000_000, 20_000_000)


def pairs() -> Iterator[str]:
    ensure_demo(DEMO)
    old, new = orders(10_000_000)
    cases = {
        "c_revenue, 2M rows": (DEMO / "c_revenue_old.csv", DEMO / "c_revenue_new.csv", KEYS["c_revenue"]),
        "orders, 10M × 9, 1% changed, shuffled": (old, new, "id"),
    }
    yield "| pair | DuckDB, s | Spark, s | times as long | DuckDB, MB | Spark, MB |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name, (old, new, key) in cases.items():
        found = {engine: run(old, new, key, "--engine", engine) for engine in ("duckdb", "spark")}
        (duck_s, duck_mb), (spark_s, spark_mb) = found["duckdb"], found["spark"]
        yield f"| {name} | {duck_s:.1f} | {spark_s:.0f} | {spark_s / duck_s:.0f} | {duck_mb:,.0f} | {spark_mb:,.0f} |"


def growth(sizes: Iterable[int]) -> Iterator[str]:
    yield "| rows of each file | s | s of CPU of tasks | rows read | read, MB per M | shuffled, MB per M | spilled, MB per M | peak, MB |"
    yield "|---:|---:|---:|---:|---:|---:|---:|---:|"
    for rows in sizes:
        old, new = orders(rows)
        with tempfile.TemporaryDirectory() as folder:
            log = f"spark.eventLog.enabled=true spark.eventLog.dir=file://{folder} spark.eventLog.rolling.enabled=false"
            seconds, megabytes = run(old, new, "id", "--engine", "spark", settings=f"{log} spark.eventLog.compress=false")
            moved = told(next(Path(folder).iterdir()))
        million = rows / 1e6
        per_million = (moved[name] / 1e6 / million for name in ("read", "shuffled", "spilled"))
        read, shuffled, spilled = (f"{each:,.1f}" for each in per_million)
        used = f"{rows:,} | {seconds:.0f} | {moved['cpu'] / 1e9:,.0f} | {moved['rows']:,.0f}"
        yield f"| {used} | {read} | {shuffled} | {spilled} | {megabytes:,.0f} |"


def run(old: Path, new: Path, key: str, *options: str, settings: str = "") -> tuple[float, float]:
    """Seconds and peak megabytes of one comparison with all its processes."""
    command = [sys.executable, "-m", "diffing", str(old), str(new), "--key", key, *options, "--json"]
    environment = os.environ | {"DIFFING_SPARK": MASTER, "DIFFING_SPARK_SETTINGS": settings}
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, env=environment, text=True)
    peak, done = [0.0], threading.Event()
    watch = threading.Thread(target=_weigh, args=(process.pid, peak, done))
    watch.start()
    said = process.communicate()[0]
    done.set()
    watch.join()
    if process.returncode not in (0, 1):
        raise SystemExit(f"failed: {' '.join(command)}")
    print(f"  {' '.join(options)}: {json.loads(said)['stages']}", file=sys.stderr)
    return time.perf_counter() - started, peak[0]


def _weigh(session: int, peak: list[float], done: threading.Event) -> None:
    while not done.wait(0.1):
        peak[0] = max(peak[0], sum(_resident(session)))


def _resident(session: int) -> Iterator[float]:
    """Resident megabytes of each process of a session."""
    page = os.sysconf("SC_PAGE_SIZE")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            yield int(fields[21]) * page / 1e6


def told(log: Path) -> dict[str, float]:
    """What the tasks of an application read, moved and used, in bytes and nanoseconds."""
    sums = dict.fromkeys(("read", "rows", "shuffled", "spilled", "cpu"), 0.0)
    with log.open() as events:
        for line in events:
            metrics = json.loads(line).get("Task Metrics") if '"SparkListenerTaskEnd"' in line else None
            if metrics:
                sums["read"] += metrics["Input Metrics"]["Bytes Read"]
                sums["rows"] += metrics["Input Metrics"]["Records Read"]
                sums["shuffled"] += metrics["Shuffle Write Metrics"]["Shuffle Bytes Written"]
                sums["spilled"] += metrics["Disk Bytes Spilled"]
                sums["cpu"] += metrics["Executor CPU Time"]
    return sums


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pairs", "growth"))
    parser.add_argument("rows", nargs="*", type=int, default=GROWTH)
    options = parser.parse_args(argv)
    for line in pairs() if options.what == "pairs" else growth(options.rows):
        print(line, flush=True)


if __name__ == "__main__":
    main()
