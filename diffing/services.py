"""What a server is made of: settings from the environment; one store, one engine, the jobs and uploads of a process."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from diffing import excel, export
from diffing.engines.bounds import memory
from diffing.engines.choosing import Engines, engine_name, spark_settings
from diffing.engines.duckdb import DuckDBEngine
from diffing.errors import DiffError, EngineError
from diffing.jobs import Files, Jobs
from diffing.plan import EngineName
from diffing.preparing import Cluster
from diffing.result import Result
from diffing.sizes import parse_size
from diffing.store import Lease, Store, claimed
from diffing.uploads import Uploads
from diffing.views import Filter, positions

EVERY_HOST = "*"
MEMORY_SHARE = 0.6
"""The share of the machine's memory that all comparisons may take together, if no limit is set."""


class SettingsError(DiffError):
    """A setting that makes no sense."""


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _memory(text: str) -> str:
    """An amount as DuckDB writes it."""
    return f"{max(parse_size(text) >> 20, 1)}MiB"


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 1024:
        raise ValueError("a whole number from 1 to 1024")
    return int(text)


def _above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < math.inf:
        raise ValueError("a number above zero")
    return number


def _names(text: str) -> tuple[str, ...]:
    """Host names, without ports."""
    said = text.lower().replace(",", " ").split()
    if not all(each == EVERY_HOST or _HOST.fullmatch(each) for each in said):
        raise ValueError("names of hosts, such as diff.example.com, or * for all")
    return tuple(map(host_name, said))


_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]+)?")


def host_name(said: str) -> str:
    """The host of a `Host` header or an address, without its port, in lower case."""
    bracketed = re.match(r"\[[^\]]*\]", said)
    return (bracketed[0] if bracketed else said.partition(":")[0]).rstrip(".").lower()


def _token(text: str) -> str:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("made of ASCII letters, digits and signs, without spaces")
    return text


def _engine(text: str) -> EngineName:
    try:
        return engine_name(text)
    except EngineError as error:
        raise ValueError(" or ".join(EngineName)) from error


def _spark_settings(text: str) -> dict[str, str]:
    try:
        return spark_settings(text)
    except EngineError as error:
        raise ValueError("settings of Spark, such as spark.executor.memory=8g, with spaces between") from error


_READERS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "DIFFING_HOME": ("home", _folder),
    "DIFFING_METRICS": ("metrics", _folder),
    "DIFFING_WORKERS": ("workers", _whole),
    "DIFFING_MEMORY_LIMIT": ("memory_limit", _memory),
    "DIFFING_DISK_LIMIT": ("disk_limit", parse_size),
    "DIFFING_THREADS": ("threads", _whole),
    "DIFFING_STORE_LIMIT": ("store_limit", parse_size),
    "DIFFING_STORE_DAYS": ("store_days", _above_zero),
    "DIFFING_UPLOAD_LIMIT": ("upload_limit", parse_size),
    "DIFFING_UNPACKED_LIMIT": ("unpacked_limit", parse_size),
    "DIFFING_UPLOAD_QUOTA": ("upload_quota", parse_size),
    "DIFFING_UPLOAD_HOURS": ("upload_hours", _above_zero),
    "DIFFING_ENGINE": ("engine", _engine),
    "DIFFING_SPARK": ("spark", str),
    "DIFFING_SPARK_SETTINGS": ("spark_settings", _spark_settings),
    "DIFFING_HOSTS": ("hosts", _names),
    "DIFFING_TOKEN": ("token", _token),
}
"""Variable to field, and what reads it. An empty variable counts as none."""


