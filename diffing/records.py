"""The records of a file: counted, checked, and rewritten where an engine could misread them.

An engine only ever reads files on which all readers of CSV agree: UTF-8 text, one kind of line
end, every record with the same number of cells, quotes only around whole cells. Most files are
like that, and are found so by looking at nothing but their delimiters, quotes and line ends.
Anything else goes record by record through the careful reader below, into a clean copy.
"""

from __future__ import annotations

import codecs
import os
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from diffing.dialects import CsvDialect
from diffing.errors import BadLinesError, NotUtf8Error, SourceError

if TYPE_CHECKING:
    from diffing.lines import Block, Positions

CHUNK = 1 << 20
"""Bytes looked at together."""
LINE = 1 << 16
"""Bytes in which a line probably ends."""
QUICK = 1 << 12
"""From so many bytes on the quick look pays."""
MAX_RECORD = 16 << 20
"""The longest record that is read, in bytes; a longer one is refused."""
BAD_LINES_KEPT = 100
"""How many bad lines are kept to be shown; all are counted."""
MOST_REFUSED = 10_000
"""When bad lines are refused, a file with more of them is not read to its end."""
SHOWN_TEXT = 200
"""How many characters of a bad line are kept."""

Progress = Callable[[int], None]
"""Told the number of bytes done since the last call; may raise to stop."""


class Taker(Protocol):
    """Takes the records of a file in, as they will be read, while they are checked."""

    def add(self, block: bytes, ends: Positions | None, *, crlf: bool) -> None:
        """Whole regular records, each with its line end; `ends` says where they end, if that is known."""


class BadLines(StrEnum):
    """What to do with lines that are no rows: too few or too many cells, bad quotes, bad bytes."""

    REFUSE = "refuse"
    FILL = "fill"
    """Fill short lines with empty cells; refuse other bad lines."""
    SKIP = "skip"
    """Leave bad lines out, and say that their partners show as added or removed."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no row. `line` counts from 1; `text` may be cut."""

    line: int
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Body:
    """The records of a file after its preamble and header.

    `offset` is in bytes, `line` the number of the first line, from 1; `columns` the number of
    cells that every record must have.
    """

    path: Path
    dialect: CsvDialect
    columns: int
    offset: int
    line: int
    name: str
    """What people call the file."""
    valid_utf8: bool = False
    """Whether the file is known to be UTF-8 throughout."""
    presumed_utf8: bool = False
    """Whether it is taken for that until the contrary is seen."""
    size: int | None = None
    """How many bytes from `offset` on belong to it; None: all to the end."""
    follows: bool = False
    """Whether records of the same file come before it."""


@dataclass(frozen=True, slots=True)
class Records:
    """What a check found, and a file that every CSV reader reads alike."""

    path: Path
    skip_lines: int
    """Lines of `path` before the first record."""
    offset: int
    """Where the first record begins in `path`, in bytes."""
    line_end: str
    lines: int
    rows: int
    bad_lines: int
    filled_lines: int
    bad: tuple[BadLine, ...]
    quoted: bool
    """Whether a record has quotes, so that the same cells can be spelled in more than one way."""
    longest: int
    """No record is longer than this, in bytes."""


def check_records(
    body: Body, bad_lines: BadLines, clean_copy: Path, progress: Progress = lambda done: None, taker: Taker | None = None
) -> Records:
    """Count and check all records; write a clean copy to `clean_copy` if one is needed. `taker` is given the records.

    Raises:
        BadLinesError: there are bad lines and they are refused; the message names the lines.
        SourceError: a record is too long to be read.
        NotUtf8Error: the file was presumed to be UTF-8, and is not.
    """
    with body.path.open("rb") as file:
        file.seek(body.offset)
        check = _Check(body, bad_lines, clean_copy, taker)
        try:
            for chunk, last in _chunks(file, check):
                check.look_at(chunk, last)
                progress(len(chunk))
            return check.finish()
        finally:
            check.close()


def _chunks(file: BinaryIO, check: _Check) -> Iterator[tuple[bytes, bool]]:
    """The body in pieces that end where a record seems to end, each with whether it is the last."""
    left = check.body.path.stat().st_size if check.body.size is None else check.body.size
    while True:
        rest = check.rest
        more = file.read(_whole_lines(file, left))
        left -= len(more)
        data = rest + more if rest else more
        if not more:
            check.rest = b""
            if not data:
                return
            yield data, True
            continue
        cut = _cut(data, check.quote)
        check.rest = data[cut:]
        if cut:
            yield data[:cut], False
        elif len(data) > MAX_RECORD:
            raise SourceError(
                f"{check.body.name} has a record of more than {MAX_RECORD >> 20} MB at line {check.line}.",
                "Check the delimiter and the quote character; a table has shorter records.",
            )


