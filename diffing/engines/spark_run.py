"""One comparison on Spark in progress, and the stages it walks through."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from diffing.engines.advice import SAMPLE
from diffing.engines.counting import Tally, Values, unreadable_cells
from diffing.engines.matching import MOST_PAIRS, KeyCounts, Matching
from diffing.engines.run import SIDES, Clock, Side
from diffing.engines.spark_reading import Lines, cells_of_lines
from diffing.engines.sums import SMALL, exact_item, exact_sum
from diffing.engines.totals import number_totals
from diffing.grammar import ColumnType
from diffing.plan import ColumnPair, Plan
from diffing.result import Cell, Change
from diffing.sql import Sql, old_cell

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CROWDED = 1_000_000
"""A key with more rows than this on a side is put in text order by many tasks."""


@dataclass
class SparkRun:
    """What the stages of a comparison share."""

    plan: Plan
    spark: SparkSession
    sides: dict[str, Side]
    lines: Mapping[str, Lines | None]
    """How the lines of each file are read; None for Parquet."""
    clock: Clock
    sql: Sql
    work: str
    """Where what was worked out is kept, as the cluster writes it: a URL."""

    def ask(self, statement: str) -> DataFrame:
        """A table by a statement, with those of the bound values that it names."""
        self.clock.watch.check()
        named = set(re.findall(r":(v\d+)\b", re.sub(r"'(?:[^']|'')*'", "", statement)))
        return self.spark.sql(statement, {name: self.sql.params[name] for name in named})

    def view(self, name: str, statement: str) -> None:
        """Give a statement a name."""
        self.ask(statement).createOrReplaceTempView(name)

    def keep(self, name: str, statement: str | DataFrame) -> None:
        """The same, worked out once: in files, which outlive executors and of which later questions read what they need."""
        table = self.ask(statement) if isinstance(statement, str) else statement
        path = f"{self.work}/{name}"
        table.write.option("compression", "lz4_raw").parquet(path)
        self.spark.read.schema(table.schema).parquet(path).createOrReplaceTempView(name)

    def rows(self, statement: str) -> list[Any]:
        """The few rows of an answer."""
        found: list[Any] = self.ask(statement).collect()
        return found

    def cell_names(self) -> list[str]:
        """p0, p1, …: the cells of the plan's pairs, key first."""
        return [f"p{i}" for i in range(len(self.plan.pairs))]


# --- cancelling identical rows -------------------------------------------------------------------


def cells(run: SparkRun, side: str, rows: str | None = None) -> str:
    """SQL for the rows of a file (or those of a view of it) as p0, p1, …; empty cells are NULL."""
    lines, rows = run.lines[side], rows or f"{side}_rows"
    at = {f"p{i}": getattr(pair, side) for i, pair in enumerate(run.plan.pairs)}
    if lines is None:
        return f"SELECT {', '.join(f'c{place} AS {name}' for name, place in at.items())}, w FROM {rows}"
    apart, items = cells_of_lines(lines, at, run.sql.bind)
    return f"SELECT {items}, w FROM (SELECT {apart} AS cells, w FROM {rows})"


