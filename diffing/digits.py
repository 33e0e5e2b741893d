"""How many digits the numbers of a column have: what makes comparing them cheap.

Most number columns hold plain decimals of a few digits. A sample tells how many; what is compared is
still held to it cell by cell.
"""

from __future__ import annotations

from dataclasses import dataclass

WIDTHS = (17, 37)
"""The most digits of types of 64 and of 128 bits, less one: differences may have one more."""
FEW = 6
"""Columns with more digits after the point than this are sums or shares, and may have any number of them."""


@dataclass(frozen=True, slots=True)
class Digits:
    """Decimals that have at most so many digits altogether, and so many after the point."""

    width: int
    after: int

    @classmethod
    def of(cls, before: int, after: int) -> Digits:
        """For a column whose sample has so many digits before the point, and after it."""
        narrow, wide = WIDTHS
        return cls(narrow, after) if after <= FEW and before + after < narrow else cls(wide, 18)

    @property
    def is_narrow(self) -> bool:
        return self.width == WIDTHS[0]

    @property
    def type(self) -> str:
        """The SQL type that holds them, and their differences with one digit more."""
        return f"DECIMAL({self.width},{self.after})"

    @property
    def pattern(self) -> str:
        """Their grammar: that part of `grammar.DECIMAL` that fits."""
        most = self.width - self.after
        if not self.after:
            return rf"[+-]?(0|[1-9][0-9]{{0,{most - 1}}})\.?"
        return rf"[+-]?(0|[1-9][0-9]{{0,{most - 1}}})(\.[0-9]{{0,{self.after}}})?|[+-]?\.[0-9]{{1,{self.after}}}"
