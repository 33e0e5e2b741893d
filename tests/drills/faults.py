"""What accidents do to the server, and that nothing is lost, mixed or left lying about.

    python -m tests.drills.faults [a word of a drill's name …]

Each drill runs the real server, or the package as the server has it, and breaks something at a random
moment. The disk is filled on a small file system of its own, which only root may make; others see that drill left out.
"""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from diffing.engines.duckdb import DuckDBEngine
from diffing.jobs import Files, Jobs, JobState
from diffing.store import Store
from diffing.uploads import Uploads
from tests.browsing import ROOT, Server
from tests.drills._serving import (
    Found,
    Used,
    answer,
    diffed,
    digest,
    ended,
    orphans,
    registry,
    run,
    serving,
    settled,
    start,
    state,
    table,
)

ROWS = 600_000
"""Rows of the tables that are compared while something breaks: about two seconds."""
RANDOM = random.Random(2026)
KILLED_IN = (
    "opening the files",
    "reading both files",
    "cancelling identical rows",
    "matching rows",
    "comparing cells",
    "sorting the result",
    "done",
)


# --- killed --------------------------------------------------------------------------------------


def killed(folder: Path, times: int = 20) -> Found:
    """The server is killed at a random moment of each stage of a job. Started again, it has the whole result or an interrupted job."""
    expected = _pair(folder, "orders")
    wrong, stages, ends = [], Counter[str](), Counter[str]()
    server = Server(folder)
    diffed(server, "orders")
    for i in range(times):
        touch(folder / "orders_new.csv", i + 1)
        job = start(server, "orders")
        now = _reached(server, job, KILLED_IN[i % len(KILLED_IN)])
        stages[now.get("stage") or now["status"]] += 1
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        server.start()
        after = ended(server, job)
        ends[after["status"]] += 1
        settled(server, job)
        wrong += [f"{i}: left behind: {each}" for each in orphans(folder / "store")]
        if after["status"] not in ("done", "interrupted"):
            wrong.append(f"{i}: {after}")
        if now["status"] == "done" and after["status"] != "done":
            wrong.append(f"{i}: a finished result is lost: {after}")
        if after["status"] == "done" and digest(answer(server, f"job/{job}")[1]) != expected:
            wrong.append(f"{i}: another result than before")
        if i % 5 == 0 and diffed(server, "orders") != expected:
            wrong.append(f"{i}: run again, it has another result")
    server.stop()
    seen = ", ".join(f"{name} {count}" for name, count in stages.most_common())
    return Found("server killed (`kill -9`) in a job", times, tuple(wrong), f"killed while: {seen}; then: {_in_words(ends)}")


def _reached(server: Server, job: int, stage: str) -> Any:
    """What is told of a job a moment after it came to a stage; or when it is done, if the stage was too short to be seen."""
    while (now := state(server, job))["status"] == "processing" and now["stage"] != stage:
        pass
    if now["status"] == "processing":
        time.sleep(RANDOM.uniform(0, 0.1))
        now = state(server, job)
    return now


def _pair(folder: Path, name: str) -> str:
    """Make the tables of a metric; the digest of what comparing them must give."""
    table(folder / f"{name}_old.csv", ROWS)
    table(folder / f"{name}_new.csv", ROWS, 1)
    registry(folder, [name])
    return by_command(folder / f"{name}_old.csv", folder / f"{name}_new.csv")


def by_command(old: Path, new: Path) -> str:
    """The digest of the CSV that the command line makes."""
    out = old.with_name("expected.csv")
    command = [sys.executable, "-m", "diffing", str(old), str(new), "--key", "id", "-o", str(out)]
    subprocess.run(command, cwd=ROOT, check=False, capture_output=True)
    if not out.exists():
        return "refused"
    found = digest(out.read_bytes())
    out.unlink()
    return found


def touch(file: Path, i: int) -> None:
    """Give a file another time, so that it is compared anew."""
    os.utime(file, (1_700_000_000 + i, 1_700_000_000 + i))


