"""Are results kept whole, within bounds, and never pulled away from a reader?"""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from diffing.engines.duckdb import DuckDBEngine
from diffing.errors import EngineError, StoreError
from diffing.plan import Choices, Plan, Tolerance, make_plan
from diffing.plan_json import from_plain, plan_from_json, plan_to_json, to_plain
from diffing.result import Result
from diffing.sizes import in_words
from diffing.sources import open_source
from diffing.store import ResultGone, Store, claimed, result_id

ENGINE = DuckDBEngine(threads=1, memory_limit="500MB")
DAY = 86_400


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def plan_of(folder: Path, name: str = "v", rows: int = 3) -> Plan:
    folder.mkdir(exist_ok=True)
    for side, add in (("old", 0), ("new", 1)):
        (folder / f"{side}.csv").write_text(f"id,{name}\n" + "".join(f"{i},{i + add}\n" for i in range(rows)))
    old, new = (open_source(folder / f"{side}.csv", workdir=folder, by_content=True) for side in ("old", "new"))
    return make_plan(old, new, Choices(key=("id",)))


def compute(store: Store, plan: Plan) -> str:
    return store.compute(plan, lambda folder: ENGINE.run(plan, folder)).id


def padding(size: int):  # type: ignore[no-untyped-def]
    """What makes a file of some size out of any result."""
    return lambda result, path: path.write_bytes(b"x" * size)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock):  # type: ignore[no-untyped-def]
    opened = Store(tmp_path / "home", limit=10**6, days=30, clock=clock)
    yield opened
    opened.close()


def reopened(store: Store) -> Store:
    store.close()
    return Store(store.folder.parent, limit=store.limit, days=store.days, clock=store.clock)


def test_a_result_is_found_again_after_a_restart(store: Store, tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    id_ = compute(store, plan)
    with store.lease(id_) as lease:
        before = lease.result
    again = reopened(store)
    with again.lease(result_id(plan)) as lease:
        assert lease.result == before
        assert lease.result.plan.fingerprint == plan.fingerprint
        assert lease.result.summary.changed == 3
    again.close()


def test_a_plan_says_the_same_after_a_round_trip_through_json(tmp_path: Path) -> None:
    plan = replace(plan_of(tmp_path), columns_renamed={"a": "b"}, notes=("a note",))
    told = json.loads(json.dumps(plan_to_json(plan)))
    assert plan_from_json(told) == plan
    assert plan_from_json(told).fingerprint == plan.fingerprint


def test_choices_of_every_kind_say_the_same_after_a_round_trip() -> None:
    choices = Choices(key=("a", "b"), tolerances={"v": Tolerance(0.5, 0.0)}, ignore_case=True, ignore_space=("a",), nulls=("NA",))
    assert from_plain(Choices, json.loads(json.dumps(to_plain(choices)))) == choices


def test_a_plan_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="another version"):
        plan_from_json({**plan_to_json(plan_of(tmp_path)), "version": 0})


@pytest.mark.parametrize("damage", [[], 7, {"a": 1}])
def test_a_plan_with_a_value_of_another_kind_is_refused(damage: object, tmp_path: Path) -> None:
    stored = json.loads(json.dumps(plan_to_json(plan_of(tmp_path))))
    stored["plan"]["old"]["compression"] = damage
    with pytest.raises(StoreError):
        plan_from_json(stored)


@pytest.mark.parametrize("choices", [{"key": [None]}, {"nulls": [False]}, {"ignore_case": None}])
def test_choices_of_another_kind_are_refused(choices: dict[str, object]) -> None:
    with pytest.raises(StoreError):
        from_plain(Choices, choices)


def test_a_comparison_that_fails_leaves_nothing(store: Store, tmp_path: Path) -> None:
    plan = plan_of(tmp_path)

    def fail(folder: Path) -> Result:
        (folder / "rows.parquet").write_bytes(b"half")
        raise EngineError("no")

    with pytest.raises(EngineError):
        store.compute(plan, fail)
    assert store.find(result_id(plan)) is None
    assert list(store.folder.iterdir()) == []


def test_a_full_disk_is_said_in_words_without_paths(store: Store, tmp_path: Path) -> None:
    def full(folder: Path) -> Result:
        raise OSError(28, "No space left on device", str(folder))

    with pytest.raises(StoreError) as caught:
        store.compute(plan_of(tmp_path), full)
    assert "No space left" in caught.value.message
    assert str(tmp_path) not in caught.value.message + caught.value.hint


