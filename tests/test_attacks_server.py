"""The real server, its token set: is every way in closed, and does a bad upload leave nothing?"""

# ruff: noqa: F811 - fixtures are imported, and named as arguments

from __future__ import annotations

import asyncio
import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import websockets

from tests.browsing import Server, browser, needs_browser  # noqa: F401

TOKEN = "a-token-that-nobody-guesses"
LET_IN = {"Authorization": f"Bearer {TOKEN}"}
STREAM = "/_stcore/stream"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("locked")
    (folder / "old.csv").write_text("id,v\n1,a\n")
    (folder / "new.csv").write_text("id,v\n1,b\n")
    (folder / "metrics.toml").write_text('[m]\nold = "old.csv"\nnew = "new.csv"\nkey = ["id"]\n')
    running = Server(folder, DIFFING_TOKEN=TOKEN, DIFFING_UPLOAD_LIMIT="1MB")
    yield running
    running.stop()


def asked(server: Server, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request(method, path, body or None, headers or {})
        answer = connection.getresponse()
        answer.body = answer.read()  # type: ignore[attr-defined]
        return answer
    finally:
        connection.close()


def stream(server: Server, **headers: str) -> str:
    """Whether a websocket is let in."""

    async def connected() -> str:
        try:
            async with websockets.connect(f"ws://127.0.0.1:{server.port}{STREAM}", additional_headers=headers):
                return "open"
        except websockets.InvalidStatus as refused:
            return str(refused.response.status_code)

    return asyncio.run(connected())


def kept(server: Server) -> list[str]:
    return [each.name for each in (server.folder / "store" / "uploads").iterdir()]


CLOSED = [
    ("GET", "/"),
    ("GET", "/result?job=1"),
    ("GET", "/static/js/index.js"),
    ("GET", "/_stcore/host-config"),
    ("GET", "/_stcore/metrics"),
    ("GET", "/_stcore/agent/openapi.json"),
    ("GET", "/_stcore/script-health-check"),
    ("GET", "/media/x.csv"),
    ("GET", "/component/x"),
    ("GET", "/api"),
    ("GET", "/api/diffing/metrics"),
    ("POST", "/api/diffing/new/m"),
    ("DELETE", "/api/diffing/job/1"),
    ("PUT", "/_stcore/upload_file/x/8d1f3a52-aaaa-4000-8000-000000000000"),
    ("OPTIONS", "/api/diffing/metrics"),
    ("HEAD", "/"),
    ("GET", "//api/diffing/metrics"),
    ("GET", "/_stcore/health/../host-config"),
    ("GET", "/_stcore/health/"),
    ("GET", "/%5fstcore/host-config"),
]


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_nothing_is_answered_without_the_token(server: Server, method: str, path: str) -> None:
    answer = asked(server, method, path)
    assert (answer.status, answer.headers["www-authenticate"][:5]) == (401, "Basic")
    assert b"prerenderReady" not in answer.body


def test_a_websocket_needs_the_token_and_a_page_of_this_server(server: Server) -> None:
    own = {"Origin": server.url}
    assert stream(server) == stream(server, **own) == stream(server, Authorization="Bearer nope") == "403"
    assert stream(server, **LET_IN, **own) == stream(server, **LET_IN) == "open"
    for origin in ("https://evil.example", "http://127.0.0.1:1", "http://localhost:3000", "null"):
        assert stream(server, **LET_IN, Origin=origin) == "403"


def test_health_tells_nothing_but_that_the_server_runs(server: Server) -> None:
    answer = asked(server, "GET", "/_stcore/health")
    assert (answer.status, answer.body) == (200, b"ok")


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "text/html"), ("/api/diffing/metrics", "application/json"), ("/api/diffing/nope", "application/json")],
)
def test_every_answer_has_headers_that_keep_browsers_careful(server: Server, path: str, kind: str) -> None:
    for headers in (LET_IN, {}):
        answer = asked(server, "GET", path, {**headers, "Accept": "text/html"})
        told = {name.lower(): value for name, value in answer.headers.items()}
        assert told["content-type"].startswith(kind)
        assert told["x-content-type-options"] == "nosniff"
        assert told["x-frame-options"] == "SAMEORIGIN"
        assert told["referrer-policy"] == "same-origin"
        assert told["cross-origin-resource-policy"] == "same-origin"
        rules = [rule.split() for rule in told["content-security-policy"].split(";")]
        policy = {name: rest for name, *rest in rules}
        assert policy["default-src"] == (["'self'"] if kind == "text/html" else ["'none'"])
        assert [each for each in policy.get("script-src", []) if each != "'self'" and not each.startswith("'sha256-")] == []
        assert policy["frame-ancestors"] == (["'self'"] if kind == "text/html" else ["'none'"])
        assert "access-control-allow-origin" not in told


def test_other_users_of_the_machine_do_not_see_the_store(server: Server) -> None:
    assert (server.folder / "store").stat().st_mode & 0o077 == 0


