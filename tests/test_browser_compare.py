"""The compare page in a browser, against the real server: from two files, or a metric, to a result."""

# ruff: noqa: F811 - fixtures are imported, and named as arguments

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browsing import PATIENCE, Server, browser, needs_browser, opened, page, server, settled, upload, url  # noqa: F401

pytestmark = [needs_browser, pytest.mark.xdist_group("browser")]

OLD = "id,day,price,qty\n" + "".join(f"{i},2024-01-0{i % 9 + 1},{i}.5,{i * 7 % 11}\n" for i in range(300))
NEW = "id,day,price,quantity\n" + "".join(f"{i},2024-01-0{i % 9 + 1},{i}.7,{i * 7 % 11}\n" for i in range(5, 303))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "monday *1*.csv").write_text(OLD)
    (folder / "tuesday.csv").write_text(NEW)
    (folder / "book.xlsx").write_bytes(b"PK\x03\x04" + bytes(500))
    return folder


def with_two_files(page: Any, url: str, files: Path) -> Any:
    page.goto(url)
    upload(settled(page), "old", files / "monday *1*.csv")
    upload(page, "new", files / "tuesday.csv")
    page.get_by_text("names every row in both files").wait_for()
    return settled(page)


def edit(page: Any, row: int, column: str, text: str, *, then: str) -> None:
    """Write into the table of rules, a canvas, until the page says so; `row` counts from 1.

    The cell is found with the keyboard and the table's own word which cell is selected: the widths
    of columns, and what lies where on the page, may change under a mouse.
    """
    grid = page.locator('[data-testid="stExpander"] [data-testid="stDataFrame"]')
    grid.scroll_into_view_if_needed()
    at = grid.locator('[role="columnheader"]').all_inner_texts().index(column)
    cell = grid.locator(f'[data-testid="glide-cell-{at}-{row - 1}"]')
    for _ in range(5):
        page.keyboard.press("Escape")
        grid.locator("canvas").first.focus()
        page.keyboard.press("Control+Home")
        for key in ["ArrowDown"] * (row - 1) + ["ArrowRight"] * at:
            page.keyboard.press(key)
        page.wait_for_timeout(300)
        if cell.get_attribute("aria-selected") != "true":
            continue
        page.keyboard.press("Enter")
        editor = page.locator("#portal textarea, #portal input").first
        editor.fill(text)
        editor.press("Enter")
        if settled(page).get_by_text(then).count():
            return
    assert then in page.inner_text("body")


def test_two_files_become_a_result_and_can_be_compared_again(page: Any, url: str, files: Path):
    page.set_viewport_size({"width": 1280, "height": 1400})
    with_two_files(page, url, files)
    assert "monday *1*.csv" in page.inner_text("body")
    assert "300 rows" in page.inner_text("body")
    page.get_by_role("button", name="Confirm", exact=False).first.click()
    page.get_by_text("is now").wait_for()
    page.get_by_text("Rules").first.click()
    settled(page)
    edit(page, 3, "Tolerance", "0.5", then="1 tolerance")
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text("8 rows differ").wait_for()
    assert "/result?job=" in page.url

    page.goto(f"{url}/?job={page.url.partition('job=')[2]}")
    page.get_by_text("1 tolerance").wait_for()
    assert "monday *1*.csv" in page.inner_text("body")
    assert "is now" in page.inner_text("body")


def test_another_browser_does_not_get_the_files(page: Any, browser: Any, url: str, files: Path):
    with_two_files(page, url, files)
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text("rows differ").wait_for()
    stranger = browser.new_context().new_page()
    stranger.goto(f"{url}/?job={page.url.partition('job=')[2]}")
    stranger.get_by_text("no longer kept").first.wait_for()
    assert "monday" not in stranger.inner_text("body")
    stranger.context.close()


def test_a_file_that_is_no_table_is_told_in_its_place_and_can_be_replaced(page: Any, url: str, files: Path):
    page.goto(url)
    upload(settled(page), "old", files / "monday *1*.csv")
    upload(page, "new", files / "book.xlsx")
    page.locator(".st-key-slot_new").get_by_text("is a ZIP or Excel file").wait_for()
    page.locator(".st-key-replace_new button").click()
    upload(page, "new", files / "tuesday.csv")
    page.get_by_text("names every row in both files").wait_for()


def test_an_encoding_that_is_none_is_refused_beside_it(page: Any, url: str, files: Path):
    with_two_files(page, url, files)
    page.locator(".st-key-slot_old").get_by_text("Comma").click()
    page.get_by_label("Encoding").fill("klingon")
    page.keyboard.press("Enter")
    page.get_by_text("There is no encoding “klingon”").wait_for()
    assert "300 rows" in page.inner_text("body")


def test_a_metric_runs_from_its_page_and_missing_files_are_named(page: Any, server: Server, url: str, files: Path):
    (server.folder / "a.csv").write_text(OLD)
    (server.folder / "b.csv").write_text(NEW)
    server.registry.write_text(
        '[sales]\nold = "a.csv"\nnew = "b.csv"\nkey = ["id"]\n[revenue]\nold = "demo/revenue_old.csv"\nnew = "demo/revenue_new.csv"\n'
        '[lost]\nold = "a.csv"\nnew = "elsewhere/gone.csv"\n'
    )
    page.goto(f"{url}/metrics")
    page.get_by_text("elsewhere/gone.csv").wait_for()
    assert page.locator(".st-key-run_lost button").is_disabled()
    assert page.locator(".st-key-run_revenue button").is_enabled()
    page.get_by_role("button", name="Make the demo data").wait_for()
    page.locator(".st-key-run_sales button").click()
    page.get_by_text("rows differ").wait_for()
    page.goto(f"{url}/?metric=sales")
    page.get_by_text("The key that the registry names").wait_for()


@pytest.mark.parametrize("look, ground", [("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 22, 28)")])
def test_the_page_follows_the_look_of_the_system(browser: Any, url: str, look: Any, ground: str):
    context = browser.new_context(color_scheme=look)
    page = context.new_page()
    page.goto(url)
    page.get_by_text("What do you want to compare?").wait_for()
    assert page.locator('[data-testid="stApp"]').evaluate("each => getComputedStyle(each).backgroundColor") == ground
    context.close()


def test_files_for_which_there_is_no_room_are_refused_in_words_beside_them(browser: Any, tmp_path: Path):
    for name, rows in (("huge", 900_000), ("big", 450_000), ("fair", 300_000)):
        (tmp_path / f"{name}.csv").write_bytes(b"a,b\n" * rows)
    small = Server(tmp_path, DIFFING_UPLOAD_LIMIT="1.5MB", DIFFING_UPLOAD_QUOTA="2MB")
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    old, new = (opened(page, small.url).locator(f".st-key-slot_{side}") for side in ("old", "new"))
    try:
        old.locator("input[type=file]").set_input_files(tmp_path / "huge.csv")
        old.get_by_text("2.0MB or smaller").first.wait_for(state="attached")
        old.locator("input[type=file]").set_input_files(tmp_path / "big.csv")
        old.get_by_text("big.csv is larger than 1.5 MB").wait_for()
        upload(page, "old", tmp_path / "fair.csv")
        new.locator("input[type=file]").set_input_files(tmp_path / "fair.csv")
        new.get_by_text("There is no room for fair.csv").wait_for()
        assert "AxiosError" not in page.inner_text("body")
        assert "300,000 rows" in old.inner_text()
    finally:
        page.close()
        small.stop()