def test_half_results_are_swept_at_the_next_start(store: Store, tmp_path: Path) -> None:
    kept = compute(store, plan_of(tmp_path))
    (store.folder / ".part-dead").mkdir()
    (store.folder / ".part-dead" / "rows.parquet").write_bytes(b"half")
    (store.folder / "0123-cafe").mkdir()
    again = reopened(store)
    assert [each.id for each in again.stored()] == [kept]
    assert [each.name.partition("-")[0] for each in again.folder.iterdir()] == [kept]
    again.close()


@pytest.mark.parametrize("damage", [b"this is no database at all", b""])
def test_a_damaged_index_is_made_anew_from_the_folders(store: Store, tmp_path: Path, damage: bytes) -> None:
    id_ = compute(store, plan_of(tmp_path))
    size = store.size
    store.close()
    for file in (store.folder.parent / "index").iterdir():
        file.write_bytes(damage)
    again = Store(store.folder.parent, limit=store.limit, days=store.days, clock=store.clock)
    assert (again.stored()[0].id, again.size) == (id_, size)
    again.close()


def test_an_index_that_was_deleted_is_made_anew(store: Store, tmp_path: Path) -> None:
    id_ = compute(store, plan_of(tmp_path))
    store.close()
    for file in (store.folder.parent / "index").iterdir():
        file.unlink()
    again = Store(store.folder.parent, limit=store.limit, days=store.days, clock=store.clock)
    with again.lease(id_) as lease:
        assert lease.result.summary.changed == 3
    again.close()


