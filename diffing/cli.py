"""What the commands do: compare, and say what was found."""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from diffing import options as given
from diffing.aside import aside
from diffing.dialects import DialectChoice
from diffing.errors import DiffError, NotUtf8Error, PlanError
from diffing.plan import Choices, EngineName

if TYPE_CHECKING:
    from diffing.engines import Engine, Wanted, Watch
    from diffing.metrics import Metric
    from diffing.preparing import Prepared
    from diffing.result import Result
    from diffing.sources import Source

SAME, DIFFERENT, TROUBLE, STOPPED = 0, 1, 2, 130
SHOW_PROGRESS_AFTER = 1.0
METRICS_FILE = "metrics.toml"
FORMATS = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".ndjson": "json"}
"""What is written to a file when the user names no format, by its suffix; else CSV."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code says whether something differs."""
    _take_any_character()
    if argv is None:  # a whole process: being told to end, it clears up as on Ctrl-C
        for told in (signal.SIGINT, signal.SIGTERM):
            signal.signal(told, _stop)
    try:
        options = given.parse(sys.argv[1:] if argv is None else argv)
        return _COMMANDS[options.command](options)
    except DiffError as error:
        _complain(error.message, error.hint)
    except KeyboardInterrupt:
        return _stopped()
    except BrokenPipeError:
        _drop_output()
    except _OutputError as error:
        _drop_output()
        _complain(f"The output can't be written: {error}.", "Free some space, or write it elsewhere.")
    except Exception as error:
        if _told_to_stop.is_set():  # a library may turn the interrupt into an error of its own
            return _stopped()
        # A traceback would end with exit code 1, which means that something differs.
        _complain(f"Something unexpected went wrong: {_seen(error)}", "This is a fault in the program; please report this message.")
    return TROUBLE


_told_to_stop = threading.Event()


def _stop(signal_number: int, frame: object) -> NoReturn:
    _told_to_stop.set()
    raise KeyboardInterrupt


def _stopped() -> int:
    _complain("Stopped.", "")
    return STOPPED


class _OutputError(Exception):
    """Standard output takes no more."""


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _OutputError(error.strerror or str(error)) from error


