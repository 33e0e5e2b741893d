"""Dirty files of every kind that people bring, each with what it is to be read as. They are the same each time."""

from __future__ import annotations

import codecs
import csv
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, product

from diffing.dialects import NO_DELIMITER, DialectChoice
from diffing.records import BadLines

Row = tuple[str, ...]
NOTHING = DialectChoice()


@dataclass(frozen=True)
class Table:
    """What a file holds. Without a header its columns have no names."""

    header: Row | None
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Input:
    """A file, and what is right for it: this table, this refusal, or (if both are given) either."""

    kind: str
    what: str
    data: bytes
    table: Table | None = None
    refused: str = ""
    """A pattern that the refusal's message must match; empty: it must not be refused."""
    said: DialectChoice = NOTHING
    """What has to be said by hand."""
    bad_lines: BadLines = BadLines.REFUSE
    name: str = "dirty.csv"


@dataclass(frozen=True)
class Encoding:
    codec: str
    mark: bytes = b""

    def encode(self, text: str) -> bytes:
        return self.mark + text.encode(self.codec)


ENCODINGS = {
    "utf-8": Encoding("utf-8"),
    "utf-8 with BOM": Encoding("utf-8", codecs.BOM_UTF8),
    "utf-16-le": Encoding("utf-16-le"),
    "utf-16-le with BOM": Encoding("utf-16-le", codecs.BOM_UTF16_LE),
    "utf-16-be": Encoding("utf-16-be"),
    "utf-16-be with BOM": Encoding("utf-16-be", codecs.BOM_UTF16_BE),
    "latin-1": Encoding("latin-1"),
    "windows-1252": Encoding("cp1252"),
}
UTF_8 = ENCODINGS["utf-8"]
LINE_ENDS = {"LF": "\n", "CRLF": "\r\n", "CR": "\r"}
USUAL_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
SELDOM_DELIMITERS = {"caret": "^", "tilde": "~", "SOH": "\x01", "colon": ":", "blank": " ", "section sign": "§"}

LETTERS = {"latin-1": "Zoë ½ ÿ", "cp1252": "Zoë – “5 €”"}
"""Text beyond ASCII, by codec; else that of all alphabets."""
ALL_LETTERS = "Zoë ж漢😀 e\u0301 \u2028"


# --- how cells are spelled -------------------------------------------------------------------------


@dataclass(frozen=True)
class Quoting:
    quote: str
    always: bool = False

    def cell(self, text: str, delimiter: str) -> str:
        special = any(mark in text for mark in (delimiter, "\r", "\n")) or (self.quote and text.startswith(self.quote))
        if not self.quote or not (self.always or special):
            return text
        return self.quote + text.replace(self.quote, self.quote * 2) + self.quote


QUOTINGS = {
    "double quotes where needed": Quoting('"'),
    "double quotes around all": Quoting('"', always=True),
    "single quotes around all": Quoting("'", always=True),
    "no quotes": Quoting(""),
}


def spelled(table: Table, delimiter: str = ",", quoting: Quoting = QUOTINGS["double quotes where needed"], line_end: str = "\n") -> str:
    """The text of a table, each record with a line end."""
    records = [*([table.header] if table.header else []), *table.rows]
    return "".join(delimiter.join(quoting.cell(cell, delimiter) for cell in record) + line_end for record in records)


def as_python_reads(text: str, delimiter: str = ",", quote: str = '"', *, header: bool = True) -> Table:
    """What Python's own reader makes of a text; blank lines are left out."""
    quoting = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quotechar=quote or None, quoting=quoting)
    records = [tuple(record) for record in reader if record]
    return Table(records[0], tuple(records[1:])) if header else Table(None, tuple(records))


# --- every spelling --------------------------------------------------------------------------------


def every_spelling() -> Iterator[Input]:
    """Delimiter × quotes × line end × encoding × header × final line end."""
    spellings = product(USUAL_DELIMITERS.items(), QUOTINGS.items(), LINE_ENDS.items(), ENCODINGS.items(), (True, False), (True, False))
    for number, (delimiter, quoting, line_end, encoding, header, ended) in enumerate(spellings):
        yield _spelling(number, delimiter, quoting, line_end, encoding, header, ended)


