"""The page of a result in a real browser, against the real server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api")
ROOT = Path(__file__).parent.parent
CHROMIUM = Path("/usr/bin/chromium")
ROWS = 3_000
pytestmark = pytest.mark.skipif(not CHROMIUM.exists() and "CI" not in os.environ, reason="needs chromium (Debian: apt install chromium)")


def table(*, dearer: int) -> str:
    """Rows with a price; that of every tenth is higher by so much."""
    lines = (f"{i},2024-01-{i % 28 + 1:02d},{'DE' if i % 3 else 'FR'},{i + dearer * (i % 10 == 0)}" for i in range(ROWS))
    return "\n".join(["id,day,country,price", *lines, ""])


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    (folder / "old.csv").write_text(table(dearer=0))
    (folder / "new.csv").write_text(table(dearer=1))
    (folder / "metrics.toml").write_text('[prices]\ntitle = "Prices"\nold = "old.csv"\nnew = "new.csv"\nkey = ["id"]\n')
    return folder


@pytest.fixture(scope="module")
def server(home):
    """The address of a server of our own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"DIFFING_HOME": str(home / "store"), "DIFFING_METRICS": str(home / "metrics.toml")}
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), "--server.port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **settings}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: fetched(f"{address}/_stcore/health"), 30)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


@pytest.fixture(scope="module")
def job(server) -> str:
    fetched(f"{server}/api/diffing/new/prices")
    until(lambda: b'"totals": "done"' in fetched(f"{server}/api/diffing/job/1/summary"), 30)
    return "1"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=str(CHROMIUM))


@pytest.fixture
def page(browser, server):
    """A page that reports requests to other hosts."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(20_000)
    elsewhere: list[str] = []
    page.on("request", lambda request: elsewhere.append(request.url) if foreign(request.url, server) else None)
    yield page
    context.close()
    assert elsewhere == []


def foreign(url: str, server: str) -> bool:
    return not url.startswith((server, server.replace("http", "ws"), "data:", "blob:"))


def fetched(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read()
    except OSError:
        return b""


def until(holds, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def opened(page, url: str) -> None:
    page.goto(url)
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')


def test_a_filter_goes_to_the_address_and_comes_back_from_it(page, server, job):
    opened(page, f"{server}/result?job={job}")
    sync_api.expect(page.get_by_text("300 rows differ")).to_be_visible()
    page.locator(".st-key-search input").fill("FR")
    page.keyboard.press("Enter")
    page.wait_for_url("**find=FR**")
    sync_api.expect(page.locator(".st-key-bar").get_by_text("100 rows")).to_be_visible()
    page.reload()
    sync_api.expect(page.locator(".st-key-bar").get_by_text("100 rows")).to_be_visible()
    page.get_by_role("button", name="Clear filters").click()
    sync_api.expect(page.locator(".st-key-bar").get_by_text("300 rows")).to_be_visible()
    assert page.url.endswith(f"/result?job={job}")


def test_a_click_on_a_bar_filters_the_rows_it_counts(page, server, job):
    opened(page, f"{server}/result?job={job}")
    page.locator(".js-plotly-plot").nth(1).locator(".point path").first.click(force=True)
    page.wait_for_url("**changed=price**")
    sync_api.expect(page.locator(".st-key-bar").get_by_text("300 rows")).to_be_visible()
    sync_api.expect(page.locator(".st-key-bar")).to_be_in_viewport()


def test_a_number_of_the_answer_leads_to_its_rows(page, server, job):
    opened(page, f"{server}/result?job={job}")
    for _ in "once", "again":
        page.get_by_role("button", name="300 changed", exact=True).click()
        page.wait_for_url("**fate=changed**")
        sync_api.expect(page.locator(".st-key-bar")).to_be_in_viewport()
        page.get_by_test_id("stHeading").first.scroll_into_view_if_needed()
        page.get_by_role("button", name="Clear filters").evaluate("button => button.click()")
        page.wait_for_url(lambda url: "fate" not in url)
        sync_api.expect(page.locator(".st-key-bar")).not_to_be_in_viewport()


def test_the_name_of_the_app_is_legible_in_the_look_that_a_person_chooses(page, server, job):
    name = "getComputedStyle(document.querySelector('[data-testid=stHeaderLogo]').parentElement, '::after')"
    for path in "history", "":
        opened(page, f"{server}/{path}")
        page.wait_for_function(f"() => {name}.content == '\"CSV Diffing\"'")
    light = page.evaluate(f"{name}.color")
    page.get_by_test_id("stMainMenuButton").click()
    page.get_by_test_id("stMainMenuItem-theme-Dark").click()
    page.wait_for_function(f"() => {name}.color != '{light}'")
    assert page.get_by_text("Record screen").is_hidden()


def test_the_download_is_what_the_api_answers(page, server, job):
    opened(page, f"{server}/result?job={job}")
    with page.expect_download() as download:
        page.get_by_text("Download CSV").click()
    assert download.value.suggested_filename == "prices-diff.csv"
    assert Path(download.value.path()).read_bytes() == fetched(f"{server}/api/diffing/job/{job}")


def test_a_row_opens_and_closes(page, server, job):
    opened(page, f"{server}/result?job={job}")
    canvas = page.locator("[data-testid=stDataFrame] canvas").first
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    box = canvas.bounding_box()
    page.mouse.click(box["x"] + 18, box["y"] + 52)
    sync_api.expect(page.get_by_role("dialog").get_by_text("1 cell changed")).to_be_visible()
    page.keyboard.press("Escape")
    sync_api.expect(page.get_by_role("dialog")).to_have_count(0)


def test_history_leads_to_the_result_and_the_api_answers_from_there(page, server, job):
    opened(page, f"{server}/history")
    page.get_by_role("link", name="Prices").click()
    page.wait_for_url(f"**/result?job={job}")
    sync_api.expect(page.get_by_text("300 rows differ")).to_be_visible()