def _take_any_character() -> None:
    """Write what the terminal's encoding lacks as an escape, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """What was not written yet goes nowhere, so that ending the program does not fail on it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _seen(error: Exception) -> str:
    """An error and where it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})."


def _complain(message: str, hint: str) -> None:
    from diffing.terminal import safe

    with contextlib.suppress(OSError):  # when nobody can be told, the exit code still tells
        print(f"error: {safe(message)}", *([f"hint: {safe(hint)}"] if hint else []), sep="\n", file=sys.stderr, flush=True)


def _compare(options: argparse.Namespace) -> int:
    dialects = [given.dialect_choice(options, side) for side in ("old", "new")]
    return _compare_both(options, (options.old, options.new), dialects, given.choices(options), keyless=options.no_key)


def _compare_both(
    options: argparse.Namespace, places: Sequence[Path | str], dialects: Sequence[DialectChoice], choices: Choices, *, keyless: bool
) -> int:
    """Compare what is at two places; describing them takes as long as loading the engine, so both are done at once."""
    from diffing.preparing import Cluster, open_pair, prepare

    with _workdir() as folder:
        describe = partial(open_pair, *places, workdir=folder, old_choice=dialects[0], new_choice=dialects[1])
        presume = bool(keyless or choices.key)  # looking for a key does not check what it reads
        described = aside(partial(describe, presume=presume)) if _engine_name(options) is EngineName.DUCKDB else None
        engine = _engine(options)
        cluster = engine if isinstance(engine, Cluster) else None

        def run(old: Source, new: Source) -> int:
            return _run(options, engine, prepare(old, new, choices, workdir=folder, keyless=keyless, cluster=cluster), folder)

        try:
            return run(*(described() if described else describe(cluster=cluster)))
        except NotUtf8Error:
            return run(*describe())


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
    options.engine = options.engine or metric.engine
    dialects = [DialectChoice(**each) for each in (metric.old_dialect, metric.new_dialect)]
    places = [metric.place(side) for side in ("old", "new")]
    return _compare_both(options, places, dialects, metric.choices, keyless=not metric.choices.key)


def _make_demo(metric: Metric) -> None:
    """Write the demo data if it is what the metric lacks."""
    from diffing.demo import FILES, ensure_demo

    if metric.old.name in FILES and metric.new.name in FILES:
        print("Making the demo data (once, a few seconds) …", file=sys.stderr)
        ensure_demo(metric.old.parent)


def _run(options: argparse.Namespace, engine: Engine, prepared: Prepared, folder: Path) -> int:
    if options.output:
        _refuse_output(Path(options.output), prepared)
        if options.for_spreadsheets and _kind(options) != "csv":
            raise PlanError("--for-spreadsheets is for CSV files, which spreadsheets open.", "Leave it out, or write CSV (--format csv).")
    written = _output_file(options, folder)
    with _progress() as watch:
        result = engine.run(prepared.plan, folder, watch, _wanted(options, written))
        if options.totals:
            result = engine.add_totals(result, watch)
        if written:
            _export(result, written, _kind(options))
            _hand_over(written, Path(options.output))
    if options.json:
        _say(json.dumps(result.summary.report(), ensure_ascii=False, indent=2))
    else:
        _tell(result, prepared)
    return DIFFERENT if result.summary.differs else SAME


def _engine(options: argparse.Namespace) -> Engine:
    """The engine that is asked for, by an option, by the metric, or by the environment as for the app."""
    from diffing.engines.choosing import Engines, spark_settings
    from diffing.engines.duckdb import DuckDBEngine

    memory = f"{options.memory_limit}B" if options.memory_limit else None
    engines = Engines(
        lambda: DuckDBEngine(memory_limit=memory, disk_limit=options.disk_limit, threads=options.threads),
        master=options.spark or os.environ.get("DIFFING_SPARK"),
        settings=spark_settings(os.environ.get("DIFFING_SPARK_SETTINGS", "")),
    )
    return engines.get(_engine_name(options))


def _engine_name(options: argparse.Namespace) -> EngineName:
    from diffing.engines.choosing import engine_name

    return engine_name(options.engine or ("spark" if options.spark else os.environ.get("DIFFING_ENGINE") or "duckdb"))


def _refuse_output(path: Path, prepared: Prepared) -> None:
    """Stop before the work where its result could not be written, or would replace what is compared."""
    if path.is_dir():
        raise PlanError(f"{path} is a folder, not a file to write to.", "Give the name of a file in it.")
    if not path.parent.is_dir():
        raise PlanError(f"There is no folder {path.parent} to write to.", "Make it, or choose another.")
    for source in (prepared.plan.old, prepared.plan.new):
        if path.exists() and path.samefile(source.path):
            raise PlanError(f"{path} is one of the compared files; it would be overwritten.", "Write to another file.")
    if not os.access(path if _is_special(path) else path.parent, os.W_OK):
        raise PlanError(f"{path} can't be written: no permission.", "Choose another file or folder.")


def _is_special(path: Path) -> bool:
    """Whether it is a pipe or a device, which must be written to and not replaced."""
    return path.exists() and not path.is_file()


def _kind(options: argparse.Namespace) -> str:
    """What the differing rows are written as."""
    return options.format or FORMATS.get(Path(options.output).suffix.lower(), "csv")


def _output_file(options: argparse.Namespace, folder: Path) -> Path | None:
    """The file in which the differing rows are written: what is asked for, or one that is copied there."""
    if not options.output:
        return None
    path = Path(options.output)
    return folder / "output" if _is_special(path) else path.resolve() if path.is_symlink() else path


def _wanted(options: argparse.Namespace, file: Path | None) -> Wanted:
    """What has to be known of the differing rows to write and to show them."""
    from diffing.engines import ALL_ROWS, Wanted

    if file and _kind(options) != "csv":
        return ALL_ROWS
    if options.json:
        return Wanted(0, file, options.for_spreadsheets)
    from diffing.terminal import EXAMPLES

    return Wanted(EXAMPLES, file, options.for_spreadsheets)


def _export(result: Result, path: Path, kind: str) -> None:
    """Write what the engine did not write."""
    from diffing import export

    if kind == "parquet":
        export.write_parquet(result, path)
    elif kind == "json":
        export.write_json_lines(result, path)


def _hand_over(made: Path, path: Path) -> None:
    """Copy the file to a pipe or a device, if that is what was asked for."""
    if not _is_special(path):
        return
    try:
        with made.open("rb") as rows, path.open("wb") as out:
            shutil.copyfileobj(rows, out)
    except OSError as error:
        raise DiffError(f"{path} can't be written: {error.strerror}.", "Choose another file or folder, or free some space.") from error


def _tell(result: Result, prepared: Prepared) -> None:
    from diffing.terminal import Terminal

    _say("\n".join(Terminal(sys.stdout).result(result, prepared.suggestion)))


def _keys(options: argparse.Namespace) -> int:
    from diffing.keys import guess_keys, suggest_keys
    from diffing.preparing import open_pair
    from diffing.terminal import Terminal

    with _workdir() as folder:
        old_choice, new_choice = (given.dialect_choice(options, side) for side in ("old", "new"))
        old, new = open_pair(Path(options.old), Path(options.new), workdir=folder, old_choice=old_choice, new_choice=new_choice)
        rename = given.once(options.rename, "renamed")
        found = guess_keys(old, new, rename=rename) if options.quick else suggest_keys(old, new, workdir=folder, rename=rename)
    if options.json:
        from dataclasses import asdict

        _say(json.dumps([asdict(each) for each in found], ensure_ascii=False, indent=2))
    else:
        _say("\n".join(Terminal.suggestions(found)))
    return SAME


def _describe(options: argparse.Namespace) -> int:
    from diffing.describe import describe
    from diffing.terminal import Terminal

    with _workdir() as folder:
        found = describe(Path(options.file), given.dialect_choice(options, "old"), folder)
    _say(json.dumps(found, ensure_ascii=False, indent=2) if options.json else "\n".join(Terminal(sys.stdout).description(found)))
    return SAME


_COMMANDS = {"compare": _compare, "metric": _metric, "keys": _keys, "describe": _describe}


@contextlib.contextmanager
def _workdir() -> Iterator[Path]:
    """A folder for what a comparison needs on disk, gone afterwards."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="diffing-", ignore_cleanup_errors=True)
    except OSError as error:
        raise DiffError(f"No temporary folder can be made: {error.strerror}.", "Set TMPDIR to a folder with free space.") from error
    with folder as name:
        yield Path(name)


@contextlib.contextmanager
def _progress() -> Iterator[Watch]:
    """A watch that tells a terminal how far a longer comparison is."""
    from diffing.engines import Watch

    if sys.stderr is None or not sys.stderr.isatty():
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


def script() -> NoReturn:
    """A whole process. It ends at once: taking the libraries apart first would take a twentieth of a second."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's linear algebra has nothing to do here; its threads would spin meanwhile
    gc.set_threshold(100_000, 50, 50)  # loading libraries leaves little to collect
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError):  # nobody reads it any more, or there is none
            stream.flush()
    os._exit(code)