def find_leftovers(run: SparkRun) -> None:
    """Views old_found and new_found: rows that have no identical one in the other file, and the matching forms of key cells.

    First by two hashes of 64 bits of a line or of its cells, of which little is shuffled; then the
    few rows that are left by their text.
    """
    signed = (f"SELECT h1, h2, {sign}w AS w FROM ({_hashed(run, side)})" for side, sign in (("old", ""), ("new", "-")))
    run.keep("surplus", f"SELECT h1, h2 FROM ({' UNION ALL '.join(signed)}) GROUP BY h1, h2 HAVING sum(w) <> 0")
    for side in SIDES:
        run.view(f"{side}_odd", f"SELECT * FROM ({_hashed(run, side)}) AS x LEFT SEMI JOIN surplus AS s ON x.h1 = s.h1 AND x.h2 = s.h2")
    names, odd = ", ".join(run.cell_names()), {side: cells(run, side, f"{side}_odd") for side in SIDES}
    both = f"SELECT {names}, w AS o, 0 AS n FROM ({odd['old']}) UNION ALL SELECT {names}, 0 AS o, w AS n FROM ({odd['new']})"
    run.keep("found", f"SELECT {names}, sum(o) AS o, sum(n) AS n FROM ({both}) GROUP BY {names} HAVING sum(o) <> sum(n)")
    for side, more in (("old", "o - n"), ("new", "n - o")):
        copies = f"SELECT {names}, explode(sequence(1, CAST({more} AS INT))) AS copy FROM found WHERE {more} > 0"
        run.view(f"{side}_found", f"SELECT {names}{run.sql.forms(side)} FROM ({copies})")


def _hashed(run: SparkRun, side: str) -> str:
    """SQL for the rows of a file with their hashes."""
    if whole_lines(run):
        return f"SELECT *, xxhash64(l) AS h1, xxhash64('', l) AS h2 FROM {side}_rows"
    at = {f"p{i}": getattr(pair, side) for i, pair in enumerate(run.plan.pairs)}
    lines = run.lines[side]
    if lines is None:
        texts = ", ".join(f"coalesce(c{place}, '')" for place in at.values())
        return f"SELECT *, xxhash64({texts}) AS h1, xxhash64('', {texts}) AS h2 FROM {side}_rows"
    apart, items = cells_of_lines(lines, at, run.sql.bind)
    texts = ", ".join(f"coalesce({name}, '')" for name in at)
    parts = f"SELECT l, w, {items} FROM (SELECT l, w, {apart} AS cells FROM {side}_rows)"
    return f"SELECT l, w, xxhash64({texts}) AS h1, xxhash64('', {texts}) AS h2 FROM ({parts})"


def whole_lines(run: SparkRun) -> bool:
    """Whether identical lines are identical rows: all columns are compared, in the same order, in files spelled alike."""
    old, new = (run.lines[side] for side in SIDES)
    widths = {len(run.sides[side].source.columns) for side in SIDES}
    if old is None or new is None or (old.delimiter, old.quote, old.joined) != (new.delimiter, new.quote, new.joined):
        return False
    return widths == {len(run.plan.pairs)} and all(pair.old == pair.new for pair in run.plan.pairs)


# --- matching rows -------------------------------------------------------------------------------


def match_rows(run: SparkRun) -> tuple[Matching, frozenset[str]]:
    """Views old_left and new_left: the rows that were found, with a `slot`; partners have the same key and slot.

    And the key columns that hold whole numbers only.
    """
    listed = ", ".join(run.sql.match_names())
    both = f"SELECT {listed}, 1 AS o, 0 AS n FROM old_found UNION ALL SELECT {listed}, 0 AS o, 1 AS n FROM new_found"
    run.keep("repeated", f"SELECT {listed}, sum(o) AS o, sum(n) AS n FROM ({both}) GROUP BY {listed} HAVING sum(o) > 1 OR sum(n) > 1")
    counts = run.rows(
        "SELECT count(*) AS keys, coalesce(max(greatest(o, n)), 0) AS most, count_if(o * n > " + str(MOST_PAIRS) + ") AS large,"
        " count_if(o > 1) AS old_keys, coalesce(sum(CASE WHEN o > 1 THEN o END), 0) AS old_rows,"
        " count_if(n > 1) AS new_keys, coalesce(sum(CASE WHEN n > 1 THEN n END), 0) AS new_rows FROM repeated"
    )[0]
    if counts["keys"]:
        _give_slots(run, counts["most"])
    else:
        for side in SIDES:
            run.view(f"{side}_left", f"SELECT *, 0 AS slot FROM {side}_found")
    if not run.plan.key:
        return Matching(counts["keys"] > 0, 0, {}), frozenset()
    empty = run.sql.has_empty()
    whole = ", ".join(f"{item} AS whole{i}" for i, item in enumerate(run.sql.whole_numbers()))
    shapes = run.rows(
        " UNION ALL ".join(f"SELECT '{side}' AS side, count_if({empty}) AS empty, {whole} FROM {side}_found" for side in SIDES)
    )
    nulls = {row["side"]: row["empty"] for row in shapes}
    keys = {side: KeyCounts(nulls[side], counts[f"{side}_keys"], int(counts[f"{side}_rows"])) for side in SIDES}
    names = (pair.name for i, pair in enumerate(run.plan.key) if all(row[f"whole{i}"] for row in shapes))
    return Matching(counts["keys"] > 0, counts["large"], keys), frozenset(names)


