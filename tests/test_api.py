"""Does the HTTP API say what it promises, and let in only who may come in?"""

# ruff: noqa: F811 - fixtures are imported, and named as arguments

from __future__ import annotations

import base64
import contextlib
import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from diffing import errors, excel, jobs, services, store, uploads
from diffing.api import FIELDS, STATUS, routes, status_of
from diffing.asgi import page_policy
from diffing.engines import Watch
from diffing.engines.duckdb import DuckDBEngine
from diffing.errors import DiffError
from diffing.jobs import JobState
from diffing.plan import Plan
from diffing.result import Result
from diffing.services import Services, Settings, SettingsError
from diffing.uploads import POINTER, UploadGone
from diffing.views import Filter
from tests.site import DIFFED, NEW, OLD, PAGE, REGISTRY, Gated, Pages, Site, client, done, filled, folder, seen, send, site  # noqa: F401

# --- metrics ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_starting_a_metric_answers_with_a_number_byte_for_byte(client: TestClient, method: str) -> None:
    answer = client.request(method, "/api/diffing/new/revenue")
    assert (answer.status_code, answer.content) == (200, b'{"job_id": 1}')
    assert answer.headers["content-type"] == "application/json"


def test_a_job_is_processing_and_then_the_csv(site: Site) -> None:
    site.engine.gate.clear()
    site.client.post("/api/diffing/new/revenue")
    answer = site.client.get("/api/diffing/job/1").json()
    assert (answer["job_id"], answer["status"]) == (1, "processing")
    assert {"state", "stage", "share", "elapsed"} <= set(answer)
    assert site.client.get("/api/diffing/job/1").text.startswith('{"job_id": 1, "status": "processing"')
    site.engine.gate.set()
    site.done(1)
    csv = site.client.get("/api/diffing/job/1")
    assert csv.text == DIFFED
    assert csv.headers["content-type"] == "text/csv; charset=utf-8"
    assert csv.headers["content-disposition"] == 'attachment; filename="revenue-diff.csv"'


def test_an_unknown_metric_is_a_404_that_names_the_known_ones(client: TestClient) -> None:
    answer = client.get("/api/diffing/new/revenu")
    assert answer.status_code == 404
    assert answer.json() == {"error": "There is no metric “revenu”.", "hint": "The metrics are revenue, wrong, missing."}


def test_a_metric_whose_file_is_missing_is_refused_by_its_name(client: TestClient) -> None:
    answer = client.get("/api/diffing/new/missing")
    assert answer.status_code == 409
    assert "gone.csv" in answer.json()["error"]


def test_asking_again_is_another_job_answered_at_once(done: TestClient, site: Site) -> None:
    site.engine.gate.clear()
    assert done.get("/api/diffing/new/revenue").json() == {"job_id": 2}
    assert done.get("/api/diffing/job/2").text == DIFFED
    assert done.get("/api/diffing/job/2/summary").json()["from_cache"] is True
    assert done.get("/api/diffing/new/revenue?again=true").json() == {"job_id": 3}
    assert done.get("/api/diffing/job/3").json()["status"] == "processing"


def test_looking_at_the_address_that_starts_a_job_starts_none(client: TestClient, site: Site) -> None:
    assert client.head("/api/diffing/new/revenue").status_code == 405
    assert site.services.jobs.list() == []


def test_the_registry_is_told_without_folders(client: TestClient, folder: Path) -> None:
    answer = client.get("/api/diffing/metrics")
    first = answer.json()["metrics"][0]
    assert (first["id"], first["title"], first["old"], first["key"], first["missing"]) == ("revenue", "Revenue", "old.csv", ["id"], [])
    assert answer.json()["metrics"][2]["missing"] == ["new"]
    assert str(folder) not in answer.text


def test_a_registry_that_is_broken_is_an_error_with_a_hint(client: TestClient, folder: Path) -> None:
    (folder / "metrics.toml").write_text("[revenue\n")
    for path in ("/api/diffing/metrics", "/api/diffing/new/revenue"):
        answer = client.get(path)
        assert (answer.status_code, set(answer.json())) == (409, {"error", "hint"})


# --- files -----------------------------------------------------------------------------------------


def test_two_files_are_compared_and_fetched_by_an_id_that_cannot_be_guessed(client: TestClient, site: Site) -> None:
    answer = send(client, {"key": "id"}).json()
    assert len(answer["job_id"]) >= 22
    assert answer["url"] == f"http://testserver/api/diffing/job/{answer['job_id']}"
    site.done(answer["job_id"])
    csv = client.get(answer["url"])
    assert csv.text == DIFFED
    assert csv.headers["content-disposition"] == 'attachment; filename="tue-diff.csv"'