def _whole_lines(file: BinaryIO, left: int) -> int:
    """How many bytes to read next: up to the first line end after a chunk, if there is one nearby, so that nothing has to be copied."""
    ahead = os.pread(file.fileno(), min(LINE, max(left - CHUNK, 0)), file.tell() + CHUNK)
    return min(CHUNK, left) + (ahead.find(b"\n") + 1 or len(ahead))


def _cut(data: bytes, quote: bytes) -> int:
    """Where the last record in the data seems to end; 0 if none does."""
    cut = data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, len(data) - 1) + 1
    if not quote or quote not in data or _is_even(data, cut, quote):
        return cut
    for _ in range(500):  # inside quotes: look for an earlier line end that is not
        before = data.rfind(b"\n", 0, cut - 1) + 1
        if not before:
            return cut
        odd = data.count(quote, before, cut) % 2
        cut = before
        if odd:
            return cut
    return cut


def _is_even(data: bytes, size: int, quote: bytes) -> bool:
    """Whether the quote occurs an even number of times in so many bytes."""
    if size < QUICK or len(quote) > 1:
        return data.count(quote, 0, size) % 2 == 0
    from diffing.lines import is_even

    return is_even(memoryview(data)[:size], quote[0])


@dataclass(frozen=True, slots=True)
class _Regular:
    """A chunk of whole records, all with the right number of cells."""

    rows: int
    lines: int
    quoted: bool
    ends: Positions | None = None
    """Where each record ends, if that is known."""


