"""The embedded engine: one process, nothing to set up, files up to what the disk holds."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from diffing.digits import Digits
from diffing.engines import ALL_ROWS, Wanted, Watch
from diffing.engines.bounds import Bounded, emptied, interruptible, memory, too_much
from diffing.engines.counting import summarize, summarize_nothing
from diffing.engines.hashes import SummedHashes
from diffing.engines.leftovers import find_leftovers, hashes_for
from diffing.engines.matching import KeyCounts, Matching, match_rows
from diffing.engines.run import SIDES, Clock, Run, Side, of_both, reading_progress, refuse_changed, write_summary, write_totals
from diffing.engines.stretches import find_common, together
from diffing.engines.totals import totals, whole_keys, with_totals
from diffing.errors import EngineError
from diffing.export import fill_csv, part_of
from diffing.locked import FOR_MANY_COLUMNS, connected
from diffing.plan import ColumnPair, Plan
from diffing.records import check_records
from diffing.result import ROWS_FILE, Result, Summary
from diffing.sources import Format, Source, parquet_rows
from diffing.sql import Spelling, Sql

WIDE = 150
"""From so many columns on, what the optimizer would find costs more than it saves: the square of the columns."""

MANY_ROWS = 4_000_000
"""From so many rows on, those of both files together, what was compared waits in a file to be sorted."""

FEW_ROWS, MANY_GROUPS = 5_000, 500_000
"""Tables with more rows than the one and fewer than the other are halved to be joined."""

ROW_GROUP = 20_480
CELLS_OF_A_GROUP = 2_000_000
"""So many pairs of cells are written together at most where there are many columns, so that they fit in memory."""

SAMPLE = 50_000
"""About so many rows of each file tell what to expect of their cells."""

NO_ROOM = ("No space left", " requested and ")
"""What errors without a number say of a full disk: Arrow's, and NumPy's."""


def _extract(text: str, pattern: str, group: int) -> str:
    return f"regexp_extract({text}, {pattern}, {group})"


def _utc(instant: str) -> str:
    """An instant as canonical text."""
    return f"regexp_replace(CAST({instant} AS VARCHAR), '[+]00$', 'Z')"


def _by_format(text: str, format_: str, bind: Callable[[Any], str]) -> str:
    read = f"try_strptime({text}, {bind(format_)})"
    return _utc(read) if "%z" in format_ else f"CAST({read} AS VARCHAR)"


DUCKDB = Spelling(
    parameter=lambda name: f"${name}",
    matches=lambda text, pattern: f"coalesce(regexp_full_match({text}, {pattern}), FALSE)",
    contains=lambda text, pattern: f"coalesce(regexp_matches({text}, {pattern}), FALSE)",
    extract=_extract,
    without=lambda text, pattern: f"regexp_replace({text}, {pattern}, '', 'g')",
    trim=lambda text, characters: f"trim({text}, {characters})",
    lower=lambda text: f"lower({text})",
    minus=lambda a, b: f"TRY({a} - {b})",
    digits=lambda double: f"CAST({double} AS VARCHAR)",
    finite=lambda double: f"isfinite({double})",
    local=lambda text: f"CAST(TRY_CAST({text} AS TIMESTAMP) AS VARCHAR)",
    absolute=lambda text: _utc(f"TRY_CAST({text} AS TIMESTAMPTZ)"),
    by_format=_by_format,
    list_of=lambda items: f"[{items}]",
    item=lambda items, n: f"{items}[{n}]",
    joined=lambda items: f"array_to_string({items}, '')",
    each=lambda a, b, body: f"list_transform(list_zip({a}, {b}), lambda z: {body('z[1]', 'z[2]')})",
    let=lambda name, value, body: f"list_transform([{value}], lambda {name}: {body})[1]",
)


class DuckDBEngine:
    """Runs plans on DuckDB inside this process.

    `memory_limit` is written as DuckDB does (`1GB`); None: 60% of the machine's memory. `threads`
    None: all cores. What does not fit in memory, and what is noted of both files, goes to a folder
    beside the result: `disk_limit` bytes at most; None: what is free.
    """

    name = "duckdb"

    def __init__(self, *, memory_limit: str | None = None, threads: int | None = None, disk_limit: int | None = None) -> None:
        self.memory_limit = memory_limit or f"{memory() * 6 // 10 >> 20}MiB"
        self.threads = threads
        self.disk_limit = disk_limit

    def run(self, plan: Plan, folder: Path, watch: Watch | None = None, wanted: Wanted = ALL_ROWS) -> Result:
        watch = self._bounded(watch)
        clock = Clock(watch)
        work = folder / "work"
        with _in_words(plan, self.disk_limit), emptied(work), part_of(wanted.csv) if wanted.csv else nullcontext() as csv:
            with self._connected(folder, work, plan, watch, csv) as con:
                sides = _checked(plan, work, clock, hashes_for(plan, work))
                run = Run(plan, con, sides, work, clock, Sql(plan, DUCKDB))
                summary = _compare(run, partial(_write, run, folder / ROWS_FILE, wanted, csv))
            refuse_changed(plan)
        result = Result(plan, replace(summary, seconds=clock.seconds()), folder)
        write_summary(result)
        return result

    def add_totals(self, result: Result, watch: Watch | None = None) -> Result:
        watch = self._bounded(watch)
        clock = Clock(watch)
        work = result.folder / "work-totals"
        plan = result.plan
        with _in_words(plan, self.disk_limit), emptied(work):
            refuse_changed(plan)
            with self._connected(result.folder, work, plan, watch) as con:
                sides = _checked(plan, work, clock, {})
                clock.stage("adding up totals")
                run = Run(plan, con, sides, work, clock, Sql(plan, DUCKDB))
                summary = with_totals(result.summary, partial(totals, run), partial(whole_keys, run))
            refuse_changed(plan)
        return write_totals(result, summary, clock)

    def _bounded(self, watch: Watch | None) -> Bounded:
        asked = watch or Watch()
        return Bounded(asked.report, asked.cancelled, self.disk_limit)

    @contextmanager
    def _connected(
        self, folder: Path, work: Path, plan: Plan, watch: Bounded, csv: Path | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        config: dict[str, Any] = {
            "memory_limit": self.memory_limit,
            "temp_directory": str(work),
            "preserve_insertion_order": False,
        }
        if self.threads:
            config["threads"] = self.threads
        settings = ["enable_progress_bar = true", "enable_progress_bar_print = false", "progress_bar_time = 0", "TimeZone = 'UTC'"]
        if self.disk_limit:
            settings.append(f"max_temp_directory_size = '{self.disk_limit}B'")  # among the config it would have no effect
        if len(plan.pairs) > WIDE:
            settings.append(FOR_MANY_COLUMNS)
        files = [plan.old.path, plan.new.path, plan.old.data, plan.new.data, *([csv] if csv else [])]
        with connected(folders=[folder, work], files=files, settings=settings, **config) as con, interruptible(con, watch, work):
            yield con


@contextmanager
def _in_words(plan: Plan, disk_limit: int | None) -> Iterator[None]:
    """Turns what DuckDB and the system say into words a person can act on."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        if "max_temp_directory_size" in str(error):
            raise too_much(disk_limit) from error
        raise EngineError(
            "The comparison needs more memory than it may use.", "Raise --memory-limit, or give a key with fewer repeats."
        ) from error
    except duckdb.InterruptException as error:
        raise EngineError("The comparison was interrupted.", "Start it again.") from error
    except duckdb.Error as error:
        text = str(error)
        if NO_ROOM[0] in text:
            raise EngineError("The disk is full.", "Free some space, then compare again.") from error
        if any(source.has_changed() for source in (plan.old, plan.new)):
            refuse_changed(plan)
        raise EngineError(f"The comparison failed: {_first_line(text)}", "If it fails again, please report this message.") from error
    except OSError as error:
        said = error.strerror or _first_line(str(error))
        full = error.errno == errno.ENOSPC or any(words in said for words in NO_ROOM)
        why = "The disk is full" if full else f"A file could not be written or read: {said.rstrip('.')}"
        raise EngineError(f"{why}.", "Check the free disk space and the rights to the folder.") from error


