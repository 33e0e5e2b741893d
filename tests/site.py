"""What tests of the HTTP side share: our routes and middleware on a folder, with a stand-in for the pages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from diffing.api import routes
from diffing.asgi import middleware
from diffing.engines import Watch
from diffing.engines.duckdb import DuckDBEngine
from diffing.plan import Plan
from diffing.result import Result
from diffing.services import Services, Settings

OLD = "id,price,note\n1,1.50,\n2,2,b\n3,3,c\n"
NEW = 'id,price,note\n1,1.5,\n2,2.25,"two\nadded,lines ""x"""\n4,4,d\n'
DIFFED = (
    "change,id,price_old,price_new,price_change,note_old,note_new\n"
    'changed,2,2,2.25,0.25,b,"two\nadded,lines ""x"""\n'
    "removed,3,3,,-3,c,\n"
    "added,4,,4,4,,d\n"
)
REGISTRY = """
[revenue]
title = "Revenue"
description = "Orders per day."
old = "old.csv"
new = "new.csv"
key = ["id"]

[wrong]
old = "old.csv"
new = "new.csv"
key = ["idd"]

[missing]
old = "old.csv"
new = "gone.csv"
"""
PAGE = {"Accept": "text/html,*/*"}


class Gated(DuckDBEngine):
    """The engine, which begins when it is told to."""

    gate = threading.Event()
    gate.set()

    def run(self, plan: Plan, folder: Path, watch: Watch | None = None) -> Result:
        while watch and not self.gate.wait(0.01):
            watch.check()
        return super().run(plan, folder, watch)


class Site:
    """A server on a folder: our routes and middleware, with a stand-in for what Streamlit serves beside them."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.services = Services(
            Settings(home=folder / "home", metrics=folder / "metrics.toml", threads=1, memory_limit="500MB", **settings)
        )
        self.engine = Gated(threads=1, memory_limit="500MB")
        self.services.jobs.engine = self.engine
        self.pages = Pages()
        self.app = Starlette(routes=[*routes(lambda: self.services), *self.pages.routes], middleware=middleware(lambda: self.services))
        self.client = TestClient(self.app, raise_server_exceptions=False)

    def done(self, job_id: int | str) -> None:
        self.services.jobs.wait(job_id, 20, totals=True)

    def close(self) -> None:
        self.engine.gate.set()
        self.client.close()
        self.services.close()


class Pages:
    """What Streamlit does with uploads, as far as HTTP shows it: a session must live, and files stay in memory."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[str, bytes]] = {}
        path = "/_stcore/upload_file/{session}/{file}"
        self.routes = [
            Route("/", self.page),
            Route("/_stcore/health", self.page),
            Route(path, self.put, methods=["PUT"]),
            Route(path, self.delete, methods=["DELETE"]),
            WebSocketRoute("/_stcore/stream", self.stream),
        ]

    async def page(self, request: Request) -> Response:
        return PlainTextResponse("a page")

    async def put(self, request: Request) -> Response:
        if request.path_params["session"] != "live":
            return PlainTextResponse("Invalid session_id", 400)
        files = [each for each in (await request.form()).values() if isinstance(each, UploadFile)]
        self.files[request.path_params["file"]] = (files[0].filename or "", await files[0].read())
        return Response(status_code=204)

    async def delete(self, request: Request) -> Response:
        self.files.pop(request.path_params["file"], None)
        return Response(status_code=204)

    async def stream(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return filled(tmp_path)


def filled(folder: Path) -> Path:
    """A folder with the files of the registry."""
    for name, text in (("old.csv", OLD), ("new.csv", NEW), ("metrics.toml", REGISTRY)):
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    opened = Site(folder)
    yield opened
    opened.close()


@pytest.fixture
def client(site: Site) -> TestClient:
    return site.client


@pytest.fixture
def done(site: Site) -> TestClient:
    """A client of a server where job 1, of `revenue`, is done."""
    assert site.client.get("/api/diffing/new/revenue").status_code == 200
    site.done(1)
    return site.client


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The same, shared by tests that only look."""
    site = Site(filled(tmp_path_factory.mktemp("seen")))
    site.client.get("/api/diffing/new/revenue")
    site.done(1)
    yield site.client
    site.close()


def send(client: TestClient, fields: dict[str, Any] | None = None, **files: str) -> Any:
    sent = {side: (name, text) for side, (name, text) in {"old": ("mon.csv", OLD), "new": ("tue.csv", NEW)}.items() if side not in files}
    return client.post("/api/diffing/new", files=sent, data=fields or {})
