"""A plan as SQL text. What "same" means lives here, once.

Nothing here touches data or a connection. Cells arrive as text under positional names; names of
columns never reach SQL, and values a user gave are bound as parameters. `Spelling` holds what two
engines write differently.

Tables that the fragments read (`i` counts `plan.pairs`, key first):

    old_left, new_left   p{i} VARCHAR: the cells of rows that are not identical in both files;
                         m{i}: the matching form of a key cell, where it is not the cell itself;
                         slot: 0, or which of several rows with the same key this is
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from diffing import grammar
from diffing.digits import Digits
from diffing.grammar import ColumnType
from diffing.plan import DEFAULT_TOLERANCE, ColumnPair, Plan
from diffing.result import Cell, Change

DECIMAL = "DECIMAL(38,18)"
UNFORESEEN = "?"
"""In place of a code or a change: a cell is not what its column was expected to hold."""
WIDE = 100
"""From so many columns on, columns with the same rule share one expression."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """The few places where two engines write the same idea differently."""

    parameter: Callable[[str], str]
    """A named parameter."""
    matches: Callable[[str, str], str]
    """Whether a whole text matches a pattern (the pattern as SQL text)."""
    contains: Callable[[str, str], str]
    """Whether a pattern occurs in a text."""
    extract: Callable[[str, str, int], str]
    """A group of a pattern's first match in a text; empty text if there is none."""
    without: Callable[[str, str], str]
    """A text without what matches a pattern."""
    trim: Callable[[str, str], str]
    """A text without the given characters around it."""
    lower: Callable[[str], str]
    """A text in lower case, character by character."""
    minus: Callable[[str, str], str]
    """The difference of two decimals, or NULL where it does not fit one."""
    digits: Callable[[str], str]
    """A finite double as text, with the fewest digits that tell it from others."""
    finite: Callable[[str], str]
    """Whether a double is neither infinite nor NaN."""
    local: Callable[[str], str]
    """A text in the grammar of local timestamps as canonical text; NULL if the calendar lacks it."""
    absolute: Callable[[str], str]
    """The same for one with an offset: in UTC, ending in Z."""
    by_format: Callable[[str, str, Callable[[Any], str]], str]
    """by_format(text, format, bind): a text read by a format, as either canonical text; NULL if it does not read."""
    list_of: Callable[[str], str]
    """The items between commas, as a list."""
    item: Callable[[str, int], str]
    """The nth item of a list, from 1."""
    joined: Callable[[str], str]
    """The texts of a list as one."""
    each: Callable[[str, str, Callable[[str, str], str]], str]
    """each(list, list, body): the body for each two items, as a list."""
    let: Callable[[str, str, str], str]
    """let(name, value, body): the body, in which the name stands for the value, worked out once."""


