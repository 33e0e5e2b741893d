"""How Spark SQL spells what `sql.py` means."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from diffing.errors import PlanError
from diffing.sql import Spelling

SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "true",
    "spark.sql.decimalOperations.allowPrecisionLoss": "false",
    "spark.sql.icu.caseMappings.enabled": "false",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.adaptive.skewJoin.enabled": "true",
    "spark.sql.adaptive.coalescePartitions.enabled": "true",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
}
"""What a session must have set for this spelling to mean what it should."""

_NEW_LETTERS = "\u2c2f\ua7c0\ua7d0\ua7d6\ua7d8" + "".join(chr(0x10570 + i) for i in range(0x26) if i not in (0xB, 0x1B, 0x23))
_NEW_LOWER = "\u2c5f\ua7c1\ua7d1\ua7d7\ua7d9" + "".join(chr(0x10597 + i) for i in range(0x26) if i not in (0xB, 0x1B, 0x23))
LETTERS = ("\u0130\u03a3" + _NEW_LETTERS, "i\u03c3" + _NEW_LOWER)
"""Letters that Java makes lower by what stands beside them, or does not know yet; and what they are made by all engines."""

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_OFFSET = "(Z|[+-][0-9]{2}:[0-9]{2})\\z"


def quoted(text: str) -> str:
    """A text of our own as a literal in which nothing is escaped."""
    assert "'" not in text
    return f"r'{text}'"


def let(name: str, value: str, body: str) -> str:
    return f"transform(array({value}), {name} -> {body})[0]"


def _digits(double: str) -> str:
    """The shortest text that reads as the double; older Javas write longer ones.

    Where what they write is no help either, a whole number is written from its exact digits.
    """
    shortest = shortest_digits(double, "DOUBLE", 16)
    large = f"abs({double}) BETWEEN 1e16D AND 1e27D"
    sign = f"CASE WHEN {double} < 0 THEN '-' ELSE '' END"
    return f"CASE WHEN {large} THEN {sign} || {let('size', f'abs({double})', _whole_digits('size'))} ELSE {shortest} END"


def shortest_digits(value: str, type_: str, most: int) -> str:
    """The text with the fewest places, of so many at most, that reads as the value of a type."""
    tried = f"transform(sequence(0, {most}), places -> format_string(concat('%.', places, 'e'), CAST({value} AS DOUBLE)))"
    return f"filter({tried}, form -> TRY_CAST(form AS {type_}) = {value})[0]"


def _whole_digits(size: str) -> str:
    high = f"CAST({size} / 1099511627776D AS BIGINT)"
    low = f"CAST({size} - CAST(high AS DOUBLE) * 1099511627776D AS DECIMAL(20,0))"
    exact = f"CAST(CAST(high AS DECIMAL(20,0)) * CAST(1099511627776 AS DECIMAL(13,0)) + {low} AS DECIMAL(30,0))"
    unit = "CAST(concat('1', repeat('0', length(CAST(exact AS STRING)) - places)) AS DECIMAL(30,0))"
    rest = "exact % unit"
    near = f"CAST(exact - {rest} + CASE WHEN 2 * ({rest}) >= unit THEN unit ELSE 0 END AS DECIMAL(30,0))"
    tried = f"transform(sequence(1, 17), places -> {let('unit', unit, near)})"
    return let("high", high, let("exact", exact, f"CAST(filter({tried}, near -> CAST(near AS DOUBLE) = {size})[0] AS STRING)"))


def canonical(timestamp: str) -> str:
    """A date or a timestamp without a zone as canonical text; years before 1 and after 9999 as DuckDB writes them."""
    form = quoted("\\A(-?[0-9]+)(-[0-9][0-9]-[0-9][0-9])(.*)\\z")
    year, day, time = (f"regexp_extract(moment, {form}, {n})" for n in (1, 2, 3))
    before = f"concat(lpad(CAST(1 - CAST({year} AS INT) AS STRING), 4, '0'), {day}, ' (BC)', {time})"
    written = f"CASE WHEN moment LIKE '0000-%' OR moment LIKE '-%' THEN {before} ELSE TRIM(LEADING '+' FROM moment) END"
    return let("moment", f"CAST({timestamp} AS STRING)", written)


def _shifted(local: str, offset: str) -> str:
    """A local timestamp and its offset (`Z` or `±HH:MM`) as canonical text in UTC."""
    minutes = f"CAST(substring({offset}, 2, 2) AS INT) * 60 + CAST(right({offset}, 2) AS INT)"
    signed = f"CASE WHEN {offset} = 'Z' THEN 0 WHEN {offset} LIKE '-%' THEN {minutes} ELSE -({minutes}) END"
    return f"{canonical(f'timestampadd(MINUTE, {signed}, {local})')} || 'Z'"


def _absolute(text: str) -> str:
    local = f"TRY_CAST(regexp_replace({text}, {quoted(_OFFSET)}, '') AS TIMESTAMP_NTZ)"
    return _shifted(local, f"regexp_extract({text}, {quoted(_OFFSET)}, 1)")


# --- dates in a named format ---------------------------------------------------------------------

_FIELDS = {
    "d": "([0-9]{1,2}+)",
    "m": "([0-9]{1,2}+)",
    "Y": "([0-9]{1,4}+)",
    "y": "([0-9]{1,2}+)",
    "H": "([0-9]{1,2}+)",
    "I": "([0-9]{1,2}+)",
    "M": "([0-9]{1,2}+)",
    "S": "([0-9]{1,2}+)",
    "f": "([0-9]{1,6}+)",
    "p": "((?i:am|pm))",
    "B": f"((?i:{'|'.join(MONTHS)}))",
    "b": f"((?i:{'|'.join(name[:3] for name in MONTHS)}))",
    "A": f"((?i:{'|'.join(DAYS)}))",
    "a": f"((?i:{'|'.join(name[:3] for name in DAYS)}))",
    "z": "([+-][0-9]{2}(?::?[0-9]{2})?)",
}
"""What the fields of a format match; the others are not read here."""


def _by_format(text: str, format_: str, bind: Callable[[Any], str]) -> str:
    """A text read by a format. It is taken apart by a pattern that the format is made into."""
    pattern, names = _pattern_of(format_)
    bound = bind(pattern)
    found = {name: f"regexp_extract({text}, {bound}, {n})" for n, name in enumerate(names, 1)}

    def number(name: str, otherwise: str = "0") -> str:
        return f"TRY_CAST({found[name]} AS INT)" if name in found else otherwise

    read = f"try_make_timestamp_ntz({_year(found, number)}, {_month(found, number)}, {number('d', '1')}, {_hour(found, number)}, "
    read += f"{number('M')}, {_seconds(found, number)})"
    held = [f"{text} RLIKE {bound}", *([f"{number('I')} BETWEEN 1 AND 12"] if "I" in found else [])]
    if "S" in found:
        held.append(f"{number('S')} < 60")
    written = _shifted(read, _colon(found["z"])) if "z" in found else canonical(read)
    return f"CASE WHEN {' AND '.join(held)} THEN {written} END"


def _pattern_of(format_: str) -> tuple[str, list[str]]:
    """A pattern of the whole text, and the names of its groups."""
    pattern, names = "", []
    for kind, letter in _parts(format_):
        if kind == "literal":
            pattern += f"\\x{{{ord(letter):x}}}"
        elif letter in _FIELDS and letter not in names:
            pattern += _FIELDS[letter]
            names.append(letter)
        else:
            raise PlanError(
                f"Dates by “{format_}” can't be read on Spark: %{letter} {'is there twice' if letter in names else 'is not known there'}.",
                f"Use {', '.join('%' + each for each in _FIELDS)}, each once; or the embedded engine.",
            )
    return f"\\A{pattern}\\z", names


def _parts(format_: str) -> Iterator[tuple[str, str]]:
    for field, literal in re.findall(r"%-?([A-Za-z%]?)|(.)", format_, re.DOTALL):
        yield ("literal", literal or "%") if literal or field in ("%", "") else ("field", field)


def _year(found: dict[str, str], number: Callable[..., str]) -> str:
    if "Y" in found:
        return number("Y")
    return f"{number('y')} + CASE WHEN {number('y')} < 69 THEN 2000 ELSE 1900 END" if "y" in found else "1900"


def _month(found: dict[str, str], number: Callable[..., str]) -> str:
    name = found.get("B") or found.get("b")
    if name and "m" not in found:
        return f"(locate(lower(left({name}, 3)), '{''.join(each[:3].lower() for each in MONTHS)}') + 2) DIV 3"
    return number("m", "1")


def _hour(found: dict[str, str], number: Callable[..., str]) -> str:
    hour = number("H", number("I"))
    if "p" not in found:
        return hour
    return f"{hour} % 12 + CASE WHEN lower({found['p']}) = 'pm' THEN 12 ELSE 0 END"


def _seconds(found: dict[str, str], number: Callable[..., str]) -> str:
    seconds = f"CAST({number('S')} AS DECIMAL(16,6))"
    return f"{seconds} + CAST('0.' || {found['f']} AS DECIMAL(8,6))" if "f" in found else seconds


def _colon(offset: str) -> str:
    """An offset of one of the forms +02, +0200 and +02:00 in the last of them."""
    return f"concat(left({offset}, 3), ':', CASE WHEN length({offset}) > 3 THEN right({offset}, 2) ELSE '00' END)"


SPARK = Spelling(
    parameter=lambda name: f":{name}",
    matches=lambda text, pattern: f"coalesce({text} RLIKE r'\\A(?:{pattern[1:-1]})\\z', FALSE)",
    contains=lambda text, pattern: f"coalesce({text} RLIKE r{pattern}, FALSE)",
    extract=lambda text, pattern, group: f"regexp_extract({text}, r{pattern}, {group})",
    without=lambda text, pattern: f"regexp_replace({text}, r{pattern}, '')",
    trim=lambda text, characters: f"TRIM(BOTH {characters} FROM {text})",
    lower=lambda text: f"lower(translate({text}, '{LETTERS[0]}', '{LETTERS[1]}'))",
    minus=lambda a, b: f"try_subtract({a}, {b})",
    digits=_digits,
    finite=lambda double: f"(abs({double}) < CAST('Infinity' AS DOUBLE))",
    local=lambda text: canonical(f"TRY_CAST({text} AS TIMESTAMP_NTZ)"),
    absolute=_absolute,
    by_format=_by_format,
    list_of=lambda items: f"array({items})",
    item=lambda items, n: f"element_at({items}, {n})",
    joined=lambda items: f"array_join({items}, '')",
    each=lambda a, b, body: f"zip_with({a}, {b}, (one, other) -> {body('one', 'other')})",
    let=let,
)
