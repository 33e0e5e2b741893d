"""One comparison: its progress, then what changed. The address is a permanent link."""

from __future__ import annotations

import time
from dataclasses import replace

import streamlit as st

from diffing.errors import DiffError
from diffing.jobs import Job, JobState
from diffing.result import Change, Result, Summary
from diffing.services import services
from diffing.store import ResultGone
from pages.components import chart_panel, downloads, how, progress, sight, table
from pages.components.fates import lead, marked, named, number, plain, remainder, said, style, with_names

MOST_WARNINGS = 5


def main() -> None:
    style()
    named = st.query_params.get("job", "")
    job = progress.found(named) if named else None
    if job is None:
        nothing(named)
    elif job.state.active:
        heading(job)
        progress.running(job.id)
    elif job.state is not JobState.DONE:
        heading(job)
        progress.ended(job)
    else:
        finished(job)


def nothing(named: str) -> None:
    """Neither here nor elsewhere is such a result."""
    st.title("No result here", anchor=False)
    st.write(
        "There is no comparison with this address; it may have been deleted."
        if named
        else "Open a result from the history, or compare two files."
    )
    with st.container(horizontal=True):
        if st.button("Compare two files", type="primary"):
            st.switch_page("compare.py")
        if st.button("See the history"):
            st.switch_page("history.py")


def heading(job: Job) -> None:
    st.title(plain(job.label), anchor=False)


def finished(job: Job) -> None:
    try:
        with services().jobs.lease(job) as lease:
            whole(job, lease.result)
    except ResultGone as error:
        heading(job)
        st.info(said(error))
        progress.ways_on(job)
    except DiffError as error:
        st.error(said(error))


def whole(job: Job, result: Result) -> None:
    """The answer, then the evidence, then how it was found."""
    left, right = st.columns([3, 1.3], vertical_alignment="bottom")
    with left:
        heading(job)
    with right:
        downloads.whole(job, result.summary)
    sentence(job, result)
    origin(job)
    remarks(result.summary)
    if result.summary.differing_rows:
        evidence(job, result)
    how.compared(job, result)


def evidence(job: Job, result: Result) -> None:
    """Charts above rows; rows are sent first, so that they are painted first."""
    above = st.container()
    with st.container(key="rows"):
        st.subheader("Rows", anchor=False)
        table.rows(job)
    with above:
        chart_panel.charts_of(job, result)
    sight.brought_into_sight()


def sentence(job: Job, result: Result) -> None:
    summary = result.summary
    files = f"{marked(summary.old.name)} → {marked(summary.new.name)} · " if job.question.metric else ""
    key = " + ".join(map(named, summary.key))
    matched = f" · matched by {key}" if key else " · rows compared whole"
    with st.container(gap="xxsmall"):
        answer(result)
        st.html(f'<p class="df-quiet">{files}{number(summary.old.rows)} before, {summary.new.rows:,} after{matched}</p>')


def answer(result: Result) -> None:
    """What changed, in a sentence; each number in it leads to the rows that it counts."""
    summary = result.summary
    with st.container(horizontal=True, vertical_alignment="center", key="answer"):
        st.html(f'<p class="df-answer">{lead(summary)}</p>', width="content")
        for change in table.FATES:
            if n := getattr(summary, change):
                st.button(f"{n:,} {change}", key=f"answer_{change}", type="tertiary", on_click=only, args=(result, change))
        st.html(f'<p class="df-answer">{remainder(summary)}</p>', width="content")


def only(result: Result, change: Change) -> None:
    """Go to the rows of one fate."""
    view = table.View.now(result.plan)
    table.show(replace(view, filter=replace(view.filter, changes=(change,)), number=1))
    sight.look_at_rows()


def origin(job: Job) -> None:
    """When it was computed, if not just now."""
    if not job.from_cache or job.computed_at is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="origin"):
        st.caption(f"Answered from cache, computed {progress.ago(time.time() - job.computed_at)} ·", width="content")
        progress.again(job, "run again", type="tertiary")


def remarks(summary: Summary) -> None:
    """Warnings, and what became of the columns."""
    found = [with_names(each, summary.key) for each in summary.warnings]
    shown = found[:MOST_WARNINGS] + ([f"… and {len(found) - MOST_WARNINGS} more."] if len(found) > MOST_WARNINGS else [])
    lone = (("only in new", summary.columns_added), ("only in old", summary.columns_removed))
    shown += [
        f"{number(len(names), 'column')} {where}, not compared: {', '.join(map(named, names[:12]))}{' …' if len(names) > 12 else ''}"
        for where, names in lone
        if names
    ]
    if shown:
        st.html("".join(f'<p class="df-note">{each}</p>' for each in shown))


main()