def _first_line(text: str) -> str:
    """The first line of an error, without paths."""
    return re.sub(r"(/[^\s\"']+)+", "…", text.strip().splitlines()[0] if text.strip() else "no reason given")


def _checked(plan: Plan, work: Path, clock: Clock, hashes: Mapping[str, SummedHashes]) -> dict[str, Side]:
    """Both files, their records counted, checked and hashed, at the same time."""
    clock.stage("reading both files")
    progress = reading_progress(plan, clock)

    def check(side: str) -> Side:
        source: Source = getattr(plan, side)
        if source.format is Format.PARQUET:
            return Side(source, parquet_rows(source.path), None)
        taker = hashes.get(side)
        body = common.rests[side] if common else source.body
        records = together(common, check_records(body, plan.bad_lines, work / f"{side}.csv", progress, taker))
        if taker:
            taker.finish()
        return Side(source, records.rows, records, taker)

    common = find_common(plan, work, progress) if hashes else None
    return of_both(check)


def _compare(run: Run, write: Callable[[str, Summary], None]) -> Summary:
    """Walk all stages: count the differing rows, and have them written in output order."""
    run.clock.stage("cancelling identical rows")
    unique = find_leftovers(run)
    left = {side: run.number(f"SELECT count(*) FROM {side}_left") for side in SIDES}
    if not any(left.values()):
        return _nothing_left(run, write)
    run.clock.stage("matching rows")
    matching = match_rows(run, unique=unique)
    run.clock.stage("comparing cells")
    compared = _compared_as_expected(run, left)
    whole = _whole_keys(run)
    run.execute("DROP TABLE old_left; DROP TABLE new_left")
    run.clock.stage("counting")
    summary = summarize(run, matching, compared)
    run.clock.stage("sorting the result")
    write(run.sql.output_rows(compared, repeated=matching.repeated, whole=whole), summary)
    return summary


