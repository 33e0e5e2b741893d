"""One comparison in progress: its plan, its connection, its two files, its clock."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from diffing.engines import Watch
from diffing.engines.hashes import SummedHashes
from diffing.errors import BadLinesError, NotUtf8Error, SourceError
from diffing.plan import Plan
from diffing.records import Progress, Records
from diffing.result import SUMMARY_FILE, Result, Summary
from diffing.sources import Format, Source
from diffing.sql import Sql

SIDES = ("old", "new")
Checked = TypeVar("Checked")


@dataclass
class Clock:
    """Stages, how long each took, and who watches them."""

    watch: Watch
    started: float = field(default_factory=time.perf_counter)
    stages: dict[str, float] = field(default_factory=dict)
    current: str = ""
    since: float = 0.0

    def stage(self, name: str) -> None:
        """The stage before ends here and this one begins."""
        self._close()
        self.watch.check()
        self.current, self.since = name, time.perf_counter()
        self.watch.report(name, None)

    def _close(self) -> None:
        if self.current:
            self.stages[self.current] = self.stages.get(self.current, 0.0) + time.perf_counter() - self.since

    def seconds(self) -> dict[str, float]:
        """Stage to seconds, and "total"."""
        self._close()
        self.current = ""
        total = time.perf_counter() - self.started
        return {name: round(each, 3) for name, each in {**self.stages, "total": total}.items()}


@dataclass(frozen=True, slots=True)
class Side:
    """One file as the engine reads it."""

    source: Source
    rows: int
    records: Records | None
    """None for Parquet."""
    hashes: SummedHashes | None = None
    """None if records of the two files can't be told apart by their bytes."""
    left: Records | None = None
    """A file of those records that still matter; None: all of them do."""


@dataclass
class Run:
    """What the stages of a comparison share."""

    plan: Plan
    con: duckdb.DuckDBPyConnection
    sides: dict[str, Side]
    work: Path
    clock: Clock
    sql: Sql

    def execute(self, statement: str) -> duckdb.DuckDBPyConnection:
        """Run a statement with those of the bound values that it names."""
        self.clock.watch.check()
        return self.con.execute(statement, self._named(statement))

    def batches(self, query: str, rows: int) -> pa.RecordBatchReader:
        """What a query answers, so many rows at a time, in order."""
        self.clock.watch.check()
        found: Any = self.con.sql(query, params=self._named(query))
        reader: pa.RecordBatchReader = found.to_arrow_reader(rows)
        return reader

    def _named(self, statement: str) -> dict[str, Any]:
        named = set(re.findall(r"\$(\w+)", re.sub(r"'(?:[^']|'')*'", "", statement)))
        return {name: self.sql.params[name] for name in named}

    def row(self, statement: str) -> tuple[Any, ...]:
        """The one row a query answers. It is done then, as it has to be before `batches`."""
        return self.execute(statement).fetchall()[0]

    def number(self, statement: str) -> int:
        """The one number a query answers; 0 for NULL."""
        return int(self.row(statement)[0] or 0)

    def cell_names(self) -> list[str]:
        """p0, p1, …: the cells of the plan's pairs, key first."""
        return [f"p{i}" for i in range(len(self.plan.pairs))]


def reading_progress(plan: Plan, clock: Clock) -> Progress:
    """Tells the watch which share of the bytes of both files was read."""
    total, done = max(sum(_text_bytes(getattr(plan, side)) for side in SIDES), 1), [0]

    def progress(count: int) -> None:
        done[0] += count
        clock.watch.check()
        clock.watch.report(clock.current, min(done[0] / total, 1.0))

    return progress


def _text_bytes(source: Source) -> int:
    return source.data.stat().st_size if source.format is Format.CSV and not source.location else 0


def of_both(check: Callable[[str], Checked], sides: Sequence[str] = SIDES) -> dict[str, Checked]:
    """What a check finds of each side, at the same time.

    Raises:
        BadLinesError: there are bad lines and they are refused; it names those of both files.
    """
    with ThreadPoolExecutor(len(SIDES)) as pool:
        checks = {side: pool.submit(check, side) for side in sides}
        errors = [each.exception() for each in checks.values()]
        if not_utf8 := next((each for each in errors if isinstance(each, NotUtf8Error)), None):
            raise not_utf8
        refuse_bad_lines(errors)
        return {side: each.result() for side, each in checks.items()}


def refuse_bad_lines(errors: Sequence[BaseException | None]) -> None:
    """Name the bad lines of both files at once, if both have some."""
    refusals = [error for error in errors if isinstance(error, BadLinesError)]
    if refusals and len(refusals) == len(errors):
        raise BadLinesError(" ".join(each.message for each in refusals), refusals[0].hint)


def refuse_changed(plan: Plan) -> None:
    """Stop if a file is not the one that was described.

    Raises:
        SourceError: it changed; nothing that was found can be trusted.
    """
    for source in (plan.old, plan.new):
        if source.has_changed():
            raise has_changed(source)


def has_changed(source: Source) -> SourceError:
    """What is raised for a file that is not the one that was described."""
    return SourceError(f"{source.name} changed while it was compared.", "Compare again when nothing writes to it.")


def write_totals(result: Result, summary: Summary, clock: Clock) -> Result:
    """The result with a summary to which totals were added, as it then is on disk."""
    taken = {**result.summary.seconds, "totals": clock.seconds()["total"]}
    done = replace(result, summary=replace(summary, seconds=taken))
    write_summary(done)
    return done


def write_summary(result: Result) -> None:
    """Leave the summary beside the rows, all or nothing."""
    part = result.folder / f"{SUMMARY_FILE}.part"
    part.write_text(json.dumps(result.summary.to_json()))
    os.replace(part, result.folder / SUMMARY_FILE)
