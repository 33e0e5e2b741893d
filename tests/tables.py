"""Two versions of a table: one is drawn, the other is an edit of it, as in life.

Tables drawn apart would hardly ever nearly agree, and so find nothing.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import strategies as st

from diffing.dialects import DialectChoice
from diffing.grammar import ColumnType
from diffing.plan import Choices, Plan, Tolerance, make_plan
from diffing.sources import Source, open_source

Cells = tuple[str, ...]

NAMES = (
    "id", "v", "v", "V", "A", "a", "c0", "k0_old", "change", "v_old", "v (2)", "", "two words", 'say "hi"', "it's",
    "'; DROP TABLE x; --", "😀", "a,b", "two\nlines", "cr\rhere", "NULL", "select", "$v0", "%s{}", " padded ", "1", "é",
)  # fmt: skip

IDS = ("1", "2", "3", "4", "5", "6", "8", "b", "c", "10", "007", "7", "a", "A", "", "é", "1.0", " a", "NULL", "a,b", "-1", "1e1", "\ufeffa")
NUMBERS = (
    "1.5", "0", "1", "1.50", "", "2.25", "12.5", "15e-1", "-2.50", "-0", "100", "101", "0.1", "0.3", "0.30000000000000004", ".5", "5.",
    "+7", "1e3", "1000", "1e-7", "1e22", "1e300", "-1e308", "1e308", "9007199254740992", "9007199254740993", "123456789.125",
    "123456789.1250001", "99999999999999999999.5", "100000000000000000000.5", "0.000000000000000001", "0.0000000000000000012",
    "1e-400", "1e400",
)  # fmt: skip
DATES = (
    "2024-01-05", "", "2024-01-05 00:00:00", "2024-01-05T00:00", "2024-02-29", "2024-02-29 10:00:00.5", "2024-02-29T10:00:00.500000",
    "2024-01-05T10:00Z", "2024-01-05 12:00+02:00", "2024-01-05T10:00:00", "2023-12-31T23:30-01:00", "2024-01-01T00:30Z",
    "05.01.2024", "5.1.2024", "29.02.2024", "0044-03-15", "9999-12-31 23:59:59.999999",
)  # fmt: skip
TEXTS = (
    "a", "", "A", " a", "b", "NULL", "null", "na", "-", "it's", 'say "hi"', '"', '""', "a,b", "a;b", "a\tb", "two\nlines", "two\r\nlines",
    "cr\rhere", "\n", "é", "É", "e\u0301", "ß", "😀", "\u00a0", "   ", "=1+1", "'; DROP TABLE x; --", "\\", "\\N", "#", "x" * 300,
    "007", "7", "0050E4", "nan", "inf", "Infinity", "1_000", "1,5", "0x1F", "epoch", "2024-02-30", "2024-1-5", "true", "\u2028",
    "a control \x0b or \x1f now and then", "\ufeffa",
)  # fmt: skip

Respelling = Callable[[str], str]
"""Another spelling of a cell. Some mean the same under some rule, some never do."""

RESPELLED: tuple[Respelling, ...] = (
    lambda text: f" {text}",
    lambda text: f"{text}\t",
    lambda text: f"\u00a0{text} ",
    str.upper,
    str.lower,
    str.swapcase,
    lambda text: "" if text.strip().lower() in ("null", "na", "-") else text or "NULL",
    lambda text: text or "na",
    lambda text: f"0{text}",
)
RESPELLED_NUMBERS: tuple[Respelling, ...] = (
    lambda text: f"+{text}",
    lambda text: f"{text}0" if "." in text else f"{text}.0",
    lambda text: f"{text}e0",
    lambda text: f"{text}0E-1",
    lambda text: f"{text}00000000000001" if "." in text else f"{text}.00000000000001",
    lambda text: f"{text}01" if "." in text else f"{text}.01",
)
RESPELLED_DATES: tuple[Respelling, ...] = (
    lambda text: f"{text} 00:00:00",
    lambda text: f"{text}T00:00",
    lambda text: f"{text}Z",
    lambda text: f"{text}+00:00",
    lambda text: text.replace(" ", "T"),
    lambda text: ".".join(reversed(text.split("-"))),
    lambda text: "-".join(reversed(text.split("."))),
)


@dataclass(frozen=True)
class Table:
    """A table and how its file spells it."""

    header: Cells
    rows: tuple[Cells, ...]
    delimiter: str = ","
    line_end: str = "\n"
    quote_all: bool = False
    encoding: str = "utf-8"
    ended: bool = True
    """Whether the last line has a line end."""

    def write(self, path: Path) -> Source:
        """Write the file, and describe it as a user who knows its delimiter would."""
        records = (self.header, *self.rows)
        # Python's writer leaves a carriage return bare where lines end with "\n".
        risky = any("\r" in cell for record in records for cell in record)
        quoting = csv.QUOTE_ALL if self.quote_all or risky else csv.QUOTE_MINIMAL
        with path.open("w", newline="", encoding=self.encoding) as file:
            csv.writer(file, delimiter=self.delimiter, lineterminator=self.line_end, quoting=quoting).writerows(records)
        if not self.ended:
            os.truncate(path, path.stat().st_size - len(self.line_end.encode(self.encoding)))
        spelled = DialectChoice(delimiter=self.delimiter, quote='"', header=True, skip_rows=0)
        return open_source(path, workdir=path.parent, choice=spelled)


@dataclass(frozen=True)
class Rule:
    """What a user may say about one column."""

    type: ColumnType | None = None
    tolerance: Tolerance | None = None
    old_format: str | None = None
    new_format: str | None = None
    ignore_case: bool = False
    ignore_space: bool = False
    nulls: tuple[str, ...] = ()
    by_value: bool = False
    """For key columns."""


@dataclass(frozen=True)
class Case:
    """Two versions of a table, and what a user says about them."""

    old: Table
    new: Table
    renamed: tuple[tuple[int, int], ...] = ()
    """Places of renamed columns in the old and in the new file, where the user says so."""
    key: tuple[int, ...] = ()
    """Places of the key columns in the old file; those without a partner are no key."""
    ignored: tuple[int, ...] = ()
    rules: tuple[Rule, ...] = ()
    """For the columns of the old file in turn."""
    nulls: tuple[str, ...] = ()
    text: bool = False

    def plan(self, old: Source, new: Source) -> Plan:
        rename = {old.columns[i].name: new.columns[j].name for i, j in self.renamed}
        names = {pair.old: pair.name for pair in make_plan(old, new, Choices(rename=rename)).columns}
        key = tuple(names[i] for i in self.key if i in names)
        ruled = {} if self.text else {names[i]: rule for i, rule in enumerate(self.rules) if i in names}
        choices = Choices(
            key=key,
            ignore=tuple(names[i] for i in self.ignored if i in names and i not in self.key),
            rename=rename,
            types={name: rule.type for name, rule in ruled.items() if rule.type},
            tolerances={name: rule.tolerance for name, rule in ruled.items() if rule.tolerance},
            old_formats={name: rule.old_format for name, rule in ruled.items() if rule.old_format},
            new_formats={name: rule.new_format for name, rule in ruled.items() if rule.new_format},
            ignore_case=tuple(name for name, rule in ruled.items() if rule.ignore_case),
            ignore_space=tuple(name for name, rule in ruled.items() if rule.ignore_space),
            nulls=() if self.text else self.nulls,
            column_nulls={name: rule.nulls for name, rule in ruled.items() if rule.nulls},
            text=self.text,
        )
        return make_plan(old, new, choices, by_value=[name for name in key if name in ruled and ruled[name].by_value])


TOLERANCES = (
    Tolerance(),
    Tolerance(absolute=1),
    Tolerance(absolute=0.2),
    Tolerance(relative=0.01),
    Tolerance(absolute=1e-9, relative=1e-6),
)
FORMATS = ((None, "%d.%m.%Y"), ("%d.%m.%Y", None), ("%d.%m.%Y", "%d.%m.%Y"))


@dataclass(frozen=True)
class Kind:
    """A kind of column: what is in it, how that is respelled, what a user may say about it."""

    cells: Cells
    respellings: tuple[Respelling, ...]
    rules: tuple[Rule, ...]


ID = Kind(IDS, RESPELLED, (Rule(), Rule(), Rule(type=ColumnType.NUMBER)))
TEXT = Kind(TEXTS, RESPELLED, (Rule(), Rule(), *(Rule(type=each) for each in ColumnType)))
NUMBER = Kind(
    NUMBERS,
    RESPELLED_NUMBERS * 3 + RESPELLED,
    (Rule(), *[Rule(type=ColumnType.NUMBER)] * 3, *(Rule(tolerance=each) for each in TOLERANCES)),
)
DATE = Kind(
    DATES,
    RESPELLED_DATES * 3 + RESPELLED,
    (Rule(), *[Rule(type=ColumnType.DATE)] * 3, *(Rule(old_format=old, new_format=new) for old, new in FORMATS)),
)


# --- drawing -------------------------------------------------------------------------------------


def cells_of(kind: Kind) -> st.SearchStrategy[str]:
    """Mostly usual cells of the kind, some respelled, a few of any kind."""
    usual = st.sampled_from(kind.cells)
    strange = st.sampled_from(IDS + NUMBERS + DATES + TEXTS)
    return st.integers(0, 15).flatmap(lambda n: strange if n == 15 else respelled(usual, kind) if n > 12 else usual)


def respelled(cells: st.SearchStrategy[str], kind: Kind) -> st.SearchStrategy[str]:
    return st.builds(lambda cell, respell: respell(cell), cells, st.sampled_from(kind.respellings))


def rows_of(kinds: list[Kind], count: int) -> st.SearchStrategy[list[Cells]]:
    return st.lists(st.tuples(*map(cells_of, kinds)), min_size=count, max_size=count)


@st.composite
def edited_rows(draw: st.DrawFn, rows: list[Cells], kinds: list[Kind]) -> list[Cells]:
    """The rows with some cells changed or respelled, some rows gone, doubled or new, and shuffled."""
    found = []
    for row in rows:
        fate = draw(st.sampled_from(("respell", "change", "keep", "respell", "change", "respell", "drop", "double")))
        if fate in ("change", "respell"):
            row = draw(_edited_row(row, kinds, fate))
        found += [row] * {"drop": 0, "double": 2}.get(fate, 1)
    found += draw(rows_of(kinds, draw(st.sampled_from((0, 0, 1, 2)))))
    return draw(st.permutations(found))


@st.composite
def _edited_row(draw: st.DrawFn, row: Cells, kinds: list[Kind], fate: str) -> Cells:
    """A row with another cell, seldom in the first column, which most often is the key."""
    at = draw(st.sampled_from([*range(1, len(row))] * 3 + [0]))
    kind = kinds[at]
    cell = draw(cells_of(kind) if fate == "change" else respelled(st.just(row[at]), kind))
    return (*row[:at], cell, *row[at + 1 :])


@st.composite
def edited_columns(draw: st.DrawFn, header: Cells, rows: list[Cells]) -> tuple[Cells, list[Cells], tuple[tuple[int, int], ...]]:
    """The columns in another order, perhaps one renamed, one gone, one new; and what a user says was renamed."""
    at = draw(st.permutations(range(len(header))))
    if len(at) > 2 and draw(st.sampled_from((False, False, True))):
        at = [i for i in at if i != len(header) - 1]
    header_now, rows_now = [header[i] for i in at], [tuple(row[i] for i in at) for row in rows]
    renamed: tuple[tuple[int, int], ...] = ()
    if len(at) > 1 and draw(st.sampled_from((False, False, True))):
        renamed = ((1, at.index(1)),)
        header_now[at.index(1)] = draw(st.sampled_from(("renamed", *NAMES)))
    if draw(st.sampled_from((False, False, True))):
        header_now.append(draw(st.sampled_from(NAMES)))
        rows_now = [(*row, draw(st.sampled_from(TEXTS))) for row in rows_now]
    return tuple(header_now), rows_now, draw(st.sampled_from((renamed, renamed, ())))


def spellings() -> st.SearchStrategy[dict[str, object]]:
    """How a file is spelled: the fields of `Table` beside its cells."""
    return st.fixed_dictionaries(
        {
            "delimiter": st.sampled_from(",,;\t|"),
            "line_end": st.sampled_from(("\n", "\r\n")),
            "quote_all": st.booleans(),
            "encoding": st.sampled_from(("utf-8", "utf-8", "utf-8-sig", "utf-16")),
        }
    )


def rules_of(kind: Kind) -> st.SearchStrategy[Rule]:
    """What a user says about a column of the kind."""
    seldom = st.sampled_from((False, False, True))
    return st.builds(
        lambda rule, case, space, nulls, by_value: replace(rule, ignore_case=case, ignore_space=space, nulls=nulls, by_value=by_value),
        *(st.sampled_from(kind.rules), seldom, seldom, st.sampled_from(((), (), (), ("na", "-"))), st.booleans()),
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A table, an edit of it, and what a user says."""
    kinds = [draw(st.sampled_from((ID, ID, ID, NUMBER, DATE, TEXT)))]
    width = draw(st.sampled_from((3, 2, 4, 5, 2, 1)))
    kinds += [draw(st.sampled_from((NUMBER, NUMBER, DATE, TEXT, ID))) for _ in range(width - 1)]
    header = tuple(draw(st.sampled_from(NAMES)) for _ in kinds)
    rows = draw(rows_of(kinds, draw(st.sampled_from((8, 5, 12, 3, 0)))))
    old = Table(header, tuple(rows), **draw(spellings()))  # type: ignore[arg-type]
    header_now, rows_now, renamed = draw(edited_columns(header, draw(edited_rows(rows, kinds))))
    new = Table(header_now, tuple(rows_now), **draw(spellings()))  # type: ignore[arg-type]
    return Case(
        old,
        new,
        renamed,
        key=draw(st.sampled_from(((0,), (0,), (0,), (0, 1), (1,), (2, 0), ()))),
        ignored=draw(st.sampled_from(((), (), (), (1,), (2,)))),
        rules=tuple(draw(rules_of(kind)) for kind in kinds),
        nulls=draw(st.sampled_from(((), (), ("NULL",), ("na", "-", "NULL")))),
    )
