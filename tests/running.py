"""What a run of the command line leaves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ran:
    """How a run of the command line ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def fates(self) -> tuple[int, ...]:
        """added, removed, changed, unchanged"""
        return tuple(self.json[fate] for fate in ("added", "removed", "changed", "unchanged"))
