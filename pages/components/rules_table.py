"""When two cells count as the same: rules per column and for all, with defaults that most people leave alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import pandas as pd
import streamlit as st

from diffing.errors import DiffError
from diffing.grammar import ColumnType
from diffing.inspect import tolerance_text
from diffing.jobs import Question
from diffing.plan import Choices, ColumnPair, Plan, make_plan, parse_tolerance
from diffing.records import BadLines
from pages.components.fates import code, number, plain
from pages.components.files_draft import change, choose, draft, entered, synced

KEY, COMPARE, IGNORE = "key", "compare", "leave out"
NULL_WORDS = ["NULL", "null", "NA", "N/A", "None", "-"]
BAD_LINES = {
    BadLines.REFUSE: "Stop, and name them",
    BadLines.FILL: "Fill short ones with empty cells",
    BadLines.SKIP: "Leave them out",
}
NAME, USE, TYPE, TOLERANCE = "Column", "Use", "Compare as", "Tolerance"
CASE, SPACE, NULLS, DATES = "Ignore case", "Ignore spaces", "Means empty", "Dates are written"
ARROW = " → "


def rules(question: Question, plan: Plan, *, bad: bool) -> None:
    """Show all rules, to be changed. `bad`: what to do with bad lines is asked elsewhere."""
    _for_all()
    _per_column(question, plan)
    for mistake in mistakes():
        st.error(mistake, icon=":material/error:")
    if not bad:
        bad_lines()


def mistakes() -> list[str]:
    """What was entered and can't be."""
    return list(st.session_state.get("mistakes", {}).get("rules", {}).values())


def in_words(choices: Choices) -> str:
    """The rules in a few words."""
    if choices.text:
        said = ["all cells as text, to the character"]
    elif choices == Choices(key=choices.key, rename=choices.rename):
        return "numbers within 1e-9, everything else exact"
    else:
        said = [f"{number(len(choices.tolerances), 'tolerance')}" if choices.tolerances else "numbers within 1e-9"]
    said += [f"{number(len(choices.ignore), 'column')} left out"] if choices.ignore else []
    said += [f"{number(len(choices.types), 'type')} set"] if choices.types else []
    said += [f"{_where(choices.ignore_case)}ignoring case"] if choices.ignore_case else []
    said += [f"{_where(choices.ignore_space)}ignoring spaces"] if choices.ignore_space else []
    said += ["date formats"] if choices.old_formats or choices.new_formats else []
    words = {*choices.nulls, *chain.from_iterable(choices.column_nulls.values())}
    said += [f"{number(len(words), 'word')} for empty"] if words else []
    said += ["short lines filled"] if choices.bad_lines is BadLines.FILL else []
    said += ["bad lines left out"] if choices.bad_lines is BadLines.SKIP else []
    return ", ".join(said)


def _where(rule: bool | tuple[str, ...]) -> str:
    return "" if rule is True else f"{number(len(rule or ()), 'column')} "


# --- for all columns -------------------------------------------------------------------------------


def _for_all() -> None:
    choices = draft().choices
    with st.container(horizontal=True, gap="medium"):
        _toggle("text", "Compare all as text", choices.text, "Every difference in spelling counts, as 1.5 and 1.50. No tolerances.")
        _toggle("ignore_case", "Ignore case everywhere", choices.ignore_case is True, "Berlin is BERLIN.")
        _toggle("ignore_space", "Ignore spaces around values everywhere", choices.ignore_space is True, "Blanks, tabs and no-break spaces.")
    key = synced("nulls", list(choices.nulls))
    st.multiselect(
        "Words that mean an empty cell, in every column",
        list(dict.fromkeys([*NULL_WORDS, *choices.nulls])),
        key=key,
        accept_new_options=True,
        placeholder="None. Choose some, or write your own",
        on_change=entered(key, lambda words: choose(nulls=tuple(words))),
    )


def _toggle(field: str, label: str, value: bool, help: str) -> None:
    key = synced(f"all_{field}", value)
    st.toggle(label, key=key, help=help, on_change=entered(key, lambda on: choose(**{field: on})))


def bad_lines() -> None:
    """Ask what to do with lines that are no rows."""
    key = synced("bad_lines", draft().choices.bad_lines)
    st.segmented_control(
        "What to do with lines that are no rows (too few or too many cells, an open quote)",
        list(BAD_LINES),
        key=key,
        required=True,
        format_func=lambda each: BAD_LINES[BadLines(each)],
        on_change=entered(key, lambda choice: choose(bad_lines=BadLines(choice))),
    )


# --- per column ------------------------------------------------------------------------------------


def _per_column(question: Question, plan: Plan) -> None:
    choices, key = question.choices, f"editor_{st.session_state.setdefault('editor', 0)}"
    pairs = _pairs(question, plan)
    table = pd.DataFrame([_row(pair, choices, plan) for pair in pairs])
    hidden = {
        CASE: choices.ignore_case is True,
        SPACE: choices.ignore_space is True,
        TYPE: choices.text,
        TOLERANCE: choices.text or question.keyless,
    }
    hidden[DATES] = choices.text or (not any(table[TYPE] == ColumnType.DATE) and not (choices.old_formats or choices.new_formats))
    st.data_editor(
        table,
        key=key,
        hide_index=True,
        height="auto",
        column_order=[name for name in table.columns if not hidden.get(name)],
        column_config=_config(),
        on_change=lambda: _edit([pair.name for pair in pairs], table, st.session_state[key]["edited_rows"], plan),
        alt="Rules per column",
        placeholder="",
    )


