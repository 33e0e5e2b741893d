"""Text that a file, its name or the registry brings in: is it shown as it is written, wherever it is shown, and nothing more?"""

# ruff: noqa: F811 - fixtures are imported, and named as arguments

from __future__ import annotations

import csv
import io
import json
import urllib.request
from typing import Any
from urllib.parse import urlencode

import pytest

from diffing import views
from diffing.charts import MOST_BARS, _cut
from diffing.views import Condition, Filter
from tests.browsing import Server, browser, needs_browser, opened, page, server, settled, upload, url  # noqa: F401

pytestmark = [needs_browser, pytest.mark.xdist_group("browser")]

HOSTILE = {
    "a script": "<script>attacked=1</script>",
    "a picture with a script": '<img id=attack src=x onerror="attacked=1">',
    "a drawing with a script": "<svg id=attack onload=attacked=1>",
    "a frame": "<iframe id=attack src=//evil.example></iframe>",
    "the end of what is around it": "</code></td></table></style><b id=attack>b</b>",
    "a style": "<style>*{display:none}</style>",
    "a link": "<a href='https://evil.example/a'>a</a>",
    "a link with a script": "<a href='javascript:attacked=1'>j</a>",
    "markup of figures": "<b>fat</b><br><sup>2</sup><i>i</i>",
    "signs of HTML": "&lt;b&gt; &copy; &#60;",
    "fat Markdown": "**fat** _thin_ ~~gone~~",
    "a link in Markdown": "[a](https://evil.example/m)",
    "a picture in Markdown": "![a](https://evil.example/p.png)",
    "an address": "https://evil.example/auto www.evil.example",
    "a heading": "# head",
    "code": "`code` ``two``",
    "a formula": "$\\frac{1}{2}$ $$x^2$$",
    "shortcodes": ":smile: :material/delete: :red[r] :streamlit:",
    "a hover template": "%{customdata} %{x}<extra>e</extra>",
    "a quote": "' \" ` \\",
}
"""What text could do, and text that would. `attacked` and `attack` are looked for afterwards."""
WORDS = list(HOSTILE.values())

LOOK = """() => ({
  ran: typeof attacked !== 'undefined' && !(attacked instanceof Element),
  elements: [...document.querySelectorAll('#attack, iframe, [onerror], [onload], [href*="evil"], [src*="evil"], [href^="javascript"]')]
    .map(each => each.outerHTML),
  formulas: document.querySelectorAll('.katex, .MathJax').length,
  hidden: getComputedStyle(document.body).display === 'none',
})"""


def harmless(page: Any) -> None:
    """Nothing of the text became part of the page, or ran."""
    assert page.evaluate(LOOK) == {"ran": False, "elements": [], "formulas": 0, "hidden": False}


def shown(page: Any, words: list[str] = WORDS, *, within: str = "body") -> list[str]:
    """The words that are not shown as they are written."""
    texts = page.locator(within).evaluate_all("all => all.map(each => each.innerText || each.textContent)")
    seen = " ".join(" ".join(texts).split())
    seen = seen.replace("\u2060", "")
    return [word for word in words if " ".join(word.split()) not in seen]


