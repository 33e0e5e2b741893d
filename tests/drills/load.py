"""A busy Monday: many at once, many in a row, and a store that is full.

python -m tests.drills.load [together | soak | store …]
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.app import Session, opened, query
from diffing.engines.duckdb import DuckDBEngine
from diffing.plan import Choices, make_plan
from diffing.result import Result
from diffing.sizes import folder_size
from diffing.sources import open_source
from diffing.store import Store
from diffing.views import By, Filter, Order
from tests.browsing import Server
from tests.drills._serving import Found, Used, answer, digest, ended, form, orphans, registry, run, serving, settled, start, table
from tests.drills.faults import by_command, touch

METRICS, ROWS = 6, 60_000
READERS, UPLOADERS, PAGES = 20, 10, 20
MINUTES = 5.0
JOBS = 500
"""In a row."""
STATUS_LIMIT = 0.2
"""Seconds in which 95 of 100 questions for a job's status must be answered."""
MEMORY_LIMIT = 1_500
"""MB: two comparisons of 500 MB, and the rest of the server."""
PROBE = """
import http.client, json, sys, time
port, seconds, waits = int(sys.argv[1]), float(sys.argv[2]), []
until = time.monotonic() + seconds
job = 1
while time.monotonic() < until:
    began = time.monotonic()
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    asked.request("GET", f"/api/diffing/job/{job}/summary")
    answer = asked.getresponse()
    answer.read()
    asked.close()
    waits.append(time.monotonic() - began)
    job = job + 1 if answer.status != 404 else max(job - 5, 1)
    time.sleep(0.05)
print(json.dumps(waits))
"""
"""Asks for the status of one job after the other, in a process of its own: what the crowd waits for in theirs is not counted."""


# --- together --------------------------------------------------------------------------------------


class Crowd:
    """Clients of one server, and what they were told."""

    def __init__(self, server: Server, folder: Path, expected: dict[str, str]) -> None:
        self.server, self.folder, self.expected = server, folder, expected
        self.wrong: list[str] = []
        self.done: Counter[str] = Counter()
        self.until = time.monotonic() + MINUTES * 60

    def reader(self, i: int) -> None:
        """Asks for metrics, fetches what they are, and deletes some, so that they are computed anew."""
        pick = random.Random(i)
        while time.monotonic() < self.until:
            metric = pick.choice(list(self.expected))
            job = self._started(*answer(self.server, f"new/{metric}", "POST"))
            if job:
                self._fetched(job, metric)
            if job and pick.random() < 0.3:
                self._deleted(job)

    def uploader(self, i: int) -> None:
        """Uploads two files, fetches the result, and deletes it."""
        pick = random.Random(100 + i)
        while time.monotonic() < self.until:
            metric = pick.choice(list(self.expected))
            body, kind = form({side: self.folder / f"{metric}_{side}.csv" for side in ("old", "new")}, key="id")
            job = self._started(*answer(self.server, "new", "POST", body=body, kind=kind))
            if job:
                self.done["uploads"] += 1
                self._fetched(job, metric)
                self._deleted(job)

    def _started(self, status: int, said: bytes) -> str:
        """The id of a job; nothing if the client was asked to come again."""
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self.done["429"] += 1
            time.sleep(1)
            return ""
        return str(json.loads(said)["job_id"])

    def _fetched(self, job: str, metric: str) -> None:
        """Wait for a job and hold its CSV against what it must be."""
        while True:
            status, said = answer(self.server, f"job/{job}/summary")
            if status != HTTPStatus.ACCEPTED:
                break
            time.sleep(0.25)
        if status == HTTPStatus.OK:
            status, said = answer(self.server, f"job/{job}")
        if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            self.done["deleted by another client"] += 1
        elif status != HTTPStatus.OK or digest(said) != self.expected[metric]:
            self.wrong.append(f"{metric}: {status} {said[:200]!r}")
        else:
            self.done["right results"] += 1

    def _deleted(self, job: str) -> None:
        answer(self.server, f"job/{job}", "DELETE")
        self.done["deleted"] += 1

    async def looker(self, i: int) -> None:
        """Opens a result in a browser's session, and filters, sorts and turns pages."""
        pick = random.Random(200 + i)
        job = start(self.server, pick.choice(list(self.expected)))
        session: Session = await opened(self.server, job)
        while time.monotonic() < self.until:
            filter = pick.choice([Filter(), Filter(search=str(pick.randrange(1000))), Filter(changed_columns=("amount",))])
            order = pick.choice([Order(), Order("amount", By.CHANGE_SIZE, True), Order("customer", By.NEW)])
            await session.run(query(job, filter, order, pick.randrange(1, 4)))
            self.done["pages"] += 1
            await asyncio.sleep(pick.uniform(0, 2))
        await session.socket.close()

    async def all(self) -> None:
        with ThreadPoolExecutor(READERS + UPLOADERS) as threads:
            turn = partial(asyncio.get_running_loop().run_in_executor, threads)
            clients = [turn(self.reader, i) for i in range(READERS)] + [turn(self.uploader, i) for i in range(UPLOADERS)]
            for over in await asyncio.gather(*clients, *(self.looker(i) for i in range(PAGES)), return_exceptions=True):
                if isinstance(over, BaseException):
                    self.wrong.append(f"a client ended with {over!r}")


