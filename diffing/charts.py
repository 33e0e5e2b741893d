"""Views as Plotly figures: each answers the question that is written above it.

Every bar carries the filter of the rows it counts (see `clicked`). Names and cells come from files:
they are shown as they are, never as markup.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlencode

import plotly.graph_objects as go

from diffing.grammar import ColumnType
from diffing.result import Change, ColumnSummary, Summary
from diffing.views import Bin, Bucket, Condition, Distribution, Fates, Filter, Test, TimeCounts, ValueCounts

COLOURS: Mapping[Change, str] = {
    Change.CHANGED: "#0072B2",
    Change.ADDED: "#009E73",
    Change.REMOVED: "#D55E00",
    Change.UNCHANGED: "#9E9E9E",
}
"""One colour per fate, everywhere, in the order in which fates are drawn."""
SIGNS: Mapping[Change, str] = {Change.CHANGED: "~", Change.ADDED: "+", Change.REMOVED: "−", Change.UNCHANGED: "="}
DIFFERING = tuple(change for change in COLOURS if change is not Change.UNCHANGED)
MOST_BARS, MOST_TOTALS = 10, 7
MOST_LETTERS = 40
LONGEST_TOTAL = 12
"""The most characters for which there is room beside a bar."""
MOST_TICKS = 12
FEWEST_BINS = 7
"""How many bars there is room for, however few there are: a single one would be a wall."""
BAR_HEIGHT = 26
EMPTY = "(empty)"


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure, the question it answers, and its answer in words for those who don't see it.

    Question and `alt` are plain text with names as in the files.
    """

    question: str
    figure: go.Figure
    alt: str


def clicked(customdata: object) -> Filter | None:
    """The filter that a clicked point carries; None if it carries none."""
    first = customdata[0] if isinstance(customdata, list | tuple) and customdata else customdata
    found = Filter.from_query(dict(parse_qsl(first))) if isinstance(first, str) else Filter()
    return None if found == Filter() else found


# --- charts --------------------------------------------------------------------------------------


def rows_chart(summary: Summary) -> Chart:
    """What became of the rows: one bar."""
    counts = {change: getattr(summary, change) for change in COLOURS}
    total = sum(counts.values())
    said = {change: f"{_rows(n)} {change} ({_share(n, total)})" for change, n in counts.items() if n}
    bars = [
        go.Bar(
            x=[counts[change]],
            y=[0],
            orientation="h",
            name=f"{SIGNS[change]} {counts[change]:,} {change}",
            marker_color=COLOURS[change],
            customdata=[_click(Filter(changes=(change,)) if change in DIFFERING else Filter())],
            **_hover([text]),
        )
        for change, text in said.items()
    ]
    figure = _figure(bars, height=76)
    figure.update_layout(margin={"t": 34, "r": 0})
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return Chart("What became of the rows?", figure, f"{', '.join(said.values()) or 'There are no rows'}.")


def columns_chart(counts: Mapping[str, int], rows: int | None = None) -> Chart:
    """Which columns changed how much, from changed cells by column; `rows` is what they are a share of."""
    changed = sorted(((name, n) for name, n in counts.items() if n), key=lambda each: -each[1])
    shown, rest = changed[:MOST_BARS], changed[MOST_BARS:]
    cells = sum(n for _, n in rest)
    labels = [_label(name) for name, _ in shown] + ([f"{_columns(len(rest), 'other')}"] if rest else [])
    numbers = [n for _, n in shown] + ([cells] if rest else [])
    bar = go.Bar(
        x=numbers,
        y=list(range(len(numbers))),
        orientation="h",
        text=[f"{n:,}" for n in numbers],
        textposition="outside",
        cliponaxis=False,
        marker_color=[COLOURS[Change.CHANGED]] * len(shown) + [COLOURS[Change.UNCHANGED]] * bool(rest),
        customdata=[_click(Filter(changed_columns=(name,))) for name, _ in shown] + [_click(Filter())] * bool(rest),
        **_hover([f"{label}: {n:,} changed cells{_share_of_rows(n, rows)}" for label, n in zip(labels, numbers, strict=True)]),
    )
    figure = _figure([bar], height=_height(len(numbers), axis=0), legend=False)
    _label_rows(figure, labels)
    figure.update_xaxes(visible=False)
    most = ", ".join(f"{_cut(name)} {n:,}" for name, n in changed[:3])
    alt = f"{_columns(len(changed))} changed. Changed cells: {most}." if changed else "No column changed."
    return Chart("Which columns changed?", figure, alt)


