"""Which columns could be the key, and how sure we are.

Sets of columns that tell the rows of a sample apart are tried on the whole files. Where a set fails
there, rows that it confuses join the sample, and the search goes on. The best set is not the one
that tells most rows apart but the one by which most of the smaller file is found again in the other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING

from diffing.engines import Watch
from diffing.errors import EngineError, SourceError
from diffing.grammar import DATE, INTEGER, MIDNIGHT, SPELLED_IN_TWO_WAYS, WHOLE_DECIMAL, ColumnType, Shape
from diffing.locked import connected
from diffing.plan import Choices, ColumnPair, Plan, make_plan, shapes_of, spelled_in_two_ways
from diffing.records import BadLines, Records, check_records
from diffing.sources import Format, Source, parquet_select, sample_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from diffing.engines.hashes import Hashed
    from diffing.engines.key_counts import Counted, Keys

MOST_COLUMNS = 6
"""A key has at most so many columns."""
FULL, NEARLY = 0.001, 0.05
"""Share of the rows that a key may confuse, and may confuse if nothing better is found."""
SAMPLE = 1500
"""Rows of each file that the search starts from."""
COMBINED = 16
"""Columns that are tried in sets with others; every column is tried alone."""
BEAM = 24
"""Sets of each size to which another column is added."""
MARGIN = 1.0
"""Sets are given up that cost so much more than a set that was found."""
POOL = 5
"""Sets that a search hands on to be tried on the whole files."""
PICKED = 20_000
"""Rows of each file, picked by their key, on which a set is weighed."""
COST, CLEARLY = 0.05, 0.1
"""What a column of cost 1 must find to be worth it, and by how much a set must be able to beat others to be tried after them."""
SURE, SURE_OF_COUNT = 0.8, 0.99
"""A single column by which so much of a file is found again is taken without trying others; one that counts the rows, by more."""
ROW_NUMBER = 1.5
"""What a column that counts the rows costs more if it is named like one, and how much more than it others may cost to be tried too."""
CHECKED = 16 << 20
"""Bytes up to which a file is checked before it is read; a larger one is read as well as it goes."""
NEAR = 1e-5
"""Relative distance within which two numbers count as the same in weighing."""

Columns = tuple[int, ...]
"""A set of columns, as ascending positions in `Plan.pairs`."""
Rows = Mapping[int, Sequence[Hashable]]
"""The cells of some rows, by column."""


@dataclass(frozen=True, slots=True)
class _Effort:
    """How hard to look."""

    margin: float
    """Sets are tried that cost no more than the best guess and this."""
    columns: int
    """Columns read from the whole files, or as many as the first sets need and two."""
    rounds: int
    """Searches at most."""


TRYING, CHECKING = "trying keys on the whole files", "checking the key on the whole files"
"""What a search is doing."""

QUICK, THOROUGH = _Effort(margin=0.3, columns=6, rounds=1), _Effort(margin=float("inf"), columns=12, rounds=4)


ENOUGH = 0.9
"""Share of rows that a suggested key must name for it to be used without asking."""


@dataclass(frozen=True, slots=True)
class KeySuggestion:
    """Columns that could be the key, and what speaks for them."""

    columns: tuple[str, ...]
    rows_old: int
    rows_new: int
    unique_old: float
    """Share of the rows whose key is theirs alone."""
    unique_new: float
    null_rows_old: int
    """Rows with an empty key cell."""
    null_rows_new: int
    overlap: float
    """Share of the distinct keys of the file that has fewer of them which the other file has too."""
    verified: bool
    """Whether all this was counted on the whole files, not on a sample."""

    @property
    def names_rows(self) -> bool:
        """Whether this can be the key without asking: at least nine in ten rows have a key of their own."""
        return min(self.unique_old, self.unique_new) >= ENOUGH

    @property
    def in_words(self) -> str:
        """What a person should know before choosing this key."""
        where = "" if self.verified else "In a sample, "
        return where + "; ".join(filter(None, (self._names_rows(), self._overlaps(), self._nulls())))

    def _names_rows(self) -> str:
        names = " and ".join(filter(None, (", ".join(_ticked(self.columns[:-1])), *_ticked(self.columns[-1:]))))
        verb = "names" if len(self.columns) == 1 else "name"
        repeats = [(rows - round(share * rows), rows, side) for rows, share, side in self._sides()]
        if not any(count for count, _, _ in repeats):
            return f"{names} {verb} every row in both files"
        return f"{names} {verb} " + " and ".join(_all_but(*each) for each in repeats)

    def _sides(self) -> Iterator[tuple[int, float, str]]:
        yield self.rows_old, self.unique_old, "old"
        yield self.rows_new, self.unique_new, "new"

    def _overlaps(self) -> str:
        if self.overlap == 1 or not self.verified or not (self.rows_old and self.rows_new):
            return ""
        if not self.overlap:
            return "none of the keys is in both files"
        share = int(self.overlap * 1000) / 10
        return f"{share or 'less than 0.1'}% of the keys are in both files"

    def _nulls(self) -> str:
        if not self.null_rows_old and not self.null_rows_new:
            return ""
        return f"{self.null_rows_old:,} old and {self.null_rows_new:,} new rows have an empty key cell"


def _ticked(names: Iterable[str]) -> list[str]:
    return [f"`{name}`" for name in names]


def _all_but(repeats: int, rows: int, side: str) -> str:
    return f"all but {repeats:,} of {rows:,} {side} rows" if repeats else f"all {rows:,} {side} rows"


def suggest_keys(
    old: Source,
    new: Source,
    *,
    workdir: Path,
    rename: Mapping[str, str] = {},
    ignore: Sequence[str] = (),
    most: int = 3,
    watch: Watch | None = None,
) -> list[KeySuggestion]:
    """Sets of columns that could be the key, best first.

    An empty list: nothing identifies the rows, so compare them whole. Files that can't be read to
    the end don't stop the advice; it is then from a sample.

    Raises:
        PlanError: the files have no column in common, or a renamed or ignored column is none.
    """
    watch = watch or Watch()
    _stage(watch, "looking for a key in a sample")
    table, sample = _sampled(make_plan(old, new, Choices(rename=rename, ignore=tuple(ignore))))
    guesses = _sets(table, sample)
    if not guesses:
        return []
    try:
        with _connected(workdir, old, new) as con:
            return _Search(con, table, sample, guesses, workdir, watch).suggestions(most)
    except _unreadable():
        return [_from_sample(table, sample, columns) for columns in guesses[:most]]


def guess_keys(old: Source, new: Source, *, rename: Mapping[str, str] = {}, most: int = 3) -> list[KeySuggestion]:
    """The same from samples alone, in a moment however large the files are. None of it is verified.

    Raises:
        PlanError: the files have no column in common, or a renamed column is none.
        SourceError: a file can't be read.
    """
    table, sample = _sampled(make_plan(old, new, Choices(rename=rename)))
    return [_from_sample(table, sample, columns) for columns in _sets(table, sample)[:most]]


def judge_key(old: Source, new: Source, key: Sequence[str], *, workdir: Path, rename: Mapping[str, str] = {}) -> KeySuggestion:
    """What speaks for a key that a person chose, counted on the whole files if they can be read.

    Raises:
        PlanError: a name is no column of both files.
    """
    plan = make_plan(old, new, Choices(rename=rename))
    named = {pair.name for pair in make_plan(old, new, Choices(key=tuple(key), rename=rename)).key}
    columns = tuple(i for i, pair in enumerate(plan.pairs) if pair.name in named)
    table, sample = _sampled(plan)
    try:
        with _connected(workdir, old, new) as con, TemporaryDirectory(dir=workdir, prefix="keys-") as work:
            found = _read_keys(table, [columns], 0, Path(work), Watch())
            if found:
                return _counted_suggestion(table, columns, found[0].counted())
            return _whole_files(con, table, columns, workdir).suggestion(columns)
    except _unreadable():
        return _from_sample(table, sample, columns)


def _stage(watch: Watch, name: str) -> None:
    watch.check()
    watch.report(name, None)


def _unreadable() -> tuple[type[Exception], ...]:
    """What reading a whole file can run into."""
    import duckdb

    return (duckdb.Error, OSError, SourceError)


# --- what a person would take for a key ------------------------------------------------------------


NAME_COSTS = {
    0.4: "id ids key pk uuid guid identifier",
    0.6: "code no nr num number sku ean isbn icao iata isin cusip lei vin symbol ticker account ref"
    " date day week month year quarter period time hour timestamp datetime cohort",
    0.8: "name type kind field stat metric segment site station store shop region country location line index exchange market currency",
    2.0: "value values amount price cost total sum count qty quantity share rate score average avg mean min max change"
    " volume balance stock weight height width length size area distance speed duration age salary population temperature humidity"
    " pressure revenue sales profit margin tax fee discount debit credit budget forecast percent pct ratio"
    " updated modified changed created exported loaded note notes comment comments remark remarks text description",
}
"""What a column costs in a key by the last of these words in its name; 1 without any."""
_COST_OF = {word: cost for cost, words in NAME_COSTS.items() for word in words.split()}
_NAMED_ROW_NUMBER = re.compile(r"(column \d+|unnamed.*|index|#|(row|line|record)?[ _.-]*(nr|no|num|number|index|#)?)\.?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Trait:
    """What a sample shows of one pair of columns."""

    cost: float
    """How reluctant a person would be to take it into the key."""
    measure: bool
    """Whether it holds numbers with fractions."""
    chance: float
    """How often two rows taken at random agree in it."""
    counts: bool = False
    """Whether it counts the rows of both files from the first on: a row that is added or removed gives others its number."""


def _name_cost(name: str) -> float:
    words = re.findall(r"[^\W\d_]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name))
    costs = [_COST_OF[word.lower()] for word in words if word.lower() in _COST_OF]
    return costs[-1] if costs else 1.0


def _trait(pair: ColumnPair, shapes: frozenset[Shape], place: float, old: Sequence[str], new: Sequence[str]) -> _Trait:
    """`place` is 0 for the leftmost column and almost 1 for the last."""
    cells = [*old, *new]
    nulls = cells.count("") / max(len(cells), 1)
    length = sum(map(len, cells)) / max(len(cells) * (1 - nulls), 1)
    measure = Shape.NUMBER in shapes
    spelled = 2.0 * measure + 0.3 * (Shape.TIMESTAMP in shapes) + (length > 40) + (length > 100)
    counts = shapes == {Shape.INTEGER} and _counts_rows(old) and _counts_rows(new)
    numbered = ROW_NUMBER * bool(counts and _NAMED_ROW_NUMBER.fullmatch(pair.name))
    cost = _name_cost(pair.name) + spelled + nulls + (nulls > 0.5) + numbered + 0.3 * place
    return _Trait(cost, measure, _chance(Counter(old), Counter(new)), counts)


def _counts_rows(cells: Sequence[str]) -> bool:
    """Whether a sampled column begins with 0 or 1 and goes up by the same step, but where the sample leaps."""
    if len(cells) < 3 or "" in cells or cells[0] not in ("0", "1"):
        return False
    numbers = [int(cell) for cell in cells]
    steps = Counter(after - before for before, after in pairwise(numbers))
    return min(steps) > 0 and steps.most_common(1)[0][1] >= 0.95 * len(cells[1:])


def _chance(old: Counter[str], new: Counter[str]) -> float:
    pairs = old.total() * new.total()
    return sum(count * new[cell] for cell, count in old.items()) / pairs if pairs else 0.0


# --- the search on a sample ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Table:
    """What is known of the paired columns before a whole file is read."""

    plan: Plan
    shapes: list[frozenset[Shape]]
    cuts: list[str | None]
    traits: list[_Trait]

    @property
    def pairs(self) -> tuple[ColumnPair, ...]:
        return self.plan.pairs

    def cost(self, columns: Columns) -> float:
        return sum(self.traits[i].cost for i in columns)

    def counts(self, columns: Columns) -> bool:
        """Whether the set is a single column that counts the rows."""
        return len(columns) == 1 and self.traits[columns[0]].counts

    def names(self, columns: Columns) -> tuple[str, ...]:
        return tuple(self.pairs[i].name for i in columns)

    def numbers(self, columns: Iterable[int]) -> list[int]:
        """Those columns in which both files hold numbers that may have fractions."""
        return [i for i in columns if self.pairs[i].type is ColumnType.NUMBER and self.shapes[i] != {Shape.INTEGER}]

    def liked(self, columns: Iterable[int]) -> list[int]:
        """The columns, those first that a person would take into a key and that tell many rows apart."""
        return sorted(columns, key=lambda i: self.traits[i].cost + 2 * self.traits[i].chance + 9 * (self.traits[i].chance == 1))


@dataclass(frozen=True, slots=True)
class _Sample:
    """Some rows of both files: old, new. Cells are texts, or hashes of rows that came later."""

    old: Rows
    new: Rows

    def of(self, columns: Iterable[int]) -> _Sample:
        """The same rows with these columns only."""
        wanted = sorted(columns)
        return _Sample(*({i: side[i] for i in wanted} for side in (self.old, self.new)))

    def with_rows(self, old: Iterable[Sequence[Hashable]], new: Iterable[Sequence[Hashable]]) -> _Sample:
        """The sample with more rows, given as the cells of its columns."""
        return _Sample(_longer(self.old, old), _longer(self.new, new))


def _longer(side: Rows, rows: Iterable[Sequence[Hashable]]) -> Rows:
    columns = list(zip(*rows, strict=True)) or [()] * len(side)
    return {i: [*cells, *more] for (i, cells), more in zip(side.items(), columns, strict=True)}


def _sampled(plan: Plan) -> tuple[_Table, _Sample]:
    shapes = [shapes_of(plan, pair) for pair in plan.pairs]
    cuts = [SPELLED_IN_TWO_WAYS.get(each) for each in shapes]
    rows = _thinned(sample_rows(plan.old)), _thinned(sample_rows(plan.new))
    old = {i: _texts(rows[0], pair.old, cut) for i, (pair, cut) in enumerate(zip(plan.pairs, cuts, strict=True))}
    new = {i: _texts(rows[1], pair.new, cut) for i, (pair, cut) in enumerate(zip(plan.pairs, cuts, strict=True))}
    traits = [_trait(pair, shapes[i], i / len(cuts), old[i], new[i]) for i, pair in enumerate(plan.pairs)]
    return _Table(plan, shapes, cuts, traits), _Sample(old, new)


def _thinned(rows: list[list[str]]) -> list[list[str]]:
    """Rows from eight places; neighbours stay together, for they are the most alike."""
    if len(rows) <= SAMPLE:
        return rows
    return [row for i in range(8) for row in rows[len(rows) * i // 8 :][: SAMPLE // 8]]


def _texts(rows: Sequence[Sequence[str]], at: int, cut: str | None) -> list[str]:
    return [re.sub(cut, "", row[at]) if cut else row[at] for row in rows]


def _sets(table: _Table, sample: _Sample, times: int = 1) -> list[Columns]:
    """Sets that confuse few rows of the sample, those first that a person would like best.

    A file with so many `times` the rows of the sample has so many times the chances to confuse a row.
    """
    found = _Walk(table, _coded(sample.old), _coded(sample.new)).sets()
    return sorted(found, key=lambda columns: (table.cost(columns) + 20 * min(found[columns] * max(times, 1), 0.2), columns))


def _coded(side: Rows) -> dict[int, list[int]]:
    """The distinct rows, with a small number for each cell."""
    rows = list(dict.fromkeys(zip(*side.values(), strict=True)))
    columns = list(zip(*rows, strict=True)) or [()] * len(side)
    return {i: _numbered(cells) for i, cells in zip(side, columns, strict=True)}


def _numbered(cells: Iterable[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(cell, len(numbers)) for cell in cells]


def _about_rows(source: Source, sample: Rows) -> int:
    """How many rows a file has, by the length of those in the sample."""
    length = sum(sum(len(str(cell)) + 1 for cell in cells) / max(len(cells), 1) for cells in sample.values())
    return int(source.data.stat().st_size / max(length, 1))


def _from_sample(table: _Table, sample: _Sample, columns: Columns) -> KeySuggestion:
    """What the sample alone says of a set."""
    old, new = (Counter(zip(*(side[i] for i in columns), strict=True)) for side in (sample.old, sample.new))
    rows = old.total(), new.total()
    alone = [sum(n == 1 for n in keys.values()) for keys in (old, new)]
    nulls = [sum(n for key, n in keys.items() if "" in key) for keys in (old, new)]
    overlap = len(old.keys() & new.keys()) / (min(len(old), len(new)) or 1)
    return _suggestion(table.names(columns), rows, alone, nulls, overlap, verified=False)


def _suggestion(
    names: tuple[str, ...], rows: Sequence[int], alone: Sequence[int], nulls: Sequence[int], overlap: float, *, verified: bool
) -> KeySuggestion:
    """A suggestion from counts of the old and the new file; no rows at all are all named."""
    unique_old, unique_new = (count / of if of else 1.0 for count, of in zip(alone, rows, strict=True))
    return KeySuggestion(names, rows[0], rows[1], unique_old, unique_new, nulls[0], nulls[1], overlap, verified)


class _Walk:
    """One search, from single columns to sets of six."""

    def __init__(self, table: _Table, old: dict[int, list[int]], new: dict[int, list[int]]) -> None:
        self.table, self.sides = table, (old, new)
        self.rows = [max(map(len, side.values()), default=0) for side in self.sides]
        self.found: dict[Columns, float] = {}
        self.full: set[Columns] = set()
        self.most_cost = float("inf")
        self.seen: set[Columns] = set()

    def sets(self) -> dict[Columns, float]:
        """The sets found, each with the share of the rows that it confuses, in the worse file."""
        level, usable = [()], self.table.liked(self.sides[0])  # type: list[Columns], list[int]
        for _ in range(MOST_COLUMNS):
            grown = {child: confused for parent in level for child, confused in self._grown(parent, usable)}
            level = sorted(grown, key=lambda each: (self.table.cost(each) + 4 * grown[each], each))[:BEAM]
            usable = usable[:COMBINED]
        whole = len(self.table.pairs)
        return {columns: confused for columns, confused in self.found.items() if len(columns) < whole or whole == 1}

    def _grown(self, parent: Columns, usable: Sequence[int]) -> Iterator[tuple[Columns, float]]:
        """The set with one more column each, where that tells more rows apart but not yet all."""
        groups = [self._groups(side, parent) for side in (0, 1)]
        before = [len(set(each)) for each in groups]
        for i in usable:
            child = tuple(sorted((*parent, i)))
            if i in parent or child in self.seen or not self._worth(child):
                continue
            self.seen.add(child)
            after = [len(set(map(add, groups[side], self.sides[side][i]))) for side in (0, 1)]
            confused = max((rows - keys) / (rows or 1) for rows, keys in zip(self.rows, after, strict=True))
            if (after != before or not parent) and not self._take(child, confused):
                yield child, confused

    def _groups(self, side: int, columns: Columns) -> list[int]:
        """A number for each row, the same where rows agree in the columns; room is left for one more column."""
        room = max(self.rows) + 1
        groups = [0] * self.rows[side]
        for i in columns:
            groups = [(group + code) * room for group, code in zip(groups, self.sides[side][i], strict=True)]
        return groups

    def _worth(self, columns: Columns) -> bool:
        parts = (part for size in range(1, len(columns) + 1) for part in combinations(columns, size))
        return self.table.cost(columns) <= self.most_cost and self.full.isdisjoint(parts)

    def _take(self, columns: Columns, confused: float) -> bool:
        """Whether the set is a key as far as the sample shows."""
        if confused <= NEARLY and any(self.rows):
            self.found[columns] = confused
        if confused <= FULL:
            self.full.add(columns)
            margin = MARGIN + ROW_NUMBER * self.table.counts(columns)
            self.most_cost = min(self.most_cost, self.table.cost(columns) + margin)
        return confused <= FULL


# --- the whole files -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What the whole files, or rows picked from all over them, say about a set."""

    confused: float
    """Share of the rows that share their key with a row that is not the same, in the worse file."""
    overlap: float
    alike: float
    """How much more than by chance rows agree that the key pairs, the key itself included: 1 is fully."""
    others: float
    """The same without the key; 1 if that can't be told."""

    @property
    def found(self) -> float:
        """How much of the smaller file is found again in the other by this key."""
        return self.overlap * self.alike * (1 - self.confused)

    @property
    def misleading(self) -> bool:
        """Whether rows that have nothing to do with each other share keys, as row numbers do."""
        return self.overlap > 0.5 and self.others < 0.05

    def score(self, cost: float) -> float:
        """How good a key the set is; below zero its columns cost more than they find."""
        return self.found - COST * cost - min(100 * self.confused, 0.05) - 2 * self.confused


