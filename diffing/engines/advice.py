"""Why hardly any key matches: what the keys would need to match."""

from __future__ import annotations

from collections.abc import Callable

from diffing import grammar
from diffing.engines.run import Run
from diffing.sql import Sql

ENOUGH = 0.1
"""A reason is named when at least this share of the added rows would match by it."""
SAMPLE = 10_000
"""Added rows that are tried."""
OTHER_SIGNS = r"'[^\p{L}\p{N}]'"
"""All but letters and digits."""

REASONS: dict[Callable[[Sql, str], str], str] = {
    lambda sql, cell: sql.spelling.lower(cell): "the keys differ in case: try ignoring case",
    lambda sql, cell: sql.spelling.trim(cell, sql.bind(grammar.SPACES)): "the keys differ in spaces around them: try ignoring spaces",
    lambda sql, cell: f"TRIM(LEADING '0' FROM {cell})": "the keys differ in leading zeros, which one of the files seems to have lost",
    lambda sql, cell: f"coalesce(CAST(TRY_CAST({cell} AS DOUBLE) AS STRING), {cell})": "the keys are numbers that are spelled differently",
    lambda sql, cell: sql.spelling.without(
        sql.spelling.lower(cell), r"'[^\p{L}\p{N}]'"
    ): "the keys differ in punctuation or spaces inside them",
}
"""What would make keys match (SQL for a form of a cell), and what that says about them."""


def why_so_few(sql: Sql, would_match: Callable[[Callable[[str], str]], float], matched: int, fewest: int) -> str:
    """A warning that says how few keys match and, if it can be seen, why.

    `would_match` tells which share of the added rows would have a partner under a form of their cells.
    """
    share = f"Only {matched:,} of {fewest:,} rows have a key that is in both files"
    why = next((reason for form, reason in REASONS.items() if would_match(lambda cell, form=form: form(sql, cell)) >= ENOUGH), None)  # type: ignore[misc]
    return f"{share}: {why}." if why else f"{share}. Check that the key is right and that both files are of the same table."


def share_that_would_match(run: Run, rows: str, form: Callable[[str], str]) -> float:
    """Share of a sample of added keys that have a removed partner under a form of the cells; `rows` is SQL for the rows of the result."""
    keys = range(len(run.plan.key))
    new = ", ".join(form(f"k{i}_new") + f" AS f{i}" for i in keys)
    old = ", ".join(form(f"k{i}_old") + f" AS f{i}" for i in keys)
    same = " AND ".join(f"a.f{i} IS NOT DISTINCT FROM r.f{i}" for i in keys)
    removed = f"SELECT {old} FROM {rows} WHERE change = 'removed'"
    added = f"SELECT {new} FROM {rows} WHERE change = 'added' LIMIT {SAMPLE}"
    matches = f"CASE WHEN EXISTS (FROM ({removed}) AS r WHERE {same}) THEN 1 ELSE 0 END"
    return float(run.row(f"SELECT avg({matches}) FROM ({added}) AS a")[0] or 0)