def totals_chart(columns: Sequence[ColumnSummary]) -> Chart:
    """How the totals of the number columns moved; the sums of changes where totals are not known."""
    shown = most_moved(columns)
    percents = [_percent(each) or 0.0 for each in shown]
    bar = go.Bar(
        x=percents,
        y=list(range(len(shown))),
        orientation="h",
        text=[_moved(each) for each in shown],
        textposition="outside",
        cliponaxis=False,
        marker_color=COLOURS[Change.CHANGED],
        customdata=[_click(Filter(changed_columns=(each.name,))) for each in shown],
        **_hover([f"{_label(each.name)}: {_move(each, exactly=True)}" for each in shown]),
    )
    figure = _figure([bar], height=_height(len(shown), 40, axis=0), legend=False)
    _label_rows(figure, ["<br>".join(filter(None, (_label(each.name), _sides(each)))) for each in shown])
    figure.update_xaxes(visible=False, range=_with_room(percents))
    known = any(each.old_total is not None for each in shown)
    said = "; ".join(f"{_cut(each.name)}: {_move(each)}" for each in shown[:5])
    question = "How did the totals move?" if known else "What do the changes add up to?"
    return Chart(question, figure, f"{said}." if said else "There is no column of numbers.")


def most_moved(columns: Sequence[ColumnSummary]) -> list[ColumnSummary]:
    """The number columns for which there is room, farthest moved first; where not all fit, those that did not move are left out."""
    numbers = sorted((each for each in columns if each.type is ColumnType.NUMBER), key=lambda each: -_weight(each))
    moved = [each for each in numbers if has_moved(each)]
    return (moved if moved and len(numbers) > MOST_TOTALS else numbers)[:MOST_TOTALS]


def has_moved(column: ColumnSummary) -> bool:
    """Whether the total of a number column is another, as far as it is known."""
    return _weight(column) > 0


def distribution_chart(distribution: Distribution) -> Chart:
    """How large the changes of a number column are."""
    bins, column = distribution.bins, distribution.column
    edges = [each.low for each in bins] + [each.high for each in bins[-1:]]
    bar = go.Bar(
        x=list(range(len(bins))),
        y=[each.count for each in bins],
        width=1,
        marker_color=COLOURS[Change.CHANGED],
        marker_line_width=0,
        customdata=[_click(_changed_by(column, each)) for each in bins],
        **_hover([f"{_span(each, distribution.whole)}: {_rows(each.count)}" for each in bins]),
    )
    figure = _figure([bar], height=220, legend=False)
    each_one = distribution.whole and all(Decimal(each.high) - Decimal(each.low) == 1 for each in bins)
    ticks = _ticks([each.low for each in bins] if each_one else edges)
    figure.update_xaxes(tickvals=[i - (0 if each_one else 0.5) for i in ticks], ticktext=[_signed(edges[i]) for i in ticks], showgrid=False)
    if len(bins) < FEWEST_BINS:
        figure.update_xaxes(range=[(len(bins) - 1 - FEWEST_BINS) / 2, (len(bins) - 1 + FEWEST_BINS) / 2])
    if "0" in edges[1:-1] and not each_one:
        figure.add_vline(x=_zero(edges) - 0.5, line_width=1, line_color=COLOURS[Change.UNCHANGED])
    total = sum(each.count for each in bins)
    alt = f"{_rows(total)}: {distribution.increases:,} up, {distribution.decreases:,} down."
    most = max(bins, key=lambda each: each.count, default=None)
    return Chart(
        f"By how much did “{column}” change?",
        figure,
        f"{alt} Most often {_span(most, distribution.whole)}." if most else "No number changed.",
    )