def _give_slots(run: SparkRun, most: int) -> None:
    """Rows of a repeated key get its old rows' ranks as slots; a new row gets that of its partner."""
    keys, cell_names = run.sql.match_names(), run.cell_names()
    names = list(dict.fromkeys([*cell_names, *keys]))
    listed, same = ", ".join(f"x.{name}" for name in names), run.sql.same_key("x", "r")
    for side in SIDES:
        rows = f"SELECT {listed}, r.o, r.n FROM {side}_found AS x JOIN repeated AS r ON {same}"
        _rank(run, side, rows, keys, cell_names, most > CROWDED)
        run.view(f"{side}_single", f"SELECT {listed}, 0 AS slot FROM {side}_found AS x LEFT ANTI JOIN repeated AS r ON {same}")
    run.view("old_left", f"SELECT * FROM old_single UNION ALL SELECT {', '.join(names)}, rank AS slot FROM old_ranked")
    in_text_order = f"x.o * x.n > {MOST_PAIRS}" if run.plan.key else "TRUE"
    if not run.plan.key:
        run.view("new_left", f"SELECT * FROM new_single UNION ALL SELECT {', '.join(names)}, rank AS slot FROM new_ranked")
        return
    run.keep("partners", _partners(run, keys))
    slot = f"CASE WHEN {in_text_order} THEN x.rank ELSE coalesce(r.i, -x.rank) END"
    run.view(
        "new_left",
        f"SELECT * FROM new_single UNION ALL SELECT {listed}, {slot} AS slot"
        f" FROM new_ranked AS x LEFT JOIN partners AS r ON {same} AND x.rank = r.j",
    )


def _rank(run: SparkRun, side: str, rows: str, keys: Sequence[str], cell_names: Sequence[str], crowded: bool) -> None:
    """View of rows with their rank in the text order of their key.

    Where one key has very many rows, they are put in order over many tasks, each of which counts on
    from what those before it hold.
    """
    order, listed = run.sql.text_order(cell_names), ", ".join(keys)
    if not crowded:
        run.keep(f"{side}_ranked", f"SELECT *, row_number() OVER (PARTITION BY {listed} ORDER BY {order}) AS rank FROM ({rows})")
        return
    run.keep(f"{side}_spread", run.ask(rows).repartitionByRange(*keys, *cell_names).selectExpr("*", "spark_partition_id() AS task"))
    counts = f"SELECT {listed}, task, count(*) AS here FROM {side}_spread GROUP BY {listed}, task"
    before = f"SELECT {listed}, task, sum(here) OVER (PARTITION BY {listed} ORDER BY task) - here AS before FROM ({counts})"
    here = f"SELECT *, row_number() OVER (PARTITION BY task, {listed} ORDER BY {order}) AS here FROM {side}_spread"
    same = run.sql.same_key("x", "b")
    joined = f"({here}) AS x JOIN ({before}) AS b ON {same} AND x.task = b.task"
    run.keep(f"{side}_ranked", f"SELECT x.*, x.here + b.before AS rank FROM {joined}")


