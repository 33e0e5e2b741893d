"""Files described, not loaded: dialect, columns, types, size, identity."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import hashlib
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, cast

from diffing.dialects import CsvDialect, DialectChoice, codec_name, detect_dialect, parse
from diffing.errors import SourceError
from diffing.grammar import ColumnType, Shape, shape_of, type_of
from diffing.locked import connected
from diffing.naming import header_names, position_names
from diffing.records import MAX_RECORD, Body, Record, RecordReader, is_utf8, unreadable

HEAD = 1 << 18
"""Bytes from the head of a file that its dialect is found from."""
WHOLE = 1 << 20
"""Files up to this size are sampled whole, so the order of their rows does not matter."""
BLOCKS, BLOCK = 16, 1 << 15
"""Larger files are sampled at this many places, so many bytes each."""
PRESUMED = 16 << 20
"""From this size on a file's encoding may be presumed from samples."""
SAMPLE_ROWS = 4000
MAX_COLUMNS = 20_000
PIECE = 1 << 20
SURE = 1 << 20
"""After so many bytes that are no UTF-8, and hardly any that are, a file is no UTF-8."""
NOT_HIGH = bytes(range(0x80)) + bytes(range(0xA0, 0x100))
"""All bytes but those that are control characters in Latin-1 and mostly letters and signs in Windows-1252."""
UNDEFINED = frozenset(b"\x81\x8d\x8f\x90\x9d")
"""Those of them that Windows-1252 lacks."""
TEXT = bytes(range(0x20, 0x100)) + b"\t\r\n\v\f\x01\x1c\x1d\x1e\x1f"
"""Bytes that texts are made of; some control characters separate cells."""
FEW_STRANGE = 4
"""So many bytes that no text has make a bad line, not a binary file."""
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Byte order marks; UTF-32 first, as its mark begins with that of UTF-16."""
OTHERS = {
    b"PK\x03\x04": "a ZIP or Excel file",
    b"\xd0\xcf\x11\xe0": "an Excel file",
    b"%PDF": "a PDF file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
}
"""How files begin that people take for tables."""


URL = re.compile(r"[a-z][a-z0-9+.-]*://")


class Format(StrEnum):
    """What kind of file a source is."""

    CSV = "csv"
    PARQUET = "parquet"


def is_place(text: str) -> bool:
    """Whether it is no single file of this machine but what a cluster can read: a URL, a folder, or a pattern of names."""
    path = Path(text)
    return bool(URL.match(text)) or path.is_dir() or (bool(re.search(r"[*?\[{]", text)) and not path.exists())


@dataclass(frozen=True, slots=True)
class Column:
    """A column as a sample shows it."""

    name: str
    """Unique in its file; see `naming`."""
    type: ColumnType
    shape: Shape


@dataclass(frozen=True)
class Source:
    """One version of a table: where it is, how it is spelled, what it holds."""

    path: Path
    name: str
    format: Format
    dialect: CsvDialect
    columns: tuple[Column, ...]
    size: int
    """Bytes of the file as it is, compressed or not."""
    mtime_ns: int
    digest: str
    """What tells this content from another: SHA-256 in hex, or path, size and time of change."""
    compression: str | None
    """None, "gzip" or "zstd"."""
    data: Path
    """The same content as UTF-8 text without compression: `path` itself, or a converted copy."""
    offset: int
    """Bytes of `data` before the first record."""
    first_line: int
    """The line of `data`, from 1, on which the first record starts."""
    valid_utf8: bool = False
    presumed_utf8: bool = False
    """Whether samples of it are; then who reads `data` must be ready for NotUtf8Error."""
    """Whether `data` is known to be UTF-8 throughout."""
    location: str | None = None
    """Where a cluster reads the table: a URL, a folder or a pattern; `path` and `data` are then only a sample of it."""

    @property
    def has_header(self) -> bool:
        return self.dialect.header

    @property
    def identity(self) -> list[Any]:
        """All that the rows of this source depend on, as plain data."""
        return [self.digest, self.format, asdict(self.dialect), self.compression, [c.name for c in self.columns]]

    @property
    def body(self) -> Body:
        """Where the records are."""
        return Body(
            self.data, self.dialect, len(self.columns), self.offset, self.first_line, self.name, self.valid_utf8, self.presumed_utf8
        )

    def has_changed(self) -> bool:
        """Whether the file is not the one that was described; of what a cluster reads the cluster knows."""
        if self.location:
            return False
        try:
            now = self.path.stat()
        except OSError:
            return True
        return (now.st_size, now.st_mtime_ns) != (self.size, self.mtime_ns)


def open_source(
    path: str | Path,
    *,
    workdir: Path,
    choice: DialectChoice = DialectChoice(),
    name: str | None = None,
    by_content: bool = False,
    presume: bool = False,
    room: Callable[[int], None] = lambda _: None,
) -> Source:
    """Describe a file: find its dialect, columns and types from a sample.

    Args:
        path: a CSV file, plain or as .gz or .zst, in any encoding; or a Parquet file.
        workdir: where a converted copy goes, if the file is not plain UTF-8.
        choice: what the user says about the dialect; the rest is found.
        name: what people call the file; its own name when absent.
        by_content: identify the file by a digest of its bytes, not by path, size and time.
        presume: take a large file for UTF-8 if samples of it are; reading it raises NotUtf8Error if it is not.
        room: asked before a converted copy grows by so many bytes; it may raise, then no copy is left.

    Raises:
        SourceError: the file is missing, can't be read, or is no table.
    """
    path = Path(path)
    name = name or path.name or str(path)
    with _reading(name, path):
        _refuse_other_than_files(path, name)
        now = path.stat()
        digest = _sha256(path) if by_content else f"{path.resolve()}:{now.st_size}:{now.st_mtime_ns}"
        with path.open("rb") as file:
            kind = _kind(file.read(8), name)
        data = _plainly_named(path, workdir, kind)
        source = Source(path, name, Format.CSV, CsvDialect(), (), now.st_size, now.st_mtime_ns, digest, None, data, 0, 1)
        if kind == "parquet":
            return replace(source, format=Format.PARQUET, columns=_parquet_columns(data, name))
        source, encoding = _as_utf8(replace(source, compression=kind), workdir, choice, room, presume=presume)
        return _with_table(source, encoding, choice)


class _reading:
    """Turns what the system says about a file into words, without its folder."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileNotFoundError):
            called = Path(self.name).parts
            shown = self.path if called and self.path.parts[-len(called) :] == called else self.name
            raise SourceError(f"There is no file {shown}.", "Check the spelling and the folder.") from error
        if isinstance(error, PermissionError):
            raise SourceError(f"{self.name} can't be read: no permission.", "Ask its owner for the right to read it.") from error
        if isinstance(error, OSError):
            why = error.strerror or str(error)
            raise SourceError(f"{self.name} can't be read: {why}.", "Check the file and the free disk space.") from error
        if isinstance(error, ValueError) and "null" in str(error):
            raise SourceError(f"{self.name!r} is no name of a file.", "Check the spelling.") from error


