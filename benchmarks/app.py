"""python -m benchmarks.app [ROWS] [--upload MB]: how fast the app answers, and what memory it takes, as a Markdown table.

It starts a server of its own on generated files in a temporary folder, and removes both.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import duckdb
import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from diffing.views import By, Condition, Filter, Order, Test
from tests.browsing import CHROMIUM, Server

TABLE = """
COPY (SELECT
  10000000 + i AS id,
  printf('%.2f', (i * 104729 % 1000003 + {side} * (1 + i % 97)) / 100.0) AS amount,
  i * 13 % 100 + {side} * CAST(i % 3 = 0 AS INT) AS qty,
  printf('%.3f', (i * 7919 % 100003) / 7.0 + {side} * CAST(i % 5 = 0 AS INT) / 2) AS price,
  ['open', 'paid', 'shipped', 'void'][1 + (i * 17 + {side} * CAST(i % 4 = 1 AS INT)) % 4] AS status,
  ['US', 'DE', 'FR', 'JP', 'BR'][1 + i * 19 % 5] AS country,
  'city ' || (i * 31 + {side} * CAST(i % 11 = 0 AS INT)) % 5000 AS city,
  'what somebody wrote, at some length, about order number ' || i * 15485863 % 1000003
    || repeat(' and more', {side} * CAST(i % 2 AS INT)) AS note,
  CAST(DATE '2020-01-01' + CAST(i * 31 % 1500 AS INTEGER) AS VARCHAR) AS day,
  i * 32452843 % 1000033 + {side} * CAST(i % 6 = 0 AS INT) AS ref,
  (i + {side} * CAST(i % 9 = 0 AS INT)) % 2 AS flag
FROM range({rows}) AS r(i)) TO '{file}' (FORMAT csv, HEADER true)
"""
"""A key and ten columns. Every row changed: `amount` in all rows, the others in some."""
REGISTRY = '[million]\ntitle = "Orders"\nold = "old.csv"\nnew = "new.csv"\nkey = ["id"]\n'
SESSIONS, ACTIONS, SECONDS = 10, 8, 5
RESULT = "result"

Line = tuple[str, str]
"""What was measured, and what was found."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.app", description=__doc__)
    parser.add_argument("rows", type=int, nargs="?", default=1_000_000, help="rows that changed (%(default)s)")
    parser.add_argument("--upload", type=int, default=1_000, metavar="MB", help="size of the upload (%(default)s)")
    asked = parser.parse_args()
    lines: list[Line] = []
    with TemporaryDirectory(prefix="diffing-bench-") as folder:
        for line in measured(Path(folder), asked.rows, asked.upload):
            print(f"{line[0]}: {line[1]}", file=sys.stderr, flush=True)
            lines.append(line)
    print("\n| what | found |\n|---|---|\n" + "\n".join(f"| {what} | {found} |" for what, found in lines))


def measured(folder: Path, rows: int, megabytes: int) -> Iterator[Line]:
    """All figures, one after the other."""
    make_files(folder, rows)
    with serving(folder) as server:
        job = compared(server)
        yield from first_paint(server, job)
        yield from answers(server, job, rows)
        yield from many_sessions(server, job)
        yield from status_route(server)
        yield from download(server, job)
        yield from upload(server, folder, megabytes)


def make_files(folder: Path, rows: int) -> None:
    with duckdb.connect() as con:
        for side, name in enumerate(("old", "new")):
            con.execute(TABLE.format(side=side, rows=rows, file=folder / f"{name}.csv"))
    (folder / "metrics.toml").write_text(REGISTRY)


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    try:
        yield server
    finally:
        server.stop()


def asked(server: Server, path: str, method: str = "GET") -> Any:
    """What the API answers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request(method, f"/api/diffing/{path}")
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def compared(server: Server) -> int:
    """A finished job, its totals and its CSV included."""
    job = int(asked(server, "new/million")["job_id"])
    while (now := asked(server, f"job/{job}/summary"))["status"] == "processing" or now["totals"] != "done":
        time.sleep(0.2)
    return job


def milliseconds(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds) * 1000:,.0f} ms"


# --- in a browser ----------------------------------------------------------------------------------


@contextmanager
def browsing() -> Iterator[Callable[[], Any]]:
    """A chromium, as a function that opens a new window with an empty cache."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM)
        yield lambda: browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        browser.close()


