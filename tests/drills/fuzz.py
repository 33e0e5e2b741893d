"""Does anything at all end in an answer or a refusal? `python -m tests.drills.fuzz [seconds] [what …]`

What: sources, pairs, plans, api, pages; the time is split between them.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient

from diffing import views
from diffing.api import FIELDS, FILTER_NAMES, routes
from diffing.asgi import middleware
from diffing.dialects import NO_DELIMITER, DialectChoice
from diffing.engines.duckdb import DuckDBEngine
from diffing.errors import DiffError
from diffing.jobs import JobState
from diffing.plan import Choices, Plan, make_plan
from diffing.plan_json import from_plain, plan_from_json, plan_to_json
from diffing.records import BadLines, check_records
from diffing.result import Result, Summary
from diffing.services import Services, Settings
from diffing.sources import Source, open_source
from diffing.views import DIFFERING, By, Filter, Order
from tests.drills._inputs import KINDS, bad_lines_far_down, too_much
from tests.drills.dirty import read_rows

SECONDS = 60
ROUND = 10
"""Examples with one seed; then the clock is looked at."""
LARGEST = 4096
"""Bytes of a file that is mutated."""
DATA = Path(__file__).parent.parent / "data"
ENGINE = DuckDBEngine(threads=1, memory_limit="1GB")
FREELY = settings(
    max_examples=ROUND, deadline=None, database=None, phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck)
)


# --- files -----------------------------------------------------------------------------------------

PIECES = [
    *(b', ; | \t " "" \' \n \r\n \r \0 \xff \xe9 \xc3 \x80 \x01 \x1a \x1f \xef\xbb\xbf \xff\xfe \xfe\xff \x1f\x8b'.split(b" ")),
    *(b"sep=; # 1 -1 1.5 1e400 007 2024-01-05 2024-02-30T10:00Z NULL nan id,v 1,a".split(b" ")),
    b"PK\x03\x04", b"PAR1", b" ", b"\n\n", b'"\n', b',"', b'",', "ä".encode(), "漢".encode(), "😀".encode("utf-16-le"), b"\0" * 9,
    b"x" * 300, b"," * 40, b'"a"b,',
]  # fmt: skip


@cache
def real_files() -> list[bytes]:
    """The test data, and some of the dirty files, each cut to a size that is quick to read."""
    kinds = [kind for kind in KINDS if kind not in (bad_lines_far_down, too_much)]
    made = [each.data for kind in kinds for each in islice(kind(), 0, None, 40)]
    return [path.read_bytes()[:LARGEST] for path in sorted(DATA.rglob("*")) if path.is_file()] + made


@dataclass(frozen=True)
class Edit:
    """Where a piece goes into a file, and how many bytes it takes the place of."""

    at: int
    length: int
    piece: bytes

    def __call__(self, data: bytes) -> bytes:
        at = self.at % (len(data) + 1)
        return data[:at] + self.piece + data[at + self.length :]


def edits() -> st.SearchStrategy[Edit]:
    pieces = st.sampled_from(PIECES) | st.binary(max_size=4) | st.just(b"")
    return st.builds(Edit, st.integers(0, LARGEST), st.sampled_from((0, 0, 1, 1, 2, 7, 100)), pieces)


def contents() -> st.SearchStrategy[bytes]:
    """Random bytes, random pieces of tables, and real files with a few edits."""
    return st.binary(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join) | mutated() | mutated()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = draw(st.sampled_from(real_files()))
    for edit in draw(st.lists(edits(), max_size=4)):
        data = edit(data)
    return data


def spellings() -> st.SearchStrategy[dict[str, Any]]:
    """What a user may say of a file: mostly nothing, and sometimes what can't be."""
    said = {
        "delimiter": st.sampled_from((",", ";", "\t", '"', "§", NO_DELIMITER, "\x1c", " ", "")),
        "quote": st.sampled_from(('"', "'", "", "|", "“")),
        "encoding": st.sampled_from(("utf-8", "utf-16", "latin-1", "windows-1252", "utf-16-le", "utf-7", "cp037", "utf-8-sig", "rot13")),
        "header": st.booleans(),
        "skip_rows": st.sampled_from((0, 1, 3, 1000, -1)),
        "skip_after_header": st.sampled_from((0, 0, 1, 5)),
    }
    return st.just({}) | st.fixed_dictionaries({}, optional=said)


