"""What reads as a number, a date or a timestamp.

The patterns are written in the part of regular expressions that Python's `re` and RE2 (DuckDB)
and Java share, so that every engine reads a cell alike. They match whole cells.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum

NUMBER = (
    r"[+-]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]+)?"
    r"|[+-]?\.[0-9]+([eE][+-]?[0-9]+)?"
)
"""A number as people and programs write it. `007`, `1_000`, ` 5`, `1,5` and `nan` are text."""

DECIMAL = r"[+-]?(0|[1-9][0-9]{0,19})(\.[0-9]{0,18})?|[+-]?\.[0-9]{1,18}"
"""The numbers that a DECIMAL(38,18) holds exactly: most of them."""

PLAIN_DECIMAL = r"0|-?[1-9][0-9]{0,19}(\.[0-9]{0,17}[1-9])?|-?0\.[0-9]{0,17}[1-9]"
"""Of these, those written as changes are: no `+`, no exponent, no zeros that say nothing."""
PLAIN_INTEGER = "0|-?[1-9][0-9]{0,17}"
"""Whole numbers of 64 bits, each with its only spelling."""

INTEGER = r"[+-]?(0|[1-9][0-9]*)"
WHOLE_DECIMAL = r"[+-]?(0|[1-9][0-9]*)\.0*"
"""A decimal whose fraction is zero, as `1.0`: what a float column makes of integers."""

DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
OFFSET = r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
TIMESTAMP = rf"{DATE}([ T]{_CLOCK}{OFFSET}?)?"
"""A date, or a date and a time of day with up to six digits of fraction and perhaps an offset."""
LOCAL_TIMESTAMP = rf"{DATE}([ T]{_CLOCK})?"
OFFSET_TIMESTAMP = rf"{DATE}[ T]{_CLOCK}{OFFSET}"
MIDNIGHT = rf"{DATE}[ T]00:00(:00(\.0{{1,6}})?)?"
"""A timestamp that is only a date."""

SPACES = " \t\u00a0"
"""What “ignore surrounding spaces” removes: blank, tab, no-break space."""

TYPE_SHARE = 0.9
"""The least share of non-empty sampled cells that must read as a type to give a column that type."""

MAX_EXPONENT_DIGITS = 9
"""A number whose exponent is written with more digits than this counts as text."""


class ColumnType(StrEnum):
    """How different texts of a column are compared: by value, or not at all."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"


class Shape(StrEnum):
    """What every non-empty sampled cell of a column looks like."""

    EMPTY = "empty"
    INTEGER = "integer"
    WHOLE_DECIMAL = "whole decimal"
    NUMBER = "number"
    DATE = "date"
    MIDNIGHT = "midnight"
    TIMESTAMP = "timestamp"
    TEXT = "text"


SPELLED_IN_TWO_WAYS = {
    frozenset({Shape.INTEGER, Shape.WHOLE_DECIMAL}): r"[.]0*$",
    frozenset({Shape.DATE, Shape.MIDNIGHT}): r"[ T]00:00(:00([.]0*)?)?$",
}
"""Shapes of the cells of two files that may be the same values, and what one of them has at its end more than the other."""

_number = re.compile(NUMBER).fullmatch
_timestamp = re.compile(TIMESTAMP).fullmatch
_SHAPES = [
    (Shape.INTEGER, re.compile(INTEGER).fullmatch),
    (Shape.WHOLE_DECIMAL, re.compile(WHOLE_DECIMAL).fullmatch),
    (Shape.NUMBER, _number),
    (Shape.DATE, re.compile(DATE).fullmatch),
    (Shape.MIDNIGHT, re.compile(MIDNIGHT).fullmatch),
    (Shape.TIMESTAMP, _timestamp),
]


def is_number(text: str) -> bool:
    """Whether a cell is a number: the grammar, and neither beyond a double nor an endless exponent."""
    if not _number(text):
        return False
    if len(text) < 300 and "e" not in text and "E" not in text:
        return True
    exponent = text.lower().partition("e")[2].lstrip("+-")
    return len(exponent) <= MAX_EXPONENT_DIGITS and math.isfinite(float(text))


def is_date(text: str) -> bool:
    """Whether a cell looks like a date or a timestamp; the calendar is not asked."""
    return _timestamp(text) is not None


def type_of(cells: Sequence[str]) -> ColumnType:
    """The type of a column, from a sample of its non-empty cells."""
    if not cells:
        return ColumnType.TEXT
    counts = Counter(cells)
    most_other = len(cells) - TYPE_SHARE * len(cells)
    for kind, reads in ((ColumnType.NUMBER, is_number), (ColumnType.DATE, is_date)):
        if _misses(counts, reads, most_other) <= most_other:
            return kind
    return ColumnType.TEXT


def _misses(counts: Counter[str], reads: Callable[[str], bool], most: float) -> int:
    """How many cells don't read; counting stops beyond `most`."""
    misses = 0
    for cell, count in counts.items():
        if not reads(cell):
            misses += count
            if misses > most:
                break
    return misses


def shape_of(cells: Sequence[str]) -> Shape:
    """The narrowest shape that all sampled non-empty cells share."""
    if not cells:
        return Shape.EMPTY
    return next((shape for shape, match in _SHAPES if all(map(match, cells))), Shape.TEXT)
