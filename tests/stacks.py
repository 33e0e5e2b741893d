"""Many drawn tables in one: a run on Spark takes seconds, however many rows it compares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.tables import DATE, ID, NAMES, NUMBER, TEXT, Case, Cells, Kind, Rule, Table, edited_columns, edited_rows, rows_of, rules_of
from tests.tables import spellings as drawn_spellings

T = TypeVar("T")
Versions = tuple[list[Cells], list[Cells]]


@dataclass(frozen=True)
class Shape:
    """All of a `Case` but its rows."""

    kinds: tuple[Kind, ...]
    case: Case
    places: tuple[int | str, ...]
    """For each column of the new file its place in the old one, or the text that is in all its cells."""


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    kinds = [draw(st.sampled_from((ID, ID, NUMBER, DATE, TEXT)))]
    kinds += [draw(st.sampled_from((NUMBER, NUMBER, DATE, TEXT, ID))) for _ in range(draw(st.sampled_from((3, 2, 4, 1))))]
    header = tuple(draw(st.sampled_from(NAMES)) for _ in kinds)
    in_order: Any = [tuple(range(len(kinds)))]
    header_now, rows_now, renamed = draw(edited_columns(header, in_order))
    case = Case(
        Table((*header, "#"), (), **draw(drawn_spellings())),  # type: ignore[arg-type]
        Table((*header_now, "#"), (), **draw(drawn_spellings())),  # type: ignore[arg-type]
        renamed,
        key=draw(st.sampled_from(((0,), (0,), (0,), (0, 1), (1,), ()))),
        ignored=draw(st.sampled_from(((), (), (1,), (2,)))),
        rules=(*(draw(rules_of(kind)) for kind in kinds), Rule()),
        nulls=draw(st.sampled_from(((), (), ("NULL",), ("na", "-", "NULL")))),
    )
    return Shape(tuple(kinds), case, rows_now[0])


@st.composite
def versions(draw: st.DrawFn, kinds: list[Kind]) -> Versions:
    rows = draw(rows_of(kinds, draw(st.sampled_from((8, 5, 12, 3)))))
    return rows, draw(edited_rows(rows, kinds))


def drawn(strategy: st.SearchStrategy[T], count: int) -> list[T]:
    """So many examples of a strategy; the same ones each time with CI set."""
    found: list[T] = []

    @settings(
        max_examples=count * 2,
        deadline=None,
        database=None,
        derandomize="CI" in os.environ,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(example: T) -> None:
        found.append(example)

    draw()
    return found[-count:]  # the first ones are the simplest


def stacks(count: int, tables: int = 25) -> Iterator[Case]:
    """So many cases, each of so many pairs of drawn tables, one above the other; their number is part of the key."""
    for shape in islice(drawn(shapes(), count * 2), count * int(os.environ.get("EFFORT", "1"))):
        pairs = drawn(versions(list(shape.kinds)), tables)
        old = tuple((*row, str(n)) for n, (rows, _) in enumerate(pairs) for row in rows)
        new = tuple((*_moved(row, shape.places), str(n)) for n, (_, rows) in enumerate(pairs) for row in rows)
        key = (*shape.case.key, len(shape.kinds)) if shape.case.key else ()
        yield replace(shape.case, old=replace(shape.case.old, rows=old), new=replace(shape.case.new, rows=new), key=key)


def _moved(row: Cells, places: tuple[int | str, ...]) -> Cells:
    return tuple(row[at] if isinstance(at, int) else at for at in places)
