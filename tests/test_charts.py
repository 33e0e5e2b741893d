"""Do charts show what the views counted, lead to the rows they count, and take no text for markup?"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

import plotly.graph_objects as go
import pytest

from diffing import charts, views
from diffing.charts import Chart, clicked
from diffing.grammar import ColumnType
from diffing.result import Change, ColumnSummary, Result, SideSummary, Summary
from diffing.views import Bin, Bucket, Condition, Distribution, Fates, Filter, TimeCounts, ValueCounts
from tests.test_views import Table, compared

CHANGED, ADDED, REMOVED = charts.DIFFERING


def summary(added: int = 0, removed: int = 0, changed: int = 0, unchanged: int = 0) -> Summary:
    side = SideSummary("a.csv", 0, 0, 0, (), 0, 0, 0, {})
    return Summary(side, side, added, removed, changed, unchanged, changed, (), {}, (), (), (), {}, (), (), (), {})


def number_column(name: str, old: str | None = None, new: str | None = None, change: str | None = None) -> ColumnSummary:
    return ColumnSummary(name, ColumnType.NUMBER, 1, 0.5, {}, change, 0, old, new)


def bars(chart: Chart) -> list[Any]:
    return list(chart.figure.data)


def hovers(chart: Chart) -> list[str]:
    return [text for bar in bars(chart) for text in bar.hovertext]


def labels(chart: Chart) -> list[str]:
    return list(chart.figure.layout.yaxis.ticktext)


# --- what became of the rows ---------------------------------------------------------------------


def test_the_rows_are_one_bar_with_a_colour_per_fate():
    chart = charts.rows_chart(summary(added=5, removed=4, changed=14_841, unchanged=980_180))
    assert [(bar.name, bar.x[0], bar.marker.color) for bar in bars(chart)] == [
        ("~ 14,841 changed", 14_841, "#0072B2"),
        ("+ 5 added", 5, "#009E73"),
        ("− 4 removed", 4, "#D55E00"),
        ("= 980,180 unchanged", 980_180, "#9E9E9E"),
    ]
    assert chart.alt == "14,841 rows changed (1.5%), 5 rows added (<0.1%), 4 rows removed (<0.1%), 980,180 rows unchanged (98.5%)."
    assert chart.question == "What became of the rows?"


def test_a_fate_that_nothing_met_is_not_drawn():
    assert [bar.name for bar in bars(charts.rows_chart(summary(added=1)))] == ["+ 1 added"]
    assert charts.rows_chart(summary()).alt == "There are no rows."


def test_a_share_is_all_or_nothing_only_if_it_is_exactly():
    assert charts.rows_chart(summary(changed=1, unchanged=10**6)).alt == "1 row changed (<0.1%), 1,000,000 rows unchanged (>99.9%)."


def test_a_fate_leads_to_its_rows_but_unchanged_rows_are_not_kept():
    chart = charts.rows_chart(summary(removed=4, unchanged=9))
    assert [clicked(bar.customdata[0]) for bar in bars(chart)] == [Filter(changes=(REMOVED,)), None]


# --- which columns changed -----------------------------------------------------------------------


def test_columns_are_drawn_from_the_most_changed_on_and_the_rest_together():
    chart = charts.columns_chart({f"n{i}": i for i in range(30)}, rows=100)
    (bar,) = bars(chart)
    assert labels(chart) == [f"n{i}" for i in range(29, 19, -1)] + ["19 other columns"]
    assert (bar.x[0], bar.x[-1]) == (29, sum(range(20)))
    assert clicked(bar.customdata[0]) == Filter(changed_columns=("n29",))
    assert clicked(bar.customdata[10]) is None
    assert bar.hovertext[0] == "n29: 29 changed cells (29% of the rows)"
    assert chart.alt == "29 columns changed. Changed cells: n29 29, n28 28, n27 27."


def test_where_no_column_changed_the_chart_says_so():
    assert charts.columns_chart({"a": 0}).alt == "No column changed."


# --- totals --------------------------------------------------------------------------------------


def test_totals_are_shown_old_and_new_with_how_far_they_moved():
    chart = charts.totals_chart([number_column("price", "100100000", "100900800.5"), number_column("qty", "10", "5")])
    assert labels(chart) == ["qty<br>10 → 5", "price<br>100.1 M → 100.9 M"]
    assert list(bars(chart)[0].text) == ["−50.0%", "+0.8%"]
    assert hovers(chart)[1] == "price: 100,100,000 → 100,900,800.5 (+0.8%)"
    assert list(bars(chart)[0].x) == [-50.0, pytest.approx(0.8, abs=1e-6)]
    assert chart.question == "How did the totals move?"


def test_as_long_as_totals_are_not_known_the_sum_of_changes_is_shown():
    chart = charts.totals_chart([number_column("price", change="12345.5"), number_column("qty", change="-3"), number_column("n")])
    assert labels(chart) == ["price", "qty", "n"]
    assert list(bars(chart)[0].text) == ["+12,346", "−3", "no total"]
    assert list(bars(chart)[0].x) == [0, 0, 0]
    assert chart.question == "What do the changes add up to?"


def test_a_total_that_was_zero_moved_by_no_percentage():
    assert said(number_column("n", "0", "7")) == ("n<br>0 → 7", "+7")
    assert said(number_column("n", "-200", "-100")) == ("n<br>−200 → −100", "+50.0%")
    assert said(number_column("n", "3", "3")) == ("n<br>3 → 3", "no change")


@pytest.mark.parametrize(
    ("old", "new", "label"),
    [
        ("14401221", "14417300", "14.40 M → 14.42 M"),
        ("999999", "1000001", "999,999 → 1.0 M"),
        ("1000000", "1000001", "1,000,000 → 1,000,001"),
        ("5000.1", "5000.4", "5,000.1 → 5,000.4"),
        ("0.12341", "0.12342", "0.12341 → 0.12342"),
        ("0.00012341", "0.00012342", "0.00012341 → 0.00012342"),
        ("123456789012.5", "123456789012.6", "123.5 bn → 123.5 bn"),
        ("1000000", "1000000", "1.0 M → 1.0 M"),
    ],
)
def test_totals_that_differ_a_little_are_written_with_more_digits(old, new, label):
    assert said(number_column("n", old, new))[0] == f"n<br>{label}"


def said(column: ColumnSummary) -> tuple[str, str]:
    """What stands beside the bar of a column, and at its end."""
    chart = charts.totals_chart([column])
    return labels(chart)[0], bars(chart)[0].text[0]


def test_a_total_that_came_from_nothing_is_shown_before_those_that_moved_a_little():
    chart = charts.totals_chart([number_column("still", "1", "1"), number_column("up", "10", "11"), number_column("new", "0", "5")])
    assert [label.partition("<br>")[0] for label in labels(chart)] == ["new", "up", "still"]


def test_where_totals_do_not_all_fit_those_that_moved_are_shown():
    still, moved = [number_column(f"n{i}", "5", "5") for i in range(8)], [number_column("up", "10", "11"), number_column("down", "10", "5")]
    assert [each.name for each in charts.most_moved([*still, *moved])] == ["down", "up"]
    assert [each.name for each in charts.most_moved(still)] == [f"n{i}" for i in range(7)]
    assert [each.name for each in charts.most_moved([*still[:2], *moved])] == ["down", "up", "n0", "n1"]
    many = [number_column(f"m{i}", "100", str(101 + i)) for i in range(9)]
    assert [each.name for each in charts.most_moved([*still, *many])] == [f"m{i}" for i in range(8, 1, -1)]


def test_a_single_size_of_change_is_a_bar_among_others_that_are_empty():
    chart = charts.distribution_chart(Distribution("n", (Bin("1", "2", 5),), False, True, 0))
    low, high = chart.figure.layout.xaxis.range
    assert high - low == charts.FEWEST_BINS and low + high == 0


def test_text_columns_have_no_total():
    text = replace(number_column("t"), type=ColumnType.TEXT)
    assert charts.totals_chart([text]).alt == "There is no column of numbers."


# --- how large -----------------------------------------------------------------------------------


def test_changes_are_drawn_by_size_and_lead_to_their_rows():
    bins = (Bin("-5", "0", 1200), Bin("0", "5", 3), Bin("5", "10", 2))
    chart = charts.distribution_chart(Distribution("price", bins, False, False, 0))
    assert hovers(chart) == ["down by at most 5: 1,200 rows", "up by less than 5: 3 rows", "up by 5 to 10: 2 rows"]
    expected = Filter(changes=(CHANGED,), changed_columns=("price",), change_between=("price", "-5", "0"))
    assert clicked(bars(chart)[0].customdata[0]) == expected
    assert list(chart.figure.layout.xaxis.ticktext) == ["−5", "0", "+5", "+10"]
    assert chart.alt == "1,205 rows: 5 up, 1,200 down. Most often down by at most 5."


def test_whole_changes_are_named_one_by_one():
    chart = charts.distribution_chart(Distribution("n", (Bin("-1", "0", 2), Bin("0", "1", 0), Bin("1", "2", 1)), False, True, 0))
    assert hovers(chart) == ["down by 1: 2 rows", "up by 0: 0 rows", "up by 1: 1 row"]
    assert list(chart.figure.layout.xaxis.tickvals) == [0, 1, 2]


def test_where_no_number_changed_the_chart_says_so():
    assert charts.distribution_chart(Distribution("price", (), False, False, 0)).alt == "No number changed."


# --- when and where ------------------------------------------------------------------------------


def test_time_is_stacked_by_fate_and_leads_to_its_rows():
    weeks = (
        Bucket(date(2024, 1, 1), date(2024, 1, 7), Fates(added=2, changed=1000)),
        Bucket(date(2024, 1, 8), date(2024, 1, 14), Fates(added=1)),
    )
    chart = charts.time_chart(TimeCounts("day", "week", weeks, Fates(removed=3)))
    assert [(bar.name, list(bar.y)) for bar in bars(chart)] == [("~ changed", [1000, 0]), ("+ added", [2, 1])]
    assert bars(chart)[0].hovertext[0] == "2024-01-01 to 2024-01-07: 1,000 rows changed"
    within = Condition("day", views.Test.BETWEEN, ("2024-01-01", "2024-01-07"))
    assert clicked(bars(chart)[1].customdata[0]) == Filter(changes=(ADDED,), conditions=(within,))
    assert chart.question == "When are the changes, by “day” per week?"
    assert chart.alt == "Most in 2024-01-01 to 2024-01-07: 1,000 changed, 2 added. 3 rows without a date."


def test_values_are_stacked_by_fate_and_lead_to_their_rows():
    chart = charts.values_chart(
        ValueCounts("country", (("US", Fates(changed=5, removed=1)), (None, Fates(removed=2))), 12, Fates(removed=40))
    )
    assert labels(chart) == ["US", "(empty)", "12 other values"]
    changed, removed = bars(chart)
    assert (list(changed.x), list(removed.x)) == ([5, 0, 0], [1, 2, 40])
    assert clicked(changed.customdata[0]) == Filter(changes=(CHANGED,), conditions=(Condition("country", views.Test.EQUALS, ("US",)),))
    assert clicked(removed.customdata[1]) == Filter(changes=(REMOVED,), conditions=(Condition("country", views.Test.NULL),))
    assert clicked(removed.customdata[2]) is None


def test_a_click_on_nothing_is_no_filter():
    for nothing in (None, [], [""], "", [3], {"a": 1}, ["?"]):
        assert clicked(nothing) is None


# --- text from files -----------------------------------------------------------------------------

MARKUP = '<b>bold</b> & <a href="x">y</a> $x^2$'
SHOWN = '&lt;b&gt;bold&lt;/b&gt; &amp; &lt;a href="x"&gt;y&lt;/a&gt; &#36;x^2&#36;'
DAY = Bucket(date(2024, 1, 1), date(2024, 1, 1), Fates(added=1))


def test_markup_in_names_and_cells_is_shown_as_it_is_written():
    assert labels(charts.columns_chart({MARKUP: 1})) == [SHOWN]
    assert labels(charts.values_chart(ValueCounts("a", ((MARKUP, Fates(added=1)),), 0, Fates()))) == [SHOWN]
    assert labels(charts.totals_chart([number_column(MARKUP, "1", "1")])) == [f"{SHOWN}<br>1 → 1"]


@pytest.mark.parametrize(
    "chart",
    [
        charts.columns_chart({MARKUP: 1}),
        charts.totals_chart([number_column(MARKUP, "1", "2")]),
        charts.distribution_chart(Distribution(MARKUP, (Bin("0", "1", 1),), False, False, 0)),
        charts.time_chart(TimeCounts(MARKUP, "day", (DAY,), Fates())),
        charts.values_chart(ValueCounts(MARKUP, ((MARKUP, Fates(added=1)),), 0, Fates())),
    ],
)
def test_no_text_of_a_figure_holds_markup_from_a_file(chart):
    texts = hovers(chart) + list(chart.figure.layout.yaxis.ticktext or ()) + [bar.name or "" for bar in bars(chart)]
    assert not [text for text in texts if "<b>" in text or "<a" in text or "$" in text]


def test_long_text_is_cut_and_equal_beginnings_stay_apart():
    values = tuple((f"{'x' * 60}{i}", Fates(added=i + 1)) for i in range(3))
    chart = charts.values_chart(ValueCounts("a", values, 0, Fates()))
    assert labels(chart) == ["x" * 39 + "…"] * 3
    assert (list(bars(chart)[0].y), list(bars(chart)[0].x)) == ([0, 1, 2], [1, 2, 3])
    assert labels(charts.values_chart(ValueCounts("a", (("two\nlines", Fates(1)), ("\n", Fates(1))), 0, Fates()))) == ["two lines", "\n"]


# --- figures -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    old: Table = [["id", "day", "price", "country"], *([str(i), f"2024-01-{i % 28 + 1:02d}", f"{i}.5", f"c{i % 3}"] for i in range(60))]
    new = [old[0], *([row[0], row[1], f"{i * 1.25}", row[3]] for i, row in enumerate(old[5:])), ["99", "2024-02-02", "1", ""]]
    return compared(tmp_path_factory.mktemp("charts"), old, new, key=("id",))


@pytest.fixture(scope="module")
def every_chart(result: Result) -> list[Chart]:
    return [
        charts.rows_chart(result.summary),
        charts.columns_chart(views.changed_by_column(result), result.summary.changed),
        charts.totals_chart(result.summary.columns),
        charts.distribution_chart(views.distribution(result, "price")),
        charts.time_chart(views.over_time(result, "day")),
        charts.values_chart(views.by_value(result, "country")),
    ]


def test_every_bar_leads_to_as_many_rows_as_it_shows(result, every_chart):
    rows, columns, _, *others = every_chart
    for bar in [bar for chart in (rows, columns, *others) for bar in bars(chart)]:
        for length, data in zip(bar.x if bar.orientation == "h" else bar.y, bar.customdata):
            if (asked := clicked(data)) is not None:
                assert sum(views.count(result, asked).values()) == length


def test_figures_leave_ground_and_fonts_to_the_page(every_chart):
    for chart in every_chart:
        layout = chart.figure.layout
        assert (layout.paper_bgcolor, layout.plot_bgcolor) == ("rgba(0,0,0,0)", "rgba(0,0,0,0)")
        assert layout.font.color is None
        assert 40 <= layout.height <= 300
        assert isinstance(chart.figure, go.Figure)
        assert chart.alt
        assert chart.question.endswith("?")
        json.loads(chart.figure.to_json())


def test_fates_have_the_same_colour_in_all_charts(every_chart):
    colours = {(bar.name.split()[-1], bar.marker.color) for chart in every_chart for bar in bars(chart) if bar.name}
    assert colours == {(change.value, charts.COLOURS[change]) for change in Change}
