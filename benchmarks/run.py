"""python -m benchmarks.run [ROWS …] [--peers] [--kinds KIND …] [--runs N]: how long comparisons take, as ratios to only reading the files.

R is DuckDB reading both files as text and hashing every row, and nothing else. All commands are
whole processes; each line's figures come from the same minutes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import tempfile
import venv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.data import NEW, orders
from benchmarks.measure import Measured, measure
from benchmarks.scale import compared
from diffing.demo import ensure_demo

HERE = Path(__file__).parent
OTHERS = str(HERE / "others.py")
DEMO = HERE.parent / "data" / "demo"
KEYS = {
    "revenue": "date,segment_field,segment_value_id,stat",
    "c_revenue": "cohort,cohort_id,month_nth,segment_field,segment_value_id,stat",
}
PEERS = HERE / "data" / "peers"
PIP_PEERS = {
    "datacompy": ["datacompy==1.1.0", "polars"],
    "diffly": ["diffly==1.6.0"],
    "csv_diff": ["csv-diff==1.2"],
    "duckdiff": ["duckdiff==0.2.0"],
}
SLOW_PEERS = {"csv_diff": 1_000_000}
"""The most rows they are given."""
WRITTEN = ("float noise", "50% changed", "all changed", "all added")
"""Kinds in which the rows that differ are written, by this tool and by a full outer join."""
STAGED = ("same bytes", "0.1% changed", "shuffled", "other column order", "50% changed", "all changed")
"""Kinds whose stages are shown."""
MORE = {"column added": (), "ignored column": ("--ignore", "ref"), "other column order": ()}


def this_tool(old: Path, new: Path, *options: str) -> list[str]:
    return ["-m", "diffing", str(old), str(new), *options, "--json"]


def other(way: str, old: Path, new: Path, key: str = "id", *more: str) -> list[str]:
    return [OTHERS, way, str(old), str(new), key, *more]


def reading(old: Path, new: Path) -> list[str]:
    return ["-X", "utf8", *other("read", old, new)]


def kinds(rows: int, runs: int, wanted: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Measured]]]:
    """Kinds of edits of the orders."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in wanted:
            old, new = orders(rows, kind)
            out = ("-o", f"{folder}/diff.csv") if kind in WRITTEN else ()
            commands = {"reading (R)": reading(old, new), "this tool": this_tool(old, new, "--key", "id", *out, *MORE.get(kind, ()))}
            if kind in WRITTEN or kind == "shuffled":
                commands["full outer join"] = ["-X", "utf8", *other("join", old, new, "id", f"{folder}/join.csv")]
            yield f"{rows:,} rows, {kind}", measure(commands, runs)


def peers(rows: int, runs: int) -> Iterator[tuple[str, Mapping[str, Measured]]]:
    """Other tools on the shuffled pair."""
    old, new = orders(rows, "shuffled")
    commands = {"reading (R)": reading(old, new), "this tool": this_tool(old, new, "--key", "id")}
    for name, packages in PIP_PEERS.items():
        if rows <= SLOW_PEERS.get(name, rows):
            commands[name] = [str(_environment(name, packages)), *other(name, old, new)]
    if csvdiff := shutil.which("csvdiff"):
        commands["csvdiff"] = [csvdiff, str(old), str(new)]
    if qsv := shutil.which("qsv"):
        commands["qsv diff"] = [qsv, "diff", str(old), str(new)]
    yield f"{rows:,} rows, shuffled, beside other tools", measure(commands, runs)


def _environment(name: str, packages: Sequence[str]) -> Path:
    """The Python of an environment that has the packages."""
    home = PEERS / name
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        venv.create(home, with_pip=True)
        os.spawnv(os.P_WAIT, str(python), [str(python), "-m", "pip", "install", "--quiet", *packages])
        (home / "ready").touch()
    return python


def metrics(runs: int) -> Iterator[tuple[str, Mapping[str, Measured]]]:
    ensure_demo(DEMO)
    for metric, key in KEYS.items():
        old, new = DEMO / f"{metric}_old.csv", DEMO / f"{metric}_new.csv"
        once = measure({"pandas merge and apply": ["-X", "utf8", *other("merge", old, new, key)]}, runs=1)
        yield metric, measure({"reading (R)": reading(old, new), "this tool": this_tool(old, new, "--key", key)}, runs) | once


def steps(rows: int, runs: int) -> Iterator[tuple[str, Mapping[str, Measured]]]:
    """What is around a comparison."""
    old, new = orders(rows, "shuffled")
    commands = {
        "reading (R)": reading(old, new),
        "--help": ["-m", "diffing", "--help"],
        "describe": ["-m", "diffing", "describe", str(new)],
        "keys": ["-m", "diffing", "keys", str(old), str(new)],
        "no key given": this_tool(old, new),
    }
    yield f"{rows:,} rows, the steps around", measure(commands, runs)


def stages(rows: int, runs: int) -> Iterator[str]:
    """What each stage takes, as lines of a table: in seconds, of the median run, by the comparison's own clock."""
    found = {kind: _stages_of(rows, kind, runs) for kind in STAGED}
    yield f"| {rows:,} rows, by stage | {' | '.join(found)} |"
    yield "|---|" + "---:|" * len(found)
    for stage in max(found.values(), key=len):
        yield f"| {stage} | {' | '.join(f'{each[stage]:.2f}' if stage in each else '' for each in found.values())} |"


def _stages_of(rows: int, kind: str, runs: int) -> dict[str, float]:
    old, new = orders(rows, kind)
    with tempfile.TemporaryDirectory() as folder:
        out = ("-o", f"{folder}/diff.csv") if kind in WRITTEN else ()
        return compared(old, new, "--key", "id", *out, runs=runs).summary["stages"]


def machine() -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("duckdb", "pyarrow", "numpy", "pandas"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return f"{os.cpu_count()} cores, {memory} GiB, Python {platform.python_version()}, {versions}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", type=int, default=[1_000_000])
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--kinds", nargs="+", choices=NEW, default=list(NEW), help="and nothing else")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    print(f"{machine()}\n\n| | | seconds | R | MB |\n|---|---|---:|---:|---:|", flush=True)
    found: dict[str, dict[str, tuple[float, float]]] = {}

    def show(lines: Iterator[tuple[str, Mapping[str, Measured]]]) -> None:
        for title, each in lines:
            base = each["reading (R)"].seconds
            for name, one in each.items():
                print(f"| {title} | {name} | {one.seconds:.2f} | {one.seconds / base:.2f} | {one.megabytes:.0f} |", flush=True)
            found[title] = {name: (one.seconds, one.megabytes) for name, one in each.items()}

    for rows in given.rows:
        if given.peers:
            show(peers(rows, given.runs))
        else:
            show(kinds(rows, given.runs, given.kinds))
            if given.kinds == list(NEW):
                show(steps(rows, given.runs))
    if not given.peers and given.kinds == list(NEW):
        show(metrics(given.runs))
        for rows in given.rows:
            print("", *stages(rows, given.runs), sep="\n", flush=True)
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / f"{'peers' if given.peers else 'run'}-{'-'.join(map(str, given.rows))}.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
