"""The question that a person is putting together: kept as long as the browser's tab is open.

There is one for two files, and one for each metric that was looked at, so that going back and
forth loses nothing. Widgets show it and change it; it never asks a widget.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import streamlit as st

from diffing.jobs import Question
from diffing.services import services
from diffing.uploads import OWNER_COOKIE

FILES = ""
"""The subject of a question about two files; otherwise it is the id of a metric."""
SLOTS = ("", "")


def owner() -> str:
    """Whose browser this is; empty without cookies."""
    said = st.context.cookies.get(OWNER_COOKIE, "")
    return said if isinstance(said, str) else ""


def subject() -> str:
    return str(st.session_state.get("subject", FILES))


def about(subject: str) -> None:
    """Turn to another question; the one before is kept."""
    st.session_state["subject"] = subject
    st.session_state["editor"] = st.session_state.get("editor", 0) + 1
    st.session_state.pop("mistakes", None)


def draft() -> Question:
    """The question as it is now; as the registry says it, if that has changed since.

    Raises:
        MetricError: it is about a metric that is not in the registry.
    """
    asked = _asked()
    before, question = st.session_state.setdefault("drafts", {}).get(subject(), (asked, asked))
    return question if before == asked else asked


def _asked() -> Question:
    """What the question is before anything is chosen."""
    return services().files.ask(subject()) if subject() else Question(uploads=SLOTS)


def put(question: Question) -> None:
    """From now on, this is the question."""
    about(question.metric or FILES)
    _keep(question)


def change(**changes: Any) -> None:
    """Change the question."""
    _keep(replace(draft(), **changes))


def _keep(question: Question) -> None:
    st.session_state.setdefault("drafts", {})[subject()] = (_asked(), question)


def choose(**changes: Any) -> None:
    """Change what is chosen in it."""
    change(choices=replace(draft().choices, **changes))


def synced(key: str, value: Any) -> str:
    """The key of a widget that shows a value of the question; its `on_change` must change the question."""
    st.session_state[key] = value
    return key


def entered(key: str, then: Callable[[Any], None]) -> Callable[[], None]:
    """An `on_change` that hands on what was entered."""
    return lambda: then(st.session_state[key])
