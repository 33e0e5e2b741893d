"""Every comparison that this browser may see: open, run again, delete. Newest first."""

from __future__ import annotations

import time
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from diffing.errors import DiffError
from diffing.jobs import Job, JobState
from diffing.services import services
from diffing.sizes import in_words
from diffing.uploads import OWNER_COOKIE
from pages.components import progress
from pages.components.fates import marked, number, plain, said, style

PER_PAGE = 20
WIDTHS = [4, 2.2, 1.6, 2, 1.2, 2.6]
HEADS = ("Comparison", "State", "Started", "Rows that differ", "On disk", "")
WORDS = {
    JobState.QUEUED: "waiting",
    JobState.RUNNING: "running",
    JobState.DONE: "done",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
    JobState.INTERRUPTED: "interrupted",
}


def main() -> None:
    style()
    st.title("History", anchor=False)
    jobs = services().jobs.list(st.context.cookies.get(OWNER_COOKIE, ""))
    if not jobs:
        nothing()
        return
    st.fragment(listed, run_every=2.0 if any(job.state.active for job in jobs) else None)()


def nothing() -> None:
    st.write("Nothing has been compared yet. What you compare is listed here, so that you can come back to it.")
    if st.button("Compare two files", type="primary"):
        st.switch_page("compare.py")


def listed() -> None:
    """One page of jobs, looked at again while any of them runs."""
    jobs = services().jobs.list(st.context.cookies.get(OWNER_COOKIE, ""))
    st.caption(f"{number(len(jobs), 'comparison')}: those of metrics, and of the files this browser uploaded. {_room()}")
    pages = max(1, -(-len(jobs) // PER_PAGE))
    at = min(st.session_state.get("history_page", 1), pages)
    for place, head in zip(st.columns(WIDTHS), HEADS, strict=True):
        place.html(f'<p class="df-quiet">{head}</p>')
    for job in jobs[(at - 1) * PER_PAGE : at * PER_PAGE]:
        line(job)
    if pages > 1:
        st.pagination(pages, key="history_page")


def _room() -> str:
    """How full the store is, and when results go."""
    settings, store = services().settings, services().store
    full = f"Results take {in_words(store.size)} of {in_words(settings.store_limit)}"
    return f"{full}; what nobody opens for {settings.store_days:g} days is removed."


def line(job: Job) -> None:
    what, state, when, differing, size, actions = st.columns(WIDTHS, vertical_alignment="center")
    with what:
        st.page_link("result.py", label=f"**{plain(job.label)}**", query_params={"job": str(job.id)})
    state.html(f'<p class="df-state df-state-{job.state}">{state_of(job)}</p>')
    when.html(f'<p class="df-cellular" title="{marked(_moment(job.submitted))}">{progress.ago(time.time() - job.submitted)}</p>')
    stored = services().store.find(job.result_id) if job.state is JobState.DONE and job.result_id else None
    differing.html(f'<p class="df-cellular">{_differing(job.result_id, stored.computed) if stored else "–"}</p>')
    size.html(f'<p class="df-cellular">{in_words(stored.size) if stored else "–"}</p>')
    with actions.container(horizontal=True, horizontal_alignment="right", gap="xsmall"):
        buttons(job)


def state_of(job: Job) -> str:
    """The state in words."""
    if job.state is JobState.RUNNING:
        return f"running · {job.share:.0%}"
    if job.state is JobState.QUEUED:
        return f"waiting · number {job.position}"
    if job.state is JobState.DONE and job.from_cache:
        return "done · from cache"
    return WORDS[job.state]


def buttons(job: Job) -> None:
    if job.state.active:
        st.button("Cancel", key=f"cancel_{job.id}", on_click=services().jobs.cancel, args=(job.id,))
        return
    if st.button("Run again", key=f"again_{job.id}"):
        run_again(job)
    with st.popover("Delete", key=f"delete_{job.id}"):
        st.write(
            "Delete this comparison and its result? The files stay as they are."
            if job.question.metric
            else "Delete this comparison and its result?"
        )
        if st.button("Delete it", key=f"confirmed_{job.id}", type="primary"):
            services().jobs.delete(job.id)
            st.rerun()


def run_again(job: Job) -> None:
    try:
        fresh = services().jobs.run_again(job.id)
    except DiffError as error:
        st.toast(said(error))
        return
    st.switch_page("result.py", query_params={"job": str(fresh.id)})


@st.cache_data(max_entries=2_000, show_spinner=False)
def _differing(result_id: str, computed: float) -> str:
    """How many rows of a result differ; `computed` tells its versions apart."""
    try:
        with services().store.peek(result_id) as lease:
            return f"{lease.result.summary.differing_rows:,}"
    except DiffError:
        return "–"


def _moment(seconds: float) -> str:
    """A time as the clock of this browser shows it."""
    try:
        zone = ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        zone = ZoneInfo("UTC")
    return datetime.fromtimestamp(seconds, zone).strftime("%Y-%m-%d %H:%M:%S")


main()
