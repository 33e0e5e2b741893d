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
    ("api.py", "API", "api", "visible"),
]
"""File, title, address, and whether the menu shows it. The first is where people arrive."""

st.set_page_config(page_title="CSV Diffing", page_icon=str(STATIC / "favicon.png"), layout="wide")
st.logo(str(STATIC / f"logo_{'dark' if st.context.theme.type == 'dark' else 'light'}.png"), size="large")
pages = [
    st.Page(file, title=title, url_path=address, default=not address, visibility=visibility)
    for file, title, address, visibility in MENU
    if (HERE / file).exists()
]
st.navigation(pages, position="top").run()
