"""Why hardly any key matches: what the keys would need to match."""

from __future__ import annotations

from pathlib import Path

from diffing.engines.run import Run

ENOUGH = 0.1
"""A reason is named when at least this share of the added rows would match by it."""

REASONS = {
    "lower({})": "the keys differ in case: try ignoring case",
    "trim({}, ' \t\u00a0')": "the keys differ in spaces around them: try ignoring spaces",
    "ltrim({}, '0')": "the keys differ in leading zeros, which one of the files seems to have lost",
    "coalesce(CAST(TRY_CAST({0} AS DOUBLE) AS VARCHAR), {0})": "the keys are numbers that are spelled differently",
    "regexp_replace(lower({}), '[^\\p{{L}}\\p{{N}}]', '', 'g')": "the keys differ in punctuation or spaces inside them",
}


def why_so_few(run: Run, rows_file: Path, matched: int, fewest: int) -> str:
    """A warning that says how few keys match and, if it can be seen, why."""
    share = f"Only {matched:,} of {fewest:,} rows have a key that is in both files"
    why = next((reason for form, reason in REASONS.items() if _would_match(run, rows_file, form) >= ENOUGH), None)
    return f"{share}: {why}." if why else f"{share}. Check that the key is right and that both files are of the same table."


def _would_match(run: Run, rows_file: Path, form: str) -> float:
    """Share of a sample of added keys that have a removed partner under a form of the cells."""
    keys = range(len(run.plan.key))
    new = ", ".join(form.format(f"k{i}_new") + f" AS f{i}" for i in keys)
    old = ", ".join(form.format(f"k{i}_old") + f" AS f{i}" for i in keys)
    file = run.sql.bind(str(rows_file))
    same = " AND ".join(f"a.f{i} IS NOT DISTINCT FROM r.f{i}" for i in keys)
    removed = f"SELECT {old} FROM read_parquet({file}) WHERE change = 'removed'"
    added = f"SELECT {new} FROM read_parquet({file}) WHERE change = 'added' LIMIT 10000"
    matches = f"CASE WHEN EXISTS (FROM ({removed}) AS r WHERE {same}) THEN 1 ELSE 0 END"
    found = run.execute(f"SELECT avg({matches}) FROM ({added}) AS a").fetchone()
    return float(found[0] or 0) if found else 0.0
