"""Is every dirty file read as the right table, or clearly refused? `python -m tests.drills.dirty [kind or word …]`"""

from __future__ import annotations

import csv
import io
import re
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from diffing.dialects import DialectChoice
from diffing.engines.duckdb import DuckDBEngine
from diffing.errors import DiffError
from diffing.naming import header_names, position_names
from diffing.plan import Choices, make_plan
from diffing.records import Records, check_records
from diffing.result import Summary
from diffing.sources import Source, open_source
from tests.drills._inputs import Input, Quoting, Row, Table, inputs, spelled

ENGINE = DuckDBEngine(threads=1, memory_limit="1GB")


@dataclass(frozen=True)
class Outcome:
    """What became of an input: right, refused, or wrong and why."""

    input: Input
    verdict: str
    why: str = ""


class Wrong(Exception):
    """The table that was read is not the one in the file."""


# --- one input -------------------------------------------------------------------------------------


def judge(each: Input, *, compare: bool = True) -> Outcome:
    """Read the file, compare it, and hold what came out against what is right for it."""
    with TemporaryDirectory() as folder:
        try:
            source = _read(each, Path(folder))
            if compare:
                _compare(each, source, Path(folder))
        except DiffError as error:
            return _refusal(each, error)
        except Wrong as error:
            return Outcome(each, "wrong", str(error))
        except Exception as error:
            return Outcome(each, "wrong", f"{type(error).__name__}: {error}")
    return Outcome(each, "right")


def _refusal(each: Input, error: DiffError) -> Outcome:
    if not each.refused:
        return Outcome(each, "wrong", f"refused: {error.message}")
    if not re.search(each.refused, error.message, re.S) or not error.hint or "report" in error.hint:
        return Outcome(each, "wrong", f"not clear: {error.message} | {error.hint}")
    return Outcome(each, "refused")


def _read(each: Input, folder: Path) -> Source:
    path = folder / each.name
    path.write_bytes(each.data)
    source = open_source(path, workdir=folder, choice=each.said)
    records = check_records(source.body, each.bad_lines, folder / "copy.csv") if source.columns else None
    if each.table is None:
        raise Wrong(f"read as {records.rows if records else 0} rows of {len(source.columns)} columns")
    expect("columns", [column.name for column in source.columns], _names(each.table))
    if records:
        expect("rows", read_rows(records, source), list(each.table.rows))
    return source


def _names(table: Table) -> list[str]:
    if table.header is not None:
        return header_names(list(table.header)) if table.header else []
    return position_names(len(table.rows[0]))


def read_rows(records: Records, source: Source) -> list[Row]:
    """The rows as any reader of CSV reads them after the check."""
    with records.path.open("rb") as file:
        file.seek(records.offset)
        text = file.read().decode()
    quote = source.dialect.quote
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=source.dialect.delimiter,
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
    )
    rows = [tuple(row) or ("",) for row in reader]
    return rows if len(source.columns) == 1 else [row for row in rows if row != ("",)]


def _compare(each: Input, source: Source, folder: Path) -> None:
    """Against a clean file of the same table with one edited cell exactly one row differs; against itself, none does."""
    table = each.table
    assert table is not None
    if not source.columns:
        table = Table(("id", "v"), ())
    rows, edited = len(table.rows), bool(table.rows)
    clean = folder / "clean.csv"
    clean.write_text(spelled(_edited(table) if edited else table, quoting=Quoting('"', always=True)), encoding="utf-8", newline="")
    other = open_source(clean, workdir=folder, choice=_clean(table))
    right = (0, edited, 0, rows - edited) if _key(source, table) else (edited, 0, edited, rows - edited)
    expect("added, changed, removed, unchanged", _counted(each, source, other, folder), right)
    if source.columns and zlib.crc32(each.data) % 4 == 0:
        expect("added, changed, removed, unchanged against itself", _counted(each, source, source, folder), (0, 0, 0, rows))


def _clean(table: Table) -> DialectChoice:
    return DialectChoice(delimiter=",", quote='"', encoding="utf-8", skip_rows=0, header=table.header is not None)


