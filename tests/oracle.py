"""What a diff means, in plain Python: slow, obvious, and the judge of every engine.

Nothing here is shared with the engines but the plan and the names of fates and rules. A table is
a list of rows, a row a list of cells as in the file; an empty cell is "".
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import zip_longest
from typing import Protocol

from diffing.grammar import ColumnType
from diffing.naming import unique_names
from diffing.plan import ColumnPair
from diffing.result import Cell, Change

Row = tuple[str, ...]
"""The cells of the key columns, then of the compared columns, as one file spells them."""

MOST_PAIRS = 1_000
"""A key with more possible pairs than this is paired in text order."""

_NUMBER = re.compile(r"([+-]?)(?:(0|[1-9][0-9]*)(?:\.([0-9]*))?|\.([0-9]+))(?:[eE]([+-]?[0-9]+))?")
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?)?"
)


class Asked(Protocol):
    """The part of a plan that decides a verdict."""

    @property
    def key(self) -> tuple[ColumnPair, ...]: ...
    @property
    def columns(self) -> tuple[ColumnPair, ...]: ...


@dataclass(frozen=True)
class Verdict:
    """What an engine must say about two tables."""

    rows: list[list[str]]
    """The rows of the diffed CSV, in order, without its header."""
    added: int
    removed: int
    changed: int
    unchanged: int
    changed_cells: int
    changed_by_column: dict[str, int]
    """Compared column to the cells that differ."""
    same_by_rule: dict[str, dict[Cell, int]]
    """Compared column to the rules that made different texts the same, and how often."""
    key_same_by_rule: dict[str, int]
    """Key column to the matched rows whose key texts differ; columns without any are left out."""


@dataclass(frozen=True)
class Number:
    """A cell that reads as a number: exactly `digits` times ten to the `exponent`."""

    digits: str
    """Signed; without zeros at either end, but for "0" itself."""
    exponent: int
    fits: bool = field(compare=False)
    """Written without exponent, with at most 20 digits before and 18 after the point."""
    real: float = field(compare=False)

    @property
    def scaled(self) -> int:
        """The value in units of 1e-18; only for numbers that fit."""
        return int(self.digits) * 10 ** (18 + self.exponent)


NOTHING = Number("0", 0, True, 0.0)
"""What an empty cell adds to a sum."""


@dataclass(frozen=True)
class Moment:
    """A cell that reads as a date or a timestamp: an instant if it has an offset, else local."""

    is_instant: bool
    since_year_one: timedelta


Meaning = str | Number | Moment
Couple = tuple[Row | None, Row | None]
"""An old and a new row that were matched, or one row and no partner."""


def judge(old: Iterable[Sequence[str]], new: Iterable[Sequence[str]], plan: Asked) -> Verdict:
    """The fate of every row of two tables."""
    pairs = plan.key + plan.columns
    before = Counter(tuple(row[pair.old] for pair in pairs) for row in old)
    after = Counter(tuple(row[pair.new] for pair in pairs) for row in new)
    identical = before & after
    couples = _couples(list((before - identical).elements()), list((after - identical).elements()), plan)
    return _verdict(couples, identical.total(), plan)


def header(plan: Asked) -> list[str]:
    """The first line of the diffed CSV."""
    names = ["change"]
    for pair in plan.key:
        names += [f"{pair.name}_old", f"{pair.name}_new"] if pair.widened else [pair.name]
    for pair in plan.columns:
        names += [f"{pair.name}_old", f"{pair.name}_new"]
        names += [f"{pair.name}_change"] if pair.type is ColumnType.NUMBER else []
    return unique_names(names)


# --- which rows belong together ------------------------------------------------------------------


def _couples(old: list[Row], new: list[Row], plan: Asked) -> list[Couple]:
    olds, news = defaultdict(list), defaultdict(list)  # type: dict[Hashable, list[Row]], dict[Hashable, list[Row]]
    for row in old:
        olds[_match_on(row, "old", plan)].append(row)
    for row in new:
        news[_match_on(row, "new", plan)].append(row)
    return [couple for key in olds.keys() | news.keys() for couple in _pair_up(olds[key], news[key], plan)]


def _match_on(row: Row, side: str, plan: Asked) -> tuple[Meaning, ...]:
    """What a row must share with its partner: its key, or without a key all of its cells."""
    if plan.key:
        return tuple(_key_meaning(cell, pair, side) for cell, pair in zip(row, plan.key, strict=False))
    return tuple(_meaning(cell, pair, side, by_value=True) for cell, pair in zip(row, plan.columns, strict=True))


def _pair_up(old: list[Row], new: list[Row], plan: Asked) -> list[Couple]:
    """The rows of one key as couples; what has no partner comes alone."""
    if not plan.key or len(old) * len(new) > MOST_PAIRS:
        return list(zip_longest(sorted(old, key=_bytes), sorted(new, key=_bytes)))
    tries = [(_codes(a, b, plan).count(Cell.DIFFERS), _bytes(a), _bytes(b), i, j) for i, a in enumerate(old) for j, b in enumerate(new)]
    partner: dict[int, int] = {}
    for *_, i, j in sorted(tries):
        if i not in partner and j not in partner.values():
            partner[i] = j
    alone = [(None, row) for j, row in enumerate(new) if j not in partner.values()]
    return [(row, new[partner[i]] if i in partner else None) for i, row in enumerate(old)] + alone


def _bytes(row: Row | None) -> list[bytes]:
    """What rows are ordered by as text: cell by cell in UTF-8, empty first."""
    return [cell.encode() for cell in row or ()]


# --- what a cell means ---------------------------------------------------------------------------


def _key_meaning(cell: str, pair: ColumnPair, side: str) -> Meaning:
    return _meaning(cell, pair, side, by_value=pair.by_value or bool(pair.old_format or pair.new_format))


def _meaning(cell: str, pair: ColumnPair, side: str, *, by_value: bool) -> Meaning:
    """What makes two cells match without being asked in pairs."""
    text = _known(cell, pair)
    value = _value(text, pair, side) if by_value else None
    return value or (text.lower() if pair.ignore_case else text)


def _value(text: str, pair: ColumnPair, side: str) -> Number | Moment | None:
    if pair.type is ColumnType.NUMBER:
        return read_number(text)
    if pair.type is ColumnType.DATE:
        return read_date(text, pair.old_format if side == "old" else pair.new_format)
    return None


def _trimmed(cell: str, pair: ColumnPair) -> str:
    return cell.strip(" \t\u00a0") if pair.ignore_space else cell


def _known(cell: str, pair: ColumnPair) -> str:
    """A cell without ignored spaces, and empty if it is a word for null."""
    text = _trimmed(cell, pair)
    if pair.ignore_case:
        return "" if text.lower() in [word.lower() for word in pair.nulls] else text
    return "" if text in pair.nulls else text


def read_number(text: str) -> Number | None:
    """The number a cell is; None if it is text."""
    found = _NUMBER.fullmatch(text)
    if not found or len((found[5] or "").lstrip("+-")) > 9 or math.isinf(float(text)):
        return None
    whole, fraction = found[2] or "", found[3] or found[4] or ""
    written = (whole + fraction).lstrip("0")
    digits = written.rstrip("0")
    exponent = int(found[5] or 0) - len(fraction) + len(written) - len(digits)
    fits = found[5] is None and len(whole) <= 20 and len(fraction) <= 18
    if not digits:
        return Number("0", 0, fits, 0.0)
    return Number(found[1].strip("+") + digits, exponent, fits, float(text))


def read_date(text: str, spelling: str | None = None) -> Moment | None:
    """The date or timestamp a cell is, in a strptime format or else as ISO 8601; None if it is text."""
    return (_moment(lambda: datetime.strptime(text, spelling)) if spelling else None) or (
        _moment(lambda: datetime.fromisoformat(text)) if _DATE.fullmatch(text) else None
    )


def _moment(read: Callable[[], datetime]) -> Moment | None:
    try:
        moment = read()
    except ValueError:
        return None
    offset = moment.utcoffset()
    local = moment.replace(tzinfo=None) - datetime.min
    return Moment(offset is not None, local - (offset or timedelta()))


# --- same or not ---------------------------------------------------------------------------------


def _codes(old: Row, new: Row, plan: Asked) -> list[Cell]:
    start = len(plan.key)
    cells = zip(old[start:], new[start:], plan.columns, strict=True)
    return [compare(a, b, pair, tolerant=bool(plan.key)) for a, b, pair in cells]


def compare(old: str, new: str, pair: ColumnPair, *, tolerant: bool = True) -> Cell:
    """The first rule under which two cells are the same, or that they differ."""
    if old == new:
        return Cell.SAME_TEXT
    if _trimmed(old, pair) == _trimmed(new, pair):
        return Cell.SPACE
    a, b = _known(old, pair), _known(new, pair)
    if a == b:
        return Cell.NULL_WORD
    if by_value := _same_value(a, b, pair, tolerant):
        return by_value
    return Cell.CASE if pair.ignore_case and a.lower() == b.lower() else Cell.DIFFERS


def _same_value(old: str, new: str, pair: ColumnPair, tolerant: bool) -> Cell | None:
    a, b = _value(old, pair, "old"), _value(new, pair, "new")
    if isinstance(a, Number) and isinstance(b, Number):
        if a == b:
            return Cell.NUMBER
        return Cell.TOLERANCE if tolerant and _within(a, b, pair) else None
    return Cell.DATE if a and a == b else None


def _within(a: Number, b: Number, pair: ColumnPair) -> bool:
    relative, absolute = (pair.tolerance.relative, pair.tolerance.absolute) if pair.tolerance else (1e-9, 0.0)
    both_whole = a.exponent >= 0 and b.exponent >= 0
    if (pair.tolerance is None and both_whole) or relative == absolute == 0:
        return False
    largest = max(abs(a.real), abs(b.real))
    bound = max(relative * largest, absolute)
    if a.fits and b.fits:
        exact = abs(a.scaled - b.scaled) / 10**18
        return max(abs(a.real - b.real), exact) <= bound
    return bound > 0 and abs(a.real - b.real) + 4.5e-16 * largest <= bound


# --- what is said about it -----------------------------------------------------------------------


def _verdict(couples: list[Couple], identical: int, plan: Asked) -> Verdict:
    fates = Counter(_fate(couple, plan) for couple in couples)
    matched = [(old, new) for old, new in couples if old is not None and new is not None]
    columns = list(zip(*(_codes(old, new, plan) for old, new in matched), strict=True)) or [()] * len(plan.columns)
    codes = {pair.name: Counter(column) for pair, column in zip(plan.columns, columns, strict=True)}
    by_key = {pair.name: sum(old[i] != new[i] for old, new in matched) for i, pair in enumerate(plan.key)}
    changed = {name: count[Cell.DIFFERS] for name, count in codes.items()}
    differing = [couple for couple in couples if _fate(couple, plan) is not Change.UNCHANGED]
    return Verdict(
        rows=[_output(couple, plan) for couple in sorted(differing, key=lambda couple: _rank(couple, plan))],
        added=fates[Change.ADDED],
        removed=fates[Change.REMOVED],
        changed=fates[Change.CHANGED],
        unchanged=fates[Change.UNCHANGED] + identical,
        changed_cells=sum(changed.values()),
        changed_by_column=changed,
        same_by_rule={name: _rules(count) for name, count in codes.items()},
        key_same_by_rule={name: count for name, count in by_key.items() if count},
    )


def _rules(codes: Counter[Cell]) -> dict[Cell, int]:
    return {code: count for code, count in codes.items() if code not in (Cell.SAME_TEXT, Cell.DIFFERS)}


def _fate(couple: Couple, plan: Asked) -> Change:
    old, new = couple
    if old is None:
        return Change.ADDED
    if new is None:
        return Change.REMOVED
    return Change.CHANGED if Cell.DIFFERS in _codes(old, new, plan) else Change.UNCHANGED


def _output(couple: Couple, plan: Asked) -> list[str]:
    """One line of the diffed CSV."""
    width = len(plan.key) + len(plan.columns)
    cells = list(zip(couple[0] or [""] * width, couple[1] or [""] * width, strict=True))
    line = [str(_fate(couple, plan))]
    for pair, (old, new) in zip(plan.key, cells, strict=False):
        line += [old, new] if pair.widened else [old or new]
    for pair, (old, new) in zip(plan.columns, cells[len(plan.key) :], strict=True):
        line += [old, new, difference(old, new, pair)] if pair.type is ColumnType.NUMBER else [old, new]
    return line


def difference(old: str, new: str, pair: ColumnPair) -> str:
    """New − old in plain notation; nothing there counts as zero; "" if a cell doesn't read."""
    a, b = (read_number(text) if text else NOTHING for text in (_known(old, pair), _known(new, pair)))
    if a is None or b is None:
        return ""
    if a.fits and b.fits and abs(b.scaled - a.scaled) < 10**38:
        return _plain(Decimal(f"{b.scaled - a.scaled}e-18"))
    return "" if math.isinf(b.real - a.real) else _plain(Decimal(repr(b.real - a.real)))


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


