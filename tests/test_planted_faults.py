"""Faults planted on purpose in the rules of equality, pairing and keys: each must be noticed.

The evidence is a handful of small comparisons on which engine and judge agree. The faults:

 1. numbers by value are compared as doubles, so that 9007199254740993 is 9007199254740992
 2. the default tolerance holds for whole numbers too
 3. a tolerance given for a column is not applied to whole numbers
 4. null is taken for zero
 5. `007` reads as a number
 6. a date loses its time of day
 7. an offset is dropped from a timestamp
 8. null does not match null in keys
 9. keys match ignoring case though nobody asked
10. repeated keys are paired by rank instead of fewest differences
11. identical rows that repeat cancel all at once, not one for one
12. the pairs of a repeated key are not ordered by text where they differ in as many cells
13. spaces inside a cell are ignored too
14. a null word is compared ignoring case though nobody asked
15. the change of a number is old − new
16. rows are put out in the order of their texts where a key column holds numbers
17. decimals are compared as doubles where a column has nothing else
18. the change of a decimal is old − new where a column has nothing else
19. a cell that is no decimal goes unnoticed where a sample of the column had nothing else
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from diffing import grammar
from diffing.engines import matching, surplus
from diffing.engines.duckdb import DUCKDB
from diffing.grammar import ColumnType
from diffing.plan import Tolerance
from diffing.sql import Sql
from tests.tables import Case, Rule, Table
from tests.test_properties import assert_agrees


def case(old: str, new: str, **more: object) -> Case:
    """Two tables written as `header; row; row` with cells between commas."""
    tables = []
    for text in (old, new):
        header, *rows = [tuple(cell.strip("_") for cell in line.strip().split(",")) for line in text.split(";")]
        tables.append(Table(header, tuple(rows)))
    return Case(tables[0], tables[1], **{"key": (0,), **more})  # type: ignore[arg-type]


NUMBER = Rule(type=ColumnType.NUMBER)
EVIDENCE = [
    case(
        "id,v; a,9007199254740993; b,10000000000; c,1.50; d,; e,007; f,0.30000000000000004; g,2",
        "id,v; a,9007199254740992; b,10000000001; c,15e-1; d,0; e,7; f,0.3; g,3",
        rules=(Rule(), NUMBER),
    ),
    case("id,v; a,10; b,100; c,1.5", "id,v; a,11; b,103; c,2.25", rules=(Rule(), Rule(tolerance=Tolerance(absolute=1)))),
    case(
        "id,d; a,2024-01-05; b,2024-01-05 10:00; c,2024-01-05T10:00Z; d,2024-01-05T10:00+02:00",
        "id,d; a,2024-01-05 00:00; b,2024-01-05; c,2024-01-05T12:00+02:00; d,2024-01-05T10:00Z",
        rules=(Rule(), Rule(type=ColumnType.DATE)),
    ),
    case("id,v; ,1; A,2; b,3", "id,v; ,2; a,2; b,4"),
    case("id,v,w; k,1,a; k,2,b; k,3,c; l,1,1", "id,v,w; k,3,x; k,2,b; k,1,y; l,1,1"),
    case("id,v,w; k,1,a; k,1,b; k,1,c", "id,v,w; k,1,z; k,1,b; k,1,x; k,2,y"),
    case("id,v,w; k,1,a; k,2,b; l,1,1; l,2,2", "id,v,w; k,2,x; k,3,a; l,9,9; l,8,8; l,7,7"),
    case("id,v; k,1; k,1; k,1; m,1", "id,v; k,1; m,1; m,1"),
    case("id,v; k,1; k,1; k,1; m,1; n,1; o,1; p,1; q,1", "id,v; k,1; m,1; m,1; n,1; o,1; p,1; q,1"),
    case("id,v; a,x y; b,_ x_; c,na; d,NA", "id,v; a,xy; b,x; c,; d,", nulls=("na",), rules=(Rule(), Rule(ignore_space=True))),
    case("id,v; 9,1; 10,1; 100,1", "id,v; 9,2; 10,2; 100,2; x,1", rules=(NUMBER,)),
    case("id,v; a,9007199254740993; b,10; c,-5", "id,v; a,9007199254740992; b,11; c,5", rules=(Rule(), NUMBER)),
    case(
        "id,v; -0,1; 1e-400,1; -1e-400,1; 1e-500,1; -1e-500,1",
        "id,v; -0,2; 1e-400,2; -1e-400,2; 1e-500,2; -1e-500,2",
        rules=(replace(NUMBER, by_value=True),),
    ),
]


def agrees() -> bool:
    """Whether engine and judge agree on all evidence, of which one row tells what to expect; a fault may also stop the engine."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("diffing.engines.duckdb.SAMPLE", 1)
            for each in EVIDENCE:
                assert_agrees(each)
    except Exception:
        return False
    except AssertionError:
        return False
    return True


