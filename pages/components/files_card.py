"""One file: what it is, how it is read, how it begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pandas as pd
import streamlit as st

from diffing.dialects import NO_DELIMITER, WORDS, DialectChoice
from diffing.errors import DiffError
from diffing.inspect import Look, first_rows
from diffing.sizes import in_words
from diffing.sources import Format, Source
from pages.components.fates import number, plain, said
from pages.components.files_draft import change, draft, entered, synced
from pages.components.files_finding import Waiting, inspector, known, shown_error

PREVIEW, WIDEST = 4, 60
"""Rows and columns of a file that are shown."""
LONGEST = 36
"""Characters of a file's name that are shown."""


def card(
    side: str, name: str, open_: Callable[[DialectChoice], Source], waiting: Waiting, *, take_out: Callable[[], None] | None = None
) -> Source | None:
    """A file: its name, what is in it, how it is read, its first rows. None if it can't be read."""
    head = st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False)
    shown = _shortened(name)
    head.markdown(f"**{side.upper()}** · **{plain(shown)}**", width="stretch", help=plain(name) if shown != name else None)
    spelling = head.container(width="content")
    if take_out:
        head.button("Replace", key=f"replace_{side}", type="tertiary", on_click=take_out)
    try:
        with st.spinner(f"Reading {plain(name)} …", show_time=True):
            source = open_(_choice(side))
    except DiffError as error:
        shown_error(error)
        _spelling(side, None)
        return None
    found = known(inspector().looked_at(source), waiting, source.size)
    if source.format is Format.CSV:
        with spelling:
            _spelling(side, source)
    st.caption(" · ".join(_facts(source, found, dated=take_out is None)))
    _preview(source, name)
    if found and found.bad_lines:
        _bad_lines(found)
    return source


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 16]}…{name[-15:]}"


def _choice(side: str) -> DialectChoice:
    return {"old": draft().old_dialect, "new": draft().new_dialect}[side]


def _facts(source: Source, found: Look | None, *, dated: bool) -> list[str]:
    facts = [number(found.rows) if found else ":shimmer[counting rows …]", number(len(source.columns), "column"), in_words(source.size)]
    if dated:
        facts.append(datetime.fromtimestamp(source.mtime_ns / 1e9).strftime("%-d %b %Y, %H:%M"))
    return facts


def _preview(source: Source, name: str) -> None:
    rows = first_rows(source, PREVIEW)
    names = [column.name for column in source.columns][:WIDEST]
    if not rows:
        st.caption("The file has no rows.")
        return
    table = pd.DataFrame([row[:WIDEST] for row in rows], columns=names, dtype=object)
    st.dataframe(table, hide_index=True, row_height=29, height="content", alt=f"First rows of {name}")
    if len(source.columns) > WIDEST:
        st.caption(f"The first {WIDEST} of {len(source.columns):,} columns are shown.")


def _bad_lines(found: Look) -> None:
    first = found.bad[0]
    some = f"{found.bad_lines:,} lines are no rows" if found.bad_lines > 1 else "One line is no row"
    st.warning(f"**{some}.** Line {first.line:,}: {plain(first.reason)}: {plain(first.text[:80])}", icon=":material/warning:")


def with_bad_lines(*sources: Source) -> bool:
    """Whether it is known that one of the files has lines that are no rows."""
    looks = [inspector().looked_at(source) for source in sources]
    return any(each.done() and not each.exception() and each.result().bad_lines for each in looks)


# --- how a file is read ----------------------------------------------------------------------------

DELIMITERS = {",": "Comma  ,", ";": "Semicolon  ;", "\t": "Tab", "|": "Pipe  |", " ": "Space", NO_DELIMITER: "None: one column"}
QUOTES = {'"': 'Double  "', "'": "Single  '", "": "None"}
ENCODINGS = ["utf-8", "utf-16", "windows-1252", "latin-1"]
HEADERS = {True: "Names of columns", False: "A row like the others"}
DETECT = "\0"
"""Stands for “find it out”; no one can say it."""


def _spelling(side: str, source: Source | None) -> None:
    """How the file was read, in a few words; opens to change it."""
    with st.popover(_read_as(source), type="tertiary", icon=":material/tune:"):
        st.markdown("**How this file is read**")
        _asked(side, source, "delimiter", "Delimiter", DELIMITERS, own=True)
        _asked(side, source, "quote", "Quote", QUOTES)
        _asked(side, source, "encoding", "Encoding", dict(zip(ENCODINGS, ENCODINGS)), own=True)
        _asked(side, source, "header", "First line", HEADERS)
        _skipped(side, source)
        if mistake := st.session_state.get("mistakes", {}).get(side):
            st.error(mistake)
        if _choice(side) != DialectChoice():
            st.button("Detect again", key=f"detect_{side}", on_click=lambda: change(**{f"{side}_dialect": DialectChoice()}))


def _read_as(source: Source | None) -> str:
    if source is None:
        return "Change how it is read"
    dialect = source.dialect
    words = [WORDS.get(dialect.delimiter, dialect.delimiter).capitalize(), dialect.encoding.upper()]
    words.append("header" if dialect.header else "no header")
    if dialect.skip_rows:
        words.append(f"{number(dialect.skip_rows, 'line')} skipped")
    return plain(", ".join(words))


def _asked(side: str, source: Source | None, field: str, label: str, names: dict, *, own: bool = False) -> None:
    """One property of the dialect: as detected, or as the user says."""
    chosen = getattr(_choice(side), field)
    found = getattr(source.dialect, field) if source and chosen is None else None
    detected = f"Detected: {names.get(found, found)}" if found is not None else "Detect"
    options = [DETECT, *names] + ([chosen] if chosen is not None and chosen not in names else [])
    key = synced(f"{field}_{side}", DETECT if chosen is None else chosen)
    st.selectbox(
        label,
        options,
        key=key,
        format_func=lambda each: detected if each == DETECT else str(names.get(each, each)),
        accept_new_options=own,
        on_change=entered(key, lambda value: _say(side, field, None if value == DETECT else value)),
    )


def _skipped(side: str, source: Source | None) -> None:
    skipped = (("skip_rows", "Lines to skip first"), ("skip_after_header", "Rows to skip then"))
    for place, (field, label) in zip(st.columns(2), skipped, strict=True):
        chosen = getattr(_choice(side), field)
        key = synced(f"{field}_{side}", chosen if chosen is not None else getattr(source.dialect, field) if source else 0)
        place.number_input(label, 0, 10_000, key=key, on_change=entered(key, lambda value, field=field: _say(side, field, value)))


def _say(side: str, field: str, value: object) -> None:
    """Take a property as said; what can't be is refused, and told."""
    value = "\t" if value == "\\t" else value
    mistakes = st.session_state.setdefault("mistakes", {})
    mistakes.pop(side, None)
    try:
        change(**{f"{side}_dialect": replace(_choice(side), **{field: value})})
    except DiffError as error:
        mistakes[side] = said(error)
