"""How a result came about, folded away: files, dialects, key, rules, notes, bad lines, seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import streamlit as st

from diffing.charts import grouped
from diffing.grammar import ColumnType
from diffing.jobs import Job
from diffing.plan import ColumnPair
from diffing.result import ColumnSummary, Result, SideSummary, Summary
from diffing.sizes import in_words
from diffing.sources import Source
from pages.components import progress
from pages.components.fates import marked, named, with_names

MOST_BAD = 20


def compared(job: Job, result: Result) -> None:
    """The fold, and the way to other rules."""
    with st.expander("How this was compared"):
        st.html(_files(result) + _matching(job, result) + _columns(result) + _bad_lines(result.summary) + _seconds(result.summary))
        progress.elsewhere(job, "Compare again with other rules")


def _table(caption: str, heads: Iterable[str], lines: Iterable[Iterable[object]]) -> str:
    """A table of cells that are HTML already."""
    titles = list(heads)
    head = "".join(f"<th scope=col>{each}</th>" for each in titles) if any(titles) else ""
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in lines)
    return (
        f'<table class="df-table df-narrow"><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        if body
        else ""
    )


# --- files ---------------------------------------------------------------------------------------


def _files(result: Result) -> str:
    plan, summary = result.plan, result.summary
    sides = ((plan.old, summary.old), (plan.new, summary.new))
    lines: list[tuple[object, ...]] = [
        ("File", *(marked(side.name) for _, side in sides)),
        ("Size", *(_size(source) for source, _ in sides)),
        ("Rows", *(f"{side.rows:,}" for _, side in sides)),
        ("Spelling", *(marked(_dialect(side.dialect)) for _, side in sides)),
        ("Bad lines", *(_bad(side) for _, side in sides)),
        ("Rows with an empty key cell", *(f"{side.null_keys:,}" for _, side in sides)),
        ("Keys that occur more than once", *(f"{side.duplicate_keys:,} (in {side.duplicate_key_rows:,} rows)" for _, side in sides)),
    ]
    if not plan.key:
        lines = lines[:-2]
    note = (
        ""
        if summary.whole_files or not plan.key
        else '<p class="df-quiet">Key counts are over rows that are not identical in both files.</p>'
    )
    return _table("Files", ("", "Old", "New"), lines) + note


def _size(source: Source) -> str:
    return in_words(source.size) + (f", {marked(source.compression)}" if source.compression else "")


def _dialect(dialect: Mapping[str, object]) -> str:
    if not dialect:
        return "Parquet"
    said = [str(dialect.get(name, "")) for name in ("delimiter", "encoding", "line_end")]
    said.append("with a header" if dialect.get("header", True) else "without a header")
    if dialect.get("skip_rows"):
        said.append(f"{dialect['skip_rows']} lines skipped")
    return ", ".join(filter(None, said))


def _bad(side: SideSummary) -> str:
    filled = f"{side.filled_lines:,} filled" if side.filled_lines else ""
    left = f"{side.bad_lines:,} left out" if side.bad_lines else ""
    return ", ".join(filter(None, (left, filled))) or "none"


# --- matching ------------------------------------------------------------------------------------


def _matching(job: Job, result: Result) -> str:
    plan, summary = result.plan, result.summary
    key = " + ".join(named(pair.name) for pair in plan.key) or "whole rows (no key)"
    why = f" <span class=df-quiet>{with_names(job.key_note, summary.key)}</span>" if job.key_note else ""
    lines = [("Rows are matched by", key + why)]
    listed = (
        ("Columns only in new", summary.columns_added),
        ("Columns only in old", summary.columns_removed),
        ("Columns left out", summary.columns_ignored),
    )
    lines += [(label, ", ".join(map(named, names))) for label, names in listed if names]
    if summary.columns_renamed:
        lines.append(("Renamed", ", ".join(f"{named(old)} → {named(new)}" for old, new in summary.columns_renamed.items())))
    same = [f"{named(name)}: {n:,} keys match although their text differs" for name, n in summary.key_same_by_rule.items() if n]
    notes = [*(with_names(each, summary.key) for each in summary.notes), *same]
    lines += [("Note" if i == 0 else "", note) for i, note in enumerate(notes)]
    return _table("Matching", ("", ""), lines)


# --- columns -------------------------------------------------------------------------------------


def _columns(result: Result) -> str:
    lines = [_column(pair, each) for pair, each in zip(result.plan.columns, result.summary.columns, strict=True)]
    heads = ["Column", "Rule", "Changed cells", "Differ as text, count as same", "Read as text"]
    if any(each.old_total is not None for each in result.summary.columns):
        heads.append("Total")
        lines = [(*line, _total(each)) for line, each in zip(lines, result.summary.columns, strict=True)]
    return _table("Columns and their rules", heads, lines)


def _total(each: ColumnSummary) -> str:
    """Old and new total, all digits kept."""
    if each.old_total is None or each.new_total is None:
        return ""
    old, new = grouped(each.old_total), grouped(each.new_total)
    return old if old == new else f"{old} → {new}"


def _column(pair: ColumnPair, each: ColumnSummary) -> tuple[object, ...]:
    same = ", ".join(f"{n:,} {marked(words)}" for words, n in each.same_by_rule.items() if n)
    return named(each.name), marked(rule(pair)), f"{each.changed:,}", same, f"{each.unreadable:,}" if each.unreadable else ""


def rule(pair: ColumnPair) -> str:
    """How a column is compared, in words."""
    said = [{ColumnType.NUMBER: _numbers(pair), ColumnType.DATE: "dates by value"}.get(pair.type, "exact text")]
    said += ["ignoring case"] * pair.ignore_case + ["ignoring surrounding spaces"] * pair.ignore_space
    if pair.nulls:
        said.append("empty also as " + ", ".join(f"“{word}”" for word in pair.nulls))
    if pair.old_format or pair.new_format:
        said.append(f"dates as {pair.old_format or 'ISO'} and {pair.new_format or 'ISO'}")
    return ", ".join(said)


def _numbers(pair: ColumnPair) -> str:
    tolerance = pair.tolerance
    if tolerance is None:
        return "numbers, within 1e-9 of each other if they have a fraction"
    relative = f"{tolerance.relative * 100:g}%" if tolerance.relative else ""
    parts = [f"{tolerance.absolute:g}" if tolerance.absolute else "", relative]
    return f"numbers within {' or '.join(filter(None, parts))}" if any(parts) else "numbers, exactly"


# --- bad lines, seconds --------------------------------------------------------------------------


def _bad_lines(summary: Summary) -> str:
    lines = [
        (marked(side.name), f"{bad.line:,}", marked(bad.reason), f"<code>{marked(bad.text)}</code>")
        for side in (summary.old, summary.new)
        for bad in side.bad[:MOST_BAD]
    ]
    return _table("Bad lines", ("File", "Line", "What is wrong", "Text"), lines)


def _seconds(summary: Summary) -> str:
    later = {"total": "<b>In all</b>", "totals": "Totals, afterwards"}
    stages = [(marked(progress.stage(stage)), stage) for stage in summary.seconds if stage not in later]
    stages += [(words, stage) for stage, words in later.items() if stage in summary.seconds]
    return _table("Seconds per stage", ("", ""), [(words, f"{summary.seconds[stage]:.2f}") for words, stage in stages])
