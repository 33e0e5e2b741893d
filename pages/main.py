"""The frame of every page: its name, its logo, and the menu."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent
STATIC = HERE.parent / "static"
MENU = [
    ("compare.py", "Compare", "", "visible"),
    ("result.py", "Result", "result", "hidden"),
    ("history.py", "History", "history", "visible"),
    ("metrics.py", "Metrics", "metrics", "visible"),
    ("api.py", "API", "http-api", "visible"),
]
"""File, title, address, and whether the menu shows it. The first is where people arrive."""

CHOSEN = '[data-testid="stButtonGroup"] [data-selected="true"]'
"""What is chosen among a few: its words need more contrast than the accent has on a dark ground."""

st.set_page_config(page_title="CSV Diffing", page_icon=str(STATIC / "favicon.png"), layout="wide")
look = "dark" if st.context.theme.type == "dark" else "light"
st.logo(str(STATIC / f"logo_{look}.png"), size="large")
inks = ", ".join(str(st.get_option(f"theme.{each}.linkColor")) for each in ("light", "dark"))
st.html(f"<style>{CHOSEN} * {{color: light-dark({inks})}}</style>")
pages = [
    st.Page(file, title=title, url_path=address, default=not address, visibility=visibility)
    for file, title, address, visibility in MENU
    if (HERE / file).exists()
]
st.navigation(pages, position="top").run()
