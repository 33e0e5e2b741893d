"""Which columns could be the key, and how sure we are."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import duckdb
import pytest

from diffing.demo import write_demo
from diffing.engines import Watch
from diffing.errors import BadLinesError, Cancelled, ColumnNotFound, PlanError
from diffing.keys import KeySuggestion, guess_keys, matches_by_value, suggest_keys
from diffing.plan import Choices, make_plan
from diffing.records import BadLines
from diffing.sources import Source, open_source

FOLDER = Path(__file__).parents[1]
Write = Callable[..., Source]
"""Writes a file of some rows, or of a text, and describes it."""
CITIES = ("Bern", "Oslo", "Wien", "Rom", "Paris", "Lima", "Quito")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    (tmp_path / "work").mkdir()

    def written(name: str, content: str | bytes | Iterable[Sequence[object]]) -> Source:
        path = tmp_path / f"{name}.csv"
        if not isinstance(content, str | bytes):
            content = "".join(",".join(map(str, row)) + "\n" for row in content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return open_source(path, workdir=tmp_path / "work")

    return written


def keys(old: Source, new: Source, **more: object) -> list[tuple[str, ...]]:
    return [each.columns for each in suggested(old, new, **more)]


def suggested(old: Source, new: Source, **more: object) -> list[KeySuggestion]:
    return suggest_keys(old, new, workdir=old.path.parent / "work", **more)  # type: ignore[arg-type]


def by_value(old: Source, new: Source, *key: str, **more: object) -> tuple[str, ...]:
    return matches_by_value(old, new, key, workdir=old.path.parent / "work", **more)  # type: ignore[arg-type]


# --- which columns -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pair", "key"),
    [
        ("tests/data/airportsdata", ("icao",)),
        ("tests/data/ieee_oui", ("Assignment",)),
        ("tests/data/sam_cec_modules", ("Name",)),
        ("tests/data/unicode_data", ("c1",)),
        ("data/weather", ("location", "date")),
    ],
)
def test_the_key_of_a_real_table_is_the_first_suggestion(pair, key, tmp_path):
    paths = [next((FOLDER / pair).glob(f"{side}.*")) for side in ("old", "new")]
    old, new = (open_source(path, workdir=tmp_path) for path in paths)
    found = suggest_keys(old, new, workdir=tmp_path)
    assert found[0].columns == key
    assert found[0].verified


def test_a_key_of_many_columns_is_found_among_columns_that_say_the_same(tmp_path):
    write_demo(tmp_path, revenue_rows=1, c_revenue_rows=60_000)
    old, new = (open_source(tmp_path / f"c_revenue_{side}.csv", workdir=tmp_path) for side in ("old", "new"))
    best = suggest_keys(old, new, workdir=tmp_path)[0]
    assert (best.unique_old, best.unique_new) == (1.0, 1.0)
    assert {"cohort_id", "segment_value_id", "stat"} < set(best.columns)
    assert len({"cohort", "month_date", "month_nth"} & set(best.columns)) == 2
    assert len(best.columns) == 5


def test_few_columns_come_before_many(write):
    rows = [(i, i % 7, i // 7, f"word {i % 11}") for i in range(500)]
    table = write("old", [("id", "a", "b", "c"), *rows]), write("new", [("id", "a", "b", "c"), *reversed(rows)])
    assert keys(*table)[0] == ("id",)


def test_names_like_id_and_code_come_first(write):
    rows = [(f"x{i}", f"y{i}", f"z{i}", CITIES[i % 7]) for i in range(300)]
    table = [("price", "product_code", "label", "city"), *rows]
    assert keys(write("old", table), write("new", table))[0] == ("product_code",)


def test_without_telling_names_the_leftmost_column_comes_first(write):
    rows = [(f"x{i}", f"y{i}", CITIES[i % 7]) for i in range(300)]
    table = [("one", "two", "three"), *rows]
    assert keys(write("old", table), write("new", table))[0] == ("one",)


def test_numbers_with_fractions_are_taken_last(write):
    rows = [(f"{i}.5", CITIES[i % 7], f"2024-01-{i // 7 + 1:02}", "x") for i in range(210)]
    table = [("amount", "city", "day", "kind"), *rows]
    assert keys(write("old", table), write("new", table))[0] == ("city", "day")


def test_an_id_in_the_last_of_two_hundred_columns_is_found(write):
    rng = random.Random(1)
    table = [
        [*(f"m{i}" for i in range(199)), "article"],
        *([*(rng.randrange(5) for _ in range(199)), f"A{i}"] for i in range(400)),
    ]
    assert keys(write("old", table), write("new", table))[0] == ("article",)


def test_a_key_of_two_columns_is_found_among_two_hundred(write):
    rng = random.Random(6)
    rows = [[i // 20 if at == 100 else i % 20 if at == 180 else rng.randrange(5) for at in range(200)] for i in range(400)]
    table = [[f"m{i}" for i in range(200)], *rows]
    assert keys(write("old", table), write("new", table))[0] == ("m100", "m180")


def test_repeated_names_and_names_that_are_sql_are_suggested_as_they_are(write):
    rows = [(i % 20, i // 20, '"""; DROP TABLE cells; --"', i % 3) for i in range(400)]
    table = [["v", "v", '"say ""hi"""', "'; --"], *rows]
    assert keys(write("old", table), write("new", table))[0] == ("v", "v (2)")


