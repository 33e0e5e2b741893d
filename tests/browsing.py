"""What browser tests share: the real server on a free port with a folder of its own, and a browser."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
CHROMIUM = "/usr/bin/chromium" if Path("/usr/bin/chromium").exists() else shutil.which("chromium")
PATIENCE = 30_000
"""Milliseconds that a page may take on a busy machine."""

needs_browser = pytest.mark.skipif(not CHROMIUM and os.environ.get("CI") != "true", reason="there is no chromium")


class Server:
    """The app as people start it. `registry` is its metrics.toml, beside the files of the metrics."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder, self.registry = folder, folder / "metrics.toml"
        if not self.registry.exists():
            self.registry.write_text("")
        self.settings = {"DIFFING_HOME": str(folder / "store"), "DIFFING_METRICS": str(self.registry), **settings}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self.port)]
        self.log = (self.folder / "server.log").open("ab")
        environment = os.environ | self.settings
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=self.log, stderr=self.log)
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.url}/_stcore/health").close()
                return
            except OSError:
                assert self.process.poll() is None, (self.folder / "server.log").read_text()
                time.sleep(0.1)
        raise TimeoutError("The server does not answer.")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.log.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("app"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def url(server: Server) -> str:
    return server.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        started = player.chromium.launch(executable_path=CHROMIUM)
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    """A new browser window, with cookies of its own.

    Fails if the page asks another host for anything, does what its own policy forbids, or shows a traceback.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE)
    shown = context.new_page()
    foreign: list[str] = []
    shown.on("request", lambda asked: foreign.append(asked.url) if asked.url.startswith("http") and not asked.url.startswith(url) else None)
    forbidden: list[str] = []
    shown.on("console", lambda said: forbidden.append(said.text) if "Content Security Policy" in said.text else None)
    yield shown
    text = shown.inner_text("body")
    context.close()
    assert foreign == []
    assert forbidden == []
    assert "Traceback" not in text


def settled(page: Any) -> Any:
    """The page, when its script has run."""
    page.wait_for_timeout(250)
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
    assert "Traceback" not in page.inner_text("body")
    return page


def opened(page: Any, url: str) -> Any:
    """The page at an address, when its script has run."""
    page.goto(url)
    return settled(page)


def upload(page: Any, side: str, file: Path) -> None:
    """Put a file into one of the two slots."""
    page.locator(f".st-key-slot_{side} input[type=file]").set_input_files(file)
    page.locator(f".st-key-replace_{side}").wait_for()
    settled(page)
