"""What the commands do: compare, and say what was found."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffing import options as given
from diffing.errors import DiffError, PlanError

if TYPE_CHECKING:
    from diffing.engines import Watch
    from diffing.metrics import Metric
    from diffing.prepare import Prepared
    from diffing.result import Result

SAME, DIFFERENT, TROUBLE, STOPPED = 0, 1, 2, 130
SHOW_PROGRESS_AFTER = 1.0
METRICS_FILE = "metrics.toml"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code says whether something differs."""
    try:
        options = given.parse(sys.argv[1:] if argv is None else argv)
        return _COMMANDS[options.command](options)
    except DiffError as error:
        _complain(error.message, error.hint)
        return TROUBLE
    except KeyboardInterrupt:
        _complain("Stopped.", "")
        return STOPPED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return TROUBLE


def _complain(message: str, hint: str) -> None:
    from diffing.terminal import safe

    print(f"error: {safe(message)}", *([f"hint: {safe(hint)}"] if hint else []), sep="\n", file=sys.stderr)


def _compare(options: argparse.Namespace) -> int:
    with _workdir() as folder:
        prepared = _prepared(options, Path(options.old), Path(options.new), folder)
        return _run(options, prepared, folder)


def _prepared(options: argparse.Namespace, old: Path, new: Path, folder: Path) -> Prepared:
    from diffing.prepare import open_pair, prepare

    sides = {f"{side}_choice": given.dialect_choice(options, side) for side in ("old", "new")}
    sources = open_pair(old, new, workdir=folder, **sides)
    return prepare(*sources, given.choices(options), workdir=folder, keyless=options.no_key)


def _metric(options: argparse.Namespace) -> int:
    from diffing.metrics import load_metrics

    registry = Path(options.metrics or METRICS_FILE)
    metrics = load_metrics(registry)
    if options.metric not in metrics:
        raise PlanError(f"There is no metric “{options.metric}”.", f"The metrics are {', '.join(metrics)}.")
    metric = metrics[options.metric]
    if metric.missing:
        _make_demo(metric)
    metric.check_files()
    with _workdir() as folder:
        return _run(options, _prepared_metric(metric, folder), folder)


def _make_demo(metric: Metric) -> None:
    """Write the demo data if it is what the metric lacks."""
    from diffing.demo import FILES, ensure_demo

    if metric.old.name in FILES and metric.new.name in FILES:
        print("Making the demo data (once, a few seconds) …", file=sys.stderr)
        ensure_demo(metric.old.parent)


def _prepared_metric(metric: Metric, folder: Path) -> Prepared:
    from diffing.dialects import DialectChoice
    from diffing.prepare import open_pair, prepare

    choices = {"old_choice": DialectChoice(**metric.old_dialect), "new_choice": DialectChoice(**metric.new_dialect)}
    sources = open_pair(metric.old, metric.new, workdir=folder, **choices)
    return prepare(*sources, metric.choices, workdir=folder, keyless=not metric.choices.key)


def _run(options: argparse.Namespace, prepared: Prepared, folder: Path) -> int:
    from diffing.engines.duckdb import DuckDBEngine

    engine = DuckDBEngine(memory_limit=options.memory_limit, threads=options.threads)
    with _progress() as watch:
        result = engine.run(prepared.plan, folder, watch)
        if options.totals:
            result = engine.add_totals(result, watch)
        if options.output:
            _write(result, options)
    if options.json:
        print(json.dumps(result.summary.report(), ensure_ascii=False, indent=2))
    else:
        _tell(result, prepared)
    return DIFFERENT if result.summary.differs else SAME


def _write(result: Result, options: argparse.Namespace) -> None:
    from diffing import export

    path = Path(options.output)
    kind = options.format or {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".ndjson": "json"}.get(path.suffix.lower(), "csv")
    if kind == "parquet":
        export.write_parquet(result, path)
    elif kind == "json":
        export.write_json_lines(result, path)
    else:
        export.write_csv(result, path, for_spreadsheets=options.for_spreadsheets)


def _tell(result: Result, prepared: Prepared) -> None:
    from diffing.terminal import Terminal

    print("\n".join(Terminal(sys.stdout).result(result, prepared.suggestion)))


def _keys(options: argparse.Namespace) -> int:
    from diffing.keys import suggest_keys
    from diffing.prepare import open_pair

    with _workdir() as folder:
        sides = {f"{side}_choice": given.dialect_choice(options, side) for side in ("old", "new")}
        old, new = open_pair(Path(options.old), Path(options.new), workdir=folder, **sides)
        found = suggest_keys(old, new, workdir=folder, rename=given.once(options.rename, "renamed"))
    if options.json:
        from dataclasses import asdict

        print(json.dumps([asdict(each) for each in found], ensure_ascii=False, indent=2))
    elif found:
        print("\n".join(f"{i}. {each.in_words}" for i, each in enumerate(found, 1)))
    else:
        print("No set of up to six columns names the rows: compare whole rows with --no-key.")
    return SAME


def _describe(options: argparse.Namespace) -> int:
    from diffing.describe import describe
    from diffing.terminal import Terminal

    with _workdir() as folder:
        found = describe(Path(options.file), given.dialect_choice(options, "old"), folder)
    print(json.dumps(found, ensure_ascii=False, indent=2) if options.json else "\n".join(Terminal(sys.stdout).description(found)))
    return SAME


_COMMANDS = {"compare": _compare, "metric": _metric, "keys": _keys, "describe": _describe}


@contextmanager
def _workdir() -> Iterator[Path]:
    """A folder for what a comparison needs on disk, gone afterwards."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="diffing-", ignore_cleanup_errors=True)
    except OSError as error:
        raise DiffError(f"No temporary folder can be made: {error.strerror}.", "Set TMPDIR to a folder with free space.") from error
    with folder as name:
        yield Path(name)


@contextmanager
def _progress() -> Iterator[Watch]:
    """A watch that tells a terminal how far a longer comparison is."""
    from diffing.engines import Watch

    if not sys.stderr.isatty():
        yield Watch()
        return
    line = _ProgressLine()
    try:
        yield Watch(report=line.report)
    finally:
        line.clear()


class _ProgressLine:
    """One line on standard error that says the stage and the time, after the first second."""

    def __init__(self) -> None:
        self.started, self.stage, self.share = time.monotonic(), "", None  # type: float, str, float | None
        self.shown = False
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._show, daemon=True)
        self.thread.start()

    def report(self, stage: str, share: float | None) -> None:
        self.stage, self.share = stage, share

    def _show(self) -> None:
        if self.done.wait(SHOW_PROGRESS_AFTER):
            return
        while not self.done.wait(0.1):
            share = f" {self.share:.0%}" if self.share is not None else ""
            sys.stderr.write(f"\r\x1b[K{self.stage}{share} · {time.monotonic() - self.started:.0f} s")
            sys.stderr.flush()
            self.shown = True

    def clear(self) -> None:
        self.done.set()
        self.thread.join()
        if self.shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def script() -> Any:
    """Entry point of the installed command."""
    sys.exit(main())