def test_a_result_whose_files_were_damaged_is_gone_not_an_error_for_ever(store: Store, tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    id_ = compute(store, plan)
    next(store.folder.glob("*/summary.json")).write_text("{")
    with pytest.raises(ResultGone):
        store.lease(id_)
    assert store.find(id_) is None
    assert compute(store, plan) == id_


def test_the_least_recently_used_goes_first(store: Store, tmp_path: Path, clock: Clock) -> None:
    ids = [compute(store, plan_of(tmp_path / name, name)) for name in "abc"]
    for id_ in ids:
        with store.lease(id_) as lease:
            store.file(lease, "pad", padding(250_000))
    clock.now += 10
    store.lease(ids[0]).release()
    with store.lease(compute(store, plan_of(tmp_path / "d", "d"))) as lease:
        store.file(lease, "pad", padding(400_000))
    left = {each.id for each in store.stored()}
    assert ids[0] in left
    assert ids[1] not in left


def test_looking_at_a_result_does_not_renew_its_age_and_using_it_does(store: Store, tmp_path: Path, clock: Clock) -> None:
    listed, used = (compute(store, plan_of(tmp_path / name, name)) for name in "ab")
    clock.now += 20 * 86_400
    with store.peek(listed) as lease, store.lease(used):
        assert lease.result.summary.changed == 3
    clock.now += 20 * 86_400
    store.sweep()
    assert store.find(listed) is None
    assert store.find(used) is not None
    with pytest.raises(ResultGone):
        store.peek(listed)


def test_the_limit_holds_whatever_is_added(store: Store, tmp_path: Path) -> None:
    for name in "abcde":
        with store.lease(compute(store, plan_of(tmp_path / name, name))) as lease:
            store.file(lease, "pad", padding(300_000))
        on_disk = sum(file.stat().st_size for file in store.folder.rglob("*") if file.is_file())
        assert on_disk == store.size <= store.limit


def test_what_is_larger_than_the_store_is_refused_and_nothing_else_is_evicted(store: Store, tmp_path: Path) -> None:
    id_ = compute(store, plan_of(tmp_path))
    with store.lease(id_) as lease, pytest.raises(StoreError, match=r"takes 2\.0 MB, more than the store may hold \(1\.0 MB\)"):
        store.file(lease, "pad", padding(2_000_000))
    assert store.find(id_) is not None
    assert not list(store.folder.glob("*/files/*"))


def test_what_is_being_read_is_never_evicted(store: Store, tmp_path: Path) -> None:
    with store.lease(compute(store, plan_of(tmp_path))) as lease:
        path = store.file(lease, "pad", padding(900_000))
        other = store.lease(compute(store, plan_of(tmp_path / "b", "b")))
        with other, pytest.raises(StoreError, match="being read"):
            store.file(other, "pad", padding(500_000))
        assert path.stat().st_size == 900_000


def test_what_readers_keep_alive_counts_as_long_as_it_is_there(store: Store, tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    lease = store.lease(compute(store, plan))
    store.file(lease, "pad", padding(900_000))
    compute(store, plan)
    assert store.size > 900_000
    with store.lease(result_id(plan)) as newer, pytest.raises(StoreError, match="being read"):
        store.file(newer, "pad", padding(500_000))
    lease.release()
    assert store.size < 900_000


def test_what_is_removed_while_it_is_read_stays_until_the_reader_is_done(store: Store, tmp_path: Path) -> None:
    id_ = compute(store, plan_of(tmp_path))
    lease = store.lease(id_)
    store.remove(id_)
    with pytest.raises(ResultGone):
        store.lease(id_)
    assert lease.result.rows_file.exists()
    lease.release()
    lease.release()
    assert list(store.folder.iterdir()) == []


def test_a_result_computed_again_takes_the_place_of_the_old_one_under_its_readers(store: Store, tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    lease = store.lease(compute(store, plan))
    compute(store, plan)
    assert lease.result.rows_file.exists()
    with store.lease(result_id(plan)) as newer:
        assert newer.result.folder != lease.result.folder
    lease.release()
    assert len(list(store.folder.iterdir())) == 1


def test_what_nobody_opened_for_long_is_swept_but_not_what_was_opened(store: Store, tmp_path: Path, clock: Clock) -> None:
    opened, forgotten = (compute(store, plan_of(tmp_path / name, name)) for name in "ab")
    clock.now += 20 * DAY
    store.lease(opened).release()
    clock.now += 15 * DAY
    store.sweep()
    assert store.find(opened) is not None
    assert store.find(forgotten) is None


def test_a_clock_that_was_set_back_keeps_nothing_for_ever(store: Store, tmp_path: Path, clock: Clock) -> None:
    id_ = compute(store, plan_of(tmp_path))
    clock.now -= 1000 * DAY
    store.sweep()
    clock.now += 31 * DAY
    store.sweep()
    assert store.find(id_) is None


def test_a_download_is_made_once_however_many_ask_for_it(store: Store, tmp_path: Path) -> None:
    id_, made, paths = compute(store, plan_of(tmp_path)), [], []

    def make(result: Result, path: Path) -> None:
        made.append(path)
        path.write_text("rows")

    def ask() -> None:
        with store.lease(id_) as lease:
            paths.append(store.file(lease, "rows.csv", make))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert {path.read_text() for path in paths} == {"rows"}
    assert len(paths) == 8


def test_the_summary_of_what_was_just_used_is_at_hand_while_others_hold_the_store(store: Store, tmp_path: Path, clock: Clock) -> None:
    id_ = compute(store, plan_of(tmp_path))
    store.lease(id_).release()
    found = []
    asking = threading.Thread(target=lambda: found.append(store.at_hand(id_)), daemon=True)
    with store._lock:
        asking.start()
        asking.join(10)
    assert [summary and summary.changed for summary in found] == [3]
    store.update(id_, ENGINE.add_totals)
    store.lease(id_).release()
    assert (summary := store.at_hand(id_)) and summary.whole_files
    clock.now += 60
    assert store.at_hand(id_) is None, "its age must begin anew, and be written down"
    store.lease(id_).release()
    store.remove(id_)
    assert store.at_hand(id_) is None


def test_totals_change_the_stored_summary(store: Store, tmp_path: Path) -> None:
    id_ = compute(store, plan_of(tmp_path))
    store.update(id_, ENGINE.add_totals)
    with store.lease(id_) as lease:
        assert (lease.result.summary.columns[0].old_total, lease.result.summary.columns[0].new_total) == ("3", "6")
    assert store.size == sum(file.stat().st_size for file in store.folder.rglob("*") if file.is_file())


def test_files_of_the_same_content_under_other_names_are_another_result(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    renamed = replace(plan, old=replace(plan.old, name="salaries.csv"))
    assert plan.fingerprint == renamed.fingerprint
    assert result_id(plan) != result_id(renamed)


def test_a_second_server_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with claimed(tmp_path / "home"), pytest.raises(StoreError, match="Another server"), claimed(tmp_path / "home"):
        pass
    with claimed(tmp_path / "home"):
        pass


def test_a_folder_that_is_a_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(StoreError, match="can't be written"), claimed(tmp_path / "home"):
        pass


def test_the_index_holds_no_pickles(store: Store, tmp_path: Path) -> None:
    compute(store, plan_of(tmp_path))
    store.close()
    with sqlite3.connect(store.folder.parent / "index" / "cache.db") as db:
        pickled = db.execute("SELECT count(*) FROM Cache WHERE mode = 4 OR raw = 0").fetchone()
    assert pickled == (0,)


def test_sizes_are_written_as_people_do() -> None:
    assert [in_words(size) for size in (0, 999, 1500, 203_000_000, 20e9, 3e13)] == [
        "0 bytes",
        "999 bytes",
        "1.5 kB",
        "203 MB",
        "20.0 GB",
        "30.0 TB",
    ]