@dataclass
class Sql:
    """Builds the statements of one plan in one spelling, collecting their bound values."""

    plan: Plan
    spelling: Spelling
    params: dict[str, Any] = field(default_factory=dict)
    digits: dict[ColumnPair, Digits] = field(default_factory=dict)
    """Compared columns whose cells are expected to be such decimals; what is not is told as UNFORESEEN."""

    def bind(self, value: Any) -> str:
        """A parameter that stands for the value."""
        name = next((name for name, known in self.params.items() if known == value and type(known) is type(value)), None)
        if name is None:
            name = f"v{len(self.params)}"
            self.params[name] = value
        return self.spelling.parameter(name)

    # --- what a cell means -----------------------------------------------------------------------

    def trimmed(self, cell: str, pair: ColumnPair) -> str:
        if not pair.ignore_space:
            return cell
        return f"nullif({self.spelling.trim(cell, self.bind(grammar.SPACES))}, '')"

    def normal(self, cell: str, pair: ColumnPair) -> str:
        """A cell after the rules for spaces and null words."""
        trimmed = self.trimmed(cell, pair)
        if not pair.nulls:
            return trimmed
        lower = self.spelling.lower
        tested = lower(trimmed) if pair.ignore_case else trimmed
        words = ", ".join(lower(self.bind(w)) if pair.ignore_case else self.bind(w) for w in pair.nulls)
        return f"CASE WHEN {tested} IN ({words}) THEN NULL ELSE {trimmed} END"

    def fits(self, text: str) -> str:
        """Whether a text is a number that DECIMAL(38,18) holds exactly."""
        return self.spelling.matches(text, _quoted(grammar.DECIMAL))

    def is_number(self, text: str) -> str:
        endless = self.spelling.contains(text, _quoted(f"[eE][+-]?[0-9]{{{grammar.MAX_EXPONENT_DIGITS + 1}}}"))
        finite = self.spelling.finite(f"TRY_CAST({text} AS DOUBLE)")
        return f"({self.spelling.matches(text, _quoted(grammar.NUMBER))} AND NOT {endless} AND coalesce({finite}, FALSE))"

    def canonical_number(self, number: str) -> str:
        """The one text of a number's value: sign, digits, `e`, exponent. Exact at any size."""
        let, extract = self.spelling.let, self.spelling.extract
        power_of_ten = extract("num", _quoted(r"[eE]([+-]?[0-9]+)\z"), 1)
        exponent = f"coalesce(TRY_CAST({power_of_ten} AS BIGINT), 0)"
        fraction = extract("num", _quoted(r"\.([0-9]*)"), 1)
        digits = _ltrim(f"{extract('num', _quoted('^[+-]?([0-9]*)'), 1)} || {fraction}", "0")
        bare = _rtrim("digits", "0")
        power = f"{exponent} - length({fraction}) + length(digits) - length({bare})"
        sign = "CASE WHEN num LIKE '-%' THEN '-' ELSE '' END"
        written = f"{sign} || {bare} || 'e' || CAST({power} AS STRING)"
        return let("num", number, let("digits", digits, f"CASE WHEN digits = '' THEN '0e0' ELSE {written} END"))

    def instant(self, text: str, format_: str | None) -> str:
        """The canonical text of a date or timestamp, by the named format or else ISO 8601; NULL if it is none.

        A text that equals a canonical form reads as one itself, so that no text is taken for a date.
        """
        local = self.spelling.matches(text, _quoted(grammar.LOCAL_TIMESTAMP))
        absolute = self.spelling.matches(text, _quoted(grammar.OFFSET_TIMESTAMP))
        iso = (
            f"CASE WHEN {text} LIKE '0000%' THEN NULL"
            f" WHEN {local} THEN {self.spelling.local(text)} WHEN {absolute} THEN {self.spelling.absolute(text)} END"
        )
        return iso if format_ is None else f"coalesce({self._by_format(text, format_)}, {iso})"

    def _by_format(self, text: str, format_: str) -> str:
        """The same for a named format. It is held to what it says: no spaces it has not, four digits for %Y."""
        spaces = r"\A[ \t]|[ \t]\z" if " " in format_ else r"[ \t]"
        held = f"NOT {self.spelling.contains(text, _quoted(spaces))}"
        if "%Y" in format_:
            held += f" AND {self.spelling.contains(text, _quoted('[0-9]{4}'))}"
        return f"CASE WHEN {held} THEN {self.spelling.by_format(text, format_, self.bind)} END"

    # --- keys ------------------------------------------------------------------------------------

    def matching_form(self, cell: str, pair: ColumnPair, side: str) -> str:
        """What must be equal for two cells to match: by the pair's rules, without tolerance."""
        normal = self.normal(cell, pair)
        by_value = pair.by_value or not self.plan.key
        format_ = pair.old_format if side == "old" else pair.new_format
        folded = self.spelling.lower(normal) if pair.ignore_case else normal
        if pair.type is ColumnType.NUMBER and by_value:
            return f"CASE WHEN {self.is_number(normal)} THEN {self.canonical_number(normal)} ELSE {folded} END"
        if pair.type is ColumnType.DATE and (by_value or pair.old_format or pair.new_format):
            return f"coalesce({self.instant(normal, format_)}, {folded})"
        return folded

    @property
    def matched(self) -> tuple[ColumnPair, ...]:
        """The pairs that decide which rows are the same row: the key, or all without one."""
        return self.plan.key or self.plan.columns

    def has_form(self, pair: ColumnPair) -> bool:
        """Whether matching needs another form of the cell than its text."""
        return pair.widened or (not self.plan.key and pair.type is not ColumnType.TEXT)

    @property
    def same_text_matches(self) -> bool:
        """Whether key cells with the same text always match: not if a text is read in two ways."""
        return all(pair.old_format == pair.new_format for pair in self.plan.key)

    def match_name(self, i: int) -> str:
        return f"m{i}" if self.has_form(self.matched[i]) else f"p{i}"

    def match_names(self) -> list[str]:
        return [self.match_name(i) for i in range(len(self.matched))]

    def has_empty(self) -> str:
        """Whether a cell of the key is empty."""
        return " OR ".join(f"{name} IS NULL" for name in self.match_names())

    def forms(self, side: str) -> str:
        """Select-list items for the matching forms of a side, each after a comma."""
        wanted = [(i, pair) for i, pair in enumerate(self.matched) if self.has_form(pair)]
        return "".join(f", {self.matching_form(f'p{i}', pair, side)} AS m{i}" for i, pair in wanted)

    def same_key(self, a: str, b: str) -> str:
        """Whether rows `a` and `b` have the same key; null matches null."""
        return " AND ".join(f"{a}.{name} IS NOT DISTINCT FROM {b}.{name}" for name in self.match_names()) or "TRUE"

    # --- same or not -----------------------------------------------------------------------------

    def code(self, old: str, new: str, pair: ColumnPair) -> str:
        """The `Cell` code of two cells: the first rule that makes them the same, or `x`."""
        rungs = [(f"{old} IS NOT DISTINCT FROM {new}", Cell.SAME_TEXT)]
        if pair.ignore_space:
            trimmed = self.trimmed(old, pair), self.trimmed(new, pair)
            rungs.append((f"{trimmed[0]} IS NOT DISTINCT FROM {trimmed[1]}", Cell.SPACE))
        a, b = self.normal(old, pair), self.normal(new, pair)
        if pair.nulls:
            rungs.append((f"({a}) IS NOT DISTINCT FROM ({b})", Cell.NULL_WORD))
        last = [each for each in (self._value_code(f"({a})", f"({b})", pair), self._case_code(a, b, pair)) if each]
        otherwise = f"coalesce({', '.join([*last, _code(Cell.DIFFERS)])})" if last else _code(Cell.DIFFERS)
        return "CASE " + " ".join(f"WHEN {test} THEN {_code(cell)}" for test, cell in rungs) + f" ELSE {otherwise} END"

    def _case_code(self, a: str, b: str, pair: ColumnPair) -> str:
        lower = self.spelling.lower
        return f"CASE WHEN {lower(a)} = {lower(b)} THEN {_code(Cell.CASE)} END" if pair.ignore_case else ""

    def _value_code(self, a: str, b: str, pair: ColumnPair) -> str:
        if pair.type is ColumnType.NUMBER:
            return self._number_code(a, b, pair)
        if pair.type is ColumnType.DATE:
            same = f"{self.instant(a, pair.old_format)} = {self.instant(b, pair.new_format)}"
            return f"CASE WHEN {same} THEN {_code(Cell.DATE)} END"
        return ""

    def _number_code(self, a: str, b: str, pair: ColumnPair) -> str:
        if pair in self.digits:
            return self._decimal_code(a, b, pair)
        x, y = f"TRY_CAST({a} AS {DECIMAL})", f"TRY_CAST({b} AS {DECIMAL})"
        canonical = f"{self.canonical_number(a)} = {self.canonical_number(b)}"
        near = near_anyway = ""
        if self.plan.key:
            near = f" WHEN {self._near_decimals(a, b, pair)} THEN {_code(Cell.TOLERANCE)}"
            near_anyway = f" WHEN {self._near_doubles(a, b, pair)} THEN {_code(Cell.TOLERANCE)}"
        return (
            f"CASE WHEN {self.fits(a)} AND {self.fits(b)} THEN CASE WHEN {x} = {y} THEN {_code(Cell.NUMBER)}{near} END"
            f" WHEN {self.is_number(a)} AND {self.is_number(b)}"
            f" THEN CASE WHEN {canonical} THEN {_code(Cell.NUMBER)}{near_anyway} END END"
        )

    def _decimal_code(self, a: str, b: str, pair: ColumnPair) -> str:
        """The same where decimals are expected. What `doubles` works out decides nearly always; equal numbers are equal doubles."""
        x, y = (f"TRY_CAST({each} AS {self.digits[pair].type})" for each in (a, b))
        same, near = f"{x} = {y}", ""
        if self._may_be_near(pair):
            doubles = self._double_names(pair)
            same = f"{' = '.join(doubles)} AND {same}"
            near = f" WHEN {self._near_decimals(a, b, pair, doubles)} THEN {_code(Cell.TOLERANCE)}"
        foreseen = f"{self._is_foreseen(a, pair)} AND {self._is_foreseen(b, pair)}"
        return f"CASE WHEN NOT ({foreseen}) THEN '{UNFORESEEN}' WHEN {same} THEN {_code(Cell.NUMBER)}{near} END"

    def _may_be_near(self, pair: ColumnPair) -> bool:
        """Whether a tolerance can hold in a column of decimals: not by default if they are whole."""
        return bool(self.plan.key) and (pair.tolerance is not None or self.digits[pair].after > 0)

    def _double_names(self, pair: ColumnPair) -> tuple[str, str]:
        i = self.plan.pairs.index(pair)
        return f"x{i}", f"y{i}"

    def doubles(self) -> Iterator[str]:
        """Items that `codes` needs of a joined row besides: cells of decimal columns as doubles, where they differ."""
        for pair in filter(self._may_be_near, self.digits):
            i = self.plan.pairs.index(pair)
            for cell, name in zip((f"a{i}", f"b{i}"), self._double_names(pair), strict=True):
                yield f"CASE WHEN a{i} IS DISTINCT FROM b{i} THEN {_as_double(f'({self.normal(cell, pair)})')} END AS {name}"

    def _is_foreseen(self, cell: str, pair: ColumnPair) -> str:
        return f"({cell} IS NULL OR {self.spelling.matches(cell, _quoted(self.digits[pair].pattern))})"

    def _near_decimals(self, a: str, b: str, pair: ColumnPair, doubles: tuple[str, str] | None = None) -> str:
        """Whether two numbers that fit a DECIMAL are within tolerance; `doubles` are theirs, if they are there.

        They must be so in doubles, as `math.isclose` has it, and in exact decimals too: doubles
        can't tell 9007199254740993 from its neighbour.
        """
        x, y = doubles or (_as_double(a), _as_double(b))
        bound = _bound(x, y, pair)
        apart = f"abs({x} - {y})"
        surely = f"{apart} + 2e-15 * greatest(abs({x}), abs({y})) <= {bound}"  # what rounding could add is a quarter of that
        exact = f"abs({self.spelling.minus(f'TRY_CAST({a} AS {DECIMAL})', f'TRY_CAST({b} AS {DECIMAL})')})"
        near = f"{apart} <= {bound} AND ({surely} OR coalesce(CAST({exact} AS DOUBLE), 0) <= {bound})"
        if pair.tolerance is not None:
            return near
        fraction = _quoted(r"\.[0-9]*[1-9]")
        has_fraction = f"{x} <> floor({x}) OR {self.spelling.contains(a, fraction)} OR {self.spelling.contains(b, fraction)}"
        return f"{near} AND ({has_fraction})"

    def _near_doubles(self, a: str, b: str, pair: ColumnPair) -> str:
        """The same for other numbers, in doubles; where their rounding could decide, not near."""
        x, y = _as_double(a), _as_double(b)
        bound = _bound(x, y, pair)
        near = f"{bound} > 0 AND abs({x} - {y}) + 4.5e-16 * greatest(abs({x}), abs({y})) <= {bound}"
        if pair.tolerance is not None:
            return near
        forms = self.canonical_number(a), self.canonical_number(b)
        return f"({forms[0]} LIKE '%e-%' OR {forms[1]} LIKE '%e-%') AND {near}"

    def codes(self) -> str:
        """The codes of all compared columns of a joined row (cells a{i} and b{i}), as one text."""
        if not self.plan.key or not self.plan.columns:
            return "''"
        if not is_wide(self.plan):
            first = len(self.plan.key)
            each = (self.code(f"a{i}", f"b{i}", pair) for i, pair in enumerate(self.plan.columns, first))
            return f"concat({', '.join(each)})"
        groups = self.rule_groups()
        lists = ", ".join(self._each(at, partial(self.code, pair=pair)) for pair, at in groups)
        found = {i: n for n, i in enumerate((i for _, at in groups for i in at), 1)}
        spelling = self.spelling
        ordered = ", ".join(spelling.item("codes", found[i]) for i in range(len(found)))
        return spelling.let("codes", f"flatten({spelling.list_of(lists)})", spelling.joined(spelling.list_of(ordered)))

    # --- many columns ----------------------------------------------------------------------------

    def rule_groups(self) -> list[tuple[ColumnPair, list[int]]]:
        """Positions of the compared columns that have the same rule, each group with one of its pairs."""
        groups: dict[ColumnPair, list[int]] = {}
        for i, pair in enumerate(self.plan.columns):
            groups.setdefault(replace(pair, name="", old=0, new=0), []).append(i)
        return list(groups.items())

    def _each(self, at: Sequence[int], body: Callable[[str, str], str]) -> str:
        """The body for the old and the new cell of each of these columns, as a list."""
        first = len(self.plan.key)
        old, new = (self.spelling.list_of(", ".join(f"{side}{first + i}" for i in at)) for side in ("a", "b"))
        return self.spelling.each(old, new, body)

    def _changes(self) -> tuple[list[str], list[str]]:
        """Items that work out changes of numbers, and the items of the result that take them from there."""
        if is_wide(self.plan):
            return self._changes_of_groups()
        first = len(self.plan.key)
        worked_out: list[str] = []
        items: list[str] = []
        for i, pair in enumerate(self.plan.columns):
            cells = f"a{first + i}", f"b{first + i}"
            if pair in self.digits:
                worked_out.append(f"{_if_shown(self.decimal_change(*cells, pair))} AS change{i}")
                items.append(f"{_shortest(f'change{i}')} AS c{i}_change")
            elif pair.type is ColumnType.NUMBER:
                items.append(f"{_if_shown(self.number_change(*cells, pair))} AS c{i}_change")
        return worked_out, items

    def _changes_of_groups(self) -> tuple[list[str], list[str]]:
        """The same for many columns."""
        lists: list[str] = []
        items: dict[int, str] = {}
        for n, (pair, at) in enumerate(self.rule_groups()):
            if pair.type is ColumnType.NUMBER:
                change = self._each(at, partial(self.number_change, pair=pair))
                lists.append(f"{_if_shown(change)} AS changes{n}")
                items |= {i: f"{self.spelling.item(f'changes{n}', k)} AS c{i}_change" for k, i in enumerate(at, 1)}
        return lists, [items[i] for i in sorted(items)]

    # --- the change of a number ------------------------------------------------------------------

    def number_change(self, old: str, new: str, pair: ColumnPair) -> str:
        """new − old as plain text; an empty cell counts as nothing; NULL if a cell does not read."""
        a, b = f"({self.normal(old, pair)})", f"({self.normal(new, pair)})"
        fit = f"({a} IS NULL OR {self.fits(a)}) AND ({b} IS NULL OR {self.fits(b)})"
        read = f"({a} IS NULL OR {self.is_number(a)}) AND ({b} IS NULL OR {self.is_number(b)})"
        exact = self.spelling.minus(*(f"coalesce(TRY_CAST({each} AS {DECIMAL}), 0)" for each in (b, a)))
        rough = self.plain_double(f"coalesce({_as_double(b)}, 0) - coalesce({_as_double(a)}, 0)")
        plain = f"CASE WHEN {fit} THEN {_rtrim(_rtrim(f'CAST({exact} AS STRING)', '0'), '.')} END"
        unchanged = f"CASE WHEN {self.fits(a)} OR {self.is_number(a)} THEN '0' END"
        negated = f"CASE WHEN {a} LIKE '-%' THEN {_ltrim(a, '-')} WHEN {a} = '0' THEN '0' ELSE '-' || {a} END"
        return (
            f"CASE WHEN {old} IS NULL AND {self.is_plain(b)} THEN {b} WHEN {new} IS NULL AND {self.is_plain(a)} THEN {negated}"
            f" WHEN {old} = {new} AND {a} IS NOT NULL THEN {unchanged}"
            f" ELSE coalesce({plain}, CASE WHEN {read} THEN {rough} END) END"
        )

    def decimal_change(self, old: str, new: str, pair: ColumnPair) -> str:
        """The same where decimals are expected, with all their digits. Of changed rows the codes tell what is UNFORESEEN."""
        a, b = f"({self.normal(old, pair)})", f"({self.normal(new, pair)})"
        y, x = (f"coalesce(TRY_CAST({each} AS {self.digits[pair].type}), 0)" for each in (b, a))
        foreseen = f"{self._is_foreseen(a, pair)} AND {self._is_foreseen(b, pair)}"
        return (
            f"CASE WHEN {old} = {new} THEN CASE WHEN {self._is_foreseen(a, pair)} THEN '0' ELSE '{UNFORESEEN}' END"
            f" WHEN change = '{Change.CHANGED}' OR {foreseen} THEN CAST({y} - {x} AS STRING) ELSE '{UNFORESEEN}' END"
        )

    def is_plain(self, text: str) -> str:
        """Whether a text is a number as a change is written: no `+`, no exponent, no zeros that say nothing."""
        return self.spelling.matches(text, _quoted(grammar.PLAIN_DECIMAL))

    def plain_double(self, double: str) -> str:
        """A double in plain notation, with the digits it is usually written with; NULL if infinite."""
        let = self.spelling.let
        bare = _ltrim("split_part(form, 'e', 1)", "-")
        power = "CAST(split_part(form, 'e', 2) AS INTEGER)"
        plain = (
            "CASE WHEN power >= 0 THEN bare || repeat('0', power)"
            " WHEN -power >= length(bare) THEN '0.' || repeat('0', -power - length(bare)) || bare"
            " ELSE left(bare, length(bare) + power) || '.' || right(bare, -power) END"
        )
        signed = f"CASE WHEN form LIKE '-%' THEN '-' ELSE '' END || {let('bare', bare, let('power', power, plain))}"
        form = self.canonical_number(f"CASE WHEN {self.spelling.finite('dbl')} THEN {self.spelling.digits('dbl')} END")
        return let("dbl", double, let("form", form, f"CASE WHEN form = '0e0' THEN '0' ELSE {signed} END"))

    # --- order -----------------------------------------------------------------------------------

    def text_order(self, names: Iterable[str]) -> str:
        """Order by cells as UTF-8 bytes, empty first."""
        return ", ".join(f"{name} ASC NULLS FIRST" for name in names)

    def key_order(self, cells: Sequence[str], whole: Collection[str]) -> str:
        """Order by key cells: empty first, numbers by value in number columns, else UTF-8 bytes."""
        return ", ".join(
            _whole_order(cell) if pair.name in whole else self._cell_order(cell, pair)
            for cell, pair in zip(cells, self.plan.key, strict=True)
        )

    def _cell_order(self, cell: str, pair: ColumnPair) -> str:
        if pair.type is not ColumnType.NUMBER:
            return f"{cell} ASC NULLS FIRST"
        reads = self.is_number(cell)
        number = f"CASE WHEN {reads} THEN TRY_CAST({cell} AS DOUBLE) END"
        exact = (
            self._exact_order(cell, reads) if pair.by_value else [f"CASE WHEN {self.fits(cell)} THEN TRY_CAST({cell} AS {DECIMAL}) END ASC"]
        )
        return f"{cell} IS NOT NULL, {number} ASC NULLS LAST, {' NULLS LAST, '.join(exact)} NULLS LAST, {cell} ASC NULLS FIRST"

    def whole_numbers(self) -> list[str]:
        """Per key column: whether all its cells are empty or plain whole numbers, which are ordered most easily."""
        plain = _quoted(grammar.PLAIN_INTEGER)
        candidates = (pair.type is ColumnType.NUMBER and not self.has_form(pair) for pair in self.plan.key)
        all_match = (
            f"coalesce(bool_and({self.spelling.matches(f'p{i}', plain)} OR p{i} IS NULL), TRUE)" for i in range(len(self.plan.key))
        )
        return [test if may else "bool_and(FALSE)" for may, test in zip(candidates, all_match, strict=True)]

    def _exact_order(self, form: str, reads: str) -> list[str]:
        """Order by the exact value of canonical numbers that are the same as doubles."""
        digits = f"split_part({_ltrim(form, '-')}, 'e', 1)"
        leading = f"length({digits}) + TRY_CAST(split_part({form}, 'e', 2) AS BIGINT)"
        below = f"{form} LIKE '-%'"
        sign = f"CASE WHEN {below} THEN -1 WHEN {form} = '0e0' THEN 0 ELSE 1 END"
        return [
            f"CASE WHEN {reads} THEN {sign} END ASC",
            f"CASE WHEN {reads} THEN CASE WHEN {below} THEN -({leading}) ELSE {leading} END END ASC",
            f"CASE WHEN {reads} AND NOT {below} THEN {digits} END ASC",
            f"CASE WHEN {reads} AND {below} THEN {digits} END DESC",
        ]

    # --- what to expect --------------------------------------------------------------------------

    def measures(self) -> Iterator[tuple[ColumnPair, str]]:
        """Number columns, each with a list: whether all cells are empty or decimals, the most digits before the point, and after it."""
        numbers = [(i, pair) for i, pair in enumerate(self.plan.columns, len(self.plan.key)) if pair.type is ColumnType.NUMBER]
        for i, pair in numbers if self.plan.key and not is_wide(self.plan) else ():
            cell = f"({self.normal(f'p{i}', pair)})"
            point = f"strpos({cell}, '.')"
            fits = f"CASE WHEN {cell} IS NOT NULL AND NOT {self.fits(cell)} THEN 0 ELSE 1 END"
            before = f"CASE WHEN {point} = 0 THEN length({cell}) ELSE {point} - 1 END"
            after = f"CASE WHEN {point} > 0 THEN length({cell}) - {point} END"
            yield pair, self.spelling.list_of(f"min({fits}), max({before}), max({after})")

    def unforeseen(self) -> str:
        """Whether a row of what `compared_rows` answers holds something UNFORESEEN."""
        changes = (f" OR c{i}_change = '{UNFORESEEN}'" for i, pair in enumerate(self.plan.columns) if pair in self.digits)
        return f"contains(codes, '{UNFORESEEN}'){''.join(changes)}"

    # --- statements ------------------------------------------------------------------------------

    def compared_rows(self, old: str = "old_left", new: str = "new_left") -> str:
        """Every row that is left with its fate, beside its partner if it has one; `old` and `new` are SQL for the rows.

        Unchanged rows keep their codes only; cells are null there.
        """
        pairs = self.plan.pairs
        cells = "".join(f", o.p{i} AS a{i}, n.p{i} AS b{i}" for i in range(len(pairs)))
        forms = "".join(f", coalesce(o.m{i}, n.m{i}) AS m{i}" for i, pair in enumerate(self.plan.key) if self.has_form(pair))
        joined = (
            f"SELECT o.slot IS NOT NULL AS in_old, n.slot IS NOT NULL AS in_new{cells}{forms}"
            f" FROM {old} AS o FULL JOIN {new} AS n ON {self.same_key('o', 'n')} AND o.slot = n.slot"
        )
        read = f"SELECT {', '.join(['*', *self.doubles()])} FROM ({joined})"
        coded = f"SELECT *, CASE WHEN in_old AND in_new THEN {self.codes()} END AS codes FROM ({read})"
        fate = (
            f"CASE WHEN NOT in_new THEN '{Change.REMOVED}' WHEN NOT in_old THEN '{Change.ADDED}'"
            f" WHEN contains(codes, '{Cell.DIFFERS}') THEN '{Change.CHANGED}' ELSE '{Change.UNCHANGED}' END"
        )
        fated = f"SELECT *, {fate} AS change FROM ({coded})"
        worked_out, changes = self._changes()
        if worked_out:
            fated = f"SELECT *, {', '.join(worked_out)} FROM ({fated})"
        items = [
            "change",
            f"coalesce(codes, '{Cell.ALONE * len(self.plan.columns)}') AS codes",
            f"{self._match_codes()} AS match_codes",
            *self._stored_cells(),
            *changes,
            *(f"m{i}" for i, pair in enumerate(self.plan.key) if self.has_form(pair)),
        ]
        return f"SELECT {', '.join(items)} FROM ({fated})"

    def _stored_cells(self) -> Iterator[str]:
        """The items of the result that hold cells: of two with the same text only the new one (see `old_key`, `old_cell`)."""
        first = len(self.plan.key)
        for i, pair in enumerate(self.plan.pairs):
            name = f"k{i}" if i < first else f"c{i - first}"
            if i < first and not pair.widened:
                yield f"CASE WHEN change = '{Change.REMOVED}' THEN a{i} END AS {name}_old"
            elif i < first or is_wide(self.plan):
                yield f"{_if_shown(f'a{i}')} AS {name}_old"
            else:
                yield f"CASE WHEN change <> '{Change.UNCHANGED}' AND a{i} IS DISTINCT FROM b{i} THEN a{i} END AS {name}_old"
            yield f"{_if_shown(f'b{i}')} AS {name}_new"

    def compared_columns(self) -> list[str]:
        """The names of what `compared_rows` answers; all are texts."""
        forms = [f"m{i}" for i, pair in enumerate(self.plan.key) if self.has_form(pair)]
        return ["change", "codes", "match_codes", *self.key_columns(), *self.cell_columns(), *self.change_columns(), *forms]

    def _match_codes(self) -> str:
        """One code per matched pair of cells (of the key, or of the whole row without one)."""
        if not any(self.has_form(pair) for pair in self.matched):
            return "CAST(NULL AS STRING)"
        each = [self.code(f"a{i}", f"b{i}", pair) if self.has_form(pair) else _code(Cell.SAME_TEXT) for i, pair in enumerate(self.matched)]
        return f"CASE WHEN in_old AND in_new THEN concat({', '.join(each)}) END"

    def key_columns(self) -> list[str]:
        return [f"k{i}_{side}" for i in range(len(self.plan.key)) for side in ("old", "new")]

    def cell_columns(self) -> list[str]:
        return [f"c{i}_{side}" for i in range(len(self.plan.columns)) for side in ("old", "new")]

    def change_columns(self) -> list[str]:
        return [f"c{i}_change" for i, pair in enumerate(self.plan.columns) if pair.type is ColumnType.NUMBER]

    def output_rows(self, compared: str, *, repeated: bool, whole: Collection[str] = ()) -> str:
        """The differing rows of `compared` in output order. Without repeated keys the key alone orders them.

        `whole` names key columns for which `whole_numbers` holds.
        """
        names = ["change", "codes", *self.key_columns(), *self.cell_columns(), *self.change_columns()]
        keys = [f"m{i}" if self.has_form(p) else f"coalesce(k{i}_old, k{i}_new)" for i, p in enumerate(self.plan.key)]
        order = [self.key_order(keys, whole)] if keys else []
        if repeated or not keys:
            at, columns = range(len(self.plan.key)), range(len(self.plan.columns))
            old = [*(old_key(self.plan, i) for i in at), *(old_cell(self.plan, i) for i in columns)]
            order += ["change", self.text_order(old), self.text_order(n for n in names if n.endswith("_new"))]
        return (
            f"SELECT {', '.join(names)} FROM {compared} WHERE change <> '{Change.UNCHANGED}'"
            f" ORDER BY {', '.join(each for each in order if each)}"
        )