def seldom_delimiters() -> Iterator[Input]:
    spellings = product(SELDOM_DELIMITERS.items(), QUOTINGS.items(), LINE_ENDS.items(), list(ENCODINGS.items())[:3], (True, False))
    for number, (delimiter, quoting, line_end, encoding, header) in enumerate(spellings):
        yield _spelling(number, delimiter, quoting, line_end, encoding, header, True)


def _spelling(
    number: int,
    delimiter: tuple[str, str],
    quoting: tuple[str, Quoting],
    line_end: tuple[str, str],
    encoding: tuple[str, Encoding],
    header: bool,
    ended: bool,
) -> Input:
    words = [each[0] for each in (delimiter, quoting, line_end, encoding)]
    table = _table(number, delimiter[1], quoting[1], line_end[1], encoding[1].codec, header)
    text = spelled(table, delimiter[1], quoting[1], line_end[1])
    if not ended:
        text = text.removesuffix(line_end[1])
    said = DialectChoice(
        delimiter=delimiter[1] if delimiter[0] in SELDOM_DELIMITERS else None,
        quote="'" if quoting[1].quote == "'" else None,
    )
    kind = "every spelling" if delimiter[0] in USUAL_DELIMITERS else "seldom delimiters"
    what = ", ".join([*words, "header" if header else "no header", "ended" if ended else "not ended"])
    return Input(kind, what, encoding[1].encode(text), table, said=said)


def _table(number: int, delimiter: str, quoting: Quoting, line_end: str, codec: str, header: bool) -> Table:
    """Cells that are hard to read in this spelling, and numbers beside them."""
    letters = LETTERS.get(codec, ALL_LETTERS)
    others = [each for each in (*USUAL_DELIMITERS.values(), ":", " ") if each != delimiter]
    hard = ["", letters, "NULL", "back\\slash\\", "=1+1", f"other{others[number % len(others)]}mark", "it's", 'say "hi"', "\u00a0x"]
    if quoting.quote:
        quote = quoting.quote
        hard += [
            f"a{delimiter}b",
            quote,
            quote * 2,
            f'{delimiter}"',
            f"two{line_end}lines",
            f"{line_end}{line_end}",
            f"x{quote}{delimiter}{quote}",
        ]
    if quoting.always or delimiter != " ":
        hard += [" around ", " "]
    cells = cycle(_fitting(hard[number % len(hard) :] + hard[: number % len(hard)], delimiter, quoting, codec))
    count = 12 + number % 7
    rows = [(str(100 + i), next(cells), f"2024-01-{i % 28 + 1:02}", next(cells), f"{i * 1.25:.2f}") for i in range(count)]
    return Table(
        ("id", f"näme {number}", "day", "note", "v")
        if header and delimiter != " "
        else (("id", "n", "day", "note", "v") if header else None),
        tuple(rows),
    )


def _fitting(cells: Sequence[str], delimiter: str, quoting: Quoting, codec: str) -> list[str]:
    """The cells that can be written in this spelling."""
    return [cell for cell in cells if (quoting.quote or delimiter not in cell) and _writable(cell, codec)]


def _writable(text: str, codec: str) -> bool:
    return text.encode(codec, "replace").decode(codec) == text


# --- bad lines -------------------------------------------------------------------------------------

PLACES = {"first": 0, "middle": 7, "last": 14}
PLAIN = Table(("id", "name", "v"), tuple((str(i), f"näme {i}", f"{i}.5") for i in range(1, 16)))
"""A table of 15 rows, whose row n stands on line n + 1."""


@dataclass(frozen=True)
class Fault:
    """What makes a line bad: its new text, given its cells and the delimiter, and the reason it is refused with."""

    line: Callable[[Row, str], str]
    reason: str
    filled: Callable[[Row], Row] | None = None
    """The row it becomes when short lines are filled; None: it is refused then too."""


