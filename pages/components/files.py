"""The two files of a question: where they come from, how they are read, how they begin."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

import pandas as pd
import streamlit as st

from diffing.dialects import NO_DELIMITER, WORDS, DialectChoice
from diffing.errors import DiffError
from diffing.inspect import Inspector, Look, demo_folder, first_rows, swapped
from diffing.metrics import Metric
from diffing.services import services
from diffing.sources import Format, Source
from diffing.store import in_words
from diffing.uploads import Upload
from pages.components.fates import number, plain
from pages.components.files_draft import change, draft, entered, owner, put, subject, synced

Found = TypeVar("Found")
Waiting = list["Future[object]"]
"""What is being found out while the page is shown; see `come_back_for`."""

PREVIEW, WIDEST = 4, 60
"""Rows and columns of a file that are shown."""
LONGEST = 36
"""Characters of a file's name that are shown in its card."""
PATIENCE, SMALL = 0.5, 8 << 20
"""Seconds that a page waits for what small files show, and what a small file is, in bytes."""
TITLES = {"old": "Old", "new": "New"}
MEANINGS = {"old": "the table as it was", "new": "the table as it is now"}
ACCEPTED = "CSV with any delimiter and encoding, also as .gz or .zst, or Parquet"


@st.cache_resource(show_spinner=False)
def inspector() -> Inspector:
    return Inspector(services().files)


def shown_error(error: DiffError) -> None:
    """What went wrong and what to do, beside what caused it."""
    hint = f"  \n{plain(error.hint)}" if error.hint else ""
    st.error(f"**{plain(error.message)}**{hint}", icon=":material/error:")


# --- what takes a moment ---------------------------------------------------------------------------


def known(finding: Future[Found], waiting: Waiting, size: int) -> Found | None:
    """What was found out; None while it is not known yet, or if it could not be found out.

    `size` is that of the larger file, in bytes.
    """
    if not finding.done() and size < SMALL:
        wait([finding], timeout=PATIENCE)
    if not finding.done():
        waiting.append(finding)
        return None
    return None if finding.exception() else finding.result()


@st.fragment(run_every=0.7)
def come_back_for(waiting: Waiting) -> None:
    """Show the page again when something was found out."""
    if any(finding.done() for finding in waiting):
        st.rerun()


# --- two files -------------------------------------------------------------------------------------


def two_uploads(waiting: Waiting) -> tuple[Source, Source] | None:
    """Ask for two files. None until both are there and can be read."""
    left, right = st.columns(2, gap="medium")
    with left:
        old = _slot("old", waiting)
    with right:
        new = _slot("new", waiting)
    return (old, new) if old and new else None


def swap_button() -> None:
    if any(draft().uploads):
        st.button("Swap old and new", key="swap", icon=":material/swap_horiz:", type="tertiary", on_click=lambda: put(swapped(draft())))


def _slot(side: str, waiting: Waiting) -> Source | None:
    upload = _upload(side)
    with st.container(border=True, key=f"slot_{side}", gap="xsmall", height="stretch"):
        if upload:
            return _card(side, upload.name, lambda choice: inspector().uploaded(upload, choice), waiting)
        st.markdown(f"**{side.upper()}** :gray[· {MEANINGS[side]}]")
        _drop(side)
    return None


def _upload(side: str) -> Upload | None:
    """The file in a slot; a slot whose file is no longer kept is empty."""
    id_ = draft().uploads[_at(side)]
    found = services().uploads.find(id_, owner()) if id_ else None
    if id_ and not found:
        st.session_state["gone"] = {*st.session_state.get("gone", ()), side}
        _fill(side, "")
    return found


def _at(side: str) -> int:
    return list(TITLES).index(side)


def _fill(side: str, id_: str) -> None:
    uploads = list(draft().uploads)
    uploads[_at(side)] = id_
    change(uploads=tuple(uploads))


def _empty(side: str) -> None:
    """Take a file out; it goes from the disk too, unless a comparison of it is remembered."""
    id_ = draft().uploads[_at(side)]
    _fill(side, "")
    change(**{f"{side}_dialect": DialectChoice()})
    used = {each for job in services().jobs.list(owner()) for each in job.question.uploads}
    if id_ not in used | set(draft().uploads):
        services().uploads.remove(id_, owner())


def _drop(side: str) -> None:
    count = st.session_state.setdefault(f"drops_{side}", 0)
    handed = st.file_uploader(
        f"{TITLES[side]} file",
        key=f"drop_{side}_{count}",
        label_visibility="collapsed",
        max_upload_size=max(services().uploads.limit >> 20, 1),
    )
    if side in st.session_state.get("gone", ()):
        st.warning("The file that was here is no longer kept. Upload it again; your choices are still here.")
    st.caption(ACCEPTED)
    if handed is None:
        return
    try:
        upload = services().uploads.received(handed.file_id, handed.name, handed.getbuffer(), owner=owner())
    except DiffError as error:
        shown_error(error)
        return
    st.session_state.get("gone", set()).discard(side)
    st.session_state[f"drops_{side}"] = count + 1
    _fill(side, upload.id)
    st.rerun()


