"""python -m benchmarks.spark [ROWS …]: Apache Spark on this machine beside the embedded engine, what it moves, and a model of its cost.

The demo metric c_revenue (2M rows), and orders of so many rows × 9 columns. What Spark read, shuffled and
spilled is from its own event log.
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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.data import orders
from benchmarks.run import DEMO, KEYS
from diffing.demo import ensure_demo

MASTER = "local[2]"
GROWTH = (1_000_000, 5_000_000, 20_000_000)
MOVED = ("read", "shuffled", "spilled")


@dataclass(frozen=True)
class Spent:
    """What one comparison took on Spark."""

    seconds: float
    megabytes: float
    told: Mapping[str, float]


def lines(sizes: Iterable[int]) -> Iterator[str]:
    heads = "DuckDB, s", "Spark, s", "times as long", "DuckDB, MB", "Spark, MB", "CPU of tasks, s", *(f"{each}, MB" for each in MOVED)
    yield f"| pair | {' | '.join(heads)} |"
    yield f"|---|{'---:|' * len(heads)}"
    ensure_demo(DEMO)
    yield line("c_revenue, 2M rows", DEMO / "c_revenue_old.csv", DEMO / "c_revenue_new.csv", KEYS["c_revenue"])[0]
    spent = {}
    for rows in sizes:
        text, spent[rows / 1e6] = line(f"orders, {rows:,} rows × 9", *orders(rows), "id")
        yield text
    if len(spent) > 1:
        yield ""
        yield from model(spent)


def line(name: str, old: Path, new: Path, key: str) -> tuple[str, Spent]:
    """One pair by both engines, one after the other."""
    duck_s, duck_mb = run(old, new, key, "--engine", "duckdb")
    with tempfile.TemporaryDirectory() as folder:
        log = f"spark.eventLog.enabled=true spark.eventLog.dir=file://{folder} spark.eventLog.rolling.enabled=false"
        seconds, megabytes = run(old, new, key, "--engine", "spark", settings=f"{log} spark.eventLog.compress=false")
        moved = told(next(Path(folder).iterdir()))
    sizes = " | ".join(f"{moved[each] / 1e6:,.0f}" for each in MOVED)
    times = f"{duck_s:.1f} | {seconds:.0f} | {seconds / duck_s:.0f} | {duck_mb:,.0f} | {megabytes:,.0f} | {moved['cpu'] / 1e9:,.0f}"
    return f"| {name} | {times} | {sizes} |", Spent(seconds, megabytes, moved)


def model(spent: Mapping[float, Spent]) -> Iterator[str]:
    """What a million rows of each file cost, and what is spent whatever they are: straight lines through what was measured."""
    yield "| | once | per million rows of each file |"
    yield "|---|---:|---:|"
    figures = {"seconds": [each.seconds for each in spent.values()], "CPU of tasks, s": [each.told["cpu"] / 1e9 for each in spent.values()]}
    figures |= {f"{name}, MB": [each.told[name] / 1e6 for each in spent.values()] for name in MOVED}
    for name, values in figures.items():
        slope, once = np.polyfit(list(spent), values, 1)
        yield f"| {name} | {once:,.1f} | {slope:,.1f} |"


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
    parser.add_argument("rows", nargs="*", type=int, default=GROWTH)
    for each in lines(parser.parse_args(argv).rows):
        print(each, flush=True)


if __name__ == "__main__":
    main()
