"""Which old row belongs to which new row, where a key occurs more than once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffing.engines.run import SIDES, Run
from diffing.result import Cell

MOST_PAIRS = 1000
"""A key with more possible pairs than this is paired in text order."""


AT_ONCE = 5_000_000
"""So many hashes of keys are looked at together."""


@dataclass(frozen=True, slots=True)
class KeyCounts:
    """Null and repeated keys among the rows of one side that are left."""

    null_rows: int
    repeated: int
    repeated_rows: int


@dataclass(frozen=True, slots=True)
class Matching:
    """What matching found: whether and how keys repeat."""

    repeated: bool
    """Whether a key occurs more than once on a side."""
    large_keys: int
    """Keys with more than MOST_PAIRS possible pairs."""
    keys: dict[str, KeyCounts]


def match_rows(run: Run, *, unique: bool = False) -> Matching:
    """Give old_left and new_left a column `slot`: rows are partners if key and slot are the same.

    `unique` says that the key is known to name every row of each; then rows with the same text may be among them.
    """
    _find_repeated(run, unique=unique or not any(may_repeat(run, side) for side in SIDES))
    repeated = run.number("SELECT count(*) FROM repeated") > 0
    same = _same_with_empty_keys(run) if unique else 0
    keys = {side: _key_counts(run, side, same) for side in SIDES} if run.plan.key else {}
    large = run.number(f"SELECT count(*) FROM repeated WHERE o * n > {MOST_PAIRS}") if run.plan.key else 0
    if repeated:
        _give_slots(run)
    else:
        for side in SIDES:
            run.execute(f"ALTER TABLE {side}_left ADD COLUMN slot BIGINT DEFAULT 0")
    return Matching(repeated, large, keys)


def may_repeat(run: Run, side: str) -> bool:
    """Whether two rows of a side have keys with the same hash: the quick look before the exact one."""
    hashes = f"SELECT h FROM (SELECT hash({', '.join(run.sql.match_names())}) AS h FROM {side}_left)"
    portions = 1 + run.number(f"SELECT count(*) FROM {side}_left") // AT_ONCE
    return any(_has_twins(run, f"{hashes} WHERE h % {portions} = {n}") for n in range(portions))


def _has_twins(run: Run, numbers: str) -> bool:
    """Whether a query answers a number twice. NumPy sorts them in a third of the time that DuckDB takes to count different ones."""
    found = np.sort(run.execute(numbers).fetchnumpy()["h"])
    return bool((found[1:] == found[:-1]).any())


def _find_repeated(run: Run, *, unique: bool) -> None:
    """Table `repeated`: keys that occur more than once on a side, a number g, and how often (o, n)."""
    if unique:
        run.execute("CREATE OR REPLACE TEMP TABLE repeated (g BIGINT, o BIGINT, n BIGINT)")
        return
    listed = ", ".join(run.sql.match_names())
    both = f"SELECT {listed}, 1 AS o, 0 AS n FROM old_left UNION ALL SELECT {listed}, 0 AS o, 1 AS n FROM new_left"
    run.execute(
        "CREATE OR REPLACE TEMP TABLE repeated AS SELECT row_number() OVER () AS g, * FROM"
        f" (SELECT {listed}, sum(o) AS o, sum(n) AS n FROM ({both}) GROUP BY {listed} HAVING sum(o) > 1 OR sum(n) > 1)"
    )


def _same_with_empty_keys(run: Run) -> int:
    """How many rows with an empty key cell have the same text on both sides."""
    row_hash = f"SELECT hash({', '.join(run.cell_names())}) AS h"
    old, new = (f"{row_hash} FROM {side}_left WHERE {run.sql.has_empty()}" for side in SIDES)
    return run.number(f"SELECT count(*) FROM ({old}) JOIN ({new}) USING (h)")


def _key_counts(run: Run, side: str, same: int) -> KeyCounts:
    """`same`: rows with an empty key cell that are not counted, since both sides have them."""
    times = "o" if side == "old" else "n"
    found = run.row(f"SELECT count(*), coalesce(sum({times}), 0) FROM repeated WHERE {times} > 1")
    empty = run.number(f"SELECT count(*) FROM {side}_left WHERE {run.sql.has_empty()}")
    return KeyCounts(empty - same, int(found[0]), int(found[1]))


def _give_slots(run: Run) -> None:
    """Rows of a repeated key get its old rows' ranks as slots; a new row gets that of its partner."""
    by_text = run.sql.text_order(f"x.{name}" for name in run.cell_names())
    for side in SIDES:
        rank = f"row_number() OVER (PARTITION BY g ORDER BY {by_text})"
        run.execute(
            f"CREATE OR REPLACE TEMP TABLE {side}_ranked AS"
            f" SELECT x.*, g, o, n, CASE WHEN g IS NULL THEN 0 ELSE {rank} END AS rank"
            f" FROM {side}_left AS x LEFT JOIN repeated ON {run.sql.same_key('x', 'repeated')}"
        )
    _pair_repeated(run)
    names = ", ".join(f"x.{name}" for name in dict.fromkeys([*run.cell_names(), *run.sql.match_names()]))
    in_text_order = f"x.o * x.n > {MOST_PAIRS}" if run.plan.key else "TRUE"
    slot = f"CASE WHEN x.g IS NULL THEN 0 WHEN {in_text_order} THEN rank ELSE coalesce(partners.i, -rank) END"
    run.execute(f"CREATE OR REPLACE TEMP TABLE old_left AS SELECT {names}, rank AS slot FROM old_ranked AS x")
    run.execute(
        f"CREATE OR REPLACE TEMP TABLE new_left AS SELECT {names}, {slot} AS slot"
        " FROM new_ranked AS x LEFT JOIN partners ON x.g = partners.g AND x.rank = partners.j"
    )
    run.execute("DROP TABLE old_ranked; DROP TABLE new_ranked")


