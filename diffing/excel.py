"""Results as Excel workbooks: the columns of the diffed CSV, with the changed cells marked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.exceptions import XlsxWriterException
from xlsxwriter.worksheet import Worksheet

from diffing import grammar
from diffing.errors import DiffError, StoreError
from diffing.export import output_columns
from diffing.grammar import ColumnType
from diffing.plan import ColumnPair
from diffing.result import Cell, Change, Result
from diffing.views import CellPair, Filter, Row, count, page

MOST_ROWS = 100_000
MOST_COLUMNS, MOST_LETTERS, MOST_DIGITS = 16_384, 32_767, 15
"""What a sheet holds across, what a cell holds, and what a number keeps."""
BATCH = 5_000
MARKS = {Change.CHANGED: "#CCE3F0", Change.ADDED: "#CCECE3", Change.REMOVED: "#F7DFCC"}
"""The colours of the fates, as they are behind text on white."""
CUT = "… (cut)"

Item = tuple[str | None, bool, Change | None]
"""A cell: its text, whether it may be a number, and the fate whose mark it has."""


class DoesNotFit(DiffError):
    """A result that a sheet does not hold."""


class PlainSheet(Worksheet):  # type: ignore[misc]
    """A sheet of plain texts. The library takes a text from `<r>` to `</r>` for markup of its own, and would not escape it."""

    def _xml_rich_inline_string(self, string: str, attributes: Any) -> None:
        self._xml_inline_string(string, False, attributes)


def write_xlsx(result: Result, path: Path, *, filter: Filter = Filter()) -> None:
    """The rows that a filter means; a cell that differs is marked on both sides.

    Cells of number columns are numbers if a sheet keeps all their digits, else text.

    Raises:
        DoesNotFit: there are more rows or columns than a sheet should hold.
        StoreError: the file can't be written.
    """
    names = list(output_columns(result.plan))
    rows = sum(count(result, filter).values())
    _refuse_large(rows, len(names))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        _write(result, part, names, rows, filter)
        os.replace(part, path)
    except (OSError, XlsxWriterException) as error:
        raise StoreError("The workbook can't be written.", "Free some space on the disk, or choose another format.") from error
    finally:
        part.unlink(missing_ok=True)


def _refuse_large(rows: int, columns: int) -> None:
    if rows > MOST_ROWS:
        hint = "Filter the rows first and fetch these as Excel, or choose CSV or Parquet for all of them."
        raise DoesNotFit(f"{rows:,} rows are too many for Excel; it takes up to {MOST_ROWS:,} here.", hint)
    if columns > MOST_COLUMNS:
        raise DoesNotFit(f"{columns:,} columns are too many for Excel; a sheet holds {MOST_COLUMNS:,}.", "Choose CSV or Parquet.")


def _write(result: Result, path: Path, names: Sequence[str], rows: int, filter: Filter) -> None:
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    book = xlsxwriter.Workbook(str(path), {**options, "tmpdir": str(path.parent)})
    try:
        book.set_properties({"created": datetime(2000, 1, 1)})
        sheet = book.add_worksheet("Differences", PlainSheet)
        formats: dict[Change | None, Any] = {change: book.add_format({"bg_color": colour}) for change, colour in MARKS.items()}
        formats[None] = None
        _head(sheet, names, rows, 1 + len(result.plan.key), book.add_format({"bold": True, "bottom": 1}))
        for i, row in enumerate(_rows(result, rows, filter), 1):
            for j, (text, is_number, mark) in enumerate(_items(result, row)):
                _put(sheet, i, j, text, is_number, formats[mark])
    finally:
        book.close()


def _head(sheet: Any, names: Sequence[str], rows: int, pinned: int, bold: Any) -> None:
    """Column names, which stay in sight with the key."""
    for j, name in enumerate(names):
        sheet.set_column(j, j, min(max(len(name) + 2, 10), 40))
        sheet.write_string(0, j, _fitting(name), bold)
    sheet.freeze_panes(1, pinned if pinned < len(names) and pinned <= 4 else 1)
    sheet.autofilter(0, 0, rows, len(names) - 1)


def _rows(result: Result, rows: int, filter: Filter) -> Iterator[Row]:
    for number in range(1, -(-rows // BATCH) + 1):
        yield from page(result, filter, number=number, size=BATCH, columns="all").rows


def _items(result: Result, row: Row) -> Iterator[Item]:
    """The cells of a row in the order of `output_columns`."""
    yield row.change, False, row.change
    alone = None if row.change is Change.CHANGED else row.change
    for pair, cells in zip(result.plan.key, row.key, strict=True):
        yield from _key(pair, cells, alone)
    for pair, cells in zip(result.plan.columns, row.cells, strict=True):
        mark = Change.CHANGED if cells.code is Cell.DIFFERS else None
        is_number = pair.type is ColumnType.NUMBER
        yield cells.old, is_number, mark or (alone if row.change is Change.REMOVED else None)
        yield cells.new, is_number, mark or (alone if row.change is Change.ADDED else None)
        if is_number:
            yield cells.change, True, mark


def _key(pair: ColumnPair, cells: CellPair, mark: Change | None) -> Iterator[Item]:
    is_number = pair.type is ColumnType.NUMBER
    if pair.widened:
        yield cells.old, is_number, mark
        yield cells.new, is_number, mark
    else:
        yield (cells.new if cells.old is None else cells.old), is_number, mark


def _put(sheet: Any, i: int, j: int, text: str | None, is_number: bool, format_: Any) -> None:
    if text is None:
        sheet.write_blank(i, j, None, format_)
    elif is_number and _is_kept(text):
        sheet.write_number(i, j, float(text), format_)
    else:
        sheet.write_string(i, j, _fitting(text), format_)


def _is_kept(text: str) -> bool:
    """Whether a sheet keeps all that a number says."""
    digits = text.lower().partition("e")[0].lstrip("+-0.").replace(".", "")
    return grammar.is_number(text) and len(digits) <= MOST_DIGITS and abs(float(text)) < 1e300


def _fitting(text: str) -> str:
    """Text as a cell holds it, which counts letters in UTF-16; what is cut off is said."""
    if len(text) <= MOST_LETTERS // 2:
        return text
    units = text.encode("utf-16-le", "replace")
    return text if len(units) <= 2 * MOST_LETTERS else units[: 2 * (MOST_LETTERS - len(CUT))].decode("utf-16-le", "ignore") + CUT
