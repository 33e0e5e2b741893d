"""The pages of results, without a browser: what they say, and that the address decides what is shown."""

from __future__ import annotations

import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.testing.v1 import AppTest

from diffing.excel import DoesNotFit, write_xlsx
from diffing.jobs import JobState, Question
from diffing.plan import Choices
from diffing.result import Cell
from diffing.services import close_services, services
from diffing.views import CellPair, Change, Filter
from pages.components import table
from pages.components.fates import EMPTY, in_the_app, with_names
from pages.components.stale import Runs

PAGES = Path(__file__).parent.parent / "pages"
OWNER = "o" * 32
OLD = "id,city,price,note\n1,Rome,10,a\n2,Oslo,20.5,b\n3,Bern,30,c\n4,Lima,40,d\n"
NEW = "id,city,price,note\n1,Rome,11,a\n2,Oslo,20.5,**b** <i>x</i>\n4,Lima,40,d\n5,=1+1,50,e\n"


@pytest.fixture(autouse=True)
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFING_HOME", str(tmp_path / "store"))
    monkeypatch.setenv("DIFFING_METRICS", str(tmp_path / "metrics.toml"))
    close_services()
    yield services()
    close_services()


def uploaded(text: str, name: str) -> str:
    with services().uploads.receive(name, owner=OWNER) as receiving:
        receiving.write(text.encode())
        return receiving.keep().id


def compared(old: str = OLD, new: str = NEW):
    """A finished job over two uploaded files."""
    question = Question(uploads=(uploaded(old, "mon.csv"), uploaded(new, "tue.csv")), choices=Choices(key=("id",)))
    jobs = services().jobs
    return jobs.wait(jobs.submit(question, owner=OWNER).id, 20, totals=True)


def shown(page: str, **query: str) -> AppTest:
    at = AppTest.from_file(str(PAGES / page), default_timeout=30)
    for name, value in query.items():
        at.query_params[name] = value
    at.run()
    assert not at.exception, at.exception
    return at


def words(at: AppTest) -> str:
    return " ".join(str(each.proto.body if hasattr(each, "proto") else each) for each in at.get("html"))


def rows(at: AppTest) -> list[list[str]]:
    return at.dataframe[0].value.to_numpy().tolist()


def test_a_result_says_first_what_changed():
    at = shown("result.py", job=str(compared().id))
    assert "mon" in at.title[0].value
    assert "4 rows differ" in words(at)
    assert [at.button(key=f"answer_{change}").label for change in ("changed", "added", "removed")] == ["2 changed", "1 added", "1 removed"]
    assert "1 is the same" in words(at)


def test_a_number_of_the_answer_leads_to_its_rows():
    at = shown("result.py", job=str(compared().id), find="0", sort="price~new~asc")
    at.button(key="answer_removed").click().run()
    assert (at.query_params["fate"], at.query_params["find"]) == ("removed", "0")
    assert [line[0] for line in rows(at)] == ["−"]
    assert "scrollIntoView" in words(at)
    assert "scrollIntoView" not in words(at.run())


def test_the_diffed_csv_is_one_click_away():
    job = compared()
    assert f'href="/api/diffing/job/{job.id}" download' in words(shown("result.py", job=str(job.id)))


def test_cells_that_changed_show_old_and_new():
    found = rows(shown("result.py", job=str(compared().id)))
    assert found[0][:4] == ["~", "1", "10 → 11", "+1"]
    assert found[1][4] == "b → **b** <i>x</i>"
    assert [line[0] for line in found] == ["~", "~", "−", "+"]


def test_the_address_filters_sorts_and_shows_all_columns():
    job = str(compared().id)
    assert [line[1] for line in rows(shown("result.py", job=job, fate="removed"))] == ["3"]
    assert [line[1] for line in rows(shown("result.py", job=job, sort="price~_size~_desc"))] == ["5", "3", "1", "2"]
    assert "city" not in str(shown("result.py", job=job).dataframe[0].proto.columns)
    assert "Bern" in str(rows(shown("result.py", job=job, columns="all")))


def test_a_filter_without_rows_says_what_to_do():
    at = shown("result.py", job=str(compared().id), find="no such text")
    assert not at.dataframe
    assert "No row matches" in at.info[0].value


