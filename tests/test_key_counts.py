"""Are the keys of two files counted as they occur, whatever their spelling?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffing import keys as searching
from diffing.dialects import DialectChoice
from diffing.engines import Watch, key_counts
from diffing.engines.key_counts import Counted, Keys, read_keys
from diffing.errors import Cancelled
from diffing.keys import KeySuggestion, judge_key, suggest_keys
from diffing.plan import Choices, Plan, make_plan
from diffing.sources import open_source

FOLDER = Path(__file__).parents[1]
Row = tuple[str, ...]


def text(rows: Sequence[Row], *, end: str = "\n", quoted: bool = False, order: Sequence[int] = (0, 1, 2), delimiter: str = ",") -> bytes:
    named: list[Row] = [("a", "b", "words"), *rows]
    cells = ([f'"{row[i]}"' if quoted and row[i] else row[i] for i in order] for row in named)
    return "".join(delimiter.join(each) + end for each in cells).encode()


def planned(folder: Path, old: bytes, new: bytes) -> Plan:
    for name, content in (("old", old), ("new", new)):
        (folder / f"{name}.csv").write_bytes(content)
    headed = DialectChoice(header=True)
    return make_plan(*(open_source(folder / f"{name}.csv", workdir=folder, choice=headed) for name in ("old", "new")), Choices())


def keys_of(plan: Plan, folder: Path, *names: str, every: int = 0) -> Keys | None:
    (folder / "work").mkdir(exist_ok=True)
    for left in (folder / "work").iterdir():
        left.unlink()
    found = read_keys(plan, [[next(pair for pair in plan.pairs if pair.name == name) for name in names]], every, folder / "work", Watch())
    return found[0] if found else None


def by_hand(old: Sequence[Row], new: Sequence[Row], width: int) -> Counted:
    keys = [Counter(row[:width] for row in rows) for rows in (old, new)]
    return Counted(
        rows=(len(old), len(new)),
        alone=tuple(sum(n == 1 for n in each.values()) for each in keys),  # type: ignore[arg-type]
        keys=(len(keys[0]), len(keys[1])),
        common=len(keys[0].keys() & keys[1].keys()),
        empty=tuple(sum("" in row[:width] for row in rows) for rows in (old, new)),  # type: ignore[arg-type]
    )


CELL = st.sampled_from(["", "1", "2", "12", "ü", "a b", "x" * 90]) | st.text("abc", max_size=3)
ROWS = st.lists(st.tuples(CELL, CELL, st.just("some words")), min_size=3, max_size=60)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(old=ROWS, new=ROWS, width=st.sampled_from([1, 2]), quoted=st.booleans(), end=st.sampled_from(["\n", "\r\n"]))
def test_keys_are_counted_as_they_occur(tmp_path, old, new, width, quoted, end):
    plan = planned(tmp_path, text(old), text(new, end=end, quoted=quoted, order=(2, 1, 0)))
    found = keys_of(plan, tmp_path, *("a", "b")[:width])
    assert found and found.counted() == by_hand(old, new, width)


def test_keys_are_counted_alike_in_one_portion_and_in_many(tmp_path, monkeypatch):
    old = [(str(i % 700), str(i % 3), "x") for i in range(2000)]
    new = [(str(i % 900), str(i % 4), "x") for i in range(3000)]
    found = keys_of(planned(tmp_path, text(old), text(new)), tmp_path, "a", "b")
    assert found
    once = found.counted()
    monkeypatch.setattr(key_counts, "AT_ONCE", 100)
    assert once == found.counted() == by_hand(old, new, 2)


@pytest.mark.parametrize("way", ["key cells", "all cells"])
def test_a_key_is_judged_alike_in_one_portion_and_in_many(way, tmp_path, monkeypatch):
    if way == "all cells":
        monkeypatch.setattr(searching, "_read_keys", lambda *given: None)
    plan = pair_of("a few rows there twice", tmp_path)
    once = judge_key(plan.old, plan.new, ("a", "b"), workdir=tmp_path / "work")
    monkeypatch.setattr(key_counts, "AT_ONCE", 5000)
    assert once == judge_key(plan.old, plan.new, ("a", "b"), workdir=tmp_path / "work")
    assert (once.rows_old, once.unique_old, once.verified) == (30_020, pytest.approx(29_980 / 30_020), True)


@pytest.mark.parametrize("every", [1, 3, 50])
def test_all_rows_of_the_picked_keys_are_picked_from_both_files(every, tmp_path):
    old = [(str(i % 500), "x", f"row {i}") for i in range(1500)]
    new = [(str(i), "x", f"row {i}") for i in range(400, 900)]
    found = keys_of(planned(tmp_path, text(old), text(new, order=(1, 2, 0))), tmp_path, "a", every=every)
    assert found
    picked = {side: records.path.read_text(encoding="utf-8-sig").splitlines() for side, records in found.picked.items()}
    keys = {line.split(",")[0] for line in picked["old"]}
    assert len(keys) == 500 if every == 1 else 0 < len(keys) < 500
    assert picked["old"] == [",".join(row) for row in old if row[0] in keys]
    common = {str(i) for i in range(400, 500)}
    assert {line.split(",")[2] for line in picked["new"]} & common == keys & common


PLAIN = [(str(i), "b", "some words") for i in range(50)]


@pytest.mark.parametrize(
    "new",
    [
        text([('"1 ""2"""', "b", "c"), *PLAIN]),
        text([('"1,2"', "b", "c"), *PLAIN]),
        text([('""', "b", "c"), *PLAIN]),
        text([('5" disk', "b", "c"), *PLAIN]),
        text(PLAIN, delimiter=";"),
        text(PLAIN, end="\r"),
        text(PLAIN) + b"1,too,many,cells\n",
        text(PLAIN) + b'"never closed,b,c\n',
    ],
)
def test_what_the_same_key_could_be_spelled_in_two_ways_in_is_read_in_another_way(new, tmp_path):
    plan = planned(tmp_path, text(PLAIN), new)
    assert keys_of(plan, tmp_path, "a") is None
    found = suggest_keys(plan.old, plan.new, workdir=tmp_path / "work")
    assert (found[0].columns, found[0].verified) == (("a",), True)