def test_a_form_says_the_rules_as_the_command_line_does(client: TestClient, site: Site) -> None:
    fields = {
        "key": "id",
        "tolerance": ["price=0.5"],
        "ignore": "note",
        "ignore_case": "true",
        "ignore_space": "note",
        "null": ["NA", "-"],
        "text": "false",
        "header": "true",
        "old_delimiter": "comma",
        "skip_after_header": "0",
    }
    job_id = send(client, fields).json()["job_id"]
    site.done(job_id)
    summary = client.get(f"/api/diffing/job/{job_id}/summary").json()
    assert (summary["changed"], summary["columns_ignored"], summary["columns"]["price"]["same_by_rule"]) == (
        0,
        ["note"],
        {"numbers by value": 1, "within tolerance": 1},
    )
    question = site.services.jobs.get(job_id).question
    assert (question.choices.nulls, question.choices.ignore_case, question.choices.ignore_space) == (("NA", "-"), True, ("note",))


def test_without_a_key_one_is_found_and_without_any_rows_are_compared_whole(client: TestClient, site: Site) -> None:
    for fields, key in (({}, ["id"]), ({"no_key": "true"}, [])):
        job_id = send(client, fields).json()["job_id"]
        site.done(job_id)
        assert client.get(f"/api/diffing/job/{job_id}/summary").json()["key"] == key


@pytest.mark.parametrize(
    ("fields", "status", "error"),
    [
        ({"kye": "id"}, 400, "There is no field “kye”"),
        ({"text": "perhaps"}, 400, "“text” can't be “perhaps”"),
        ({"tolerance": "price"}, 422, "not of the form COLUMN=VALUE"),
        ({"tolerance": "price=much"}, 422, "“much” is no tolerance"),
        ({"encoding": "klingon"}, 422, "no encoding “klingon”"),
        ({"skip_rows": "x"}, 422, "skip-rows"),
        ({"key": "id", "no_key": "true"}, 422, "not allowed with"),
        ({"key": "x" * 100_000}, 400, "too long"),
    ],
)
def test_a_field_that_makes_no_sense_is_told_and_leaves_nothing(
    client: TestClient, site: Site, fields: dict[str, str], status: int, error: str
) -> None:
    answer = send(client, fields)
    assert (answer.status_code, set(answer.json())) == (status, {"error", "hint"})
    assert error in answer.json()["error"]
    assert "--help" not in answer.text
    assert site.services.uploads.used == 0
    assert site.services.jobs._jobs == {}


def test_both_files_are_needed(client: TestClient, site: Site) -> None:
    answer = client.post("/api/diffing/new", files={"old": ("a.csv", OLD)}, data={"new": "b.csv"})
    assert (answer.status_code, answer.json()["error"]) == (400, "The new file is missing.")
    assert site.services.uploads.used == 0


def test_a_body_that_is_no_form_or_is_cut_off_is_refused(client: TestClient, site: Site) -> None:
    cut = b'--x\r\nContent-Disposition: form-data; name="old"; filename="a.csv"\r\n\r\nid,v\n1,2'
    for body, kind in ((b"{}", "application/json"), (cut, "multipart/form-data; boundary=x"), (b"", "multipart/form-data; boundary=x")):
        answer = client.post("/api/diffing/new", content=body, headers={"Content-Type": kind})
        assert (answer.status_code, set(answer.json())) == (422, {"error", "hint"})
    assert list(site.services.uploads.folder.iterdir()) == []


def test_a_file_over_the_limit_is_a_413(folder: Path) -> None:
    site = Site(folder, upload_limit=20)
    answer = send(site.client)
    assert (answer.status_code, answer.json()["error"]) == (413, "mon.csv is larger than 20 bytes.")
    site.close()


def test_uploads_over_the_quota_are_a_507(folder: Path) -> None:
    site = Site(folder, upload_quota=50)
    assert send(site.client).status_code == 507
    assert site.services.uploads.used == 0
    site.close()


def test_file_names_are_made_safe(client: TestClient, site: Site) -> None:
    files = {"old": ("../../../etc/passwd", OLD), "new": ('<img src=x>"\0.csv', NEW)}
    job_id = client.post("/api/diffing/new", files=files, data={"key": "id"}).json()["job_id"]
    site.done(job_id)
    label = site.services.jobs.get(job_id).label
    assert label.startswith("passwd → ")
    assert "\0" not in label
    header = client.get(f"/api/diffing/job/{job_id}").headers["content-disposition"]
    assert header.startswith("attachment; ")
    assert "<" not in header
    assert header.count('"') in (0, 2)


