"""The counts of a comparison, from the rows that were compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from diffing.engines.advice import share_that_would_match, why_so_few
from diffing.engines.matching import MOST_PAIRS, KeyCounts, Matching
from diffing.engines.run import Run, Side
from diffing.engines.sums import exact_plain_item, exact_sum, sum_items
from diffing.errors import EngineError
from diffing.grammar import ColumnType
from diffing.plan import ColumnPair, Plan
from diffing.result import RULE_WORDS, Cell, Change, ColumnSummary, SideSummary, Summary
from diffing.sql import Sql, is_same_text, is_wide

AT_ONCE, VECTOR = 1 << 20, 2048
"""About so many cells of each kind are side by side in memory while columns are added up, and so many rows at most."""

Values = dict[int, tuple[str | None, int]]
"""Position of each number or date column to the sum of its changes, and how many differing cells don't read."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Rows by fate, and codes by column: of the compared cells, and of the matched ones."""

    fates: Counter[str]
    codes: list[Counter[str]]
    matches: list[Counter[str]]

    @classmethod
    def empty(cls, sql: Sql) -> Tally:
        """Nothing counted yet."""
        return cls(Counter(), [Counter() for _ in sql.plan.columns], [Counter() for _ in sql.matched])

    @property
    def differing(self) -> int:
        """Rows that are not the same in both files."""
        return self.fates.total() - self.fates[Change.UNCHANGED]


def summarize(run: Run, matching: Matching, compared: str) -> Summary:
    """The summary; `compared` is SQL for all rows that were compared.

    Raises:
        EngineError: the counts break the laws of conservation, so the result is wrong.
    """
    differing = f"(FROM {compared} WHERE change <> '{Change.UNCHANGED}')"
    why = partial(why_so_few, run.sql, partial(share_that_would_match, run, differing))
    tally = _tally(run, compared)
    return summary_of(run.plan, run.sides, matching, tally, partial(_values, run, differing, tally.differing), why)


def summarize_nothing(run: Run, matching: Matching) -> Summary:
    """The summary where all rows are identical."""
    return summary_of(run.plan, run.sides, matching, Tally.empty(run.sql), dict, lambda matched, keys: "")


def summary_of(
    plan: Plan, sides: Mapping[str, Side], matching: Matching, tally: Tally, values: Callable[[], Values], why: Callable[[int, int], str]
) -> Summary:
    """The summary from what was counted; `why` says why so many keys of so many match.

    Raises:
        EngineError: the counts break the laws of conservation, so the result is wrong.
    """
    added, removed, changed = (tally.fates[each] for each in (Change.ADDED, Change.REMOVED, Change.CHANGED))
    old, new = sides["old"], sides["new"]
    unchanged = old.rows - removed - changed
    if unchanged != new.rows - added - changed or unchanged < tally.fates[Change.UNCHANGED]:
        raise EngineError(
            f"The counts do not add up: {old.rows:,} − {removed:,} rows before, {new.rows:,} − {added:,} after.",
            "This is a fault in the program; please report it. No result was kept.",
        )
    columns = tuple(_columns(plan, tally, unchanged + changed, values()))
    summary = Summary(
        old=_side(old, matching.keys.get("old")),
        new=_side(new, matching.keys.get("new")),
        added=added,
        removed=removed,
        changed=changed,
        unchanged=unchanged,
        changed_cells=sum(column.changed for column in columns),
        columns=columns,
        key_same_by_rule=_key_same_by_rule(plan, tally),
        key=tuple(pair.name for pair in plan.key),
        columns_added=plan.columns_added,
        columns_removed=plan.columns_removed,
        columns_renamed=dict(plan.columns_renamed),
        columns_ignored=plan.columns_ignored,
        warnings=(),
        notes=plan.notes,
        seconds={},
    )
    return replace(summary, warnings=tuple(_warnings(plan, summary, matching, why)))


def _tally(run: Run, compared: str) -> Tally:
    tally = Tally.empty(run.sql)
    found = run.execute(f"SELECT change, codes, match_codes, count(*) FROM {compared} GROUP BY ALL")
    while batch := found.fetchmany(10_000):
        for change, codes, match_codes, count in batch:
            tally.fates[change] += count
            _add(tally.codes, codes, count)
            _add(tally.matches, match_codes or "", count)
    return tally


def _add(counters: Sequence[Counter[str]], codes: str, count: int) -> None:
    if codes.strip(Cell.SAME_TEXT + Cell.ALONE):
        for counter, code in zip(counters, codes, strict=False):
            counter[code] += count


def _columns(plan: Plan, tally: Tally, matched: int, values: Values) -> Iterator[ColumnSummary]:
    for i, pair in enumerate(plan.columns):
        changed = tally.codes[i][Cell.DIFFERS]
        total, unreadable = values.get(i, ("0" if pair.type is ColumnType.NUMBER else None, 0))
        same = {words: n for code, words in RULE_WORDS.items() if (n := (tally.codes if plan.key else tally.matches)[i][code])}
        share = 1 - changed / matched if matched else None
        yield ColumnSummary(pair.name, pair.type, changed, share, same, total, unreadable)


