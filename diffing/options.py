"""What the command line understands, and what it means. Imports nothing that takes time."""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterable, Sequence
from typing import NoReturn

from diffing.dialects import DialectChoice
from diffing.errors import PlanError
from diffing.grammar import ColumnType
from diffing.plan import Choices, parse_tolerance
from diffing.records import BadLines
from diffing.sizes import parse_size

ALL = "\0"
"""Stands for “all columns” where an option may name some."""
MAYBE_COLUMNS = ("--ignore-case", "--ignore-space")
COMMANDS = ("metric", "keys", "describe")
MOST_THREADS = 256
DATE_FORMAT = re.compile(r"(?=[^%]*%)(?:[^%]|%-?[dmyHIMSj]|%[aAbBcfgGnpuUVwWxXYzZ%])*")
"""At least one directive of strptime, and no other than those that are known."""

EPILOG = """\
Lists are separated by commas and quoted as in CSV: --key 'id,"last, first"'.
Exit code 0: no difference; 1: something differs, or bad lines were left out; 2: it could not be done.

other commands:
  diffing metric NAME       compare a registered pair (see metrics.toml)
  diffing keys OLD NEW      which columns name the rows
  diffing describe FILE     dialect, columns, types and rows of a file
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the options in the same form as all other errors."""

    def error(self, message: str) -> NoReturn:
        joined = re.match(r"unrecognized arguments: [^-]", message)
        also = "Columns are joined to --ignore-case and --ignore-space by “=”: --ignore-case=A,B. " if joined else ""
        raise PlanError(message[:1].upper() + message[1:] + ".", f"{also}See {self.prog} --help.")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options, with `command` one of compare, metric, keys, describe.

    Raises:
        PlanError: they can't be understood.
    """
    command = argv[0] if argv and argv[0] in COMMANDS else "compare"
    rest = argv if command == "compare" else argv[1:]
    options = _PARSERS[command]().parse_args([f"{each}={ALL}" if each in MAYBE_COLUMNS else each for each in rest])
    options.command = command
    _refuse_idle(options)
    return options


def _refuse_idle(options: argparse.Namespace) -> None:
    """Refuse options that say how a file is written which is not asked for."""
    for name in ("format", "for_spreadsheets"):
        if getattr(options, name, None) and not options.output:
            option = "--" + name.replace("_", "-")
            raise PlanError(f"{option} says how rows are written to a file, but no file is named.", "Name it with -o FILE.")


def _compare_parser() -> argparse.ArgumentParser:
    parser = _parser("diffing", "Here is the same table twice: what changed?", EPILOG)
    _files(parser)
    _dialect(parser)
    _types(parser)
    rows = parser.add_argument_group("which row is which")
    key = rows.add_mutually_exclusive_group()
    told = "columns that together name a row (suggested if not given)"
    key.add_argument("--key", metavar="A,B", type=some_names, action="extend", help=told)
    key.add_argument("--no-key", action="store_true", help="compare whole rows")
    _rules(parser)
    _output(parser)
    return parser


def _rules(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what counts as the same")
    add = group.add_argument
    add("--ignore", metavar="C,D", type=names, action="extend", default=[], help="columns to leave out")
    add("--rename", metavar="OLD=NEW", type=assignments, action="extend", default=[], help="a column that changed its name")
    add("--tolerance", metavar="COL=1e-6", type=assignments, action="extend", default=[], help="absolute, or relative as 0.1%%; 0 is exact")
    add("--ignore-case", metavar="COLS", type=columns_or_all, help="in all columns, or --ignore-case=A,B")
    add("--ignore-space", metavar="COLS", type=columns_or_all, help="spaces around cells, in all columns or =A,B")
    add("--null", metavar="WORD", action="append", default=[], help="a text that means empty (repeat for more)")
    add("--text", action="store_true", help="compare all cells as text")
    bad = group.add_mutually_exclusive_group()
    bad.add_argument("--skip-bad-lines", action="store_true", help="leave out lines that are no rows")
    bad.add_argument("--fill-short-lines", action="store_true", help="fill short lines with empty cells")


def _dialect(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how the files are spelled (found out if not given; each also as --old-… and --new-…)")
    for side in ("", "old-", "new-"):
        shown = None if not side else argparse.SUPPRESS
        add = group.add_argument
        add(f"--{side}delimiter", metavar="CHAR", type=character, help=shown or "what separates cells; \\t or tab for a tab")
        add(f"--{side}quote", metavar="CHAR", help=shown or "what quotes cells; '' for nothing")
        add(f"--{side}encoding", metavar="NAME", help=shown or "such as latin-1")
        add(f"--{side}header", action="store_true", default=None, help=shown or "the first row names the columns")
        dest = f"{side}header".replace("-", "_")
        add(f"--{side}no-header", action="store_false", default=None, dest=dest, help=shown or "it does not")
        add(f"--{side}skip-rows", metavar="N", type=int, help=shown or "lines before the header")
        add(f"--{side}skip-after-header", metavar="N", type=int, help=shown or "rows under the header, such as units")


def _types(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what the columns hold (found out if not given; each also as --old-… and --new-…)")
    for side in ("", "old-", "new-"):
        shown = None if not side else argparse.SUPPRESS
        add = group.add_argument
        add(f"--{side}type", metavar="COL=TYPE", type=assignments, action="extend", default=[], help=shown or "text, number or date")
        add(f"--{side}date-format", metavar="COL=FORMAT", type=format_of, action="append", default=[], help=shown or "such as %%d.%%m.%%Y")


def _files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="OLD", type=input_file, help="the file before: CSV (also .gz, .zst) or Parquet")
    parser.add_argument("new", metavar="NEW", type=input_file, help="the file after")


def _output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    add = group.add_argument
    add("-o", "--output", metavar="FILE", type=file_name, help="write the differing rows here")
    add("--format", choices=("csv", "parquet", "json"), help="of that file; json: one object per line")
    add("--for-spreadsheets", action="store_true", help="defuse cells that a spreadsheet would run as formulas")
    add("--json", action="store_true", help="print the summary as JSON")
    add("--totals", action="store_true", help="add up number columns, and count keys, over all rows")
    _resources(group)


def _resources(group: argparse._ActionsContainer) -> None:
    group.add_argument("--memory-limit", metavar="SIZE", type=size, help="such as 1GB (60%% of the memory if not given)")
    group.add_argument("--disk-limit", metavar="SIZE", type=size, help="of files that are made meanwhile (what is free if not given)")
    group.add_argument("--threads", metavar="N", type=threads, help="processor cores to use (all if not given)")
    group.add_argument("--engine", choices=("duckdb", "spark"), help="what compares: the embedded engine (if not given), or Apache Spark")
    group.add_argument("--spark", metavar="MASTER", help="where Spark is: local[2], spark://host:7077 or sc://host:15002")


def _metric_parser() -> argparse.ArgumentParser:
    parser = _parser("diffing metric", "Compare a registered pair of files.")
    parser.add_argument("metric", metavar="NAME", help="an entry of the registry")
    parser.add_argument("--metrics", metavar="FILE", default=None, help="the registry (metrics.toml if not given)")
    _output(parser)
    return parser


def _keys_parser() -> argparse.ArgumentParser:
    parser = _parser("diffing keys", "Which columns name the rows?")
    _files(parser)
    _dialect(parser)
    parser.add_argument("--rename", metavar="OLD=NEW", type=assignments, action="extend", default=[])
    parser.add_argument("--quick", action="store_true", help="say what samples show, without reading the whole files")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _describe_parser() -> argparse.ArgumentParser:
    parser = _parser("diffing describe", "Dialect, columns, types and rows of a file.")
    parser.add_argument("file", metavar="FILE", type=input_file)
    _dialect(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _parser(name: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    return _Parser(
        prog=name, description=description, epilog=epilog, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )


_PARSERS = {"compare": _compare_parser, "metric": _metric_parser, "keys": _keys_parser, "describe": _describe_parser}


# --- what the values mean --------------------------------------------------------------------------


def some_names(text: str) -> list[str]:
    """Names separated by commas; at least one."""
    found = names(text)
    if not found:
        raise argparse.ArgumentTypeError("no column is named")
    return found


def names(text: str) -> list[str]:
    """Names separated by commas, quoted as in CSV."""
    if text.count('"') % 2:
        raise argparse.ArgumentTypeError(f"“{text}” has a quote that is not closed")
    try:
        return next(csv.reader([text]), [])
    except csv.Error as error:
        raise argparse.ArgumentTypeError(f"“{text}” is no list of names; put a name with a line break in quotes") from error


def assignments(text: str) -> list[tuple[str, str]]:
    """Several NAME=VALUE, separated by commas."""
    return [assignment(each) for each in names(text)]


def assignment(text: str) -> tuple[str, str]:
    """NAME=VALUE; the last = separates them."""
    name, equals, value = text.rpartition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"“{text}” is not of the form COLUMN=VALUE")
    return name, value


def format_of(text: str) -> tuple[str, str]:
    """NAME=FORMAT; the first = after the name separates them. A name may be quoted as in CSV."""
    quoted = re.fullmatch(r'"((?:[^"]|"")*)"=(.*)', text, re.DOTALL)
    name, format_ = (quoted[1].replace('""', '"'), quoted[2]) if quoted else assignment(text)
    if not DATE_FORMAT.fullmatch(format_):
        raise argparse.ArgumentTypeError(f"“{format_}” is no date format such as %d.%m.%Y or %m/%d/%y %H:%M")
    return name, format_


def columns_or_all(text: str) -> bool | list[str]:
    return True if text == ALL else some_names(text)


def character(text: str) -> str:
    return {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}.get(text, text)


def size(text: str) -> int:
    """Bytes."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"“{text}” is no amount such as 1GB or 500MB") from error