def together(folder: Path) -> Found:
    """Fifty at once: every result right, no error, memory bounded, the status of a job told at once."""
    names = [f"orders{i}" for i in range(METRICS)]
    expected = {name: by_command(*_tables(folder, name, ROWS, i + 1)) for i, name in enumerate(names)}
    registry(folder, names)
    with serving(folder, DIFFING_MEMORY_LIMIT="500MB") as server:
        crowd = Crowd(server, folder, expected)
        with _watched(server) as seen:
            command = [sys.executable, "-c", PROBE, str(server.port), str(MINUTES * 60)]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as probe:
                asyncio.run(crowd.all())
                statuses = sorted(json.loads(probe.communicate()[0]))
        if b"Traceback" in (folder / "server.log").read_bytes():
            crowd.wrong.append("the server's log has a traceback")
        left = ended(server, start(server, names[0]))["status"]
        if left != "done":
            crowd.wrong.append(f"afterwards a job is {left}")
    high, most = statuses[int(len(statuses) * 0.95)], max(each.memory for each in seen)
    if most > MEMORY_LIMIT:
        crowd.wrong.append(f"the server took {most:,.0f} MB")
    if high > STATUS_LIMIT:
        crowd.wrong.append(f"the status of a job took {high:.2f} s at the 95th percentile")
    figures = (
        f"{', '.join(f'{count:,} {name}' for name, count in crowd.done.most_common())};"
        f" status {statuses[len(statuses) // 2] * 1000:,.0f} ms, 95th percentile {high * 1000:,.0f} ms"
        f" of {len(statuses):,}; memory {seen[0].memory:,.0f} → at most {most:,.0f} MB,"
        f" threads at most {max(each.threads for each in seen)}"
    )
    return Found(f"{READERS + UPLOADERS + PAGES} clients at once for {MINUTES:.0f} minutes", 1, tuple(crowd.wrong), figures)


def _tables(folder: Path, name: str, rows: int, edit: int) -> tuple[Path, Path]:
    return table(folder / f"{name}_old.csv", rows), table(folder / f"{name}_new.csv", rows, edit)