def _counted(each: Input, source: Source, clean: Source, folder: Path) -> tuple[int, int, int, int]:
    """How many rows were added, changed, removed and are unchanged; the dirty file is the old or the new one by turns."""
    pair = (source, clean) if zlib.crc32(each.data) % 2 else (clean, source)
    key = _key(source, each.table) if each.table else ()
    plan = make_plan(*pair, Choices(key=key, text=True, bad_lines=each.bad_lines))
    result = folder / "result"
    result.mkdir(exist_ok=True)
    summary: Summary = ENGINE.run(plan, result).summary
    return summary.added, summary.changed, summary.removed, summary.unchanged


def _key(source: Source, table: Table) -> tuple[str, ...]:
    """The first column, if it names the rows and is not the only one."""
    cells = [row[0] for row in table.rows]
    return (source.columns[0].name,) if len(source.columns) > 1 and len(set(cells)) == len(cells) else ()


def _edited(table: Table) -> Table:
    """The table with another text in the last cell of the middle row."""
    at = len(table.rows) // 2
    row = table.rows[at]
    return Table(table.header, (*table.rows[:at], (*row[:-1], row[-1] + "x"), *table.rows[at + 1 :]))


def expect(what: str, found: object, right: object) -> None:
    if found != right:
        raise Wrong(f"{what}: {_first_difference(found, right)}")


def _first_difference(found: object, right: object) -> str:
    if isinstance(found, list) and isinstance(right, list):
        for at, (one, other) in enumerate(zip(found, right, strict=False)):
            if one != other:
                return f"number {at + 1} is {one!r:.200}, not {other!r:.200}"
        return f"{len(found)}, not {len(right)}"
    return f"{found}, not {right}"


# --- all of them -----------------------------------------------------------------------------------


def main(words: list[str]) -> int:
    started = time.monotonic()
    outcomes = []
    for outcome in judged(words):
        outcomes.append(outcome)
        if outcome.verdict == "wrong":
            print(f"wrong: {outcome.input.kind}: {outcome.input.what}: {outcome.why}", flush=True)
    print(report(outcomes))
    print(f"{time.monotonic() - started:.0f} s")
    return int(any(each.verdict == "wrong" for each in outcomes))


def judged(words: list[str]) -> Iterator[Outcome]:
    """The outcomes of the inputs whose kind or description has one of the words, or of all."""
    for each in inputs():
        if not words or any(word in f"{each.kind}: {each.what}" for word in words):
            yield _light(judge(each))


def _light(outcome: Outcome) -> Outcome:
    """The outcome with a digest in place of the data."""
    each = outcome.input
    digest = zlib.crc32(each.data).to_bytes(4, "big") + len(each.data).to_bytes(8, "big")
    return Outcome(Input(each.kind, each.what, digest, said=each.said), outcome.verdict, outcome.why)


def report(outcomes: Iterable[Outcome]) -> str:
    """A table of kinds: inputs, right, of these with the dialect said by hand, refused, wrong."""
    counts: dict[str, Counter[str]] = {}
    for each in outcomes:
        for kind in (each.input.kind, "all"):
            by_hand = each.verdict == "right" and each.input.said != DialectChoice()
            counts.setdefault(kind, Counter()).update(["inputs", each.verdict, *["by hand"] * by_hand])
    total = counts.pop("all", Counter())
    columns = ("inputs", "right", "by hand", "refused", "wrong")
    lines = ["| kind | inputs | right | of these, spelling said by hand | refused | wrong |", "|---|---:|---:|---:|---:|---:|"]
    lines += ["| " + " | ".join([kind, *(f"{found[name]:,}" for name in columns)]) + " |" for kind, found in counts.items()]
    distinct = len({each.input.data for each in outcomes})
    lines.append("| **all** | " + " | ".join(f"{total[name]:,}" for name in columns) + " |")
    return "\n".join([*lines, "", f"{distinct:,} distinct files."])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
