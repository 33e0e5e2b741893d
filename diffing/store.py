"""Results on disk: all or nothing, bounded, found by what was asked.

HOME/results/<id>-<token>/     one result: rows.parquet, summary.json, plan.json, files/ (its downloads)
HOME/results/.part-<token>/    one being written; swept at the next start
HOME/index/                    sizes and times of use; made anew from the folders if it is damaged
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import secrets
import shutil
import sqlite3
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import diskcache

from diffing.errors import StoreError
from diffing.plan import Plan
from diffing.plan_json import from_plain, plan_from_json, plan_to_json, to_plain
from diffing.result import ROWS_FILE, SUMMARY_FILE, Result, Summary
from diffing.sizes import folder_size, in_words

log = logging.getLogger(__name__)

PLAN_FILE = "plan.json"
FILES = "files"
"""The folder of a result's downloads."""
PART = ".part-"
MOST_OPEN = 32
"""Results whose plan and summary stay in memory."""
FEW = 5
"""Files of a passing kind that are kept with a result."""
TOUCH_AFTER = 60.0
"""Uses of a result are written down at most once in so many seconds; memory knows each."""


class ResultGone(StoreError):
    """A result that was removed, by hand or to make room."""

    def __init__(self) -> None:
        super().__init__("This result is no longer kept.", "Run the comparison again.")


def result_id(plan: Plan) -> str:
    """What a result is found by: the plan's fingerprint, and the names people see in it.

    Two people may share a result, but never learn from it what the other called the files.
    """
    asked = json.dumps([plan.fingerprint, plan.old.name, plan.new.name])
    return hashlib.sha256(asked.encode()).hexdigest()[:32]


