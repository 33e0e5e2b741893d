"""How a file spells its table: found from a sample, or said by the user."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import Literal

from diffing.errors import SourceError
from diffing.grammar import is_date, is_number

FIRST_CHOICE = (",", ";", "\t", "|")
SECOND_CHOICE = ("^", "~", "\x01", ":", " ")
NO_DELIMITER = "\x1f"
"""Stands for “one column” where a comma would be taken for a delimiter."""
SAMPLE_RECORDS = 500
MOST_ABOVE = 30
"""Records above a table that are looked at, to find where it begins."""
WORDS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space", NO_DELIMITER: "none", "": "none"}
LINE_ENDS = {"\n": "LF", "\r\n": "CRLF", "\r": "CR"}


@dataclass(frozen=True, slots=True)
class CsvDialect:
    """How a CSV file spells its table."""

    delimiter: str = ","
    quote: str = '"'
    """The character around cells; empty: there is none."""
    encoding: str = "utf-8"
    """utf-8, utf-16-le, utf-16-be, latin-1, windows-1252 or another name that Python knows."""
    line_end: str = "\n"
    """What ends the first line. Records may end with any of LF, CRLF and CR all the same."""
    header: bool = True
    skip_rows: int = 0
    """Lines before the header (or the first record)."""
    skip_after_header: int = 0
    """Records under the header that are no rows, such as a row of units."""

    def in_words(self) -> dict[str, str | int | bool]:
        """The dialect as a person reads it."""
        return {
            "delimiter": WORDS.get(self.delimiter, self.delimiter),
            "quote": self.quote or "none",
            "encoding": self.encoding,
            "line_end": LINE_ENDS.get(self.line_end, "LF"),
            "header": self.header,
            "skip_rows": self.skip_rows,
            "skip_after_header": self.skip_after_header,
        }


@dataclass(frozen=True, slots=True)
class DialectChoice:
    """What a user says about a file's spelling; None: find it out."""

    delimiter: str | None = None
    quote: str | None = None
    encoding: str | None = None
    header: bool | None = None
    skip_rows: int | None = None
    skip_after_header: int = 0

    def __post_init__(self) -> None:
        for what, value in (("delimiter", self.delimiter), ("quote", self.quote)):
            if value is not None and (len(value) > 1 or (value and value in "\r\n\0") or "\ud800" <= value <= "\udfff"):
                raise SourceError(f"The {what} must be one character, not {value!r}.", "Give one character; \\t is a tab.")
        if self.delimiter == "":
            raise SourceError("The delimiter is empty.", "Give one character; \\t is a tab.")
        if self.quote and not self.quote.isascii():
            raise SourceError(f"The quote can't be {self.quote!r}.", "Give a character such as \" or ', or '' if there is none.")
        if self.delimiter is not None and self.delimiter == self.quote:
            raise SourceError(f"The delimiter and the quote are both {self.quote!r}.", "Give two different characters.")
        if self.encoding is not None:
            codec_name(self.encoding)
        if (self.skip_rows or 0) < 0 or self.skip_after_header < 0:
            raise SourceError("The number of rows to skip is negative.", "Give zero or more.")


def codec_name(encoding: str) -> str:
    """The usual name of an encoding that Python knows.

    Raises:
        SourceError: there is no such encoding.
    """
    known = {"cp1252": "windows-1252", "iso8859-1": "latin-1", "utf-8-sig": "utf-8", "ascii": "utf-8"}
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)
    except (LookupError, ValueError) as error:
        raise SourceError(f"There is no encoding “{encoding}”.", "Try utf-8, utf-16, latin-1 or windows-1252.") from error
    return known.get(name, name)


def detect_dialect(text: str, encoding: str, choice: DialectChoice) -> CsvDialect:
    """The dialect of a sample of whole lines from the head of a file."""
    skip, said = _excel_line(text)
    if choice.skip_rows is not None:
        skip = choice.skip_rows
    elif choice.header is not False and not skip:
        skip = _lines_above(text, choice)
    body = _without_lines(text, skip)
    quote = choice.quote if choice.quote is not None else _quote(body)
    delimiter = choice.delimiter or said or _delimiter(body, quote)
    if quote == delimiter and choice.quote is None:
        quote = ""
    records = parse(body, delimiter, quote, SAMPLE_RECORDS)
    header = choice.header if choice.header is not None else looks_like_header(records)
    return CsvDialect(delimiter, quote, encoding, _line_end(body, quote), header, skip, choice.skip_after_header)


def parse(text: str, delimiter: str, quote: str, most: int) -> list[list[str]]:
    """The first records of a text (all if `most` is below 0), by Python's own reader; blank lines are left out."""
    records = (record for _, record in _numbered(text, delimiter, quote) if record)
    return list(islice(records, most if most >= 0 else None))


def _numbered(text: str, delimiter: str, quote: str) -> Iterator[tuple[int, list[str]]]:
    """Each record of a text, and the number of the line on which it ends."""
    csv.field_size_limit(1 << 30)
    stream = io.StringIO(text.replace("\0", ""), newline="")
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    reader = csv.reader(stream, delimiter=delimiter, quotechar=quote or None, quoting=quoting)
    with suppress(csv.Error):  # a sample may end within a record
        for record in reader:
            yield reader.line_num, record


def _excel_line(text: str) -> tuple[int, str | None]:
    """Excel's first line `sep=;`: how many lines it takes, and the delimiter it names.

    Programs that wrote the file again may have put it in quotes, or empty cells after it.
    """
    found = re.match(r'("?)sep=([^\r\n])\1\2*(?=[\r\n]|\Z)', text, re.IGNORECASE)
    return (1, found[2]) if found else (0, None)


