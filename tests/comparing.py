"""Comparing files in a test in one line."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffing.dialects import DialectChoice
from diffing.engines import Wanted
from diffing.engines.duckdb import DuckDBEngine
from diffing.export import write_csv
from diffing.plan import Choices
from diffing.preparing import open_pair, prepare
from diffing.result import Change, Summary

ENGINE = DuckDBEngine(threads=2)


@dataclass(frozen=True)
class Compared:
    """What a comparison found, easy to ask."""

    summary: Summary
    csv: str

    @property
    def fates(self) -> dict[str, int]:
        """added, removed, changed, unchanged."""
        return {fate.value: getattr(self.summary, fate.value) for fate in Change}

    @property
    def rows(self) -> list[dict[str, str]]:
        """The diffed CSV."""
        return list(csv.DictReader(io.StringIO(self.csv, newline="")))

    @property
    def changed_cells(self) -> dict[str, int]:
        """Column to the number of its cells that differ; columns without any are left out."""
        return {column.name: column.changed for column in self.summary.columns if column.changed}

    @property
    def same_by_rule(self) -> dict[str, dict[str, int]]:
        """Column to rule to count; columns without any are left out."""
        return {column.name: dict(column.same_by_rule) for column in self.summary.columns if column.same_by_rule}


def compare_files(
    old: Path,
    new: Path,
    workdir: Path,
    *,
    totals: bool = False,
    old_dialect: DialectChoice = DialectChoice(),
    new_dialect: DialectChoice = DialectChoice(),
    **choices: Any,
) -> Compared:
    """Compare two files by the given choices; without a key, whole rows. The diffed CSV is the same from the engine and from its result."""
    sources = open_pair(old, new, workdir=workdir, old_choice=old_dialect, new_choice=new_dialect)
    plan = prepare(*sources, Choices(**choices), workdir=workdir, keyless=True).plan
    folder = workdir / "result"
    folder.mkdir(exist_ok=True)
    result = ENGINE.run(plan, folder, wanted=Wanted(csv=folder / "at_once.csv"))
    if totals:
        result = ENGINE.add_totals(result)
    write_csv(result, folder / "diff.csv")
    written = (folder / "diff.csv").read_bytes()
    assert (folder / "at_once.csv").read_bytes() == written
    return Compared(result.summary, written.decode())


def compare_texts(old: str, new: str, workdir: Path, **choices: Any) -> Compared:
    """Compare two CSV texts."""
    for name, text in (("old.csv", old), ("new.csv", new)):
        (workdir / name).write_bytes(text.encode())
    return compare_files(workdir / "old.csv", workdir / "new.csv", workdir, **choices)