# --- a metric --------------------------------------------------------------------------------------


def metric_files(waiting: Waiting) -> tuple[Source, Source] | None:
    """Ask for a metric, and show its files. None if one of them is missing or can't be read."""
    metric = services().files.metrics()[subject()]
    if metric.description:
        st.caption(plain(metric.description))
    left, right = st.columns(2, gap="medium")
    with left:
        old = _metric_file("old", metric, waiting)
    with right:
        new = _metric_file("new", metric, waiting)
    if metric.missing and (folder := demo_folder(metric)):
        demo_offer(folder)
    return (old, new) if old and new else None


def _metric_file(side: str, metric: Metric, waiting: Waiting) -> Source | None:
    path = {"old": metric.old, "new": metric.new}[side]
    with st.container(border=True, key=f"slot_{side}", gap="xsmall", height="stretch"):
        if side in metric.missing:
            st.markdown(f"**{side.upper()}** :gray[· {MEANINGS[side]}]")
            st.warning(f"**Missing:** {plain(metric.shown(side))}  \nPut the file there, or correct the entry in the registry.")
            return None
        return _card(side, path.name, lambda choice: inspector().registered(path, choice), waiting, dated=True)


def demo_offer(folder: object) -> None:
    """Offer to write the demo data, and show that it happens."""
    making: Future[object] | None = st.session_state.get("demo")
    if making is None:
        st.button("Make the demo data", icon=":material/dataset:", on_click=_make_demo, args=(folder,))
        st.caption("Two invented metrics of an online shop, 400,000 and 2 million rows, about 500 MB on disk.")
    else:
        demo_progress(making)


def _make_demo(folder: object) -> None:
    st.session_state["demo"] = inspector().demo(folder)


@st.fragment(run_every=1.0)
def demo_progress(making: Future[object]) -> None:
    if not making.done():
        st.info(":shimmer[Making the demo data …] This takes about half a minute.", icon=":material/hourglass_empty:")
        return
    del st.session_state["demo"]
    error = making.exception()
    if isinstance(error, DiffError):
        shown_error(error)
    else:
        st.rerun()


# --- one file --------------------------------------------------------------------------------------


def _card(side: str, name: str, open_: Callable[[DialectChoice], Source], waiting: Waiting, *, dated: bool = False) -> Source | None:
    """A file: its name, what is in it, how it is read, its first rows. None if it can't be read."""
    head = st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False)
    shown = _shortened(name)
    head.markdown(f"**{side.upper()}** · **{plain(shown)}**", width="stretch", help=plain(name) if shown != name else None)
    spelling = head.container(width="content")
    if not dated:
        head.button("Replace", key=f"replace_{side}", type="tertiary", on_click=_empty, args=(side,))
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
    st.caption(" · ".join(_facts(source, found, dated)))
    _preview(source, name)
    if found and found.bad_lines:
        _bad_lines(found)
    return source


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 16]}…{name[-15:]}"


def _choice(side: str) -> DialectChoice:
    return {"old": draft().old_dialect, "new": draft().new_dialect}[side]


def _facts(source: Source, found: Look | None, dated: bool) -> list[str]:
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
    said = getattr(_choice(side), field)
    found = getattr(source.dialect, field) if source and said is None else None
    detected = f"Detected: {names.get(found, found)}" if found is not None else "Detect"
    options = [DETECT, *names] + ([said] if said is not None and said not in names else [])
    key = synced(f"{field}_{side}", DETECT if said is None else said)
    st.selectbox(
        label,
        options,
        key=key,
        format_func=lambda each: detected if each == DETECT else str(names.get(each, each)),
        accept_new_options=own,
        on_change=entered(key, lambda value: _say(side, field, None if value == DETECT else value)),
    )


def _skipped(side: str, source: Source | None) -> None:
    for field, label in (("skip_rows", "Lines to skip before the header"), ("skip_after_header", "Rows to skip after the header")):
        said = getattr(_choice(side), field)
        key = synced(f"{field}_{side}", said if said is not None else source.dialect.skip_rows if source else 0)
        st.number_input(label, 0, 10_000, key=key, on_change=entered(key, lambda value, field=field: _say(side, field, value)))


def _say(side: str, field: str, value: object) -> None:
    """Take a property as said; what can't be is refused, and told."""
    value = "\t" if value == "\\t" else value
    mistakes = st.session_state.setdefault("mistakes", {})
    mistakes.pop(side, None)
    try:
        change(**{f"{side}_dialect": replace(_choice(side), **{field: value})})
    except DiffError as error:
        mistakes[side] = f"{plain(error.message)} {plain(error.hint)}"