@dataclass(frozen=True)
class Settings:
    """How a server runs. Sizes are in bytes."""

    home: Path = field(default_factory=lambda: _folder("store"))
    """Where results, uploads and the list of jobs are."""
    metrics: Path = field(default_factory=lambda: _folder("metrics.toml"))
    workers: int = 2
    """Comparisons that run at the same time."""
    memory_limit: str | None = None
    """For each comparison, as DuckDB writes it; None: a share of 60% of the machine's memory."""
    disk_limit: int | None = None
    """Bytes that each comparison may put aside on disk; None: what is free."""
    threads: int | None = None
    """For each comparison; None: all cores."""
    store_limit: int = 10 * 10**9
    store_days: float = 30
    """Days after which a result that nobody opened, and a job, is forgotten."""
    upload_limit: int = 4 * 10**9
    """Of one file."""
    unpacked_limit: int = 10 * 10**9
    """Of one file, without its compression."""
    upload_quota: int = 20 * 10**9
    """Of all files together."""
    upload_hours: float = 24
    engine: EngineName = EngineName.DUCKDB
    """What compares where a metric does not say."""
    spark: str | None = None
    """Where Spark is; see `Engines`."""
    spark_settings: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    """By which names the server may be called, besides localhost and its own address; `*`: by any."""
    token: str | None = field(default=None, repr=False)
    """What everybody must show; None: the server is open to all who reach it."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """The settings that the variables say.

        Raises:
            SettingsError: one of them makes no sense.
        """
        found = {}
        for variable, (name, read) in _READERS.items():
            if text := environment.get(variable, "").strip():
                try:
                    found[name] = read(text)
                except ValueError as error:
                    what = "" if name == "token" else f" is “{text}”, which"
                    raise SettingsError(f"{variable}{what} can't be used.", f"It must be {error}.") from error
        return cls(**found)


@dataclass(frozen=True, slots=True)
class Form:
    """A form in which the rows of a result can be had."""

    suffix: str
    media_type: str
    write: Callable[..., None]
    """Writes a result to a path: all rows or, if it has such a parameter, those that a `filter` means or that are
    `only` at these places of the output order. What has neither writes text, of which records can be copied."""

    def writes(self, parameter: str) -> bool:
        return parameter in signature(self.write).parameters

    @property
    def is_csv(self) -> bool:
        return self.media_type.startswith("text/csv")


CSV = "text/csv; charset=utf-8"
FORMS: Mapping[str, Form] = {
    "csv": Form(".csv", CSV, export.write_csv),
    "csv-for-spreadsheets": Form("-for-spreadsheets.csv", CSV, partial(export.write_csv, for_spreadsheets=True)),
    "parquet": Form(".parquet", "application/vnd.apache.parquet", export.write_parquet),
    "json": Form(".jsonl", "application/x-ndjson", export.write_json_lines),
    "xlsx": Form(".xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", excel.write_xlsx),
}
EVERYTHING = Filter()
FILTERED = "filtered-"
"""How the names of filtered files begin."""


class Services:
    """All that one server holds on to. Close it before the process ends."""

    def __init__(self, settings: Settings) -> None:
        """Raises StoreError if another server uses the same folder."""
        self.settings = settings
        home = settings.home
        with ExitStack() as opened:
            opened.enter_context(claimed(home))
            self.uploads = Uploads(
                home,
                limit=settings.upload_limit,
                unpacked=settings.unpacked_limit,
                quota=settings.upload_quota,
                hours=settings.upload_hours,
            )
            self.files = Files(home, settings.metrics, self.uploads)
            self.store = Store(home, limit=settings.store_limit, days=settings.store_days)
            opened.callback(self.store.close)
            self.engines = Engines(self._embedded, settings.engine, settings.spark, settings.spark_settings)
            self.files.cluster = self._cluster
            self.jobs = self._jobs()
            opened.callback(self.jobs.close)
            self._opened = opened.pop_all()

    def _embedded(self) -> DuckDBEngine:
        settings = self.settings
        share = settings.memory_limit or _memory_share(settings.workers)
        return DuckDBEngine(memory_limit=share, disk_limit=settings.disk_limit, threads=settings.threads)

    def _cluster(self, name: EngineName | None) -> Cluster | None:
        engine = self.engines.get(name)
        return engine if isinstance(engine, Cluster) else None

    def _jobs(self) -> Jobs:
        return Jobs(
            self.settings.home,
            files=self.files,
            store=self.store,
            engine=self.engines.get(),
            engines=self.engines,
            workers=self.settings.workers,
            days=self.settings.store_days,
            after=self._make_csv,
        )

    def _make_csv(self, result_id: str) -> None:
        with self.store.lease(result_id) as lease:
            self.download(lease, "csv")

    def download(self, lease: Lease, form: str = "csv", filter: Filter = EVERYTHING) -> Path:
        """The rows of a result that a filter means as a file (see FORMS), kept with the result for the next time.

        Raises:
            PlanError: the filter names what this result has not.
            StoreError: there is no room for it.
        """
        suffix = FORMS[form].suffix
        if filter == EVERYTHING:
            return self.store.file(lease, f"rows{suffix}", FORMS[form].write)
        named = hashlib.sha256(json.dumps(filter.to_query()).encode()).hexdigest()[:16]
        return self.store.file(lease, f"{FILTERED}{named}{suffix}", self._filtered(lease, form, filter), passing=FILTERED)

    def _filtered(self, lease: Lease, form: str, filter: Filter) -> Callable[[Result, Path], None]:
        """What writes the rows that a filter means."""
        how = FORMS[form]
        if how.writes("filter"):
            return partial(how.write, filter=filter)
        wanted = positions(lease.result, filter, size=max(lease.result.summary.differing_rows, 1))
        if how.writes("only"):
            return partial(how.write, only=wanted)
        whole = self.download(lease, form)
        return lambda _, path: _copy_records(whole, path, wanted, quoted=how.is_csv)

    def close(self) -> None:
        """Stop the jobs and let go of the folder."""
        self._opened.close()


def _copy_records(whole: Path, path: Path, wanted: Iterable[int], *, quoted: bool) -> None:
    """Copy the records with these numbers, in ascending order; of a CSV (`quoted`) the header too.

    A record of a CSV goes on to the next line where a quote is open.
    """
    numbers = iter(wanted)
    number, next_wanted, inside = -1 if quoted else 0, -1 if quoted else next(numbers, None), False
    with whole.open("rb") as rows, path.open("wb") as out:
        for line in rows:
            if number == next_wanted:
                out.write(line)
            inside ^= quoted and line.count(b'"') % 2 == 1
            if not inside:
                next_wanted = next(numbers, None) if number == next_wanted else next_wanted
                number += 1


def _memory_share(workers: int) -> str:
    """What each comparison may take when all of them, and the totals of one, run together."""
    return f"{int(memory() * MEMORY_SHARE) // (workers + 1) >> 20}MiB"


_SHARED = vars(sys)
"""Where the one `Services` is: unlike this module, `sys` is not loaded anew when the source changes."""


def services() -> Services:
    """The services of this process, opened at the first call.

    Raises:
        DiffError: the settings make no sense, or another server uses the same folder.
    """
    with _SHARED.setdefault("_diffing_lock", threading.Lock()):
        if "_diffing_services" not in _SHARED:
            _SHARED["_diffing_services"] = Services(Settings.from_environment())
        found: Services = _SHARED["_diffing_services"]
        return found


def close_services() -> None:
    """Close the services of this process, if there are any."""
    with _SHARED.setdefault("_diffing_lock", threading.Lock()):
        found = _SHARED.pop("_diffing_services", None)
    if found:
        found.close()