def _refuse_other_than_files(path: Path, name: str) -> None:
    mode = path.stat().st_mode
    if any("\ud800" <= each <= "\udfff" for each in str(path)):
        raise SourceError(f"The name of the file is not UTF-8 text: {name!r}.", "Rename it.")
    if stat.S_ISDIR(mode):
        raise SourceError(f"{name} is a folder, not a file.", "Give a CSV or Parquet file.")
    if not stat.S_ISREG(mode) and path != Path(os.devnull):
        raise SourceError(f"{name} is a pipe or a device, which can't be read twice.", "Write its content to a file, and give that.")


def _plainly_named(path: Path, workdir: Path, kind: str | None) -> Path:
    """The path, or a link to it if an engine could take it for a pattern, or a plain file for a compressed one."""
    if re.fullmatch(r"[\w./ +,@-]+", str(path)) and (kind or path.suffix.lower() not in (".gz", ".zst")):
        return path
    told = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:24]
    link = workdir / f"{told}.link"
    with contextlib.suppress(FileExistsError):
        link.symlink_to(path.resolve())
    return link


def _kind(magic: bytes, name: str) -> str | None:
    """The compression of a file, or "parquet", from its first bytes."""
    if magic.startswith(b"PAR1"):
        return "parquet"
    if magic.startswith(b"\x1f\x8b"):
        return "gzip"
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd"
    for start, what in OTHERS.items():
        if magic.startswith(start):
            raise SourceError(f"{name} is {what}, not a CSV or Parquet file.", "Save the table as CSV and use that.")
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- plain UTF-8 ---------------------------------------------------------------------------------