@contextmanager
def claimed(home: Path) -> Iterator[None]:
    """Hold a folder for this process alone.

    Raises:
        StoreError: another server holds it, or it can't be written.
    """
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = open(home / "lock", "a")  # noqa: SIM115 - open as long as the server runs
    except OSError as error:
        raise StoreError(f"The folder for results can't be written: {error.strerror}.", "Check DIFFING_HOME.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            hint = "Stop the other one, or set DIFFING_HOME to another folder."
            raise StoreError("Another server uses this folder for results.", hint) from error
        yield


class Locks:
    """A lock per name, for work that is done once however many ask for it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Hold the lock of this name."""
        with self._guard:
            lock, waiting = self._locks.get(name, (threading.Lock(), 0))
            self._locks[name] = (lock, waiting + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, waiting = self._locks.pop(name)
                if waiting > 1:
                    self._locks[name] = (lock, waiting - 1)


class State:
    """Small JSON values on disk by name. What can't be read is set aside, and said in the log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.was_reset = False
        self._cache = self._opened()

    def _opened(self) -> diskcache.Cache:
        try:
            return self._new_cache()
        except (sqlite3.DatabaseError, OSError, ValueError) as error:
            self._set_aside(error)
            return self._new_cache()

    def _new_cache(self) -> diskcache.Cache:
        plain = {"disk": diskcache.JSONDisk, "disk_min_file_size": 1 << 30, "sqlite_mmap_size": 0}
        return diskcache.Cache(str(self.folder), timeout=10, eviction_policy="none", cull_limit=0, **plain)

    def _set_aside(self, error: Exception) -> None:
        log.warning("The index %s is damaged (%s) and is begun anew.", self.folder.name, error)
        self.was_reset = True
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.unlink(missing_ok=True)

    def read(self) -> dict[str, Any]:
        """All values. An entry that can't be read is left out."""
        try:
            return {name: value for name in list(self._cache) if (value := self._value(name)) is not None}
        except (sqlite3.DatabaseError, zlib.error, ValueError) as error:
            self._set_aside(error)
            self._cache = self._new_cache()
            return {}

    def _value(self, name: str) -> Any:
        try:
            return self._cache.get(name)
        except (zlib.error, ValueError):
            return None

    def write(self, name: str, value: Any) -> None:
        """Keep a value; None forgets it. A full disk is logged: memory still knows."""
        try:
            if value is None:
                self._cache.delete(name, retry=True)
            else:
                self._cache.set(name, value, retry=True)
        except (sqlite3.OperationalError, OSError) as error:
            log.error("The index %s can't be written: %s.", self.folder.name, error)
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
            self._cache = self._new_cache()

    def close(self) -> None:
        self._cache.close()


@dataclass(frozen=True, slots=True)
class Stored:
    """One stored result. Times are seconds since 1970."""

    id: str
    folder: str
    """The name of its folder."""
    size: int
    """Bytes on disk, with its downloads."""
    computed: float
    used: float


class Lease:
    """A result that stays on disk while someone holds this; to be used in a `with` or released."""

    def __init__(self, store: Store, stored: Stored, result: Result) -> None:
        self.result, self.stored = result, stored
        self._store: Store | None = store

    def release(self) -> None:
        """The reader is done; a second time does nothing."""
        store, self._store = self._store, None
        if store:
            store._release(self.stored.folder)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


class Store:
    """The results of one server. Safe to use from any thread.

    `limit` is in bytes; results that nobody opened for `days` are removed.
    """

    def __init__(self, home: Path, *, limit: int, days: float, clock: Callable[[], float] = time.time) -> None:
        self.folder = home / "results"
        self.limit, self.days, self.clock = limit, days, clock
        self._lock = threading.RLock()
        self._making = Locks()
        self._leases: Counter[str] = Counter()
        self._doomed: dict[str, int] = {}
        self._opened: dict[str, tuple[int, Result]] = {}
        self.folder.mkdir(parents=True, exist_ok=True)
        self._index = State(home / "index")
        self._entries = self._reconciled()
        self.sweep()

    # --- reading -----------------------------------------------------------------------------------

    def find(self, id_: str) -> Stored | None:
        """What is stored under an id, if anything."""
        with self._lock:
            return self._entries.get(id_)

    def stored(self) -> list[Stored]:
        """Everything there is, the least recently used first."""
        with self._lock:
            return sorted(self._entries.values(), key=lambda each: each.used)

    @property
    def size(self) -> int:
        """Bytes of all results, those included that go when their readers are done."""
        with self._lock:
            return sum(each.size for each in self._entries.values()) + sum(self._doomed.values())

    def lease(self, id_: str) -> Lease:
        """A result to use; it is not removed before the lease is released, and its age begins anew.

        Raises:
            ResultGone: there is none.
        """
        found = self.peek(id_)
        self._touch(found.stored)
        return found

    def peek(self, id_: str) -> Lease:
        """A result to look at, as a list does; its age goes on.

        Raises:
            ResultGone: there is none.
        """
        with self._lock:
            stored = self._entries.get(id_)
            if stored is None:
                raise ResultGone
            self._leases[stored.folder] += 1
        try:
            result = self._open(stored)
        except (OSError, ValueError, KeyError, TypeError, StoreError) as error:
            self._release(stored.folder)
            self.remove(id_)
            raise ResultGone from error
        return Lease(self, stored, result)

    def at_hand(self, id_: str) -> Summary | None:
        """The summary of a result that was used within the last minute, without waiting for anybody; None: `lease` knows more."""
        stored = self._entries.get(id_)
        known = self._opened.get(stored.folder) if stored else None
        if stored is None or known is None or not _same_minute(stored.used, self.clock()):
            return None
        with suppress(OSError):
            if (known[1].folder / SUMMARY_FILE).stat().st_mtime_ns == known[0]:
                return known[1].summary
        return None

    def _open(self, stored: Stored) -> Result:
        folder = self.folder / stored.folder
        stamp = (folder / SUMMARY_FILE).stat().st_mtime_ns
        known = self._opened.get(stored.folder)
        if known and known[0] == stamp:
            return known[1]
        summary = Summary.from_json(json.loads((folder / SUMMARY_FILE).read_bytes()))
        result = Result(plan_from_json(json.loads((folder / PLAN_FILE).read_bytes())), summary, folder)
        with self._lock:
            self._opened[stored.folder] = (stamp, result)
            while len(self._opened) > MOST_OPEN:
                del self._opened[next(iter(self._opened))]
        return result

    def _touch(self, stored: Stored) -> None:
        now = self.clock()
        with self._lock:
            if stored.id not in self._entries:
                return
            self._entries[stored.id] = replace(self._entries[stored.id], used=now)
            if not _same_minute(now, stored.used):
                self._enter(self._entries[stored.id])

    def _release(self, folder: str) -> None:
        with self._lock:
            self._leases[folder] -= 1
            if self._leases[folder] > 0:
                return
            del self._leases[folder]
            doomed = self._doomed.get(folder)
        if doomed is not None:  # nobody finds it any more, so nobody has to wait
            shutil.rmtree(self.folder / folder, ignore_errors=True)
            with self._lock:
                self._doomed.pop(folder, None)

    # --- writing -----------------------------------------------------------------------------------

    def compute(self, plan: Plan, run: Callable[[Path], Result]) -> Stored:
        """Keep what `run` leaves in the folder it is given; nothing, if it fails.

        Raises:
            StoreError: there is no room.
            DiffError: what `run` raises.
        """
        with self._part() as part, _writing():
            run(part)
            (part / PLAN_FILE).write_text(json.dumps(plan_to_json(plan)))
            return self._keep(result_id(plan), part)

    def _keep(self, id_: str, part: Path) -> Stored:
        now, size = self.clock(), folder_size(part)
        stored = Stored(id_, f"{id_}-{part.name.removeprefix(PART)}", size, now, now)
        with self._lock:
            self._make_room(size)
            before = self._entries.get(id_)
            os.replace(part, self.folder / stored.folder)
            self._enter(stored)
            if before:
                self._drop(before)
        return stored

    def file(self, lease: Lease, name: str, make: Callable[[Result, Path], None], *, passing: str = "") -> Path:
        """A file made from a result, kept with it: made at the first call, found at the next.

        Of the files whose names begin with `passing`, only the newest few are kept.

        Raises:
            StoreError: there is no room.
            DiffError: what `make` raises.
        """
        path = lease.result.folder / FILES / name
        with self._making.of(str(path)):
            if not path.exists():
                with self._part() as part, _writing():
                    make(lease.result, part / name)
                    self._add(lease.stored, part / name, path, passing)
        return path

    def _add(self, stored: Stored, made: Path, path: Path, passing: str) -> None:
        size = made.stat().st_size
        with self._lock:
            if passing:
                self._thin_out(stored, path.parent, passing)
            self._make_room(size)
            path.parent.mkdir(exist_ok=True)
            os.replace(made, path)
            self._grow(stored, size)

    def _thin_out(self, stored: Stored, folder: Path, passing: str) -> None:
        """Make place for one more; who is sending such a file goes on, for it stays open."""
        oldest_first = sorted(folder.glob(f"{passing}*"), key=lambda path: path.stat().st_mtime_ns)
        for path in oldest_first[: max(len(oldest_first) - FEW + 1, 0)]:
            self._grow(stored, -path.stat().st_size)
            path.unlink()

    def update(self, id_: str, run: Callable[[Result], object]) -> None:
        """Let `run` change the summary of a result where it stands, as an engine does with totals."""
        with self.lease(id_) as lease:
            run(lease.result)
            with self._lock:
                self._grow(lease.stored, folder_size(lease.result.folder) - lease.stored.size)

    def _grow(self, stored: Stored, size: int) -> None:
        now = self._entries.get(stored.id)
        if now and now.folder == stored.folder:
            self._enter(replace(now, size=now.size + size))

    @contextmanager
    def _part(self) -> Iterator[Path]:
        """A new folder that is removed, unless it was moved."""
        part = self.folder / f"{PART}{secrets.token_hex(8)}"
        with _writing():
            part.mkdir()
        try:
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)

    # --- removing ----------------------------------------------------------------------------------

    def remove(self, id_: str) -> None:
        """Forget a result, and free its disk as soon as nobody reads it."""
        with self._lock:
            stored = self._entries.get(id_)
            if stored:
                self._forget(stored)

    def sweep(self) -> None:
        """Remove what nobody opened for long, and what is over the limit."""
        now = self.clock()
        with self._lock:
            for stored in self.stored():
                if stored.used > now:  # the clock was set back
                    self._enter(replace(stored, used=now))
                if now - stored.used > self.days * 86_400 and not self._leases[stored.folder]:
                    self._forget(stored)
            self._evict(0)

    def _make_room(self, size: int) -> None:
        """Evict until so many bytes more fit."""
        if size > self.limit:
            what = f"This takes {in_words(size)}, more than the store may hold ({in_words(self.limit)})."
            raise StoreError(what, "Compare fewer columns, or raise DIFFING_STORE_LIMIT.")
        if not self._evict(size):
            raise StoreError("The store is full of results that are being read.", "Try again later, or raise DIFFING_STORE_LIMIT.")

    def _evict(self, more: int) -> bool:
        """Remove the least recently used results that nobody reads until `more` bytes fit; False if they don't."""
        over = self.size + more - self.limit
        for stored in self.stored():
            if over <= 0:
                break
            if not self._leases[stored.folder]:
                self._forget(stored)
                over -= stored.size
        return over <= 0

    def _forget(self, stored: Stored) -> None:
        del self._entries[stored.id]
        self._index.write(stored.id, None)
        self._drop(stored)

    def _drop(self, stored: Stored) -> None:
        self._opened.pop(stored.folder, None)
        if self._leases[stored.folder]:
            self._doomed[stored.folder] = stored.size
        else:
            shutil.rmtree(self.folder / stored.folder, ignore_errors=True)

    def _enter(self, stored: Stored) -> None:
        self._entries[stored.id] = stored
        self._index.write(stored.id, to_plain(stored))

    # --- starting and stopping ---------------------------------------------------------------------

    def _reconciled(self) -> dict[str, Stored]:
        """The results that are complete on disk, with what the index knows of them; the rest is removed."""
        known = self._index.read()
        found: dict[str, Stored] = {}
        for folder in sorted(self.folder.iterdir(), key=lambda each: each.lstat().st_mtime_ns):
            stored = _described(folder, known)
            if stored is None or stored.id in found:
                shutil.rmtree(folder if stored is None else self.folder / found[stored.id].folder, ignore_errors=True)
            if stored:
                found[stored.id] = stored
        for id_ in known.keys() | found.keys():
            told = to_plain(found[id_]) if id_ in found else None
            if told != known.get(id_):
                self._index.write(id_, told)
        return found

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()


def _same_minute(a: float, b: float) -> bool:
    return a // TOUCH_AFTER == b // TOUCH_AFTER


def _described(folder: Path, known: dict[str, Any]) -> Stored | None:
    """A result by its folder; None if it is not complete."""
    if folder.name.startswith(PART) or not all((folder / name).exists() for name in (ROWS_FILE, SUMMARY_FILE, PLAN_FILE)):
        return None
    id_ = folder.name.partition("-")[0]
    for name in ("work", "work-totals"):
        shutil.rmtree(folder / name, ignore_errors=True)
    made, size = (folder / PLAN_FILE).stat().st_mtime, folder_size(folder)
    try:
        stored: Stored = from_plain(Stored, known[id_])
    except (KeyError, StoreError):
        return Stored(id_, folder.name, size, made, made)
    return replace(stored, size=size) if stored.folder == folder.name else Stored(id_, folder.name, size, made, made)


@contextmanager
def _writing() -> Iterator[None]:
    """Turns what the system says about the disk into words, without paths."""
    try:
        yield
    except (OSError, StoreError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError):
            raise
        raise StoreError(f"The result can't be kept: {cause.strerror or 'no reason given'}.", "Free some disk space.") from error