def edit(function: Callable[..., str], what: str, by: str) -> Callable[..., str]:
    """The function with a piece of the SQL it writes replaced."""
    return lambda *args, **more: function(*args, **more).replace(what, by)


def spelled(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    monkeypatch.setattr("diffing.engines.duckdb.DUCKDB", replace(DUCKDB, **changes))  # type: ignore[arg-type]


def sql(monkeypatch: pytest.MonkeyPatch, name: str, what: str, by: str) -> None:
    monkeypatch.setattr(Sql, name, edit(getattr(Sql, name), what, by))


FAULTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "doubles": lambda m: sql(m, "_number_code", "DECIMAL(38,18)", "DOUBLE"),
    "tolerance for whole numbers": lambda m: sql(m, "_near_decimals", "coalesce(regexp_matches(", "coalesce(TRUE OR regexp_matches("),
    "no tolerance for whole numbers": lambda m: m.setattr(Sql, "_near_decimals", _with_fraction(Sql._near_decimals)),
    "null is zero": lambda m: m.setattr(Sql, "code", _null_is_zero(Sql.code)),
    "leading zeros": lambda m: (
        m.setattr(grammar, "DECIMAL", r"[+-]?[0-9]{1,20}(\.[0-9]{0,18})?"),
        m.setattr(grammar, "NUMBER", r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?"),
    )[0],
    "time of day": lambda m: sql(m, "instant", "AS TIMESTAMP) AS VARCHAR", "AS DATE) AS VARCHAR"),
    "offset": lambda m: sql(m, "instant", "AS TIMESTAMPTZ) AS VARCHAR", "AS TIMESTAMP) AS VARCHAR"),
    "null matches no null": lambda m: sql(m, "same_key", "IS NOT DISTINCT FROM", "="),
    "keys ignore case": lambda m: m.setattr(Sql, "same_key", _lower_keys(Sql.same_key)),
    "paired by rank": lambda m: m.setattr(matching, "MOST_PAIRS", 0),
    "cancelled all at once": lambda m: m.setattr(
        surplus,
        "without_partner",
        lambda old, new: (old[1][~np.isin(old[0], new[0])], new[1][~np.isin(new[0], old[0])]),
    ),
    "no order of texts": lambda m: m.setattr(matching, "_list_candidates", _unordered),
    "inner spaces": lambda m: spelled(m, trim=lambda text, characters: f"replace({text}, ' ', '')"),
    "null words ignore case": lambda m: m.setattr(Sql, "normal", _lower_words(Sql.normal)),
    "change turned round": lambda m: m.setattr(Sql, "number_change", _turned(Sql.number_change)),
    "decimals as doubles": lambda m: sql(m, "_decimal_code", "AS DECIMAL(17,0)", "AS DOUBLE"),
    "change of decimals turned round": lambda m: m.setattr(Sql, "decimal_change", _turned(Sql.decimal_change)),
    "nothing is unforeseen": lambda m: m.setattr(Sql, "unforeseen", lambda self: "FALSE"),
    "numbers ordered as text": lambda m: m.setattr(Sql, "_cell_order", lambda self, cell, pair: f"{cell} ASC NULLS FIRST"),
}


def _null_is_zero(code: Callable[..., str]) -> Callable[..., str]:
    return lambda self, old, new, pair: code(self, f"coalesce({old}, '0')", f"coalesce({new}, '0')", pair)


def _with_fraction(near: Callable[..., str]) -> Callable[..., str]:
    return lambda self, a, b, pair, *doubles: f"{a} LIKE '%.%' AND {near(self, a, b, pair, *doubles)}"


def _lower_keys(same_key: Callable[..., str]) -> Callable[..., str]:
    return lambda self, a, b: " AND ".join(f"lower({a}.{n}) IS NOT DISTINCT FROM lower({b}.{n})" for n in self.match_names())


def _lower_words(normal: Callable[..., str]) -> Callable[..., str]:
    return lambda self, cell, pair: normal(self, f"lower({cell})", pair) if pair.nulls else normal(self, cell, pair)


def _turned(change: Callable[..., str]) -> Callable[..., str]:
    return lambda self, old, new, pair: change(self, new, old, pair)


def _unordered(run: object) -> None:
    """The candidates of a repeated key, the last texts first among those that differ as much."""
    original(run)  # type: ignore[operator]
    run.execute(  # type: ignore[attr-defined]
        "CREATE OR REPLACE TEMP TABLE candidates AS SELECT * REPLACE (cost - 2 * (i * 1001 + j) AS cost) FROM candidates"
    )


original = matching._list_candidates


def test_without_a_fault_engine_and_judge_agree():
    assert agrees()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_noticed(fault, monkeypatch):
    FAULTS[fault](monkeypatch)
    assert not agrees()


def test_the_list_of_faults_is_complete():
    listed = [line for line in (__doc__ or "").splitlines() if line.strip()[:2].rstrip(".").isdigit()]
    assert len(listed) == len(FAULTS)
