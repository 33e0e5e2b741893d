"""Comparisons in the background: ask, watch, cancel, ask again.

One computation may serve several jobs: two people who ask the same share it, and each has a job.
What was asked and what became of it outlives the process; progress does not.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from diffing.demo import FILES as DEMO_FILES
from diffing.demo import ensure_demo
from diffing.dialects import DialectChoice
from diffing.engines import Engine, Watch
from diffing.engines.choosing import Engines, made_by
from diffing.errors import DiffError, EngineError, MetricError, PlanError, SourceError
from diffing.keys import KeySuggestion, suggest_keys
from diffing.metrics import Metric, load_metrics
from diffing.plan import PLAN_VERSION, Choices, EngineName
from diffing.plan_json import from_plain, to_plain
from diffing.preparing import NO_KEY_THERE, Cluster, Prepared, prepare
from diffing.result import Summary
from diffing.sources import Source, open_source
from diffing.store import Lease, Locks, ResultGone, State, Store, Stored, result_id
from diffing.uploads import Upload, Uploads

log = logging.getLogger(__name__)

JobId = int | str
"""Jobs of metrics count 1, 2, 3 …; jobs over uploaded files have an id that can't be guessed."""

MOST_WAITING = 200
"""Jobs that may queue; more are turned away."""
MOST_JOBS = 5_000
"""Jobs that are remembered; the oldest finished ones are forgotten first."""
SWEEP_EVERY = 600.0
"""Seconds between looks at ages and limits."""
CONVERTED_KEPT = 3_600.0
"""Seconds that converted copies of a metric's files are kept when nothing runs."""
LATER, LAST = 10, 15
"""The niceness of threads that compare, and of those that add up totals: whoever looks at a page or asks for a status goes first."""
PREPARING, MAKING_DEMO = "opening the files", "making the demo data"
STAGES = {
    MAKING_DEMO: (0.0, 0.0),
    PREPARING: (0.0, 0.02),
    "looking for a key in a sample": (0.02, 0.05),
    "reading the columns that could be the key": (0.05, 0.15),
    "trying keys on the whole files": (0.15, 0.22),
    "checking the key on the whole files": (0.22, 0.25),
    "reading both files": (0.25, 0.55),
    "cancelling identical rows": (0.55, 0.77),
    "matching rows": (0.77, 0.8),
    "comparing cells": (0.8, 0.9),
    "sorting the result": (0.9, 0.97),
    "counting": (0.97, 1.0),
}
"""The shares of the whole at which a stage begins and ends. A stage that is not here moves nothing."""


class Busy(EngineError):
    """Too many comparisons are waiting already."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting:,} comparisons are waiting already.", "Try again in a few minutes.")


class UnknownMetric(MetricError):
    """An id that is no metric."""


class UnknownJob(DiffError):
    """An id that is no job."""

    def __init__(self, id_: object) -> None:
        super().__init__(f"There is no job {id_}.", "It may have been deleted. Start a new comparison.")


class JobState(StrEnum):
    """What has become of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The server stopped before the job was done."""

    @property
    def active(self) -> bool:
        """Whether it is still to come to an end."""
        return self in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class Question:
    """What a person asks: which two files, compared how. Plain data, so it can be asked again."""

    metric: str | None = None
    """An id of the registry, or None for uploaded files."""
    uploads: tuple[str, ...] = ()
    """Ids of the old and the new file, in this order; empty for a metric."""
    choices: Choices = field(default_factory=Choices)
    """Without a key, one is suggested, unless `keyless`."""
    old_dialect: DialectChoice = field(default_factory=DialectChoice)
    new_dialect: DialectChoice = field(default_factory=DialectChoice)
    keyless: bool = False
    """Compare whole rows."""


@dataclass(frozen=True)
class Job:
    """A comparison that someone asked for, as it is now. Times are seconds since 1970."""

    id: JobId
    label: str
    """What people call it: the metric's title, or both file names."""
    stem: str
    """How the names of its downloads begin."""
    question: Question
    """As it was asked; with the key that was found, once it was."""
    owner: str
    """Who uploaded the files; empty for metrics."""
    state: JobState
    submitted: float
    stamp: str = ""
    """Jobs with the same ask the same about the same files."""
    started: float | None = None
    finished: float | None = None
    result_id: str | None = None
    """Where its result is in the store; None until the plan is made."""
    key_note: str = ""
    """Why this key, in words, if the user gave none."""
    from_cache: bool = False
    """Whether the answer was there already."""
    computed_at: float | None = None
    """When the result was computed, by this job or by an earlier one."""
    totals: JobState | None = None
    """What has become of the totals, a stage of their own; None until the job is done."""
    message: str = ""
    hint: str = ""
    error: tuple[str, ...] = ()
    """Why it failed: the names of the error's class and of those above it."""
    stage: str = ""
    """What it is doing, while it runs."""
    share: float = 0.0
    """How much is done, 0 to 1."""
    position: int | None = None
    """Place in the queue, from 1, while it waits."""
    elapsed: float | None = None
    """Seconds it runs, or ran."""