def test_a_renamed_column_is_suggested_by_its_new_name(write):
    old = write("old", [("nr", "city"), *((i, CITIES[i % 7]) for i in range(100))])
    new = write("new", [("city", "number"), *((CITIES[i % 7], i) for i in range(100))])
    assert keys(old, new, rename={"nr": "number"})[0] == ("number",)


def test_an_ignored_column_is_not_suggested(write):
    table = [("id", "code", "city"), *((i, f"c{i}", CITIES[i % 7]) for i in range(100))]
    assert keys(write("old", table), write("new", table), ignore=["id"])[0] == ("code",)


def test_suggestions_make_a_plan(write):
    table = [("id", "city"), *((i, CITIES[i % 7]) for i in range(50))]
    old, new = write("old", table), write("new", table)
    assert [pair.name for pair in make_plan(old, new, Choices(key=keys(old, new)[0])).key] == ["id"]


def test_no_more_suggestions_than_asked_for(write):
    table = [("id", "code", "key"), *((i, f"c{i}", f"k{i}") for i in range(50))]
    old, new = write("old", table), write("new", table)
    assert len(keys(old, new)) == 3
    assert keys(old, new, most=1) == keys(old, new)[:1]


# --- not by uniqueness alone ---------------------------------------------------------------------


def test_numbers_of_rows_are_no_key(write):
    people = [(f"P{i * 37 % 1000:03}", CITIES[i % 7], i % 50) for i in range(1000)]
    old = write("old", [("row", "person", "city", "age"), *((i, *each) for i, each in enumerate(people))])
    new = write("new", [("row", "person", "city", "age"), *((i, *each) for i, each in enumerate([("new", "Bern", 1), *people]))])
    assert keys(old, new)[0] == ("person",)


def stock() -> list[tuple[object, ...]]:
    """What each of forty shops has of each of a hundred things."""
    rng = random.Random(5)
    return [(f"S{i // 100:02}", f"K{i % 100:03}", rng.randrange(100)) for i in range(4000)]


def numbered(name: str, rows: Iterable[Sequence[object]]) -> list[Sequence[object]]:
    return [(name, "store", "sku", "left"), *((i, *each) for i, each in enumerate(rows))]


@pytest.mark.parametrize("gone", [400, 3200, 3800])
@pytest.mark.parametrize("name", ["", "Unnamed: 0", "row", "#"])
def test_numbers_of_rows_are_no_key_wherever_a_row_is_gone(name, gone, write):
    rows = stock()
    old, new = write("old", numbered(name, rows)), write("new", numbered(name, [*rows[:gone], *rows[gone + 1 :]]))
    assert keys(old, new)[0] == ("store", "sku")


def test_numbers_of_rows_come_after_a_key_that_needs_more_columns(write):
    old, new = write("old", numbered("index", stock())), write("new", numbered("index", stock()))
    assert keys(old, new)[0] == ("store", "sku")


def test_an_id_that_is_given_anew_from_a_removed_row_on_is_no_key(write):
    rows = stock()
    old, new = write("old", numbered("id", rows)), write("new", numbered("id", [*rows[:400], *rows[401:]]))
    assert keys(old, new)[0] == ("store", "sku")


