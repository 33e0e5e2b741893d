"""The rows that differ: filters, one page of rows, and one row opened. What is shown is in the address."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from unicodedata import bidirectional
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import streamlit as st

from diffing.errors import DiffError
from diffing.grammar import ColumnType
from diffing.jobs import Job
from diffing.plan import Plan
from diffing.result import Cell, Change, Result
from diffing.services import services
from diffing.views import PAGE_SIZE, By, CellPair, Condition, Filter, Order, Page, Row, Test, count, page, row
from pages.components import downloads
from pages.components.fates import COLOURS, EMPTY, SIGNS, TINTS, code, marked, marked_cell, number, plain, said, tint

FATES = tuple(TINTS)
MOST_CELLS = 6_000
"""Cells of one page: colouring them is what takes time, so pages of wide tables have fewer rows."""
MOST_DELTAS = 4
"""Number columns beside which their changes are shown."""
WIDE_LETTERS = "\u1100"
"""Letters from here on are about twice as wide."""
WIDE = 30
"""Columns beyond which a row also says in one cell what changed."""
MOST_LETTERS = 90
MOST_IN_CHANGE = 28
"""Letters of either text of a change, so that the widest column shows both."""
SAME_BEFORE = 8
"""Letters that both texts of a change have in common and that are shown before what differs."""
LEAST_ROWS = 20
PAGE_BUTTON, PAGE_BUTTONS = 44, 7
"""Pixels of a button to a page; how many there are, besides those to the page before and after."""
HEIGHT = 460
SETTLED = 3.0
"""Seconds after which every part of a page knows a change of the address."""
LEFT_TO_RIGHT = "\u200e"
NONE, CHANGED, ADDED, REMOVED, SIGNED = range(5)
"""What a cell looks like; SIGNED comes on top, for the sign of a row."""
_FILLS = [f"background-color: {tint(change)}" for change in (Change.CHANGED, Change.ADDED, Change.REMOVED)]
_SIGNS = [f"background-color: {COLOURS[change]}; color: #ffffff" for change in FATES]
STYLES = np.array(["", *_FILLS, "", *_SIGNS], dtype=object)
WORDS = {
    Test.EQUALS: "is",
    Test.CONTAINS: "contains",
    Test.BETWEEN: "is between",
    Test.NULL: "is empty",
    Test.NOT_NULL: "is not empty",
}
HASHES: Mapping[Any, Any] = {Result: lambda result: result.folder.name, Filter: repr, Order: repr}
"""How answers are remembered: a folder holds one result for ever, and a filter says what it means."""


@dataclass(frozen=True, slots=True)
class View:
    """What of a result is shown; the address says the same."""

    filter: Filter = field(default_factory=Filter)
    order: Order = field(default_factory=Order)
    number: int = 1
    every_column: bool = False

    def to_query(self) -> dict[str, str]:
        more = {"page": str(self.number)} if self.number > 1 else {}
        return {**self.filter.to_query(), **self.order.to_query(), **({"columns": "all"} if self.every_column else {}), **more}

    @classmethod
    def now(cls, plan: Plan) -> View:
        """What the address says, as far as this plan has it."""
        query = _address()
        shown = query.get("page", "")
        at = int(shown) if shown.isascii() and shown.isdigit() and len(shown) < 9 else 1
        filter, order = Filter.from_query(query).fitting(plan), Order.from_query(query).fitting(plan)
        return cls(filter, order, max(at, 1), query.get("columns") == "all")


def show(view: View) -> None:
    """Make the address say this; the page follows."""
    before, after = st.query_params.to_dict(), {"job": st.query_params.get("job", ""), **view.to_query()}
    st.session_state["moved"] = (before, after, time.monotonic())
    st.query_params.from_dict(after)


def _address() -> dict[str, str]:
    """What the address says. A part of the page that asked just before it changed still brings the one before."""
    query = st.query_params.to_dict()
    before, after, when = st.session_state.get("moved", (query, query, 0.0))
    if query != before or query == after or time.monotonic() - when > SETTLED:
        return query
    st.query_params.from_dict(after)
    return dict(after)


def narrow(view: View, by: Filter) -> None:
    """Add what a bar stands for to the filter; a condition on the same column makes place for it."""
    columns = {each.column for each in by.conditions}
    kept = tuple(each for each in view.filter.conditions if each.column not in columns)
    show(replace(view, filter=replace(view.filter, conditions=kept).narrowed(by), number=1))


# --- questions, remembered -----------------------------------------------------------------------


@st.cache_resource(hash_funcs=HASHES, max_entries=2_000, show_spinner=False)
def counted(result: Result, filter: Filter) -> Mapping[Change, int]:
    return count(result, filter)


@st.cache_resource(hash_funcs=HASHES, max_entries=50, show_spinner=False)
def paged(result: Result, filter: Filter, order: Order, number: int, size: int, columns: tuple[str, ...]) -> Page:
    return page(result, filter, order, number, size, columns)


# --- the section ---------------------------------------------------------------------------------


@st.fragment
def rows(job: Job) -> None:
    """Filters and table; a filter, a sort or a page runs only this."""
    try:
        with services().jobs.lease(job) as lease:
            _section(job, lease.result)
    except DiffError as error:
        st.error(said(error))


def _section(job: Job, result: Result) -> None:
    view = View.now(result.plan)
    fates = counted(result, replace(view.filter, changes=()))
    _filters(result, view, fates)
    total = sum(n for change, n in fates.items() if not view.filter.changes or change in view.filter.changes)
    _bar(job, result, view, total)
    if total:
        _grid(result, view, total)
    else:
        st.info("No row matches these filters. Take one away, or clear them all.", icon=None)


# --- filters -------------------------------------------------------------------------------------


def _filters(result: Result, view: View, fates: Mapping[Change, int]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="filters"):
        _fate_pills(result, view, fates)
        _changed_columns(result, view)
        _search(result.plan, view)
        with st.popover("+ Condition", width="content"):
            _new_condition(result.plan, view)
        if result.summary.columns and any(each.type is ColumnType.NUMBER for each in result.plan.columns):
            with st.popover("Size of change", width="content"):
                _size(result.plan, view)
        if view.filter != Filter():
            st.button("Clear filters", type="tertiary", key="clear", on_click=show, args=(replace(view, filter=Filter(), number=1),))
    _conditions(view)


def _bind(key: str, value: object) -> str:
    """Make a widget show what the address says.

    It is told again each time: a browser that is busy with a first page may draw only the second. What is being
    typed into an empty one stays.
    """
    if value or st.session_state.get(key) != value:
        st.session_state[key] = value
    return key


def _turn(plan: Plan, **parts: Any) -> None:
    """Change parts of what is shown now; the rest stays, also what another widget changed just before."""
    view = View.now(plan)
    turned = replace(view, **parts)
    if turned != view:
        show(turned if "number" in parts else replace(turned, number=1))


def _filter_by(plan: Plan, **parts: Any) -> None:
    """Change parts of the filter."""
    _turn(plan, filter=replace(View.now(plan).filter, **parts))


def _fate_pills(result: Result, view: View, fates: Mapping[Change, int]) -> None:
    shown = {str(change): change for change in FATES if getattr(result.summary, change) or change in view.filter.changes}
    edges = (f".st-key-fates button:nth-of-type({i}){{border-left:3px solid {COLOURS[each]}}}" for i, each in enumerate(shown.values(), 1))
    st.html(f"<style>{''.join(edges)}</style>")
    st.pills(
        "Fate",
        list(shown),
        selection_mode="multi",
        format_func=lambda name: plain(f"{SIGNS[shown[name]]} {fates[shown[name]]:,} {name}"),
        key=_bind("fates", [str(each) for each in view.filter.changes]),
        on_change=lambda: _filter_by(result.plan, changes=_picked("fates")),
        label_visibility="collapsed",
    )


def _picked(key: str) -> tuple[Change, ...]:
    return tuple(change for change in (Change.ADDED, Change.REMOVED, Change.CHANGED) if str(change) in st.session_state[key])


def _changed_columns(result: Result, view: View) -> None:
    changed = [each.name for each in result.summary.columns if each.changed]
    st.multiselect(
        "Changed column",
        list(dict.fromkeys([*changed, *view.filter.changed_columns])),
        key=_bind("changed", list(view.filter.changed_columns)),
        on_change=lambda: _filter_by(result.plan, changed_columns=tuple(st.session_state["changed"])),
        placeholder="Changed column",
        label_visibility="collapsed",
        width=220,
    )


def _search(plan: Plan, view: View) -> None:
    st.text_input(
        "Search all cells",
        key=_bind("search", view.filter.search),
        on_change=lambda: _filter_by(plan, search=st.session_state["search"]),
        placeholder="Search all cells",
        label_visibility="collapsed",
        width=200,
    )


def _new_condition(plan: Plan, view: View) -> None:
    column = st.selectbox("Column", [pair.name for pair in plan.pairs], key="where_column")
    test = st.selectbox("Test", list(WORDS), format_func=WORDS.__getitem__, key="where_test")
    values: tuple[str, ...] = ()
    if test in (Test.EQUALS, Test.CONTAINS):
        values = (st.text_input("Text", key="where_text"),)
    elif test is Test.BETWEEN:
        low, high = st.columns(2)
        values = (
            low.text_input("From", key="where_low", help="Included. Empty: no bound."),
            high.text_input("To", key="where_high", help="Included."),
        )
    if st.button("Add", key="where_add", type="primary"):
        _add(plan, view, column, test, values)


def _add(plan: Plan, view: View, column: str, test: Test, values: tuple[str, ...]) -> None:
    try:
        condition = Condition(column, test, values)
    except DiffError as error:
        st.error(said(error))
        return
    if Filter(conditions=(condition,)).fitting(plan) == Filter():
        st.error("These values don't suit the column: numbers as 12.5, dates as 2024-01-31.")
        return
    show(replace(view, filter=view.filter.narrowed(Filter(conditions=(condition,))), number=1))
    st.rerun(scope="fragment")


def _size(plan: Plan, view: View) -> None:
    column = st.selectbox("Number column", [pair.name for pair in plan.columns if pair.type is ColumnType.NUMBER], key="size_column")
    low, high = st.columns(2)
    least = low.text_input("At least", key="size_least", placeholder="0.01")
    most = high.text_input("At most", key="size_most", placeholder="any")
    if not st.button("Apply", key="size_apply", type="primary"):
        return
    wanted = Filter(change_at_least=(column, least) if least else None, change_at_most=(column, most) if most else None)
    try:
        fits = wanted.fitting(plan) == wanted
    except DiffError:
        fits = False
    if not fits:
        st.error("Write sizes with digits and a point, such as 12.5.")
        return
    show(replace(view, filter=replace(view.filter, change_at_least=wanted.change_at_least, change_at_most=wanted.change_at_most), number=1))
    st.rerun(scope="fragment")


def _conditions(view: View) -> None:
    """What else is asked, each to be taken away by a click."""
    parts = list(_worded(view.filter))
    if not parts:
        return
    with st.container(horizontal=True, gap="xsmall", key="conditions"):
        for i, (words, without) in enumerate(parts):
            st.button(
                f"{words} ✕",
                key=f"condition_{i}",
                help="Take this away",
                on_click=show,
                args=(replace(view, filter=without, number=1),),
            )


def _worded(filter: Filter) -> Iterable[tuple[str, Filter]]:
    """Each condition in words, as Markdown, and the filter without it."""
    for each in filter.conditions:
        values = " and ".join(plain(_cut(value)) or "any" for value in each.values)
        yield (
            f"{code(each.column)} {WORDS[each.test]} {values}".strip(),
            replace(filter, conditions=tuple(c for c in filter.conditions if c != each)),
        )
    for name, sign in (("change_at_least", "≥"), ("change_at_most", "≤")):
        if part := getattr(filter, name):
            yield f"size of change of {code(part[0])} {sign} {plain(part[1])}", replace(filter, **{name: None})
    if part := filter.change_between:
        yield f"change of {code(part[0])} from {plain(part[1])} to {plain(part[2])}", replace(filter, change_between=None)


# --- the line above the table --------------------------------------------------------------------


def _bar(job: Job, result: Result, view: View, total: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="bar"):
        st.markdown(f"**{number(total)}**", width="content")
        st.space("stretch")
        _sort(result.plan, view)
        _columns_switch(result.plan, view)
        downloads.filtered(job, view.filter, total)


def _sort(plan: Plan, view: View) -> None:
    orders = dict.fromkeys([*_orders(plan), view.order])
    words = {order: _order_in_words(order) for order in orders}
    st.selectbox(
        "Sort",
        list(orders),
        format_func=words.__getitem__,
        key=_bind("sort", view.order),
        on_change=lambda: _turn(plan, order=st.session_state["sort"]),
        label_visibility="collapsed",
        width=250,
    )


def _orders(plan: Plan) -> Iterable[Order]:
    yield Order()
    yield from (Order(pair.name, By.CHANGE_SIZE, True) for pair in plan.columns if pair.type is ColumnType.NUMBER)
    for pair in plan.pairs:
        yield from (Order(pair.name, By.NEW), Order(pair.name, By.NEW, True))


def _order_in_words(order: Order) -> str:
    if order.column is None:
        return "Sorted by key"
    name = _cut(order.column)
    match order.by:
        case By.CHANGE_SIZE:
            return f"{'Largest' if order.descending else 'Smallest'} change of {name}"
        case By.OLD:
            return f"{name} before, {'descending' if order.descending else 'ascending'}"
        case _:
            return f"{name}, {'descending' if order.descending else 'ascending'}"


def _columns_switch(plan: Plan, view: View) -> None:
    st.segmented_control(
        "Columns",
        ["Changed columns", "All columns"],
        key=_bind("columns", "All columns" if view.every_column else "Changed columns"),
        on_change=lambda: _turn(plan, every_column=st.session_state["columns"] == "All columns", number=view.number),
        required=True,
        label_visibility="collapsed",
    )


# --- the table -----------------------------------------------------------------------------------


def _grid(result: Result, view: View, total: int) -> None:
    names = _shown_columns(result, view)
    size = _page_size(len(names) + len(result.plan.key))
    pages = -(-total // size)
    at = min(view.number, pages)
    shown = paged(result, view.filter, view.order, at, size, names)
    frame, codes = _cells(shown, result.plan)
    picked = st.dataframe(
        frame.style.apply(lambda data: pd.DataFrame(STYLES[codes], index=data.index, columns=data.columns), axis=None),
        key=_grid_key(view, at),
        hide_index=True,
        height=min(HEIGHT, 35 * (len(frame) + 1) + 3),
        on_select="rerun",
        selection_mode="single-row",
        column_config=_config(frame, shown, result.plan),
        alt=f"Rows that differ, before and after: {number(len(frame))} of {total:,}.",
    )
    _pager(result.plan, view, at, pages, size, total)
    chosen = picked["selection"]["rows"]
    if chosen and chosen[0] < len(shown.rows):
        _open(result, shown.rows[chosen[0]].position)


def _shown_columns(result: Result, view: View) -> tuple[str, ...]:
    every = tuple(pair.name for pair in result.plan.columns)
    if view.every_column:
        return every
    asked = {view.order.column, *view.filter.changed_columns, *(each.column for each in view.filter.conditions)}
    changed = asked | {each.name for each in result.summary.columns if each.changed}
    return tuple(name for name in every if name in changed) or every


def _page_size(columns: int) -> int:
    return max(LEAST_ROWS, min(PAGE_SIZE, MOST_CELLS // columns))


def _grid_key(view: View, at: int) -> str:
    """Another table for other rows: a selection must not go over to them."""
    closed = st.session_state.get("rows_closed", 0)
    return f"rows_{urlencode(replace(view, number=at).to_query())}_{closed}"


def _cells(shown: Page, plan: Plan) -> tuple[pd.DataFrame, np.ndarray]:
    """One page as text, and what colour each cell has."""
    deltas = _deltas(shown, plan)
    wide = len(shown.columns) > WIDE
    columns = ["fate", *(f"k{i}" for i in range(len(shown.key))), *(["what"] if wide else [])]
    for i in range(len(shown.columns)):
        columns += [f"c{i}", f"d{i}"] if i in deltas else [f"c{i}"]
    lines = [_line(each, deltas, shown.columns if wide else ()) for each in shown.rows]
    texts, codes = zip(*lines, strict=True)
    return pd.DataFrame(list(texts), columns=columns, dtype=object), np.array(codes)


def _deltas(shown: Page, plan: Plan) -> set[int]:
    """The places of number columns, if they are few."""
    types = {pair.name: pair.type for pair in plan.columns}
    found = {i for i, name in enumerate(shown.columns) if types[name] is ColumnType.NUMBER}
    return found if len(found) <= MOST_DELTAS else set()


def _line(each: Row, deltas: set[int], named: Sequence[str]) -> tuple[list[str], list[int]]:
    """The cells of a row and their looks; with names, what changed comes first, in one cell."""
    alone = {Change.ADDED: ADDED, Change.REMOVED: REMOVED}.get(each.change, NONE)
    texts, codes = [SIGNS[each.change]], [SIGNED + (alone or CHANGED)]
    for pair in each.key:
        texts.append(_text(pair, each.change, differs=pair.code is None))
        codes.append(alone)
    if named:
        texts.append(_what(each, named))
        codes.append(alone or CHANGED)
    for i, pair in enumerate(each.cells):
        differs = pair.code is Cell.DIFFERS
        texts.append(_text(pair, each.change, differs=differs))
        codes.append(CHANGED if differs else alone)
        if i in deltas:
            texts.append(_signed(pair.change) if differs or alone else "")
            codes.append(NONE)
    return texts, codes


def _what(each: Row, named: Sequence[str]) -> str:
    cells = (
        f"{name}: {_text(pair, each.change, differs=True)}"
        for name, pair in zip(named, each.cells, strict=True)
        if pair.code is Cell.DIFFERS
    )
    return " · ".join(cells) or f"row {each.change}"


def _text(pair: CellPair, change: Change, *, differs: bool) -> str:
    if differs:
        return f"{_brief(pair.old, pair.new)} → {_brief(pair.new, pair.old)}"
    return _cut((pair.old if change is Change.REMOVED else pair.new) or "")


def _brief(text: str | None, other: str | None) -> str:
    """A cell in a change: of long text the part where the two begin to differ."""
    if text is None:
        return EMPTY
    if other is None:
        return _cut(text)
    same = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    start = max(0, min(same - SAME_BEFORE, len(text) - MOST_IN_CHANGE))
    return ("…" if start else "") + _cut(text[start:], MOST_IN_CHANGE)


def _cut(text: str, most: int = MOST_LETTERS) -> str:
    """A cell on one line, not too long. The grid draws text that runs from the right beside its cell, unless a mark leads it."""
    line = text.replace("\r\n", "⏎").replace("\n", "⏎").replace("\r", "⏎")
    lead = LEFT_TO_RIGHT if line and bidirectional(line.strip()[:1] or " ") in ("R", "AL") else ""
    return lead + (line if len(line) <= most else f"{line[: most - 1]}…")


def _signed(change: str | None) -> str:
    if not change:
        return ""
    return f"−{change[1:]}" if change.startswith("-") else f"+{change}" if change != "0" else "0"


def _config(frame: pd.DataFrame, shown: Page, plan: Plan) -> dict[str, Any]:
    types = {pair.name: pair.type for pair in plan.pairs}
    labels = {f"k{i}": name for i, name in enumerate(shown.key)} | {f"c{i}": name for i, name in enumerate(shown.columns)}
    labels |= {f"d{i}": f"Δ {name}" for i, name in enumerate(shown.columns)}
    found: dict[str, Any] = {
        "fate": st.column_config.TextColumn("±", width=36, pinned=True, alignment="center", help="added +, removed −, changed ~")
    }
    for column in frame.columns[1:]:
        if column == "what":
            found[column] = st.column_config.TextColumn("What changed", width=380)
            continue
        name = labels[column]
        right = column[0] == "d" or types[name.removeprefix("Δ ") if column[0] == "d" else name] is ColumnType.NUMBER
        pinned = column[0] == "k" and len(shown.key) <= 3
        found[column] = st.column_config.TextColumn(
            name, width=_width(frame[column], name), pinned=pinned, alignment="right" if right else "left", help=_help(column, name)
        )
    return found


def _help(column: str, name: str) -> str | None:
    return {"k": f"Part of the key: {code(name)}", "d": f"{code(name[2:])}: new − old"}.get(column[0])


def _width(cells: Sequence[str], name: str) -> int:
    """Pixels for the longest text of a column, within reason."""
    longest = max((len(cell) + sum(map(WIDE_LETTERS.__lt__, () if cell.isascii() else cell)) for cell in cells), default=0)
    return min(max(int(longest * 6.2) + 18, int(len(name) * 7.2) + 24, 50), 380)


def _pager(plan: Plan, view: View, at: int, pages: int, size: int, total: int) -> None:
    first = (at - 1) * size + 1
    with st.container(horizontal=True, vertical_alignment="center", key="pager"):
        st.caption(f"Rows {first:,}–{min(first + size - 1, total):,} of {total:,}. Select a row to see all its columns.", width="content")
        st.space("stretch")
        if pages > 1:
            key = f"page_{at}_of_{pages}"
            st.pagination(
                pages,
                default=at,
                max_visible_pages=PAGE_BUTTONS,
                width=PAGE_BUTTON * (min(pages, PAGE_BUTTONS) + 2),
                key=key,
                on_change=lambda: _turn(plan, number=st.session_state[key]),
            )


# --- one row -------------------------------------------------------------------------------------


def _closed() -> None:
    st.session_state["rows_closed"] = st.session_state.get("rows_closed", 0) + 1


@st.dialog("Before and after", width="large", on_dismiss=_closed)
def _open(result: Result, position: int) -> None:
    """Every column of a row, old beside new; in wide tables those that changed come first."""
    found = row(result, position)
    if found is None:
        st.info("This row is not there any more.")
        return
    plan = result.plan
    lines = [_detail(found.change, pair.name, cells, "key") for pair, cells in zip(plan.key, found.key, strict=True)]
    others = list(zip(plan.columns, found.cells, strict=True))
    if len(others) > WIDE:
        others.sort(key=lambda each: each[1].code is not Cell.DIFFERS)
    lines += [_detail(found.change, pair.name, cells, "") for pair, cells in others]
    differing = sum(cells.code is Cell.DIFFERS for cells in found.cells)
    what = f"{number(differing, 'cell')} changed" if found.change is Change.CHANGED else f"This row was {found.change}"
    heads = "".join(f"<th scope=col>{name}</th>" for name in ("Column", "Old", "New")) + "<th scope=col class=df-number>Change</th>"
    st.html(
        f'<p class="df-quiet"><span style="color:{COLOURS[found.change]};font-weight:700">{SIGNS[found.change]}</span> {what}</p>'
        f'<table class="df-table df-sides"><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    )


def _detail(change: Change, name: str, cells: CellPair, note: str) -> str:
    """A line of the table: one column of the row. Where there is no row there is no cell, not even an empty one."""
    differs, alone = cells.code is Cell.DIFFERS, cells.code is Cell.ALONE
    old = f"background:{tint(Change.REMOVED)}" if differs or (alone and cells.old is not None) else ""
    new = f"background:{tint(Change.ADDED)}" if differs or (alone and cells.new is not None) else ""
    strong = "font-weight:600" if differs else ""
    label = f"{marked(name)}{f' <span class=df-none>· {note}</span>' if note else ''}"
    sides = (
        f'<td class="df-cell" style="{old}"><div>{"" if change is Change.ADDED else marked_cell(cells.old)}</div></td>'
        f'<td class="df-cell" style="{new}"><div>{"" if change is Change.REMOVED else marked_cell(cells.new)}</div></td>'
    )
    moved = marked(_signed(cells.change)) if differs or alone else ""
    return f'<tr><td style="{strong}">{label}</td>{sides}<td class="df-number">{moved}</td></tr>'
