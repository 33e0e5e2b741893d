"""Scrolling to the rows: what is clicked to see some of them stands far above them."""

from __future__ import annotations

import streamlit as st

SCRIPT = """
document.querySelector(".st-key-rows")?.scrollIntoView({
  block: "nearest",
  behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth",
});
"""
"""Scrolls just as far as it takes. The only script of our own; browsers run it because the launcher vouches for its text."""


def look_at_rows() -> None:
    """Bring the rows into sight when the page has been drawn."""
    st.session_state["look_at_rows"] = st.session_state.get("look_at_rows", 0) + 1


def brought_into_sight() -> None:
    """Do so, once for each time that it was asked."""
    asked = st.session_state.get("look_at_rows", 0)
    if asked != st.session_state.get("looked_at_rows", 0):
        st.session_state["looked_at_rows"] = asked
        st.html(f'<i hidden data-asked="{asked}"></i><script>{SCRIPT}</script>', unsafe_allow_javascript=True)
