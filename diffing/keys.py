"""Which columns could be the key, and how sure we are.

Sets of columns that tell the rows of a sample apart are tried on the whole files. Where a set fails
there, rows that it confuses join the sample, and the search goes on. The best set is not the one
that tells most rows apart but the one by which most of the old table is found again in the new.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

from diffing.errors import EngineError, SourceError
from diffing.grammar import DATE, INTEGER, MIDNIGHT, WHOLE_DECIMAL, ColumnType, Shape
from diffing.plan import Choices, ColumnPair, Plan, make_plan
from diffing.records import BadLines, check_records
from diffing.sources import Format, Source, parquet_select, sample_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_COLUMNS = 6
"""A key has at most so many columns."""
FULL, NEARLY = 0.001, 0.05
"""Share of rows that a key may confuse, and that a key may confuse if nothing better is found."""
SAMPLE = 1500
"""Rows of each file that the search starts from."""
COMBINED = 24
"""Columns that are tried in sets with others; every column is tried alone."""
BEAM = 40
"""Sets of each size to which another column is added."""
MARGIN = 1.5
"""Sets are given up that cost so much more than a set that was found."""
ROUNDS, POOL = 6, 6
"""Searches, and sets that each of them hands on to be tried on the whole files."""
KEPT = 12
"""Columns read from the whole files, or as many as the first sets need."""
PICKED = 20_000
"""Rows of each file, picked by their key, on which a set is weighed."""
CHECKED = 16 << 20
"""Bytes up to which a file is checked before it is read; a larger one is read as well as it goes."""
MEMORY = "1GiB"
NEAR = 1e-5
"""Relative distance within which two numbers count as the same in weighing."""

Columns = tuple[int, ...]
"""A set of columns, as ascending positions in `Plan.pairs`."""
Rows = Mapping[int, Sequence[Hashable]]
"""The cells of some rows, by column."""


class Watched(Protocol):
    """How a search tells where it is, and how it is asked to stop."""

    report: Callable[[str, float | None], None]

    def check(self) -> None:
        """Raises what stops the search, if someone asked."""


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
        return f"{max(int(self.overlap * 1000) / 10, 0.1)}% of the keys are in both files"

    def _nulls(self) -> str:
        if not self.null_rows_old and not self.null_rows_new:
            return ""
        return f"{self.null_rows_old:,} old and {self.null_rows_new:,} new rows have an empty key cell"


def _ticked(names: Iterable[str]) -> list[str]:
    return [f"`{name}`" for name in names]


def _all_but(repeats: int, rows: int, side: str) -> str:
    return f"all but {repeats:,} of {rows:,} {side} rows" if repeats else f"all {rows:,} {side} rows"


def suggest_keys(
    old: Source, new: Source, *, workdir: Path, rename: Mapping[str, str] = {}, most: int = 3, watch: Watched | None = None
) -> list[KeySuggestion]:
    """Sets of columns that could be the key, best first.

    An empty list: nothing identifies the rows, so compare them whole. Files that can't be read to
    the end don't stop the advice; it is then from a sample.

    Raises:
        PlanError: the files have no column in common, or a renamed column is none.
    """
    plan = make_plan(old, new, Choices(rename=rename))
    search = _Search(plan, watch)
    guesses = search.sets()
    if not guesses:
        return []
    try:
        with _connected(plan, workdir) as con:
            return _suggestions(search, _Tables(con, search, guesses, workdir), most)
    except _unreadable():
        return [search.suggestion(columns) for columns in guesses[:most]]


def _unreadable() -> tuple[type[Exception], ...]:
    """What reading a whole file can run into."""
    import duckdb

    return (duckdb.Error, OSError, SourceError)


# --- what a person would take for a key ------------------------------------------------------------


NAME_COSTS = {
    0.4: "id ids key pk uuid guid identifier",
    0.6: "code no nr num number sku ean isbn icao iata ref date day week month year quarter period time hour timestamp datetime cohort",
    0.8: "name type kind field stat metric segment site station store shop region country location line index",
    2.0: "value values amount price cost total sum count qty quantity share rate score average avg mean min max change"
    " updated modified changed created exported loaded note notes comment comments remark remarks text description",
}
"""What a column costs in a key, by the words of its name; 1 without any. The dearest word but the last counts first."""
_COST_OF = {word: cost for cost, words in NAME_COSTS.items() for word in words.split()}


@dataclass(frozen=True, slots=True)
class _Trait:
    """What a sample shows of one pair of columns."""

    cost: float
    """How reluctant a person would be to take it into the key."""
    measure: bool
    """Whether it holds numbers with fractions."""
    chance: float
    """How often two rows taken at random agree in it."""


def _name_cost(name: str) -> float:
    words = re.findall(r"[^\W\d_]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name))
    costs = [_COST_OF[word.lower()] for word in words if word.lower() in _COST_OF]
    return costs[-1] if costs else 1.0


def _trait(pair: ColumnPair, shapes: set[Shape], place: float, old: Sequence[str], new: Sequence[str]) -> _Trait:
    """`place` is 0 for the leftmost column and almost 1 for the last."""
    cells = [*old, *new]
    nulls = cells.count("") / max(len(cells), 1)
    length = sum(map(len, cells)) / max(len(cells) * (1 - nulls), 1)
    measure = Shape.NUMBER in shapes
    spelled = 2.0 * measure + 0.3 * (Shape.TIMESTAMP in shapes) + (length > 40) + (length > 100)
    cost = _name_cost(pair.name) + spelled + nulls + (nulls > 0.5) + 0.3 * place
    return _Trait(cost, measure, _chance(Counter(old), Counter(new)))


def _chance(old: Counter[str], new: Counter[str]) -> float:
    pairs = old.total() * new.total()
    return sum(count * new[cell] for cell, count in old.items()) / pairs if pairs else 0.0


ZERO_FRACTION = r"[.]0*$"
MIDNIGHT_CLOCK = r"[ T]00:00(:00([.]0*)?)?$"


def _by_value(shapes: set[Shape]) -> str | None:
    """What to cut off the cells of a column whose files seem to spell the same values in two ways."""
    if shapes == {Shape.INTEGER, Shape.WHOLE_DECIMAL}:
        return ZERO_FRACTION
    return MIDNIGHT_CLOCK if shapes == {Shape.DATE, Shape.MIDNIGHT} else None


def _shapes(plan: Plan, pair: ColumnPair) -> set[Shape]:
    return {plan.old.columns[pair.old].shape, plan.new.columns[pair.new].shape}


# --- the search on a sample ----------------------------------------------------------------------


class _Search:
    """Finds sets of columns that tell the rows of a sample apart; the sample grows."""

    def __init__(self, plan: Plan, watch: Watched | None) -> None:
        self.plan, self.pairs, self.watch = plan, plan.pairs, watch
        self.stage("looking for a key in a sample")
        old, new = _thinned(sample_rows(plan.old)), _thinned(sample_rows(plan.new))
        self.shapes = [_shapes(plan, pair) for pair in self.pairs]
        self.cuts = [_by_value(shapes) for shapes in self.shapes]
        texts = [(_texts(old, p.old, cut), _texts(new, p.new, cut)) for p, cut in zip(self.pairs, self.cuts, strict=True)]
        self.traits = [
            _trait(pair, self.shapes[i], i / len(self.pairs), *texts[i]) for i, pair in enumerate(self.pairs)
        ]
        self.sides: list[dict[int, list[Hashable]]] = [{i: list(each[side]) for i, each in enumerate(texts)} for side in (0, 1)]
        self.usable = list(range(len(self.pairs)))

    def stage(self, name: str) -> None:
        if self.watch:
            self.watch.check()
            self.watch.report(name, None)

    def cost(self, columns: Columns) -> float:
        return sum(self.traits[i].cost for i in columns)

    def liked(self) -> list[int]:
        """The usable columns, those first that a person would take into a key."""
        return sorted(self.usable, key=lambda i: self.traits[i].cost + 9 * (self.traits[i].chance == 1))

    def keep(self, columns: Iterable[int]) -> None:
        """Search among these columns only from here on."""
        self.usable = sorted(columns)

    def learn(self, side: int, rows: Iterable[Sequence[Hashable]]) -> None:
        """Add rows, given as the cells of the usable columns."""
        for row in rows:
            for i, cell in zip(self.usable, row, strict=True):
                self.sides[side][i].append(cell)

    def sets(self) -> list[Columns]:
        """Sets that confuse few rows of the sample, those first that a person would like best."""
        walk = _Walk(self, [_coded(side, self.usable) for side in self.sides])
        found = walk.sets()
        return sorted(found, key=lambda columns: (self.cost(columns) + 20 * found[columns], columns))

    def suggestion(self, columns: Columns) -> KeySuggestion:
        """What the sample alone says of a set."""
        keys = [Counter(zip(*(side[i] for i in columns), strict=True)) for side in self.sides]
        rows = [each.total() for each in keys]
        unique = [sum(n == 1 for n in each.values()) / (each.total() or 1) for each in keys]
        nulls = [sum(n for key, n in each.items() if "" in key) for each in keys]
        common, fewest = len(keys[0].keys() & keys[1].keys()), min(len(keys[0]), len(keys[1]))
        return KeySuggestion(self.names(columns), *rows, *unique, *nulls, common / (fewest or 1), verified=False)

    def names(self, columns: Columns) -> tuple[str, ...]:
        return tuple(self.pairs[i].name for i in columns)


def _thinned(rows: list[list[str]]) -> list[list[str]]:
    """Rows from eight places; neighbours stay together, for they are the most alike."""
    part = SAMPLE // 8
    if len(rows) <= SAMPLE:
        return rows
    return [row for i in range(8) for row in rows[len(rows) * i // 8 :][:part]]


def _texts(rows: Sequence[Sequence[str]], at: int, cut: str | None) -> list[str]:
    return [re.sub(cut, "", row[at]) if cut else row[at] for row in rows]


def _coded(side: Rows, usable: Sequence[int]) -> dict[int, list[int]]:
    """The distinct rows, with a small number for each text of a column."""
    rows = list(dict.fromkeys(zip(*(side[i] for i in usable), strict=True)))
    columns = zip(*rows, strict=True) if rows else ([] for _ in usable)
    return {i: _numbered(cells) for i, cells in zip(usable, columns, strict=True)}


def _numbered(cells: Iterable[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(cell, len(numbers)) for cell in cells]


class _Walk:
    """One search, from single columns to sets of six."""

    def __init__(self, search: _Search, sides: list[dict[int, list[int]]]) -> None:
        self.search, self.sides = search, sides
        self.rows = [max(map(len, side.values()), default=0) for side in sides]
        self.found: dict[Columns, float] = {}
        self.full: list[set[int]] = []
        self.most_cost = float("inf")
        self.seen: set[Columns] = set()

    def sets(self) -> dict[Columns, float]:
        """The sets found, each with the share of the rows that it confuses, in the worse file."""
        everything = tuple(range(len(self.search.pairs)))
        level, usable = [()], self.search.liked()  # type: list[Columns], list[int]
        for _ in range(MOST_COLUMNS):
            grown = {child: left for parent in level for child, left in self._grown(parent, usable)}
            level = sorted(grown, key=lambda each: (self.search.cost(each) + 4 * grown[each], each))[:BEAM]
            usable = usable[:COMBINED]
        if len(everything) > 1:
            self.found.pop(everything, None)
        return self.found

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
            if after != before and not self._take(child, confused):
                yield child, confused

    def _groups(self, side: int, columns: Columns) -> list[int]:
        """A number for each row, the same where rows agree in the columns; room is left for one more column."""
        room = max(self.rows) + 1
        start = [0] * self.rows[side]
        return reduce(lambda groups, i: [(g + c) * room for g, c in zip(groups, self.sides[side][i], strict=True)], columns, start)

    def _worth(self, columns: Columns) -> bool:
        return self.search.cost(columns) <= self.most_cost and not any(each.issubset(columns) for each in self.full)

    def _take(self, columns: Columns, confused: float) -> bool:
        """Whether the set is a key as far as the sample shows."""
        if confused <= NEARLY:
            self.found[columns] = confused
        if confused <= FULL:
            self.full.append(set(columns))
            self.most_cost = min(self.most_cost, self.search.cost(columns) + MARGIN)
        return confused <= FULL


# --- the whole files -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What the whole files, or rows picked from all over them, say about a set."""

    confused: float
    """Share of the rows whose key other rows have too that are not the same, in the worse file."""
    overlap: float
    alike: float
    """How much better than by chance rows agree that the key pairs, the key itself included: 1 is fully."""
    others: float
    """The same without the key; 1 if that can't be told."""

    @property
    def found(self) -> float:
        """How much of the smaller table is found again in the other by this key."""
        return self.overlap * self.alike * (1 - self.confused)

    @property
    def misleading(self) -> bool:
        """Whether rows that have nothing to do with each other share keys, as row numbers do."""
        return self.overlap > 0.5 and self.others < 0.05

    def score(self, cost: float) -> float:
        return self.found - 0.05 * cost - min(100 * self.confused, 0.05) - 2 * self.confused