@contextmanager
def _watched(server: Server) -> Iterator[list[Used]]:
    """What the server holds, every second."""
    seen, over = [Used.by(server.process.pid)], threading.Event()

    def look() -> None:
        while not over.wait(1):
            with suppress(OSError):
                seen.append(Used.by(server.process.pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


# --- in a row --------------------------------------------------------------------------------------


def soak(folder: Path) -> Found:
    """Hundreds of jobs one after the other: memory, open files, threads and disk stay as they are."""
    _tables(folder, "orders", ROWS, 1)
    registry(folder, ["orders"])
    wrong, used, disk = [], [], []
    limit = 50
    with serving(folder, DIFFING_MEMORY_LIMIT="500MB", DIFFING_STORE_LIMIT=f"{limit}MB") as server:
        for i in range(JOBS):
            touch(folder / "orders_new.csv", i)
            job = start(server, "orders")
            if (now := ended(server, job))["status"] != "done":
                wrong.append(f"{i}: {now}")
            if i % 50 == 49:
                settled(server, job)
                used.append(Used.by(server.process.pid))
                disk.append(folder_size(folder / "store") / 1e6)
        wrong += [f"left behind: {each}" for each in orphans(folder / "store")]
    warm, last = used[1], used[-1]
    if last.memory > warm.memory * 1.15 or last.threads > warm.threads + 2 or last.files > warm.files + 5:
        wrong.append(f"after 100 jobs {warm}, after {JOBS} {last}")
    if max(disk) > limit + 10:
        wrong.append(f"the store took {max(disk):.0f} MB of {limit} MB")
    figures = (
        f"after 100 and {JOBS} jobs: memory {warm.memory:,.0f}, {last.memory:,.0f} MB; threads {warm.threads}, {last.threads};"
        f" open files {warm.files}, {last.files}; disk {disk[1]:.0f}, {disk[-1]:.0f} MB (limit {limit} MB)"
    )
    return Found("jobs in a row", JOBS, tuple(wrong), figures)


# --- a full store ----------------------------------------------------------------------------------


def store(folder: Path, results: int = 100, size: int = 50_000_000, limit: int = 1_000_000_000) -> Found:
    """Many results in a store with room for a few: the limit holds, and what is read or was used last stays."""
    old, new = _tables(folder, "orders", 1_000, 1)
    sources = [open_source(each, workdir=folder) for each in (old, new)]
    (folder / "real").mkdir()
    real = DuckDBEngine().run(make_plan(*sources, Choices(key=("id",))), folder / "real")
    kept = Store(folder, limit=limit, days=30)
    wrong, sizes = [], []

    def compute(i: int) -> Callable[[Path], Result]:
        def write(part: Path) -> Result:
            for name in ("rows.parquet", "summary.json"):
                (part / name).write_bytes((folder / "real" / name).read_bytes())
            (part / "files").mkdir()
            (part / "files" / "padding").write_bytes(os.urandom(size))
            return Result(real.plan, real.summary, part)

        return write

    reading, used = None, ""
    for i in range(results):
        touch(new, i)
        plan = make_plan(open_source(old, workdir=folder), open_source(new, workdir=folder), Choices(key=("id",)))
        stored = kept.compute(plan, compute(i))
        if i == 0:
            reading = kept.lease(stored.id)
            first = stored
        if i == 1:
            used = stored.id
        elif i > 1:
            kept.lease(used).release()  # opened again and again, so never the oldest
        sizes.append(folder_size(folder / "results"))
        if len(list((folder / "results" / first.folder).iterdir())) < 3:
            wrong.append(f"{i}: what is being read was pulled away")
        if kept.find(used) is None and i > 0:
            wrong.append(f"{i}: what was used last was pulled away")
        if i > 2 and kept.find(stored.id) is None:
            wrong.append(f"{i}: a new result is not kept")
    if max(sizes) > limit:
        wrong.append(f"the results took {max(sizes):,} bytes of {limit:,}")
    if reading:
        reading.release()
    kept.close()
    return Found(
        f"results of {size / 1e6:.0f} MB in a store of {limit / 1e9:.0f} GB, one being read, one used again and again",
        results,
        tuple(wrong),
        f"at most {max(sizes) / 1e6:,.0f} MB; both stayed; of the others the oldest went first",
    )


DRILLS: dict[str, Callable[[Path], Found]] = {"store": store, "soak": soak, "together": together}


def main(words: list[str]) -> int:
    with TemporaryDirectory(prefix="diffing-drill-") as folder:
        return run(DRILLS, words, Path(folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
