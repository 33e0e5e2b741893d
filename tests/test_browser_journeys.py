"""Whole journeys through the app in a browser, against the real server: from files to bytes on disk."""

# ruff: noqa: F811 - fixtures are imported, and named as arguments

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browsing import ROOT, Server, browser, needs_browser, opened, page, server, settled, upload, url  # noqa: F401

pytestmark = [needs_browser, pytest.mark.xdist_group("browser")]

WEATHER = ROOT / "data" / "weather"
SLOW_KEYS, ALIKE = 4_000, 31
"""Rows that share a key are paired by how alike they are: so many keep a comparison busy for half a minute or more."""


def prices(*, dearer: int) -> str:
    """Rows with a price; that of every tenth is higher by so much."""
    lines = (f"{i},2024-01-{i % 28 + 1:02d},{'DE' if i % 3 else 'FR'},{i + dearer * (i % 10 == 0)}" for i in range(3_000))
    return "\n".join(["id,day,country,price", *lines, ""])


def readings(*, shift: int) -> str:
    """Rows of which many share a key and none is the same in the other file."""
    cells = [",".join(f"{(i * j * 7 + shift) % 900 / 100}" for j in range(1, 9)) for i in range(5_000)]
    rows = (f"{key},{cells[(key * ALIKE + i * 7) % 5_000]}\n" for key in range(SLOW_KEYS) for i in range(ALIKE))
    return "id,a,b,c,d,e,f,g,h\n" + "".join(rows)


@pytest.fixture(scope="module", autouse=True)
def metrics(server: Server) -> Path:
    """A quick metric and a slow one."""
    for name, table in (
        ("old", prices(dearer=0)),
        ("new", prices(dearer=1)),
        ("slow_old", readings(shift=0)),
        ("slow_new", readings(shift=1)),
    ):
        (server.folder / f"{name}.csv").write_text(table)
    entries = (("prices", "Prices", ""), ("slow", "Readings", "slow_"))
    server.registry.write_text(
        "".join(f'[{id_}]\ntitle = "{title}"\nold = "{at}old.csv"\nnew = "{at}new.csv"\nkey = ["id"]\n' for id_, title, at in entries)
    )
    return server.folder


