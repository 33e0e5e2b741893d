"""How every page shows the fates of rows, and text that comes from files."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

import streamlit as st

from diffing.charts import COLOURS, EMPTY, SIGNS
from diffing.errors import DiffError
from diffing.result import Change, Summary

TINTS = {Change.CHANGED: "42", Change.ADDED: "33", Change.REMOVED: "33"}
"""How much of a fate's colour is behind text, as the alpha of a hex colour: right in light and in dark."""
ACCENT = "#5B52C9"
"""Where the theme names no colour of its own."""
MARKUP = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&^=\"'@/])")
JOINER = "\u2060"
"""Is not seen, and allows no line break."""
FOUND_LATER = re.compile(r"(https?:(?=//)|www(?=\.)|:(?=[\w+/-]+:)|[\w.+-](?=@))", re.IGNORECASE)
"""Where addresses and shortcodes begin. Browsers look for them when escapes are gone already."""

OPTIONS = re.compile(r" \(--[^()]*\)")


def tint(change: Change) -> str:
    """The colour behind text of this fate."""
    return COLOURS[change] + TINTS.get(change, "00")


def signed(change: Change) -> str:
    """A fate in words, with its sign."""
    return f"{SIGNS[change]} {change}"


def plain(text: str) -> str:
    """Text from a file for places that read Markdown: it is shown as it is written, on one line."""
    return MARKUP.sub(r"\\\1", FOUND_LATER.sub(rf"\1{JOINER}", " ".join(text.split())))


def marked(text: object) -> str:
    """Text from a file for HTML."""
    return html.escape(str(text))


def code(name: str) -> str:
    """The name of a column in a text that is read as Markdown: as it is, on one line."""
    name = " ".join(name.split()) or " "
    fence = "`"
    while fence in name:
        fence += "`"
    space = " " if name[0] in "` " or name[-1] in "` " else ""
    return f"{fence}{space}{name}{space}{fence}"


def named(column: str) -> str:
    """The name of a column in HTML."""
    return f'<code class="df-name">{marked(column)}</code>'


def with_names(text: str, columns: Iterable[str]) -> str:
    """Text that names columns in quotes, as HTML."""
    shown = marked(text)
    for column in columns:
        for opening, closing in ("``", "“”"):
            shown = shown.replace(f"{opening}{marked(column)}{closing}", named(column))
    return shown


def in_the_app(hint: str) -> str:
    """A hint without the options of the command line, which it names for those who use that."""
    return OPTIONS.sub("", hint)


def said(error: DiffError) -> str:
    """What went wrong, and what to do."""
    hint = f"  \n{plain(in_the_app(error.hint))}" if error.hint else ""
    return f"**{plain(error.message)}**{hint}"


def marked_cell(text: str | None) -> str:
    """A cell for HTML: empty is told apart from blanks."""
    return f'<span class="df-none">{EMPTY}</span>' if text is None else marked(text)


