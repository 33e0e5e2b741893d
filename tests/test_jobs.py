"""Do comparisons in the background queue, share, stop, survive, and answer from the store?"""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from diffing.demo import ensure_demo
from diffing.engines import Watch
from diffing.engines.duckdb import DuckDBEngine
from diffing.errors import MetricError, StoreError
from diffing.jobs import MOST_WAITING, STAGES, Busy, Files, Job, Jobs, JobState, Question, UnknownJob, UnknownMetric
from diffing.plan import Choices, Plan
from diffing.result import Result
from diffing.services import Services, Settings
from diffing.store import ResultGone, Store
from diffing.uploads import UploadGone, Uploads

OLD = "id,price,shop\n1,1.50,a\n2,2,b\n3,3,c\n"
NEW = "id,price,shop\n1,1.5,a\n2,2.25,b\n4,4,d\n"
REGISTRY = """
[prices]
title = "Prices"
old = "old.csv"
new = "new.csv"
key = ["id"]

[swapped]
old = "new.csv"
new = "old.csv"
key = ["id"]

[missing]
old = "old.csv"
new = "nowhere.csv"

[wrong]
old = "old.csv"
new = "new.csv"
key = ["idd"]
"""


class Gated(DuckDBEngine):
    """The engine, which begins when it is told to, and counts how often it ran."""

    def __init__(self) -> None:
        super().__init__(threads=1, memory_limit="500MB")
        self.gate, self.runs = threading.Event(), 0
        self.gate.set()

    def run(self, plan: Plan, folder: Path, watch: Watch | None = None) -> Result:
        self.runs += 1
        while watch and not self.gate.wait(0.01):
            watch.check()
        return super().run(plan, folder, watch)


class Server:
    """All that a server has on one folder, with the registry beside it."""

    def __init__(self, folder: Path, engine: DuckDBEngine, **jobs: int) -> None:
        home = folder / "home"
        self.uploads = Uploads(home, limit=10**9, quota=10**10, hours=24)
        self.files = Files(home, folder / "metrics.toml", self.uploads)
        self.store = Store(home, limit=10**9, days=30)
        self.jobs = Jobs(home, files=self.files, store=self.store, engine=engine, **jobs)

    def close(self) -> None:
        self.jobs.close()
        self.store.close()

    def ask(self, owner: str, old: str = OLD, new: str = NEW, names: tuple[str, str] = ("old.csv", "new.csv")) -> Question:
        """Upload two files and ask how they differ."""
        pairs = zip(names, (old, new), strict=True)
        return Question(uploads=tuple(self.uploads.save(name, [text.encode()], owner=owner).id for name, text in pairs))

    def done(self, job: Job) -> Job:
        return self.jobs.wait(job.id, 20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("old.csv", OLD), ("new.csv", NEW), ("metrics.toml", REGISTRY)):
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def engine() -> Gated:
    return Gated()


@pytest.fixture
def server(folder: Path, engine: Gated) -> Iterator[Server]:
    opened = Server(folder, engine)
    yield opened
    engine.gate.set()
    opened.close()