@pytest.fixture
def colleague(browser: Any) -> Iterator[Any]:
    """Another browser, with no cookies of the first."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    yield context.new_page()
    context.close()


def by_command_line(old: Path, new: Path, *options: str, to: Path) -> bytes:
    """The diffed CSV as the command line writes it."""
    command = [sys.executable, "-m", "diffing", str(old), str(new), *options, "-o", str(to)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 1
    return to.read_bytes()


def downloaded(page: Any, click: Callable[[], None]) -> bytes:
    with page.expect_download() as download:
        click()
    return Path(download.value.path()).read_bytes()


def ask(page: Any, url: str, metric: str) -> None:
    """Run a metric from its page."""
    opened(page, f"{url}/metrics")
    page.locator(f".st-key-run_{metric} button").click()
    page.wait_for_url("**/result?job=*")


def job_of(page: Any) -> str:
    return str(page.url.partition("job=")[2].partition("&")[0])


def told(url: str, job: str) -> dict[str, Any]:
    """What the API says of a job."""
    try:
        with urllib.request.urlopen(f"{url}/api/diffing/job/{job}/summary") as answer:
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as refused:
        found = json.load(refused)
    return found


def test_a_metric_becomes_a_result_is_filtered_and_fetched_as_the_command_line_writes_it(
    page: Any, url: str, metrics: Path, tmp_path: Path
):
    expected = by_command_line(metrics / "old.csv", metrics / "new.csv", "--key", "id", to=tmp_path / "diff.csv")
    ask(page, url, "prices")
    page.get_by_text("300 rows differ").wait_for()
    assert downloaded(page, lambda: page.get_by_text("Download CSV").click()) == expected

    settled(page).locator(".st-key-search input").fill("FR")
    page.keyboard.press("Enter")
    page.wait_for_url("**find=FR**")
    page.locator(".st-key-bar").get_by_text("100 rows").wait_for()
    settled(page).get_by_role("button", name="Download these rows").click()
    filtered = downloaded(page, lambda: page.locator("a.df-form", has_text="the diffed rows as text").last.click())
    head, *lines = expected.splitlines(keepends=True)
    assert filtered == head + b"".join(line for line in lines if b"FR" in line)


def test_who_asks_again_is_answered_from_cache_and_a_colleague_sees_the_same(page: Any, colleague: Any, url: str):
    ask(page, url, "prices")
    page.get_by_text("300 rows differ").wait_for()
    first = job_of(page)
    ask(page, url, "prices")
    page.get_by_text("Answered from cache, computed").wait_for()
    assert job_of(page) != first

    opened(colleague, page.url).get_by_text("300 rows differ").wait_for()
    opened(colleague, f"{url}/history").get_by_role("link", name="Prices").first.wait_for()

    settled(page).get_by_role("button", name="run again").click()
    page.wait_for_url(lambda now: f"job={first}" not in now)
    page.get_by_text("300 rows differ").wait_for()
    page.get_by_text("Answered from cache").wait_for(state="detached")


def test_two_real_files_get_a_key_and_a_result_that_a_refresh_keeps(page: Any, colleague: Any, url: str, tmp_path: Path):
    upload(opened(page, url), "old", WEATHER / "old.csv")
    upload(page, "new", WEATHER / "new.csv")
    page.get_by_text("name every row in both files").wait_for()
    settled(page).get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text("679 rows differ").wait_for()
    expected = by_command_line(WEATHER / "old.csv", WEATHER / "new.csv", "--key", "location,date", to=tmp_path / "diff.csv")
    assert downloaded(page, lambda: page.get_by_text("Download CSV").click()) == expected

    page.reload()
    page.get_by_text("679 rows differ").wait_for()
    opened(colleague, page.url).get_by_text("679 rows differ").wait_for()
    assert not opened(colleague, f"{url}/history").get_by_role("link", name="old.csv").count()


def test_a_long_comparison_outlives_a_refresh_can_be_cancelled_and_says_when_the_server_stopped(
    page: Any, colleague: Any, server: Server, url: str
):
    ask(page, url, "prices")
    page.get_by_text("300 rows differ").wait_for()
    finished = page.url

    ask(page, url, "slow")
    page.get_by_role("button", name="Cancel").wait_for()
    job = job_of(page)
    page.reload()
    page.get_by_role("button", name="Cancel").wait_for()
    page.get_by_text("You can close this page").wait_for()
    assert told(url, job)["status"] == "processing"

    opened(colleague, page.url).get_by_role("button", name="Cancel").click()
    for each in (colleague, page):
        each.get_by_text("This comparison was cancelled").wait_for()
    assert told(url, job)["status"] == "cancelled"
    until(lambda: not list((server.folder / "store" / "results").glob(".part-*")))

    settled(page).get_by_role("button", name="Run again").click()
    page.get_by_role("button", name="Cancel").wait_for()
    server.stop()
    server.start()
    opened(page, page.url).get_by_text("The server stopped before this was done").wait_for()
    opened(colleague, finished).get_by_text("300 rows differ").wait_for()
    page.get_by_role("button", name="Run again").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("This comparison was cancelled").wait_for()


def until(holds: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def test_one_connection_is_answered_again_without_a_pause(server: Server):
    connection, seconds = http.client.HTTPConnection("127.0.0.1", server.port), []
    for _ in range(20):
        started = time.perf_counter()
        connection.request("GET", "/api/diffing/job/0")
        assert b"There is no job 0" in connection.getresponse().read()
        seconds.append(time.perf_counter() - started)
    connection.close()
    assert min(seconds[1:]) < 0.03


def test_a_result_follows_the_look_of_the_system(browser: Any, url: str):
    with urllib.request.urlopen(f"{url}/api/diffing/new/prices") as answer:
        job = json.load(answer)["job_id"]
    context = browser.new_context(color_scheme="light")
    page = opened(context.new_page(), f"{url}/result?job={job}")
    for look, ground in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 22, 28)")):
        page.emulate_media(color_scheme=look)
        page.wait_for_function(f"() => getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor == '{ground}'")
        settled(page).locator(".js-plotly-plot .point path").first.wait_for(state="attached")
        page.locator("[data-testid=stDataFrame] canvas").first.wait_for()
    context.close()
