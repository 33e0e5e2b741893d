"""The embedded engine: one process, nothing to set up, files up to what the disk holds."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb

from diffing.engines import Watch
from diffing.engines.sums import exact_sum, sum_items
from diffing.errors import EngineError, SourceError
from diffing.grammar import ColumnType
from diffing.plan import BadLines, Plan
from diffing.records import Records, check_records
from diffing.result import (
    ROWS_FILE,
    RULE_WORDS,
    SUMMARY_FILE,
    Cell,
    Change,
    ColumnSummary,
    Result,
    SideSummary,
    Summary,
)
from diffing.sources import Format, Source, parquet_select
from diffing.sql import Spelling, Sql

SIDES = ("old", "new")
MOST_PAIRS = 1000
"""A key with more possible pairs than this is paired in text order."""
FEW_LEFT = 0.3
"""Lines are cancelled as lines as long as at most this share of them is left over."""


def _extract(text: str, pattern: str, group: int) -> str:
    return f"regexp_extract({text}, {pattern}, {group})"


DUCKDB = Spelling(
    parameter=lambda name: f"${name}",
    matches=lambda text, pattern: f"coalesce(regexp_full_match({text}, {pattern}), FALSE)",
    contains=lambda text, pattern: f"coalesce(regexp_matches({text}, {pattern}), FALSE)",
    extract=_extract,
    trim=lambda text, characters: f"trim({text}, {characters})",
    try_=lambda expression: f"TRY({expression})",
    finite=lambda double: f"isfinite({double})",
    utc=lambda text: f"regexp_replace(CAST(TRY_CAST({text} AS TIMESTAMPTZ) AS VARCHAR), '[+]00$', 'Z')",
    strptime=lambda text, format_: f"try_strptime({text}, {format_})",
    let=lambda name, value, body: f"list_transform([{value}], lambda {name}: {body})[1]",
)


@dataclass(frozen=True, slots=True)
class _Side:
    """One file as the engine reads it."""

    source: Source
    rows: int
    records: Records | None
    """None for Parquet."""


class DuckDBEngine:
    """Runs plans on DuckDB inside this process.

    `memory_limit` is written as DuckDB does (`1GB`); None: 60% of the machine's memory. `threads`
    None: all cores. What does not fit in memory goes to a folder beside the result.
    """

    name = "duckdb"

    def __init__(self, *, memory_limit: str | None = None, threads: int | None = None, disk_limit: str | None = None) -> None:
        self.memory_limit = memory_limit or f"{_memory() * 6 // 10 >> 20}MiB"
        self.threads = threads
        self.disk_limit = disk_limit

    def run(self, plan: Plan, folder: Path, watch: Watch | None = None) -> Result:
        watch = watch or Watch()
        clock = _Clock(watch)
        work = folder / "work"
        with _in_words(plan), _emptied(work):
            sides = {side: _checked(plan, side, work, clock) for side in SIDES}
            with self._connected(folder, work, plan, watch) as con:
                run = _Run(plan, con, sides, work, clock)
                run.compare(folder / ROWS_FILE)
                summary = run.summarize(folder / ROWS_FILE)
            _refuse_changed(plan)
        result = Result(plan, replace(summary, seconds=clock.seconds()), folder)
        _write_summary(result)
        return result

    def add_totals(self, result: Result, watch: Watch | None = None) -> Result:
        from diffing.engines.totals import with_totals

        watch = watch or Watch()
        clock = _Clock(watch)
        work = result.folder / "work-totals"
        plan = result.plan
        with _in_words(plan), _emptied(work):
            _refuse_changed(plan)
            sides = {side: _checked(plan, side, work, clock) for side in SIDES}
            with self._connected(result.folder, work, plan, watch) as con:
                clock.stage("adding up totals")
                summary = with_totals(_Run(plan, con, sides, work, clock), result.summary)
            _refuse_changed(plan)
        taken = {**result.summary.seconds, "totals": clock.seconds()["total"]}
        done = Result(plan, replace(summary, seconds=taken), result.folder)
        _write_summary(done)
        return done

    @contextmanager
    def _connected(self, folder: Path, work: Path, plan: Plan, watch: Watch) -> Iterator[duckdb.DuckDBPyConnection]:
        config: dict[str, Any] = {
            "memory_limit": self.memory_limit,
            "temp_directory": str(work),
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        if self.threads:
            config["threads"] = self.threads
        if self.disk_limit:
            config["max_temp_directory_size"] = self.disk_limit
        with duckdb.connect(config=config) as con:
            for setting in ("enable_progress_bar = true", "enable_progress_bar_print = false", "progress_bar_time = 0", "TimeZone = 'UTC'"):
                con.execute(f"SET {setting}")
            _lock_down(con, [folder, work], [plan.old.path, plan.new.path, plan.old.data, plan.new.data])
            with _interruptible(con, watch):
                yield con


def _lock_down(con: duckdb.DuckDBPyConnection, folders: Iterable[Path], files: Iterable[Path]) -> None:
    """From here on the connection reaches these folders and files, and nothing else."""
    con.execute("SET allowed_directories = $folders", {"folders": [f"{folder.resolve()}/" for folder in folders]})
    con.execute("SET allowed_paths = $files", {"files": sorted({str(file) for file in files})})
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")


def _memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextmanager
def _emptied(work: Path) -> Iterator[None]:
    work.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _interruptible(con: duckdb.DuckDBPyConnection, watch: Watch) -> Iterator[None]:
    """Interrupts the running statement within a tenth of a second of a request to cancel."""
    done = threading.Event()

    def wait() -> None:
        while not done.wait(0.1):
            if watch.cancelled.is_set():
                con.interrupt()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    try:
        yield
    except duckdb.InterruptException:
        watch.check()
        raise
    finally:
        done.set()
        thread.join()


@contextmanager
def _in_words(plan: Plan) -> Iterator[None]:
    """Turns what DuckDB and the system say into words a person can act on."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        if "max_temp_directory_size" in str(error):
            raise EngineError("The disk space for this comparison is used up.", "Free some, or raise the disk limit.") from error
        raise EngineError("The comparison needs more memory than it may use.", "Raise --memory-limit, or give a key with fewer repeats.") from error
    except duckdb.InterruptException as error:
        raise EngineError("The comparison was interrupted.", "Start it again.") from error
    except duckdb.Error as error:
        text = str(error)
        if "No space left" in text:
            raise EngineError("The disk is full.", "Free some space, then compare again.") from error
        if any(source.has_changed() for source in (plan.old, plan.new)):
            _refuse_changed(plan)
        raise EngineError(f"The comparison failed: {_first_line(text)}", "If it fails again, please report this message.") from error
    except OSError as error:
        why = "The disk is full" if error.errno == 28 else f"A file could not be written or read: {error.strerror}"
        raise EngineError(f"{why}.", "Check the free disk space and the rights to the folder.") from error