@dataclass
class _Check:
    """A walk over one file: what was found so far, and the clean copy once one is needed."""

    body: Body
    bad_lines: BadLines
    clean_copy: Path
    taker: Taker | None
    rest: bytes = b""
    rows: int = 0
    line: int = 0
    longest: int = 0
    offset: int = 0
    bad_count: int = 0
    filled: int = 0
    bad: list[BadLine] = field(default_factory=list)
    quoted: bool = False
    line_end: bytes = b""
    copy: BinaryIO | None = None
    copy_offset: int = 0

    def __post_init__(self) -> None:
        self.delimiter, self.quote = self.body.dialect.delimiter.encode(), self.body.dialect.quote.encode()
        self.line, self.offset = self.body.line, self.body.offset
        marks = self.delimiter + self.quote + b"\n\r\0"
        self.not_marks = bytes(each for each in range(256) if each not in marks)
        self.simple = len(self.delimiter) == 1 and len(self.quote) <= 1
        quote = re.escape(self.quote)
        self.quoted_run = re.compile(quote + b"[^" + quote + b"]*" + quote) if quote else None
        self.reader = RecordReader(self.delimiter, self.quote)
        self.end_before = _end_of_skipped_lines(self.body) if self.body.offset and not self.body.follows else b""

    def look_at(self, chunk: bytes, last: bool) -> None:
        """Take in a chunk; what is left of it (a record that goes on) is put before `rest`."""
        if self.body.presumed_utf8 and not is_utf8(chunk):
            raise NotUtf8Error(f"{self.body.name} is not UTF-8 throughout.", "Give its real encoding.")
        if not self.line_end:
            self.line_end = self.reader.first_line_end(chunk) or self.end_before or b"\n"
            if self.end_before not in (b"", self.line_end):
                self._start_copy()
        if not (self._plain(chunk, last) or self._mended(chunk)):
            self._careful(chunk, last)
        self.offset += len(chunk)

    def _plain(self, chunk: bytes, last: bool) -> bool:
        """Whether the chunk is regular as it stands; if so it is counted."""
        if self.line_end == b"\r":
            return False
        found = self._regular_block(chunk) or self._regular(chunk, self.line_end, last)
        if found is None or not self._readable(chunk):
            return False
        self._count(found, chunk)
        self._put(chunk, found.ends)
        return True

    def _mended(self, chunk: bytes) -> bool:
        """Whether only its line ends, blank lines, and quotes inside bare cells keep a chunk from being regular.

        If so, it is counted and written as it should be.
        """
        quoted = self.quote != b"" and self.quote in chunk
        if quoted and (chunk.startswith(self.quote) or any(mark + self.quote in chunk for mark in (self.delimiter, b"\n", b"\r"))):
            return False
        lines = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        count = lines.count(b"\n")
        if not lines.endswith(b"\n"):
            lines += b"\n"
        if self.body.columns > 1:
            lines = re.sub(rb"\n{2,}", b"\n", lines).lstrip(b"\n")
        found = self._regular(lines.replace(self.quote, b"") if quoted else lines, b"\n", last=False)
        if found is None or not self._readable(chunk):
            return False
        if quoted:
            lines = b"\n".join(line if self.quote not in line else self._cleaned(line) for line in lines.split(b"\n"))
        if self.copy_end != b"\n":
            lines = lines.replace(b"\n", self.copy_end)
        self._start_copy()
        self._count(replace(found, lines=count, quoted=quoted), lines)
        self._put(lines)
        return True

    def _cleaned(self, line: bytes) -> bytes:
        """A line of bare cells, with those in quotes that have one inside."""
        quote, doubled = self.quote, self.quote * 2
        cells = line.split(self.delimiter)
        return self.delimiter.join([quote + each.replace(quote, doubled) + quote if quote in each else each for each in cells])

    def _readable(self, chunk: bytes) -> bool:
        return self.body.valid_utf8 or self.body.presumed_utf8 or is_utf8(chunk)

    def _count(self, found: _Regular, chunk: bytes) -> None:
        self.rows += found.rows
        self.quoted |= found.quoted
        self.line += found.lines
        self.longest = max(self.longest, len(chunk))

    def _regular_block(self, chunk: bytes) -> _Regular | None:
        """The quick look at a large chunk of records; None if it is not sure."""
        if not self.simple or len(chunk) < QUICK or not chunk.endswith(b"\n"):
            return None
        from diffing.lines import Marks, regular_records

        marks = Marks(self.delimiter[0], self.quote[0] if self.quote else None, self.body.columns)
        block: Block | None = regular_records(chunk, marks, crlf=self.line_end == b"\r\n")
        return _Regular(len(block.ends), block.lines, block.quoted, block.ends) if block else None

    def _regular(self, chunk: bytes, line_end: bytes, last: bool) -> _Regular | None:
        """Whether delimiters and line ends outside quotes are those of whole records; None if not."""
        if not self.simple:
            return None
        marks = chunk.translate(None, self.not_marks)
        lone = marks.count(b"\r") - chunk.count(b"\r\n")
        lines = marks.count(b"\n") + lone
        unended = last and not chunk.endswith(b"\n")
        if unended:
            marks += line_end
        quoted = self.quoted_run is not None and self.quote in marks
        if (lone or quoted) and not (quoted and self.reader.regular(chunk)):
            return None
        if quoted and self.quoted_run:
            marks = self.quoted_run.sub(b"", marks.replace(self.quote * 2, b""))
        unit = self.delimiter * (self.body.columns - 1) + line_end
        rows, odd = divmod(len(marks), len(unit))
        if odd or marks != unit * rows:
            return None
        return _Regular(rows, lines, quoted)

    def _careful(self, chunk: bytes, last: bool) -> None:
        """Read a chunk record by record into the clean copy."""
        self._start_copy()
        out: list[bytes] = []
        done = 0
        for record in self.reader.read(chunk, last):
            done = record.end
            if (written := self._take(record)) is not None:
                out.append(written + self.copy_end)
            self.line += record.lines
            if record.reason and len(chunk) > 2 * CHUNK:
                break  # a long wait for a closing quote was in vain: what follows may be regular
        self._put(b"".join(out))
        self.rows += len(out)
        self.longest = max(self.longest, *map(len, out)) if out else self.longest
        if done < len(chunk):
            self.rest = chunk[done:] + self.rest

    def _take(self, record: Record) -> bytes | None:
        """A record as it goes into the copy; None for a blank or a bad line."""
        if record.reason is None and not record.raw and self.body.columns > 1:
            return None
        reason, missing = record.reason, self.body.columns - record.cells
        if reason is None and missing:
            reason = f"{_cells(record.cells)} instead of {self.body.columns}"
        reason = reason or unreadable(record.raw)
        self.quoted |= self.quote != b"" and self.quote in record.clean
        fills = self.bad_lines is BadLines.FILL and missing > 0 and record.reason is None and not unreadable(record.raw)
        if reason:
            self._note(record, reason, fills)
        if reason and not fills:
            return None
        return record.clean + self.delimiter * missing

    def _note(self, record: Record, reason: str, fills: bool) -> None:
        if fills:
            self.filled += 1
        else:
            self.bad_count += 1
        if self.bad_count > MOST_REFUSED and self.bad_lines is not BadLines.SKIP:
            raise _refused(self.body.name, f"more than {MOST_REFUSED:,} bad lines", self.bad, self.bad_lines)
        if len(self.bad) < BAD_LINES_KEPT:
            text = record.raw[: SHOWN_TEXT * 4].decode("utf-8", "replace")[:SHOWN_TEXT]
            self.bad.append(BadLine(self.line, text, reason))

    def _start_copy(self) -> None:
        """From here on write a copy: first what was found regular before."""
        if self.copy is not None:
            return
        self.copy = self.clean_copy.open("wb")
        if self.offset > self.body.offset:
            with self.body.path.open("rb") as file:
                file.seek(self.body.offset)
                left = self.offset - self.body.offset
                while left and (data := file.read(min(CHUNK, left))):
                    self._write(data)
                    left -= len(data)

    def _put(self, block: bytes, ends: Positions | None = None) -> None:
        """Pass checked records on: to the copy, if there is one, and to who takes them in."""
        if self.copy:
            self._write(block)
        if self.taker and block:
            ended = block if block.endswith(b"\n") else block + self.copy_end
            self.taker.add(ended, ends, crlf=self.copy_end == b"\r\n")

    def _write(self, data: bytes) -> None:
        assert self.copy is not None
        if data.startswith(codecs.BOM_UTF8) and not self.copy.tell():
            self.copy.write(codecs.BOM_UTF8)  # readers take away the first one
            self.copy_offset = len(codecs.BOM_UTF8)
        self.copy.write(data)

    @property
    def copy_end(self) -> bytes:
        """What ends lines in the copy."""
        return b"\n" if self.line_end == b"\r" else self.line_end

    def finish(self) -> Records:
        refused = self.bad_count if self.bad_lines is not BadLines.SKIP else 0
        if refused:
            count = "a bad line" if refused == 1 else f"{refused:,} bad lines"
            raise _refused(self.body.name, count, self.bad, self.bad_lines)
        self.close()
        return Records(
            path=self.clean_copy if self.copy else self.body.path,
            skip_lines=0 if self.copy else self.body.line - 1,
            offset=self.copy_offset if self.copy else self.body.offset,
            line_end="\r\n" if self.line_end == b"\r\n" else "\n",
            lines=self.line - self.body.line,
            rows=self.rows,
            bad_lines=self.bad_count,
            filled_lines=self.filled,
            bad=tuple(self.bad),
            quoted=self.quoted,
            longest=self.longest,
        )

    def close(self) -> None:
        if self.copy:
            self.copy.close()