def _as_utf8(
    source: Source, workdir: Path, choice: DialectChoice, room: Callable[[int], None], *, presume: bool = False
) -> tuple[Source, str]:
    """The source with `data` as plain UTF-8, and the encoding it had."""
    if source.compression:
        source = replace(source, data=_converted(source, workdir, "plain", _unpacked(source), room))
    head = _head(source.data, 1 << 16)
    if presume and not choice.encoding and _seems_utf8(source.data, head):
        return replace(source, presumed_utf8=True), "utf-8"
    encoding, valid = (codec_name(choice.encoding), False) if choice.encoding else _encoding(source, head)
    if encoding in ("utf-16", "utf-32"):
        marked = _marked(head)
        encoding = marked if marked and marked.startswith(encoding) else f"{encoding}-le"
    if encoding != "utf-8":
        copy = _converted(source, workdir, encoding, _recoded(source, encoding), room)
        source, valid = replace(source, data=copy), True
    return replace(source, valid_utf8=valid), encoding


def _converted(source: Source, workdir: Path, what: str, pieces: Iterator[bytes], room: Callable[[int], None]) -> Path:
    """A copy of the source's data made of `pieces`, in the work folder; made once."""
    told = hashlib.sha256(f"{source.digest}|{source.data.name}|{what}".encode()).hexdigest()[:24]
    target = workdir / f"{told}.csv"
    if target.exists():
        return target
    part = target.with_suffix(f".{os.urandom(16).hex()}.part")
    try:
        with part.open("wb") as file:
            for piece in pieces:
                room(len(piece))
                _write(file, piece, source.name)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _write(file: IO[bytes], piece: bytes, name: str) -> None:
    try:
        file.write(piece)
        file.flush()
    except OSError as error:
        what = f"A plain copy of {name}, which has to be made, can't be written: {error.strerror}."
        raise SourceError(what, "Free some disk space, or set TMPDIR to a folder on another disk.") from error


def _unpacked(source: Source) -> Iterator[bytes]:
    kind = source.compression
    with _decompressing(source) as stream:
        while True:
            try:
                piece = stream.read(PIECE)
            except (EOFError, OSError, zlib.error) as error:
                if isinstance(error, OSError) and error.errno:
                    raise
                what = f"{source.name} is a damaged or cut-off {kind} file: {error}."
                raise SourceError(what, "Make or fetch the file again.") from error
            if not piece:
                return
            yield piece


def _decompressing(source: Source) -> IO[bytes]:
    if source.compression == "gzip":
        return cast(IO[bytes], gzip.open(source.data, "rb"))
    import pyarrow as pa

    stream: IO[bytes] = pa.CompressedInputStream(pa.OSFile(str(source.data)), "zstd")
    return stream


