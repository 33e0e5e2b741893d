"""What a person wants to know of two files before comparing them, found while the person goes on.

What takes long (counting rows, looking for a key) happens in the background, once for all who ask the same.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import product
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from diffing.dialects import DialectChoice, parse
from diffing.errors import DiffError, EngineError
from diffing.grammar import Shape
from diffing.jobs import Files, Question
from diffing.keys import KeySuggestion, guess_keys, judge_key, suggest_keys
from diffing.plan import Choices, Tolerance
from diffing.records import BadLine, BadLines, check_records
from diffing.sources import Column, Format, Source, parquet_rows, sample_rows
from diffing.uploads import Upload

log = logging.getLogger(__name__)
Found = TypeVar("Found")

KEPT = 128
"""Findings that are remembered; those asked for longest ago go first."""
HEAD = 1 << 16
"""Bytes from which the first rows are read."""
ALIKE, SURELY = 0.55, 0.8
"""How alike two columns must be to be taken for one that was renamed, and from where their names alone are enough."""


# --- one file --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """What reading a whole file shows."""

    rows: int
    bad_lines: int
    bad: tuple[BadLine, ...]
    """The first of them."""


def look(source: Source, workdir: Path) -> Look:
    """Read a whole file, and count."""
    if source.format is Format.PARQUET:
        return Look(parquet_rows(source.path), 0, ())
    if not source.columns:
        return Look(0, 0, ())
    records = check_records(source.body, BadLines.SKIP, workdir / "looked-at.csv")
    return Look(records.rows, records.bad_lines, records.bad)


def first_rows(source: Source, count: int) -> list[list[str]]:
    """The rows at the head of a file, each as wide as the header. Bad lines are cut or filled."""
    if source.format is Format.PARQUET:
        return sample_rows(source)[:count]
    if not source.columns:
        return []
    with source.data.open("rb") as file:
        file.seek(source.offset)
        head = file.read(HEAD).decode("utf-8", "replace").removeprefix("\ufeff")
    width = len(source.columns)
    rows = parse(head, source.dialect.delimiter, source.dialect.quote, count)
    return [(row + [""] * width)[:width] for row in rows]


# --- two files -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rename:
    """A column that may have got another name."""

    old: str
    new: str
    same_values: float
    """Share of the sampled distinct values of the one that has fewer which the other has too."""
    named_alike: bool


def likely_renames(old: Source, new: Source) -> list[Rename]:
    """Columns of one file only that look like one of the other file only, the likeliest first.

    By their names, their values and their types, in samples of both files.
    """
    if not (old.has_header and new.has_header):
        return []
    lost, come = _only(old, new), _only(new, old)
    if not lost or not come or len(lost) * len(come) > 10_000:
        return []
    old_cells, new_cells = _cells(old, lost), _cells(new, come)
    scored = [(_likeness(old.columns[i], new.columns[j], old_cells[i], new_cells[j]), i, j) for i, j in product(lost, come)]
    return list(_best_pairs(scored, old, new))


def _only(source: Source, other: Source) -> list[int]:
    names = {column.name for column in other.columns}
    return [i for i, column in enumerate(source.columns) if column.name not in names]


def _cells(source: Source, wanted: Iterable[int]) -> dict[int, set[str]]:
    rows = sample_rows(source)
    return {i: {row[i] for row in rows if row[i]} for i in wanted}


def _likeness(old: Column, new: Column, old_cells: set[str], new_cells: set[str]) -> tuple[float, float, float]:
    """How likely one column is the other: in all, by names, by values; each 0 to 1."""
    names = SequenceMatcher(None, _bare(old.name), _bare(new.name)).ratio()
    fewer = min(len(old_cells), len(new_cells))
    values = len(old_cells & new_cells) / fewer if fewer else 0.0
    telling = values if fewer >= 3 else values / 3
    typed = old.type is new.type or Shape.EMPTY in (old.shape, new.shape)
    whole = max(names if names >= SURELY else 0.0, 0.6 * telling + 0.5 * names) if typed else 0.5 * names
    return whole, names, values


def _bare(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _best_pairs(scored: Iterable[tuple[tuple[float, float, float], int, int]], old: Source, new: Source) -> Iterator[Rename]:
    """Each column at most once."""
    used: set[tuple[str, int]] = set()
    for (whole, names, values), i, j in sorted(scored, key=lambda each: (-each[0][0], each[1], each[2])):
        if whole >= ALIKE and not used & {("old", i), ("new", j)}:
            used |= {("old", i), ("new", j)}
            yield Rename(old.columns[i].name, new.columns[j].name, values, names >= SURELY)


# --- choices ---------------------------------------------------------------------------------------


def fitting(choices: Choices, old: Source, new: Source) -> Choices:
    """The choices without those about columns that these files have not."""
    olds, news = ({column.name for column in source.columns} for source in (old, new))
    rename = {before: after for before, after in choices.rename.items() if before in olds and after in news}
    known = olds | news
    return replace(
        choices,
        rename=rename,
        key=_known(choices.key, known) if set(choices.key) <= known else (),
        ignore=_known(choices.ignore, known),
        ignore_case=choices.ignore_case if isinstance(choices.ignore_case, bool) else _known(choices.ignore_case, known),
        ignore_space=choices.ignore_space if isinstance(choices.ignore_space, bool) else _known(choices.ignore_space, known),
        tolerances=_about(choices.tolerances, known),
        column_nulls=_about(choices.column_nulls, known),
        types=_about(choices.types, known),
        old_formats=_about(choices.old_formats, known),
        new_formats=_about(choices.new_formats, known),
    )


def _known(names: Iterable[str], known: set[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in known)


def _about(said: Mapping[str, Found], known: set[str]) -> dict[str, Found]:
    return {name: value for name, value in said.items() if name in known}


def swapped(question: Question) -> Question:
    """The same question with old and new exchanged."""
    said = question.choices
    names = {after: before for before, after in said.rename.items()}

    def turned(about: Mapping[str, Found]) -> dict[str, Found]:
        return {names.get(name, name): value for name, value in about.items()}

    def listed(about: Sequence[str]) -> tuple[str, ...]:
        return tuple(names.get(name, name) for name in about)

    choices = replace(
        said,
        key=listed(said.key),
        ignore=listed(said.ignore),
        rename=names,
        tolerances=turned(said.tolerances),
        ignore_case=said.ignore_case if isinstance(said.ignore_case, bool) else listed(said.ignore_case),
        ignore_space=said.ignore_space if isinstance(said.ignore_space, bool) else listed(said.ignore_space),
        column_nulls=turned(said.column_nulls),
        types=turned(said.types),
        old_formats=turned(said.new_formats),
        new_formats=turned(said.old_formats),
    )
    uploads, old, new = tuple(reversed(question.uploads)), question.new_dialect, question.old_dialect
    return replace(question, uploads=uploads, choices=choices, old_dialect=old, new_dialect=new)


def tolerance_text(tolerance: Tolerance) -> str:
    """A tolerance as people write it (see `plan.parse_tolerance`); one that has both parts shows the larger of them."""
    if tolerance.relative and not tolerance.absolute:
        return f"{tolerance.relative * 100:.12g}%"
    return f"{tolerance.absolute:.12g}"


# --- in the background -----------------------------------------------------------------------------


class Opens(Protocol):
    """What describes one file, given what the user says about its spelling."""

    def __call__(self, choice: DialectChoice) -> Source: ...


class Inspector:
    """Finds out about files, in the background where it takes long. Safe to use from any thread."""

    def __init__(self, files: Files, workers: int = 2) -> None:
        self.files = files
        self._lock = threading.Lock()
        self._sources: OrderedDict[Hashable, Source] = OrderedDict()
        self._findings: OrderedDict[Hashable, Future[Any]] = OrderedDict()
        self._asked: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        for i in range(workers):
            threading.Thread(target=self._work, name=f"inspection-{i}", daemon=True).start()

    def uploaded(self, upload: Upload, choice: DialectChoice) -> Source:
        """An upload described; at once, if it was before.

        Raises:
            SourceError: it is no table, or is no longer there.
        """
        return self._source((upload.id, upload.digest, choice), lambda: self.files.uploads.source(upload, choice))

    def registered(self, path: Path, choice: DialectChoice) -> Source:
        """A file of a metric described; at once, if it was before and did not change since.

        Raises:
            SourceError: it is missing, or is no table.
        """
        try:
            return self._source((str(path), choice), lambda: self.files.registered(path, choice))
        except DiffError as error:
            raise type(error)(self.files.without_paths(error.message), self.files.without_paths(error.hint)) from error

    def _source(self, about: Hashable, open_: Callable[[], Source]) -> Source:
        with self._lock:
            known = self._sources.get(about)
        if known is None or known.has_changed() or not known.data.exists():
            known = open_()
        with self._lock:
            _remember(self._sources, about, known)
        return known

    def looked_at(self, source: Source) -> Future[Look]:
        """How many rows and bad lines a file has."""
        return self._found(("look", _named(source)), [source], lambda folder: look(source, folder))

    def renames(self, old: Source, new: Source) -> Future[list[Rename]]:
        """See `likely_renames`."""
        return self._found(("renames", _named(old), _named(new)), [old, new], lambda _: likely_renames(old, new))

    def ideas(self, old: Source, new: Source, rename: Mapping[str, str]) -> Future[list[KeySuggestion]]:
        """Columns that could be the key, best first."""
        about = ("ideas", _named(old), _named(new), tuple(rename.items()))
        return self._found(about, [old, new], lambda folder: suggest_keys(old, new, workdir=folder, rename=rename))

    def guesses(self, old: Source, new: Source, rename: Mapping[str, str]) -> list[KeySuggestion]:
        """What samples let expect of `ideas`, at once."""
        about = ("guesses", _named(old), _named(new), tuple(rename.items()))
        with self._lock:
            known = self._findings.get(about)
        if known is None:
            known = Future()
            known.set_result(guess_keys(old, new, rename=rename))
        with self._lock:
            _remember(self._findings, about, known)
        found: list[KeySuggestion] = known.result()
        return found

    def judged(self, old: Source, new: Source, key: tuple[str, ...], rename: Mapping[str, str]) -> Future[KeySuggestion]:
        """What speaks for a key that a person chose."""
        about = ("judged", _named(old), _named(new), key, tuple(rename.items()))
        return self._found(about, [old, new], lambda folder: judge_key(old, new, key, workdir=folder, rename=rename))

    def demo(self, folder: Path) -> Future[object]:
        """Write the demo data."""
        return self._found(("demo", str(folder)), [], lambda _: self.files.make_demo(folder), again=True)

    def _found(self, about: Hashable, sources: Sequence[Source], find: Callable[[Path], Found], *, again: bool = False) -> Future[Found]:
        """What is known, or is being found out. `again`: it is not remembered once it is done."""
        with self._lock:
            known = self._findings.get(about)
            if known is None or (again and known.done()):
                known = Future()
                self._asked.put((known, lambda: self._with_files(sources, find)))
            _remember(self._findings, about, known)
        return known

    def _with_files(self, sources: Sequence[Source], find: Callable[[Path], Found]) -> Found:
        """Find something out while the uploads it is about are kept."""
        uploads = [source.path.parent.name for source in sources if source.path.is_relative_to(self.files.uploads.folder)]
        self.files.uploads.hold(uploads)
        try:
            with self.files.workdir() as folder:
                return find(folder)
        finally:
            self.files.uploads.release(uploads)

    def _work(self) -> None:
        while True:
            future, find = self._asked.get()
            try:
                future.set_result(find())
            except DiffError as error:
                future.set_exception(error)
            except Exception as error:
                log.exception("A look at files stopped unexpectedly.")
                hidden = EngineError("This could not be found out.", "The comparison itself may work all the same.")
                hidden.__cause__ = error
                future.set_exception(hidden)


def _remember(findings: OrderedDict[Hashable, Any], about: Hashable, found: object) -> None:
    findings[about] = found
    findings.move_to_end(about)
    while len(findings) > KEPT:
        findings.popitem(last=False)


def _named(source: Source) -> Hashable:
    """What tells this content, read in this way, from others."""
    return repr(source.identity), source.mtime_ns