def _first_line(text: str) -> str:
    """The first line of an error, without paths."""
    return re.sub(r"(/[^\s\"']+)+", "…", text.strip().splitlines()[0] if text.strip() else "no reason given")


def _refuse_changed(plan: Plan) -> None:
    for source in (plan.old, plan.new):
        if source.has_changed():
            raise SourceError(f"{source.name} changed while it was compared.", "Compare again when nothing writes to it.")


def _write_summary(result: Result) -> None:
    part = result.folder / f"{SUMMARY_FILE}.part"
    part.write_text(json.dumps(result.summary.to_json()))
    os.replace(part, result.folder / SUMMARY_FILE)


@dataclass
class _Clock:
    """Stages and how long each took."""

    watch: Watch
    started: float = field(default_factory=time.perf_counter)
    stages: dict[str, float] = field(default_factory=dict)
    current: str = ""
    since: float = 0.0

    def stage(self, name: str) -> None:
        self._close()
        self.watch.check()
        self.current, self.since = name, time.perf_counter()
        self.watch.report(name, None)

    def _close(self) -> None:
        if self.current:
            self.stages[self.current] = self.stages.get(self.current, 0.0) + time.perf_counter() - self.since

    def seconds(self) -> dict[str, float]:
        self._close()
        self.current = ""
        total = time.perf_counter() - self.started
        return {name: round(each, 3) for name, each in {**self.stages, "total": total}.items()}