def test_a_file_name_in_any_language_is_the_name_of_the_download(client: TestClient, site: Site) -> None:
    files = {"old": ("a.csv", OLD), "new": ("données.csv", NEW)}
    job_id = client.post("/api/diffing/new", files=files, data={"key": "id"}).json()["job_id"]
    site.done(job_id)
    assert client.get(f"/api/diffing/job/{job_id}").headers["content-disposition"] == "attachment; filename*=utf-8''donn%C3%A9es-diff.csv"


# --- results ---------------------------------------------------------------------------------------


def test_the_summary_has_the_names_of_the_command_line(seen: TestClient) -> None:
    answer = seen.get("/api/diffing/job/1/summary").json()
    assert {name: answer[name] for name in ("job_id", "status", "from_cache", "totals")} == {
        "job_id": 1,
        "status": "done",
        "from_cache": False,
        "totals": "done",
    }
    assert (answer["old_rows"], answer["new_rows"], answer["added"], answer["removed"], answer["changed"], answer["unchanged"]) == (
        3,
        3,
        1,
        1,
        1,
        1,
    )
    assert answer["columns"]["price"]["new_total"] == "7.75"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", answer["computed_at"])


def test_the_summary_of_a_job_that_runs_is_its_progress(site: Site) -> None:
    site.engine.gate.clear()
    site.client.get("/api/diffing/new/revenue")
    answer = site.client.get("/api/diffing/job/1/summary")
    assert (answer.status_code, answer.json()["status"]) == (202, "processing")


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        ("added", "added,4,,4,4,,d\n"),
        ("changed,added", DIFFED.split("\n", 1)[1].replace("removed,3,3,,-3,c,\n", "")),
        ("added,removed,changed", DIFFED.split("\n", 1)[1]),
    ],
)
def test_rows_of_some_fates_can_be_had_alone(seen: TestClient, change: str, rows: str) -> None:
    answer = seen.get(f"/api/diffing/job/1?change={change}")
    assert answer.text == DIFFED.split("\n", 1)[0] + "\n" + rows


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("find=LINES", DIFFED.split("\n", 1)[1].split("removed")[0]),
        ("fate=removed", "removed,3,3,,-3,c,\n"),
        ("fate=removed&find=nothing", ""),
        (urlencode(Filter(change_at_least=("price", "3")).to_query()), "removed,3,3,,-3,c,\nadded,4,,4,4,,d\n"),
    ],
)
def test_rows_can_be_had_as_a_page_filters_them(seen: TestClient, query: str, rows: str) -> None:
    answer = seen.get(f"/api/diffing/job/1?{query}")
    assert answer.text == DIFFED.split("\n", 1)[0] + "\n" + rows
    lines = seen.get(f"/api/diffing/job/1?{query}&format=json").text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == re.findall(r"^(?:changed|removed|added),(\d)", rows, re.MULTILINE)


def test_a_filter_that_says_nothing_or_names_no_column_is_refused(seen: TestClient) -> None:
    assert seen.get("/api/diffing/job/1?fate=moved").status_code == 400
    other = urlencode(Filter(change_at_least=("prize", "3")).to_query())
    assert seen.get(f"/api/diffing/job/1?{other}").status_code == 422


def test_filtered_files_do_not_pile_up(done: TestClient, site: Site) -> None:
    for i in range(12):
        assert done.get(f"/api/diffing/job/1?find={i}").status_code == 200
    files = [path for path in site.services.store.folder.rglob("*") if path.is_file()]
    assert len([path for path in files if path.name.startswith("filtered-")]) == 5
    assert sum(path.stat().st_size for path in files) == site.services.store.size


def test_the_download_of_some_fates_says_so_in_its_name(seen: TestClient) -> None:
    header = seen.get("/api/diffing/job/1?change=changed&change=added").headers["content-disposition"]
    assert header == 'attachment; filename="revenue-diff-added-changed.csv"'
    assert seen.get("/api/diffing/job/1?find=x").headers["content-disposition"].endswith('"revenue-diff-filtered.csv"')


def test_rows_can_be_had_as_json_lines_and_parquet(seen: TestClient) -> None:
    lines = seen.get("/api/diffing/job/1?format=json")
    assert lines.headers["content-disposition"].endswith('"revenue-diff.jsonl"')
    assert [json.loads(line)["change"] for line in lines.text.splitlines()] == ["changed", "removed", "added"]
    parquet = seen.get("/api/diffing/job/1?format=parquet")
    assert records(parquet.content) == rows_of(DIFFED)