def _lines_above(text: str, choice: DialectChoice) -> int:
    """How many lines stand above the table: titles and notes, of one cell each, over a header that names columns of values."""
    quote = choice.quote if choice.quote is not None else _quote(text)
    delimiters = [choice.delimiter] if choice.delimiter else list(FIRST_CHOICE)
    return max(_header_below(text, each, quote if quote != each else "") for each in delimiters)[1]


def _header_below(text: str, delimiter: str, quote: str) -> tuple[int, int]:
    """How surely a header stands below lines of one cell, and the number of these lines; zeros if none does."""
    found = ((line, record) for line, record in _numbered(text, delimiter, quote) if record)
    head = list(islice(found, MOST_ABOVE + 1))
    above = next((i for i, (_, record) in enumerate(head) if len(record) > 1), 0)
    if not above:
        return 0, 0
    table = [record for _, record in chain(head[above:], islice(found, SAMPLE_RECORDS))]
    usual = sum(len(record) == len(table[0]) for record in table) >= 0.9 * len(table)
    sure = _votes(table) if usual else 0
    return (sure, head[above - 1][0]) if sure > 0 else (0, 0)


def _without_lines(text: str, count: int) -> str:
    return "".join(list(io.StringIO(text, newline=""))[count:]) if count else text


def _line_end(text: str, quote: str) -> str:
    """What ends the first line, not counting line ends within quotes."""
    bare = re.sub(f"{quote}[^{quote}]*{quote}", "", text[: 1 << 16]) if quote else text
    found = re.search("\r\n|\n|\r", bare)
    return found[0] if found else "\n"


def _quote(text: str) -> str:
    """A double quote, unless there is none and whole cells stand in single quotes."""
    if '"' in text:
        return '"'
    opening = sum(text.count(mark + "'") for mark in (*FIRST_CHOICE, "\n")) + text.startswith("'")
    closing = sum(text.count("'" + mark) for mark in (*FIRST_CHOICE, "\n", "\r")) + text.endswith("'")
    single = text.count("'")
    return "'" if single >= 4 and opening == closing and opening + closing == single else '"'


def _delimiter(text: str, quote: str) -> str:
    """The character that cuts the records into the same number of cells most steadily."""
    scores = {each: _steadiness(text, each, quote) for each in FIRST_CHOICE}
    best = max(FIRST_CHOICE, key=lambda each: scores[each])
    if scores[best] > 0:
        return best
    scores = {each: _steadiness(text, each, quote) for each in SECOND_CHOICE if each in text}
    steady = [each for each, score in scores.items() if score > 1.98 and (each not in ": " or _between_values(text, each, quote))]
    if steady:
        return steady[0]
    return "," if "," not in text else NO_DELIMITER


def _between_values(text: str, delimiter: str, quote: str) -> bool:
    """Whether a blank or a colon, which also stand in names and times of day, separates columns of which one holds values."""
    lines = text.splitlines()[1:SAMPLE_RECORDS]
    if sum(map(_moment, lines)) > 0.5 * len(lines):
        return False
    columns = zip(*parse(text, delimiter, quote, SAMPLE_RECORDS)[1:], strict=False)
    return any(sum(map(_value, cells)) >= 0.9 * len(cells) for cells in columns)


def _steadiness(text: str, delimiter: str, quote: str) -> float:
    """Share of records with the usual number of cells, plus almost one for having many; 0 for one."""
    widths = [len(record) for record in parse(text, delimiter, quote, SAMPLE_RECORDS)]
    if not widths or widths[0] == 1:
        return 0.0
    usual, count = Counter(widths).most_common(1)[0]
    share = count / len(widths)
    if usual == 1:
        return 0.0
    return share + (widths[0] == usual) + 0.01 * (1 - 1 / usual)


def looks_like_header(records: Sequence[Sequence[str]]) -> bool:
    """Whether the first record names the columns.

    Each column votes: text above numbers or dates speaks for a header, a number above numbers
    against. If that does not decide, texts that occur again below speak against one.
    """
    if not records:
        return True
    first, below = records[0], _columns_below(records)
    votes = _votes(records)
    if votes:
        return votes > 0
    if 2 * sum(cell in cells for cell, cells in zip(first, below, strict=True) if cell) > len(first):
        return False
    rest = records[1:]
    return not any(_value(cell) for cell in first if cell) or (not rest and not all(_value(cell) for cell in first))


def _votes(records: Sequence[Sequence[str]]) -> int:
    """How surely the first record names the columns; below 0: it is a row."""
    return sum(map(_vote, records[0], _columns_below(records)))


def _columns_below(records: Sequence[Sequence[str]]) -> list[list[str]]:
    """The cells under each cell of the first record that are not empty."""
    return [[row[i] for row in records[1:] if i < len(row) and row[i]] for i in range(len(records[0]))]


def _vote(cell: str, below: Sequence[str]) -> int:
    if not below or not cell:
        return 0
    values = sum(map(_value, below)) >= 0.9 * len(below)
    if values and not _value(cell):
        return 2
    if values:
        return -2 if not _like_year(cell) or all(map(_like_year, below)) else 1
    return -1 if _value(cell) and not _like_year(cell) else 0


def _value(cell: str) -> bool:
    return is_number(cell) or is_date(cell)


def _moment(line: str) -> bool:
    return is_date(line) or re.fullmatch(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?", line) is not None


def _like_year(cell: str) -> bool:
    return len(cell) == 4 and cell.isdigit() and 1900 <= int(cell) <= 2100