def test_equal_files_have_no_charts_and_no_table():
    at = shown("result.py", job=str(compared(OLD, OLD).id))
    assert "Nothing differs." in words(at)
    assert "All 4 rows are the same." in words(at)
    assert not at.dataframe
    assert not at.get("plotly_chart")


def test_where_only_columns_differ_the_answer_says_so_first():
    at = shown("result.py", job=str(compared("id,a,b,c\n1,x,y,z\n", "id,a,d\n1,x,y\n").id))
    assert "No row differs, but the columns do</b>: 1 was added, 2 were removed." in words(at)
    assert "The only row is the same in the columns that both files have." in words(at)


def test_text_from_files_is_never_markup():
    at = shown("result.py", job=str(compared("id,<b>x</b>\n1,a\n", "id,<b>x</b>\n1,<script>1</script>\n").id))
    assert "<b>x</b>" not in words(at)
    assert "&lt;b&gt;x&lt;/b&gt;" in words(at)


def test_two_changes_at_once_both_hold():
    at = shown("result.py", job=str(compared().id))
    at.text_input(key="search").set_value("4")
    at.segmented_control(key="columns").set_value("All columns")
    at.run()
    assert (at.query_params["find"], at.query_params["columns"]) == ("4", "all")


def told(kind: str, *parts: str, finished: int = 0) -> ForwardMsg:
    """A message to a browser; `parts` are what runs alone, or is drawn."""
    message = ForwardMsg()
    if kind == "new_session":
        message.new_session.name = "main"
        message.metadata.run.fragment_ids.extend(parts)
    elif kind == "delta":
        message.delta.fragment_id = parts[0]
    elif kind == "script_finished":
        message.script_finished = finished
    return message


def test_a_browser_hears_nothing_about_parts_of_a_page_that_it_left():
    runs = Runs()
    for part in ("table", "rows"):
        assert all(runs.concerns(each) for each in (told("new_session"), told("delta", part), told("script_finished")))
    assert runs.concerns(told("new_session", "rows"))
    assert runs.concerns(told("script_finished", finished=3))
    assert not runs.concerns(told("new_session", "table"))
    assert not runs.concerns(told("script_finished", finished=3))
    assert runs.concerns(told("new_session"))


def test_an_unknown_job_is_no_dead_end():
    at = shown("result.py", job="987654")
    assert "No result here" in at.title[0].value
    assert [button.label for button in at.button] == ["Compare two files", "See the history"]


def test_a_failed_job_says_why_and_what_to_do():
    job = compared(OLD, "id,city\n1,a,b,c\n")
    assert job.state is JobState.FAILED
    at = shown("result.py", job=str(job.id))
    assert at.error
    assert [button.label for button in at.button] == ["Change the choices", "Run again"]
    assert "--" not in at.error[0].value.replace("\\", "")
    assert str(services().settings.home) not in at.error[0].value


@pytest.mark.parametrize(
    "hint, shown",
    [
        ("Say which columns do (--key A,B), or compare whole rows (--no-key).", "Say which columns do, or compare whole rows."),
        ("Leave bad lines out (--skip-bad-lines).", "Leave bad lines out."),
        ("Mend the file (it is short).", "Mend the file (it is short)."),
    ],
)
def test_hints_name_no_options_of_the_command_line(hint, shown):
    assert in_the_app(hint) == shown


def test_a_name_that_the_text_quotes_is_shown_as_a_name_and_never_as_markup():
    said = with_names("`<b>` and “day” name every row", ["<b>", "day"])
    assert said == '<code class="df-name">&lt;b&gt;</code> and <code class="df-name">day</code> name every row'


def test_an_empty_history_says_what_to_do_and_shows_nothing_of_others():
    compared()
    at = history()
    assert "Nothing has been compared yet" in at.markdown[0].value
    assert at.button[0].label == "Compare two files"


def test_history_lists_the_jobs_of_metrics(tmp_path):
    measured(tmp_path)
    compared()
    at = history()
    assert "1 comparison:" in at.caption[0].value
    assert "Cities \\<b\\>" in at.get("page_link")[0].proto.label
    assert [button.label for button in at.button] == ["Run again", "Delete it"]


def test_a_comparison_is_deleted_after_a_second_click(tmp_path):
    job = measured(tmp_path)
    at = history()
    next(button for button in at.button if button.label == "Delete it").click().run()
    assert services().jobs.list() == []
    assert services().store.find(job.result_id) is None