def test_an_id_that_counts_from_one_and_stays_with_its_row_is_the_key(write):
    rows = [(i, f"2024-01-{i % 28 + 1:02}", f"C{i * 7 % 400}", i % 5) for i in range(1, 3000)]
    header = ("id", "date", "customer", "items")
    assert keys(write("old", [header, *rows]), write("new", [header, *rows[:-9]]))[0] == ("id",)


def test_what_is_measured_is_no_key_even_if_whole_numbers_of_it_do_not_repeat(write):
    rng = random.Random(3)
    rows = [(f"2024-01-{day:02}", f"DE{i:04}", market, rng.randrange(10**6)) for day in range(1, 29) for i in range(40) for market in "XF"]
    header = ("date", "isin", "exchange", "volume")
    assert keys(write("old", [header, *rows]), write("new", [header, *rows[5:]]))[0] == ("date", "isin", "exchange")


def test_numbers_of_rows_are_not_suggested_where_nothing_else_is_unique(write):
    rng = random.Random(2)
    things = [(rng.choice(CITIES), rng.choice("abc"), rng.randrange(4)) for _ in range(1000)]
    old = write("old", [("row", "city", "kind", "size"), *((i, *each) for i, each in enumerate(things))])
    new = write("new", [("row", "city", "kind", "size"), *((i, *each) for i, each in enumerate([("Bern", "a", 1), *things]))])
    assert keys(old, new) == []


def test_an_id_made_anew_by_each_export_is_no_key(write):
    rows = [(f"T{i}", CITIES[i % 7], i % 9) for i in range(500)]
    old = write("old", [("id", "ticket", "city", "n"), *((f"{i:06x}", *each) for i, each in enumerate(rows))])
    new = write("new", [("id", "ticket", "city", "n"), *((f"{i + 9999:06x}", *each) for i, each in enumerate(rows))])
    assert keys(old, new)[0] == ("ticket",)


def test_a_few_repeated_keys_do_not_make_a_long_text_part_of_the_key(write):
    streets = (f"{i} Long Street, in some town, in some country, postcode {i % 77}" for i in range(3000))
    rows = [(f"00{i:04X}", f"Company {i % 900}", street) for i, street in enumerate(streets)]
    header = ("Assignment", "Organization", "Address")
    old = write("old", [[f'"{cell}"' for cell in row] for row in (header, *rows, ("000007", "Company 1", "Elsewhere"))])
    moved = [(a, o, f"{x}, moved" if i % 20 == 0 else x) for i, (a, o, x) in enumerate(rows)]
    new = write("new", [[f'"{cell}"' for cell in row] for row in (header, *moved, ("000007", "Company 1", "Elsewhere"))])
    best = suggested(old, new)[0]
    assert best.columns == ("Assignment",)
    assert best.unique_old == pytest.approx(2999 / 3001)


def test_rows_that_are_there_twice_do_not_hide_the_key(write):
    rows = [(i, CITIES[i % 7], i % 5) for i in range(200)]
    table = [("id", "city", "n"), *rows, *rows[:40]]
    best = suggested(write("old", table), write("new", table))[0]
    assert best.columns == ("id",)
    assert best.unique_old == pytest.approx(160 / 240)