def kinds_of(error: DiffError) -> tuple[str, ...]:
    """The names of an error's class and of those above it, the narrowest first."""
    return tuple(each.__name__ for each in type(error).__mro__ if issubclass(each, DiffError))


def demo_folder(metric: Metric) -> Path | None:
    """Where the demo data of a metric belong; None if it is no metric of the demo."""
    there = metric.old.parent
    return there if {metric.old.name, metric.new.name} <= set(DEMO_FILES) and metric.new.parent == there else None


class Files:
    """Finds the files that questions are about, and makes plans of questions."""

    def __init__(self, home: Path, registry: Path, uploads: Uploads, *, demo: Callable[[Path], object] = ensure_demo) -> None:
        """`demo` writes the demo data into a folder, unless they are there."""
        self.registry, self.uploads, self._demo = registry, uploads, demo
        self.cluster: Callable[[EngineName | None], Cluster | None] = lambda engine: None
        self.converted, self.work = home / "converted", home / "work"
        self._private = (str(home.absolute()), str(registry.absolute().parent))
        self._opening = Locks()
        shutil.rmtree(self.work, ignore_errors=True)
        for folder in (self.converted, self.work):
            folder.mkdir(parents=True, exist_ok=True)

    def metrics(self) -> dict[str, Metric]:
        """The registry as it is now."""
        return load_metrics(self.registry)

    def metric(self, id_: str) -> Metric:
        """One entry of it.

        Raises:
            UnknownMetric: there is none with this id.
        """
        metrics = self.metrics()
        if id_ not in metrics:
            raise UnknownMetric(f"There is no metric “{id_}”.", f"The metrics are {', '.join(metrics) or 'none yet'}.")
        return metrics[id_]

    def ask(self, metric_id: str) -> Question:
        """The question that a metric is."""
        metric = self.metric(metric_id)
        old, new = DialectChoice(**metric.old_dialect), DialectChoice(**metric.new_dialect)
        return Question(metric_id, (), metric.choices, old, new, keyless=not metric.choices.key)

    def engine(self, question: Question) -> EngineName | None:
        """The engine that the metric of a question asks for."""
        return self.metric(question.metric).engine if question.metric else None

    def pair(self, question: Question, owner: str) -> tuple[Source, Source]:
        """Both files described.

        Raises:
            DiffError: a file is missing, or is no table.
        """
        if question.metric is None:
            old, new = self._uploaded(question, owner)
            return self.uploads.source(old, question.old_dialect), self.uploads.source(new, question.new_dialect)
        metric = self.metric(question.metric)
        metric.check_files()
        return self._placed(metric, "old", question.old_dialect), self._placed(metric, "new", question.new_dialect)

    def _placed(self, metric: Metric, side: str, choice: DialectChoice) -> Source:
        place = metric.place(side)
        if isinstance(place, Path):
            return self.registered(place, choice)
        cluster = self.cluster(metric.engine)
        assert cluster, "only metrics that ask for Spark have such places"
        with self._opening.of(place):
            return cluster.describe(place, self.converted, choice)

    def registered(self, path: Path, choice: DialectChoice) -> Source:
        """One file of a metric described."""
        with self._opening.of(str(path)):
            return open_source(path, workdir=self.converted, choice=choice)

    def _uploaded(self, question: Question, owner: str) -> tuple[Upload, Upload]:
        if len(question.uploads) != len(("old", "new")):
            raise SourceError("Two files are needed, an old and a new one.", "Upload both.")
        old, new = question.uploads
        return self.uploads.get(old, owner), self.uploads.get(new, owner)

    @contextmanager
    def workdir(self) -> Iterator[Path]:
        """A folder for what is needed on disk for a moment."""
        with tempfile.TemporaryDirectory(dir=self.work, ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    def prepare(self, question: Question, owner: str, watch: Watch | None = None) -> Prepared:
        """The plan that answers a question.

        Raises:
            DiffError: the files can't be compared like that.
        """
        watch = watch or Watch()
        self._complete(question, watch)
        old, new = self.pair(question, owner)
        with self.workdir() as folder:
            found = self._suggested(old, new, question, folder, watch)
            choices = replace(question.choices, key=found.columns) if found else question.choices
            cluster = self.cluster(self.engine(question))
            prepared = prepare(old, new, choices, workdir=folder, keyless=question.keyless, cluster=cluster)
        return replace(prepared, suggestion=found)

    def make_demo(self, folder: Path) -> object:
        """Write the demo data, unless they are there.

        Raises:
            MetricError: they can't be written.
        """
        with self._opening.of(str(folder)):
            return self._demo(folder)

    def _complete(self, question: Question, watch: Watch) -> None:
        """Make the demo data if this is the first question about them."""
        metric = self.metric(question.metric) if question.metric else None
        folder = demo_folder(metric) if metric and metric.missing else None
        if folder:
            watch.report(MAKING_DEMO, None)
            self.make_demo(folder)
            watch.check()

    def _suggested(self, old: Source, new: Source, question: Question, folder: Path, watch: Watch) -> KeySuggestion | None:
        """The key to use if the question names none."""
        if question.choices.key or question.keyless or not (old.columns or new.columns):
            return None
        if old.location or new.location:
            raise PlanError(*NO_KEY_THERE)
        choices = question.choices
        found = suggest_keys(old, new, workdir=folder, rename=choices.rename, ignore=choices.ignore, watch=watch)
        if found:
            return found[0]
        what = f"No column of {old.name} and {new.name}, nor up to six together, names their rows."
        raise PlanError(what, "Choose the columns that do, or compare whole rows.")

    def stamp(self, question: Question, owner: str) -> str:
        """What two questions share when they ask the same about the same content; the files are not read.

        Raises:
            DiffError: a file is missing.
        """
        asked = {**to_plain(question), "uploads": [], "files": self._identities(question, owner), "version": PLAN_VERSION}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]

    def _identities(self, question: Question, owner: str) -> list[Any]:
        if question.metric is None:
            return [[each.digest, each.name] for each in self._uploaded(question, owner)]
        metric = self.metric(question.metric)
        if metric.missing and demo_folder(metric):
            return [MAKING_DEMO, metric.id]
        metric.check_files()
        return [_identity(metric.place(side)) for side in ("old", "new")]

    def names(self, question: Question, owner: str) -> tuple[str, str]:
        """What people call the question, and how the names of its downloads begin."""
        if question.metric is not None:
            return self.metric(question.metric).title, question.metric
        old, new = self._uploaded(question, owner)
        return f"{old.name} → {new.name}", new.name.partition(".")[0] or new.name

    def without_paths(self, text: str) -> str:
        """A text that tells nobody where the server keeps its files."""
        for folder in self._private:
            text = text.replace(f"{folder}/", "")
        return text

    def sweep(self) -> None:
        """Remove converted copies of metrics; to be called when nothing reads them."""
        for path in self.converted.iterdir():
            if time.time() - path.stat().st_mtime > CONVERTED_KEPT:
                path.unlink(missing_ok=True)


