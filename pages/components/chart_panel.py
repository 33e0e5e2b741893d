"""Charts of a result, each under its question. A click on a bar filters the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import streamlit as st

from diffing import charts
from diffing.charts import Chart
from diffing.errors import DiffError
from diffing.grammar import ColumnType
from diffing.jobs import Job
from diffing.result import ColumnSummary, Result
from diffing.services import services
from diffing.views import Distribution, Facet, FacetKind, TimeCounts, ValueCounts, by_value, distribution, facets, over_time
from pages.components import sight
from pages.components.fates import marked, named, number, plain, with_names
from pages.components.table import HASHES, View, narrow

QUIET = {"displayModeBar": False, "displaylogo": False}
LABEL_ROOM = 1.3
"""How much wider than the longest bar a chart is, for the number at its end."""
MOMENT, ROOM = 0.4, 620
"""Seconds before charts are drawn, and pixels that are kept for them meanwhile."""
TALLEST = 380
"""Pixels of a chart of many values; a taller one scrolls."""


def draw(result: Result, chart: Chart, key: str, *, question: bool = True, about: str = "", tallest: int | None = None) -> None:
    """A chart under its question (`about`: the column that it names), or without it where a widget asks."""
    height = tallest if tallest and chart.figure.layout.height > tallest else "content"
    with st.container(gap="xsmall"):
        if question:
            st.html(f'<p class="df-question">{with_names(chart.question, [about] if about else [])}</p>')
        with st.container(height=height, border=False):
            chart.figure.update_layout(legend_itemclick=False, legend_itemdoubleclick=False)
            _figure(result, chart, key)


def _figure(result: Result, chart: Chart, key: str) -> None:
    name = f"chart_{key}_{st.session_state.get('charts_clicked', 0)}"
    st.plotly_chart(
        chart.figure, key=name, on_select=lambda: _clicked(result, name), selection_mode="points", config=QUIET, alt=plain(chart.alt)
    )


def _clicked(result: Result, name: str) -> None:
    """Filter by the bar that was clicked, and forget the click, so that it can be clicked again."""
    points: list[dict[str, Any]] = st.session_state[name]["selection"]["points"]
    filter = charts.clicked(points[0].get("customdata")) if points else None
    st.session_state["charts_clicked"] = st.session_state.get("charts_clicked", 0) + 1
    if filter:
        narrow(View.now(result.plan), filter)
        sight.look_at_rows()


# --- questions, remembered -----------------------------------------------------------------------


@st.cache_data(hash_funcs=HASHES, max_entries=200, show_spinner=False)
def _distribution(result: Result, column: str) -> Distribution:
    return distribution(result, column)


@st.cache_data(hash_funcs=HASHES, max_entries=200, show_spinner=False)
def _facets(result: Result) -> tuple[Facet, ...]:
    return facets(result)


@st.cache_data(hash_funcs=HASHES, max_entries=200, show_spinner=False)
def _over_time(result: Result, column: str) -> TimeCounts:
    return over_time(result, column)


@st.cache_data(hash_funcs=HASHES, max_entries=200, show_spinner=False)
def _by_value(result: Result, column: str) -> ValueCounts:
    return by_value(result, column)


# --- the charts ----------------------------------------------------------------------------------


def charts_of(job: Job, result: Result) -> None:
    """All charts; at the first visit a moment later than the rest, which a browser that learns to draw them would hold up."""
    if st.session_state.get("charts_of") == result.folder.name:
        overview(job, result)
        where(result)
    else:
        _soon(result.folder.name)


@st.fragment(run_every=MOMENT)
def _soon(name: str) -> None:
    if st.session_state.get("charts_soon") == name:
        st.session_state["charts_of"] = name
        st.rerun()
    st.session_state["charts_soon"] = name
    st.skeleton(height=ROOM)


def overview(job: Job, result: Result) -> None:
    """What became of the rows, which columns changed, and how the numbers moved."""
    rows = charts.rows_chart(result.summary)
    rows.figure.update_xaxes(range=[0, result.summary.differing_rows + result.summary.unchanged])
    draw(result, rows, "rows")
    panels = list(_panels(job, result))
    if not panels:
        return
    for place, fill in zip(st.columns(len(panels), gap="medium"), panels, strict=True):
        with place:
            fill()


def _panels(job: Job, result: Result) -> Iterator[Callable[[], None]]:
    """What there is to show side by side; a single number column needs one place for its total and its changes."""
    numbers = [each.name for each in result.summary.columns if each.type is ColumnType.NUMBER]
    changed = [each.name for each in result.summary.columns if each.changed and each.name in numbers]
    if any(each.changed for each in result.summary.columns):
        yield lambda: _columns(result)
    if len(numbers) == 1:
        yield lambda: (_totals(job, result), _distributions(result, changed))
    elif numbers:
        yield lambda: _totals(job, result)
        if changed:
            yield lambda: _distributions(result, changed)


def _columns(result: Result) -> None:
    counts = sorted(((each.name, each.changed) for each in result.summary.columns if each.changed), key=lambda each: -each[1])
    chart = charts.columns_chart(dict(counts[: charts.MOST_BARS]), result.summary.changed)
    chart.figure.update_xaxes(range=[0, counts[0][1] * LABEL_ROOM])
    draw(result, chart, "columns")
    if len(counts) > charts.MOST_BARS:
        others = number(len(counts) - charts.MOST_BARS, "other column")
        st.caption(f"The {charts.MOST_BARS} most changed; {others} changed too, see “How this was compared”.")


def _totals(job: Job, result: Result) -> None:
    if job.totals and job.totals.active:
        _awaited_totals(job)
    else:
        _moved(result)


@st.fragment(run_every=1.5)
def _awaited_totals(job: Job) -> None:
    """The sums of changes, until the totals are there."""
    try:
        now = services().jobs.get(job.id)
        if now.totals is None or not now.totals.active:
            st.rerun()
        with services().jobs.lease(now) as lease:
            _moved(lease.result)
        st.caption("Adding up both files …")
    except DiffError:
        st.rerun()


def _moved(result: Result) -> None:
    """Totals as bars; a single one in words."""
    numbers = [each for each in result.summary.columns if each.type is ColumnType.NUMBER]
    chart = charts.totals_chart(numbers)
    if len(numbers) > 1:
        draw(result, chart, "totals")
        shown = charts.most_moved(numbers)
        if len(shown) < len(numbers):
            st.caption(f"{_left_out(shown)}; all are under “How this was compared”.")
    else:
        said = chart.alt.rpartition(": ")[2].removesuffix(".")
        st.html(f'<p class="df-question">How did the total of {named(numbers[0].name)} move?</p><p class="df-big">{marked(said)}</p>')


def _left_out(shown: Sequence[ColumnSummary]) -> str:
    """Which of the number columns are not shown."""
    if not charts.has_moved(shown[0]):
        return "None moved"
    return "The others did not move" if len(shown) < charts.MOST_TOTALS else f"The {len(shown)} that moved most"


def _distributions(result: Result, numbers: list[str]) -> None:
    if not numbers:
        return
    chosen = st.session_state.get("distribution_of")
    column = chosen if chosen in numbers else max(numbers, key={each.name: each.changed for each in result.summary.columns}.__getitem__)
    draw(result, charts.distribution_chart(_distribution(result, column)), "distribution", about=column)
    if len(numbers) > 1:
        st.selectbox("Number column", numbers, index=numbers.index(column), key="distribution_of", label_visibility="collapsed")


def where(result: Result) -> None:
    """Where the changes are, by a column the person chooses."""
    kinds = {each.column: each.kind for each in _facets(result)}
    if not kinds:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.html('<p class="df-question">Where are the changes, by</p>', width="content")
        column = st.selectbox("Column", list(kinds), key="facet", label_visibility="collapsed", width=260)
    if kinds[column] is FacetKind.TIME:
        chart = charts.time_chart(_over_time(result, column))
    else:
        chart = charts.values_chart(_by_value(result, column))
    draw(result, chart, "where", question=False, tallest=TALLEST)