def _checked(plan: Plan, side: str, work: Path, clock: _Clock) -> _Side:
    """One file, its records counted and checked."""
    source: Source = getattr(plan, side)
    clock.stage(f"reading {source.name}")
    if source.format is Format.PARQUET:
        with duckdb.connect() as con:
            found = con.execute("SELECT count(*) FROM read_parquet($path)", {"path": str(source.path)}).fetchone()
        return _Side(source, found[0] if found else 0, None)
    size, done = max(source.data.stat().st_size, 1), 0

    def progress(count: int) -> None:
        nonlocal done
        done += count
        clock.watch.check()
        clock.watch.report(clock.current, min(done / size, 1.0))

    records = check_records(source.body, plan.bad_lines, work / f"{side}.csv", progress)
    return _Side(source, records.rows, records)


class _Run:
    """One comparison on one connection, from two checked files to the result."""

    def __init__(self, plan: Plan, con: duckdb.DuckDBPyConnection, sides: Mapping[str, _Side], work: Path, clock: _Clock) -> None:
        self.plan, self.con, self.sides, self.work, self.clock = plan, con, sides, work, clock
        self.sql = Sql(plan, DUCKDB)
        self.pairs_file = work / "pairs.parquet"
        self.repeated = False
        self.large_keys = 0
        self.key_counts: dict[str, tuple[int, int, int]] = {}

    def execute(self, statement: str, **more: Any) -> duckdb.DuckDBPyConnection:
        """Run a statement with those of the bound values that it names."""
        known = {**self.sql.params, **more}
        used = set(re.findall(r"\$(\w+)", re.sub(r"'(?:[^']|'')*'", "", statement)))
        self.clock.watch.check()
        return self.con.execute(statement, {name: known[name] for name in used})

    def number(self, statement: str) -> int:
        found = self.execute(statement).fetchone()
        return int(found[0] or 0) if found else 0

    # --- reading ---------------------------------------------------------------------------------

    def cells(self, side: str) -> str:
        """SQL that reads a file as p0, p1, …: the cells of the plan's pairs."""
        source = self.sides[side].source
        wanted = [getattr(pair, side) for pair in self.plan.pairs]
        items = ", ".join(f"c{at} AS p{i}" for i, at in enumerate(wanted))
        return f"SELECT {items} FROM ({self._table(side, len(source.columns))})"

    def _table(self, side: str, width: int) -> str:
        each = self.sides[side]
        if each.records is None:
            return parquet_select(self.sql.bind(str(each.source.path)), width)
        if not each.rows:
            return "SELECT " + ", ".join(f"CAST(NULL AS VARCHAR) AS c{i}" for i in range(width)) + " WHERE FALSE"
        dialect = each.source.dialect
        return self._csv(each.records.path, dialect.delimiter, dialect.quote, width, each.records)

    def _csv(self, path: Path, delimiter: str, quote: str, width: int, records: Records) -> str:
        columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(width))
        bind = self.sql.bind
        longest = max(1 << 21, records.longest + 1024)
        return (
            f"SELECT * FROM read_csv({bind(str(path))}, auto_detect = false, header = false, skip = {records.skip_lines},"
            f" delim = {bind(delimiter)}, quote = {bind(quote)}, escape = {bind(quote)}, new_line = {_new_line(records)},"
            f" columns = {{{columns}}}, max_line_size = {longest}, buffer_size = {max(1 << 25, longest * 4)}, nullstr = '')"
        )

    def _lines(self, side: str) -> str:
        """SQL that reads a file's lines as they are, as one column `line`."""
        records = self.sides[side].records
        assert records is not None
        longest = max(1 << 21, records.longest + 1024)
        return (
            f"SELECT line FROM read_csv({self.sql.bind(str(records.path))}, auto_detect = false, header = false,"
            f" skip = {records.skip_lines}, delim = '\x01', quote = '', escape = '', strict_mode = false,"
            f" new_line = {_new_line(records)}, columns = {{'line': 'VARCHAR'}}, max_line_size = {longest},"
            f" buffer_size = {max(1 << 25, longest * 4)})"
        )

    # --- what is not identical in both files -----------------------------------------------------

    def compare(self, rows_file: Path) -> None:
        """Write the rows that differ, in output order."""
        self.clock.stage("cancelling identical rows")
        if not (self._lines_are_rows() and self._cancel_lines()):
            self._cancel_rows()
        self.clock.stage("matching rows")
        self._count_keys()
        self._give_slots()
        self.clock.stage("comparing cells")
        self.execute(f"COPY ({self.sql.compared_rows()}) TO {self.sql.bind(str(self.pairs_file))} (FORMAT parquet, COMPRESSION lz4_raw)")
        self.execute("DROP TABLE old_left; DROP TABLE new_left")
        self.clock.stage("sorting the result")
        names = ["change", "codes", *self.sql.key_columns(), *self.sql.cell_columns(), *self.sql.change_columns()]
        self.execute(
            f"COPY (SELECT {', '.join(names)} FROM read_parquet({self.sql.bind(str(self.pairs_file))})"
            f" WHERE change <> '{Change.UNCHANGED}' ORDER BY {self.sql.output_order(repeated=self.repeated)})"
            f" TO {self.sql.bind(str(rows_file))} (FORMAT parquet, COMPRESSION zstd)"
        )

    def _lines_are_rows(self) -> bool:
        """Whether equal lines are equal rows in both files, column for column."""
        old, new = self.sides["old"], self.sides["new"]
        if old.records is None or new.records is None or not (old.rows and new.rows):
            return False
        spelled = [(each.source.dialect.delimiter, each.source.dialect.quote, len(each.source.columns)) for each in (old, new)]
        plain = all(records.line_is_row for records in (old.records, new.records))
        aligned = all(pair.old == pair.new for pair in self.plan.pairs)
        return spelled[0] == spelled[1] and plain and aligned

    def _cancel_lines(self) -> bool:
        """Leave over what is not the same line in both files; False if that is too much."""
        self._find_surplus({side: f"SELECT hash(line) AS h FROM ({self._lines(side)})" for side in SIDES})
        left = self.number("SELECT sum(abs(net)) FROM surplus")
        if left > FEW_LEFT * (self.sides["old"].rows + self.sides["new"].rows) and left > 100_000:
            return False
        for side in SIDES:
            lines = self._left_over(side, self._lines(side), "hash(line)", ["line"])
            self._parse_left(side, lines)
        self._cancel_left() if self._needs_cells() else None
        return True

    def _needs_cells(self) -> bool:
        """Whether rows can be the same although their lines are not."""
        quoted = any(each.records is not None and each.records.quoted for each in self.sides.values())
        return quoted or len(self.plan.pairs) < len(self.plan.new.columns)

    def _parse_left(self, side: str, lines: str) -> None:
        """Cut the left-over lines into cells, as table {side}_left."""
        each = self.sides[side]
        assert each.records is not None
        dialect, width = each.source.dialect, len(each.source.columns)
        wanted = [(i, getattr(pair, side)) for i, pair in enumerate(self.plan.pairs)]
        if not each.records.quoted:
            items = ", ".join(f"nullif(cut[{at + 1}], '') AS p{i}" for i, at in wanted)
            cut = f"SELECT string_split(coalesce(line, ''), {self.sql.bind(dialect.delimiter)}) AS cut FROM ({lines})"
            self._create(side, f"SELECT {items} FROM ({cut})")
            return
        left = self.work / f"{side}.left.csv"
        self.execute(
            f"COPY (SELECT coalesce(line, {self.sql.bind(dialect.quote * 2)}) FROM ({lines})) TO {self.sql.bind(str(left))}"
            " (FORMAT csv, HEADER false, DELIMITER '\x01', QUOTE '', ESCAPE '')"
        )
        items = ", ".join(f"c{at} AS p{i}" for i, at in wanted)
        rows = self._csv(left, dialect.delimiter, dialect.quote, width, replace(each.records, skip_lines=0, line_end="\n"))
        self._create(side, f"SELECT {items} FROM ({rows})")

    def _cancel_rows(self) -> None:
        """Leave over what is not the same row, cell for cell, in both files."""
        h = f"hash({', '.join(self._cell_names())})"
        self._find_surplus({side: f"SELECT {h} AS h FROM ({self.cells(side)})" for side in SIDES})
        for side in SIDES:
            self._create(side, self._left_over(side, self.cells(side), h, self._cell_names()))

    def _cancel_left(self) -> None:
        """The same, among the rows that are left over already."""
        h = f"hash({', '.join(self._cell_names())})"
        for side in SIDES:
            self.execute(f"ALTER TABLE {side}_left RENAME TO {side}_before")
        self._find_surplus({side: f"SELECT {h} AS h FROM {side}_before" for side in SIDES})
        for side in SIDES:
            self._create(side, self._left_over(side, f"SELECT * FROM {side}_before", h, self._cell_names()))
            self.execute(f"DROP TABLE {side}_before")

    def _cell_names(self) -> list[str]:
        return [f"p{i}" for i in range(len(self.plan.pairs))]

    def _find_surplus(self, hashes: Mapping[str, str]) -> None:
        """Table `surplus`: hashes that occur more often in one file, and by how many (old − new)."""
        self.execute(
            "CREATE OR REPLACE TEMP TABLE surplus AS"
            " SELECT h, sum(one) AS net, count(*) = abs(sum(one)) AS alone FROM"
            f" (SELECT h, 1 AS one FROM ({hashes['old']}) UNION ALL SELECT h, -1 AS one FROM ({hashes['new']}))"
            " GROUP BY h HAVING sum(one) <> 0"
        )

    def _left_over(self, side: str, rows: str, h: str, names: list[str]) -> str:
        """SQL for a file's rows that have no identical row in the other file, as often as they have none."""
        sign = ">" if side == "old" else "<"
        listed = ", ".join(names)
        alone = f"SELECT {listed} FROM ({rows}) WHERE {h} IN (SELECT h FROM surplus WHERE alone AND net {sign} 0)"
        if not self.number(f"SELECT count(*) FROM surplus WHERE NOT alone AND net {sign} 0"):
            return alone
        kept = ", ".join(f"first({name}) AS {name}" for name in names)
        some = (
            f"SELECT {h} AS h, {kept} FROM ({rows})"
            f" WHERE {h} IN (SELECT h FROM surplus WHERE NOT alone AND net {sign} 0) GROUP BY h"
        )
        copies = f"SELECT {listed} FROM (SELECT {listed}, unnest(range(CAST(abs(net) AS BIGINT))) FROM ({some}) JOIN surplus USING (h))"
        return f"{alone} UNION ALL {copies}"

    def _create(self, side: str, rows: str) -> None:
        self.execute(f"CREATE OR REPLACE TEMP TABLE {side}_left AS SELECT *{self.sql.forms(side)} FROM ({rows})")

    # --- which row is which ----------------------------------------------------------------------

    def _count_keys(self) -> None:
        """Null and repeated keys among the rows that are left; table `repeated`."""
        names = self.sql.match_names()
        listed = ", ".join(names)
        each = " UNION ALL ".join(f"SELECT {listed}, {o} AS o, {n} AS n FROM {side}_left" for side, o, n in (("old", 1, 0), ("new", 0, 1)))
        self.execute(
            f"CREATE OR REPLACE TEMP TABLE repeated AS SELECT row_number() OVER () AS g, * FROM"
            f" (SELECT {listed}, sum(o) AS o, sum(n) AS n FROM ({each}) GROUP BY {listed} HAVING sum(o) > 1 OR sum(n) > 1)"
        )
        self.repeated = self.number("SELECT count(*) FROM repeated") > 0
        if not self.plan.key:
            return
        null = " OR ".join(f"{name} IS NULL" for name in names)
        for side, column in (("old", "o"), ("new", "n")):
            keys = self.execute(f"SELECT count(*), coalesce(sum({column}), 0) FROM repeated WHERE {column} > 1").fetchone() or (0, 0)
            nulls = self.number(f"SELECT count(*) FROM {side}_left WHERE {null}")
            self.key_counts[side] = (nulls, int(keys[0]), int(keys[1]))

    def _give_slots(self) -> None:
        """Number the rows of each repeated key so that partners have the same number; others get 0."""
        if not self.repeated:
            for side in SIDES:
                self.execute(f"ALTER TABLE {side}_left ADD COLUMN slot INTEGER DEFAULT 0")
            return
        by_text = self.sql.text_order(self._cell_names())
        for side in SIDES:
            self.execute(
                f"CREATE OR REPLACE TEMP TABLE {side}_ranked AS"
                f" SELECT x.*, g, o, n, CASE WHEN g IS NULL THEN 0 ELSE row_number() OVER (PARTITION BY g ORDER BY {_of('x', by_text)}) END AS rank"
                f" FROM {side}_left AS x LEFT JOIN repeated ON {self.sql.same_key('x', 'repeated')}"
            )
        self._match_repeated()
        self.large_keys = self.number(f"SELECT count(*) FROM repeated WHERE o * n > {MOST_PAIRS}") if self.plan.key else 0
        columns = ", ".join(f"x.{name}" for name in dict.fromkeys([*self._cell_names(), *self.sql.match_names()]))
        self.execute(f"CREATE OR REPLACE TEMP TABLE old_left AS SELECT {columns}, rank AS slot FROM old_ranked AS x")
        slot = f"CASE WHEN x.g IS NULL THEN 0 WHEN {self._in_text_order('x')} THEN rank ELSE coalesce(m.i, -rank) END"
        self.execute(
            f"CREATE OR REPLACE TEMP TABLE new_left AS SELECT {columns}, {slot} AS slot"
            " FROM new_ranked AS x LEFT JOIN matched AS m ON x.g = m.g AND x.rank = m.j"
        )
        self.execute("DROP TABLE old_ranked; DROP TABLE new_ranked")

    def _in_text_order(self, row: str) -> str:
        return f"{row}.o * {row}.n > {MOST_PAIRS}" if self.plan.key else "TRUE"

    def _match_repeated(self) -> None:
        """Table `matched`: of each repeated key the pairs (i, j) of old and new rows, best first.

        A pair is taken when it is the best that is left both for its old and for its new row.
        That gives what taking the best pair of all, one by one, gives, in a few rounds.
        """
        self.execute("CREATE OR REPLACE TEMP TABLE matched (g BIGINT, i BIGINT, j BIGINT)")
        if not self.plan.key:
            return
        cells = ", ".join(f"o.p{k} AS a{k}, n.p{k} AS b{k}" for k in range(len(self.plan.pairs)))
        candidates = (
            f"SELECT o.g, o.rank AS i, n.rank AS j, {cells} FROM old_ranked AS o JOIN new_ranked AS n ON o.g = n.g"
            f" WHERE o.o * o.n <= {MOST_PAIRS}"
        )
        cost = f"length({self.sql.codes()}) - length(replace({self.sql.codes()}, '{Cell.DIFFERS}', ''))"
        self.execute(
            f"CREATE OR REPLACE TEMP TABLE candidates AS SELECT g, i, j, ({cost}) * 1000000 + i * 1000 + j AS cost FROM ({candidates})"
        )
        while self.number("SELECT count(*) FROM candidates"):
            self.execute(
                "CREATE OR REPLACE TEMP TABLE best AS SELECT g, i, j FROM candidates"
                " QUALIFY cost = min(cost) OVER (PARTITION BY g, i) AND cost = min(cost) OVER (PARTITION BY g, j)"
            )
            self.execute("INSERT INTO matched SELECT g, i, j FROM best")
            self.execute(
                "CREATE OR REPLACE TEMP TABLE candidates AS SELECT * FROM candidates AS c WHERE"
                " NOT EXISTS (FROM best AS b WHERE b.g = c.g AND b.i = c.i) AND NOT EXISTS (FROM best AS b WHERE b.g = c.g AND b.j = c.j)"
            )

    # --- the counts ------------------------------------------------------------------------------

    def summarize(self, rows_file: Path) -> Summary:
        """Count what was found."""
        self.clock.stage("counting")
        pairs = self.sql.bind(str(self.pairs_file))
        fates: dict[str, int] = {}
        codes = [Counts() for _ in self.plan.columns]
        matches = [Counts() for _ in self.sql.matched]
        found = self.execute(f"SELECT change, codes, match_codes, count(*) FROM read_parquet({pairs}) GROUP BY ALL")
        while batch := found.fetchmany(10_000):
            for change, row_codes, match_codes, count in batch:
                fates[change] = fates.get(change, 0) + count
                if change in (Change.CHANGED, Change.UNCHANGED):
                    _add_codes(codes, row_codes, count)
                _add_codes(matches, match_codes or "", count)
        added, removed, changed = (fates.get(each, 0) for each in (Change.ADDED, Change.REMOVED, Change.CHANGED))
        old, new = self.sides["old"], self.sides["new"]
        unchanged = old.rows - removed - changed
        if unchanged != new.rows - added - changed or unchanged < fates.get(Change.UNCHANGED, 0):
            raise EngineError(
                "The counts of the comparison do not add up: "
                f"{old.rows:,} − {removed:,} old rows, {new.rows:,} − {added:,} new rows.",
                "This is a fault in the program, please report it. No result was kept.",
            )
        matched = unchanged + changed
        numbers = self._number_sums(rows_file)
        columns = tuple(
            ColumnSummary(
                name=pair.name,
                type=pair.type,
                changed=codes[i].get(Cell.DIFFERS, 0),
                same_share=1 - codes[i].get(Cell.DIFFERS, 0) / matched if matched else None,
                same_by_rule=_in_rule_words(codes[i] if self.plan.key else matches[i]),
                sum_of_changes=numbers.get(i, (None, 0))[0],
                unreadable=numbers.get(i, (None, 0))[1],
            )
            for i, pair in enumerate(self.plan.columns)
        )
        summary = Summary(
            old=self._side_summary("old"),
            new=self._side_summary("new"),
            added=added,
            removed=removed,
            changed=changed,
            unchanged=unchanged,
            changed_cells=sum(column.changed for column in columns),
            columns=columns,
            key_same_by_rule={
                pair.name: total
                for i, pair in enumerate(self.plan.key)
                if (total := sum(count for code, count in matches[i].items() if code != Cell.SAME_TEXT))
            },
            key=tuple(pair.name for pair in self.plan.key),
            columns_added=self.plan.columns_added,
            columns_removed=self.plan.columns_removed,
            columns_renamed=dict(self.plan.columns_renamed),
            columns_ignored=self.plan.columns_ignored,
            warnings=(),
            notes=self.plan.notes,
            seconds={},
        )
        return replace(summary, warnings=tuple(self._warnings(summary, rows_file)))

    def _side_summary(self, side: str) -> SideSummary:
        each = self.sides[side]
        records = each.records
        nulls, keys, rows = self.key_counts.get(side, (0, 0, 0))
        spelled: dict[str, Any] = {"format": each.source.format.value, "compression": each.source.compression}
        return SideSummary(
            name=each.source.name,
            rows=each.rows,
            bad_lines=records.bad_lines if records else 0,
            filled_lines=records.filled_lines if records else 0,
            bad=records.bad if records else (),
            null_keys=nulls,
            duplicate_keys=keys,
            duplicate_key_rows=rows,
            dialect=spelled | (each.source.dialect.in_words() if records else {}),
        )

    def _number_sums(self, rows_file: Path) -> dict[int, tuple[str | None, int]]:
        """Per typed column: the exact sum of its changes, and how many of its cells don't read."""
        typed = [(i, pair) for i, pair in enumerate(self.plan.columns) if pair.type is not ColumnType.TEXT]
        if not typed:
            return {}
        items: list[str] = []
        for i, pair in typed:
            if pair.type is ColumnType.NUMBER:
                items += [*sum_items(self.sql, f"c{i}_change"), self._unreadable(i, f"c{i}_change IS NULL")]
            else:
                items += ["NULL", "NULL", "NULL", self._unreadable(i, "TRUE")]
        row = self.execute(f"SELECT {', '.join(items)} FROM read_parquet({self.sql.bind(str(rows_file))})").fetchone() or ()
        found = {}
        for at, (i, pair) in enumerate(typed):
            whole, part, rough, unreadable = row[4 * at : 4 * at + 4]
            total = exact_sum(whole, part, rough) if pair.type is ColumnType.NUMBER else None
            found[i] = (total, int(unreadable or 0))
        return found

    def _unreadable(self, i: int, where: str) -> str:
        pair = self.plan.columns[i]
        counts = []
        for side, format_ in (("old", pair.old_format), ("new", pair.new_format)):
            cell = f"({self.sql.normal(f'c{i}_{side}', pair)})"
            reads = self.sql.is_number(cell) if pair.type is ColumnType.NUMBER else f"{self.sql.instant(cell, format_)} IS NOT NULL"
            counts.append(f"count(*) FILTER (WHERE {where} AND {cell} IS NOT NULL AND NOT ({reads}))")
        return " + ".join(counts)

    def _warnings(self, summary: Summary, rows_file: Path) -> Iterator[str]:
        for side in (summary.old, summary.new):
            if side.bad_lines:
                what = "1 bad line was" if side.bad_lines == 1 else f"{side.bad_lines:,} bad lines were"
                yield f"{what} left out of {side.name}; their partners in the other file show as added or removed."
            if side.filled_lines:
                what = "1 short line was" if side.filled_lines == 1 else f"{side.filled_lines:,} short lines were"
                yield f"{what} filled with empty cells in {side.name}."
            if side.duplicate_keys:
                what = "1 key occurs" if side.duplicate_keys == 1 else f"{side.duplicate_keys:,} keys occur"
                yield f"{what} more than once in {side.name} ({side.duplicate_key_rows:,} rows); rows were paired by fewest differences."
        if self.large_keys:
            what = "1 key has" if self.large_keys == 1 else f"{self.large_keys:,} keys have"
            yield f"{what} more than {MOST_PAIRS:,} possible pairs; these rows were paired in text order."
        matched, fewest = summary.unchanged + summary.changed, min(summary.old.rows, summary.new.rows)
        if self.plan.key and fewest and matched < 0.01 * fewest:
            from diffing.engines.advice import why_so_few

            yield why_so_few(self, rows_file, matched, fewest)


class Counts(dict[str, int]):
    """Codes to counts."""


def _add_codes(counts: list[Counts], codes: str, times: int) -> None:
    for at, code in enumerate(codes):
        if code != Cell.SAME_TEXT:
            counts[at][code] = counts[at].get(code, 0) + times


def _in_rule_words(counts: Mapping[str, int]) -> dict[str, int]:
    return {words: counts[code] for code, words in RULE_WORDS.items() if counts.get(code)}


def _new_line(records: Records) -> str:
    return "'\\r\\n'" if records.line_end == "\r\n" else "'\\n'"


def _of(table: str, order: str) -> str:
    """An order by bare names, with the table before each."""
    return re.sub(r"\b(p\d+)\b", rf"{table}.\1", order)
