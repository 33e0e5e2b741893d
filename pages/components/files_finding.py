"""What is found out about files while the page is shown, and what went wrong."""

from __future__ import annotations

from concurrent.futures import Future, wait
from typing import TypeVar

import streamlit as st

from diffing.errors import DiffError
from diffing.inspect import Inspector
from diffing.services import services
from pages.components.fates import said

Found = TypeVar("Found")
Waiting = list["Future[object]"]
"""What is being found out for a page; see `come_back_for`."""

PATIENCE, SMALL = 0.5, 8 << 20
"""Seconds that a page waits for what small files show, and what a small file is, in bytes."""


@st.cache_resource(show_spinner=False)
def inspector() -> Inspector:
    return Inspector(services().files)


def shown_error(error: DiffError) -> None:
    """What went wrong and what to do, beside what caused it."""
    st.error(said(error), icon=":material/error:")


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