FAULTS = {
    "one cell only": Fault(lambda row, d: row[0], "1 cell instead of 3", lambda row: (row[0], "", "")),
    "one cell too few": Fault(lambda row, d: d.join(row[:2]), "2 cells instead of 3", lambda row: (*row[:2], "")),
    "one cell too many": Fault(lambda row, d: d.join((*row, "more")), "4 cells instead of 3"),
    "a delimiter at its end": Fault(lambda row, d: d.join(row) + d, "4 cells instead of 3"),
    "twice as many cells": Fault(lambda row, d: d.join(row * 2), "6 cells instead of 3"),
    "a quote opened and never closed": Fault(lambda row, d: d.join((row[0], '"' + row[1], row[2])), "a quote that is never closed"),
    "a quote opened in the last cell": Fault(lambda row, d: d.join((*row[:2], '"' + row[2])), "a quote that is never closed"),
    "text after a closing quote": Fault(lambda row, d: d.join((row[0], f'"{row[1]}"x', row[2])), "text after a closing quote"),
    "a blank after a closing quote": Fault(lambda row, d: d.join((row[0], f'"{row[1]}" ', row[2])), "text after a closing quote"),
    "NUL": Fault(lambda row, d: d.join((row[0], row[1] + "\0", row[2])), "a NUL character"),
}


def bad_lines() -> Iterator[Input]:
    """Each fault at the first, a middle and the last line: refused by number, left out, or filled."""
    for (fault, each), (place, at), delimiter, (end, line_end) in product(FAULTS.items(), PLACES.items(), ",;\t", LINE_ENDS.items()):
        what = f"{fault}, {place} line, {delimiter!r}, {end}"
        data = _with_line(at, each.line(PLAIN.rows[at], delimiter), delimiter, line_end).encode()
        refused = f"dirty.csv has a bad line \\({at + 2}\\): line {at + 2} has {each.reason}"
        filled = Table(PLAIN.header, _replaced(PLAIN.rows, at, each.filled(PLAIN.rows[at]))) if each.filled else None
        yield Input("bad lines, refused", what, data, refused=refused)
        yield Input("bad lines, left out", what, data, Table(PLAIN.header, _replaced(PLAIN.rows, at)), bad_lines=BadLines.SKIP)
        yield Input("bad lines, filled", what, data, filled, "" if filled else refused, bad_lines=BadLines.FILL)


def bad_lines_in_encodings() -> Iterator[Input]:
    for (fault, each), (place, at), encoding in product(FAULTS.items(), PLACES.items(), ENCODINGS):
        data = ENCODINGS[encoding].encode(_with_line(at, each.line(PLAIN.rows[at], ","), ",", "\n"))
        refused = f"bad line \\({at + 2}\\): line {at + 2} has {each.reason}"
        yield Input("bad lines, refused", f"{fault}, {place} line, {encoding}", data, refused=refused)


def bad_lines_far_down() -> Iterator[Input]:
    """Faults in files that are read in several pieces."""
    rows = [f"{i},näme {i},{i}.5" for i in range(1, 90_001)]
    for (fault, each), at in product(FAULTS.items(), (0, 60_000, 89_999)):
        lines = [*rows[:at], each.line(tuple(rows[at].split(",")), ","), *rows[at + 1 :]]
        data = ("id,name,v\n" + "\n".join(lines) + "\n").encode()
        yield Input(
            "bad lines, far down", f"{fault}, line {at + 2}", data, refused=f"bad line \\({at + 2}\\): line {at + 2} has {each.reason}"
        )


def _with_line(at: int, line: str, delimiter: str, line_end: str) -> str:
    lines = [delimiter.join(row) for row in (PLAIN.header or (), *PLAIN.rows)]
    return "".join(each + line_end for each in [*lines[: at + 1], line, *lines[at + 2 :]])


def _replaced(rows: tuple[Row, ...], at: int, *by: Row) -> tuple[Row, ...]:
    return (*rows[:at], *by, *rows[at + 1 :])


def cut_off() -> Iterator[Input]:
    """A file that ends early, at each of its bytes after the header: as Python reads it if its last record is whole, else refused."""
    table = Table(
        ("id", "name", "v"), (("1", "ä", "1.5"), ("2", "a,b", "2.5"), ("3", 'say "hi"', ""), ("4", "two\nlines", "4.5"), ("5", "", "5"))
    )
    for (quoting, each), (end, line_end) in product(list(QUOTINGS.items())[:2], LINE_ENDS.items()):
        data = spelled(table, ",", each, line_end).encode()
        start = data.index(line_end.encode()) + len(line_end)
        for at in range(start, len(data)):
            text = data[:at].decode("utf-8", "replace")
            read = as_python_reads(text)
            whole = all(len(row) == 3 for row in read.rows) and _closed(text) and "\ufffd" not in text
            refused = "" if whole else r"dirty.csv has .*bad line.* \(.*\): line \d+ has "
            yield Input("cut off", f"after {at} bytes, {quoting}, {end}", data[:at], read if whole else None, refused)