def refused_or(ask: Callable[[], Any]) -> Any:
    """What is answered; None if it is refused as a person can understand."""
    try:
        return ask()
    except DiffError as error:
        refusal = error
    assert refusal.message, "a refusal without a message"
    assert "please report" not in refusal.hint, f"{refusal.message} | {refusal.hint}"
    return None


def fuzz_sources(data: bytes, said: dict[str, Any]) -> None:
    """A file is described and read, and every row has all its cells; or it is refused."""
    with TemporaryDirectory() as folder:
        source = refused_or(lambda: _written(data, Path(folder), said))
        if source is None or source.format != "csv" or not source.columns:
            return
        refused_or(lambda: check_records(source.body, BadLines.REFUSE, Path(folder) / "refused.csv"))
        for bad_lines in (BadLines.SKIP, BadLines.FILL):
            records = refused_or(lambda how=bad_lines: check_records(source.body, how, Path(folder) / f"{how}.csv"))
            if records:
                rows = read_rows(records, source)
                assert len(rows) == records.rows, f"{records.rows} rows are counted, {len(rows)} are read"
                assert {len(row) for row in rows} <= {len(source.columns)}


def _written(data: bytes, folder: Path, said: dict[str, Any], name: str = "fuzzed.csv") -> Source:
    (folder / name).write_bytes(data)
    return open_source(folder / name, workdir=folder, choice=DialectChoice(**said))


def fuzz_pairs(data: bytes, edit: Edit, said: dict[str, Any], bad_lines: BadLines) -> None:
    """A file and an edit of it are compared, and the counts add up; against itself nothing differs."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        old = refused_or(lambda: _written(data, folder, said, "old.csv"))
        new = refused_or(lambda: _written(edit(data), folder, said, "new.csv"))
        if old and (itself := _summary(old, old, bad_lines, folder)):
            assert (itself.added, itself.removed, itself.changed) == (0, 0, 0), itself
        if old and new and (found := _summary(old, new, bad_lines, folder)):
            assert_adds_up(found)


def assert_adds_up(found: Summary) -> None:
    assert found.old.rows == found.unchanged + found.changed + found.removed, found
    assert found.new.rows == found.unchanged + found.changed + found.added, found


def _summary(old: Source, new: Source, bad_lines: BadLines, folder: Path) -> Any:
    folder = folder / "result"
    folder.mkdir(exist_ok=True)
    plan = refused_or(lambda: make_plan(old, new, Choices(bad_lines=bad_lines)))
    return refused_or(lambda: ENGINE.run(plan, folder).summary) if plan else None


# --- plans -----------------------------------------------------------------------------------------

NAMES = ("id", "v", "day", "note", "", "nope", "v (2)", "old", "ID", "$v0", "c1", "a" * 300)
TEXTS = st.sampled_from((*NAMES, "\ud800", "%d.%m.%Y", "%Q", "number", "date", "text", "skip", "1%", "NULL")) | st.text(max_size=8)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
PLAIN_CHOICES = st.dictionaries(
    st.sampled_from([each.name for each in fields(Choices)]) | TEXTS,
    st.lists(TEXTS, max_size=3) | st.dictionaries(TEXTS, TEXTS, max_size=2) | st.booleans() | ANY_JSON
    | st.dictionaries(TEXTS, st.fixed_dictionaries({"absolute": st.floats() | ANY_JSON, "relative": st.floats()}), max_size=2),
    max_size=5,
)  # fmt: skip
OLD = "id,v,day,note\n1,1.5,2024-01-05,a\n2,2,2024-01-06,\n3,3,2024-01-07,c\n"
NEW = 'id,v,day,note\n1,1.50,2024-01-05 00:00:00,A\n2,2.25,2024-01-06,"two\nlines"\n4,1e400,,"x, ""y"""\n'


@contextmanager
def two_files() -> Iterator[tuple[Source, Source, Path]]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        sources = [_written(text.encode(), folder, {}, f"{side}.csv") for side, text in (("old", OLD), ("new", NEW))]
        yield sources[0], sources[1], folder


def fuzz_plans(files: tuple[Source, Source, Path], plain: Any, at: int, other: Any) -> None:
    """Choices from JSON make a plan that runs, or are refused; a plan whose JSON was damaged is read or refused."""
    old, new, folder = files
    choices = refused_or(lambda: from_plain(Choices, plain))
    plan = refused_or(lambda: make_plan(old, new, choices)) if choices else None
    if plan:
        assert plan_from_json(json.loads(json.dumps(plan_to_json(plan)))) == plan
        _run(plan, folder)
    damaged = json.loads(json.dumps(plan_to_json(make_plan(old, new))))
    _replace(damaged["plan"], at, other)
    refused_or(lambda: plan_from_json(damaged))