def test_what_looks_unique_in_a_sample_is_checked_on_the_whole_files(write):
    """Within each stretch of the file `code` is unique; the same codes come again in the next."""
    rows = [(i % 5000, i // 5000, f"some words {i % 11} to make the file large enough") for i in range(60_000)]
    table = [("code", "batch", "text"), *rows]
    best = suggested(write("old", table), write("new", [table[0], *sorted(rows)]))[0]
    assert best.columns == ("code", "batch")
    assert (best.rows_old, best.unique_old, best.unique_new) == (60_000, 1.0, 1.0)


def test_a_guess_reads_samples_only_and_says_so(write, monkeypatch):
    def no_reading(*given: object) -> None:
        raise AssertionError("The whole files are read.")

    monkeypatch.setattr("diffing.keys._connected", no_reading)
    old, new = ([("id", "v"), *((i, i % 7) for i in range(first, first + 30_000))] for first in (1, 20))
    best = guess_keys(write("old", old), write("new", new))[0]
    assert (best.columns, best.verified) == (("id",), False)
    assert best.in_words == "In a sample, `id` names every row in both files"


def test_nothing_identifies_the_rows(write):
    rng = random.Random(3)
    table = [("city", "kind"), *((rng.choice(CITIES), rng.choice("abc")) for _ in range(300))]
    assert keys(write("old", table), write("new", table)) == []


def test_numbers_that_were_measured_anew_identify_nothing(write):
    rng = random.Random(5)
    rows = [[round(rng.gauss(0, 9), 1) for _ in range(6)] for _ in range(4000)]
    again = [[x if rng.random() < 0.7 else round(rng.gauss(0, 9), 1) for x in row] for row in rows]
    header = [f"x{i}" for i in range(6)]
    assert keys(write("old", [header, *rows]), write("new", [header, *again])) == []


def test_all_columns_together_are_no_key(write):
    table = [("city", "n"), *((city, n) for city in CITIES for n in range(20))]
    assert keys(write("old", table), write("new", table)) == []


# --- how sure ------------------------------------------------------------------------------------


def test_overlap_is_the_share_of_the_keys_of_the_smaller_file(write):
    old = write("old", [("id", "city"), *((i, CITIES[i % 7]) for i in range(100))])
    new = write("new", [("id", "city"), *((i, CITIES[i % 7]) for i in range(20, 400))])
    best = suggested(old, new)[0]
    assert (best.columns, best.overlap) == (("id",), 0.8)
    assert best.in_words == "`id` names every row in both files; 80.0% of the keys are in both files"


def test_empty_key_cells_are_counted(write):
    rows = [(a, b, i) for a in ("", *CITIES) for i, b in enumerate(("", "x", "y"))]
    table = [("city", "kind", "n"), *((city, kind, "z") for city, kind, _ in rows)]
    best = suggested(write("old", table), write("new", table[:-1]))[0]
    assert best.columns == ("city", "kind")
    assert (best.null_rows_old, best.null_rows_new) == (10, 10)
    assert best.in_words.endswith("10 old and 10 new rows have an empty key cell")


def test_files_without_a_key_in_common_still_have_a_key(write):
    old = write("old", [("id", "city"), *((i, CITIES[i % 7]) for i in range(100))])
    new = write("new", [("id", "city"), *((i, CITIES[i % 7]) for i in range(200, 300))])
    assert suggested(old, new)[0].in_words == "`id` names every row in both files; none of the keys is in both files"


def test_a_key_in_words():
    sure = {"rows_old": 30_082, "rows_new": 35_816, "null_rows_old": 0, "null_rows_new": 0, "verified": True}
    twice = KeySuggestion(("Assignment",), unique_old=30_077 / 30_082, unique_new=1.0, overlap=0.99997, **sure)
    assert twice.in_words == (
        "`Assignment` names all but 5 of 30,082 old rows and all 35,816 new rows; 99.9% of the keys are in both files"
    )
    three = KeySuggestion(("a", "b", "c"), unique_old=1.0, unique_new=1.0, overlap=1.0, **sure | {"verified": False})
    assert three.in_words == "In a sample, `a`, `b` and `c` name every row in both files"
    rare = KeySuggestion(("a", "b"), unique_old=1.0, unique_new=1.0, overlap=0.0004, **sure)
    assert rare.in_words == "`a` and `b` name every row in both files; less than 0.1% of the keys are in both files"


# --- any file ------------------------------------------------------------------------------------


def test_a_file_without_rows_does_not_stop_the_advice(write):
    rows = [("id", "city"), *((i, CITIES[i % 7]) for i in range(30))]
    for empty in ([("id", "city")], ""):
        best = suggested(write("old", empty), write("new", rows))[0]
        assert (best.columns, best.rows_old, best.unique_old, best.overlap) == (("id",), 0, 1.0, 0.0)
        assert best.in_words == "`id` names every row in both files"
    assert suggested(write("old", [("id", "city")]), write("new", [("id", "city")])) == []
    assert suggested(write("old", ""), write("new", "")) == []


def test_one_row_is_named_by_its_first_column(write):
    assert keys(write("old", "a,b\n1,2\n"), write("new", "a,b\n1,3\n"))[0] == ("a",)


def test_a_column_alone_can_be_the_key(write):
    assert keys(write("old", "id\n1\n2\n3\n"), write("new", "id\n2\n3\n4\n")) == [("id",)]


def test_parquet_and_csv_are_read_alike(write, tmp_path):
    path = tmp_path / "new.parquet"
    duckdb.sql("SELECT i AS id, i % 7 AS n, DATE '2024-01-01' + (i % 5)::INT AS d FROM range(1000) t(i)").write_parquet(str(path))
    new = open_source(path, workdir=tmp_path)
    old = write("old", [("id", "n", "d"), *((i, i % 7, f"2024-01-0{i % 5 + 1}") for i in range(1000))])
    best = suggested(old, new)[0]
    assert (best.columns, best.overlap, best.rows_new) == (("id",), 1.0, 1000)


def test_two_spellings_of_a_number_are_one_key(write):
    old = write("old", [("id", "city"), *((i, CITIES[i % 7]) for i in range(100))])
    new = write("new", [("id", "city"), *((f"{i}.0", CITIES[i % 7]) for i in range(100))])
    assert (suggested(old, new)[0].columns, suggested(old, new)[0].overlap) == (("id",), 1.0)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_any_line_end_and_encoding_is_read(line_end, encoding, write):
    lines = ["nr;größe", *(f"{i};ä{i % 3}" for i in range(300))]
    old, new = write("old", line_end.join(lines).encode(encoding)), write("new", "\n".join([*lines, ""]))
    best = suggested(old, new)[0]
    assert (best.columns, best.rows_old, best.rows_new, best.overlap) == (("nr",), 300, 300, 1.0)


def test_bad_lines_do_not_stop_the_advice(write):
    lines = ["id,city", *(f"{i},{CITIES[i % 7]}" for i in range(300)), "short", "too,long,by far", '7,"never closed']
    best = suggested(write("old", "\n".join(lines)), write("new", "\n".join(lines[:200])))[0]
    assert (best.columns, best.rows_old, best.rows_new) == (("id",), 300, 199)


def test_bad_lines_do_not_stop_the_advice_about_a_large_file(write):
    text = "x" * 100
    rows = [f"{i},{CITIES[i % 7]},{text}" for i in range(160_000)]
    lines = ["id,city,text", *rows[:80_000], "short", "too,long,by,far", '"a"b,c,5" disk', *rows[80_000:]]
    best = suggested(write("old", "\n".join(lines)), write("new", "\r\n".join(["id,city,text", *reversed(rows)])))[0]
    assert best.columns == ("id",)
    assert best.rows_new == 160_000
    assert best.rows_old == pytest.approx(160_000, abs=5)
    assert best.overlap > 0.999


def test_the_same_files_give_the_same_suggestions(write):
    rng = random.Random(4)
    rows = [(rng.randrange(40), rng.randrange(40), rng.randrange(40), rng.randrange(9), rng.choice(CITIES)) for _ in range(5000)]
    old, new = write("old", [("a", "b", "c", "d", "e"), *rows]), write("new", [("a", "b", "c", "d", "e"), *sorted(rows)])
    assert len({tuple(suggested(old, new)) for _ in range(3)}) == 1


def test_nothing_is_left_in_the_work_folder(write, tmp_path):
    table = 'id,city\n1,a\n2,5" disk\n3,c\n'
    suggested(write("old", table), write("new", table))
    assert list((tmp_path / "work").iterdir()) == []


def test_files_that_can_not_be_read_to_the_end_are_judged_by_a_sample(write, tmp_path):
    old = write("old", [("id", "city"), *((i, CITIES[i % 7]) for i in range(30))])
    (tmp_path / "a file").write_text("no folder")
    found = suggest_keys(old, old, workdir=tmp_path / "a file")
    assert [(each.columns, each.verified, each.rows_old) for each in found] == [(("id",), False, 30)]


def test_files_without_a_column_in_common_have_no_key(write):
    with pytest.raises(PlanError, match="no column in common"):
        suggested(write("old", "a,b\n1,2\n"), write("new", "c,d\n1,2\n"))


def test_a_search_says_where_it_is_and_can_be_stopped(write):
    table = [("id", "city"), *((i, CITIES[i % 7]) for i in range(30))]
    old, new = write("old", table), write("new", table)
    said: list[str] = []
    watch = Watch(report=lambda stage, share: said.append(stage))
    suggested(old, new, watch=watch)
    assert said[0] == "looking for a key in a sample"
    assert said[-1] == "checking the key on the whole files"
    watch.cancelled.set()
    with pytest.raises(Cancelled):
        suggested(old, new, watch=watch)


# --- keys by value -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["1", "20", "-3", ""], ["1.0", "20.00", "", "-3."]),
        (["2024-01-05", ""], ["2024-01-05 00:00:00", "2024-01-06T00:00"]),
    ],
)
def test_two_spellings_of_all_keys_match_by_value(one, other, write):
    a = write("a", [("id", "x"), *((each, "x") for each in one)])
    b = write("b", [("id", "x"), *((each, "x") for each in other)])
    assert by_value(a, b, "id") == by_value(b, a, "id") == ("id",)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["1", "2"], ["1", "2"]),
        (["1", "2"], ["1.0", "2.5"]),
        (["1", "2"], ["1.0", "2"]),
        (["1", "002"], ["1.0", "2.0"]),
        (["1.0", "2.00"], ["1.00", "2.0"]),
        (["", ""], ["1.0", "2.0"]),
        (["2024-01-05"], ["2024-01-05 00:01"]),
        (["2024-01-05", "2024-01-06"], ["2024-01-05 00:00", "2024-01-06"]),
        (["2024-01-05"], ["1.0"]),
    ],
)
def test_any_other_keys_match_as_text(one, other, write):
    a = write("a", [("id", "x"), *((each, "x") for each in one)])
    b = write("b", [("id", "x"), *((each, "x") for each in other)])
    assert by_value(a, b, "id") == by_value(b, a, "id") == ()