def _closed(text: str) -> bool:
    """Whether a text does not end inside quotes."""
    return text.count('"') % 2 == 0


def bad_headers() -> Iterator[Input]:
    """A header with a fault, or with fewer or more cells than the rows."""
    body = "1,a,2\n3,b,4\n"
    for what, header in {"a quote never closed": 'id,"name,v', "text after a quote": 'id,"name"x,v', "NUL": "id,na\0me,v"}.items():
        yield Input("bad headers", what, f"{header}\n{body}".encode(), refused=r"The header of dirty.csv \(line 1\) has ")
    for width in (2, 4, 5, 9):
        header = ",".join(f"c{i}" for i in range(width))
        yield Input(
            "bad headers",
            f"{width} names over 3 cells",
            f"{header}\n{body}".encode(),
            refused=f"2 bad lines .*line 2 has 3 cells instead of {width}",
        )
    yield Input(
        "bad headers", "broken UTF-8", b"id,n\xff,v\n" + "1,ä,2\n".encode() * 9, refused=r"The header of dirty.csv \(line 1\) has bytes"
    )


# --- bytes -----------------------------------------------------------------------------------------

BROKEN = {
    "a stray byte": b"\xff",
    "a character cut off": b"\xc3",
    "a continuation alone": b"\x80",
    "an overlong form": b"\xc0\xaf",
    "half a surrogate pair": b"\xed\xa0\x80",
    "beyond Unicode": b"\xf4\x90\x80\x80",
    "a letter in Latin-1": b"\xe9",
}


def broken_utf_8() -> Iterator[Input]:
    """One broken character in a file that else is UTF-8; it is refused by line, or its line is left out."""
    for (what, broken), (place, at), (end, line_end) in product(BROKEN.items(), PLACES.items(), LINE_ENDS.items()):
        lines = [",".join(row).encode() for row in (PLAIN.header or (), *PLAIN.rows)]
        lines[at + 1] = lines[at + 1].replace("ä".encode(), b"a" + broken)
        data = b"".join(line + line_end.encode() for line in lines)
        what = f"{what}, {place} line, {end}"
        yield Input("broken UTF-8", what, data, refused=f"bad line \\({at + 2}\\): line {at + 2} has bytes that are no UTF-8 text")
        yield Input("broken UTF-8, left out", what, data, Table(PLAIN.header, _replaced(PLAIN.rows, at)), bad_lines=BadLines.SKIP)


def mixed_encodings() -> Iterator[Input]:
    """Lines in UTF-8 and lines in another encoding in one file."""
    lines = [",".join(row) for row in (PLAIN.header or (), *PLAIN.rows)]
    for other, first in product(("latin-1", "cp1252", "utf-16-le", "utf-16-be"), (2, 5, 8, 12, 15)):
        data = b"".join((line + "\n").encode("utf-8" if i < first else other) for i, line in enumerate(lines))
        yield Input("mixed encodings", f"UTF-8, {other} from line {first + 1}", data, refused=f"line {first + 1}\\D|binary")
        data = b"".join((line + "\n").encode(other if i < first else "utf-8") for i, line in enumerate(lines))
        yield Input("mixed encodings", f"{other}, UTF-8 from line {first + 1}", data, refused="has a? ?.*bad line|binary|header|not utf-16")


def nul() -> Iterator[Input]:
    """NUL in cells, between lines, and as what pads a file."""
    text = spelled(PLAIN)
    yield Input("NUL", "padding at the end", text.encode() + b"\0" * 4, refused="line 17 has")
    yield Input("NUL", "much padding at the end", text.encode() + b"\0" * 4096, refused="binary|line 17 has")
    yield Input("NUL", "at the beginning", b"\0" + text.encode(), refused="header")
    yield Input(
        "NUL", "instead of empty cells", b"id,v,w\n" + b"".join(b"%d,\0,x\n" % i for i in range(400)), refused="binary|line 2 has a NUL"
    )
    yield Input("NUL", "instead of delimiters", text.replace(",", "\0").encode(), refused="binary|header")
    yield Input("NUL", "instead of line ends", text.replace("\n", "\0").encode(), refused="binary|header")
    yield Input("NUL", "alone", b"\0", refused="binary|header|not utf-16")