def _run(plan: Plan, folder: Path) -> None:
    result = folder / "result"
    result.mkdir(exist_ok=True)
    found = refused_or(lambda: ENGINE.run(plan, result).summary)
    if found:
        assert_adds_up(found)


def _replace(data: Any, at: int, other: Any) -> None:
    """Put something else in place of one of the values, counted through."""
    places = list(_places(data))
    where, name = places[at % len(places)]
    where[name] = other


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    for name, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield data, name
        yield from _places(value)


# --- the API ---------------------------------------------------------------------------------------

MARKS = ("~_", "~-", "~.", "~", ",", "", "added", "removed", "changed", "asc", "desc", *By, *views.Test, "1", "-1e9", "1e400", "2024-01-05")
STATES = st.lists(st.sampled_from((*MARKS, *NAMES)) | st.text(max_size=4), max_size=8).map("".join)
"""What stands in an address, more or less."""
QUERIES = st.lists(
    st.tuples(
        st.sampled_from((*FILTER_NAMES, "change", "format", "again", "sort", "page", "columns")) | st.text(max_size=5),
        STATES | st.sampled_from(("csv", "xlsx", "json", "parquet", "true", "added,changed", "%")),
    ),
    max_size=4,
)
FORMS = st.lists(st.tuples(st.sampled_from(FIELDS) | st.text(min_size=1, max_size=5), TEXTS | STATES), max_size=4)


@dataclass(frozen=True)
class Site:
    """The API on a folder, with one comparison that is done."""

    services: Services
    client: TestClient
    job: str


@contextmanager
def site() -> Iterator[Site]:
    with ExitStack() as opened:
        folder = Path(opened.enter_context(TemporaryDirectory()))
        (folder / "metrics.toml").write_text('[m]\nold = "old.csv"\nnew = "new.csv"\nkey = ["id"]\n')
        (folder / "old.csv").write_text(OLD)
        (folder / "new.csv").write_text(NEW)
        services = Services(Settings(home=folder / "home", metrics=folder / "metrics.toml", threads=1, memory_limit="500MB", workers=1))
        opened.callback(services.close)
        app = Starlette(routes=routes(lambda: services), middleware=middleware(lambda: services))
        client = opened.enter_context(TestClient(app, raise_server_exceptions=True))
        job = str(client.get("/api/diffing/new/m").json()["job_id"])
        services.jobs.wait(int(job), 20, totals=True)
        yield Site(services, client, job)


def fuzz_api(at: Site, method: str, path: str, query: list[tuple[str, str]], raw: str, form: list[tuple[str, str]], data: bytes) -> None:
    """Every call is answered: with a result, with progress, or with an error below 500 in JSON that has a hint."""
    paths = {"job": f"/api/diffing/job/{at.job}", "summary": f"/api/diffing/job/{at.job}/summary", "metric": "/api/diffing/new/m"}
    address = paths.get(path, f"/api/{quote(path, safe='/', errors='replace')}")
    method = "GET" if method == "DELETE" and path == "job" else method
    words = urlencode(query, errors="replace") if query else quote(raw, safe="%&=+;", errors="replace")
    _answered(at.client.request(method, f"{address}?{words}"))
    sent = [(name, (None, value.encode("utf-8", "replace"))) for name, value in form]
    files = [("old", ("old.csv", OLD.encode())), ("new", ("new.csv", data))]
    answer = at.client.post("/api/diffing/new", files=[*sent, *files])  # type: ignore[arg-type]
    _answered(answer)
    if answer.status_code == 200:
        job = at.services.jobs.wait(answer.json()["job_id"], 30)
        assert job.state in (JobState.DONE, JobState.FAILED), job
        assert job.state is JobState.DONE or "report" not in job.hint, f"{job.message} | {job.hint}"
        _answered(at.client.get(f"/api/diffing/job/{job.id}?{words}"))
        _answered(at.client.delete(f"/api/diffing/job/{job.id}"))


def _answered(answer: Any) -> None:
    assert answer.status_code < 500, f"{answer.status_code}: {answer.text[:300]}"
    if answer.status_code >= 400 and "json" in answer.headers.get("content-type", ""):
        assert {"error", "hint"} <= answer.json().keys(), answer.text