def time_chart(counts: TimeCounts) -> Chart:
    """When the rows that differ are, by a date column."""
    traces = [
        go.Bar(
            x=[_middle(each) for each in counts.buckets],
            y=[getattr(each.fates, change) for each in counts.buckets],
            width=[_days(each) * 86_400_000 * 0.92 for each in counts.buckets],
            name=f"{SIGNS[change]} {change}",
            marker_color=COLOURS[change],
            marker_line_width=0,
            customdata=[_click(_within(counts.column, each, change)) for each in counts.buckets],
            **_hover([f"{_when(each)}: {_rows(getattr(each.fates, change))} {change}" for each in counts.buckets]),
        )
        for change in _present(each.fates for each in counts.buckets)
    ]
    figure = _figure(traces, height=260)
    figure.update_xaxes(type="date", fixedrange=False, showgrid=False, tickformat=None)
    most = max(counts.buckets, key=lambda each: each.fates.total, default=None)
    undated = f" {_rows(counts.undated.total)} without a date." if counts.undated.total else ""
    alt = f"Most in {_when(most)}: {_fates(most.fates)}." if most else "There are no dates."
    return Chart(f"When are the changes, by “{counts.column}” per {counts.unit}?", figure, alt + undated)


def values_chart(counts: ValueCounts) -> Chart:
    """Where the rows that differ are, by the values of a column."""
    labels = [_label(EMPTY if value is None else value) for value, _ in counts.values]
    fates = [each for _, each in counts.values]
    filters = [_holding(counts.column, value) for value, _ in counts.values]
    if counts.others:
        labels, fates = [*labels, f"{counts.others:,} other values"], [*fates, counts.other]
    traces = [
        go.Bar(
            x=[getattr(each, change) for each in fates],
            y=list(range(len(fates))),
            orientation="h",
            name=f"{SIGNS[change]} {change}",
            marker_color=COLOURS[change],
            customdata=[_click(each.narrowed(Filter(changes=(change,)))) for each in filters] + [_click(Filter())] * bool(counts.others),
            **_hover([f"{label}: {_rows(getattr(each, change))} {change}" for label, each in zip(labels, fates, strict=True)]),
        )
        for change in _present(fates)
    ]
    figure = _figure(traces, height=_height(len(labels)) + 30)
    _label_rows(figure, labels)
    most = "; ".join(f"{_cut(EMPTY if value is None else value)}: {_fates(each)}" for value, each in counts.values[:3])
    return Chart(f"Where are the changes, by “{counts.column}”?", figure, f"{most}." if most else "No row differs.")


# --- filters of points ---------------------------------------------------------------------------


def _click(filter: Filter) -> list[str]:
    """What a point carries: the query part of a URL."""
    return [urlencode(filter.to_query())]


def _changed_by(column: str, each: Bin) -> Filter:
    return Filter(changes=(Change.CHANGED,), changed_columns=(column,), change_between=(column, each.low, each.high))


def _within(column: str, each: Bucket, change: Change) -> Filter:
    days = (each.first.isoformat(), each.last.isoformat())
    return Filter(changes=(change,), conditions=(Condition(column, Test.BETWEEN, days),))


def _holding(column: str, value: str | None) -> Filter:
    condition = Condition(column, Test.NULL) if value is None else Condition(column, Test.EQUALS, (value,))
    return Filter(conditions=(condition,))


# --- words ---------------------------------------------------------------------------------------


def _cut(text: str) -> str:
    """Text from a file on one line, and not too long."""
    line = " ".join(text.split()) or text
    return line if len(line) <= MOST_LETTERS else f"{line[: MOST_LETTERS - 1]}…"