def until(true: object, seconds: float = 10.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def counts(server: Server, job: Job) -> tuple[int, int, int, int]:
    with server.jobs.lease(job) as lease:
        summary = lease.result.summary
    return summary.added, summary.removed, summary.changed, summary.unchanged


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# --- asking ----------------------------------------------------------------------------------------


def test_a_metric_is_compared_and_counts_as_the_registry_says(server: Server) -> None:
    job = server.done(server.jobs.submit_metric("prices"))
    assert (job.id, job.state, job.label, job.stem) == (1, JobState.DONE, "Prices", "prices")
    assert counts(server, job) == (1, 1, 1, 1)
    assert not job.from_cache
    assert job.computed_at
    assert job.elapsed


def test_jobs_of_metrics_count_from_one(server: Server) -> None:
    assert [server.jobs.submit_metric(name).id for name in ("prices", "swapped")] == [1, 2]


def test_jobs_over_uploads_have_ids_that_cannot_be_guessed(server: Server) -> None:
    jobs = [server.jobs.submit(server.ask("ann", new=NEW + f"{i},1,x\n"), owner="ann") for i in range(10, 13)]
    assert len({job.id for job in jobs}) == 3
    assert all(isinstance(job.id, str) and len(job.id) >= 22 for job in jobs)
    assert all(server.done(job).state is JobState.DONE for job in jobs)


def test_an_unknown_metric_is_refused_with_the_names_there_are(server: Server) -> None:
    with pytest.raises(UnknownMetric, match="no metric “price”") as caught:
        server.jobs.submit_metric("price")
    assert "prices, swapped" in caught.value.hint
    assert server.jobs.list() == []


def test_a_metric_without_its_file_is_refused_at_once_by_its_name(server: Server, folder: Path) -> None:
    with pytest.raises(MetricError, match=r"“missing” is not there: nowhere\.csv"):
        server.jobs.submit_metric("missing")


def test_a_comparison_that_fails_says_why_without_paths(server: Server, folder: Path) -> None:
    job = server.done(server.jobs.submit_metric("wrong"))
    assert (job.state, job.error[0], job.error[-1]) == (JobState.FAILED, "ColumnNotFound", "DiffError")
    assert job.message == "There is no column “idd” to use as a key."
    assert "Did you mean “id”?" in job.hint
    assert str(folder) not in job.message + job.hint
    with pytest.raises(ResultGone):
        server.jobs.lease(job)


def test_a_file_that_is_no_table_fails_the_job_by_the_name_people_know(server: Server) -> None:
    job = server.done(server.jobs.submit(server.ask("ann", new="PK\x03\x04....", names=("a.csv", "b.xlsx")), owner="ann"))
    assert job.state is JobState.FAILED
    assert job.message.startswith("b.xlsx is a ZIP or Excel file")


def test_without_a_key_one_is_found_and_said(server: Server) -> None:
    old = "".join(f"{i},{i % 7},x\n" for i in range(100))
    job = server.done(server.jobs.submit(server.ask("ann", "id,n,t\n" + old, "id,n,t\n" + old + "100,1,y\n"), owner="ann"))
    assert job.state is JobState.DONE
    assert job.question.choices.key == ("id",)
    assert "id" in job.key_note


def test_no_key_is_a_choice(server: Server) -> None:
    job = server.done(server.jobs.submit(replace(server.ask("ann"), keyless=True), owner="ann"))
    assert job.state is JobState.DONE
    assert counts(server, job) == (2, 2, 0, 1)


def test_uploads_of_others_cannot_be_compared(server: Server) -> None:
    with pytest.raises(UploadGone):
        server.jobs.submit(server.ask("ann"), owner="bob")


def test_a_compressed_file_of_a_metric_is_compared(server: Server, folder: Path) -> None:
    (folder / "old.csv").write_bytes(gzip.compress(OLD.encode()))
    assert counts(server, server.done(server.jobs.submit_metric("prices"))) == (1, 1, 1, 1)


# --- one answer for all who ask --------------------------------------------------------------------


def test_asking_again_is_answered_from_the_store_at_once_and_says_so(server: Server, engine: Gated) -> None:
    first = server.done(server.jobs.submit_metric("prices"))
    engine.gate.clear()
    again = server.jobs.submit_metric("prices")
    assert (again.id, again.state, again.from_cache, again.computed_at) == (2, JobState.DONE, True, first.computed_at)
    assert engine.runs == 1
    assert counts(server, again) == counts(server, first)


def test_the_store_answers_even_while_all_workers_are_busy(server: Server, engine: Gated) -> None:
    server.done(server.jobs.submit_metric("prices"))
    engine.gate.clear()
    for i in range(5):
        server.jobs.submit(server.ask("ann", old=OLD + f"{i + 10},1,x\n"), owner="ann")
    assert server.jobs.submit_metric("prices").state is JobState.DONE


def test_run_again_computes_anew(server: Server, engine: Gated) -> None:
    first = server.done(server.jobs.submit_metric("prices"))
    again = server.done(server.jobs.submit_metric("prices", again=True))
    assert (again.from_cache, engine.runs) == (False, 2)
    assert (again.computed_at or 0) > (first.computed_at or 0)


def test_a_file_that_changed_is_another_question(server: Server, engine: Gated, folder: Path) -> None:
    server.done(server.jobs.submit_metric("prices"))
    (folder / "new.csv").write_text(NEW + "5,5,e\n")
    job = server.done(server.jobs.submit_metric("prices"))
    assert not job.from_cache
    assert counts(server, job) == (2, 1, 1, 1)


def test_who_asks_for_a_metric_that_is_being_compared_gets_the_same_job(server: Server, engine: Gated) -> None:
    engine.gate.clear()
    jobs = {server.jobs.submit_metric("prices").id for _ in range(5)}
    engine.gate.set()
    assert jobs == {1}
    server.jobs.wait(1, 20)
    assert engine.runs == 1


def test_two_people_with_equal_files_share_the_computation_but_never_an_id(server: Server, engine: Gated) -> None:
    engine.gate.clear()
    jobs = [server.jobs.submit(server.ask(owner), owner=owner) for owner in ("ann", "bob")]
    until(lambda: all(server.jobs.get(job.id).result_id for job in jobs))
    engine.gate.set()
    done = [server.done(job) for job in jobs]
    assert engine.runs == 1
    assert done[0].id != done[1].id
    assert [job.state for job in done] == [JobState.DONE] * 2
    assert done[0].result_id == done[1].result_id


def test_the_same_person_asking_twice_gets_the_same_job(server: Server, engine: Gated) -> None:
    engine.gate.clear()
    question = server.ask("ann")
    assert server.jobs.submit(question, owner="ann").id == server.jobs.submit(question, owner="ann").id


def test_nameless_programs_with_equal_files_never_share_an_id(server: Server, engine: Gated) -> None:
    engine.gate.clear()
    assert server.jobs.submit(server.ask("")).id != server.jobs.submit(server.ask("")).id


def test_nobody_learns_from_a_shared_answer_what_others_call_their_files(server: Server, engine: Gated) -> None:
    server.done(server.jobs.submit(server.ask("ann", names=("salaries_2024.csv", "salaries_2025.csv")), owner="ann"))
    job = server.done(server.jobs.submit(server.ask("bob", names=("a.csv", "b.csv")), owner="bob"))
    with server.jobs.lease(job) as lease:
        assert "salaries" not in repr(lease.result)


def test_when_one_of_two_who_share_cancels_the_other_still_gets_the_answer(server: Server, engine: Gated) -> None:
    engine.gate.clear()
    jobs = [server.jobs.submit(server.ask(owner), owner=owner) for owner in ("ann", "bob")]
    until(lambda: all(server.jobs.get(job.id).result_id for job in jobs))
    first = min(jobs, key=lambda job: server.jobs.get(job.id).started or 0)
    assert server.jobs.cancel(first.id).state is JobState.CANCELLED
    engine.gate.set()
    other = next(job for job in jobs if job.id != first.id)
    assert counts(server, server.done(other)) == (1, 1, 1, 1)


# --- waiting, watching -----------------------------------------------------------------------------


def test_jobs_wait_in_a_queue_and_know_their_place(folder: Path, engine: Gated) -> None:
    engine.gate.clear()
    server = Server(folder, engine, workers=1)
    jobs = [server.jobs.submit(server.ask("ann", old=OLD + f"{i + 10},1,x\n"), owner="ann") for i in range(4)]
    until(lambda: server.jobs.get(jobs[0].id).state is JobState.RUNNING)
    assert [server.jobs.get(job.id).position for job in jobs] == [None, 1, 2, 3]
    server.jobs.cancel(jobs[1].id)
    assert [server.jobs.get(job.id).position for job in jobs] == [None, None, 1, 2]
    engine.gate.set()
    assert [server.done(job).state.value for job in jobs] == ["done", "cancelled", "done", "done"]
    server.close()


def test_too_many_are_turned_away_politely(server: Server, engine: Gated) -> None:
    engine.gate.clear()
    question = server.ask("ann")

    def ask(number: int) -> None:
        server.jobs.submit(replace(question, choices=Choices(key=("id",), nulls=(f"{number}",))), owner="ann")

    for number in range(2):
        ask(number)
    until(lambda: engine.runs == 2)
    for number in range(MOST_WAITING):
        ask(number + 2)
    with pytest.raises(Busy, match="200 comparisons are waiting already"):
        ask(-1)


def test_a_running_job_tells_its_stage_and_share_and_never_goes_back(server: Server, engine: Gated) -> None:
    engine.gate.clear()
    job = server.jobs.submit_metric("prices")
    until(lambda: server.jobs.get(job.id).state is JobState.RUNNING)
    seen = [server.jobs.get(job.id)]
    engine.gate.set()
    while server.jobs.get(job.id).state.active:
        seen.append(server.jobs.get(job.id))
    shares = [each.share for each in (*seen, server.jobs.get(job.id))]
    assert seen[0].stage == "opening the files"
    assert seen[0].elapsed is not None
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_every_stage_has_its_share_of_the_whole(server: Server) -> None:
    heard: list[str] = []
    watch = Watch(report=lambda stage, share: heard.append(stage))
    prepared = server.files.prepare(server.ask("ann"), "ann", watch)
    with server.files.workdir() as folder:
        DuckDBEngine().run(prepared.plan, folder, watch)
    assert len(heard) > 6
    assert set(heard) <= set(STAGES)


def test_the_first_question_about_the_demo_makes_its_data(server: Server, folder: Path) -> None:
    made: list[Path] = []

    def small(where: Path) -> None:
        made.append(where)
        ensure_demo(where, revenue_rows=300, c_revenue_rows=300)

    with (folder / "metrics.toml").open("a") as registry:
        registry.write('[revenue]\nold = "demo/revenue_old.csv"\nnew = "demo/revenue_new.csv"\nkey = ["date"]\n')
    server.jobs.files = Files(server.store.folder.parent, folder / "metrics.toml", server.uploads, demo=small)
    for _ in range(2):
        assert server.done(server.jobs.submit_metric("revenue")).state is JobState.DONE
    assert made == [folder / "demo"]


def test_the_list_shows_metrics_and_own_uploads_newest_first_and_never_those_of_others(server: Server) -> None:
    metric = server.jobs.submit_metric("prices")
    ann, bob = (server.jobs.submit(server.ask(owner), owner=owner) for owner in ("ann", "bob"))
    nameless = server.jobs.submit(server.ask(""))
    assert [job.id for job in server.jobs.list("ann")] == [ann.id, metric.id]
    assert [job.id for job in server.jobs.list("bob")] == [bob.id, metric.id]
    assert [job.id for job in server.jobs.list("")] == [metric.id]
    assert server.jobs.get(nameless.id).id == nameless.id


def test_totals_come_after_the_result(server: Server) -> None:
    job = server.jobs.wait(server.jobs.submit_metric("prices").id, 20, totals=True)
    assert job.totals is JobState.DONE
    with server.jobs.lease(job) as lease:
        price = lease.result.summary.columns[0]
        assert lease.result.summary.whole_files
    assert (price.old_total, price.new_total) == ("6.5", "7.75")


def test_totals_of_files_that_changed_meanwhile_fail_and_the_result_stays(server: Server, folder: Path) -> None:
    def change(result_id: str) -> None:
        (folder / "new.csv").write_text(NEW + "9,9,z\n")

    server.jobs.after = change
    job = server.jobs.wait(server.jobs.submit_metric("prices").id, 20, totals=True)
    assert (job.state, job.totals) == (JobState.DONE, JobState.FAILED)
    assert counts(server, job) == (1, 1, 1, 1)


# --- ending ----------------------------------------------------------------------------------------


def test_a_query_in_full_swing_stops_within_a_second_and_frees_the_disk(folder: Path) -> None:
    rows = [f"{i},{i * 7919 % 1000003},some text that takes room {i % 977}\n" for i in range(400_000)]
    (folder / "old.csv").write_text("id,v,t\n" + "".join(rows))
    (folder / "new.csv").write_text("id,v,t\n" + "".join(row.replace("some", "more") for row in reversed(rows)))
    server = Server(folder, DuckDBEngine(threads=2, memory_limit="1GB"))
    job = server.jobs.submit_metric("prices")
    until(lambda: server.jobs.get(job.id).share >= 0.4, 30)
    began = time.monotonic()
    assert server.jobs.cancel(job.id).state is JobState.CANCELLED
    until(lambda: not files_below(server.store.folder), 1.0)
    assert time.monotonic() - began < 1.0
    assert server.jobs.get(job.id).state is JobState.CANCELLED
    assert server.store.stored() == []
    assert not files_below(server.files.work)
    server.close()


def test_a_cancelled_job_leaves_its_worker_to_others(folder: Path, engine: Gated) -> None:
    engine.gate.clear()
    server = Server(folder, engine, workers=1)
    first = server.jobs.submit_metric("prices")
    until(lambda: engine.runs == 1)
    server.jobs.cancel(first.id)
    engine.gate.set()
    assert server.done(server.jobs.submit_metric("swapped")).state is JobState.DONE
    server.close()


def test_cancelling_what_has_ended_changes_nothing(server: Server) -> None:
    job = server.done(server.jobs.submit_metric("prices"))
    assert server.jobs.cancel(job.id).state is JobState.DONE


def test_deleting_a_job_frees_its_result_unless_another_job_has_it(server: Server) -> None:
    jobs = [server.jobs.wait(server.jobs.submit_metric("prices").id, 20, totals=True) for _ in range(2)]
    server.jobs.delete(jobs[0].id)
    assert len(server.store.stored()) == 1
    server.jobs.delete(jobs[1].id)
    assert server.store.stored() == []
    assert not files_below(server.store.folder)
    with pytest.raises(UnknownJob):
        server.jobs.get(jobs[0].id)


def test_a_deleted_number_is_never_given_again(server: Server) -> None:
    first = server.done(server.jobs.submit_metric("prices"))
    server.jobs.delete(first.id)
    assert server.jobs.submit_metric("prices").id == 2


def test_a_result_that_was_evicted_can_be_computed_again(server: Server) -> None:
    job = server.jobs.wait(server.jobs.submit_metric("prices").id, 20, totals=True)
    server.store.remove(job.result_id or "")
    with pytest.raises(ResultGone):
        server.jobs.lease(job)
    again = server.done(server.jobs.submit_metric("prices"))
    assert not again.from_cache
    assert counts(server, again) == (1, 1, 1, 1)


def test_uploads_that_are_removed_while_they_are_compared_are_compared_all_the_same(server: Server, engine: Gated) -> None:
    engine.gate.clear()
    question = server.ask("ann")
    job = server.jobs.submit(question, owner="ann")
    for id_ in question.uploads:
        server.uploads.remove(id_, "ann")
    engine.gate.set()
    job = server.jobs.wait(job.id, 20, totals=True)
    assert (job.state, job.totals) in {(JobState.DONE, JobState.DONE), (JobState.FAILED, None)}
    assert files_below(server.uploads.folder) == []


# --- restarts --------------------------------------------------------------------------------------


def test_finished_jobs_are_there_after_a_restart(server: Server, folder: Path) -> None:
    asked = [server.jobs.submit_metric("prices"), server.jobs.submit(server.ask("ann"), owner="ann"), server.jobs.submit_metric("wrong")]
    before = [server.jobs.wait(job.id, 20, totals=True) for job in asked]
    server.close()
    again = Server(folder, Gated())
    assert [again.jobs.get(job.id) for job in before] == before
    assert counts(again, before[0]) == (1, 1, 1, 1)
    assert again.jobs.submit_metric("prices").from_cache
    again.close()


def test_a_job_that_ran_when_the_server_stopped_is_interrupted_and_can_be_run_again(server: Server, engine: Gated, folder: Path) -> None:
    engine.gate.clear()
    job = server.jobs.submit(server.ask("ann"), owner="ann")
    until(lambda: engine.runs == 1)
    server.close()
    again = Server(folder, Gated())
    found = again.jobs.get(job.id)
    assert (found.state, found.message, found.hint) == (JobState.INTERRUPTED, "The server stopped before this was done.", "Run it again.")
    assert counts(again, again.done(again.jobs.run_again(job.id))) == (1, 1, 1, 1)
    again.close()


def test_totals_that_were_not_added_up_yet_are_added_up_after_a_restart(server: Server, folder: Path) -> None:
    asked, go = threading.Event(), threading.Event()
    server.jobs.after = lambda result_id: (asked.set(), go.wait(10))
    job = server.done(server.jobs.submit_metric("prices"))
    assert asked.wait(10)
    assert server.jobs.get(job.id).totals is JobState.RUNNING
    threading.Timer(0.2, go.set).start()
    server.close()
    again = Server(folder, Gated())
    assert again.jobs.wait(job.id, 20, totals=True).totals is JobState.DONE
    again.close()


def test_no_room_for_a_download_does_not_keep_totals_away(server: Server) -> None:
    def fail(result_id: str) -> None:
        raise StoreError("no room")

    server.jobs.after = fail
    assert server.jobs.wait(server.jobs.submit_metric("prices").id, 20, totals=True).totals is JobState.DONE


CRASHING = """
import sys, threading, time
from pathlib import Path
from diffing.engines.duckdb import DuckDBEngine
from diffing.services import Services, Settings

class Endless(DuckDBEngine):
    def run(self, plan, folder, watch=None):
        if "shop" in [pair.name for pair in plan.key]:
            (folder / "rows.parquet").write_bytes(b"half")
            print("running", flush=True)
            time.sleep(60)
        return super().run(plan, folder, watch)

folder = Path(sys.argv[1])
services = Services(Settings(home=folder / "home", metrics=folder / "metrics.toml"))
services.jobs.engine = Endless(threads=1)
done = services.jobs.submit_metric("prices")
services.jobs.wait(done.id, 30, totals=True)
services.jobs.submit_metric("byshop")
time.sleep(60)
"""


def test_a_server_that_is_killed_loses_nothing_finished_and_leaves_nothing_half_done(folder: Path) -> None:
    (folder / "metrics.toml").write_text(REGISTRY + '\n[byshop]\nold = "old.csv"\nnew = "new.csv"\nkey = ["id", "shop"]\n')
    child = subprocess.Popen([sys.executable, "-c", CRASHING, str(folder)], stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent)
    assert child.stdout
    assert child.stdout.readline() == b"running\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    services = Services(Settings(home=folder / "home", metrics=folder / "metrics.toml"))
    assert [job.state for job in services.jobs.list()] == [JobState.INTERRUPTED, JobState.DONE]
    assert len(services.store.stored()) == len(list(services.store.folder.iterdir())) == 1
    with services.jobs.lease(services.jobs.get(1)) as lease:
        assert lease.result.summary.changed == 1
    assert services.jobs.wait(services.jobs.run_again(2).id, 20).state is JobState.DONE
    services.close()


def test_a_damaged_list_of_jobs_is_begun_anew_and_results_are_still_found(server: Server, folder: Path) -> None:
    server.jobs.wait(server.jobs.submit_metric("prices").id, 20, totals=True)
    server.close()
    for file in (folder / "home" / "jobs").iterdir():
        file.write_bytes(b"garbage" * 1000)
    again = Server(folder, Gated())
    assert again.jobs.list() == []
    assert again.done(again.jobs.submit_metric("prices")).from_cache
    again.close()


def test_uploads_that_are_no_longer_kept_are_asked_for_again(server: Server) -> None:
    question = server.ask("ann")
    job = server.jobs.wait(server.jobs.submit(question, owner="ann").id, 20, totals=True)
    for id_ in question.uploads:
        server.uploads.remove(id_, "ann")
    with pytest.raises(UploadGone, match="no longer kept"):
        server.jobs.run_again(job.id)
    assert counts(server, job) == (1, 1, 1, 1)


def test_jobs_and_converted_copies_are_forgotten_in_time(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = server.jobs.wait(server.jobs.submit_metric("prices").id, 20, totals=True)
    copy = server.files.converted / "copy.csv"
    copy.write_text("x")
    server.jobs.sweep()
    assert server.jobs.get(job.id)
    assert copy.exists()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 31 * 86_400)
    for _ in range(100):  # copies are kept while a worker is still busy, if only with tidying up
        server.jobs.sweep()
        if not copy.exists():
            break
        time.sleep(0.05)
    with pytest.raises(UnknownJob):
        server.jobs.get(job.id)
    assert not copy.exists()


def test_hundreds_of_jobs_leave_no_thread_and_no_file_behind(server: Server) -> None:
    server.jobs.wait(server.jobs.submit_metric("prices").id, 20, totals=True)
    threads, open_files = threading.active_count(), len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(100):
        server.jobs.submit_metric("prices")
    assert threading.active_count() <= threads
    if open_files:
        assert len(os.listdir("/proc/self/fd")) <= open_files + 5
    assert len(server.store.stored()) == 1


def test_choices_of_a_job_are_there_to_start_from(server: Server) -> None:
    choices = Choices(key=("id",), ignore=("shop",), ignore_case=True, nulls=("NA",))
    job = server.done(server.jobs.submit(replace(server.ask("ann"), choices=choices), owner="ann"))
    assert server.jobs.get(job.id).question.choices == choices


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path) -> Iterator[None]:
    yield
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_whoever_asks_goes_before_what_computes(folder):
    class Told(DuckDBEngine):
        niceness: int | None = None

        def run(self, plan: Plan, folder: Path, watch: Watch | None = None) -> Result:
            self.niceness = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
            return super().run(plan, folder, watch)

    server = Server(folder, engine := Told(threads=1, memory_limit="500MB"))
    server.done(server.jobs.submit_metric("prices"))
    server.close()
    assert engine.niceness is not None and engine.niceness > os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