def _suggestions(search: _Search, tables: _Tables, most: int) -> list[KeySuggestion]:
    weighed = _weighed(search, tables)
    scores = {columns: each.score(search.cost(columns)) for columns, each in weighed.items() if each.confused <= NEARLY and not each.misleading}
    best = sorted(scores, key=lambda columns: (-scores[columns], columns))
    lean = [each for i, each in enumerate(best) if not any(set(each) > set(better) for better in best[:i])]
    near = [each for each in lean if weighed[each].found >= weighed[lean[0]].found / 2]
    search.stage("checking the key on the whole files")
    return [tables.suggestion(columns) for columns in near[:most]]


def _weighed(search: _Search, tables: _Tables) -> dict[Columns, _Evidence]:
    """The sets worth a try, with what speaks for each."""
    weighed: dict[Columns, _Evidence] = {}
    for _ in range(ROUNDS):
        fresh = [columns for columns in search.sets() if columns not in weighed][:POOL]
        for columns in fresh:
            search.stage("trying keys on the whole files")
            weighed[columns] = tables.weigh(columns)
        failed = [columns for columns in fresh if weighed[columns].confused > FULL]
        if not failed or _settled(search, weighed, failed):
            break
        for columns in failed:
            tables.teach(columns)
    return weighed


def _settled(search: _Search, weighed: Mapping[Columns, _Evidence], failed: Sequence[Columns]) -> bool:
    """Whether there is a key that no set can beat that is yet to come."""
    good = [columns for columns, each in weighed.items() if each.confused <= FULL and each.found > 0.5]
    return bool(good) and min(map(search.cost, good)) <= min(map(search.cost, failed)) + 0.5


