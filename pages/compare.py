"""Compare: choose two files or a metric, see what they are, and start."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from diffing.errors import DiffError, PlanError
from diffing.inspect import fitting
from diffing.jobs import Question, demo_folder
from diffing.plan import Choices, Plan, make_plan
from diffing.preparing import typed_by_rules
from diffing.services import services
from diffing.sources import Source
from pages.components import files, rules_columns, rules_key, rules_table
from pages.components.fates import plain
from pages.components.files_card import with_bad_lines
from pages.components.files_draft import FILES, about, draft, entered, owner, put, subject, synced
from pages.components.files_finding import Waiting, come_back_for, shown_error

WAYS = {"files": "Two files", "metric": "A metric"}
DEMO = "revenue"


def main() -> None:
    waiting: Waiting = []
    st.title("What do you want to compare?", anchor=False)
    begin_where_the_address_says()
    try:
        pair = chosen_files(waiting)
        if pair:
            ask(*pair, waiting)
    except DiffError as error:
        shown_error(error)
    if waiting:
        come_back_for(waiting)


# --- which files -----------------------------------------------------------------------------------


def begin_where_the_address_says() -> None:
    """`?job=` starts from what a job asked, `?metric=` from a metric; once for each address."""
    named = (st.query_params.get("job", ""), st.query_params.get("metric", ""))
    if st.session_state.get("begun") == named or not any(named):
        return
    st.session_state["begun"] = named
    job, metric = named
    try:
        if job:
            put(services().jobs.get(int(job) if job.isascii() and job.isdigit() and len(job) < 16 else job).question)
        else:
            about(services().files.metric(metric).id)
    except DiffError as error:
        about(FILES)
        st.session_state["not_begun"] = error


def chosen_files(waiting: Waiting) -> tuple[Source, Source] | None:
    """The way in, and the two files that it leads to; None as long as one is missing."""
    error = st.session_state.pop("not_begun", None)
    if error:
        shown_error(error)
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        choose_way()
        if subject():
            choose_metric()
        else:
            files.swap_button()
    if subject():
        return files.metric_files(waiting)
    pair = files.two_uploads(waiting)
    if not any(draft().uploads):
        newcomers()
    return pair


def choose_way() -> None:
    key = synced("way", "metric" if subject() else "files")
    st.segmented_control(
        "What to compare",
        list(WAYS),
        key=key,
        required=True,
        format_func=WAYS.get,
        label_visibility="collapsed",
        on_change=entered(key, turn_to),
    )


def turn_to(way: str) -> None:
    """Go over to two files, or to the metric that was looked at last."""
    known = list(services().files.metrics())
    last = st.session_state.get("last_metric", "")
    if way == "files" or not known:
        about(FILES)
    else:
        about(last if last in known else known[0])


def choose_metric() -> None:
    metrics = services().files.metrics()
    st.session_state["last_metric"] = subject()
    key = synced("metric_id", subject())
    st.selectbox(
        "Metric",
        list(metrics),
        key=key,
        format_func=lambda id_: metrics[id_].title if id_ in metrics else id_,
        label_visibility="collapsed",
        width=360,
        on_change=entered(key, about),
    )


def newcomers() -> None:
    """What this is, for who has never seen it, and a way to see it work."""
    st.markdown(
        "The same table twice, yesterday's export and today's: drop both above and see which rows were added, removed and changed.  \n"
        "Columns, key and rules are worked out for you; you can change all of them before you compare."
    )
    try:
        known = services().files.metrics()
    except DiffError:
        return
    if DEMO in known:
        st.button(f"Try it with the demo: {plain(known[DEMO].title.lower())}", icon=":material/play_arrow:", on_click=try_demo)


def try_demo() -> None:
    """Turn to the demo, and make its data if they are not there yet."""
    about(DEMO)
    metric = services().files.metric(DEMO)
    if metric.missing and (folder := demo_folder(metric)):
        files.make_demo(folder)


# --- how, and start --------------------------------------------------------------------------------


def ask(old: Source, new: Source, waiting: Waiting) -> None:
    """What was found out, the choices, and the button."""
    plan, problem = plan_of(replace(draft(), choices=fitting(draft().choices, old, new)), old, new)
    if plan is None:
        shown_error(problem)
        rules_columns.renames(old, new, waiting)
        return
    question = rules_key.settled(old, new, waiting)
    plan, problem = plan_of(question, old, new)
    bad = with_bad_lines(old, new)
    if bad:
        rules_table.bad_lines()
    left, right = st.columns(2, gap="medium")
    with left:
        rules_key.key(question, plan, waiting)
    with right:
        rules_columns.columns(plan)
        rules_columns.renames(old, new, waiting)
    with st.expander(f"Rules :gray[· {plain(rules_table.in_words(question.choices))}]", key="rules"):
        rules_table.rules(question, plan, bad=bad)
    start(rules_key.to_ask(question, old, new), problem)


def plan_of(question: Question, old: Source, new: Source) -> tuple[Plan | None, PlanError | None]:
    """What would be compared, without what stands in the way; and that."""
    problem = None
    old, new = typed_by_rules(old, new, question.choices)
    for choices in (question.choices, Choices(rename=question.choices.rename)):
        try:
            return make_plan(old, new, choices), problem
        except PlanError as error:
            problem = problem or error
    return None, problem


def start(question: Question, problem: PlanError | None) -> None:
    if problem:
        shown_error(problem)
    with st.container(horizontal=True, horizontal_alignment="right"):
        wrong = bool(problem or rules_table.mistakes())
        if not st.button("Compare", type="primary", icon=":material/compare_arrows:", disabled=wrong):
            return
    try:
        job = services().jobs.submit(question, owner=owner())
    except DiffError as error:
        shown_error(error)
    else:
        st.switch_page("result.py", query_params={"job": str(job.id)})


main()
