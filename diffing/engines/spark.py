"""The cluster engine: the same plan on Apache Spark, for tables that no single machine should hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from diffing.dialects import DialectChoice
from diffing.engines import ALL_ROWS, Wanted, Watch, spark_sources
from diffing.engines.advice import why_so_few
from diffing.engines.bounds import emptied
from diffing.engines.counting import summary_of
from diffing.engines.run import SIDES, Clock, Side, of_both, reading_progress, refuse_bad_lines, refuse_changed, write_summary, write_totals
from diffing.engines.spark_reading import Lines, one_line_each, read_lines, read_parquet
from diffing.engines.spark_run import (
    SparkRun,
    cells,
    find_leftovers,
    match_rows,
    share_that_would_match,
    tally,
    totals,
    values,
    whole_keys,
)
from diffing.engines.spark_session import check_master, in_words, session, watched
from diffing.engines.spark_sources import Place, look_again
from diffing.engines.spark_sql import SPARK
from diffing.engines.totals import with_totals
from diffing.errors import BadLinesError, EngineError
from diffing.export import write_csv
from diffing.plan import Choices, ColumnPair, Plan, make_plan, spelled_in_two_ways
from diffing.records import BadLines, check_records
from diffing.result import ROWS_FILE, Result, Summary
from diffing.sources import Format, Source
from diffing.sql import Sql

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROW_GROUP = 20_480
"""Rows of a result that a page reads together."""
SMALL = 64 << 20
"""Bytes of both files together below which compiling a question takes longer than answering it."""
TASK = 32 << 20
"""Bytes that a task of a shuffle takes; adaptive execution joins smaller ones."""
TASKS = 2, 10_000
"""The fewest and the most."""


class SparkEngine:
    """Runs plans on Spark.

    `master` is `local[2]`, `spark://host:7077` or `sc://host:15002` (Spark Connect). `settings` are
    Spark's own, by their names. The files and the folder of the result must be where the cluster can
    reach them under the same path.
    """

    name = "spark"

    def __init__(self, master: str = "local[*]", settings: Mapping[str, str] | None = None) -> None:
        self.master = check_master(master)
        self.settings = dict(settings or {})

    def run(self, plan: Plan, folder: Path, watch: Watch | None = None, wanted: Wanted = ALL_ROWS) -> Result:
        watch = watch or Watch()
        clock = Clock(watch)
        with _emptied(folder / "work") as work:
            with self._walking(plan, work, clock) as run:
                summary = _compare(run, folder / ROWS_FILE)
            refuse_changed(plan)
        result = Result(plan, replace(summary, seconds=clock.seconds()), folder)
        write_summary(result)
        if wanted.csv:
            write_csv(result, wanted.csv, for_spreadsheets=wanted.for_spreadsheets)
        return result

    def add_totals(self, result: Result, watch: Watch | None = None) -> Result:
        watch = watch or Watch()
        clock = Clock(watch)
        with _emptied(result.folder / "work-totals") as work:
            refuse_changed(result.plan)
            with self._walking(result.plan, work, clock) as run:
                clock.stage("adding up totals")
                summary = with_totals(result.summary, partial(totals, run), partial(whole_keys, run))
            refuse_changed(result.plan)
        return write_totals(result, summary, clock)

    def describe(self, location: str, workdir: Path, choice: DialectChoice, name: str | None = None) -> Source:
        """A table where only the cluster sees it; see `spark_sources`."""
        with session(self.master, self.settings) as spark, in_words(spark=spark):
            return spark_sources.describe(spark, location, workdir, choice, name)

    def matches_by_value(
        self, old: Source, new: Source, key: Sequence[str], *, workdir: Path, rename: Mapping[str, str], bad_lines: BadLines
    ) -> tuple[str, ...]:
        """What `keys.matches_by_value` finds, where only the cluster sees all rows."""
        plan = make_plan(old, new, Choices(key=tuple(key), rename=rename))
        asked = spelled_in_two_ways(plan)
        if not asked:
            return ()
        lenient = replace(plan, bad_lines=BadLines.FILL if bad_lines is BadLines.FILL else BadLines.SKIP)
        with _emptied(workdir / "by-value") as work, self._walking(lenient, work, Clock(Watch())) as run:
            return tuple(pair.name for pair in asked if not any(_misses(run, side, pair) for side in SIDES))

    @contextmanager
    def _walking(self, plan: Plan, work: Path, clock: Clock) -> Iterator[SparkRun]:
        """A comparison on a session of its own, its files checked and ready to be read."""
        clock.watch.check()
        clock.stage("reading both files")
        checked = _checked(plan, work, clock)
        with (
            session(self.master, _sized(plan) | self.settings) as spark,
            watched(spark, clock.watch, lambda: clock.current),
            in_words(spark=spark),
        ):
            sql = Sql(plan, SPARK)
            places = {side: look_again(spark, source) for side in SIDES if (source := getattr(plan, side)).location}
            checked |= _checked_there(spark, plan, places)
            for side in SIDES:
                _name_rows(spark, side, getattr(plan, side), checked[side][1], places.get(side), sql)
            sides = {side: each for side, (each, _) in checked.items()}
            run = SparkRun(
                plan, spark, sides, {side: lines for side, (_, lines) in checked.items()}, clock, sql, f"file://{work.absolute()}"
            )
            for side in SIDES:
                if sides[side].records is None:
                    sides[side] = replace(sides[side], rows=int(run.rows(f"SELECT count(*) FROM {side}_rows")[0][0]))
            yield run
            for side in places:
                look_again(spark, getattr(plan, side))


@contextmanager
def _emptied(work: Path) -> Iterator[Path]:
    try:
        with emptied(work):
            yield work
    except OSError as error:
        raise EngineError(
            f"A file could not be written or read: {error.strerror or error}.", "Check the free disk space and the rights to the folder."
        ) from error


def _sized(plan: Plan) -> dict[str, str]:
    """Settings that suit the size of the files, all of them each time: sessions begin with those of the first one."""
    size = plan.old.size + plan.new.size
    return {
        "spark.sql.shuffle.partitions": str(min(max(size // TASK, TASKS[0]), TASKS[1])),
        "spark.sql.codegen.wholeStage": str(size >= SMALL).lower(),
        "spark.sql.codegen.factoryMode": "NO_CODEGEN" if size < SMALL else "FALLBACK",
    }


def _checked(plan: Plan, work: Path, clock: Clock) -> dict[str, tuple[Side, Lines | None]]:
    """Both files, their records counted and checked at the same time, and how their lines are to be read."""
    progress = reading_progress(plan, clock)

    def check(side: str) -> tuple[Side, Lines | None]:
        source: Source = getattr(plan, side)
        if source.format is Format.PARQUET:
            return Side(source, 0, None), None
        records = check_records(source.body, plan.bad_lines, work / f"{side}.csv", progress)
        return Side(source, records.rows, records), one_line_each(source, records, work / f"{side}.lines")

    return of_both(check, [side for side in SIDES if not getattr(plan, side).location])


def _checked_there(spark: SparkSession, plan: Plan, places: Mapping[str, Place]) -> dict[str, tuple[Side, Lines | None]]:
    """Tables that only the cluster sees, checked there."""
    checked: dict[str, tuple[Side, Lines | None]] = {}
    errors: list[BadLinesError] = []
    for side, place in places.items():
        source: Source = getattr(plan, side)
        if source.format is Format.PARQUET:
            checked[side] = Side(source, 0, None), None
            continue
        try:
            records, lines = spark_sources.check_lines(spark, place, source, plan.bad_lines, side)
        except BadLinesError as error:
            errors.append(error)
        else:
            checked[side] = Side(source, records.rows, records), lines
    refuse_bad_lines(errors)
    return checked


def _misses(run: SparkRun, side: str, pair: ColumnPair) -> int:
    at = run.plan.key.index(pair)
    shape = getattr(run.plan, side).columns[getattr(pair, side)].shape
    apart = f"{side}_cells"
    run.view(apart, cells(run, side))
    return spark_sources.misses(run.spark, f"SELECT * FROM {apart}", at, shape)


def _name_rows(spark: SparkSession, side: str, source: Source, lines: Lines | None, place: Place | None, sql: Sql) -> None:
    """View `{side}_rows`: a file as Spark reads it."""
    if lines and place:
        return  # checking did it
    if place:
        rows = spark_sources.parquet_rows(spark, place, source.name)
    else:
        rows = read_lines(spark, lines) if lines else read_parquet(spark, f"file://{source.data.absolute()}", source.name, sql)
    rows.createOrReplaceTempView(f"{side}_rows")


def _compare(run: SparkRun, rows: Path) -> Summary:
    """Walk all stages: leave the differing rows in output order as parts in a folder, and count them."""
    run.clock.stage("cancelling identical rows")
    find_leftovers(run)
    run.clock.stage("matching rows")
    matching, whole = match_rows(run)
    run.clock.stage("comparing cells")
    run.keep("compared", run.sql.compared_rows())
    counted = tally(run)
    run.clock.stage("sorting the result")
    _write_rows(run, run.sql.output_rows("compared", repeated=matching.repeated, whole=whole), rows)
    run.clock.stage("counting")
    why = partial(why_so_few, run.sql, partial(share_that_would_match, run, whole))
    return summary_of(run.plan, run.sides, matching, counted, lambda: values(run), why)


def _write_rows(run: SparkRun, statement: str, rows: Path) -> None:
    """Write sorted rows as parts, whose names are in their order."""
    found = run.ask(statement)
    found.write.option("parquet.block.row.count.limit", str(ROW_GROUP)).mode("overwrite").parquet(f"file://{rows.absolute()}")
    for other in rows.iterdir():
        if other.suffix != ".parquet" or other.name.startswith("."):
            other.unlink()