def _partners(run: SparkRun, keys: Sequence[str]) -> str:
    """SQL for pairs (i, j) of old and new rows of each repeated key, fewest differences first.

    The possible pairs of a key, a thousand at most, are walked through in order; a pair is taken when
    neither of its rows is.
    """
    both = ", ".join(f"x.p{k} AS a{k}, r.p{k} AS b{k}" for k in range(len(run.plan.pairs)))
    mine = ", ".join(f"x.{name} AS {name}" for name in keys)
    pairs = (
        f"SELECT {mine}, x.rank AS i, r.rank AS j, {both} FROM old_ranked AS x JOIN new_ranked AS r"
        f" ON {run.sql.same_key('x', 'r')} WHERE x.o * x.n <= {MOST_PAIRS}"
    )
    differing = f"length(codes) - length(replace(codes, '{Cell.DIFFERS}', ''))"
    listed = ", ".join(keys)
    costed = f"SELECT {listed}, {differing} AS cost, i, j FROM (SELECT {listed}, i, j, {run.sql.codes()} AS codes FROM ({pairs}))"
    none = "CAST(array() AS ARRAY<STRUCT<i: INT, j: INT>>)"
    taken = "exists(taken, pair -> pair.i = one.i OR pair.j = one.j)"
    more = "array_append(taken, struct(CAST(one.i AS INT) AS i, CAST(one.j AS INT) AS j))"
    walk = f"aggregate(sorted, {none}, (taken, one) -> CASE WHEN {taken} THEN taken ELSE {more} END)"
    sorted_ = f"SELECT {listed}, array_sort(collect_list(struct(cost, i, j))) AS sorted FROM ({costed}) GROUP BY {listed}"
    return f"SELECT {listed}, pair.i, pair.j FROM (SELECT {listed}, explode({walk}) AS pair FROM ({sorted_}))"


# --- comparing and counting ----------------------------------------------------------------------


def tally(run: SparkRun) -> Tally:
    """Rows by fate, and codes by column, of the view `compared`."""
    found = Tally.empty(run.sql)
    counters = {"codes": found.codes, "match_codes": found.matches}
    counts = " UNION ALL ".join(["SELECT 'fate' AS what, 0 AS at, change AS code FROM compared", *map(_each_code, counters)])
    for what, at, code, count in run.rows(f"SELECT what, at, code, count(*) FROM ({counts}) GROUP BY what, at, code"):
        (found.fates if what == "fate" else counters[what][at])[code] += count
    return found


def _each_code(name: str) -> str:
    """SQL for the codes of all rows in which one tells something, with their places."""
    telling = f"{name} RLIKE '[^{Cell.SAME_TEXT}{Cell.ALONE}]'"
    each = f"posexplode(transform(sequence(1, length({name})), at -> substring({name}, at, 1))) AS (at, code)"
    return f"SELECT '{name}' AS what, at, code FROM (SELECT {each} FROM compared WHERE {telling})"


def values(run: SparkRun) -> Values:
    """Per number or date column: the sum of its changes, and how many differing cells don't read."""
    found: Values = {}
    for pair, at in run.sql.rule_groups():
        if pair.type is not ColumnType.TEXT:
            for i, *sums, unreadable in run.rows(_value_query(run, pair, at)):
                found[i] = (exact_sum(*sums) if sums else None, int(unreadable or 0))
    return found


def _value_query(run: SparkRun, pair: ColumnPair, at: Sequence[int]) -> str:
    number = pair.type is ColumnType.NUMBER
    items = ", ".join(
        f"struct({i} AS i, {old_cell(run.plan, i)} AS a, c{i}_new AS b, {f'c{i}_change' if number else 'NULL'} AS x)" for i in at
    )
    long = f"SELECT inline(array({items})) FROM compared WHERE change <> '{Change.UNCHANGED}'"
    unreadable = unreadable_cells(run.sql, pair, "x IS NULL" if number else "TRUE")
    if not number:
        return f"SELECT i, {unreadable} FROM ({long}) GROUP BY i"
    sums = ", ".join(sum_items(run.sql, "x", "d"))
    told = f"SELECT *, {exact_item(run.sql, 'x')} AS d FROM ({long}) WHERE x IS NULL OR x <> '0'"
    return f"SELECT i, {sums}, {unreadable} FROM ({told}) GROUP BY i"