# --- line ends, quotes, blank lines ----------------------------------------------------------------


def mixed_line_ends() -> Iterator[Input]:
    """Records with different line ends, and line breaks of all kinds inside quotes."""
    table = Table(
        PLAIN.header, tuple((row[0], ("a\nb", "a\r\nb", "a\rb", row[1], 'q"')[i % 5], row[2]) for i, row in enumerate(PLAIN.rows))
    )
    for ends, (name, each), (codec, encoding) in product(
        (("\n", "\r\n"), ("\r\n", "\n"), ("\r", "\n"), ("\r\n", "\r"), ("\n", "\r"), ("\n", "\r\n", "\r"), ("\r", "\r\n")),
        {"plain": PLAIN, "quoted line breaks": table}.items(),
        list(ENCODINGS.items())[:3],
    ):
        lines = [
            ",".join(QUOTINGS["double quotes where needed"].cell(cell, ",") for cell in row) for row in (each.header or (), *each.rows)
        ]
        for how, after in {"in turn": lambda i: i, "one strange": lambda i: int(i == 8), "half and half": lambda i: int(i > 7)}.items():
            text = "".join(line + ends[after(i) % len(ends)] for i, line in enumerate(lines))
            yield Input("mixed line ends", f"{ends!r} {how}, {name}, {codec}", encoding.encode(text), each)


def blank_lines() -> Iterator[Input]:
    """Lines without anything, at the head, between rows and at the end; in a column alone they are rows."""
    for (end, line_end), (where, pattern) in product(
        LINE_ENDS.items(), {"head": "n{}", "middle": "{}n{}", "end": "{}n", "all over": "n{}n{}nn"}.items()
    ):
        text = spelled(PLAIN, line_end=line_end)
        half = text.index("8" + ",")
        text = pattern.replace("n", line_end * 2).format(*((text[:half], text[half:]) if pattern.count("{}") == 2 else (text,)))
        yield Input("blank lines", f"{where}, {end}", text.encode(), PLAIN)
        rows = ("a", "", "b", "", "")
        yield Input(
            "blank lines",
            f"one column, {end}",
            spelled(Table(("v",), tuple((each,) for each in rows)), line_end=line_end).encode(),
            Table(("v",), tuple((each,) for each in rows)),
        )


def one_column() -> Iterator[Input]:
    """Tables of one column, whatever stands in their cells."""
    columns = {
        "numbers": ("1", "2.5", "-3"),
        "words": ("red", "green", "blue"),
        "names with a comma": ("Smith, J", "Doe, K", "Roe, L"),
        "sentences": ("The first one.", "Another, longer one; with marks.", "No?"),
        "times": ("10:00:00", "11:30:00", "12:45:00"),
        "moments": ("2024-01-05 10:00:00", "2024-01-06 11:00:00", "2024-01-07 12:00:00"),
        "quoted commas": ("a,b", "c,d", "e,f"),
        "quoted line breaks": ("a\nb", "c\nd", ""),
        "addresses of pages": ("https://example.com/a?b=c", "https://example.com/d;e", ""),
    }
    for (what, cells), (end, line_end), encoding, header in product(
        columns.items(), LINE_ENDS.items(), ("utf-8", "utf-16-le with BOM"), (True, False)
    ):
        quoting = Quoting('"', always="quoted" in what)
        plain_commas = what in ("names with a comma", "sentences")
        said = DialectChoice(header=header, delimiter=NO_DELIMITER if plain_commas and not header else None)
        table = Table(("text",) if header else None, tuple((each,) for each in cells))
        data = ENCODINGS[encoding].encode(spelled(table, ",", Quoting("") if plain_commas else quoting, line_end))
        yield Input("one column", f"{what}, {end}, {encoding}, {'header' if header else 'no header'}", data, table, said=said)


