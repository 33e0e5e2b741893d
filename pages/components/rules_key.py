"""Which columns say which row is which."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from functools import partial

import streamlit as st

from diffing.errors import DiffError
from diffing.inspect import fitting
from diffing.jobs import Question
from diffing.keys import KeySuggestion
from diffing.plan import Plan
from diffing.services import services
from diffing.sources import Source
from pages.components.fates import code
from pages.components.files_draft import change, choose, draft, entered, subject, synced
from pages.components.files_finding import Waiting, inspector, known

WHOLE = "Rows are compared whole: a row with any difference shows as one removed and one added. Tolerances are not applied."


def settled(old: Source, new: Source, waiting: Waiting) -> Question:
    """The question as it would be asked now: with the suggested key, if the person gave none and it is known."""
    question = replace(draft(), choices=fitting(draft().choices, old, new))
    if question.keyless or question.choices.key:
        return question
    ideas = usable_ideas(old, new, waiting)
    if ideas is None:
        return question
    if not ideas:
        return replace(question, keyless=True)
    return replace(question, choices=replace(question.choices, key=ideas[0].columns))


def to_ask(question: Question, old: Source, new: Source) -> Question:
    """The question without a key for which only a sample speaks so far: the job then looks for it in the whole files."""
    if fitting(draft().choices, old, new).key or question.keyless or _ideas(old, new).done():
        return question
    return replace(question, choices=replace(question.choices, key=()))


def usable_ideas(old: Source, new: Source, waiting: Waiting) -> list[KeySuggestion] | None:
    """Columns that could be the key, from samples while they are looked for in the whole files; None if samples show none."""
    finding = _ideas(old, new)
    found = known(finding, waiting, max(old.size, new.size))
    if found is None and not finding.done():
        found = _guesses(old, new) or None
    if found is None:
        return [] if finding.done() else None
    return [idea for idea in found if not set(idea.columns) & set(draft().choices.ignore)]


def _ideas(old: Source, new: Source) -> Future[list[KeySuggestion]]:
    return inspector().ideas(old, new, fitting(draft().choices, old, new).rename)


def _guesses(old: Source, new: Source) -> list[KeySuggestion]:
    try:
        return inspector().guesses(old, new, fitting(draft().choices, old, new).rename)
    except DiffError:  # what looks at the whole files says what is wrong
        return []


def key(question: Question, plan: Plan, waiting: Waiting) -> None:
    """Ask for the key, and say what speaks for it."""
    st.markdown("##### Rows are matched by")
    names = [pair.name for pair in plan.pairs]
    names += [name for name in plan.columns_ignored if name not in names]
    chosen = synced("key", [name for name in names if name in question.choices.key])
    st.multiselect(
        "Columns that name each row",
        names,
        key=chosen,
        label_visibility="collapsed",
        placeholder="Whole rows are compared" if question.keyless else "Choose, or wait for the suggestion",
        on_change=entered(chosen, take),
    )
    _how_sure(question, plan, waiting)
    _other_ideas(question, plan, waiting)


def take(names: list[str]) -> None:
    """From now on, these columns are the key; none: compare whole rows."""
    choices = draft().choices
    kept = tuple(name for name in choices.ignore if name not in names)
    change(keyless=not names, choices=replace(choices, key=tuple(names), ignore=kept))
    st.session_state["editor"] = st.session_state.get("editor", 0) + 1


def _suggest() -> None:
    change(keyless=False)
    choose(key=())


def _how_sure(question: Question, plan: Plan, waiting: Waiting) -> None:
    if question.keyless:
        nothing = "" if draft().keyless else "No columns were found that name the rows. "
        st.caption(nothing + WHOLE)
    elif not question.choices.key:
        st.markdown(":shimmer[Looking for the columns that name each row …] :gray[You need not wait for it.]")
    elif _as_registered(question):
        st.markdown(":green[:material/check:] The key that the registry names for this metric")
    else:
        _evidence(question, plan, waiting)


def _as_registered(question: Question) -> bool:
    return bool(subject()) and services().files.ask(subject()).choices.key == question.choices.key


def _evidence(question: Question, plan: Plan, waiting: Waiting) -> None:
    finding = _judgement(question, plan, waiting)
    found = known(finding, waiting, max(plan.old.size, plan.new.size)) if isinstance(finding, Future) else finding
    if found is None:
        st.markdown(":shimmer[Counting how many rows these columns name …]")
        return
    if not found.verified and not subject() and not _ideas(plan.old, plan.new).done():
        st.markdown(f":gray[:material/hourglass_top:] {in_words(found)} :shimmer[Checking it in the whole files …]")
        return
    sure = found.unique_old == found.unique_new == 1 and found.verified
    sign = ":green[:material/check:]" if sure else ":orange[:material/warning:]"
    st.markdown(f"{sign} {in_words(found)}")
    if found.unique_old < 1 or found.unique_new < 1:
        st.caption("Rows that share a key are paired by how alike they are. Add a column that tells them apart if there is one.")


def _judgement(question: Question, plan: Plan, waiting: Waiting) -> KeySuggestion | Future[KeySuggestion]:
    """What is known of this key already, or is being counted."""
    ideas = usable_ideas(plan.old, plan.new, waiting) if not subject() else None
    for idea in ideas or []:
        if set(idea.columns) == set(question.choices.key):
            return idea
    return inspector().judged(plan.old, plan.new, question.choices.key, question.choices.rename)


def in_words(found: KeySuggestion) -> str:
    """What a person should know before choosing this key; names of columns are no markup."""
    plainly = replace(found, columns=tuple(f"\x00{i}\x00" for i in range(len(found.columns)))).in_words
    for i, name in enumerate(found.columns):
        plainly = plainly.replace(f"`\x00{i}\x00`", code(name))
    return plainly


def _other_ideas(question: Question, plan: Plan, waiting: Waiting) -> None:
    ideas = _ideas_to_offer(question, plan, waiting)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if ideas or not question.keyless:
            st.markdown(":gray[Other ideas]", width="content")
        for idea in ideas:
            st.button(
                " + ".join(map(code, idea.columns)),
                key=f"idea {'|'.join(idea.columns)}",
                type="tertiary",
                help=in_words(idea),
                on_click=partial(take, list(idea.columns)),
            )
        if not question.keyless:
            st.button("Compare whole rows", key="whole_rows", type="tertiary", on_click=partial(take, []))
        elif draft().keyless:
            st.button("Suggest a key", key="suggest_key", type="tertiary", on_click=_suggest)


def _ideas_to_offer(question: Question, plan: Plan, waiting: Waiting) -> list[KeySuggestion]:
    if subject() or draft().keyless:
        return []
    try:
        ideas = usable_ideas(plan.old, plan.new, waiting) or []
    except DiffError:
        return []
    return [idea for idea in ideas if set(idea.columns) != set(question.choices.key)]