def sum_items(sql: Sql, text: str, exact: str, weight: str = "1") -> list[str]:
    """The parts of `sums.sum_items` in Spark's spelling; a `weight` of -1 takes a row off."""
    small = f"{exact} BETWEEN -{SMALL} AND {SMALL}"
    signed = exact if weight == "1" else f"CASE WHEN {weight} < 0 THEN -{exact} ELSE {exact} END"
    rough = f"CASE WHEN {exact} IS NULL AND {text} IS NOT NULL AND {sql.is_number(text)} THEN {weight} * TRY_CAST({text} AS DOUBLE) END"
    return [
        f"sum(CASE WHEN {small} THEN {signed} END)",
        f"sum(CASE WHEN NOT ({small}) THEN CAST(floor({signed}) AS DECIMAL(38,0)) END)",
        f"sum(CASE WHEN NOT ({small}) THEN {signed} - floor({signed}) END)",
        f"aggregate(array_sort(collect_list({rough})), CAST(0 AS DOUBLE), (total, one) -> total + one)",
    ]


# --- whole files ---------------------------------------------------------------------------------


def totals(run: SparkRun, side: str) -> dict[int, str]:
    """Position of each compared number column to the exact sum of its cells that read."""
    return number_totals(
        run.sql, partial(sum_items, run.sql, weight="w"), cells(run, side), lambda statement: run.rows(statement)[0], "w, "
    )


def whole_keys(run: SparkRun, side: str) -> KeyCounts:
    """Null and repeated keys of a whole file."""
    listed = ", ".join(run.sql.match_names())
    keys = f"SELECT {listed}, w FROM (SELECT *{run.sql.forms(side)} FROM ({cells(run, side)}))"
    grouped = f"SELECT sum(w) AS n, bool_or({run.sql.has_empty()}) AS empty FROM ({keys}) GROUP BY {listed}"
    found = run.rows(
        "SELECT coalesce(sum(CASE WHEN empty THEN n END), 0), count_if(n > 1), coalesce(sum(CASE WHEN n > 1 THEN n END), 0)"
        f" FROM ({grouped})"
    )[0]
    return KeyCounts(*map(int, found))


def share_that_would_match(run: SparkRun, whole: frozenset[str], form: Callable[[str], str]) -> float:
    """Share of a sample of added keys that have a removed partner under a form of the cells."""
    keys = range(len(run.plan.key))
    order = run.sql.key_order([f"m{i}" if run.sql.has_form(p) else f"k{i}_new" for i, p in enumerate(run.plan.key)], whole)
    new, old = (", ".join(f"{form(name)} AS f{i}" for i, name in enumerate(f"k{i}_{side}" for i in keys)) for side in ("new", "old"))
    sample = f"SELECT * FROM compared WHERE change = '{Change.ADDED}' ORDER BY {order} LIMIT {SAMPLE}"
    removed = f"SELECT DISTINCT {old}, 1 AS one FROM compared WHERE change = '{Change.REMOVED}'"
    same = " AND ".join(f"a.f{i} IS NOT DISTINCT FROM r.f{i}" for i in keys)
    partners = f"SELECT r.one FROM (SELECT {new} FROM ({sample})) AS a LEFT JOIN ({removed}) AS r ON {same}"
    return float(run.rows(f"SELECT avg(CASE WHEN one IS NULL THEN 0 ELSE 1 END) FROM ({partners})")[0][0] or 0)