class _Tables:
    """Both files as one table of hashed cells: `side` (FALSE: old), h0, h1, …, and v0, v1, … where numbers may be near."""

    def __init__(self, con: DuckDBPyConnection, search: _Search, guesses: Sequence[Columns], folder: Path) -> None:
        self.con, self.search = con, search
        search.keep(_kept(search, guesses))
        search.stage("reading the columns that could be the key")
        self.numbers = [i for i in search.usable if _holds_fractions(search, i)]
        self.load(folder)
        rows = con.execute("SELECT count(*) FROM cells").fetchone() or (0,)
        self.every = max(rows[0] // 2 // PICKED, 1)

    def load(self, folder: Path) -> None:
        plan, bound = self.search.plan, {}  # type: Plan, dict[str, str]
        with TemporaryDirectory(dir=folder, prefix="keys-") as copies:
            old = self._hashed("FALSE", [p.old for p in self.search.pairs], _table(plan.old, "old", Path(copies), bound))
            new = self._hashed("TRUE", [p.new for p in self.search.pairs], _table(plan.new, "new", Path(copies), bound))
            self.con.execute(f"CREATE TEMP TABLE cells AS {old} UNION ALL {new}", bound)

    def _hashed(self, side: str, at: Sequence[int], table: str) -> str:
        items = [f"{side} AS side"]
        for i in self.search.usable:
            cell = _cut_sql(f"c{at[i]}", self.search.cuts[i])
            items.append(f"CASE WHEN {cell} IS NOT NULL THEN hash({cell}) END AS h{i}")
        items += [f"TRY_CAST(c{at[i]} AS FLOAT) AS v{i}" for i in self.numbers]
        return f"SELECT {', '.join(items)} FROM ({table})"

    def _picked(self, columns: Columns) -> str:
        """SQL for all rows of some keys, the same keys in both files; `k` is the key, `r` the row."""
        everything = ", ".join(f"h{i}" for i in self.search.usable)
        key = _key(columns)
        return f"SELECT *, {key} AS k, hash({everything}) AS r FROM cells WHERE {key} % {self.every} = 0"

    def weigh(self, columns: Columns) -> _Evidence:
        others = [i for i in self.search.usable if i not in columns]
        row = self.con.execute(self._weighing(columns, others)).fetchone() or ()
        rows, mixed, keys, (common, pairs) = row[0:2], row[2:4], row[4:6], row[6:8]
        if not any(rows):
            return _Evidence(1.0, 0.0, 0.0, 1.0)
        confused = max((m or 0) / (n or 1) for m, n in zip(mixed, rows, strict=True))
        agree = dict(zip(others, (count / pairs for count in row[8:]), strict=True)) if pairs else {}
        return _Evidence(confused, common / (min(keys) or 1), *self._likeness(columns, agree, pairs))

    def _weighing(self, columns: Columns, others: Sequence[int]) -> str:
        cells = [f"h{i}" for i in others] + [f"v{i}" for i in others if i in self.numbers]
        sides = [f"any_value({c}) FILTER (NOT side) AS o_{c}, any_value({c}) FILTER (side) AS n_{c}" for c in cells]
        same = [f"count(*) FILTER (o = 1 AND n = 1 AND {self._agree(i)})" for i in others]
        grouped = ", ".join([*_counts(), *_mixed(), *sides])
        counted = (
            "sum(o), sum(n), sum(o) FILTER (o_mixed), sum(n) FILTER (n_mixed), count(*) FILTER (o > 0), count(*) FILTER (n > 0),"
            " count(*) FILTER (o > 0 AND n > 0), count(*) FILTER (o = 1 AND n = 1)"
        )
        return f"SELECT {', '.join([counted, *same])} FROM (SELECT {grouped} FROM ({self._picked(columns)}) GROUP BY k)"

    def _agree(self, i: int) -> str:
        same = f"o_h{i} IS NOT DISTINCT FROM n_h{i}"
        near = f"abs(o_v{i} - n_v{i}) <= {NEAR} * greatest(abs(o_v{i}), abs(n_v{i}))"
        return f"({same} OR coalesce({near}, FALSE))" if i in self.numbers else same

    def _likeness(self, columns: Columns, agree: Mapping[int, float], pairs: int) -> tuple[float, float]:
        """How much better than by chance paired rows agree: with the key, and without it."""
        traits = self.search.traits
        key = sum(1 - traits[i].chance for i in columns)
        room = sum(1 - traits[i].chance for i in agree)
        gain = max(sum(share - traits[i].chance for i, share in agree.items()), 0.0)
        labels = [i for i in agree if not traits[i].measure and traits[i].chance < 0.9]
        others = gain / room if len(labels) > 1 and pairs >= 20 else 1.0
        return ((key + gain) / (key + room) if key + room else 1.0), others

    def teach(self, columns: Columns) -> None:
        """Add rows to the sample that this set confuses."""
        cells = ", ".join(f"h{i}" for i in self.search.usable)
        of_a_key = "OVER (PARTITION BY side, k ORDER BY r)"
        numbered = f"SELECT *, row_number() {of_a_key} AS nth, count(*) OVER (PARTITION BY side, k) AS times FROM ({self._picked(columns)})"
        query = f"SELECT side, {cells} FROM ({numbered}) WHERE times > 1 AND nth <= 6 ORDER BY k, side, r LIMIT 240"
        rows = self.con.execute(query).fetchall()
        for side in (0, 1):
            self.search.learn(side, (row[1:] for row in rows if row[0] == side))

    def suggestion(self, columns: Columns) -> KeySuggestion:
        """What the whole files say of a set."""
        keys = f"SELECT {', '.join(_counts())} FROM (SELECT side, {_key(columns)} AS k FROM cells) GROUP BY k"
        counted = self._numbers(
            "SELECT sum(o), sum(n), count(*) FILTER (o = 1), count(*) FILTER (n = 1), count(*) FILTER (o > 0), count(*) FILTER (n > 0),"
            f" count(*) FILTER (o > 0 AND n > 0) FROM ({keys})"
        )
        empty = " OR ".join(f"h{i} IS NULL" for i in columns)
        nulls = self._numbers(f"SELECT count(*) FILTER (NOT side), count(*) FILTER (side) FROM cells WHERE {empty}")
        rows, alone, keys_of, common = counted[0:2], counted[2:4], counted[4:6], counted[6]
        unique = [n / rows[side] if rows[side] else 1.0 for side, n in enumerate(alone)]
        return KeySuggestion(self.search.names(columns), *rows, *unique, *nulls, common / (min(keys_of) or 1), verified=True)

    def _numbers(self, query: str) -> list[int]:
        return [int(each or 0) for each in self.con.execute(query).fetchone() or ()]


def _kept(search: _Search, guesses: Sequence[Columns]) -> set[int]:
    needed = {i for columns in guesses[:POOL] for i in columns}
    return needed | set([i for i in search.liked() if i not in needed][: max(KEPT - len(needed), 2)])


def _holds_fractions(search: _Search, i: int) -> bool:
    return search.pairs[i].type is ColumnType.NUMBER and search.shapes[i] != {Shape.INTEGER}


def _key(columns: Columns) -> str:
    return f"hash({', '.join(f'h{i}' for i in columns)})"


def _counts() -> list[str]:
    return ["count(*) FILTER (NOT side) AS o", "count(*) FILTER (side) AS n"]


def _mixed() -> list[str]:
    """Whether rows of one key differ, in each file."""
    sides = {"o": "NOT side", "n": "side"}
    return [f"coalesce(min(r) FILTER ({s}) <> max(r) FILTER ({s}), FALSE) AS {name}_mixed" for name, s in sides.items()]


def _cut_sql(cell: str, cut: str | None) -> str:
    return f"regexp_replace({cell}, '{cut}', '')" if cut else cell


# --- reading ---------------------------------------------------------------------------------------


@contextmanager
def _connected(plan: Plan, workdir: Path) -> Iterator[DuckDBPyConnection]:
    import duckdb

    workdir.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=workdir, prefix="keys-") as spill:
        config: dict[str, str | bool] = {
            "memory_limit": MEMORY,
            "temp_directory": spill,
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        with duckdb.connect(config=config) as con:
            con.execute("SET TimeZone = 'UTC'")
            yield con


def _table(source: Source, side: str, copies: Path, bound: dict[str, str], bad_lines: BadLines | None = None) -> str:
    """SQL that reads a file as c0, c1, …; an empty cell is null.

    Every record is checked first if `bad_lines` says what to do with bad ones, or the file is
    small. A larger one is read as well as it goes: what can't be read is left out.
    """
    if source.format is Format.PARQUET:
        bound[side] = str(source.path)
        return parquet_select(f"${side}", len(source.columns))
    if bad_lines is None and source.data.stat().st_size > CHECKED:
        return _csv(source, side, bound, source.data, source.first_line - 1, 1 << 21, ", strict_mode = false, ignore_errors = true")
    records = check_records(source.body, bad_lines or BadLines.SKIP, copies / f"{side}.csv")
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
    asked = [pair for pair in plan.key if _by_value(_shapes(plan, pair))]
    if not asked:
        return ()
    fill = BadLines.FILL if bad_lines is BadLines.FILL else BadLines.SKIP
    with _in_words(), _connected(plan, workdir) as con, TemporaryDirectory(dir=workdir, prefix="keys-") as copies:
        old_misses = _misses(con, plan.old, [(pair.old, plan.old.columns[pair.old].shape) for pair in asked], Path(copies), fill)
        new_misses = _misses(con, plan.new, [(pair.new, plan.new.columns[pair.new].shape) for pair in asked], Path(copies), fill)
    return tuple(pair.name for pair, o, n in zip(asked, old_misses, new_misses, strict=True) if not o and not n)


def _misses(con: DuckDBPyConnection, source: Source, asked: Sequence[tuple[int, Shape]], copies: Path, bad_lines: BadLines) -> list[int]:
    """For each column asked for, its non-empty cells that are not of the shape that the sample shows."""
    bound: dict[str, str] = {f"shape{i}": SPELLINGS[shape] for i, (_, shape) in enumerate(asked)}
    counts = [f"count(*) FILTER (NOT regexp_full_match(c{at}, $shape{i}))" for i, (at, _) in enumerate(asked)]
    query = f"SELECT {', '.join(counts)} FROM ({_table(source, 'file', copies, bound, bad_lines)})"
    return list(con.execute(query, bound).fetchone() or ())


@contextmanager
def _in_words() -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise EngineError("The keys of the two files could not be read.", "Check the dialect of both files.") from error
    except OSError as error:
        raise EngineError(f"The keys could not be read: {error.strerror}.", "Check the free disk space and the rights.") from error