def _in_words(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


# --- the disk is full ------------------------------------------------------------------------------


def full_disk(folder: Path) -> Found:
    """The disk fills up while an upload, the work of a comparison, a result or the index is written."""
    if os.geteuid():
        return Found("disk full (left out: only root can make a small disk)", 0, ())
    wrong: list[str] = []
    said: list[str] = []
    with _small_disk(folder / "disk", megabytes=40) as disk:
        _pair(folder, "orders")
        table(folder / "few_old.csv", 1_000)
        table(folder / "few_new.csv", 1_000, 1)
        table(folder / "all_old.csv", ROWS)
        table(folder / "all_new.csv", ROWS, 1, every=1)
        registry(folder, ["orders", "few", "all"])
        few = by_command(folder / "few_old.csv", folder / "few_new.csv")
        with serving(folder, DIFFING_HOME=str(disk / "store"), DIFFING_MEMORY_LIMIT="200MB") as server:
            scenes: dict[str, Callable[[], str]] = {
                "upload": lambda: _upload(server, folder / "all_old.csv", folder / "all_new.csv"),
                "result": lambda: _refusal(server, "all"),
                "work": lambda: _with_room(disk, 3, lambda: _refusal(server, "orders")),
                "index": lambda: _with_room(disk, 0, lambda: _refusal(server, "few")),
            }
            for i, (name, scene) in enumerate(scenes.items()):
                said.append(f"{name}: {scene()}")
                if "Traceback" in said[-1] or str(folder) in said[-1] or "None" in said[-1]:
                    wrong.append(said[-1])
                touch(folder / "few_new.csv", i + 1)
                if (found := diffed(server, "few")) != few:
                    wrong.append(f"after {name}, a small comparison gives {found}")
                settled(server, start(server, "few"))
                wrong += [f"after {name}: left behind: {each}" for each in orphans(disk / "store")]
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            server.start()
            if diffed(server, "few") != few:
                wrong.append("after a new start, a small comparison gives something else")
    return Found("disk full while an upload, a result, work files, the index are written", 4, tuple(wrong), "; ".join(said))


@contextmanager
def _small_disk(at: Path, megabytes: int) -> Iterator[Path]:
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def _with_room(disk: Path, megabytes: int, then: Callable[[], str]) -> str:
    """Do something when only so much of a disk is free."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        try:
            while shutil.disk_usage(disk).free > megabytes << 20:
                file.write(bytes(min(1 << 16, shutil.disk_usage(disk).free)))
                file.flush()
        except OSError:
            pass
    try:
        return then()
    finally:
        filler.unlink()


def _upload(server: Server, old: Path, new: Path) -> str:
    command = ["curl", "-s", "-w", " %{http_code}", "-F", f"old=@{old}", "-F", f"new=@{new}", f"{server.url}/api/diffing/new"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _refusal(server: Server, metric: str) -> str:
    """What is said of a comparison for which there is no room; or that it was done all the same."""
    now = ended(server, start(server, metric))
    return now["status"] if now["status"] == "done" else f"{now['status']}, “{now['error']}”"


# --- files that change -----------------------------------------------------------------------------


def changed_files(folder: Path, times: int = 40) -> Found:
    """A file is changed, replaced, cut off or removed while it is read: the job fails, or has one version of it."""
    expected = {_pair(folder, "orders")}
    old, new, kept = folder / "orders_old.csv", folder / "orders_new.csv", folder / "kept.csv"
    shutil.copy(new, kept)
    wrong, ends = [], Counter[str]()
    ways = {"appended": _append, "in place": _in_place, "replaced": _replace, "cut off": _cut_off, "removed": Path.unlink}
    with serving(folder) as server:
        for i in range(times):
            name = list(ways)[i % len(ways)]
            shutil.copy(kept, new)
            touch(new, i + 1)
            job = start(server, "orders")
            time.sleep(RANDOM.uniform(0, 0.9))
            ways[name](new)
            now = ended(server, job)
            settled(server, job)
            ends[f"{name}: {now['status']}"] += 1
            if now["status"] == "failed" and not (now["error"] and now["hint"]):
                wrong.append(f"{i}: {name}: {now}")
            if now["status"] == "done":
                allowed = expected | ({by_command(old, new)} if new.exists() else set())
                if digest(answer(server, f"job/{job}")[1]) not in allowed:
                    wrong.append(f"{i}: {name}: a result of neither version")
            wrong += [f"{i}: {name}: left behind: {each}" for each in orphans(folder / "store")]
    return Found("input changed while it was read", times, tuple(wrong), _in_words(ends))


def _append(file: Path) -> None:
    with file.open("a") as end:
        end.write("999999999,x,y,2024-01-01,1\n" * 1000)


def _in_place(file: Path) -> None:
    """Other text of the same length, in the middle."""
    with file.open("r+b") as inside:
        inside.seek(file.stat().st_size // 2)
        text = inside.read(1 << 20)
        inside.seek(-len(text), os.SEEK_CUR)
        inside.write(text.replace(b"customer", b"CUSTOMER"))


def _replace(file: Path) -> None:
    table(file, ROWS, 2)


def _cut_off(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


# --- a damaged index -------------------------------------------------------------------------------


def damaged_index(folder: Path) -> Found:
    """The index of results, or that of jobs, is removed or damaged while the server is stopped."""
    expected = _pair(folder, "orders")
    store = folder / "store"
    server = Server(folder)
    diffed(server, "orders")
    settled(server, start(server, "orders"))
    wrong, ends = [], Counter[str]()
    tries = [(name, way) for name in ("index", "jobs") for way in DAMAGE]
    for name, way in tries:
        server.stop()
        DAMAGE[way](store / name)
        server.start()
        job = start(server, "orders")
        now = ended(server, job)
        settled(server, job)
        ends["from the cache" if now.get("from_cache") else "computed anew"] += 1
        if now["status"] != "done" or digest(answer(server, f"job/{job}")[1]) != expected:
            wrong.append(f"{name} {way}: {now}")
        if state(server, job).get("totals") != "done":
            wrong.append(f"{name} {way}: no totals")
        wrong += [f"{name} {way}: left behind: {each}" for each in orphans(store)]
    server.stop()
    return Found("index of results or of jobs damaged", len(tries), tuple(wrong), _in_words(ends))


def _noise(folder: Path) -> None:
    for file in folder.glob("cache.db*"):
        data = bytearray(file.read_bytes())
        for _ in range(200):
            data[RANDOM.randrange(len(data))] = RANDOM.randrange(256)
        file.write_bytes(data)


def _halved(folder: Path) -> None:
    for file in folder.glob("cache.db*"):
        os.truncate(file, file.stat().st_size // 2)


def _no_database(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "cache.db").write_text("This is no database. " * 1000)


def _a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("in its place")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "removed": shutil.rmtree,
    "with noise": _noise,
    "cut in half": _halved,
    "no database": _no_database,
    "a file": _a_file,
}


# --- the clock, and two servers --------------------------------------------------------------------


def clock_set_back(folder: Path) -> Found:
    """The clock goes back, by seconds to years, while jobs run and between them."""
    _pair(folder, "orders")
    wrong = []
    now, shift = time.time, [0.0]
    with mock.patch("time.time", side_effect=lambda: now() + shift[0]), _jobs(folder) as jobs:
        backs = (1, 60, 3_600, 86_400, 400 * 86_400)
        for i, back in enumerate(backs):
            touch(folder / "orders_new.csv", i + 1)
            job = jobs.submit_metric("orders")
            time.sleep(0.5)
            shift[0] -= back
            while jobs.get(job.id).state.active:
                if (jobs.get(job.id).elapsed or 0) < 0:
                    wrong.append(f"{back} s back: a negative time")
                time.sleep(0.05)
            done = jobs.wait(job.id, 60, totals=True)
            jobs.sweep()
            if done.state is not JobState.DONE or (done.elapsed or 0) < 0:
                wrong.append(f"{back} s back: {done}")
            if jobs.get(job.id).state is not JobState.DONE or jobs.store.find(done.result_id or "") is None:
                wrong.append(f"{back} s back: lost by the sweep")
            if not jobs.submit_metric("orders").from_cache:
                wrong.append(f"{back} s back: not answered from the cache")
    return Found("clock set back in a job, by a second to 400 days", len(backs), tuple(wrong))


def two_servers(folder: Path) -> Found:
    """A second server on the same folder is refused in words, and the first goes on."""
    expected = _pair(folder, "orders")
    wrong = []
    with serving(folder) as server:
        job = start(server, "orders")
        command = [sys.executable, "app.py"]
        settings = os.environ | server.settings | {"STREAMLIT_SERVER_PORT": "0"}
        second = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=60, check=False)
        said = second.stdout + second.stderr
        if second.returncode == 0 or "Another server uses this folder" not in said or "Traceback" in said:
            wrong.append(f"the second server ends with {second.returncode}: {said}")
        ended(server, job)
        if digest(answer(server, f"job/{job}")[1]) != expected:
            wrong.append("the first server has another result")
    return Found("a second server on the same store", 1, tuple(wrong), "refused, and says which setting to change")


# --- cancelled -------------------------------------------------------------------------------------


@contextmanager
def _jobs(folder: Path) -> Iterator[Jobs]:
    """The comparisons of a server without the server."""
    home = folder / "store"
    files = Files(home, folder / "metrics.toml", Uploads(home, limit=1 << 32, quota=1 << 34, hours=24))
    jobs = Jobs(home, files=files, store=Store(home, limit=10 << 30, days=30), engine=DuckDBEngine(memory_limit="1GB"))
    try:
        yield jobs
    finally:
        jobs.close()


def cancelled(folder: Path, times: int = 200, *, longest: float = 1.8, patience: float = 2.0) -> Found:
    """A job is cancelled at a random moment of its first seconds (`longest`): it ends, and memory, disk and threads are free again."""
    _pair(folder, "orders")
    wrong, waits, stages = [], [], Counter[str]()
    with _jobs(folder) as jobs:
        for i in range(3):
            touch(folder / "orders_new.csv", i)
            jobs.wait(jobs.submit_metric("orders").id, totals=True)
        gc.collect()
        before = Used.by(os.getpid())
        names = {thread.name for thread in threading.enumerate()}
        for i in range(times):
            touch(folder / "orders_new.csv", 100 + i)
            job = jobs.submit_metric("orders")
            time.sleep(RANDOM.uniform(0, longest))
            stages[jobs.get(job.id).stage or "done"] += 1
            began = time.monotonic()
            jobs.cancel(job.id)
            while list((folder / "store" / "results").glob(".part-*")) or list((folder / "store" / "work").iterdir()):
                if time.monotonic() - began > 20:
                    wrong.append(f"{i}: the work goes on")
                    break
                time.sleep(0.01)
            waits.append(time.monotonic() - began)
        jobs.wait(jobs.submit_metric("orders").id, totals=True)
        time.sleep(1)
        gc.collect()
        after = Used.by(os.getpid())
        wrong += [f"a thread more: {thread.name}" for thread in threading.enumerate() if thread.name not in names]
        wrong += [f"left behind: {each}" for each in orphans(folder / "store")]
    if after.files > before.files + 5 or after.memory > before.memory + 150:
        wrong.append(f"before {before}, after {after}")
    if max(waits) > patience:
        wrong.append(f"{sum(each > patience for each in waits)} took longer than {patience:g} s to stop")
    waits.sort()
    figures = (
        f"stopped after {waits[len(waits) // 2]:.2f} s, at worst {waits[-1]:.2f} s; memory {before.memory:,.0f} → {after.memory:,.0f} MB,"
        f" threads {before.threads} → {after.threads}, open files {before.files} → {after.files}; in {len(stages)} stages"
    )
    return Found("cancelled at any moment", times, tuple(wrong), figures)


DRILLS: dict[str, Callable[[Path], Found]] = {
    "killed": killed,
    "full_disk": full_disk,
    "changed_files": changed_files,
    "damaged_index": damaged_index,
    "clock_set_back": clock_set_back,
    "two_servers": two_servers,
    "cancelled": cancelled,
}


def main(words: list[str]) -> int:
    with TemporaryDirectory(prefix="diffing-drill-") as folder:
        return run(DRILLS, words, Path(folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
