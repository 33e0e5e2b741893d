"""What the drills of faults and load share: tables to compare, the server, what it answers, and what it leaves on disk."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from tests.browsing import Server

TABLE = """COPY (SELECT i AS id, 'customer ' || i * 7919 % 5003 AS customer, 'what was said about order ' || i AS note,
  CAST(DATE '2020-01-01' + CAST(i * 31 % 1500 AS INTEGER) AS VARCHAR) AS day,
  (i * 7919 % 1000003) / 100 + {edit} * CAST(i % {every} = 0 AS INT) AS amount
FROM range({rows}) AS r(i) WHERE i % 89 <> {edit} ORDER BY hash(i + {edit})) TO '{file}' (FORMAT csv, HEADER true)"""
"""An order per row; `edit` 0 is the old table, every other number another new one."""
LEFT_ALONE = {"rows.parquet", "summary.json", "plan.json", "files"}
"""What the folder of a result holds."""


@dataclass(frozen=True)
class Found:
    """What a drill of one kind came to."""

    what: str
    times: int
    wrong: tuple[str, ...]
    """What must not be; nothing, if all is well."""
    figures: str = ""


def report(found: Iterable[Found]) -> str:
    lines = ["| what | times | wrong | found |", "|---|---:|---:|---|"]
    lines += [f"| {each.what} | {each.times:,} | {len(each.wrong)} | {each.figures} |" for each in found]
    return "\n".join(lines)


def run(drills: dict[str, Callable[[Path], Found]], words: list[str], folder: Path) -> int:
    """Run the drills whose name has one of the words, or all; the process's exit code."""
    done = []
    for name, drill in drills.items():
        if words and not any(word in name for word in words):
            continue
        (folder / name).mkdir()
        started = time.monotonic()
        done.append(drill(folder / name))
        for each in done[-1].wrong:
            print(f"wrong: {name}: {each}", flush=True)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    print(report(done))
    return int(any(each.wrong for each in done))


# --- tables ----------------------------------------------------------------------------------------


def table(file: Path, rows: int, edit: int = 0, every: int = 97) -> Path:
    """Write a table of orders; all at once, as programs should."""
    part = file.with_suffix(".part")
    with duckdb.connect() as con:
        con.execute(TABLE.format(rows=rows, edit=edit, every=every, file=part))
    os.replace(part, file)
    return file


def registry(folder: Path, metrics: Iterable[str]) -> None:
    """Metrics over NAME_old.csv and NAME_new.csv, each with the key `id`."""
    said = (f'[{name}]\nold = "{name}_old.csv"\nnew = "{name}_new.csv"\nkey = ["id"]\n' for name in metrics)
    (folder / "metrics.toml").write_text("".join(said))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


# --- the server ------------------------------------------------------------------------------------


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Server]:
    server = Server(folder, **settings)
    try:
        yield server
    finally:
        server.stop()


def answer(server: Server, path: str, method: str = "GET", *, body: bytes | None = None, kind: str = "text/plain") -> tuple[int, bytes]:
    """Status and body of what the API answers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    try:
        connection.request(method, f"/api/diffing/{path}", body, {"content-type": kind} if body else {})
        said = connection.getresponse()
        return said.status, said.read()
    finally:
        connection.close()


def asked(server: Server, path: str, method: str = "GET") -> Any:
    """The JSON that the API answers."""
    return json.loads(answer(server, path, method)[1])


def form(files: dict[str, Path], **fields: str) -> tuple[bytes, str]:
    """A form with files, and its content type."""
    edge = "edge-of-a-part"
    parts = [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    parts += [f'name="{name}"; filename="{file.name}"\r\n\r\n'.encode() + file.read_bytes() for name, file in files.items()]
    body = b"".join(f"--{edge}\r\ncontent-disposition: form-data; ".encode() + part + b"\r\n" for part in parts)
    return body + f"--{edge}--\r\n".encode(), f"multipart/form-data; boundary={edge}"


def start(server: Server, metric: str) -> int:
    return int(asked(server, f"new/{metric}", "POST")["job_id"])


def state(server: Server, job: object) -> Any:
    return asked(server, f"job/{job}/summary")


def ended(server: Server, job: object, seconds: float = 120) -> Any:
    """What became of a job."""
    until = time.monotonic() + seconds
    while (now := state(server, job))["status"] == "processing":
        if time.monotonic() > until:
            raise TimeoutError(f"Job {job} takes longer than {seconds:.0f} s: {now}")
        time.sleep(0.05)
    return now


def diffed(server: Server, metric: str) -> str:
    """The digest of the CSV of a metric, computed or from the cache."""
    job = start(server, metric)
    now = ended(server, job)
    status, body = answer(server, f"job/{job}")
    return digest(body) if status == 200 else f"{status} {now}"


def settled(server: Server, job: object) -> None:
    """Wait until nothing is done for a job any more."""
    while (now := state(server, job))["status"] == "processing" or now.get("totals") in ("queued", "running"):
        time.sleep(0.05)


# --- what is left ----------------------------------------------------------------------------------


def orphans(home: Path) -> list[str]:
    """Files and folders in a store that nobody needs when nothing runs."""
    found = []
    for folder in (home / "results").glob("*"):
        names = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
        if folder.name.startswith(".") or not names <= LEFT_ALONE or not names >= LEFT_ALONE - {"files"}:
            found.append(f"results/{folder.name} with {sorted(names)}")
    found += [str(each.relative_to(home)) for where in ("work", "converted") for each in (home / where).glob("*")]
    found += [str(each.relative_to(home)) for each in (home / "uploads").rglob("*") if each.name.startswith(".") or ".part" in each.name]
    return found


@dataclass(frozen=True)
class Used:
    """What a process holds. Memory in MB."""

    memory: float
    threads: int
    files: int

    @classmethod
    def by(cls, process: int) -> Used:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
        with suppress(FileNotFoundError):
            files = len(os.listdir(f"/proc/{process}/fd"))
        return cls(int(status["VmRSS"].split()[0]) / 1024, int(status["Threads"]), files)