def input_file(text: str) -> str:
    if text == "-":
        raise argparse.ArgumentTypeError("standard input can't be read twice; write it to a file, and name that")
    return text


def file_name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("the name of the file is empty")
    return text


def threads(text: str) -> int:
    if not re.fullmatch("0*[1-9][0-9]{0,2}", text) or int(text) > MOST_THREADS:
        raise argparse.ArgumentTypeError(f"“{text}” is not a whole number from 1 to {MOST_THREADS}")
    return int(text)


def dialect_choice(options: argparse.Namespace, side: str) -> DialectChoice:
    """What the options say about the spelling of one file."""

    def said(name: str) -> object:
        own = getattr(options, f"{side}_{name}")
        return own if own is not None else getattr(options, name)

    return DialectChoice(
        delimiter=said("delimiter"),  # type: ignore[arg-type]
        quote=said("quote"),  # type: ignore[arg-type]
        encoding=said("encoding"),  # type: ignore[arg-type]
        header=said("header"),  # type: ignore[arg-type]
        skip_rows=said("skip_rows"),  # type: ignore[arg-type]
        skip_after_header=said("skip_after_header") or 0,  # type: ignore[arg-type]
    )


def choices(options: argparse.Namespace) -> Choices:
    """What the options say about the comparison."""
    return Choices(
        key=tuple(options.key or ()),
        ignore=tuple(options.ignore),
        rename=once(options.rename, "renamed"),
        tolerances={name: parse_tolerance(value) for name, value in once(options.tolerance, "given a tolerance").items()},
        ignore_case=_some(options.ignore_case),
        ignore_space=_some(options.ignore_space),
        nulls=tuple(options.null),
        types=_types_said(options),
        old_formats=once(options.date_format, twice := "given a date format") | once(options.old_date_format, twice),
        new_formats=once(options.date_format, twice) | once(options.new_date_format, twice),
        text=options.text,
        bad_lines=BadLines.SKIP if options.skip_bad_lines else BadLines.FILL if options.fill_short_lines else BadLines.REFUSE,
    )


def once(pairs: Iterable[tuple[str, str]], what: str) -> dict[str, str]:
    """Pairs as a dict; the same name twice is an error."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise PlanError(f"“{name}” is {what} twice.", "Say it once.")
        found[name] = value
    return found


def _some(choice: bool | list[str] | None) -> bool | tuple[str, ...]:
    return choice if isinstance(choice, bool) else tuple(choice or ())


def _types_said(options: argparse.Namespace) -> dict[str, ColumnType]:
    """A column has one type, that of both files; it may be said of both."""
    said = dict.fromkeys(options.type + options.old_type + options.new_type)
    return {name: _type(name, value) for name, value in once(said, "given a type").items()}


def _type(name: str, value: str) -> ColumnType:
    try:
        return ColumnType(value)
    except ValueError as error:
        raise PlanError(f"“{value}” is no type for “{name}”.", "The types are text, number and date.") from error