def _end_of_skipped_lines(body: Body) -> bytes | None:
    """How the lines before the first record end; None if they can't be skipped as so many lines by all readers."""
    with body.path.open("rb") as file:
        before = file.read(body.offset)
    crlf, delimiter, quote = before.count(b"\r\n"), body.dialect.delimiter.encode(), body.dialect.quote.encode()
    if before == codecs.BOM_UTF8 or before.count(b"\n") != body.line - 1:
        return None
    if before.count(b"\r") != crlf or crlf not in (0, body.line - 1):
        return None
    if quote and quote in before and (body.line != 2 or not RecordReader(delimiter, quote).regular(before.removeprefix(codecs.BOM_UTF8))):
        return None
    return b"\r\n" if crlf else b"\n"


def is_utf8(data: bytes) -> bool:
    """Whether bytes are whole characters of UTF-8."""
    if data.isascii():
        return True
    if len(data) < QUICK:
        try:
            data.decode()
        except UnicodeDecodeError:
            return False
        return True
    import pyarrow as pa  # takes a while, and is four times as fast as Python

    text = pa.LargeStringArray.from_buffers(1, pa.py_buffer(struct.pack("<2q", 0, len(data))), pa.py_buffer(data))
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def unreadable(data: bytes) -> str | None:
    """What is in the data that is no text."""
    if b"\0" in data:
        return "a NUL character"
    return None if is_utf8(data) else "bytes that are no UTF-8 text"


def _cells(count: int) -> str:
    return f"{count} cell" if count == 1 else f"{count} cells"


def _refused(name: str, count: str, bad: list[BadLine], bad_lines: BadLines) -> BadLinesError:
    lines = ", ".join(str(each.line) for each in bad[:5]) + (", …" if len(bad) > 5 else "")
    shown = "; ".join(f"line {each.line} has {each.reason}: {each.text[:80]!r}" for each in bad[:5])
    return refusal(name, f"{count} ({lines}): {shown}", bad_lines)