def _nothing_left(run: Run, write: Callable[[str, Summary], None]) -> Summary:
    """The same where all rows are identical, as is most often asked."""
    run.execute(f"CREATE OR REPLACE TEMP TABLE compared ({', '.join(f'{name} VARCHAR' for name in run.sql.compared_columns())})")
    matching = Matching(False, 0, {side: KeyCounts(0, 0, 0) for side in SIDES} if run.plan.key else {})
    summary = summarize_nothing(run, matching)
    run.clock.stage("sorting the result")
    write(run.sql.output_rows("compared", repeated=False), summary)
    return summary


def _write(run: Run, file: Path, wanted: Wanted, csv: Path | None, rows: str, summary: Summary) -> None:
    """Write rows in their order: as Parquet those that are wanted, as CSV all."""
    if wanted.most != 0:
        _write_parquet(run, rows if wanted.most is None else f"{rows} LIMIT {int(wanted.most)}", file)
    if csv:
        differing = f"({rows})" if summary.differing_rows else None
        fill_csv(run.plan, csv, differing, run.sql.bind, run.execute, for_spreadsheets=wanted.for_spreadsheets)


def _write_parquet(run: Run, rows: str, file: Path) -> None:
    """Write rows as Parquet, in their order. With very many columns that is Arrow's work: DuckDB's takes the square of the columns."""
    if len(run.plan.pairs) <= WIDE:
        run.execute(f"COPY ({rows}) TO {run.sql.bind(str(file))} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP})")
        return
    import pyarrow.parquet as pq  # takes a while

    group = max(min(ROW_GROUP, CELLS_OF_A_GROUP // len(run.plan.pairs)), 1)
    reader = run.batches(rows, group)
    with pq.ParquetWriter(file, reader.schema, compression="zstd") as writer:
        for batch in reader:
            run.clock.watch.check()
            writer.write_batch(batch, group)


def _compared_as_expected(run: Run, left: Mapping[str, int]) -> str:
    """The same as `_compared`, by what a sample of the cells leads to expect; once more without if that was wrong."""
    run.sql.digits.update(_expected(run, left))
    compared = _compared(run, left)
    if run.sql.digits and run.number(f"SELECT count(*) FROM {compared} WHERE {run.sql.unforeseen()}"):
        run.sql.digits.clear()
        compared = _compared(run, left)
    return compared


def _expected(run: Run, left: Mapping[str, int]) -> Iterator[tuple[ColumnPair, Digits]]:
    """The digits of number columns, from rows all over both files; `left` says how many there are."""
    measures = dict(run.sql.measures())
    if not measures:
        return
    cells, every = ", ".join(run.cell_names()), {side: left[side] // SAMPLE + 1 for side in SIDES}
    sample = " UNION ALL ".join(f"SELECT {cells} FROM {side}_left WHERE rowid % {every[side]} = 0" for side in SIDES)
    found = run.row(f"SELECT {', '.join(measures.values())} FROM ({sample})")
    for pair, (fits, before, after) in zip(measures, found, strict=True):
        if fits:
            yield pair, Digits.of(before or 0, after or 0)


def _compared(run: Run, left: Mapping[str, int]) -> str:
    """SQL for all rows that are left, each beside its partner: a table, or a file if they are many."""
    if sum(left.values()) <= MANY_ROWS:
        old, new = (_halved(f"{side}_left", left[side]) for side in SIDES)
        run.execute(f"CREATE OR REPLACE TEMP TABLE compared AS {run.sql.compared_rows(old, new)}")
        return "compared"
    file = run.sql.bind(str(run.work / "compared.parquet"))
    run.execute(f"COPY ({run.sql.compared_rows()}) TO {file} (FORMAT parquet, COMPRESSION lz4_raw)")
    return f"read_parquet({file})"


def _halved(table: str, rows: int) -> str:
    """SQL for the rows of a table that two threads share, which DuckDB has them do only with tables of several row groups."""
    if not FEW_ROWS < rows < MANY_GROUPS:
        return table
    return f"(SELECT * FROM {table} WHERE rowid < {rows // 2} UNION ALL SELECT * FROM {table} WHERE rowid >= {rows // 2})"


def _whole_keys(run: Run) -> frozenset[str]:
    """The key columns whose cells are empty or plain whole numbers in all rows that are left."""
    items = ", ".join(run.sql.whole_numbers())
    if not items:
        return frozenset()
    found = [run.row(f"SELECT {items} FROM {side}_left") for side in SIDES]
    return frozenset(pair.name for pair, old, new in zip(run.plan.key, *found, strict=False) if old and new)