# --- in which order ------------------------------------------------------------------------------


def _rank(couple: Couple, plan: Asked) -> tuple[object, ...]:
    """Key first, then change, then the old row's and the new row's text."""
    old, new = couple
    row, side = (new, "new") if old is None else (old, "old")
    assert row is not None
    keys = [_key_rank(_key_meaning(cell, pair, side), pair) for cell, pair in zip(row, plan.key, strict=False)]
    return keys, str(_fate(couple, plan)), _bytes(old), _bytes(new)


def _key_rank(key: Meaning, pair: ColumnPair) -> tuple[object, ...]:
    """Empty first; in number columns then numbers by value; then the rest by its text's bytes."""
    if key == "":
        return (0,)
    number = read_number(key) if isinstance(key, str) and pair.type is ColumnType.NUMBER else key
    if isinstance(number, Number):
        if isinstance(key, Number):
            return 1, number.real, Decimal(f"{number.digits}e{number.exponent}"), b""
        return 1, number.real, number.scaled if number.fits else math.inf, _spelled(key).encode()
    return 2, _spelled(key).encode()


def _spelled(key: Meaning) -> str:
    if isinstance(key, Number):
        return f"{key.digits}e{key.exponent}"
    if isinstance(key, Moment):
        text = str(datetime.min + key.since_year_one)
        return (text.rstrip("0") if "." in text else text) + ("Z" if key.is_instant else "")
    return key