def strange_quotes() -> Iterator[Input]:
    """Quotes that are not around cells, as Python's reader takes them where it takes them strictly."""
    cells = {
        "blanks before a quote": ' "a"',
        "a quote inside": 'a"b',
        "two quotes inside": 'a"b"c',
        "a quote at the end": 'a"',
        "inches": "5' 3\"",
        "doubled inside a bare cell": 'a""b',
        "an empty quoted cell": '""',
        "one quote, quoted": '""""',
        "a backslash before the quote that closes": '"a\\"',
        "single quotes": "'a'",
        "curly quotes": "“a”",
        "three quotes": '"""a"""',
    }
    for (what, cell), place, (end, line_end) in product(cells.items(), (0, 1, 2), LINE_ENDS.items()):
        rows = [["1", "x", "2"], ["3", "y", "4"], ["5", "z", "6"]]
        rows[1][place] = cell
        text = "".join(",".join(row) + line_end for row in (["id", "name", "v"], *rows))
        yield Input(
            "strange quotes", f"{what}, cell {place + 1}, {end}", text.encode(), as_python_reads(text), said=DialectChoice(header=True)
        )
    wrong = {
        "a backslash before a quote": ('"say \\"hi\\" to"', "text after a closing quote"),
        "blanks around quotes with a delimiter inside": (' "a,b" ', "4 cells instead of 3"),
        "a blank after": ('"a" ', "text after a closing quote"),
    }
    for (what, (cell, reason)), (end, line_end) in product(wrong.items(), LINE_ENDS.items()):
        text = line_end.join(["id,name,v", "1,x,2", f"3,{cell},4", "5,z,6", ""])
        yield Input("strange quotes", f"{what}, {end}", text.encode(), refused=rf"bad line \(3\): line 3 has {reason}")


# --- what stands beside the table ------------------------------------------------------------------

TITLES = {
    "a title": ["Sales report"],
    "a title and a blank line": ["Sales report", ""],
    "a title, a date and a blank line": ["Sales report", "2024-01-05", ""],
    "a title with a comma": ["Sales report, all regions"],
    "a title with commas for all columns": ["Sales report,,"],
    "a title and a line of commas": ["Sales report,,", ",,"],
    "names and values": ["Report:,sales", "Made:,2024-01-05", ""],
    "comments": ["# made by a program", "# 2024-01-05"],
    "twelve lines": [f"note {i}" for i in range(12)],
    "a quote in it": ['He said "no"'],
    "an apostrophe in it": ["the shop's report"],
}


def preambles() -> Iterator[Input]:
    """Lines above the header: as many as are said are skipped; else they are found, refused, or rows like all others."""
    for (what, lines), (end, line_end), delimiter in product(TITLES.items(), LINE_ENDS.items(), ",;"):
        above = [line.replace(",", delimiter) for line in lines]
        text = "".join(line + line_end for line in above) + spelled(PLAIN, delimiter, line_end=line_end)
        what = f"{what}, {delimiter!r}, {end}"
        yield Input("preambles, said", what, text.encode(), PLAIN, said=DialectChoice(skip_rows=len(lines), header=True))
        full = all(line.count(delimiter) in (2, 0) for line in above if line) and any(line.count(delimiter) == 2 for line in above)
        if full:
            yield Input("preambles, not said", what, text.encode(), as_python_reads(text, delimiter))
        else:
            yield Input("preambles, not said", what, text.encode(), PLAIN, refused="line|dirty.csv")


def unit_rows() -> Iterator[Input]:
    """A row of units under the header: skipped if that is said, else a row like all others."""
    for units, (end, line_end), encoding in product(
        (("(m)", "(s)", "(%)"), ("", "", "EUR"), ("m", "s", "€")), LINE_ENDS.items(), ("utf-8", "utf-16-le with BOM")
    ):
        whole = Table(PLAIN.header, (units, *PLAIN.rows))
        data = ENCODINGS[encoding].encode(spelled(whole, line_end=line_end))
        yield Input("unit rows, said", f"{units}, {end}, {encoding}", data, PLAIN, said=DialectChoice(skip_after_header=1))
        yield Input("unit rows, not said", f"{units}, {end}, {encoding}", data, whole)


