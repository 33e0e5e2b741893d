"""What an engine is: it turns a plan into a result on disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from diffing.errors import Cancelled
from diffing.plan import Plan
from diffing.result import Result


@dataclass
class Watch:
    """How a comparison tells where it is, and how it is asked to stop. Shared between threads."""

    report: Callable[[str, float | None], None] = lambda stage, share: None
    """Told the stage in words, and the share of it that is done (0 to 1; None: not known)."""
    cancelled: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Stop here if asked to.

        Raises:
            Cancelled: someone asked.
        """
        if self.cancelled.is_set():
            raise Cancelled("The comparison was cancelled.", "Start it again when you need it.")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of the differing rows; sorting and storing rows that nobody looks at takes its time."""

    most: int | None = None
    """An engine need not keep more of them than the first so many; None: all."""
    csv: Path | None = None
    """Where to write all of them as the diffed CSV, if anywhere."""
    for_spreadsheets: bool = False
    """Whether what a spreadsheet would run as a formula is defused in it."""


ALL_ROWS = Wanted()


class Engine(Protocol):
    """Runs plans. Its results say the same whatever the engine."""

    name: str

    def run(self, plan: Plan, folder: Path, watch: Watch = ..., wanted: Wanted = ...) -> Result:
        """Compare, and leave `rows.parquet` and `summary.json` in the (existing) folder.

        Raises:
            DiffError: the comparison can't be finished; nothing in the folder is of use then.
        """

    def add_totals(self, result: Result, watch: Watch = ...) -> Result:
        """The result with what needs every row: totals, and null and duplicate keys of whole files."""