def first_paint(server: Server, job: int) -> Iterator[Line]:
    """From the click on a link to the answer, and to the table, in a browser that was never there."""
    answer, table = [], []
    with browsing() as window:
        for _ in range(5):
            page = window()
            page.set_default_timeout(120_000)
            started = time.perf_counter()
            page.goto(f"{server.url}/result?job={job}")
            page.get_by_text("rows differ").wait_for()
            answer.append(time.perf_counter() - started)
            page.locator("[data-testid=stDataFrame] canvas").first.wait_for()
            table.append(time.perf_counter() - started)
            page.context.close()
    yield "Result page, first paint (cold browser): the answer", milliseconds(answer)
    yield "Result page, first paint (cold browser): the table", milliseconds(table)


# --- as a browser speaks to the server ---------------------------------------------------------------


@dataclass
class Session:
    """One person's page: what is asked goes over a websocket, as from a browser, but nothing is painted."""

    socket: Any
    fragments: dict[str, int] = field(default_factory=dict)
    """How much each part of the page has that can run alone."""

    async def run(self, query: dict[str, str], *, fragment: str = "") -> float:
        """Show the result as a query of its address says; the seconds until all of it was sent."""
        message = BackMsg()
        message.rerun_script.query_string = urlencode(query)
        message.rerun_script.page_name = RESULT
        message.rerun_script.fragment_id = fragment
        started = time.perf_counter()
        await self.socket.send(message.SerializeToString())
        while True:
            answer = ForwardMsg.FromString(await self.socket.recv())
            if answer.WhichOneof("type") == "script_finished":
                return time.perf_counter() - started
            if answer.delta.new_element.WhichOneof("type") == "exception":
                raise RuntimeError(answer.delta.new_element.exception.message)
            if answer.delta.fragment_id:
                self.fragments[answer.delta.fragment_id] = self.fragments.get(answer.delta.fragment_id, 0) + 1

    @property
    def rows(self) -> str:
        """The part with filters and table: the largest."""
        return max(self.fragments, key=self.fragments.__getitem__)


async def opened(server: Server, job: int) -> Session:
    address = f"ws://127.0.0.1:{server.port}/_stcore/stream"
    session = Session(await websockets.connect(address, subprotocols=["streamlit"], max_size=None, compression=None))
    await session.run({"job": str(job)})
    return session


def query(job: int, filter: Filter = Filter(), order: Order = Order(), page: int = 1) -> dict[str, str]:
    return {"job": str(job), **filter.to_query(), **order.to_query(), **({"page": str(page)} if page > 1 else {})}


def questions(job: int, i: int, last: int) -> dict[str, dict[str, str]]:
    """What a person asks of the table; another `i` asks for other rows, so that nothing is remembered."""
    sizes = Filter(change_at_least=("amount", f"0.{i + 10}"))
    between = Filter(conditions=(Condition("price", Test.BETWEEN, (str(i), str(5_000 + i))),))
    orders = [
        Order(column, by, down) for column in ("amount", "qty", "price", "ref") for by in (By.CHANGE_SIZE, By.NEW) for down in (True, False)
    ]
    return {
        "a filter (size of change)": query(job, sizes),
        "a filter (values between)": query(job, between),
        "a sort": query(job, order=orders[i % len(orders)]),
        "a page": query(job, page=2 + i),
        "a text search": query(job, Filter(search=f"number {i + 1}")),
        "a deep page of another order": query(job, order=orders[i % len(orders)], page=last - i),
        "a deep page of a search": query(job, Filter(search=f"r {i % 9}"), page=50 + i),
    }