def two_tables() -> Iterator[Input]:
    """A second table under the first: its lines are refused if they are no rows of the first."""
    for (width, second), gap, (end, line_end) in product({2: "x,y\n1,2\n", 4: "w,x,y,z\n1,2,3,4\n"}.items(), (0, 1, 2), LINE_ENDS.items()):
        text = spelled(PLAIN) + "\n" * gap + second
        refused = rf"2 bad lines \({17 + gap}, {18 + gap}\): line {17 + gap} has {width} cells instead of 3"
        yield Input(
            "two tables", f"{width} columns after 3, {gap} blank lines, {end}", text.replace("\n", line_end).encode(), refused=refused
        )
    for gap, (end, line_end) in product((0, 1), LINE_ENDS.items()):
        text = (spelled(PLAIN) + "\n" * gap + "x,y,z\n1,2,3\n").replace("\n", line_end)
        yield Input("two tables", f"3 columns after 3, {gap} blank lines, {end}", text.encode(), as_python_reads(text))


def excel_lines() -> Iterator[Input]:
    """Excel's first line that names the delimiter."""
    first_lines = ("sep={}", "SEP={}", '"sep={}"', "sep={}{}{}")
    for first, delimiter, (end, line_end), encoding in product(
        first_lines, ",;\t|^", LINE_ENDS.items(), ("utf-8", "utf-8 with BOM", "utf-16-le with BOM")
    ):
        table = Table(("id", "a,b;c", "v"), tuple((str(i), "x,y;z", f"{i},5") for i in range(5)))
        text = first.replace("{}", delimiter) + line_end + spelled(table, delimiter, line_end=line_end)
        yield Input("Excel's sep= line", f"{first} {delimiter!r}, {end}, {encoding}", ENCODINGS[encoding].encode(text), table)


# --- numbers ---------------------------------------------------------------------------------------


def numbers_of_other_lands() -> Iterator[Input]:
    """Thousands separators and decimal commas are text like any other; unquoted they are cells too many."""
    spelling = {
        "decimal commas": ("1,5", "22,75", "-3,125"),
        "points for thousands": ("1.234,56", "12.345.678,90", "-1.000,00"),
        "commas for thousands": ("1,234.56", "12,345,678.90", "-1,000.00"),
        "blanks for thousands": ("1 234,56", "12 345 678,90", "-1 000,00"),
        "no-break spaces for thousands": ("1\u00a0234,56", "12\u00a0345\u00a0678,90", "-1\u00a0000,00"),
        "apostrophes for thousands": ("1'234.56", "12'345'678.90", "-1'000.00"),
        "currencies": ("€ 1.234,56", "€ 5,00", "€ -3,10"),
        "percent": ("1,5 %", "2 %", "3,25 %"),
        "lakhs": ("12,34,567.89", "1,00,000.00", "5.00"),
        "accountants' negatives": ("(1,234.56)", "5.00", "(3.10)"),
    }
    for (what, cells), (mark, delimiter), (end, line_end), encoding in product(
        spelling.items(), USUAL_DELIMITERS.items(), LINE_ENDS.items(), ("utf-8", "windows-1252")
    ):
        table = Table(("id", "amount", "v"), tuple((str(i), cell, cell) for i, cell in enumerate(cells)))
        data = ENCODINGS[encoding].encode(spelled(table, delimiter, line_end=line_end))
        yield Input("numbers of other lands", f"{what}, {mark}, {end}, {encoding}", data, table)
    for what, cells in spelling.items():
        if any("," in cell for cell in cells):
            data = ("id,amount,v\n" + "".join(f"{i},{cell},x\n" for i, cell in enumerate(cells))).encode()
            yield Input("numbers of other lands", f"{what}, bare between commas", data, refused="dirty.csv has .*bad line.* line 2 has")


# --- other files -----------------------------------------------------------------------------------


