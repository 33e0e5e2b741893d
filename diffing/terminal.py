"""Results in a terminal: the answer first, then the evidence. Colour only where it is seen."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import IO, TYPE_CHECKING, Any

from diffing.result import Cell, Change, Result, Summary

if TYPE_CHECKING:
    from diffing.keys import KeySuggestion

EXAMPLES = 6
MOST_COLUMNS = 15
CELL_WIDTH = 40
SAME_BEFORE = 8
"""Letters that both cells of a change begin with and that are shown before what differs."""
COLOURS = {Change.ADDED: "32", Change.REMOVED: "31", Change.CHANGED: "34"}
SIGNS = {Change.ADDED: "+", Change.REMOVED: "−", Change.CHANGED: "~"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def safe(text: str) -> str:
    """A text without characters that would move the cursor, colour the screen or break the line."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def cell(text: str | None) -> str:
    """A cell as one short piece of a line."""
    if text is None:
        return "(empty)"
    short = text if len(text) <= CELL_WIDTH else text[: CELL_WIDTH - 1] + "…"
    return safe(short)


def both(old: str | None, new: str | None) -> str:
    """The two cells of a change; of long ones what differs, and a little before it."""
    texts = old or "", new or ""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False)))
    starts = [max(0, min(same - SAME_BEFORE, len(text) - CELL_WIDTH + 1)) for text in texts]
    return " → ".join(cell(text and ("…" if start else "") + text[start:]) for text, start in zip((old, new), starts, strict=True))


def answer(summary: Summary) -> str:
    """The sentence that answers the question."""
    same = f"{summary.unchanged:,} {_are(summary.unchanged)} the same."
    if not summary.differing_rows:
        return f"No row differs. {same}"
    counts = {"changed": summary.changed, "added": summary.added, "removed": summary.removed}
    parts = ", ".join(f"{count:,} {fate}" for fate, count in counts.items() if count)
    rows = "1 row differs" if summary.differing_rows == 1 else f"{summary.differing_rows:,} rows differ"
    return f"{rows}: {parts}. {same}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