def _recoded(source: Source, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    done = 0
    with source.data.open("rb") as file:
        while True:
            piece = file.read(PIECE)
            try:
                text = decoder.decode(piece, final=not piece)
            except UnicodeError as error:
                raise SourceError(
                    f"{source.name} is not {encoding} text: {_reason(error)} near byte {done:,}.", "Give its real encoding."
                ) from error
            yield (text.removeprefix("\ufeff") if not done else text).encode("utf-8", "replace")
            done += len(piece)
            if not piece:
                return


def _reason(error: UnicodeError) -> str:
    return getattr(error, "reason", None) or str(error)


def _encoding(source: Source, head: bytes) -> tuple[str, bool]:
    """UTF-16 by its mark or its zero bytes, UTF-8 if it is, Windows-1252 or Latin-1 otherwise.

    And whether the whole file was seen to be that.
    """
    if marked := _marked(head):
        return marked, False
    if b"\0" in head and (wide := _by_zero_bytes(source, head)):
        return wide, False
    return _by_all_bytes(source.data)


def _marked(head: bytes) -> str | None:
    """The encoding that a byte order mark names, other than UTF-8."""
    return next((encoding for mark, encoding in MARKS.items() if head.startswith(mark)), None)


def _by_zero_bytes(source: Source, head: bytes) -> str | None:
    """UTF-16 if every other byte is often zero; None if only some bytes are, which makes bad lines."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    least = (0.1 if even + odd > 20 else 0.4) * len(head) / 2
    for count, other, encoding in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if count > least and other < 0.05 * count:
            _refuse_appended(source, head)
            return encoding
    if even + odd > max(FEW_STRANGE, 0.1 * len(head)):
        raise SourceError(f"{source.name} is a binary file, not a table in text.", "Export the table as CSV or Parquet.")
    return None


def _refuse_appended(source: Source, head: bytes) -> None:
    """Refuse UTF-16 that a program added to a file of another encoding."""
    before = head[: head.index(b"\0")]
    if re.search(rb"[^\r\n]{3,}[\r\n]+.?\Z", before) and not unreadable(before):
        line = len(before.splitlines()) + before.endswith((b"\n", b"\r"))
        raise SourceError(
            f"{source.name} goes on in UTF-16 from line {line}, after lines in another encoding.", "Export it again as a whole."
        )


def _is_binary(head: bytes, choice: DialectChoice) -> bool:
    strange = len(head.translate(None, TEXT + (choice.delimiter or "").encode()))
    return strange > max(FEW_STRANGE, 0.05 * len(head))


def _seems_utf8(path: Path, head: bytes) -> bool:
    """Whether samples of a large file are UTF-8."""
    size = path.stat().st_size
    if size < PRESUMED or _marked(head) or b"\0" in head:
        return False
    with path.open("rb", buffering=0) as file:
        pieces = [os.pread(file.fileno(), BLOCK, size * n // BLOCKS) for n in range(BLOCKS)]
    lines = (piece[piece.find(b"\n") + 1 : piece.rfind(b"\n") + 1] for piece in pieces)
    return all(is_utf8(each) for each in lines)


def _by_all_bytes(path: Path) -> tuple[str, bool]:
    """UTF-8 unless the bytes beyond ASCII are mostly no UTF-8; and whether all of the file is UTF-8."""
    start = _ascii_bytes(path)
    if start == path.stat().st_size or all(map(is_utf8, _pieces_of_lines(path, start))):
        return "utf-8", True
    right = wrong = 0
    high: set[int] = set()
    for piece in _pieces_of_lines(path, start):
        try:
            right += len(piece) - len(piece.decode())
        except UnicodeDecodeError:
            if wrong < SURE or wrong <= right * 20:
                bad, good = _strays(piece.decode("utf-8", "surrogateescape"))
                wrong, right = wrong + bad, right + good
            high.update(piece.translate(None, NOT_HIGH))
    if wrong <= right * 20:
        return "utf-8", False
    return ("windows-1252" if high and not high & UNDEFINED else "latin-1"), False


def _ascii_bytes(path: Path) -> int:
    """How many bytes, in whole pieces, a file begins with that are ASCII."""
    buffer, done = bytearray(PIECE), 0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            if not (buffer if count == PIECE else buffer[:count]).isascii():
                break
            done += count
    return done


def _pieces_of_lines(path: Path, start: int) -> Iterator[bytes]:
    """The bytes of a file from a place on, in pieces that end with a line, so that no character is cut; very long lines may be."""
    rest = b""
    with path.open("rb") as file:
        file.seek(start)
        while more := file.read(PIECE):
            data = rest + more
            cut = data.rfind(b"\n") + 1 or (len(data) if len(data) > MAX_RECORD else 0)
            rest = data[cut:]
            if cut:
                yield data[:cut]
    if rest:
        yield rest


def _strays(text: str) -> tuple[int, int]:
    """How many characters stand for bytes that are no UTF-8, and how many others are beyond ASCII."""
    text_only = text.encode("utf-8", "ignore").decode()
    return len(text) - len(text_only), len(text_only) - len(text_only.encode("ascii", "ignore"))


# --- the table -----------------------------------------------------------------------------------


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _with_table(source: Source, encoding: str, choice: DialectChoice) -> Source:
    head = _head(source.data, HEAD)
    if _is_binary(head, choice):
        raise SourceError(f"{source.name} is a binary file, not a table in text.", "Export the table as CSV or Parquet.")
    marked = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    head = head[marked:]
    if not head.strip(b"\r\n"):
        _refuse_late_table(source)
        return replace(source, dialect=CsvDialect(encoding=encoding, header=choice.header is not False), offset=marked)
    sample = _whole_lines(head, source)
    dialect = detect_dialect(sample.decode("utf-8", "replace"), encoding, choice)
    source = replace(source, dialect=dialect)
    names, source = _names(source)
    if not names and choice.skip_rows:
        raise SourceError(f"Nothing is left of {source.name} after {choice.skip_rows:,} skipped lines.", "Skip fewer lines (--skip-rows).")
    if len(names) > MAX_COLUMNS:
        raise SourceError(f"{source.name} has {len(names):,} columns; at most {MAX_COLUMNS:,} are read.", "Check the delimiter.")
    rows = sample_rows(replace(source, columns=tuple(Column(n, ColumnType.TEXT, Shape.TEXT) for n in names)))
    return replace(source, columns=tuple(describe_columns(names, rows)))


def _refuse_late_table(source: Source) -> None:
    with source.data.open("rb") as file:
        file.seek(HEAD)
        if any(piece.strip(b"\r\n") for piece in iter(lambda: file.read(PIECE), b"")):
            raise SourceError(f"{source.name} begins with more than {HEAD >> 10} KB of blank lines.", "Remove them.")


def _whole_lines(head: bytes, source: Source) -> bytes:
    """The head without a line that is cut; a first line longer than that is read on."""
    if len(head) < HEAD - 3:
        return head
    cut = max(head.rfind(b"\n"), head.rfind(b"\r"))
    if cut > 0:
        return head[: cut + 1]
    with source.data.open("rb") as file:
        line = file.readline(MAX_RECORD + 1)
    if len(line) > MAX_RECORD:
        raise SourceError(
            f"The first line of {source.name} is longer than {MAX_RECORD >> 20} MB.",
            "A table has shorter lines: check that this is a CSV file.",
        )
    return line.removeprefix(codecs.BOM_UTF8)


def _names(source: Source) -> tuple[list[str], Source]:
    """The names of the columns, and the source with the place of its first record."""
    dialect = source.dialect
    data = _head(source.data, MAX_RECORD)
    start, line = _after_lines(data, dialect.skip_rows)
    records = RecordReader(dialect.delimiter.encode(), dialect.quote.encode()).read(data[start:], last=True)
    above: list[Record] = []
    names: list[str] = []
    for _ in range(dialect.header + dialect.skip_after_header):
        above += _up_to_a_row(records, blank_is_row=len(names) == 1)
        if above and dialect.header and not names:
            header_line = line + sum(each.lines for each in above[:-1])
            names = header_names(_header_cells(above[-1], source, header_line))
    first_line = line + sum(each.lines for each in above)
    if not names:
        names = position_names(_first_width(records, source, first_line))
    return names, replace(source, offset=start + (above[-1].end if above else 0), first_line=first_line)


def _after_lines(data: bytes, count: int) -> tuple[int, int]:
    """Where the line after so many lines begins, in bytes, and its number."""
    at = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    for _, found in zip(range(count), re.finditer(rb"\r\n|\n|\r|(?<![\r\n])\Z", data), strict=False):
        at = found.end()
    return at, count + 1


def _up_to_a_row(records: Iterator[Record], *, blank_is_row: bool) -> Iterator[Record]:
    """The next records, up to one that is not blank."""
    for record in records:
        yield record
        if record.raw or record.reason or blank_is_row:
            return


def _first_width(records: Iterator[Record], source: Source, line: int) -> int:
    """How many cells the first row has; 0 if there are only blank lines."""
    bad: tuple[int, Record] | None = None
    for record in records:
        if record.raw and not record.reason:
            return record.cells
        bad = bad or ((line, record) if record.reason else None)
        line += record.lines
    if bad:
        raise SourceError(
            f"{source.name} has no line that is a row: line {bad[0]} has {bad[1].reason}: {_shown(bad[1])}.",
            "Mend it, or check the delimiter (--delimiter) and the quote (--quote).",
        )
    return 0


def _shown(record: Record) -> str:
    return repr(record.raw[:80].decode("utf-8", "replace"))


def _header_cells(record: Record, source: Source, line: int) -> list[str]:
    reason = record.reason or unreadable(record.raw)
    if reason:
        raise SourceError(
            f"The header of {source.name} (line {line}) has {reason}: {_shown(record)}.",
            "Mend it, or check the quote (--quote), the encoding (--encoding) and where the table starts (--skip-rows).",
        )
    records = parse(record.raw.decode(), source.dialect.delimiter, source.dialect.quote, 1)
    return records[0] if records else [""]


def describe_columns(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Column]:
    """Columns with the types that a sample of rows shows."""
    for i, name in enumerate(names):
        cells = [row[i] for row in rows if row[i]]
        distinct = list(dict.fromkeys(cells))
        yield Column(name, type_of(cells), shape_of(distinct))


def sample_rows(source: Source) -> list[list[str]]:
    """A fixed sample of the rows: all of a small file, else from places all over it."""
    if source.format is Format.PARQUET:
        return _parquet_rows(source.path, len(source.columns))
    width = len(source.columns)
    rows = [row for text in _sample_texts(source) for row in _parsed(text, source.dialect) if len(row) == width]
    step = -(-len(rows) // SAMPLE_ROWS)
    return rows[::step] if step > 1 and source.data.stat().st_size > WHOLE else rows


def _parsed(text: str, dialect: CsvDialect) -> list[list[str]]:
    return parse(text, dialect.delimiter, dialect.quote, -1)


def _sample_texts(source: Source) -> Iterator[str]:
    size = source.data.stat().st_size
    line_end = source.dialect.line_end.encode()
    with source.data.open("rb") as file:
        file.seek(source.offset)
        if size <= WHOLE:
            yield file.read().decode("utf-8", "replace")
            return
        for i in range(BLOCKS):
            file.seek(source.offset + (size - source.offset) * i // BLOCKS)
            yield _lines_of_a_block(file, line_end, from_start=i == 0).decode("utf-8", "replace")


def _lines_of_a_block(file: IO[bytes], line_end: bytes, *, from_start: bool) -> bytes:
    """The whole lines of a block; of a larger one where lines are long."""
    block = b""
    while (more := file.read(len(block) or BLOCK)) and (len(block) < WHOLE):
        block += more
        first = 0 if from_start else block.find(line_end) + len(line_end)
        last = block.rfind(line_end) + len(line_end)
        if last > max(first, len(line_end)):
            return block[first:last]
    return b""


# --- Parquet -------------------------------------------------------------------------------------


def _parquet_columns(path: Path, name: str) -> tuple[Column, ...]:
    import duckdb

    try:
        with connected(files=[path]) as con:
            schema = con.execute("SELECT name, num_children FROM parquet_schema($path)", {"path": str(path)}).fetchall()
        names = header_names(list(_top_names(schema)))
        return tuple(describe_columns(names, _parquet_rows(path, len(names))))
    except duckdb.Error as error:
        raise SourceError(f"{name} is not a Parquet file that can be read.", "It may be damaged or cut off: make it again.") from error


def _top_names(schema: Sequence[tuple[str, int | None]]) -> Iterator[str]:
    """The names of a Parquet file's own columns; what is nested in them is left out."""
    left = 0  # nodes inside the column that is being passed over
    for name, children in schema[1:]:
        if not left:
            yield name
        left += (children or 0) - bool(left)


def parquet_select(path_parameter: str, width: int) -> str:
    """SQL that reads a Parquet file as text cells c0, c1, …; empty text is null."""
    columns = ", ".join(f"c{i}" for i in range(width))
    cells = ", ".join(f"nullif({parquet_text(f'c{i}')}, '') AS c{i}" for i in range(width))
    return f"SELECT {cells} FROM read_parquet({path_parameter}, hive_partitioning = false) AS t({columns})"


def parquet_text(column: str) -> str:
    """A typed cell as text. Instants are written in UTC with a Z."""
    plain = f"CAST({column} AS VARCHAR)"
    return f"CASE WHEN typeof({column}) = 'TIMESTAMP WITH TIME ZONE' THEN regexp_replace({plain}, '[+]00$', 'Z') ELSE {plain} END"


def _parquet_rows(path: Path, width: int) -> list[list[str]]:
    with connected(files=[path], settings=["TimeZone = 'UTC'"]) as con:
        rows = con.execute(f"{parquet_select('$path', width)} LIMIT {SAMPLE_ROWS}", {"path": str(path)}).fetchall()
    return [[cell or "" for cell in row] for row in rows]


def parquet_rows(path: Path) -> int:
    """How many rows a Parquet file says it has."""
    with connected(files=[path]) as con:
        found = con.execute("SELECT count(*) FROM read_parquet($path)", {"path": str(path)}).fetchone()
    return int(found[0]) if found else 0
