"""What a comparison may take: memory, room on disk, and time until someone stops it."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from diffing.engines import Watch
from diffing.errors import EngineError
from diffing.sizes import folder_size, in_words


def memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextmanager
def emptied(work: Path) -> Iterator[Path]:
    """A folder for what is put aside, gone afterwards."""
    work.mkdir(parents=True, exist_ok=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@dataclass
class Bounded(Watch):
    """A watch that also stops what puts more aside than it may."""

    limit: int | None = None
    """Bytes; None: there is no limit."""
    full: bool = False

    def check(self) -> None:
        super().check()
        if self.full:
            raise too_much(self.limit)


def too_much(limit: int | None) -> EngineError:
    """What is raised where a comparison would put aside more than so many bytes."""
    what = f"The comparison puts more aside on disk than it may ({in_words(limit)})." if limit else "The disk is nearly full."
    return EngineError(what, "Raise the disk limit, or the memory limit: less is put aside then." if limit else "Free some space.")


@contextmanager
def interruptible(con: duckdb.DuckDBPyConnection, watch: Bounded, work: Path) -> Iterator[None]:
    """Interrupts the running statement within a tenth of a second of a request to cancel, or when there is too much in the work folder."""
    done = threading.Event()

    def wait() -> None:
        while not done.wait(0.1):
            watch.full |= watch.limit is not None and folder_size(work) > watch.limit
            if watch.full or watch.cancelled.is_set():
                con.interrupt()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    try:
        yield
    except duckdb.InterruptException:
        watch.check()
        raise
    finally:
        done.set()
        thread.join()
