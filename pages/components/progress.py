"""A job that has no result (yet): how far it is, or how it ended."""

from __future__ import annotations

import streamlit as st

from diffing.errors import DiffError
from diffing.jobs import MAKING_DEMO, Job, JobId, JobState, UnknownJob
from diffing.services import services
from pages.components.fates import plain, said

ENDED = {
    JobState.FAILED: "This comparison failed.",
    JobState.CANCELLED: "This comparison was cancelled.",
    JobState.INTERRUPTED: "This comparison was interrupted.",
}
STAGES = {
    MAKING_DEMO: "making the demo data (only this once)",
    "looking for a key in a sample": "looking for columns that name the rows",
    "trying keys on the whole files": "trying keys on all rows",
    "checking the key on the whole files": "checking the key on all rows",
    "reading both files": "reading both files, setting equal rows aside",
    "cancelling identical rows": "setting equal rows aside",
    "matching rows": "matching rows by key",
    "sorting the result": "sorting what differs",
    "adding up totals": "adding up both files",
}
"""Stages that people know by other words."""
PATIENCE = 0.4
"""Seconds that a page waits for a job that may be done at once, before it shows progress."""


def found(text: str) -> Job | None:
    """The job that an address names, when it is done or not done soon."""
    id_: JobId = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else text
    try:
        return services().jobs.wait(id_, PATIENCE)
    except UnknownJob:
        return None


@st.fragment(run_every=1.0)
def running(id_: JobId) -> None:
    """Progress of a job, looked at every second; the page runs again when the job has ended."""
    try:
        job = services().jobs.get(id_)
    except UnknownJob:
        st.rerun()
    if not job.state.active:
        st.rerun()
    with st.container(border=True):
        st.progress(job.share, text=_said(job))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button("Cancel", key="cancel", on_click=services().jobs.cancel, args=(id_,))
            st.caption("You can close this page and come back: its address stays the same.")


def _said(job: Job) -> str:
    if job.state is JobState.QUEUED:
        return f"Waiting: number {job.position} in the queue"
    return f"{plain(stage(job.stage))} · {job.share:.0%} · {elapsed(job.elapsed or 0)}"


def stage(name: str) -> str:
    """A stage of a comparison in words."""
    words = STAGES.get(name, name)
    return words[:1].upper() + words[1:]


def elapsed(seconds: float) -> str:
    """A stretch of time as people say it."""
    whole = int(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def ago(seconds: float) -> str:
    """How long ago something was."""
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            n = int(seconds // size)
            return f"{n} {unit}{'' if n == 1 else 's'} ago"
    return "just now"


def ended(job: Job) -> None:
    """Why there is no result, and what to do."""
    show = st.error if job.state is JobState.FAILED else st.info
    show(said(DiffError(job.message or ENDED[job.state], job.hint)))
    ways_on(job)


def ways_on(job: Job) -> None:
    """Ask the same again, or something else about the same files; what failed once would fail again."""
    failed = job.state is JobState.FAILED
    with st.container(horizontal=True):
        if failed:
            elsewhere(job, "Change the choices", type="primary")
        again(job, "Run again", type="secondary" if failed else "primary")
        if not failed:
            elsewhere(job, "Change the choices")


def again(job: Job, label: str, **looks: str) -> None:
    """A button that asks the same again and goes to the new job."""
    if not st.button(label, key="again", **looks):
        return
    try:
        fresh = services().jobs.run_again(job.id)
    except DiffError as error:
        st.error(said(error))
        return
    st.query_params.from_dict({"job": str(fresh.id)})
    st.rerun()


def elsewhere(job: Job, label: str, **looks: str) -> None:
    """A button to the page on which the choices of a job can be changed."""
    if st.button(label, key="choices", **looks):
        st.switch_page("compare.py", query_params={"job": str(job.id)})