def refusal(name: str, what: str, bad_lines: BadLines) -> BadLinesError:
    """What is raised for a file with bad lines that are refused; `what` counts and shows them."""
    also = "" if bad_lines is BadLines.FILL else ", or fill short lines (--fill-short-lines)"
    return BadLinesError(
        f"{name} has {what}.", f"Mend the file, check the delimiter and quote, leave bad lines out (--skip-bad-lines){also}."
    )


@dataclass(frozen=True, slots=True)
class Record:
    """One record as the careful reader sees it."""

    raw: bytes
    """Without its line end."""
    clean: bytes
    """The same cells, with quotes only around whole cells."""
    cells: int
    end: int
    """Where the next record begins."""
    lines: int
    reason: str | None
    """Why it is no record at all; None if it is one."""


class RecordReader:
    """Reads records by RFC 4180, with any line end, one by one.

    A quote inside an unquoted cell is a character like any other. Where a quoted cell is not
    closed, or text follows its closing quote, the one line in which it starts is bad and reading
    goes on with the next line.
    """

    def __init__(self, delimiter: bytes, quote: bytes) -> None:
        self.delimiter, self.quote = delimiter, quote
        self.line_end = re.compile(rb"\r\n|\n|\r")
        if not quote:
            return
        d, q = re.escape(delimiter), re.escape(quote)
        quoted = q + b"(?:[^" + q + b"]++|" + q + q + b")*+" + q
        bare = b"(?!" + q + b")[^" + d + rb"\r\n]*+"
        if len(delimiter) > 1:
            bare = b"(?!" + q + b")(?:(?!" + d + rb")[^\r\n])*+"
        cell = b"(?:" + quoted + b"|" + bare + b")"
        self.record = re.compile(cell + b"(?:" + d + cell + rb")*+(?=\r\n|\n|\r|\Z)")
        self.open = re.compile(b"(?:" + cell + d + b")*+" + q + b"(?:[^" + q + b"]++|" + q + q + rb")*+\Z")
        self.cell = re.compile(b"(" + cell + rb")(" + d + rb"|\Z)")
        plain = b"(?:" + quoted + b"|[^" + q + d + rb"\r\n]*+)"
        self.plain = re.compile(b"(?:" + plain + b"(?:" + d + plain + rb")*+(?:\r?\n|\Z))*+")

    def regular(self, data: bytes) -> bool:
        """Whether quotes stand only around whole cells, and lines end with LF or CRLF."""
        return len(self.delimiter) == 1 and self.plain.fullmatch(data) is not None

    def first_line_end(self, data: bytes) -> bytes:
        """What ends the first record that has an end; nothing if none has."""
        for record in self.read(data, last=True):
            found = self.line_end.search(data, record.end - 2 if record.end > 1 else 0, record.end)
            if found:
                return found[0]
        return b""

    def read(self, data: bytes, last: bool) -> Iterator[Record]:
        """The records of `data`; stops before one that may go on in later data unless `last`."""
        at = 0
        while at < len(data):
            record = self._next(data, at, last)
            if record is None:
                return
            yield record
            at = record.end

    def _next(self, data: bytes, at: int, last: bool) -> Record | None:
        found = self.line_end.search(data, at)
        stop, after = found.span() if found else (len(data), len(data))
        line = data[at:stop]
        if not self.quote or self.quote not in line:
            if not last and (not found or (after == len(data) and data[stop:after] == b"\r")):
                return None
            return Record(line, line, line.count(self.delimiter) + 1, after, 1, None)
        whole = self.record.match(data, at)
        if whole and (last or whole.end() < len(data)):
            return self._quoted(data, at, whole.end())
        goes_on = not last and len(data) - at < MAX_RECORD and (whole or self.open.match(data, at))
        if goes_on:
            return None
        reason = "a quote that is never closed" if self.open.match(data, at) else "text after a closing quote"
        return Record(line, line, 0, after, 1, reason)

    def _quoted(self, data: bytes, at: int, stop: int) -> Record:
        raw = data[at:stop]
        found = self.line_end.match(data, stop)
        cells = [each[0] for each in self.cell.findall(raw)]
        if not raw.endswith(self.delimiter):
            cells.pop()  # the empty match at the very end is no cell
        clean = self.delimiter.join(map(self._clean, cells))
        lines = 1 + len(self.line_end.findall(raw))
        return Record(raw, clean, len(cells), found.end() if found else stop, lines, None)

    def _clean(self, cell: bytes) -> bytes:
        """A cell with its quotes, if any, around the whole of it."""
        if self.quote not in cell or cell.startswith(self.quote):
            return cell
        return self.quote + cell.replace(self.quote, self.quote * 2) + self.quote