def test_rows_can_be_had_as_a_workbook_whole_and_filtered(seen: TestClient) -> None:
    for query, name in (("", "revenue-diff.xlsx"), ("&change=added", "revenue-diff-added.xlsx")):
        answer = seen.get(f"/api/diffing/job/1?format=xlsx{query}")
        assert answer.content[:2] == b"PK"
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'


@pytest.mark.parametrize("query", ["change=added", "change=added,changed", "find=lines", "fate=removed&find=nothing"])
def test_parquet_is_filtered_as_csv_is(seen: TestClient, query: str) -> None:
    answer = seen.get(f"/api/diffing/job/1?format=parquet&{query}")
    assert answer.headers["content-disposition"].endswith('.parquet"')
    assert records(answer.content) == rows_of(seen.get(f"/api/diffing/job/1?{query}").text)


def records(parquet: bytes) -> list[dict[str, str]]:
    """The rows of a Parquet file, with empty cells as CSV has them."""
    return [{name: cell or "" for name, cell in row.items()} for row in pq.read_table(io.BytesIO(parquet)).to_pylist()]


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_csv_for_spreadsheets_runs_no_formula_whole_or_filtered(site: Site) -> None:
    (site.folder / "new.csv").write_text("id,price,note\n1,-1.50,=1+1\n2,2,b\n3,3,c\n")
    site.client.get("/api/diffing/new/revenue")
    site.done(1)
    asked = "/api/diffing/job/1?format=csv-for-spreadsheets"
    answer = site.client.get(asked)
    assert answer.headers["content-disposition"].endswith('"revenue-diff-for-spreadsheets.csv"')
    assert answer.text.splitlines()[1:] == ["changed,1,1.50,-1.50,-3,,'=1+1"]
    assert site.client.get(f"{asked}&find=1").text == answer.text


@pytest.mark.parametrize(
    ("query", "error"), [("format=pdf", "no format “pdf”"), ("change=moved", "no change “moved”"), ("change=added,x", "no change “x”")]
)
def test_forms_and_fates_that_are_none_are_told(seen: TestClient, query: str, error: str) -> None:
    answer = seen.get(f"/api/diffing/job/1?{query}")
    assert (answer.status_code, error in answer.json()["error"]) == (400, True)


def test_downloads_have_a_length_and_can_be_resumed(seen: TestClient) -> None:
    size = len(DIFFED.encode())
    head = seen.head("/api/diffing/job/1")
    assert (head.status_code, head.content, head.headers["content-length"], head.headers["accept-ranges"]) == (200, b"", str(size), "bytes")
    part = seen.get("/api/diffing/job/1", headers={"Range": "bytes=7-8"})
    assert (part.status_code, part.text, part.headers["content-range"]) == (206, "id", f"bytes 7-8/{size}")
    assert seen.get("/api/diffing/job/1", headers={"Range": f"bytes={size}-"}).status_code == 416