# --- the state of a page ---------------------------------------------------------------------------


@contextmanager
def a_result() -> Iterator[Result]:
    with two_files() as (old, new, folder):
        plan = make_plan(old, new, Choices(key=("id",)))
        (folder / "done").mkdir()
        yield ENGINE.run(plan, folder / "done")


def fuzz_pages(result: Result, query: list[tuple[str, str]], number: int, column: str) -> None:
    """What stands in an address is understood or left out, comes back the same, and is answered or refused."""
    said = dict(query)
    filter, order = Filter.from_query(said), Order.from_query(said)
    assert Filter.from_query(filter.to_query()) == filter
    assert Order.from_query(order.to_query()) == order
    fitting, fitting_order = filter.fitting(result.plan), order.fitting(result.plan)
    shown = views.page(result, fitting, fitting_order, number, 5)
    counted = views.count(result, fitting)
    assert len(shown.rows) <= sum(counted.values()) <= result.summary.differing_rows
    assert set(counted) == set(DIFFERING)
    for ask in (views.by_value, views.over_time, views.distribution, views.largest_changes):
        refused_or(lambda ask=ask: ask(result, column, filter=fitting))
    refused_or(lambda: views.page(result, filter, order))


# --- all of them -----------------------------------------------------------------------------------


@dataclass
class Fuzzed:
    """What ran: how many examples, for how long, and the first finding."""

    name: str
    examples: int = 0
    seconds: float = 0.0
    finding: str = ""


def strategies() -> dict[str, tuple[Callable[..., None], Callable[[], Any] | None, tuple[st.SearchStrategy[Any], ...]]]:
    """What is fuzzed: a function, what it needs open, and what is drawn for it."""
    bad_lines = st.sampled_from((BadLines.SKIP, BadLines.FILL, BadLines.REFUSE))
    methods = st.sampled_from(("GET", "GET", "GET", "POST", "DELETE", "PUT", "OPTIONS"))
    paths = (
        st.sampled_from(("job", "job", "summary", "metric", "diffing/metrics"))
        | st.text(max_size=12).map("diffing/job/{}".format)
        | st.text(max_size=12)
    )
    return {
        "sources": (fuzz_sources, None, (contents(), spellings())),
        "pairs": (fuzz_pairs, None, (contents(), edits(), spellings(), bad_lines)),
        "plans": (fuzz_plans, two_files, (PLAIN_CHOICES, st.integers(0, 500), ANY_JSON)),
        "api": (fuzz_api, site, (methods, paths, QUERIES, st.text(max_size=20), FORMS, contents())),
        "pages": (fuzz_pages, a_result, (QUERIES, st.integers(-3, 10**9), st.sampled_from(NAMES))),
    }


def fuzz(name: str, seconds: float, first_seed: int = 0) -> Fuzzed:
    """Draw examples until the time is over or one fails."""
    test, needs, drawn = strategies()[name]
    fuzzed = Fuzzed(name)
    started = time.monotonic()
    with needs() if needs else ExitStack() as opened:

        def once(*drawn: Any) -> None:
            fuzzed.examples += 1
            test(*([opened] if needs else []), *drawn)

        number = first_seed
        while not fuzzed.finding and time.monotonic() - started < seconds:
            fuzzed.finding = _failure(seed(number)(FREELY(given(st.tuples(*drawn))(lambda each: once(*each)))))
            number += 1
    fuzzed.seconds = time.monotonic() - started
    return fuzzed


def _failure(run: Callable[[], None]) -> str:
    try:
        run()
    except Exception as error:
        notes = "\n".join(getattr(error, "__notes__", ()))
        return f"{notes}\n{''.join(traceback.format_exception(error, limit=-6))}"
    return ""


def main(words: list[str]) -> int:
    seconds = float(words.pop(0)) if words and words[0].replace(".", "").isdigit() else SECONDS
    names = words or list(strategies())
    first_seed = time.time_ns() % 10**9
    print(f"First seed: {first_seed}.")
    found = [fuzz(name, seconds / len(names), first_seed) for name in names]
    print("| fuzzed | examples | seconds | findings |\n|---|---:|---:|---:|")
    for each in found:
        print(f"| {each.name} | {each.examples:,} | {each.seconds:.0f} | {int(bool(each.finding))} |")
    for each in found:
        if each.finding:
            print(f"\n{each.name}: {each.finding}")
    return int(any(each.finding for each in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