def answers(server: Server, job: int, rows: int) -> Iterator[Line]:
    """The server's time for what a person does with the table, from the question to the last byte."""

    async def all_of_them() -> dict[str, list[float]]:
        session = await opened(server, job)
        found: dict[str, list[float]] = {}
        for i in range(5):
            for what, asked in questions(job, i, rows // 200).items():
                await session.run(query(job), fragment=session.rows)
                found.setdefault(what, []).append(await session.run(asked, fragment=session.rows))
        await session.socket.close()
        return found

    for what, seconds in asyncio.run(all_of_them()).items():
        yield f"Server time of {what}", f"{milliseconds(seconds)} (worst {max(seconds) * 1000:,.0f})"


def many_sessions(server: Server, job: int) -> Iterator[Line]:
    """Ten people at once, each of whom asks for the next rows as soon as the last are there."""

    async def work(session: Session, who: int) -> list[float]:
        seconds = []
        for i in range(ACTIONS):
            asked = [*questions(job, 20 + who * ACTIONS + i, 4_000).values()]
            seconds.append(await session.run(asked[(who + i) % len(asked)], fragment=session.rows))
        return seconds

    async def together() -> list[float]:
        sessions = [await opened(server, job) for _ in range(SESSIONS)]
        found = await asyncio.gather(*(work(session, who) for who, session in enumerate(sessions)))
        for session in sessions:
            await session.socket.close()
        return [each for seconds in found for each in seconds]

    seconds = asyncio.run(together())
    yield f"{SESSIONS} sessions at once, {len(seconds)} of these questions", f"{milliseconds(seconds)} (worst {max(seconds) * 1000:,.0f})"


# --- HTTP ------------------------------------------------------------------------------------------


def status_route(server: Server) -> Iterator[Line]:
    """Requests per second of a job's status, over four connections that stay open."""
    job = asked(server, "new/million?again=true")["job_id"]
    asked(server, f"job/{job}", "DELETE")
    end, counts = time.perf_counter() + SECONDS, [0] * 4

    def poll(i: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        while time.perf_counter() < end:
            connection.request("GET", f"/api/diffing/job/{job}")
            connection.getresponse().read()
            counts[i] += 1

    threads = [threading.Thread(target=poll, args=(i,)) for i in range(len(counts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    yield "Requests for a job's status per second", f"{sum(counts) / SECONDS:,.0f}"


@dataclass
class Memory:
    """The server's resident memory while something goes on, in MB."""

    before: float = 0
    peak: float = 0
    after: float = 0

    def __str__(self) -> str:
        return f"{self.before:,.0f} / {self.peak:,.0f} / {self.after:,.0f} MB"


def resident(server: Server) -> float:
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@contextmanager
def weighed(server: Server) -> Iterator[Memory]:
    """Memory before, at most while, and after."""
    found, done = Memory(before=resident(server)), threading.Event()

    def look() -> None:
        while not done.wait(0.02):
            found.peak = max(found.peak, resident(server))

    watcher = threading.Thread(target=look)
    watcher.start()
    yield found
    done.set()
    watcher.join()
    found.after = resident(server)


def download(server: Server, job: int) -> Iterator[Line]:
    size = 0
    with weighed(server) as memory:
        started = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("GET", f"/api/diffing/job/{job}")
        answer = connection.getresponse()
        first = time.perf_counter() - started
        while piece := answer.read(1 << 20):
            size += len(piece)
        seconds = time.perf_counter() - started
    yield f"Download of {size / 1e6:,.0f} MB: first byte, all of it", f"{first * 1000:,.0f} ms, {seconds:.1f} s"
    yield "… memory of the server before / while / after", str(memory)


def upload(server: Server, folder: Path, megabytes: int) -> Iterator[Line]:
    """A file through the page, as a person uploads it."""
    file = folder / "upload.csv"
    block = b"".join(b"%07d,a city,a status,2024-01-01,some words about it,12.50\n" % i for i in range(20_000))
    with file.open("wb") as out:
        out.write(b"id,city,status,day,note,price\n")
        for _ in range(megabytes * 1_000_000 // len(block)):
            out.write(block)
    with browsing() as window:
        page = window()
        page.set_default_timeout(300_000)
        page.goto(server.url)
        page.locator(".st-key-slot_old input[type=file]").wait_for(state="attached")
        time.sleep(2)
        with weighed(server) as memory, page.expect_response(lambda answer: "/_stcore/upload_file/" in answer.url):
            started = time.perf_counter()
            page.locator(".st-key-slot_old input[type=file]").set_input_files(file)
        seconds = time.perf_counter() - started
        page.get_by_text(f"{sum(1 for _ in file.open('rb')) - 1:,} rows").wait_for()
        page.context.close()
    yield f"Upload of {file.stat().st_size / 1e6:,.0f} MB", f"{seconds:.1f} s"
    yield "… memory of the server before / while / after", str(memory)


if __name__ == "__main__":
    main()