def test_downloads_are_never_compressed_on_the_way(seen: TestClient) -> None:
    answer = seen.get("/api/diffing/job/1", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers


def test_a_download_releases_its_result(done: TestClient, site: Site) -> None:
    for query in ("", "?format=parquet", "?format=pdf", "?format=xlsx"):
        done.get(f"/api/diffing/job/1{query}")
    done.head("/api/diffing/job/1")
    assert not +site.services.store._leases


def test_hints_name_fields_not_options(client: TestClient, site: Site) -> None:
    (site.folder / "old.csv").write_text("id,price,note\n1\n")
    client.get("/api/diffing/new/revenue")
    site.done(1)
    hint = client.get("/api/diffing/job/1").json()["hint"]
    assert "(skip_bad_lines)" in hint
    assert "--" not in hint


def test_a_failed_job_says_why(client: TestClient, site: Site) -> None:
    client.get("/api/diffing/new/wrong")
    site.done(1)
    answer = client.get("/api/diffing/job/1")
    assert answer.status_code == 422
    assert answer.json() == {
        "job_id": 1,
        "status": "failed",
        "error": "There is no column “idd” to use as a key.",
        "hint": answer.json()["hint"],
    }
    assert client.get("/api/diffing/job/1/summary").status_code == 422


def test_a_fault_of_our_own_is_told_without_a_traceback(client: TestClient, site: Site) -> None:
    def fail(plan: Plan, folder: Path, watch: Watch | None = None) -> Result:
        raise ZeroDivisionError(str(folder))

    site.engine.run = fail  # type: ignore[method-assign]
    client.get("/api/diffing/new/revenue")
    site.done(1)
    answer = client.get("/api/diffing/job/1")
    assert (answer.status_code, answer.json()["error"]) == (500, "The comparison stopped unexpectedly.")
    assert str(site.folder) not in answer.text


def test_a_fault_of_the_api_itself_is_json_without_a_traceback(site: Site) -> None:
    del site.services.files
    answer = site.client.get("/api/diffing/metrics")
    assert (answer.status_code, answer.json()["error"]) == (500, "The server failed.")


@pytest.mark.parametrize("job_id", ["2", "0", "-1", "999999999999999999999", "nobody-can-guess-this", "x" * 500, "%00", "1.0", "１"])
def test_an_unknown_job_is_a_404(seen: TestClient, job_id: str) -> None:
    for path in (f"/api/diffing/job/{job_id}", f"/api/diffing/job/{job_id}/summary"):
        answer = seen.get(path)
        assert (answer.status_code, set(answer.json())) == (404, {"error", "hint"})


def test_deleting_cancels_what_runs_and_deletes_what_has_ended(site: Site) -> None:
    site.engine.gate.clear()
    site.client.get("/api/diffing/new/revenue")
    assert site.client.delete("/api/diffing/job/1").json() == {"job_id": 1, "status": "cancelled"}
    cancelled = site.client.get("/api/diffing/job/1")
    assert (cancelled.status_code, cancelled.json()["status"]) == (410, "cancelled")
    assert site.client.delete("/api/diffing/job/1").json() == {"job_id": 1, "status": "deleted"}
    assert site.client.delete("/api/diffing/job/1").status_code == 404


def test_a_result_that_was_evicted_is_gone_with_a_hint(done: TestClient, site: Site) -> None:
    site.services.store.remove(site.services.jobs.get(1).result_id or "")
    answer = done.get("/api/diffing/job/1")
    assert (answer.status_code, answer.json()["hint"]) == (410, "Run the comparison again.")


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/nope", "/api/diffing", "/api/diffing/job", "/api/diffing/job/1/x", "/api/diffing/metrics/x"]
)
def test_unknown_paths_are_404s_in_json(seen: TestClient, path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        answer = seen.request(method, path)
        assert (answer.status_code, set(answer.json())) == (404, {"error", "hint"})


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/diffing/metrics", "GET, HEAD"),
        ("GET", "/api/diffing/new", "POST"),
        ("POST", "/api/diffing/job/1", "DELETE, GET, HEAD"),
        ("PATCH", "/api/diffing/new/revenue", "GET, HEAD, POST"),
    ],
)
def test_a_path_that_is_asked_in_another_way_says_how_it_may_be_asked(seen: TestClient, method: str, path: str, allowed: str) -> None:
    answer = seen.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json() == {"error": f"There is no {method} {path}.", "hint": "See /http-api, or /api/openapi.json."}


@pytest.mark.parametrize("query", ["", "?metric=revenue"])
def test_the_page_to_compare_is_found_by_the_name_that_people_type(seen: TestClient, query: str) -> None:
    answer = seen.get(f"/compare{query}", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, f"./{query}")


def test_the_description_names_every_path_and_every_field(seen: TestClient) -> None:
    told = seen.get("/api/openapi.json").json()
    assert told["openapi"].startswith("3.")
    paths = {route.path.replace(":path", "") for route in routes(lambda: None)}  # type: ignore[arg-type,return-value]
    assert paths - {"/api", "/api/{rest}", "/api/openapi.json", "/compare"} == set(told["paths"])
    form = told["paths"]["/api/diffing/new"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"old", "new", *FIELDS}


def test_every_family_of_errors_has_a_status() -> None:
    families = {each for module in (errors, excel, jobs, services, store, uploads) for each in vars(module).values() if _is_error(each)}
    assert {"SourceError", "PlanError", "EngineError", "StoreError"} <= {each.__name__ for each in families}
    for family in families:
        assert 400 <= status_of(each.__name__ for each in family.__mro__) <= 599
    assert set(STATUS) - {each.__name__ for each in families} == {"BadRequest"}


def _is_error(each: object) -> bool:
    return isinstance(each, type) and issubclass(each, errors.DiffError)


# --- who may do what -------------------------------------------------------------------------------

FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://testserver:8080"},
]
OWN: list[dict[str, str]] = [{}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://testserver"}]


@pytest.mark.parametrize("headers", FOREIGN)
def test_other_sites_can_neither_start_nor_delete(seen: TestClient, headers: dict[str, str]) -> None:
    start, delete = "/api/diffing/new/revenue", "/api/diffing/job/1"
    for method, path in (("GET", start), ("POST", start), ("POST", "/api/diffing/new"), ("DELETE", delete)):
        answer = seen.request(method, path, headers=headers)
        assert (answer.status_code, set(answer.json())) == (403, {"error", "hint"})
    assert seen.get("/api/diffing/job/1").text == DIFFED
    assert seen.get("/api/diffing/job/2").status_code == 404


@pytest.mark.parametrize("headers", OWN)
def test_the_app_itself_and_programs_can(client: TestClient, site: Site, headers: dict[str, str]) -> None:
    assert client.post("/api/diffing/new/revenue", headers=headers).status_code == 200
    assert client.delete("/api/diffing/job/1", headers=headers).status_code == 200


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_link_to_a_download_works_from_anywhere(seen: TestClient, headers: dict[str, str]) -> None:
    assert seen.get("/api/diffing/job/1", headers=headers).text == DIFFED


def test_answers_carry_headers_that_keep_browsers_careful(seen: TestClient) -> None:
    for path in ("/", "/api/diffing/job/1", "/api/diffing/metrics", "/api/nope"):
        headers = seen.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert headers["referrer-policy"] == "same-origin"
        assert "frame-ancestors" in headers["content-security-policy"]


def test_pages_run_files_of_the_server_and_no_other_script_than_the_launcher_names() -> None:
    rules = dict(rule.split(" ", 1) for rule in page_policy(["alert(1)"]).split("; "))
    allowed = rules["script-src"].split()
    assert allowed[0] == "'self'" and len(allowed) == 3
    assert allowed[2] == "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='"
    assert rules["default-src"] == "'self'"


def test_each_browser_gets_a_name_of_its_own_once(site: Site) -> None:
    names = set()
    for _ in range(3):
        browser = TestClient(site.app)
        said = browser.get("/", headers=PAGE).headers["set-cookie"]
        assert re.fullmatch(r"diffing_owner=[\w-]{32}; HttpOnly; Max-Age=31536000; Path=/; SameSite=lax", said)
        assert "set-cookie" not in browser.get("/", headers=PAGE).headers
        names.add(browser.cookies["diffing_owner"])
    assert len(names) == 3


def test_programs_and_parts_of_pages_get_no_name(seen: TestClient) -> None:
    for path, headers in (("/", {}), ("/_stcore/health", PAGE), ("/api/diffing/metrics", PAGE)):
        assert "set-cookie" not in seen.get(path, headers=headers).headers


def test_a_browser_finds_its_own_jobs_by_its_name(site: Site) -> None:
    browser = TestClient(site.app)
    browser.get("/", headers=PAGE)
    job_id = send(browser).json()["job_id"]
    assert [job.id for job in site.services.jobs.list(browser.cookies["diffing_owner"])] == [job_id]
    assert site.services.jobs.list("x" * 32) == []


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8501", "localhost.evil.example", "127.0.0.1.evil.example", "10.1.2.3", "[::2]"]
)
def test_a_server_answers_by_its_own_names_only(site: Site, host: str) -> None:
    page, api = (site.client.get(path, headers={"Host": host}) for path in ("/", "/api/diffing/metrics"))
    assert (page.status_code, page.headers["content-type"]) == (403, "text/html; charset=utf-8")
    assert (api.status_code, set(api.json())) == (403, {"error", "hint"})
    for text in (page.text, api.json()["hint"]):
        assert "DIFFING_HOSTS" in text
    with pytest.raises(WebSocketDisconnect), site.client.websocket_connect("/_stcore/stream", headers={"Host": host}):
        pass
    assert site.client.get("/_stcore/health", headers={"Host": host}).status_code == 200


def test_a_name_that_is_refused_is_no_markup(site: Site) -> None:
    assert "<b>" not in site.client.get("/", headers={"Host": "<b>x"}).text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8501", "127.0.0.1:8501", "[::1]:8501", "testserver"])
def test_this_machine_may_always_be_called_by_its_address(site: Site, host: str) -> None:
    assert site.client.get("/", headers={"Host": host}).text == "a page"


@pytest.mark.parametrize(("hosts", "allowed"), [("diff.example, [fe80::1]:80", True), ("*", True), ("other.example", False)])
def test_other_names_can_be_allowed(folder: Path, hosts: str, allowed: bool) -> None:
    site = Site(folder, hosts=Settings.from_environment({"DIFFING_HOSTS": hosts}).hosts)
    for host in ("diff.example", "Diff.Example:443", "[fe80::1]"):
        assert (site.client.get("/", headers={"Host": host}).status_code == 200) is allowed
    site.close()


@pytest.fixture
def locked(folder: Path) -> Iterator[Site]:
    opened = Site(folder, token="s3cret/+token")
    yield opened
    opened.close()


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()}