def _label(text: str) -> str:
    """The same for a figure, in which markup and formulas are shown as they are written."""
    return html.escape(_cut(text), quote=False).replace("$", "&#36;")


def _rows(n: int) -> str:
    return "1 row" if n == 1 else f"{n:,} rows"


def _columns(n: int, kind: str = "") -> str:
    return f"{n:,} {kind}{' ' if kind else ''}column{'' if n == 1 else 's'}"


def _fates(fates: Fates) -> str:
    return ", ".join(f"{getattr(fates, change):,} {change}" for change in DIFFERING if getattr(fates, change))


def _present(every: Iterable[Fates]) -> list[Change]:
    """The fates that occur."""
    listed = list(every)
    return [change for change in DIFFERING if any(getattr(each, change) for each in listed)]


def _share(n: int, total: int) -> str:
    """A percentage that is 0% or 100% only if it is so exactly."""
    if 0 < n < 0.001 * total:
        return "<0.1%"
    if 0.999 * total < n < total:
        return ">99.9%"
    return f"{100 * n / total:.1f}%".replace(".0%", "%") if total else "0%"


def _share_of_rows(n: int, rows: int | None) -> str:
    return f" ({_share(n, rows)} of the rows)" if rows and n <= rows else ""


def _percent(column: ColumnSummary) -> float | None:
    """How far the total moved, in percent of the old one; None if that is not known or endless."""
    if column.old_total is None or column.new_total is None or not Decimal(column.old_total):
        return None
    old, new = Decimal(column.old_total), Decimal(column.new_total)
    return float((new - old) / abs(old) * 100)


def _weight(column: ColumnSummary) -> float:
    """How far a total moved, to compare it with others: from zero to anything is farthest."""
    percent = _percent(column)
    return abs(percent) if percent is not None else float("inf") if _difference(column) else 0.0


def _move(column: ColumnSummary, *, exactly: bool = False) -> str:
    """Old and new total in words, and how far it moved; the sum of changes if they are not known."""
    sides, moved = _sides(column, exactly=exactly), _moved(column, exactly=exactly)
    return f"{sides} ({moved})" if sides else moved


def _sides(column: ColumnSummary, *, exactly: bool = False) -> str:
    """Old and new total; nothing if they are not known."""
    if column.old_total is None or column.new_total is None:
        return ""
    old, new = (grouped(column.old_total), grouped(column.new_total)) if exactly else _both_short(column.old_total, column.new_total)
    return f"{old} → {new}"


def _moved(column: ColumnSummary, *, exactly: bool = False) -> str:
    """How far a total moved: in percent, or by how much where that says nothing."""
    percent, moved = _percent(column), _difference(column)
    if moved is None:
        return "no total"
    if not moved:
        return "no change"
    if percent is None:
        said = grouped if exactly else _short
        return f"+{said(str(moved))}" if moved > 0 else said(str(moved))
    return (f"{percent:+,.1f}%" if abs(percent) >= 0.05 else f"{percent:+.1g}%").replace("-", "−")


def _difference(column: ColumnSummary) -> Decimal | None:
    """New minus old total; the sum of changes if they are not known."""
    if column.old_total is not None and column.new_total is not None:
        return Decimal(column.new_total) - Decimal(column.old_total)
    return None if column.sum_of_changes is None else Decimal(column.sum_of_changes)


def grouped(number: str) -> str:
    """A plain decimal with thousands separators, all digits kept."""
    return f"{Decimal(number):,f}".replace("-", "−")


def _short(number: str, more: int = 0) -> str:
    """A plain decimal with about four digits, and so many more."""
    value = Decimal(number)
    size = abs(value)
    if size >= Decimal("1e15") or 0 < size < Decimal("0.001"):
        return f"{float(value):.{3 + more}g}".replace("-", "−")
    for least, word in ((10**12, " tn"), (10**9, " bn"), (10**6, " M")):
        if size >= least:
            return f"{value / least:,.{1 + more}f}{word}".replace("-", "−")
    digits = more + (0 if size >= 1000 else 2 if size >= 1 else 4)
    text = f"{value:,.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")