def test_one_cell_that_no_sample_shows_keeps_the_key_a_text(write):
    words = "some words to make the file too large to be sampled whole"
    old = write("old", [("id", "words"), *((i, words) for i in range(40_000))])
    rows = [(f"{i}.0", words) for i in range(40_000)]
    assert by_value(old, write("new", [("id", "words"), *rows]), "id") == ("id",)
    new = write("new", [("id", "words"), *rows[:21_000], ("A7", words), *rows[21_001:]])
    assert new.columns[0].shape == "whole decimal"
    assert by_value(old, new, "id") == ()


def test_only_key_columns_are_asked_about(write):
    old = write("old", "id,n,day\n1,1,2024-01-05\n")
    new = write("new", "id,n,day\n1.0,1.0,2024-01-05 00:00\n")
    assert by_value(old, new, "day", "id") == ("day", "id")
    assert by_value(old, new) == ()


def test_a_renamed_key_can_match_by_value(write):
    old, new = write("old", "nr,x\n1,a\n"), write("new", "x,number\na,1.0\n")
    assert by_value(old, new, "number", rename={"nr": "number"}) == ("number",)
    assert by_value(old, new, "nr", rename={"nr": "number"}) == ("number",)


def test_a_key_of_a_parquet_file_can_match_by_value(write, tmp_path):
    path = tmp_path / "new.parquet"
    duckdb.sql("SELECT i::DOUBLE AS id, 'x' AS x FROM range(100) t(i)").write_parquet(str(path))
    old = write("old", [("id", "x"), *((i, "x") for i in range(100))])
    assert by_value(old, open_source(path, workdir=tmp_path), "id") == ("id",)