def test_lists_do_not_make_results_look_used(tmp_path):
    job = measured(tmp_path)
    before = services().store.find(job.result_id).used
    history()
    AppTest.from_file(str(PAGES / "main.py"), default_timeout=30).run().switch_page("metrics.py").run()
    assert services().store.find(job.result_id).used == before
    shown("result.py", job=str(job.id))
    assert services().store.find(job.result_id).used > before


def history() -> AppTest:
    at = AppTest.from_file(str(PAGES / "main.py"), default_timeout=30).run().switch_page("history.py").run()
    assert not at.exception, at.exception
    return at


def measured(folder: Path):
    """A finished job of a metric."""
    (folder / "old.csv").write_text(OLD)
    (folder / "new.csv").write_text(NEW)
    (folder / "metrics.toml").write_text('[cities]\ntitle = "Cities <b>"\nold = "old.csv"\nnew = "new.csv"\nkey = ["id"]\n')
    jobs = services().jobs
    return jobs.wait(jobs.submit_metric("cities").id, 20, totals=True)


def test_the_api_page_shows_commands():
    at = shown("api.py")
    assert any("/api/diffing/new" in each.value for each in at.code)


def test_a_workbook_marks_what_changed(tmp_path):
    with services().jobs.lease(compared()) as lease:
        write_xlsx(lease.result, tmp_path / "out.xlsx")
        write_xlsx(lease.result, tmp_path / "added.xlsx", filter=Filter(changes=(Change.ADDED,)))
    first = sheet(tmp_path / "out.xlsx")["2"]
    assert [value for value, _ in first.values()] == ["changed", "1", "Rome", "Rome", "10", "11", "1", "a", "a"]
    plain, marked = first["C2"][1], first["E2"][1]
    assert (first["F2"][1], first["H2"][1]) == (marked, plain)
    assert marked != plain
    assert [value for value, _ in sheet(tmp_path / "added.xlsx")["2"].values() if value][:3] == ["added", "5", "=1+1"]


def sheet(path: Path) -> dict[str, dict[str, tuple[str, str | None]]]:
    """Row number to its cells: place to text and style."""
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    with zipfile.ZipFile(path) as book:
        lines = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml")).iter(f"{space}row")
        return {line.get("r"): {cell.get("r"): ("".join(cell.itertext()), cell.get("s")) for cell in line} for line in lines}


def test_too_many_rows_for_a_workbook_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("diffing.excel.MOST_ROWS", 3)
    with services().jobs.lease(compared()) as lease, pytest.raises(DoesNotFit, match="4 rows are too many"):
        write_xlsx(lease.result, tmp_path / "out.xlsx")


@pytest.mark.parametrize(
    "old, new, shown",
    [
        ("short", "shorter", "short → shorter"),
        (None, "x" * 50, f"{EMPTY} → {'x' * 50}"),
        ("a" * 60 + "old end", "a" * 60 + "new end", f"…{'a' * 21}old end → …{'a' * 21}new end"),
        ("word " * 20, "WORD " * 20, f"{('word ' * 6)[:27]}… → {('WORD ' * 6)[:27]}…"),
        ("a" * 40 + "b" * 40, "a" * 40 + "c" * 40, f"…{'a' * 8}{'b' * 19}… → …{'a' * 8}{'c' * 19}…"),
    ],
)
def test_a_change_of_long_text_shows_both_sides_from_where_they_differ(old, new, shown):
    assert table._text(CellPair(old, new, Cell.DIFFERS), Change.CHANGED, differs=True) == shown


def test_a_row_of_many_columns_opens_with_those_that_changed_on_top():
    head = ",".join(f"c{i}" for i in range(40))
    cells = [str(i) for i in range(40)]
    old, new = (f"id,{head}\n1,{','.join(cells[:33] + [last] + cells[34:])}\n" for last in ("x", "y"))
    at = AppTest.from_function(_one_row_open, default_timeout=30, kwargs={"job": str(compared(old, new).id)}).run()
    assert not at.exception, at.exception
    body = words(at)
    assert body.index("id") < body.index(">c33<") < body.index(">c0<") < body.index(">c39<")


def _one_row_open(job: str) -> None:
    from diffing.services import services
    from pages.components import table

    jobs = services().jobs
    with jobs.lease(jobs.get(job)) as lease:
        table._open(lease.result, 0)