def is_wide(plan: Plan) -> bool:
    """Whether there are so many columns that an expression for each would cost more than the data."""
    return len(plan.columns) > WIDE


def old_key(plan: Plan, i: int) -> str:
    """The old cell of a key column, from the columns of a result."""
    return f"k{i}_old" if plan.key[i].widened else f"CASE WHEN change = '{Change.CHANGED}' THEN k{i}_new ELSE k{i}_old END"


def old_cell(plan: Plan, i: int) -> str:
    """The old cell of a compared column, from the columns of a result. Wide ones store both: finding a cell's code would take long."""
    return f"c{i}_old" if is_wide(plan) else f"CASE WHEN {is_same_text(i)} THEN c{i}_new ELSE c{i}_old END"


def is_same_text(i: int) -> str:
    """Whether the cells of a compared column are the same text, from the columns of a result."""
    return f"substring(codes, {i + 1}, 1) = {_code(Cell.SAME_TEXT)}"


def _whole_order(cell: str) -> str:
    return f"TRY_CAST({cell} AS BIGINT) ASC NULLS FIRST"


def _shortest(change: str) -> str:
    """A decimal without zeros at its end that say nothing."""
    return f"CASE WHEN {change} LIKE '%.%0' THEN {_rtrim(_rtrim(change, '0'), '.')} ELSE {change} END"


def _if_shown(cell: str) -> str:
    return f"CASE WHEN change <> '{Change.UNCHANGED}' THEN {cell} END"


def _ltrim(text: str, character: str) -> str:
    return f"TRIM(LEADING '{character}' FROM {text})"


def _rtrim(text: str, character: str) -> str:
    return f"TRIM(TRAILING '{character}' FROM {text})"


def _quoted(text: str) -> str:
    """A text of our own as an SQL literal; what users give is bound instead."""
    return "'" + text.replace("'", "''") + "'"


def _code(cell: Cell) -> str:
    return f"'{cell.value}'"


def _as_double(cell: str) -> str:
    return f"TRY_CAST({cell} AS DOUBLE)"


def _bound(x: str, y: str, pair: ColumnPair) -> str:
    """How far apart two doubles may be: max(relative * max(|x|, |y|), absolute)."""
    given = pair.tolerance or DEFAULT_TOLERANCE
    relative, absolute = (f"CAST({value!r} AS DOUBLE)" for value in (given.relative, given.absolute))
    if not given.relative:
        return absolute
    return f"greatest({relative} * greatest(abs({x}), abs({y})), {absolute})"