def _identity(place: Path | str) -> list[Any]:
    """What tells a file from what it was before; of what a cluster reads nothing is known before it is asked."""
    if isinstance(place, str):
        return [place, secrets.token_hex()]
    return [str(place), place.stat().st_size, place.stat().st_mtime_ns]


@dataclass(eq=False)
class _Run:
    """A computation while it waits and runs, and the jobs it is for."""

    question: Question
    owner: str
    again: bool
    jobs: set[JobId]
    watch: Watch = field(default_factory=Watch)
    stage: str = PREPARING
    share: float = 0.0

    def __post_init__(self) -> None:
        self.watch.report = self.report

    def report(self, stage: str, share: float | None) -> None:
        """Told by the engine, and by what prepares the plan."""
        begin, end = STAGES.get(stage, (self.share, self.share))
        self.stage, self.share = stage, max(self.share, begin + (end - begin) * (share or 0.0))


class Jobs:
    """The comparisons of one server. Safe to use from any thread; nothing here waits for a comparison but `wait`."""

    def __init__(
        self,
        home: Path,
        *,
        files: Files,
        store: Store,
        engine: Engine,
        engines: Engines | None = None,
        workers: int = 2,
        days: float = 30,
        after: Callable[[str], object] = lambda result_id: None,
    ) -> None:
        """`engine` runs what no metric asks another of `engines` for. `days`: how long finished jobs are remembered.
        `after`: what is done with a result's id, in the background, once the result is there and before its totals are."""
        self.files, self.store, self.days, self.after = files, store, days, after
        self.engine, self.engines = engine, engines
        self.uploads = files.uploads
        self._lock = threading.Condition(threading.RLock())
        self._state = State(home / "jobs")
        self._queue: deque[_Run] = deque()
        self._runs: dict[JobId, _Run] = {}
        self._computing: dict[str, _Run] = {}
        self._extras: deque[tuple[str, tuple[str, ...]]] = deque()
        self._extra = ("", Watch())
        self._closed = False
        self._jobs: dict[JobId, Job] = {}
        self._next_id, self._swept = 1, time.monotonic()
        with self._lock:
            self._load()
        self._threads = [threading.Thread(target=self._work, name=f"comparison-{i}", daemon=True) for i in range(workers)]
        self._threads.append(threading.Thread(target=self._work_on_extras, name="totals", daemon=True))
        for thread in self._threads:
            thread.start()

    # --- asking ------------------------------------------------------------------------------------

    def submit_metric(self, metric_id: str, *, again: bool = False) -> Job:
        """Compare the files of a metric as the registry says.

        Raises:
            MetricError: there is no such metric, or a file of it is missing.
            Busy: too many jobs wait.
        """
        return self.submit(self.files.ask(metric_id), again=again)

    def submit(self, question: Question, *, owner: str = "", again: bool = False) -> Job:
        """Ask a question. It is answered at once if the answer is stored, unless `again`.

        Who asks what is being computed for them already gets that job.

        Raises:
            DiffError: a file is missing; what is wrong inside the files shows later, in the job.
            Busy: too many jobs wait.
        """
        owner = "" if question.metric else owner
        label, stem = self.files.names(question, owner)
        stamp = self.files.stamp(question, owner)
        with self._lock:
            same = self._asked_already(stamp, owner) if question.metric or owner else None
            if same:
                return self._live(same, self._runs.get(same.id))
            id_ = self._new_id(question)
            job = Job(id_, label, stem, question, owner, JobState.QUEUED, time.time(), stamp)
            known = None if again else self._answer(job)
            if known is None:
                self._enqueue(job, again)
            return self._live(self._save(known or job), self._runs.get(job.id))

    def run_again(self, id_: JobId) -> Job:
        """Ask what a job asked, once more; the answer is computed anew if the job had one.

        Raises:
            UnknownJob: there is no such job.
            DiffError: a file is missing, or no longer kept.
        """
        job = self.get(id_)
        return self.submit(job.question, owner=job.owner, again=job.state is JobState.DONE)

    def _asked_already(self, stamp: str, owner: str) -> Job | None:
        active = (self._jobs[id_] for id_ in self._runs)
        return next((job for job in active if (job.stamp, job.owner) == (stamp, owner)), None)

    def _new_id(self, question: Question) -> JobId:
        if question.metric is None:
            return secrets.token_urlsafe(16)
        id_, self._next_id = self._next_id, self._next_id + 1
        self._state.write("next", self._next_id)
        return id_

    def _answer(self, job: Job) -> Job | None:
        """The job, done, if an earlier one asked the same and its result is stored."""
        asked = (each for each in self._jobs.values() if each.stamp == job.stamp and each.state is JobState.DONE)
        before = max(asked, key=lambda each: each.submitted, default=None)
        stored = self._stored(before.result_id) if before else None
        if before is None or stored is None:
            return None
        found = replace(job, question=replace(before.question, uploads=job.question.uploads), key_note=before.key_note)
        return self._done(found, stored, from_cache=True)

    def _stored(self, id_: str | None) -> Stored | None:
        """What the store has of a result that can still be read."""
        with suppress(ResultGone), self.store.lease(id_ or "") as lease:
            return lease.stored
        return None

    def _enqueue(self, job: Job, again: bool) -> None:
        if len(self._queue) >= MOST_WAITING:
            raise Busy(len(self._queue))
        run = _Run(job.question, job.owner, again, {job.id})
        self.uploads.hold(job.question.uploads)
        self._queue.append(run)
        self._runs[job.id] = run
        self._lock.notify_all()

    # --- watching ----------------------------------------------------------------------------------

    def get(self, id_: JobId) -> Job:
        """A job as it is now. Who holds the lock may be writing to the disk, so it is waited for only between two states.

        Raises:
            UnknownJob: there is none with this id.
        """
        job, run = self._jobs.get(id_), self._runs.get(id_)
        if job is None or (job.state.active and run is None):
            with self._lock:
                job, run = self._jobs.get(id_), self._runs.get(id_)
        if job is None:
            raise UnknownJob(id_)
        return self._live(job, run)

    def list(self, owner: str = "") -> list[Job]:
        """The jobs of metrics, and of this owner's uploads; newest first."""
        with self._lock:
            shown = [job for job in self._jobs.values() if job.question.metric or (owner and job.owner == owner)]
            return [self._live(job, self._runs.get(job.id)) for job in sorted(shown, key=lambda job: job.submitted, reverse=True)]

    def wait(self, id_: JobId, timeout: float | None = None, *, totals: bool = False) -> Job:
        """A job when it has come to an end (with `totals`: they too), or as it is when the time (in seconds) is up."""

        def over() -> bool:
            job = self.get(id_)
            return not job.state.active and not (totals and job.totals and job.totals.active)

        with self._lock:
            self._lock.wait_for(over, timeout)
            return self.get(id_)

    def lease(self, job: Job) -> Lease:
        """The result of a job, to use (see `Store.lease`).

        Raises:
            ResultGone: it is not there (yet), or was removed.
        """
        return self.store.lease(_result_of(job))

    def at_hand(self, job: Job) -> Summary | None:
        """The summary of a job's result, if that takes no waiting (see `Store.at_hand`)."""
        return self.store.at_hand(job.result_id or "")

    def peek(self, job: Job) -> Lease:
        """The result of a job, to look at (see `Store.peek`).

        Raises:
            ResultGone: it is not there (yet), or was removed.
        """
        return self.store.peek(_result_of(job))

    def _live(self, job: Job, run: _Run | None) -> Job:
        """A job with the progress of its run, if it has one."""
        elapsed = max((job.finished or time.time()) - job.started, 0.0) if job.started else None  # the clock may go back
        if run is None:
            return replace(job, elapsed=elapsed if job.finished else None, share=float(job.state is JobState.DONE))
        if job.state is JobState.QUEUED:
            waiting = tuple(self._queue)
            return replace(job, stage="waiting", position=waiting.index(run) + 1 if run in waiting else 1)
        return replace(job, stage=run.stage, share=run.share, elapsed=elapsed)

    # --- ending ------------------------------------------------------------------------------------

    def cancel(self, id_: JobId) -> Job:
        """Stop a job; the computation stops with it, unless another job waits for the same.

        Raises:
            UnknownJob: there is none with this id.
        """
        with self._lock:
            job = self.get(id_)
            run = self._runs.pop(id_, None)
            if run is None:
                return job
            run.jobs.discard(id_)
            if not run.jobs:
                run.watch.cancelled.set()
                if run in self._queue:
                    self._queue.remove(run)
            return self._ended(replace(self._jobs[id_], state=JobState.CANCELLED))

    def delete(self, id_: JobId) -> None:
        """Forget a job, and its result if no other job has it.

        Raises:
            UnknownJob: there is none with this id.
        """
        with self._lock:
            self.cancel(id_)
            job = self._jobs.pop(id_)
            self._state.write(str(id_), None)
            if job.result_id:
                self._forget_result(job.result_id)

    def _forget_result(self, id_: str) -> None:
        """Remove a result that is no job's."""
        if any(job.result_id == id_ and job.state is not JobState.CANCELLED for job in self._jobs.values()):
            return
        if self._extra[0] == id_:
            self._extra[1].cancelled.set()
        self.store.remove(id_)

    def close(self) -> None:
        """Stop everything that runs; it will show as interrupted."""
        with self._lock:
            self._closed = True
            for run in {*self._runs.values()}:
                self._interrupt(run)
            self._extra[1].cancelled.set()
            self._lock.notify_all()
        for thread in self._threads:
            thread.join(timeout=2)
        self._state.close()

    def _interrupt(self, run: _Run) -> None:
        for id_ in run.jobs:
            self._runs.pop(id_)
            self._ended(_interrupted(self._jobs[id_]))
        run.jobs.clear()
        run.watch.cancelled.set()

    def _ended(self, job: Job) -> Job:
        self.uploads.release(job.question.uploads)
        saved = self._save(replace(job, finished=time.time()))
        self._lock.notify_all()
        return self._live(saved, None)

    def _save(self, job: Job) -> Job:
        self._jobs[job.id] = job
        self._state.write(str(job.id), to_plain(job))
        return job

    # --- running -----------------------------------------------------------------------------------

    def _work(self) -> None:
        _yield_to_others(LATER)
        while (run := self._next_run()) is not None:
            try:
                self._answer_run(run)
            except DiffError as error:
                self._fail(run, error)
            except Exception:
                log.exception("A comparison stopped unexpectedly.")
                self._fail(run, EngineError("The comparison stopped unexpectedly.", "Run it again. The server's log says more."))

    def _next_run(self) -> _Run | None:
        with self._lock:
            self._lock.wait_for(lambda: self._queue or self._closed)
            if self._closed:
                return None
            run = self._queue.popleft()
            for id_ in run.jobs:
                self._save(replace(self._jobs[id_], state=JobState.RUNNING, started=time.time()))
            return run

    def _answer_run(self, run: _Run) -> None:
        """Prepare, then find the answer, wait for it with others, or compute it."""
        prepared = self.files.prepare(run.question, run.owner, run.watch)
        run.watch.check()
        id_ = result_id(prepared.plan)
        with self._lock:
            self._learn(run, prepared, id_)
            stored = None if run.again else self._stored(id_)
            if stored:
                self._complete(run, stored, from_cache=True)
            if stored or self._joins(run, id_):
                return
            self._computing[id_] = run
        try:
            engine = self._engine(self.files.engine(run.question))
            stored = self.store.compute(prepared.plan, lambda folder: engine.run(prepared.plan, folder, run.watch))
        finally:
            with self._lock:
                if self._computing.get(id_) is run:
                    del self._computing[id_]
        self._complete(run, stored, from_cache=False)

    def _engine(self, name: EngineName | None) -> Engine:
        """An engine by its name; the usual one if there is no other."""
        return self.engine if self.engines is None or name in (None, self.engine.name) else self.engines.get(name)

    def _learn(self, run: _Run, prepared: Prepared, id_: str) -> None:
        """Write down what preparing found: the key, and where the result will be."""
        key = tuple(pair.name for pair in prepared.plan.key)
        note = prepared.suggestion.in_words if prepared.suggestion else ""
        for each in run.jobs:
            job = self._jobs[each]
            asked = replace(job.question, choices=replace(job.question.choices, key=key)) if note else job.question
            self._save(replace(job, result_id=id_, question=asked, key_note=note))

    def _joins(self, run: _Run, id_: str) -> bool:
        """Let a run that computes the same answer serve the jobs of this one too, if there is one."""
        other = self._computing.get(id_)
        if other is None or not other.jobs:
            return False
        other.jobs |= run.jobs
        self._runs.update(dict.fromkeys(run.jobs, other))
        return True

    def _complete(self, run: _Run, stored: Stored, *, from_cache: bool) -> None:
        with self._lock:
            for id_ in run.jobs:
                del self._runs[id_]
                self._ended(self._done(self._jobs[id_], stored, from_cache=from_cache))
            if not run.jobs:
                self._forget_result(stored.id)

    def _done(self, job: Job, stored: Stored, *, from_cache: bool) -> Job:
        """The job with an answer; its totals are asked for if they are not there."""
        totals = JobState.DONE if self._has_totals(stored.id) else JobState.QUEUED
        if totals is JobState.QUEUED:
            self._ask_for_extras(stored.id, job.question.uploads)
        now = time.time()
        done = replace(job, state=JobState.DONE, result_id=stored.id, from_cache=from_cache, totals=totals)
        return replace(done, computed_at=stored.computed, started=job.started or now, finished=now)

    def _fail(self, run: _Run, error: DiffError) -> None:
        message, hint = self.files.without_paths(error.message), self.files.without_paths(error.hint)
        with self._lock:
            for id_ in run.jobs:
                del self._runs[id_]
                failed = replace(self._jobs[id_], state=JobState.FAILED, message=message, hint=hint)
                self._ended(replace(failed, error=kinds_of(error)))

    # --- totals, and what else can wait --------------------------------------------------------------

    def _has_totals(self, id_: str) -> bool:
        with suppress(ResultGone), self.store.peek(id_) as lease:
            return lease.result.summary.whole_files
        return True

    def _ask_for_extras(self, id_: str, uploads: tuple[str, ...]) -> None:
        if id_ == self._extra[0] or any(id_ == waiting for waiting, _ in self._extras):
            return
        self.uploads.hold(uploads)
        self._extras.append((id_, uploads))
        self._lock.notify_all()

    def _work_on_extras(self) -> None:
        """One at a time, and none while comparisons wait; between them, sweep."""
        _yield_to_others(LAST)
        while not self._closed:
            id_, uploads = self._next_extra()
            try:
                if id_:
                    self._add_extras(id_)
                if time.monotonic() - self._swept > SWEEP_EVERY:
                    self.sweep()
            except Exception:
                log.exception("Work in the background stopped unexpectedly.")
            with self._lock:
                self._extra = ("", Watch())
                self.uploads.release(uploads)

    def _next_extra(self) -> tuple[str, tuple[str, ...]]:
        """A result that lacks something, and the uploads it is of; nothing when it is time to sweep."""
        with self._lock:
            ready = self._lock.wait_for(lambda: self._closed or (self._extras and not self._queue), SWEEP_EVERY)
            found = self._extras.popleft() if ready and not self._closed else ("", ())
            self._extra = (found[0], Watch())
            return found

    def _add_extras(self, id_: str) -> None:
        watch = self._extra[1]
        self._set_totals(id_, JobState.RUNNING)
        try:
            self._do_after(id_)
            self.store.update(id_, lambda result: self._engine(made_by(result)).add_totals(result, watch))
            self._set_totals(id_, JobState.DONE)
        except DiffError as error:
            log.info("No totals: %s", error.message)
            self._set_totals(id_, JobState.QUEUED if self._closed else JobState.FAILED)

    def _do_after(self, id_: str) -> None:
        try:
            self.after(id_)
        except DiffError as error:
            log.info("Not done after a comparison: %s", error.message)

    def _set_totals(self, id_: str, state: JobState) -> None:
        with self._lock:
            for job in [each for each in self._jobs.values() if each.result_id == id_ and each.state is JobState.DONE]:
                self._save(replace(job, totals=state))
            self._lock.notify_all()

    def sweep(self) -> None:
        """Hold to the limits of age and size: results, uploads, converted copies, jobs."""
        self._swept = time.monotonic()
        self.store.sweep()
        self.uploads.sweep()
        with self._lock:
            if not (self._runs or self._extras or self._extra[0]):
                self.files.sweep()
            self._forget_old_jobs()

    def _forget_old_jobs(self) -> None:
        ended = sorted((job for job in self._jobs.values() if not job.state.active), key=lambda job: job.submitted)
        spare = len(self._jobs) - MOST_JOBS
        for place, job in enumerate(ended):
            if place < spare or time.time() - job.submitted > self.days * 86_400:
                del self._jobs[job.id]
                self._state.write(str(job.id), None)

    # --- starting ----------------------------------------------------------------------------------

    def _load(self) -> None:
        """Remember the jobs of earlier runs of the server; those that were not done are interrupted."""
        known = self._state.read()
        self._next_id = int(known.pop("next", 1))
        for job in _readable(known.values()):
            self._jobs[job.id] = job
            if job.state.active:
                self._save(_interrupted(job))
        numbers = [id_ for id_ in self._jobs if isinstance(id_, int)]
        self._next_id = max([self._next_id, *(id_ + 1 for id_ in numbers)])
        for job in list(self._jobs.values()):
            if job.totals and job.totals.active:
                self._resume_totals(job)

    def _resume_totals(self, job: Job) -> None:
        if self.store.find(job.result_id or "") is None:
            self._save(replace(job, totals=JobState.FAILED))
        else:
            self._ask_for_extras(job.result_id or "", job.question.uploads)


def _result_of(job: Job) -> str:
    if job.state is not JobState.DONE or job.result_id is None:
        raise ResultGone
    return job.result_id


def _readable(values: Iterable[Any]) -> Iterable[Job]:
    for value in values:
        try:
            yield from_plain(Job, value)
        except DiffError as error:
            log.warning("A job of an earlier run can't be read: %s", error.message)


def _interrupted(job: Job) -> Job:
    return replace(job, state=JobState.INTERRUPTED, message="The server stopped before this was done.", hint="Run it again.")


def _yield_to_others(niceness: int) -> None:
    """Let others go before this thread and the engine's threads that it starts, as far as the system knows of such things."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
