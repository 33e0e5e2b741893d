"""What can go wrong, in words a person can act on."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class DiffError(Exception):
    """Anything that stops a comparison.

    `message` says what happened, with names and values; `hint` says what to do, and may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SourceError(DiffError):
    """A file that is missing, can't be read, or is no table."""


class NotUtf8Error(SourceError):
    """A file that was presumed to be UTF-8 is not; describe it again, without presuming that."""


class BadLinesError(SourceError):
    """A file with lines that are no rows, when bad lines are refused."""


class PlanError(DiffError):
    """A choice that can't be carried out on these two files."""


class ColumnNotFound(PlanError):
    """A name that is no column."""

    @classmethod
    def among(cls, name: str, known: Iterable[str], *, use: str) -> ColumnNotFound:
        """The error for a name given as a key, a column to ignore and so on (`use`)."""
        known = list(known)
        lower = {each.lower(): each for each in reversed(known)}
        near = [lower[each] for each in get_close_matches(name.lower(), lower, n=1, cutoff=0.4)]
        listed = ", ".join(f"“{each}”" for each in known[:12]) + (", …" if len(known) > 12 else "")
        hint = f"Did you mean “{near[0]}”? " if near else ""
        return cls(f"There is no column “{name}” to use as {use}.", f"{hint}The columns are {listed}.")


class MetricError(DiffError):
    """A registry of metrics, or an entry of it, that can't be used."""


class EngineError(DiffError):
    """A comparison that started and could not finish."""


class Cancelled(EngineError):
    """A comparison that was stopped on request."""


class StoreError(DiffError):
    """A result that can't be kept or found."""
