"""Metrics: what can be compared by name, whether its files are there, and how it came out last."""

from __future__ import annotations

import time

import streamlit as st

from diffing.errors import DiffError
from diffing.jobs import Job, JobState, demo_folder
from diffing.metrics import Metric
from diffing.services import services
from diffing.sizes import in_words
from diffing.store import ResultGone
from pages.components import files, progress
from pages.components.fates import number, plain
from pages.components.files_finding import shown_error
from pages.components.rules_columns import listed

WIDTHS = [30, 24, 24, 30, 20]
HEADS = ["Metric", "Old", "New", "Last result", ""]
STATES = {
    JobState.QUEUED: "waiting",
    JobState.RUNNING: "running",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
    JobState.INTERRUPTED: "interrupted",
}
LOOK = """
.st-key-metric_heads {border-color: transparent; padding-top: 0; padding-bottom: 0}
[class*="st-key-last_"] button {min-height: 0; padding: 0}
"""
"""Heads stand above their columns, and a button in a line of text takes no more room than the text."""
EXAMPLE = """[orders]
title = "Orders"
description = "Orders per day and shop."
old = "data/orders_old.csv"        # paths start at the folder of metrics.toml
new = "data/orders_new.csv.gz"
key = ["day", "shop"]              # the columns that name each row
ignore = ["exported_at"]           # columns to leave out
tolerances = { total = "0.01" }    # or "0.1%"; without: 1e-9 of the larger number
"""


def main() -> None:
    try:
        metrics = services().files.metrics()
    except DiffError as error:
        st.title("Metrics", anchor=False)
        shown_error(error)
        explain()
        return
    st.html(f"<style>{LOOK}</style>")
    heading(metrics)
    if metrics:
        busy = any(job.state.active for job in services().jobs.list())
        st.fragment(table, run_every=2.0 if busy else None)(metrics)
        offer_demo(metrics)
    else:
        st.info("There are no metrics yet. Add an entry to the registry, as below.")
    explain()


def heading(metrics: dict[str, Metric]) -> None:
    complete = [id_ for id_, metric in metrics.items() if can_run(metric)]
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    left.title("Metrics", anchor=False)
    with right.container(horizontal=True, horizontal_alignment="right"):
        st.button("Run all", type="primary", icon=":material/play_arrow:", disabled=not complete, on_click=run_all, args=(complete,))
    st.caption("Comparisons with a name. Each has an old and a new file, a key and rules, and can be run again and again.")
    for error in st.session_state.pop("not_run", []):
        shown_error(error)
    if started := st.session_state.pop("started", 0):
        st.success(f"{number(started, 'comparison')} started. Results appear below.", icon=":material/check:")


def can_run(metric: Metric) -> bool:
    """Whether its files are there, or are made when they are needed."""
    return not metric.missing or demo_folder(metric) is not None


def run_all(ids: list[str]) -> None:
    errors = []
    for id_ in ids:
        try:
            services().jobs.submit_metric(id_)
        except DiffError as error:
            errors.append(error)
    st.session_state["not_run"], st.session_state["started"] = errors, len(ids) - len(errors)


def table(metrics: dict[str, Metric]) -> None:
    """The registry, looked at again and again while comparisons run."""
    latest: dict[str, Job] = {}
    for job in services().jobs.list():
        if job.question.metric:
            latest.setdefault(job.question.metric, job)
    with st.container(border=True, key="metric_heads"):
        for cell, head in zip(st.columns(WIDTHS), HEADS, strict=True):
            cell.caption(head)
    for metric in metrics.values():
        row(metric, latest.get(metric.id))


def row(metric: Metric, job: Job | None) -> None:
    with st.container(border=True, key=f"metric_{metric.id}"):
        name, old, new, last, buttons = st.columns(WIDTHS, vertical_alignment="center")
        with name.container(gap=None):
            st.markdown(f"**{plain(metric.title)}**", help=plain(metric.description) or None)
            st.markdown(f":gray[:small[{_key(metric)}]]")
        old.markdown(_file(metric, "old"))
        new.markdown(_file(metric, "new"))
        with last.container(gap=None):
            _last(metric, job)
        with buttons.container(horizontal=True, horizontal_alignment="right", gap="small"):
            _ways_on(metric)


def _key(metric: Metric) -> str:
    return f"key: {listed(metric.choices.key)}" if metric.choices.key else "whole rows"


def _file(metric: Metric, side: str) -> str:
    """One file in two lines: its name, its size and date, or that it is missing."""
    if side in metric.missing and demo_folder(metric):
        return f"{plain({'old': metric.old, 'new': metric.new}[side].name)}  \n:gray[:small[demo data, made when first run]]"
    if side in metric.missing:
        return f":orange[:material/warning: missing]  \n:gray[:small[{plain(metric.shown(side))}]]"
    found = metric.place(side)
    if isinstance(found, str):
        return f"{plain(found.rstrip('/').rpartition('/')[2])}  \n:gray[:small[read by Spark]]"
    stat = found.stat()
    date = time.strftime("%-d %b %Y, %H:%M", time.localtime(stat.st_mtime))
    return f"{plain(found.name)}  \n:gray[:small[{in_words(stat.st_size)} · {date}]]"


def _last(metric: Metric, job: Job | None) -> None:
    if job is None:
        st.markdown(":gray[not run yet]")
        return
    if st.button(_outcome(job), key=f"last_{metric.id}", type="tertiary", icon=":material/arrow_forward:", icon_position="right"):
        st.switch_page("result.py", query_params={"job": str(job.id)})
    st.markdown(f":gray[:small[{progress.ago(time.time() - (job.computed_at or job.submitted))}]]")


def _outcome(job: Job) -> str:
    if job.state is not JobState.DONE:
        return STATES[job.state] + (f", {job.share:.0%}" if job.state is JobState.RUNNING else "")
    try:
        with services().jobs.peek(job) as lease:
            summary = lease.result.summary
    except (ResultGone, DiffError):
        return "no longer kept"
    rows = summary.differing_rows
    if rows:
        return f"{number(rows)} {'differs' if rows == 1 else 'differ'}"
    return "only columns differ" if summary.columns_added or summary.columns_removed else "no row differs"


def _ways_on(metric: Metric) -> None:
    if st.button("Open", key=f"open_{metric.id}", type="tertiary", help="See its files and rules before comparing"):
        st.switch_page("compare.py", query_params={"metric": metric.id})
    if st.button("Run", key=f"run_{metric.id}", disabled=not can_run(metric)):
        try:
            job = services().jobs.submit_metric(metric.id)
        except DiffError as error:
            st.session_state["not_run"] = [error]
            st.rerun()
        st.switch_page("result.py", query_params={"job": str(job.id)})


def offer_demo(metrics: dict[str, Metric]) -> None:
    folders = [demo_folder(metric) for metric in metrics.values() if metric.missing]
    if any(folders):
        files.demo_offer(next(filter(None, folders)))


def explain() -> None:
    with st.expander("Add or edit a metric"):
        st.markdown(
            "Metrics stand in the file `metrics.toml` on the server, one table each. Edit the file and reload this page; "
            "nothing needs a restart. Only `old` and `new` are required; the comments at the top of the file show every field."
        )
        st.code(EXAMPLE, language="toml")


main()
