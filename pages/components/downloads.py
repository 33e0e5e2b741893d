"""Links to the files of a result. Real links, so that the browser streams them from disk."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, urlencode

import streamlit as st

from diffing.excel import MOST_ROWS
from diffing.jobs import Job
from diffing.result import Summary
from diffing.views import Filter
from pages.components.fates import number

WORDS = {
    "csv": ("CSV", "the diffed rows as text"),
    "xlsx": ("Excel", "changed cells marked"),
    "csv-for-spreadsheets": ("CSV for spreadsheets", "no cell runs as a formula"),
    "parquet": ("Parquet", "for programs"),
    "json": ("JSON lines", "one object per row"),
}
"""What a form is called, and for what it is."""


def address(job: Job, form: str = "csv", filter: Filter = Filter()) -> str:
    """Where the rows that a filter means can be fetched."""
    query = urlencode({**({} if form == "csv" else {"format": form}), **filter.to_query()})
    return f"/api/diffing/job/{quote(str(job.id))}{'?' if query else ''}{query}"


def whole(job: Job, summary: Summary) -> None:
    """The diffed CSV in one click, and the other forms behind a second one."""
    with st.container(horizontal=True, horizontal_alignment="right", gap="small"):
        st.html(f'<a class="df-download" href="{_quoted(address(job))}" download>Download CSV</a>', width="content")
        with st.popover("Other formats", width="content"):
            _links(job, Filter(), summary.differing_rows, [form for form in WORDS if form != "csv"])


def filtered(job: Job, filter: Filter, rows: int) -> None:
    """The rows of the table."""
    with st.popover("Download these rows", width="content", disabled=not rows):
        _links(job, filter, rows, list(WORDS))


def _links(job: Job, filter: Filter, rows: int, forms: Iterable[str]) -> None:
    for form in forms:
        name, what = WORDS[form]
        if form == "xlsx" and rows > MOST_ROWS:
            st.caption(f"Excel: up to {MOST_ROWS:,} rows; these are {number(rows)}. Filter the table below, then download what is left.")
        else:
            st.html(f'<a class="df-form" href="{_quoted(address(job, form, filter))}" download>{name} <span>· {what}</span></a>')


def _quoted(url: str) -> str:
    return url.replace("&", "&amp;")