def number(n: int, one: str = "row", many: str = "") -> str:
    """A count with thousands separators, and what it counts."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def lead(summary: Summary) -> str:
    """What a person wants to know first, as HTML; how many of each fate comes after it."""
    n = summary.differing_rows
    if n:
        return f"<b>{number(n)} {'differs' if n == 1 else 'differ'}</b>:"
    added, removed = len(summary.columns_added), len(summary.columns_removed)
    if added or removed:
        parts = [f"{n:,} {'was' if n == 1 else 'were'} {what}" for n, what in ((added, "added"), (removed, "removed")) if n]
        return f"<b>No row differs, but the columns do</b>: {', '.join(parts)}."
    return "<b>No row differs.</b>" if summary.differs else "<b>Nothing differs.</b>"


def remainder(summary: Summary) -> str:
    """What did not change, which ends the answer."""
    n = summary.unchanged
    if summary.differing_rows:
        return f"{n:,} {'is' if n == 1 else 'are'} the same." if n else "No row is the same."
    if not n:
        return "Neither file has any rows."
    others = " in the columns that both files have" if summary.columns_added or summary.columns_removed else ""
    return f"{'The only row is' if n == 1 else f'All {n:,} rows are'} the same{others}."


def style() -> None:
    """The few rules of our own that the pages need; colours come from the theme and the fates."""
    light, dark = _colours("primaryColor", "#5B52C9", "#7168DC")
    ink = "light-dark({}, {})".format(*_colours("codeTextColor", "#3A3566", "#D4D1FF"))
    ground = "light-dark({}, {})".format(*_colours("codeBackgroundColor", "#F0EFF9", "#262938"))
    fates = "".join(
        f".st-key-answer_{each} button{{background:{tint(each)}}}.st-key-answer_{each} button:hover{{background:{COLOURS[each]}66}}"
        f".df-edge-{each}{{border-left:3px solid {COLOURS[each]};padding-left:.6rem}}"
        for each in TINTS
    )
    fates += f"code.df-name{{color:{ink};background:{ground}}}"
    link = "light-dark({}, {})".format(*_colours("linkColor", "#4F46B8", "#B4AFFF"))
    fates += f"[data-testid=stMain] [data-testid=stPageLink-NavLink] *{{color:{link}}}"
    st.html(f"<style>{fates}{RULES.replace('LIGHT', light).replace('DARK', dark)}</style>")


def _colours(option: str, *fallbacks: str) -> list[str]:
    """A colour of the theme in light and in dark."""
    return [st.get_option(f"theme.{look}.{option}") or fallback for look, fallback in zip(("light", "dark"), fallbacks, strict=True)]


RULES = """
.df-answer{font-size:1.35rem;line-height:1.5;margin:0}
.st-key-answer{row-gap:.2rem;column-gap:.4rem}
.st-key-answer button{border-radius:4px;padding:0 .35rem;min-height:0;line-height:1.5;color:inherit}
.st-key-answer button p{font-size:1.35rem;line-height:1.5}
.st-key-rows [data-testid=stElementToolbar]{top:-5px!important;right:2px!important}
.st-key-pager [data-testid=stPagination]{justify-content:flex-end}
.st-key-origin button{min-height:0;padding:0}
.df-quiet{opacity:.72;font-size:.9rem;margin:0}
.df-none{opacity:.5}
code.df-name{font-size:.88em;padding:.12em .3em;border-radius:4px;white-space:pre-wrap;overflow-wrap:anywhere}
.df-note{border-left:3px solid #E69F00;background:#E69F001a;border-radius:4px;padding:.45rem .8rem;font-size:.92rem;margin:0 0 .35rem}
.df-cellular,.df-state{margin:0;font-size:.92rem;font-variant-numeric:tabular-nums;white-space:nowrap}
.df-state::before{content:"";display:inline-block;width:.55em;height:.55em;border-radius:50%;margin-right:.5em;background:#9e9e9e}
.df-state-done::before{background:#009E73}.df-state-failed::before{background:#D55E00}
.df-state-running::before,.df-state-queued::before{background:#0072B2}
[data-testid=stMain] [data-testid=stPageLink-NavLink]{padding-left:0}
.df-big{font-size:1.25rem;margin:0}
.df-question{font-weight:600;font-size:.95rem;margin:0;overflow-wrap:anywhere}
a.df-download{display:inline-block;box-sizing:border-box;width:100%;text-align:center;
 padding:.42rem 1rem;border-radius:.5rem;font-weight:600;
 text-decoration:none!important;white-space:nowrap;background:light-dark(LIGHT,DARK);color:#fff!important}
a.df-download:hover{filter:brightness(1.1)} a.df-download:focus-visible{outline:2px solid currentColor;outline-offset:2px}
a.df-form{display:block;padding:.3rem 0;text-decoration:none!important;color:light-dark(LIGHT,DARK)!important}
a.df-form span{opacity:.7;color:light-dark(#31333f,#fafafa)}
.df-table{border-collapse:collapse;width:100%;font-size:.9rem}
.df-table caption{text-align:left;font-weight:600;padding:.9rem 0 .25rem}
.df-table th{text-align:left;font-weight:500;opacity:.75;padding:.25rem .9rem .25rem 0;vertical-align:top;white-space:nowrap}
.df-narrow{width:auto;min-width:26rem;max-width:100%}.df-narrow td,.df-narrow th{padding-right:2.2rem}
.df-table th+th{padding-left:.5rem} .df-table td+td{padding-left:.5rem}
.df-table td{padding:.25rem .9rem .25rem 0;vertical-align:top;overflow-wrap:anywhere}
.df-table tbody tr{border-top:1px solid rgba(128,128,128,.18)}
.df-table td.df-cell{white-space:pre-wrap;padding:.25rem .5rem;min-width:6rem}
.df-sides{table-layout:fixed}.df-sides th:first-child{width:20%}.df-sides th:last-child{width:13%}
.df-sides td.df-cell div{max-height:45vh;overflow:auto}
.df-table td.df-number,.df-table th.df-number{text-align:right;font-variant-numeric:tabular-nums}
"""
