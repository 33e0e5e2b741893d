"""A small sample of the drills of faults and load, which run for minutes by themselves: `make drill`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drills import faults, load

SHORT = 60_000
"""Rows of the tables."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "ROWS", SHORT)


def test_cancelled_at_any_moment_a_job_leaves_nothing(tmp_path: Path) -> None:
    assert faults.cancelled(tmp_path, times=20, longest=0.4, patience=60).wrong == ()


def test_killed_and_started_again_the_server_has_lost_nothing(tmp_path: Path) -> None:
    assert faults.killed(tmp_path, times=2).wrong == ()


def test_files_that_change_while_they_are_read_are_never_mixed(tmp_path: Path) -> None:
    assert faults.changed_files(tmp_path, times=5).wrong == ()


def test_a_full_store_keeps_to_its_limit(tmp_path: Path) -> None:
    assert load.store(tmp_path, results=30, size=100_000, limit=1_000_000).wrong == ()


def test_many_at_once_all_get_the_right_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "MINUTES": 0.1,
        "READERS": 4,
        "UPLOADERS": 2,
        "PAGES": 2,
        "METRICS": 2,
        "ROWS": 5_000,
        "STATUS_LIMIT": 60.0,
    }.items():
        monkeypatch.setattr(load, name, value)
    assert load.together(tmp_path).wrong == ()