def _pair_repeated(run: Run) -> None:
    """Table `partners`: of each repeated key pairs (i, j) of old and new rows, fewest differences first.

    A pair is taken when it is the best that is left for its old row and for its new row. In a few
    rounds that gives what taking the best of all pairs, one after the other, gives.
    """
    run.execute("CREATE OR REPLACE TEMP TABLE partners (g BIGINT, i BIGINT, j BIGINT)")
    if not run.plan.key:
        return
    _list_candidates(run)
    while run.number("SELECT count(*) FROM candidates"):
        run.execute(
            "CREATE OR REPLACE TEMP TABLE best AS SELECT g, i, j FROM candidates"
            " QUALIFY cost = min(cost) OVER (PARTITION BY g, i) AND cost = min(cost) OVER (PARTITION BY g, j)"
        )
        run.execute("INSERT INTO partners FROM best")
        run.execute(
            "CREATE OR REPLACE TEMP TABLE candidates AS SELECT * FROM candidates AS c"
            " WHERE NOT EXISTS (FROM best AS b WHERE b.g = c.g AND b.i = c.i)"
            " AND NOT EXISTS (FROM best AS b WHERE b.g = c.g AND b.j = c.j)"
        )


def _list_candidates(run: Run) -> None:
    """Table `candidates`: all pairs of rows of a repeated key; its cost orders them as the rules say."""
    both = ", ".join(f"o.p{k} AS a{k}, n.p{k} AS b{k}" for k in range(len(run.plan.pairs)))
    pairs = (
        f"SELECT o.g, o.rank AS i, n.rank AS j, {both} FROM old_ranked AS o JOIN new_ranked AS n ON o.g = n.g"
        f" WHERE o.o * o.n <= {MOST_PAIRS}"
    )
    differing = f"length(regexp_replace({run.sql.codes()}, '[^{Cell.DIFFERS}]', '', 'g'))"
    rank = MOST_PAIRS + 1
    run.execute(
        f"CREATE OR REPLACE TEMP TABLE candidates AS SELECT g, i, j, ({differing} * {rank} + i) * {rank} + j AS cost FROM ({pairs})"
    )