def test_reading_keys_says_how_far_it_is_and_can_be_stopped(tmp_path):
    plan = planned(tmp_path, text(PLAIN), text(PLAIN))
    said: list[tuple[str, float | None]] = []
    watch = Watch(report=lambda stage, share: said.append((stage, share)))
    suggest_keys(plan.old, plan.new, workdir=tmp_path / "work", watch=watch)
    assert any(share and share > 0.9 for stage, share in said if stage == "reading the columns that could be the key")

    stopped = Watch()
    stopped.report = lambda stage, share: stopped.cancelled.set() if share else None
    with pytest.raises(Cancelled):
        suggest_keys(plan.old, plan.new, workdir=tmp_path / "work", watch=stopped)
    assert not list((tmp_path / "work").iterdir())


# --- the same answer as by all cells -------------------------------------------------------------


def told(found: Sequence[KeySuggestion]) -> list[object]:
    return [(each, round(each.overlap, 9)) for each in found]


def pair_of(name: str, folder: Path) -> Plan:
    if "/" in name:
        paths = [next((FOLDER / name).glob(f"{side}.*")) for side in ("old", "new")]
        return make_plan(*(open_source(path, workdir=folder) for path in paths), Choices())
    rows = [(str(i), "" if i % 9 == 0 else str(i * 7 % 500), f"words {i % 13}") for i in range(30_000)]
    changed = [(a, b, words + "!" if int(a) % 7 == 0 else words) for a, b, words in rows[40:]]
    if name == "a few rows there twice":
        return planned(folder, text(rows + rows[:20]), text(changed))
    return planned(folder, text(rows), text(changed, quoted=name == "quoted"))


@pytest.mark.parametrize("name", ["quoted", "plain", "a few rows there twice", "tests/data/ieee_oui", "tests/data/airportsdata"])
def test_both_ways_suggest_the_same(name, tmp_path, monkeypatch):
    plan = pair_of(name, tmp_path)
    by_key_cells = suggest_keys(plan.old, plan.new, workdir=tmp_path / "work")
    monkeypatch.setattr(searching, "_read_keys", lambda *given: None)
    assert told(by_key_cells) == told(suggest_keys(plan.old, plan.new, workdir=tmp_path / "work"))


@pytest.mark.parametrize("name", ["quoted", "plain", "a few rows there twice"])
@pytest.mark.parametrize("key", [("a",), ("b",), ("b", "words"), ("a", "b", "words")])
def test_both_ways_judge_a_key_the_same(name, key, tmp_path, monkeypatch):
    plan = pair_of(name, tmp_path)
    by_key_cells = judge_key(plan.old, plan.new, key, workdir=tmp_path / "work")
    monkeypatch.setattr(searching, "_read_keys", lambda *given: None)
    assert by_key_cells.verified
    assert told([by_key_cells]) == told([judge_key(plan.old, plan.new, key, workdir=tmp_path / "work")])


def test_a_sure_key_is_suggested_without_reading_all_cells(tmp_path, monkeypatch):
    plan = pair_of("quoted", tmp_path)
    monkeypatch.setattr(searching, "_whole_files", lambda *given: pytest.fail("All cells are read."))
    assert suggest_keys(plan.old, plan.new, workdir=tmp_path / "work")[0].columns == ("a",)
