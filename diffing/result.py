"""The contract between engines and views: one Parquet file of differences, and a summary.

`rows.parquet` has one row per added, removed or changed row of the two files, in output order:

    change    VARCHAR   a `Change`, never "unchanged"
    codes     VARCHAR   one character per compared column (`Cell`); on added and removed rows all "."
    k{i}_old, k{i}_new  VARCHAR   the key cells as in the files; null where the row or the cell is empty
    c{i}_old, c{i}_new  VARCHAR   the compared cells, likewise
    c{i}_change         VARCHAR   for number columns: new − old in plain decimal notation

where `i` counts `plan.key` and `plan.columns` from 0. Column names are in the plan only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from diffing.grammar import ColumnType
from diffing.plan import Plan
from diffing.records import BadLine

ROWS_FILE = "rows.parquet"
SUMMARY_FILE = "summary.json"


class Change(StrEnum):
    """The fate of a row."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


class Cell(StrEnum):
    """How a pair of cells compares; the codes in `rows.parquet`."""

    SAME_TEXT = "="
    SPACE = "s"
    NULL_WORD = "w"
    NUMBER = "n"
    TOLERANCE = "t"
    DATE = "d"
    CASE = "c"
    DIFFERS = "x"
    ALONE = "."
    """There is no partner: the row was added or removed."""


RULE_WORDS: Mapping[Cell, str] = {
    Cell.SPACE: "ignoring surrounding spaces",
    Cell.NULL_WORD: "null words",
    Cell.NUMBER: "numbers by value",
    Cell.TOLERANCE: "within tolerance",
    Cell.DATE: "dates by value",
    Cell.CASE: "ignoring case",
}
"""The rules under which different texts count as the same, in the order they are tried."""


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """What became of one compared column."""

    name: str
    type: ColumnType
    changed: int
    """Cells that differ, in changed rows."""
    same_share: float | None
    """Share of the matched rows in which the cell is the same; None when no row matched."""
    same_by_rule: Mapping[str, int]
    """Words of a rule to the number of cells whose text differs but count as the same."""
    sum_of_changes: str | None
    """Number columns: new − old over changed, added and removed rows, as a plain decimal."""
    unreadable: int = 0
    """Cells among the differing rows that don't read as the column's type, and so compared as text."""
    old_total: str | None = None
    """Sum over all rows of the old file; None until totals are asked for, or for other types."""
    new_total: str | None = None


@dataclass(frozen=True, slots=True)
class SideSummary:
    """What one file contributed. Rows and lines are counts."""

    name: str
    rows: int
    bad_lines: int
    filled_lines: int
    bad: tuple[BadLine, ...]
    """The first hundred bad (or filled) lines."""
    null_keys: int
    """Rows with an empty key cell: among rows not identical in both files, or all (see `whole_files`)."""
    duplicate_keys: int
    """Keys that occur more than once, counted over the same rows."""
    duplicate_key_rows: int
    """The rows that have such a key."""
    dialect: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Summary:
    """The counts of a comparison. Two laws hold:

    old rows = unchanged + changed + removed, new rows = unchanged + changed + added.
    """

    old: SideSummary
    new: SideSummary
    added: int
    removed: int
    changed: int
    unchanged: int
    changed_cells: int
    columns: tuple[ColumnSummary, ...]
    key_same_by_rule: Mapping[str, int]
    """Key cells of matched rows that match by value or rule though their text differs, by column."""
    key: tuple[str, ...]
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    columns_renamed: Mapping[str, str]
    columns_ignored: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]
    """Stage to seconds; "total" is the whole comparison."""
    whole_files: bool = False
    """Whether null and duplicate keys were counted over whole files (with totals)."""

    @property
    def differing_rows(self) -> int:
        """Rows in the result: added, removed and changed."""
        return self.added + self.removed + self.changed

    @property
    def differs(self) -> bool:
        """Whether anything is different: a row, a column, or bad lines that were left out."""
        left_out = self.old.bad_lines + self.new.bad_lines
        return bool(self.differing_rows or self.columns_added or self.columns_removed or left_out)

    def to_json(self) -> dict[str, Any]:
        """Plain data, the same after a round trip through JSON."""
        data: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return data

    def report(self) -> dict[str, Any]:
        """The counts under the names that programs read, on the command line and over HTTP."""
        both = {"old": self.old, "new": self.new}
        plain = self.to_json()
        same = ("added", "removed", "changed", "unchanged", "changed_cells", "columns_added", "columns_removed", "columns_renamed")
        return {
            "old_rows": self.old.rows,
            "new_rows": self.new.rows,
            **{name: plain[name] for name in same},
            "columns_ignored": plain["columns_ignored"],
            "columns": {each.pop("name"): each for each in plain["columns"]},
            "key": plain["key"],
            "key_same_by_rule": plain["key_same_by_rule"],
            "null_keys": {side: each.null_keys for side, each in both.items()},
            "duplicate_keys": {side: {"keys": each.duplicate_keys, "rows": each.duplicate_key_rows} for side, each in both.items()},
            "keys_counted_over": "whole files" if self.whole_files else "rows that are not identical in both files",
            "bad_lines": {side: each.bad_lines for side, each in both.items()},
            "filled_lines": {side: each.filled_lines for side, each in both.items()},
            "bad_line_texts": {side: plain[side]["bad"] for side in both},
            "dialects": {side: plain[side]["dialect"] for side in both},
            "warnings": plain["warnings"],
            "notes": plain["notes"],
            "seconds": self.seconds.get("total", 0.0),
            "stages": plain["seconds"],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Summary:
        def side(each: Mapping[str, Any]) -> SideSummary:
            return SideSummary(**{**each, "bad": tuple(BadLine(**line) for line in each["bad"])})

        def column(each: Mapping[str, Any]) -> ColumnSummary:
            return ColumnSummary(**{**each, "type": ColumnType(each["type"])})

        tuples = ("key", "columns_added", "columns_removed", "columns_ignored", "warnings", "notes")
        plain = {**data, **{name: tuple(data[name]) for name in tuples}}
        plain |= {"old": side(data["old"]), "new": side(data["new"])}
        return cls(**plain | {"columns": tuple(map(column, data["columns"]))})


@dataclass(frozen=True)
class Result:
    """A finished comparison: its plan, its counts, and where its differences are."""

    plan: Plan
    summary: Summary
    folder: Path

    @property
    def rows_file(self) -> Path:
        """A file, or a folder of parts that were written by a cluster; their names are in their order."""
        return self.folder / ROWS_FILE

    @property
    def rows_pattern(self) -> str:
        """The same as what DuckDB reads: a file or all parts, in order."""
        return str(self.rows_file / "*.parquet") if self.rows_file.is_dir() else str(self.rows_file)

    def with_summary(self, **changes: Any) -> Result:
        return replace(self, summary=replace(self.summary, **changes))