def table(*, edit: int) -> str:
    """A column for each word, which also stands in its cells; a number column for each, so that charts name it."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["id", "kind", *(f"{word}" for word in WORDS)])
    for i, word in enumerate(WORDS * 3):
        writer.writerow([f"{i} {word}", word, *(i * (j + 2) + edit * (j + 1) * (i < 40) for j, _ in enumerate(WORDS))])
    return out.getvalue()


FILE_NAME = "<b id=attack>x<b> **fat** $x$ :smile: www.evil.example [a](b) %s.csv"
"""What a file may be called; it may not hold a slash."""


def file_named(side: str) -> str:
    return FILE_NAME % side


@pytest.fixture(scope="module")
def job(server: Server) -> str:
    """Metrics that are called like the words, of files that are called as badly; the id of a job about hostile columns."""
    for name, edit in (("old", 0), ("new", 1)):
        (server.folder / f"{name}.csv").write_text(table(edit=edit))
        (server.folder / file_named(name)).write_text(f"id,v\n1,{name}\n")
    entries = [("columns", "Columns", "", "old.csv", "new.csv")]
    entries += [("all_words", " ".join(WORDS), " ".join(WORDS), file_named("old"), file_named("new"))]
    entries += [(f"m{i}", word, word, file_named("old"), file_named("new")) for i, word in enumerate(WORDS)]
    fields = ("title", "description", "old", "new")
    server.registry.write_text(
        "".join(
            f'[{id_}]\nkey = ["id"]\n' + "".join(f"{name} = {json.dumps(text)}\n" for name, text in zip(fields, said, strict=True))
            for id_, *said in entries
        )
    )
    return started(server, "columns")


def started(server: Server, metric: str) -> str:
    with urllib.request.urlopen(f"{server.url}/api/diffing/new/{metric}") as answer:
        return str(json.load(answer)["job_id"])


def text_of(page: Any, selector: str) -> list[str]:
    found: list[str] = page.locator(selector).evaluate_all("all => all.map(each => each.textContent)")
    return found


def test_titles_and_files_of_metrics(page: Any, url: str, job: str) -> None:
    opened(page, f"{url}/metrics").get_by_text("Run all").wait_for()
    page.locator(".st-key-run_all_words").wait_for()
    assert shown(page, [*WORDS, file_named("old"), file_named("new")]) == []
    harmless(page)
    for help_ in page.locator("[data-testid=stTooltipHoverTarget]").all()[:4]:
        help_.hover()
        page.locator("[data-testid=stTooltipContent]").wait_for()
        harmless(page)
        page.mouse.move(0, 0)
        page.locator("[data-testid=stTooltipContent]").wait_for(state="detached")


def test_a_title_and_names_of_files_on_the_way_to_a_result(page: Any, server: Server, url: str, job: str) -> None:
    own = started(server, "all_words")
    opened(page, f"{url}/result?job={own}").get_by_text("1 row differs").wait_for()
    assert shown(page, [" ".join(WORDS), file_named("old"), file_named("new")]) == []
    harmless(page)
    opened(page, f"{url}/history").get_by_text("Run again").first.wait_for()
    assert shown(page, [" ".join(WORDS)]) == []
    harmless(page)


def test_a_metric_that_is_chosen(page: Any, url: str, job: str) -> None:
    opened(page, f"{url}/?metric=all_words").get_by_text("name every row").or_(
        page.get_by_text("The key that the registry names")
    ).wait_for()
    assert shown(page, [" ".join(WORDS), file_named("old")[:20]]) == []
    harmless(page)
    page.locator("[data-testid=stSelectbox] input").first.click()
    page.locator("[role=option]").first.wait_for()
    harmless(page)


def test_names_of_columns_in_charts(page: Any, url: str, job: str) -> None:
    opened(page, f"{url}/result?job={job}")
    page.locator(".js-plotly-plot .point path").first.wait_for(state="attached")
    settled(page)
    labels = text_of(page, "[class*=st-key-chart_columns] svg text")
    assert len({_cut(word) for word in WORDS} & set(labels)) >= MOST_BARS, "each column that has a bar is named as it is written"
    harmless(page)
    bars = page.locator("[class*=st-key-chart_columns] .point path")
    for at, word in enumerate(WORDS[:8]):
        bars.nth(at).scroll_into_view_if_needed()
        bars.nth(at).hover(force=True)
        page.wait_for_function(
            "text => [...document.querySelectorAll('.hoverlayer')].some(each => each.textContent.includes(text))", arg=_cut(word)
        )
        harmless(page)


def test_values_of_a_column_in_charts(page: Any, url: str, job: str) -> None:
    opened(page, f"{url}/result?job={job}")
    page.locator("[class*=st-key-chart_where] .point path").first.wait_for(state="attached")
    labels = set(text_of(page, "[class*=st-key-chart_where] svg text"))
    assert len({_cut(f"{i} {word}") for i, word in enumerate(WORDS * 3)} & labels) > len(WORDS), "each word at least once"
    harmless(page)


def test_names_and_cells_in_a_row_that_is_opened(page: Any, url: str, job: str) -> None:
    opened(page, f"{url}/result?job={job}&columns=all")
    page.locator("[data-testid=stDataFrame] canvas").first.wait_for()
    for row in (0, 2):
        grid = page.locator("[data-testid=stDataFrame]").last
        grid.scroll_into_view_if_needed()
        box = grid.bounding_box()
        page.mouse.click(box["x"] + 14, box["y"] + 35 * (row + 1) + 17)
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("Before and after").wait_for()
        dialog.locator("table").wait_for()
        assert shown(page, WORDS, within="[role=dialog]") == []
        harmless(page)
        page.keyboard.press("Escape")
        dialog.wait_for(state="detached")
        settled(page)


def test_names_in_how_it_was_compared(page: Any, url: str, job: str) -> None:
    opened(page, f"{url}/result?job={job}").get_by_text("How this was compared", exact=True).click()
    page.get_by_text("Columns and their rules").wait_for()
    settled(page)
    assert shown(page) == []
    harmless(page)


def test_names_and_values_in_filters(page: Any, url: str, job: str) -> None:
    for some in (WORDS[:7], WORDS[7:14], WORDS[14:]):
        conditions = tuple(Condition(word, views.Test.CONTAINS, (word,)) for word in some)
        filter = Filter(conditions=conditions, changed_columns=tuple(some), search=some[0], change_at_least=(some[-1], "1"))
        opened(page, f"{url}/result?{urlencode({'job': job, **filter.to_query()})}")
        page.get_by_text("Clear filters").wait_for()
        page.locator(".st-key-condition_0").wait_for()
        settled(page)
        assert shown(page, some) == []
        harmless(page)


def test_files_that_are_uploaded_and_their_columns(page: Any, server: Server, url: str, job: str) -> None:
    opened(page, url)
    for side in ("old", "new"):
        (server.folder / f"{file_named(side)}.upload.csv").write_text(table(edit=int(side == "new")))
        upload(page, side, server.folder / f"{file_named(side)}.upload.csv")
    page.get_by_role("button", name="Compare", exact=True).wait_for()
    settled(page)
    page.locator(".st-key-rules").get_by_text("Rules").click()
    settled(page)
    assert shown(page, [file_named("old")[:20], "x<b>"]) == []
    harmless(page)
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text("40 rows differ").wait_for()
    assert shown(page, [f"{file_named('old')}.upload.csv → {file_named('new')}.upload.csv"]) == []
    harmless(page)


def test_columns_of_one_file_and_renamed_columns(page: Any, server: Server, url: str, job: str) -> None:
    """Columns that are found on one side only are listed before the comparison, and after it."""
    some = WORDS[:10]
    for side, words in (("old", [f"{word} before" for word in some]), ("new", [f"{word} after" for word in some])):
        lines = [["id", *words], *([str(i), *(f"{i * j}" for j, _ in enumerate(some))] for i in range(9))]
        with (server.folder / f"lone_{side}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(lines)
    opened(page, url)
    for side in ("old", "new"):
        upload(page, side, server.folder / f"lone_{side}.csv")
    page.get_by_role("button", name="Compare", exact=True).wait_for()
    settled(page)
    assert shown(page, [f"{word} before" for word in some] + [f"{word} after" for word in some]) == []
    harmless(page)
    settled(page).get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text("10 columns only in new").wait_for()
    assert shown(page, [f"{word} after" for word in some]) == []
    harmless(page)


def test_names_of_files_that_are_refused(page: Any, server: Server, url: str, job: str) -> None:
    """A browser sends a quote as %22, and what stands before a slash is a folder."""
    opened(page, url)
    names = [word.replace("/", "").replace("\\", "") for word in WORDS if '"' not in word]
    for some in (names[:4], names[4:8], names[8:12], names[12:]):
        file = server.folder / f"{' '.join(some)[:110]}.csv"
        file.write_bytes(b"PK\x03\x04")
        page.locator(".st-key-slot_old input[type=file]").set_input_files(file)
        page.get_by_text("Save the table as CSV").wait_for()
        assert shown(settled(page), [file.name]) == []
        harmless(page)
        page.locator(".st-key-replace_old button").click()
        settled(page)