def _both_short(old: str, new: str) -> tuple[str, str]:
    """Two numbers with as many digits more as tell them apart."""
    short = [(_short(old, more), _short(new, more)) for more in range(3)]
    exact = grouped(old), grouped(new)
    choices = [*short, exact] if max(map(len, exact)) <= LONGEST_TOTAL else short
    return next((each for each in choices if each[0] != each[1]), short[0])


def _signed(number: str) -> str:
    return f"+{_short(number)}" if Decimal(number) > 0 else _short(number)


def _span(each: Bin, whole: bool = False) -> str:
    """A stretch of changes in words, its edges exact. Whole changes by one number have no stretch."""
    low, high = Decimal(each.low), Decimal(each.high)
    if low < 0 < high:
        return f"by {grouped(each.low)} to {grouped(each.high)}"
    way, near, far = ("up", low, high) if low >= 0 else ("down", -high, -low)
    if whole and high - low == 1:
        return f"{way} by {abs(low):,f}"
    return f"{way} by {near:,f} to {far:,f}" if near else f"{way} by {'less than' if low >= 0 else 'at most'} {far:,f}"


def _ticks(edges: Sequence[str]) -> list[int]:
    """Which edges are labelled: not too many, zero among them."""
    every = max(1, -(-len(edges) // MOST_TICKS))
    return [i for i in range(len(edges)) if (i - _zero(edges)) % every == 0]


def _zero(edges: Sequence[str]) -> int:
    """Where zero is among edges; 0 if it is not."""
    return edges.index("0") if "0" in edges else 0


def _days(each: Bucket) -> int:
    return (each.last - each.first).days + 1


def _middle(each: Bucket) -> datetime:
    return datetime.combine(each.first, time()) + timedelta(days=_days(each)) / 2


def _when(each: Bucket) -> str:
    return f"{each.first}" if each.first == each.last else f"{each.first} to {each.last}"


# --- figures -------------------------------------------------------------------------------------


def _hover(texts: Sequence[str]) -> dict[str, Any]:
    return {"hovertext": list(texts), "hovertemplate": "%{hovertext}<extra></extra>"}


def _height(bars: int, each: int = BAR_HEIGHT, axis: int = 24) -> int:
    """Pixels for so many horizontal bars, and for an axis below them."""
    return max(bars, 1) * each + axis + 16


def _with_room(lengths: Sequence[float]) -> list[float]:
    """A range for bars of these lengths, with room for a word at their ends."""
    low, high = min(lengths, default=0.0), max(lengths, default=0.0)
    span = max(high, 0.0) - min(low, 0.0) or 1.0
    return [min(low, 0.0) - (0.4 * span if low < 0 else 0.0), max(high, 0.0) + 0.4 * span]


def _figure(bars: Sequence[go.Bar], *, height: int, legend: bool = True) -> go.Figure:
    """Bars on a transparent ground, without fonts or colours of their own around them."""
    figure = go.Figure(list(bars))
    figure.update_layout(
        barmode="stack",
        bargap=0.25,
        height=height,
        margin={"l": 0, "r": 16, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hovermode="closest",
        showlegend=legend,
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
    )
    figure.update_xaxes(fixedrange=True, tickformat=",", automargin=True)
    figure.update_yaxes(fixedrange=True, tickformat=",", automargin=True)
    return figure


def _label_rows(figure: go.Figure, labels: Sequence[str]) -> None:
    """Write labels beside horizontal bars, the first on top. Bars have numbers: equal labels stay apart."""
    figure.update_yaxes(tickvals=list(range(len(labels))), ticktext=list(labels), autorange="reversed", showgrid=False, zeroline=False)
