"""The HTTP API for people: examples that work when pasted, and all paths."""

from __future__ import annotations

from urllib.parse import urlsplit

import streamlit as st

from diffing.api import describe
from diffing.errors import DiffError
from diffing.services import services
from pages.components.fates import marked, style

LOCAL = "http://localhost:8501"


def main() -> None:
    style()
    base, token = address(), services().settings.token is not None
    st.title("HTTP API", anchor=False)
    st.write("What these pages do, a script can do too: start a comparison, ask how far it is, fetch the rows that differ.")
    if token:
        st.info("This server asks for a token: put it into DIFFING_TOKEN before you paste.")
    for question, commands in examples(base, metric(), ' -H "Authorization: Bearer $DIFFING_TOKEN"' if token else ""):
        st.html(f'<p class="df-question">{marked(question)}</p>')
        st.code(commands, language="bash")
    paths()
    st.link_button("openapi.json", "/api/openapi.json")


def address() -> str:
    """This server, as the browser reaches it."""
    seen = urlsplit(st.context.url or LOCAL)
    return f"{seen.scheme}://{seen.netloc}"


def metric() -> str:
    """A metric for the examples: the first one whose files are there."""
    try:
        found = services().files.metrics()
    except DiffError:
        return "revenue"
    return next((each.id for each in found.values() if not each.missing), next(iter(found), "revenue"))


def examples(base: str, metric_id: str, header: str) -> list[tuple[str, str]]:
    curl, job = f"curl -s{header}", f"{base}/api/diffing/job"
    return [
        (
            "Compare a metric, wait for it, fetch the diffed CSV",
            f"id=$({curl} {base}/api/diffing/new/{metric_id} | tr -dc 0-9)\n"
            f"while {curl} {job}/$id/summary | grep -q processing; do sleep 1; done\n"
            f"{curl} -OJ {job}/$id",
        ),
        (
            "Compare two files",
            "printf 'id,price\\n1,10\\n2,20\\n' > old.csv\n"
            "printf 'id,price\\n1,11\\n3,30\\n' > new.csv\n"
            f"url=$({curl} -F old=@old.csv -F new=@new.csv -F key=id {base}/api/diffing/new | grep -o 'http[^\"]*')\n"
            f'while {curl} "$url/summary" | grep -q processing; do sleep 1; done\n'
            f'{curl} "$url"',
        ),
        ("Other forms, and only some rows", f'{curl} "{job}/$id?format=json&change=added,removed"\n{curl} -OJ "{job}/$id?format=xlsx"'),
        ("The counts", f"{curl} {job}/$id/summary"),
        ("Cancel a comparison that runs, or delete one that has ended", f"{curl} -X DELETE {job}/$id"),
    ]


def paths() -> None:
    """Every path, from the description that programs read."""
    lines = "".join(
        f"<tr><td><code>{method.upper()}</code></td><td><code>{marked(path)}</code></td><td>{marked(what['summary'])}</td></tr>"
        for path, methods in describe()["paths"].items()
        for method, what in methods.items()
    )
    st.html(f'<table class="df-table"><caption>All paths</caption><tbody>{lines}</tbody></table>')


main()