class Terminal:
    """Writes lines for a stream: with colour if it is a terminal that wants some."""

    def __init__(self, stream: IO[str] | None) -> None:
        self.colour = stream is not None and stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def bold(self, text: str) -> str:
        return self.paint(text, "1")

    def result(self, result: Result, suggestion: KeySuggestion | None) -> Iterator[str]:
        """What a person wants to know about a comparison, line by line."""
        summary = result.summary
        yield self.bold(f"{safe(summary.old.name)} → {safe(summary.new.name)}")
        yield self.bold(answer(summary))
        yield f"{summary.old.rows:,} rows before, {summary.new.rows:,} after. {summary.seconds.get('total', 0):.1f} s."
        yield from self._key(summary, suggestion)
        yield from self._columns(summary)
        yield from self._same_by_rule(summary)
        yield from self._notices(summary)
        yield from self._examples(result)

    def _key(self, summary: Summary, suggestion: KeySuggestion | None) -> Iterator[str]:
        if summary.key:
            yield f"Rows are matched by {safe(', '.join(summary.key))}" + (f" (found: {safe(suggestion.in_words)})." if suggestion else ".")

    def _columns(self, summary: Summary) -> Iterator[str]:
        sets = {"added": summary.columns_added, "removed": summary.columns_removed, "left out": summary.columns_ignored}
        for what, names in sets.items():
            if names:
                yield f"Columns {what}: {safe(', '.join(names))}."
        if summary.columns_renamed:
            yield "Columns renamed: " + safe(", ".join(f"{old} → {new}" for old, new in summary.columns_renamed.items())) + "."
        changed = sorted((each for each in summary.columns if each.changed), key=lambda each: -each.changed)
        if changed:
            yield f"\n{self.bold('Changed cells')}"
        for each in changed[:MOST_COLUMNS]:
            total = f"   sum of changes {_signed(each.sum_of_changes)}" if each.sum_of_changes else ""
            yield f"{each.changed:>12,}  {safe(each.name)}{total}"
        if len(changed) > MOST_COLUMNS:
            yield f"              and {len(changed) - MOST_COLUMNS:,} more columns"
        yield from self._totals(summary)

    def _totals(self, summary: Summary) -> Iterator[str]:
        numbers = [each for each in summary.columns if each.old_total is not None]
        if numbers:
            yield f"\n{self.bold('Totals')}"
        for each in numbers:
            yield f"  {safe(each.name)}: {_grouped(each.old_total)} → {_grouped(each.new_total)}"

    def _same_by_rule(self, summary: Summary) -> Iterator[str]:
        found = [(each.name, rule, n) for each in summary.columns for rule, n in each.same_by_rule.items()]
        found += [(name, "as key", n) for name, n in summary.key_same_by_rule.items()]
        if found:
            yield f"\n{self.bold('Differ as text, count as same')}"
        for name, rule, count in found[:MOST_COLUMNS]:
            yield f"{count:>12,}  {safe(name)}: {rule}"
        if len(found) > MOST_COLUMNS:
            yield f"              and {len(found) - MOST_COLUMNS:,} more"

    def _notices(self, summary: Summary) -> Iterator[str]:
        if summary.notes or summary.warnings:
            yield ""
        yield from (f"note: {safe(each)}" for each in summary.notes)
        yield from (self.paint(f"warning: {safe(each)}", "33") for each in summary.warnings)
        for side in (summary.old, summary.new):
            yield from (f"  {safe(side.name)} line {bad.line}: {bad.reason}: {cell(bad.text)}" for bad in side.bad[:5])

    def _examples(self, result: Result) -> Iterator[str]:
        from diffing.export import coded_rows  # takes time, which telling an error should not

        rows = list(coded_rows(result, EXAMPLES))
        if rows:
            yield f"\n{self.bold('Examples')}"
        for codes, row in rows:
            yield self._example(result, codes, row)
        more = result.summary.differing_rows - len(rows)
        if more:
            yield f"  … {more:,} more; write them all with -o FILE"

    def _example(self, result: Result, codes: str, row: Mapping[str, str | None]) -> str:
        """One row: its sign, its key, and what differs."""
        plan, cells = result.plan, iter(row.values())
        change = Change(next(cells) or "")
        keys = [[next(cells) for _ in range(1 + pair.widened)] for pair in plan.key]
        said = [next((each for each in pair if each is not None), None) for pair in keys]
        named = "  ".join(f"{safe(pair.name)}={cell(each)}" for pair, each in zip(plan.key, said, strict=True))
        parts = []
        for pair, code in zip(plan.columns, codes, strict=True):
            old, new = next(cells), next(cells)
            if pair.type == "number":
                next(cells)
            if code == Cell.DIFFERS:
                parts.append(f"{safe(pair.name)} {both(old, new)}")
            elif change is not Change.CHANGED and (old or new):
                parts.append(cell(new if change is Change.ADDED else old))
        shown = "; ".join(parts[:5]) + (" …" if len(parts) > 5 else "")
        return f"  {self.paint(SIGNS[change], COLOURS[change])} {named}  {shown}".rstrip()

    @staticmethod
    def suggestions(found: Sequence[KeySuggestion]) -> Iterator[str]:
        """Suggested keys, best first."""
        yield from (f"{i}. {safe(each.in_words)}" for i, each in enumerate(found, 1))
        if not found:
            yield "No set of up to six columns names the rows: compare whole rows with --no-key."

    def description(self, found: Mapping[str, Any]) -> Iterator[str]:
        """A described file, line by line."""
        yield self.bold(f"{safe(found['file'])}: {found['rows']:,} rows, {len(found['columns']):,} columns, {found['size']:,} bytes")
        words = {**found["dialect"], "format": found["format"], "compression": found["compression"]}
        yield ", ".join(f"{name.replace('_', ' ')}: {safe(str(value))}" for name, value in words.items() if value not in (None, ""))
        yield from (f"  {each['type']:<7} {safe(each['name'])}  ({each['cells']})" for each in found["columns"])
        if found["bad_lines"]:
            yield self.paint(f"{found['bad_lines']:,} bad lines", "33")
        yield from (f"  line {bad['line']}: {bad['reason']}: {cell(bad['text'])}" for bad in found["bad"][:10])


def _grouped(number: str | None) -> str:
    """A plain decimal with thousands separators."""
    whole, point, fraction = (number or "0").partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{int(digits):,}{point}{fraction}"


def _signed(number: str | None) -> str:
    text = _grouped(number)
    return text if text.startswith("-") or text == "0" else f"+{text}"