def test_a_download_is_an_attachment_that_no_page_shows(server: Server) -> None:
    job = int(asked(server, "POST", "/api/diffing/new/m", LET_IN).body.split(b":")[1].strip(b" }"))
    while (answer := asked(server, "GET", f"/api/diffing/job/{job}", LET_IN)).headers["content-type"] == "application/json":
        assert b"processing" in answer.body
    assert answer.headers["content-disposition"] == 'attachment; filename="m-diff.csv"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, no-cache"


# --- uploads ---------------------------------------------------------------------------------------


def form(content: bytes, *, end: bytes = b"\r\n--edge--\r\n") -> bytes:
    return b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\nContent-Type: text/csv\r\n\r\n' + content + end


PUT = {**LET_IN, "Content-Type": "multipart/form-data; boundary=edge"}


@pytest.mark.parametrize("session", ["nobody", "..", "0" * 36, "%00"])
def test_an_upload_without_a_session_is_refused_and_leaves_nothing(server: Server, session: str) -> None:
    path = f"/_stcore/upload_file/{session}/8d1f3a52-aaaa-4000-8000-000000000000"
    assert asked(server, "PUT", path, PUT, form(b"id\n" * 300_000)).status in (400, 403, 404)
    assert kept(server) == []


def test_a_file_over_the_limit_is_refused_and_leaves_nothing(server: Server) -> None:
    body = form(b"x" * 3_000_000).replace(b'name="file"', b'name="old"')
    answer = asked(server, "POST", "/api/diffing/new", PUT, body)
    assert (answer.status, b"a.csv is larger than 1.0 MB" in answer.body) == (413, True)
    assert kept(server) == []


@pytest.mark.parametrize("promised", [500_000, 10**15])
def test_an_upload_that_breaks_off_half_way_leaves_nothing(server: Server, promised: int) -> None:
    head = f"POST /api/diffing/new HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {TOKEN}\r\n"
    head += f"Content-Type: multipart/form-data; boundary=edge\r\nContent-Length: {promised}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + form(b"x" * 200_000, end=b"").replace(b'name="file"', b'name="old"'))
        until(lambda: any(name.startswith(".part") for name in kept(server)))
    until(lambda: kept(server) == [])
    assert asked(server, "GET", "/api/diffing/metrics", LET_IN).status == 200


def until(holds: Any) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


# --- in a browser ----------------------------------------------------------------------------------

FRAME = """<!doctype html><title>evil</title><script>
addEventListener('load', async () => {
  const base = '%s'
  const frame = document.createElement('iframe'); frame.src = base + '/'; document.body.append(frame)
  const picture = new Image(); picture.src = base + '/api/diffing/new/m'; document.body.append(picture)
  for (const method of ['GET', 'POST', 'DELETE'])
    for (const path of ['/api/diffing/new/m', '/api/diffing/job/1'])
      await fetch(base + path, {method, mode: 'no-cors', credentials: 'include'}).catch(() => {})
  const socket = new WebSocket(base.replace('http', 'ws') + '/_stcore/stream')
  window.said = await new Promise(done => { socket.onopen = () => done('open'); socket.onerror = () => done('refused') })
  window.read = await fetch(base + '/api/diffing/metrics', {credentials: 'include'}).then(() => 'read', () => 'refused')
  const form = document.createElement('form'); form.method = 'post'; form.action = base + '/api/diffing/new/m'; form.target = 'x'
  document.body.append(form); form.submit()
  window.over = true
})
</script>"""


@contextmanager
def another_site(text: str) -> Iterator[str]:
    """A page on this machine under another name: a browser keeps pages of the network away from it by itself."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as site:
        Thread(target=site.serve_forever, daemon=True).start()
        yield f"http://localhost:{site.server_port}/"
        site.shutdown()


@needs_browser
def test_a_hostile_page_in_the_same_browser_can_do_and_see_nothing(browser: Any, tmp_path: Path) -> None:
    """The server has no token here: whoever reaches it may come in, other pages in the same browser excepted."""
    (tmp_path / "old.csv").write_text("id,v\n1,a\n")
    (tmp_path / "metrics.toml").write_text('[m]\nold = "old.csv"\nnew = "old.csv"\nkey = ["id"]\n')
    open_ = Server(tmp_path)
    try:
        assert asked(open_, "POST", "/api/diffing/new/m").body == b'{"job_id": 1}'
        context = browser.new_context()
        page = context.new_page()
        page.goto(open_.url)
        with another_site(FRAME % open_.url) as evil:
            page.goto(evil)
            page.wait_for_function("window.over")
            page.wait_for_timeout(1_000)
            assert (page.evaluate("window.said"), page.evaluate("window.read")) == ("refused", "refused")
            assert [frame.url for frame in page.frames[1:2]] == ["chrome-error://chromewebdata/"], "it is not shown in a frame"
        context.close()
        assert asked(open_, "GET", "/api/diffing/job/1").status == 200
        assert asked(open_, "GET", "/api/diffing/job/2").status == 404
    finally:
        open_.stop()