def _best(table: _Table, weighed: Mapping[Columns, _Evidence]) -> list[Columns]:
    """The sets that can be suggested, best first: none that is worse than a part of it, or much worse than the first."""
    scores = {columns: each.score(table.cost(columns)) for columns, each in weighed.items()}
    good = [columns for columns, each in weighed.items() if each.confused <= NEARLY and not each.misleading]
    likely = [columns for columns in good if scores[columns] > 0 or table.cost(columns) <= 2 * len(columns)]
    order = sorted(likely, key=lambda columns: (-scores[columns], columns))
    lean = [each for i, each in enumerate(order) if not any(set(each) > set(better) for better in order[:i])]
    return [each for each in lean if _comparable(weighed[each], weighed[lean[0]])]


def _comparable(each: _Evidence, first: _Evidence) -> bool:
    return each.found >= first.found / 2 and each.confused <= max(first.confused, FULL)


@dataclass(frozen=True, slots=True)
class _Search:
    """All that is needed to try sets on the whole files."""

    con: DuckDBPyConnection
    table: _Table
    sample: _Sample
    guesses: list[Columns]
    workdir: Path
    watch: Watch

    def suggestions(self, most: int) -> list[KeySuggestion]:
        """What can be suggested, best first."""
        effort = THOROUGH
        if len(self.guesses[0]) == 1:
            effort, sets = QUICK, self._pool(self.guesses, QUICK)
            with TemporaryDirectory(dir=self.workdir, prefix="keys-") as folder:
                if keys := _read_keys(self.table, sets, self._every(), Path(folder), self.watch):
                    if found := self._by_key_cells(dict(zip(sets, keys, strict=True))):
                        return found[:most]
                    effort = THOROUGH
        files, weighed = self._tried(effort)
        _stage(self.watch, CHECKING)
        return [files.suggestion(columns, self.watch.check) for columns in _best(self.table, weighed)[:most]]

    def _every(self) -> int:
        """One in how many keys must be picked to have about PICKED rows of each file."""
        plan, sample = self.table.plan, self.sample
        return max((_about_rows(plan.old, sample.old) + _about_rows(plan.new, sample.new)) // (2 * PICKED), 1)

    def _by_key_cells(self, keys: Mapping[Columns, Keys]) -> list[KeySuggestion]:
        """The same from the cells of some keys alone, and other cells of some rows; nothing if that leaves doubts."""
        _stage(self.watch, TRYING)
        weighed = {columns: self._weighed_by_some(columns, each) for columns, each in keys.items()}
        if not self._sure(weighed):
            return []
        _stage(self.watch, CHECKING)
        return [_counted_suggestion(self.table, columns, keys[columns].counted(self.watch.check)) for columns in _best(self.table, weighed)]

    def _weighed_by_some(self, columns: Columns, keys: Keys) -> _Evidence:
        """What speaks for a set, from all rows of some of its keys."""
        bound: dict[str, str] = {}
        old, new = (_records(getattr(self.table.plan, side), side, bound, keys.picked[side]) for side in ("old", "new"))
        return _Files(self.con, self.table, self._kept(QUICK), (old, new), bound).weigh(columns)

    def _tried(self, effort: _Effort) -> tuple[_Files, dict[Columns, _Evidence]]:
        """Both files with the columns worth reading, and the evidence from them.

        A quick look becomes a thorough one if it leaves doubts.
        """
        _stage(self.watch, "reading the columns that could be the key")
        files = _whole_files(self.con, self.table, self._kept(effort), self.workdir)
        weighed = self._weighed(files, effort)
        return (files, weighed) if effort is THOROUGH or self._sure(weighed) else self._tried(THOROUGH)

    def _sure(self, weighed: Mapping[Columns, _Evidence]) -> bool:
        """Whether a set needs no more others to be held against."""
        return any(each.confused <= FULL and each.found > self._least(columns) for columns, each in weighed.items())

    def _least(self, columns: Columns) -> float:
        """How much of a file a set must find again not to be held against others."""
        return SURE_OF_COUNT if self.table.counts(columns) else SURE

    def _kept(self, effort: _Effort) -> set[int]:
        """The columns worth reading from the whole files."""
        needed = {i for columns in self._pool(self.guesses, effort) for i in columns}
        others = [i for i in self.table.liked(range(len(self.table.pairs))) if i not in needed]
        return needed.union(others[: max(effort.columns - len(needed), 2)])

    def _pool(self, sets: Sequence[Columns], effort: _Effort) -> list[Columns]:
        most = self.table.cost(self.guesses[0]) + effort.margin
        return [columns for columns in sets if self.table.cost(columns) <= most][:POOL]

    def _weighed(self, files: _Files, effort: _Effort) -> dict[Columns, _Evidence]:
        """The sets worth a try, with what speaks for each."""
        weighed: dict[Columns, _Evidence] = {}
        sample = self.sample.of(files.columns)
        for _ in range(effort.rounds):
            sets = _sets(self.table, sample, files.rows // SAMPLE)
            fresh = self._pool([columns for columns in sets if self._promising(columns, weighed)], effort)
            for columns in fresh:
                _stage(self.watch, TRYING)
                weighed[columns] = files.weigh(columns)
                if weighed[columns].confused > FULL:
                    sample = sample.with_rows(*files.confused_rows())
            if all(weighed[columns].confused <= FULL for columns in fresh):
                break
        return weighed

    def _promising(self, columns: Columns, weighed: Mapping[Columns, _Evidence]) -> bool:
        """Whether a set was not tried yet and could be clearly better than those that were."""
        best = max((each.score(self.table.cost(tried)) for tried, each in weighed.items()), default=-1.0)
        return columns not in weighed and 1 - COST * self.table.cost(columns) > best + CLEARLY


class _Files:
    """Both files as one table of hashed cells: `side` (FALSE: old), h0, h1, …, and v0, v1, … where numbers may be near."""

    def __init__(
        self, con: DuckDBPyConnection, table: _Table, columns: Iterable[int], rows: tuple[str, str], bound: Mapping[str, str]
    ) -> None:
        """`rows` is SQL for the rows of the old and the new file, `bound` the values that it names."""
        self.con, self.table = con, table
        self.columns = sorted(columns)
        self.numbers = table.numbers(self.columns)
        old = self._hashed("FALSE", [pair.old for pair in table.pairs], rows[0])
        new = self._hashed("TRUE", [pair.new for pair in table.pairs], rows[1])
        con.execute(f"CREATE OR REPLACE TEMP TABLE cells AS {old} UNION ALL {new}", bound)
        self.rows = self._counted("SELECT count(*) FROM cells")[0] // 2
        self.every = max(self.rows // PICKED, 1)

    def _hashed(self, side: str, at: Sequence[int], rows: str) -> str:
        items = [f"{side} AS side"]
        for i in self.columns:
            cut = self.table.cuts[i]
            cell = f"regexp_replace(c{at[i]}, '{cut}', '')" if cut else f"c{at[i]}"
            items.append(f"CASE WHEN {cell} IS NOT NULL THEN hash({cell}) END AS h{i}")
        items += [f"TRY_CAST(c{at[i]} AS FLOAT) AS v{i}" for i in self.numbers]
        return f"SELECT {', '.join(items)} FROM ({rows})"

    def weigh(self, columns: Columns) -> _Evidence:
        """What speaks for a set, from all rows of some of its keys."""
        self._pick(columns)
        others = [i for i in self.columns if i not in columns]
        old, new, old_mixed, new_mixed, old_keys, new_keys, common, pairs, *same = self._counted(self._weighing(others))
        if not old and not new:
            return _Evidence(confused=1.0, overlap=0.0, alike=0.0, others=1.0)
        confused = max(old_mixed / (old or 1), new_mixed / (new or 1))
        agree = dict(zip(others, (count / pairs for count in same), strict=True)) if pairs else {}
        alike, without = _likeness(self.table.traits, columns, agree)
        return _Evidence(confused, common / (min(old_keys, new_keys) or 1), alike, without if pairs >= 20 else 1.0)

    def _pick(self, columns: Columns) -> None:
        """Keep all rows of some keys, the same keys of both files, as `picked`; `k` is the key, `r` the row."""
        key = _key(columns)
        self.con.execute(
            f"CREATE OR REPLACE TEMP TABLE picked AS SELECT *, {key} AS k, {_key(self.columns)} AS r"
            f" FROM cells WHERE {key} % {self.every} = 0"
        )

    def _weighing(self, others: Sequence[int]) -> str:
        cells = [f"h{i}" for i in others] + [f"v{i}" for i in others if i in self.numbers]
        sides = [f"any_value({c}) FILTER (NOT side) AS o_{c}, any_value({c}) FILTER (side) AS n_{c}" for c in cells]
        same = [f"count(*) FILTER (o = 1 AND n = 1 AND {self._agree(i)})" for i in others]
        counts = f"sum(o), sum(n), sum(o) FILTER (o_mixed), sum(n) FILTER (n_mixed), {KEYS}, count(*) FILTER (o = 1 AND n = 1)"
        return f"SELECT {', '.join([counts, *same])} FROM (SELECT {', '.join([ROWS, MIXED, *sides])} FROM picked GROUP BY k)"

    def _agree(self, i: int) -> str:
        same = f"o_h{i} IS NOT DISTINCT FROM n_h{i}"
        near = f"abs(o_v{i} - n_v{i}) <= {NEAR} * greatest(abs(o_v{i}), abs(n_v{i}))"
        return f"({same} OR coalesce({near}, FALSE))" if i in self.numbers else same

    def confused_rows(self) -> tuple[list[Sequence[Hashable]], list[Sequence[Hashable]]]:
        """Rows of each file that the set weighed last confuses; the cells are hashes."""
        cells = ", ".join(f"h{i}" for i in self.columns)
        of_a_key = "OVER (PARTITION BY side, k ORDER BY r)"
        numbered = f"SELECT *, row_number() {of_a_key} AS nth, count(*) OVER (PARTITION BY side, k) AS times FROM picked"
        query = f"SELECT side, {cells} FROM ({numbered}) WHERE times > 1 AND nth <= 6 ORDER BY k, side, r LIMIT 120"
        rows = self.con.execute(query).fetchall()
        return [row[1:] for row in rows if not row[0]], [row[1:] for row in rows if row[0]]

    def suggestion(self, columns: Columns, check: Callable[[], None] = lambda: None) -> KeySuggestion:
        """What the whole files say of a set."""
        from diffing.engines.key_counts import AT_ONCE, count_keys

        empty = " OR ".join(f"h{i} IS NULL" for i in columns)
        nulls = self._counted(f"SELECT count(*) FILTER (NOT side), count(*) FILTER (side) FROM cells WHERE {empty}")
        portions, one_at_a_time = 1 + 2 * self.rows // AT_ONCE, Lock()

        def portion(side: str, n: int) -> Hashed:
            keys = f"SELECT {_key(columns)} AS k FROM cells WHERE side = {side == 'new'}"
            with one_at_a_time:
                found: Hashed = self.con.execute(f"SELECT k FROM ({keys}) WHERE k % {portions} = {n}").fetchnumpy()["k"]
            return found

        return _counted_suggestion(self.table, columns, count_keys(portion, portions, nulls, check))

    def _counted(self, query: str) -> list[int]:
        return [int(each or 0) for each in self.con.execute(query).fetchone() or ()]


def _whole_files(con: DuckDBPyConnection, table: _Table, columns: Iterable[int], workdir: Path) -> _Files:
    bound: dict[str, str] = {}
    with TemporaryDirectory(dir=workdir, prefix="keys-") as copies:
        old, new = (_rows(getattr(table.plan, side), side, Path(copies), bound) for side in ("old", "new"))
        return _Files(con, table, columns, (old, new), bound)


def _read_keys(table: _Table, sets: Sequence[Columns], every: int, work: Path, watch: Watch) -> list[Keys] | None:
    """The keys of both files by some sets, and all rows of one in so many keys; None if they have to be read in another way."""
    if any(table.cuts[i] for columns in sets for i in columns):
        return None
    from diffing.engines.key_counts import read_keys  # takes a while

    return read_keys(table.plan, [[table.pairs[i] for i in columns] for columns in sets], every, work, watch)


def _counted_suggestion(table: _Table, columns: Columns, counted: Counted) -> KeySuggestion:
    return _suggestion(table.names(columns), counted.rows, counted.alone, counted.empty, counted.overlap, verified=True)


ROWS = "count(*) FILTER (NOT side) AS o, count(*) FILTER (side) AS n"
"""Rows of one key, in each file."""
MIXED = "min(r) FILTER (NOT side) <> max(r) FILTER (NOT side) AS o_mixed, min(r) FILTER (side) <> max(r) FILTER (side) AS n_mixed"
"""Whether rows of one key differ, in each file."""
KEYS = "count(*) FILTER (o > 0), count(*) FILTER (n > 0), count(*) FILTER (o > 0 AND n > 0)"
"""Keys of the old file, of the new file, and of both."""


def _key(columns: Sequence[int]) -> str:
    return f"hash({', '.join(f'h{i}' for i in columns)})"


def _likeness(traits: Sequence[_Trait], key: Columns, agree: Mapping[int, float]) -> tuple[float, float]:
    """How much more than by chance paired rows agree: with the key, and without it.

    `agree` has the share of the pairs that agree, for each other column. Without the key it is 1
    if fewer than two columns of words could show that rows belong together.
    """
    of_key = sum(1 - traits[i].chance for i in key)
    room = sum(1 - traits[i].chance for i in agree)
    gain = max(sum(share - traits[i].chance for i, share in agree.items()), 0.0)
    telling = [i for i in agree if not traits[i].measure and traits[i].chance < 0.9]
    return (of_key + gain) / (of_key + room or 1), gain / room if len(telling) > 1 else 1.0


# --- reading ---------------------------------------------------------------------------------------

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "1GiB",
    "preserve_insertion_order": False,
}


@contextmanager
def _connected(workdir: Path, *sources: Source) -> Iterator[DuckDBPyConnection]:
    """A connection that reads two files, and what lies in the work folder."""
    workdir.mkdir(parents=True, exist_ok=True)
    files = [path for source in sources for path in (source.path, source.data)]
    settings = ["TimeZone = 'UTC'", "enable_progress_bar = false"]
    with (
        TemporaryDirectory(dir=workdir, prefix="keys-") as spill,
        connected(folders=[workdir], files=files, settings=settings, **CONFIG, temp_directory=spill) as con,
    ):
        yield con


LENIENTLY = ", strict_mode = false, ignore_errors = true"


def _rows(source: Source, side: str, copies: Path, bound: dict[str, str], bad_lines: BadLines | None = None) -> str:
    """SQL that reads a file as c0, c1, …; an empty cell is null.

    Every record is checked first if `bad_lines` says what to do with bad ones, or the file is
    small. A larger one is read as well as it goes: what can't be read is left out.
    """
    if source.format is Format.PARQUET:
        bound[side] = str(source.path)
        return parquet_select(f"${side}", len(source.columns))
    if bad_lines is None and source.data.stat().st_size > CHECKED:
        return _csv(source, side, bound, source.data, source.first_line - 1, 1 << 21, LENIENTLY)
    return _records(source, side, bound, check_records(source.body, bad_lines or BadLines.SKIP, copies / f"{side}.csv"))


def _records(source: Source, side: str, bound: dict[str, str], records: Records) -> str:
    """SQL that reads records that were checked."""
    if not records.rows:
        return "SELECT " + ", ".join(f"CAST(NULL AS VARCHAR) AS c{i}" for i in range(len(source.columns))) + " WHERE FALSE"
    source = replace(source, dialect=replace(source.dialect, line_end=records.line_end))
    return _csv(source, side, bound, records.path, records.skip_lines, max(1 << 21, records.longest + 1024))


def _csv(source: Source, side: str, bound: dict[str, str], path: Path, skip: int, longest: int, leniently: str = "") -> str:
    bound |= {side: str(path), f"{side}_delimiter": source.dialect.delimiter, f"{side}_quote": source.dialect.quote}
    columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(source.columns)))
    line_end = {"\r\n": "\\r\\n", "\r": "\\r"}.get(source.dialect.line_end, "\\n")
    return (
        f"SELECT * FROM read_csv(${side}, auto_detect = false, header = false, skip = {skip}, delim = ${side}_delimiter,"
        f" quote = ${side}_quote, escape = ${side}_quote, new_line = '{line_end}', columns = {{{columns}}},"
        f" max_line_size = {longest}, buffer_size = {max(1 << 24, longest * 4)}, nullstr = ''{leniently})"
    )