def _pairs(question: Question, plan: Plan) -> list[ColumnPair]:
    """All columns of both files, also those left out, in the order of the new file."""
    whole = make_plan(plan.old, plan.new, Choices(rename=question.choices.rename))
    ruled = {pair.name: pair for pair in plan.pairs}
    return [ruled.get(pair.name, pair) for pair in whole.pairs]


def _row(pair: ColumnPair, choices: Choices, plan: Plan) -> dict[str, Any]:
    name = pair.name
    use = KEY if name in choices.key else IGNORE if name in choices.ignore else COMPARE
    old, new = choices.old_formats.get(name, ""), choices.new_formats.get(name, "")
    return {
        NAME: name,
        USE: use,
        TYPE: str(pair.type),
        TOLERANCE: tolerance_text(choices.tolerances[name]) if name in choices.tolerances else None,
        CASE: pair.ignore_case,
        SPACE: pair.ignore_space,
        NULLS: list(choices.column_nulls.get(name, ())),
        DATES: (old if old == new else f"{old}{ARROW}{new}") or None,
    }


def _config() -> dict[str, Any]:
    of = st.column_config
    return {
        NAME: of.TextColumn(disabled=True, pinned=True, width="medium"),
        USE: of.SelectboxColumn(options=[COMPARE, KEY, IGNORE], required=True, help="Key columns say which row is which."),
        TYPE: of.SelectboxColumn(
            options=[*map(str, ColumnType)], required=True, help="Numbers and dates are compared by value, text to the character."
        ),
        TOLERANCE: of.TextColumn(
            help="0.01 in the column's own unit, 0.1% of the larger number, or 0 for exactly. Empty: 1e-9 of the larger number."
        ),
        CASE: of.CheckboxColumn(help="Berlin is BERLIN."),
        SPACE: of.CheckboxColumn(help="Blanks, tabs and no-break spaces around the value."),
        NULLS: of.MultiselectColumn(
            options=NULL_WORDS, accept_new_options=True, help="Words that mean an empty cell in this column, besides those for all."
        ),
        DATES: of.TextColumn(help="If not as 2024-01-31: %d.%m.%Y in both files, or %d.%m.%Y → %m/%d/%y in the old and in the new one."),
    }


def _edit(names: list[str], table: pd.DataFrame, edits: Mapping[int, Mapping[str, Any]], plan: Plan) -> None:
    """Take over everything that was edited in the table."""
    wrong = st.session_state.setdefault("mistakes", {}).setdefault("rules", {})
    for at, cells in edits.items():
        for column, value in cells.items():
            about = (names[int(at)], column)
            wrong.pop(about, None)
            try:
                EDITS[column](names[int(at)], value, plan)
            except DiffError as error:
                wrong[about] = f"**{code(names[int(at)])}**: {plain(error.message)} {plain(error.hint)}"


def _use(name: str, value: str, plan: Plan) -> None:
    choices = draft().choices
    key_now = choices.key or tuple(pair.name for pair in plan.key)
    key, ignore = ([each for each in names if each != name] for names in (key_now, choices.ignore))
    key += [name] * (value == KEY)
    ignore += [name] * (value == IGNORE)
    if (value == KEY) != (name in key_now):
        change(keyless=not key)
        choose(key=tuple(key))
    choose(ignore=tuple(ignore))


def _type(name: str, value: str, plan: Plan) -> None:
    choose(types={**draft().choices.types, name: ColumnType(value)})


def _tolerance(name: str, value: str | None, plan: Plan) -> None:
    others = _without(draft().choices.tolerances, name)
    choose(tolerances={**others, name: parse_tolerance(value)} if (value or "").strip() else others)


def _flag(field: str) -> Callable[[str, bool, Plan], None]:
    def take(name: str, value: bool, plan: Plan) -> None:
        before = getattr(draft().choices, field)
        names = [each for each in (() if isinstance(before, bool) else before) if each != name] + [name] * bool(value)
        choose(**{field: tuple(names) or False})

    return take


def _nulls(name: str, value: Sequence[str] | None, plan: Plan) -> None:
    others = _without(draft().choices.column_nulls, name)
    choose(column_nulls={**others, name: tuple(value)} if value else others)


def _dates(name: str, value: str | None, plan: Plan) -> None:
    old, arrow, new = (value or "").partition(ARROW.strip())
    formats = {"old_formats": old.strip(), "new_formats": new.strip() if arrow else old.strip()}
    choices = draft().choices
    choose(**{field: _without(getattr(choices, field), name) | ({name: form} if form else {}) for field, form in formats.items()})


def _without(said: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {each: value for each, value in said.items() if each != name}


EDITS: dict[str, Callable[[str, Any, Plan], None]] = {
    USE: _use,
    TYPE: _type,
    TOLERANCE: _tolerance,
    CASE: _flag("ignore_case"),
    SPACE: _flag("ignore_space"),
    NULLS: _nulls,
    DATES: _dates,
}
"""What an edit of a column of the table changes."""