def test_without_the_token_nobody_gets_anything(locked: Site) -> None:
    wrong: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer nope"},
        {"Authorization": "Basic !!!"},
        basic("nope"),
        {"Cookie": "diffing_token=s3cret/+token"},
    ]
    for headers in wrong:
        for method, path in (
            ("GET", "/"),
            ("GET", "/api/diffing/metrics"),
            ("POST", "/api/diffing/new/revenue"),
            ("PUT", "/_stcore/upload_file/live/f"),
        ):
            answer = locked.client.request(method, path, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"][:5]) == (401, "Basic")
        with pytest.raises(WebSocketDisconnect), locked.client.websocket_connect("/_stcore/stream", headers=headers):
            pass
    assert locked.services.jobs.list() == []


def test_the_token_opens_everything_however_it_is_shown(locked: Site) -> None:
    for headers in ({"Authorization": "Bearer s3cret/+token"}, basic("s3cret/+token")):
        assert locked.client.get("/", headers=headers).text == "a page"
        assert locked.client.get("/api/diffing/metrics", headers=headers).status_code == 200
        with locked.client.websocket_connect("/_stcore/stream", headers=headers) as websocket:
            assert websocket.receive_text() == "hello"
    assert locked.client.get("/api/diffing/metrics?token=s3cret%2F%2Btoken").status_code == 200
    assert locked.client.get("/api/diffing/metrics?token=nope").status_code == 401


def test_the_first_visit_with_the_token_sets_a_cookie_and_goes_on_without_it(locked: Site) -> None:
    browser = TestClient(locked.app)
    answer = browser.get("/?job=1&token=s3cret%2F%2Btoken&x=a%26b", headers=PAGE)
    assert answer.status_code == 200
    said = answer.headers["set-cookie"]
    assert "HttpOnly" in said
    assert "SameSite=strict" in said
    assert "s3cret" not in said + answer.text
    assert 'content="0;url=/?job=1&amp;x=a%26b"' in answer.text
    assert browser.get("/?job=1", headers=PAGE).text == "a page"
    with browser.websocket_connect("/_stcore/stream") as websocket:
        assert websocket.receive_text() == "hello"


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example/", "/%0d%0aSet-Cookie:x", '/"><script>'])
def test_going_on_never_leaves_the_server(locked: Site, path: str) -> None:
    answer = locked.client.get(f"http://testserver{path}?token=s3cret/%2Btoken", headers=PAGE)
    found = re.search(r'url=([^"]*)"', answer.text)
    assert found
    assert re.match(r"/[^/\\]", found[1])
    assert "<script" not in answer.text


def test_the_health_of_the_server_is_open(locked: Site) -> None:
    assert locked.client.get("/_stcore/health").status_code == 200
    assert locked.client.get("/api/_stcore/health").status_code == 401


# --- uploads of pages --------------------------------------------------------------------------------

FILE_ID = "8d1f3a52-aaaa-4000-8000-000000000000"


def put(client: TestClient, content: bytes, session: str = "live", name: str = "orders.csv", file_id: str = FILE_ID) -> Any:
    return client.put(f"/_stcore/upload_file/{session}/{file_id}", files={"file": (name, content, "text/csv")})


def test_a_page_upload_goes_to_disk_and_the_page_gets_a_pointer(site: Site) -> None:
    browser = TestClient(site.app)
    browser.get("/", headers=PAGE)
    content = b"id,v\r\n" + bytes(range(256)) * 10_000 + b"\r\n--not-the-boundary--\r\n"
    assert put(browser, content).status_code == 204
    name, data = site.pages.files[FILE_ID]
    assert name == "orders.csv"
    assert data.startswith(POINTER)
    assert len(data) < 100
    upload = site.services.uploads.received(FILE_ID, name, data, owner=browser.cookies["diffing_owner"])
    assert upload.path.read_bytes() == content
    assert site.services.uploads.find(FILE_ID, "") is None


def test_an_upload_without_a_session_leaves_no_byte(site: Site) -> None:
    assert put(site.client, b"x" * 3_000_000, session="dead").status_code == 400
    assert list(site.services.uploads.folder.iterdir()) == []


@pytest.mark.parametrize(
    "settings, size, said",
    [
        ({"upload_limit": 1000}, 2000, "orders.csv is larger than 1.0 kB"),
        ({"upload_limit": 1000}, 3_000_000, "orders.csv is larger than 1.0 kB"),
        ({"upload_quota": 1000}, 3_000_000, "There is no room for orders.csv"),
    ],
)
def test_a_page_is_told_why_its_file_is_refused(folder: Path, settings: dict[str, int], size: int, said: str) -> None:
    site = Site(folder, **settings)
    uploads = site.services.uploads
    assert put(site.client, b"x" * size).status_code == 204
    name, data = site.pages.files[FILE_ID]
    for _ in range(2):
        with pytest.raises(DiffError, match=re.escape(said)):
            uploads.received(FILE_ID, name, data, owner="")
    assert list(uploads.folder.iterdir()) == []
    assert uploads.used == 0
    with pytest.raises(UploadGone):
        uploads.received(FILE_ID, name, data, owner="another")
    assert put(site.client, b"id\n1\n").status_code == 204
    assert uploads.received(FILE_ID, name, data, owner="").size == 5
    site.close()


def test_an_upload_that_is_cut_off_is_refused_and_the_page_has_no_file(site: Site) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n' + b"x" * 100_000
    answer = site.client.put(
        f"/_stcore/upload_file/live/{FILE_ID}", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert answer.status_code == 400
    assert site.pages.files == {}
    assert list(site.services.uploads.folder.iterdir()) == []


def test_taking_an_upload_back_removes_it(site: Site) -> None:
    put(site.client, b"id\n1\n")
    assert site.client.delete(f"/_stcore/upload_file/live/{FILE_ID}").status_code == 204
    assert site.pages.files == {}
    assert list(site.services.uploads.folder.iterdir()) == []


def test_nobody_takes_back_or_replaces_the_upload_of_another(site: Site) -> None:
    ann, bob = TestClient(site.app), TestClient(site.app)
    for browser in (ann, bob):
        browser.get("/", headers=PAGE)
    put(ann, b"id\n1\n")
    assert put(bob, b"evil").status_code == 400
    bob.delete(f"/_stcore/upload_file/live/{FILE_ID}")
    upload = site.services.uploads.find(FILE_ID, ann.cookies["diffing_owner"])
    assert upload
    assert upload.path.read_bytes() == b"id\n1\n"


@pytest.mark.parametrize("file_id", ["..%2f..%2fetc", "short", "x" * 200])
def test_an_upload_under_a_strange_id_is_refused(site: Site, file_id: str) -> None:
    assert put(site.client, b"id\n1\n", file_id=file_id).status_code >= 400
    assert list(site.services.uploads.folder.iterdir()) == []


# --- settings --------------------------------------------------------------------------------------


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    sizes = {"MEMORY_LIMIT": "2GiB", "DISK_LIMIT": "20 GB", "STORE_LIMIT": "1.5 GiB"}
    said = {"HOME": str(tmp_path), "WORKERS": "3", "UPLOAD_HOURS": "0.5", "TOKEN": "abc", **sizes}
    settings = Settings.from_environment({f"DIFFING_{name}": value for name, value in said.items()})
    assert (settings.home, settings.workers, settings.memory_limit) == (tmp_path, 3, "2048MiB")
    assert (settings.disk_limit, Settings().disk_limit) == (20 * 10**9, None)
    assert (settings.store_limit, settings.upload_hours, settings.token) == (3 * 2**29, 0.5, "abc")
    assert (settings.upload_limit, settings.store_days) == (4 * 10**9, 30)
    assert "abc" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKERS", "0"),
        ("WORKERS", "two"),
        ("STORE_LIMIT", "much"),
        ("STORE_LIMIT", "-1GB"),
        ("STORE_DAYS", "nan"),
        ("UPLOAD_HOURS", "-1"),
        ("MEMORY_LIMIT", "80%"),
        ("DISK_LIMIT", "0"),
        ("TOKEN", "two words"),
        ("HOSTS", "http://diff.example"),
    ],
)
def test_a_setting_that_makes_no_sense_is_told_by_its_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"DIFFING_{name}") as caught:
        Settings.from_environment({f"DIFFING_{name}": value})
    assert "It must be" in caught.value.hint


def test_comparisons_of_a_server_keep_to_its_disk_limit(tmp_path: Path) -> None:
    with contextlib.closing(Services(Settings(home=tmp_path, disk_limit=5))) as found:
        assert isinstance(found.engines.get(), DuckDBEngine)
        assert found.engines.get().disk_limit == 5


def test_jobs_end_as_interrupted_when_the_server_stops(folder: Path) -> None:
    site = Site(folder)
    site.engine.gate.clear()
    site.client.get("/api/diffing/new/revenue")
    site.services.close()
    again = Site(folder)
    assert again.services.jobs.get(1).state is JobState.INTERRUPTED
    answer = again.client.get("/api/diffing/job/1")
    assert (answer.status_code, answer.json()["status"], answer.json()["hint"]) == (503, "interrupted", "Run it again.")
    site.engine.gate.set()
    again.close()