# --- keys by value ---------------------------------------------------------------------------------


SPELLINGS = {Shape.INTEGER: INTEGER, Shape.WHOLE_DECIMAL: WHOLE_DECIMAL, Shape.DATE: DATE, Shape.MIDNIGHT: MIDNIGHT}


def matches_by_value(
    old: Source,
    new: Source,
    key: Sequence[str],
    *,
    workdir: Path,
    rename: Mapping[str, str] = {},
    bad_lines: BadLines = BadLines.SKIP,
) -> tuple[str, ...]:
    """The key columns that hold integers in one file and decimals with zero fraction in the other, or dates and midnights.

    That is asked of every non-empty cell of both files. `bad_lines` FILL counts the cells of
    filled lines too.

    Raises:
        PlanError: a name is no column of both files.
        DiffError: a file can't be read to the end.
    """
    plan = make_plan(old, new, Choices(key=tuple(key), rename=rename))
    asked = spelled_in_two_ways(plan)
    if not asked:
        return ()
    fill = BadLines.FILL if bad_lines is BadLines.FILL else BadLines.SKIP
    with _in_words(), _connected(workdir, plan.old, plan.new) as con, TemporaryDirectory(dir=workdir, prefix="keys-") as copies:
        old_misses = _misses(con, plan.old, [(pair.old, plan.old.columns[pair.old].shape) for pair in asked], Path(copies), fill)
        new_misses = _misses(con, plan.new, [(pair.new, plan.new.columns[pair.new].shape) for pair in asked], Path(copies), fill)
    return tuple(pair.name for pair, o, n in zip(asked, old_misses, new_misses, strict=True) if not o and not n)


def _misses(con: DuckDBPyConnection, source: Source, asked: Sequence[tuple[int, Shape]], copies: Path, bad_lines: BadLines) -> list[int]:
    """For each column asked for, its non-empty cells that are not of the shape that the sample shows."""
    bound: dict[str, str] = {f"shape{i}": SPELLINGS[shape] for i, (_, shape) in enumerate(asked)}
    counts = [f"count(*) FILTER (NOT regexp_full_match(c{at}, $shape{i}))" for i, (at, _) in enumerate(asked)]
    query = f"SELECT {', '.join(counts)} FROM ({_rows(source, 'file', copies, bound, bad_lines)})"
    return list(con.execute(query, bound).fetchone() or ())


@contextmanager
def _in_words() -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise EngineError("The keys of the two files could not be read.", "Check the dialect of both files.") from error
    except OSError as error:
        why = error.strerror or str(error)
        raise EngineError(f"The keys could not be read: {why}.", "Check the free disk space and the rights.") from error