def _values(run: Run, rows: str, count: int) -> Values:
    """`rows` is SQL for so many rows. Each statement knows all columns of these, so the fewer there are the better."""
    values, most = _sums_of_decimals(run, rows), max(AT_ONCE // max(min(count, VECTOR), 1), 1)
    for pair, every in run.sql.rule_groups():
        wanted = [i for i in every if i not in values and pair.type is not ColumnType.TEXT]
        for first in range(0, len(wanted), most):
            for i, *sums, unreadable in run.execute(_value_query(run, pair, wanted[first : first + most], rows)).fetchall():
                values[i] = (exact_sum(*sums) if sums else None, int(unreadable or 0))
    return values


def _sums_of_decimals(run: Run, rows: str) -> Values:
    """The same of columns that hold nothing but decimals of few digits."""
    digits = {i: run.sql.digits[pair] for i, pair in enumerate(run.plan.columns) if pair in run.sql.digits}
    types = {i: f"DECIMAL({each.width + 1},{each.after})" for i, each in digits.items() if each.is_narrow}
    if not types:
        return {}
    items = (f"sum(CAST(c{i}_change AS {type_}))" for i, type_ in types.items())
    found = run.row(f"SELECT {', '.join(items)} FROM {rows}")
    return {i: (exact_sum(total, None, None, None), 0) for i, total in zip(types, found, strict=True)}


def _value_query(run: Run, pair: ColumnPair, at: Sequence[int], rows: str) -> str:
    """SQL for the columns `at`, which have one rule: position, parts of the sum of changes, unreadable cells."""
    number = pair.type is ColumnType.NUMBER
    sums = "".join(f", {item}" for item in sum_items(run.sql, "x", "d")) if number else ""
    lists = {
        "i": map(str, at),
        "a": (f"c{i}_old" for i in at),
        "b": (f"c{i}_new" for i in at),
        "times": (_new_cell_counts(run, i) for i in at),
    }
    if number:
        lists["x"] = (f"c{i}_change" for i in at)
    long = ", ".join(f"unnest([{', '.join(names)}]) AS {name}" for name, names in lists.items())
    unreadable = unreadable_cells(run.sql, pair, "x IS NULL" if number else "TRUE", "times")
    changed = " WHERE x IS NULL OR x <> '0'" if number else ""
    exact = f", {exact_plain_item('x')} AS d" if number else ""
    return f"SELECT i{sums}, {unreadable} FROM (SELECT *{exact} FROM (SELECT {long} FROM {rows}){changed}) GROUP BY i"


def _new_cell_counts(run: Run, i: int) -> str:
    """How many cells the new cell of a result's row stands for: it is stored once if the old one is the same text (see `sql.old_cell`)."""
    return "1" if is_wide(run.plan) else f"CASE WHEN {is_same_text(i)} THEN 2 ELSE 1 END"


def unreadable_cells(sql: Sql, pair: ColumnPair, only: str, times: str = "1") -> str:
    """SQL that counts the cells a and b of a column that don't read as its type, each b so many times."""
    counts = []
    for name, format_, each in (("a", pair.old_format, "1"), ("b", pair.new_format, times)):
        cell = f"({sql.normal(name, pair)})"
        reads = sql.is_number(cell) if pair.type is ColumnType.NUMBER else f"{sql.instant(cell, format_)} IS NOT NULL"
        counts.append(
            f"coalesce(sum(CASE WHEN {only} THEN CASE WHEN {cell} IS NOT NULL THEN CASE WHEN NOT ({reads}) THEN {each} END END END), 0)"
        )
    return " + ".join(counts)


def _key_same_by_rule(plan: Plan, tally: Tally) -> Mapping[str, int]:
    found = {pair.name: sum(tally.matches[i].values()) - tally.matches[i][Cell.SAME_TEXT] for i, pair in enumerate(plan.key)}
    return {name: count for name, count in found.items() if count}


def _side(each: Side, keys: KeyCounts | None) -> SideSummary:
    records, source = each.records, each.source
    kind: dict[str, Any] = {"format": source.format.value, "compression": source.compression}
    return SideSummary(
        name=source.name,
        rows=each.rows,
        bad_lines=records.bad_lines if records else 0,
        filled_lines=records.filled_lines if records else 0,
        bad=records.bad if records else (),
        null_keys=keys.null_rows if keys else 0,
        duplicate_keys=keys.repeated if keys else 0,
        duplicate_key_rows=keys.repeated_rows if keys else 0,
        dialect=kind | (source.dialect.in_words() if records else {}),
    )


def _warnings(plan: Plan, summary: Summary, matching: Matching, why: Callable[[int, int], str]) -> Iterator[str]:
    for side in (summary.old, summary.new):
        if side.bad_lines:
            yield f"{_were(side.bad_lines, 'bad line')} left out of {side.name}; partners in the other file show as added or removed."
        if side.filled_lines:
            yield f"{_were(side.filled_lines, 'short line')} filled with empty cells in {side.name}."
        if side.duplicate_keys:
            yield f"{_keys(side.duplicate_keys, 'occur')} more than once in {side.name}: their rows were paired by fewest differences."
    if matching.large_keys:
        yield f"{_keys(matching.large_keys, 'have')} more than {MOST_PAIRS:,} possible pairs; their rows were paired in text order."
    matched, fewest = summary.unchanged + summary.changed, min(summary.old.rows, summary.new.rows)
    if plan.key and matched < 0.01 * fewest:
        yield why(matched, fewest)


def _were(count: int, what: str) -> str:
    return f"1 {what} was" if count == 1 else f"{count:,} {what}s were"


def _keys(count: int, verb: str) -> str:
    return f"1 key {'has' if verb == 'have' else verb + 's'}" if count == 1 else f"{count:,} keys {verb}"