def test_the_key_cells_of_filled_lines_count_where_lines_are_filled(write):
    old, new = write("old", "id,a\n1,x\n2,x\n"), write("new", "id,a\n1.0,x\n2.0,x\nA7\n")
    assert by_value(old, new, "id") == ("id",)
    assert by_value(old, new, "id", bad_lines=BadLines.FILL) == ()
    long = write("new", "id,a\n1.0,x\n2.0,x\nA7,x,y\n")
    with pytest.raises(BadLinesError):
        by_value(old, long, "id", bad_lines=BadLines.FILL)


def test_a_key_that_is_no_column_is_refused(write):
    table = write("old", "id,a\n1,x\n")
    with pytest.raises(ColumnNotFound, match="idd"):
        by_value(table, table, "idd")


def test_keys_that_can_only_match_as_text_are_known_without_reading_the_files():
    script = (
        "import sys; from pathlib import Path; from tempfile import TemporaryDirectory\n"
        "from diffing.keys import matches_by_value; from diffing.sources import open_source\n"
        "with TemporaryDirectory() as folder:\n"
        "    path = Path(folder, 'a.csv'); path.write_text('id,x\\n1,2.0\\n')\n"
        "    source = open_source(path, workdir=Path(folder))\n"
        "    assert matches_by_value(source, source, ['id'], workdir=Path(folder)) == ()\n"
        "assert 'duckdb' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=FOLDER)
