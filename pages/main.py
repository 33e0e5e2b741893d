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

NOT_OURS = '[data-testid="stMainMenuItem-recordScreencast"], [data-testid="stMainMenuList"] + div'
"""Parts of the frame's own menu that say nothing to a person who compares tables."""

NAME = """
:has(> [data-testid="stHeaderLogo"]) {display: flex; align-items: center; gap: .6rem; color: inherit}
:has(> [data-testid="stHeaderLogo"])::after {content: "CSV Diffing"; font-weight: 600; font-size: 1.15rem; white-space: nowrap}
"""
"""The name beside the sign, as text: it is dark on light and light on dark, whichever is chosen when."""

DROP = '[data-testid="stFileUploaderDropzone"] {min-height: 6.5rem; align-items: center; border-style: dashed}'
"""A place to drop a file that looks like one."""

st.set_page_config(page_title="CSV Diffing", page_icon=str(STATIC / "favicon.png"), layout="wide")
st.logo(str(STATIC / "favicon.png"), size="large")
inks = ", ".join(str(st.get_option(f"theme.{each}.linkColor")) for each in ("light", "dark"))
st.html(f"<style>{CHOSEN} * {{color: light-dark({inks})}} {NOT_OURS} {{display: none}} {NAME} {DROP}</style>")
pages = [
    st.Page(file, title=title, url_path=address, default=not address, visibility=visibility)
    for file, title, address, visibility in MENU
    if (HERE / file).exists()
]
st.navigation(pages, position="top").run()
