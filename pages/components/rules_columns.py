"""Which columns of the two files belong together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import streamlit as st

from diffing.grammar import Shape
from diffing.inspect import Rename, fitting
from diffing.plan import Plan
from diffing.sources import Source
from pages.components.fates import code, number
from pages.components.files_draft import choose, draft
from pages.components.files_finding import Waiting, inspector, known

MOST = 12
"""Names that are listed before “and so many more”."""
KINDS = {"text": "text", "number": "numbers", "date": "dates"}


def listed(names: Iterable[str]) -> str:
    names = list(names)
    rest = f" and {len(names) - MOST:,} more" if len(names) > MOST else ""
    return ", ".join(map(code, names[:MOST])) + rest


def columns(plan: Plan) -> None:
    """Say which columns both files have, and which not."""
    st.markdown("##### Columns")
    said = [f"**{number(len(plan.pairs) + len(_ignored(plan)), 'column')}** in both files"]
    said += [f"only in new: {listed(plan.columns_added)}"] if plan.columns_added else []
    said += [f"only in old: {listed(plan.columns_removed)}"] if plan.columns_removed else []
    st.markdown("  \n".join([" · ".join(said), *_types(plan)]))
    for note in _notes(plan):
        st.caption(note)


def _ignored(plan: Plan) -> list[str]:
    """Columns of both files that are left out."""
    both = {column.name for column in plan.old.columns} | set(plan.columns_renamed.values())
    return [name for name in plan.columns_ignored if name in both and any(name == column.name for column in plan.new.columns)]


def _types(plan: Plan) -> Iterable[str]:
    """Columns that hold one type in the old file and another in the new."""
    differing = []
    for pair in plan.pairs:
        old, new = plan.old.columns[pair.old], plan.new.columns[pair.new]
        if old.type is not new.type and Shape.EMPTY not in (old.shape, new.shape):
            differing.append(f"{code(pair.name)} ({KINDS[old.type]} → {KINDS[new.type]})")
    if differing:
        rest = f" and {len(differing) - MOST:,} more" if len(differing) > MOST else ""
        yield f"Type differs: {', '.join(differing[:MOST])}{rest}; compared as text unless the rules say otherwise"


def _notes(plan: Plan) -> Iterable[str]:
    if plan.old.has_header != plan.new.has_header:
        yield "One of the files seems to have no header, so columns are paired by position. Change that in how it is read."
    for source, side in ((plan.old, "old"), (plan.new, "new")):
        if source.size == 0:
            yield f"The {side} file is empty: a table of no rows."


def renames(old: Source, new: Source, waiting: Waiting) -> None:
    """Columns that may have got another name, to be confirmed."""
    confirmed = fitting(draft().choices, old, new).rename
    ideas = known(inspector().renames(old, new), waiting, max(old.size, new.size)) or []
    for each in ideas:
        if each.old not in confirmed and each.new not in confirmed.values():
            _idea(each)
    for before, after in confirmed.items():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/check: {code(before)} is now {code(after)}", width="content")
            st.button("Undo", key=f"undo_{before}", type="tertiary", on_click=partial(_unsay, before))
    _other_rename(old, new, confirmed)


def _idea(each: Rename) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        why = f"{each.same_values:.0%} same values" if each.same_values >= 0.05 else "the names are alike"
        st.markdown(f"Maybe renamed: {code(each.old)} → {code(each.new)} :gray[({why})]", width="content")
        st.button("Confirm", key=f"confirm_{each.old}", icon=":material/check:", on_click=partial(_say, each.old, each.new))


def _say(before: str, after: str) -> None:
    choose(rename={**draft().choices.rename, before: after})


def _unsay(before: str) -> None:
    choose(rename={old: new for old, new in draft().choices.rename.items() if old != before})


def _other_rename(old: Source, new: Source, confirmed: Mapping[str, str]) -> None:
    """Let the person name a pair that was not guessed."""
    names = {column.name for column in old.columns} & {column.name for column in new.columns}
    lost = [column.name for column in old.columns if column.name not in names and column.name not in confirmed]
    come = [column.name for column in new.columns if column.name not in names and column.name not in confirmed.values()]
    if not lost or not come or not (old.has_header and new.has_header):
        return
    with st.popover("A column was renamed", type="tertiary", icon=":material/edit:"):
        before = st.selectbox("Its old name", lost, key="renamed_from")
        after = st.selectbox("Its new name", come, key="renamed_to")
        st.button("Confirm", key="renamed", on_click=partial(_say, before, after))