def other_files() -> Iterator[Input]:
    """Files of another kind under the name of a table, and compressed ones under a plain name."""
    text = spelled(PLAIN).encode()
    for name in ("dirty.csv", "dirty.txt", "DIRTY.CSV"):
        for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            yield Input(
                "other files", f"zip, {name}, {compression}", _zipped({"a.csv": text}, compression), refused="ZIP or Excel file", name=name
            )
        yield Input("other files", f"xlsx, {name}", _workbook(), refused="ZIP or Excel file", name=name)
    yield Input("other files", "an empty zip", _zipped({}, zipfile.ZIP_STORED), refused="ZIP|binary")
    yield Input("other files", "xls", bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504), refused="Excel file")
    yield Input("other files", "PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", refused="PDF")
    yield Input("other files", "PNG", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + zlib.compress(text), refused="binary|header|line")
    yield Input("other files", "program", b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 4, refused="binary")
    yield Input("other files", "SQLite", b"SQLite format 3\0" + bytes(1000), refused="binary")
    yield Input("other files", "bzip2", b"BZh91AY&SY" + bytes(range(200)), refused="bzip2")
    yield Input("other files", "Parquet cut off", b"PAR1" + text, refused="Parquet")
    for what, compressed in {"gzip": zlib.compressobj(wbits=31), "raw zlib": zlib.compressobj()}.items():
        data = compressed.compress(text) + compressed.flush()
        if what == "gzip":
            yield Input("other files", "gzip under a plain name", data, PLAIN)
            yield Input("other files", "gzip cut off", data[:-9], refused="damaged or cut-off")
            yield Input("other files", "gzip with rubbish behind", data + b"rubbish", PLAIN, refused="damaged")
            yield Input("other files", "plain text named .gz", text, PLAIN, name="dirty.csv.gz")
            yield Input("other files", "gzip twice", _gzipped(data), refused="binary|header|gzip")
        else:
            yield Input("other files", what, data, refused="binary|header|line")


def _gzipped(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


def _zipped(files: dict[str, bytes], compression: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return stream.getvalue()


def _workbook() -> bytes:
    import xlsxwriter

    stream = io.BytesIO()
    with xlsxwriter.Workbook(stream, {"in_memory": True}) as book:
        book.add_worksheet().write_row(0, 0, ["id", "v"])
    return stream.getvalue()


def nothing_much() -> Iterator[Input]:
    """Files of no rows, or of nothing at all."""
    for (end, line_end), (codec, encoding) in product(LINE_ENDS.items(), ENCODINGS.items()):
        for what, text in {"a header": "id,name,v", "a header with a line end": f"id,name,v{line_end}"}.items():
            yield Input("nothing much", f"{what}, {end}, {codec}", encoding.encode(text), Table(("id", "name", "v"), ()))
        yield Input("nothing much", f"blank lines, {end}, {codec}", encoding.encode(line_end * 3), Table((), ()))
    for codec, encoding in ENCODINGS.items():
        yield Input("nothing much", f"nothing, {codec}", encoding.encode(""), Table((), ()))


# --- far too much ----------------------------------------------------------------------------------


def too_much() -> Iterator[Input]:
    """Fields of 100 MB, 100,000 columns."""
    field = b"x" * (100 << 20)
    long = "16 MB"
    yield Input("far too much", "a field of 100 MB", b"id,v\n1," + field + b"\n2,b\n", refused=long)
    yield Input("far too much", "a quoted field of 100 MB", b'id,v\n1,"' + field + b'"\n2,b\n', refused=long)
    yield Input(
        "far too much",
        "a quoted field of 100 MB with line breaks",
        b'id,v\n1,"' + (b"x" * 99 + b"\n") * (1 << 20) + b'"\n2,b\n',
        refused=f"{long}|never closed",
    )
    yield Input("far too much", "a header of 100 MB", field + b",v\n1,2\n", refused=long)
    names = ",".join(f"c{i}" for i in range(100_000)).encode()
    cells = ",".join(map(str, range(100_000))).encode()
    for what, data in {"with a header": names + b"\n" + cells + b"\n", "without one": cells + b"\n" + cells + b"\n"}.items():
        yield Input("far too much", f"100,000 columns {what}", data, refused="100,000 columns; at most 20,000")
    yield Input(
        "far too much", "100,000 delimiters in one line", b"id,v\n1,a\n2" + b"," * 100_000 + b"\n", refused=r"line 3 has 100001 cells"
    )
    field = "é" * (4 << 20)
    yield Input("far too much", "a field of 8 MB", f"id,v\n1,{field}\n2,b\n".encode(), Table(("id", "v"), (("1", field), ("2", "b"))))


KINDS: tuple[Callable[[], Iterator[Input]], ...] = (
    every_spelling, seldom_delimiters, bad_lines, bad_lines_in_encodings, bad_lines_far_down, cut_off, bad_headers, broken_utf_8,
    mixed_encodings, nul, mixed_line_ends, blank_lines, one_column, strange_quotes, preambles, unit_rows, two_tables,
    excel_lines, numbers_of_other_lands, other_files, nothing_much, too_much,
)  # fmt: skip


def inputs() -> Iterator[Input]:
    for kind in KINDS:
        yield from kind()
