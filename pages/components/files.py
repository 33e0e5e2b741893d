"""The two files of a question: uploaded, or those of a metric."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import streamlit as st

from diffing.dialects import DialectChoice
from diffing.errors import DiffError
from diffing.inspect import swapped
from diffing.jobs import demo_folder
from diffing.metrics import Metric
from diffing.services import services
from diffing.sources import Source
from diffing.uploads import Upload
from pages.components.fates import plain
from pages.components.files_card import card
from pages.components.files_draft import change, draft, owner, put, subject
from pages.components.files_finding import Waiting, inspector, shown_error

MEANINGS = {"old": "the table as it was", "new": "the table as it is now"}
MIB = 1 << 20
ACCEPTED = "Drop a file here, or choose one: CSV with any delimiter and encoding, also as .gz or .zst, or Parquet."


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
            return card(side, upload.name, lambda choice: inspector().uploaded(upload, choice), waiting, take_out=lambda: _empty(side))
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
    return list(MEANINGS).index(side)


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
        f"{side.capitalize()} file",
        key=f"drop_{side}_{count}",
        label_visibility="collapsed",
        max_upload_size=-(-services().uploads.limit // MIB),
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
            if demo_folder(metric):
                st.info("Demo data, not made yet.", icon=":material/dataset:")
            else:
                st.warning(f"**Missing:** {plain(metric.shown(side))}  \nPut the file there, or correct the entry in the registry.")
            return None
        if isinstance(metric.place(side), str):
            st.markdown(f"**{side.upper()}** :gray[· {MEANINGS[side]}]")
            st.info(f"{plain(metric.shown(side))}  \nRead by Spark. Run it as registered, from Metrics.", icon=":material/lan:")
            return None
        return card(side, path.name, lambda choice: inspector().registered(path, choice), waiting)


def demo_offer(folder: Path) -> None:
    """Offer to write the demo data, and show that it happens."""
    making: Future[object] | None = st.session_state.get("demo")
    if making is None:
        st.button("Make the demo data", icon=":material/dataset:", on_click=make_demo, args=(folder,))
        st.caption("Two invented metrics of an online shop, 400,000 and 2 million rows, about 500 MB on disk.")
    else:
        demo_progress(making)


def make_demo(folder: Path) -> None:
    st.session_state["demo"] = inspector().demo(folder)


@st.fragment(run_every=1.0)
def demo_progress(making: Future[object]) -> None:
    if not making.done():
        st.info(":shimmer[Making the demo data …] Only this once; it takes some seconds.", icon=":material/hourglass_empty:")
        return
    del st.session_state["demo"]
    error = making.exception()
    if isinstance(error, DiffError):
        shown_error(error)
    else:
        st.rerun()
