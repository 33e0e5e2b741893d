"""Can another web site, or somebody who guesses, do or see something here?"""

# ruff: noqa: F811 - fixtures are imported, and named as arguments

from __future__ import annotations

import string
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tests.site import DIFFED, NEW, OLD, PAGE, Site, client, done, folder, send, site  # noqa: F401

START, DELETE, FORM = "/api/diffing/new/revenue", "/api/diffing/job/1", "/api/diffing/new"
FOREIGN: dict[str, dict[str, str]] = {
    "a browser that says so": {"Sec-Fetch-Site": "cross-site"},
    "a site beside this one": {"Sec-Fetch-Site": "same-site"},
    "a browser that says so, with a false origin": {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
    "another site": {"Origin": "https://evil.example"},
    "a name that begins like ours": {"Origin": "http://testserver.evil.example"},
    "a name that ends like ours": {"Origin": "http://eviltestserver"},
    "another port of this machine": {"Origin": "http://testserver:8080"},
    "a page without an origin": {"Origin": "null"},
    "an origin that is none": {"Origin": "http://["},
    "a picture or a link, to a server without TLS": {"Referer": "http://evil.example/page"},
    "ours as a password": {"Referer": "http://testserver@evil.example/"},
    "ours as a path": {"Referer": "http://evil.example/testserver"},
}
OWN: list[dict[str, str]] = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://testserver"},
    {"Referer": "http://testserver/result?job=1"},
]


@pytest.mark.parametrize("who", FOREIGN)
def test_another_site_can_neither_start_nor_delete_nor_upload(done: TestClient, site: Site, who: str) -> None:
    for method, path in (("GET", START), ("POST", START), ("POST", FORM), ("DELETE", DELETE)):
        assert done.request(method, path, headers=FOREIGN[who]).status_code == 403
    files = {"old": ("a.csv", OLD), "new": ("b.csv", NEW)}
    assert done.post(FORM, files=files, headers=FOREIGN[who]).status_code == 403
    for method in ("PUT", "DELETE"):
        assert done.request(method, "/_stcore/upload_file/live/8d1f3a52", headers=FOREIGN[who]).status_code == 403
    assert len(site.services.jobs.list()) == 1
    assert list(site.services.uploads.folder.iterdir()) == []
    assert done.get(DELETE).text == DIFFED


@pytest.mark.parametrize("who", FOREIGN)
def test_another_site_can_not_use_a_page_through_its_websocket(site: Site, who: str) -> None:
    with pytest.raises(WebSocketDisconnect), site.client.websocket_connect("/_stcore/stream", headers=FOREIGN[who]):
        pass


@pytest.mark.parametrize("headers", OWN)
def test_the_pages_themselves_and_programs_can_do_all_of_it(client: TestClient, site: Site, headers: dict[str, str]) -> None:
    for method in ("GET", "POST"):
        assert client.request(method, START, headers=headers).status_code == 200
    assert client.delete(DELETE, headers=headers).status_code == 200
    with client.websocket_connect("/_stcore/stream", headers=headers) as websocket:
        assert websocket.receive_text() == "hello"


def test_another_site_can_not_read_what_it_asks_for(done: TestClient) -> None:
    for method in ("GET", "OPTIONS"):
        answer = done.request(method, DELETE, headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"})
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(("header", "value"), [("X-HTTP-Method-Override", "DELETE"), ("X-Forwarded-Host", "evil.example")])
def test_a_link_is_a_link_whatever_else_it_says(done: TestClient, header: str, value: str) -> None:
    assert done.get(DELETE, headers={header: value}).text == DIFFED
    assert done.get(DELETE).text == DIFFED


# --- guessing --------------------------------------------------------------------------------------


def test_ids_of_uploaded_comparisons_have_a_hundred_and_twenty_eight_random_bits(site: Site) -> None:
    ids = [send(site.client).json()["job_id"] for _ in range(20)]
    assert len(set(ids)) == 20
    for id_ in ids:
        assert len(id_) == 22 and set(id_) <= set(string.ascii_letters + string.digits + "-_")
    for place in range(21):
        assert len({id_[place] for id_ in ids}) > 3, "no part of an id is the same for all"


def test_every_wrong_guess_gets_the_same_answer(site: Site) -> None:
    known = send(site.client).json()["job_id"]
    deleted = send(site.client).json()["job_id"]
    for id_ in (known, deleted):
        site.done(id_)
    site.client.delete(f"/api/diffing/job/{deleted}")
    stored = site.services.store.stored()[0]
    upload = next(site.services.uploads.folder.iterdir()).name
    wrong = [deleted, known[:-1], known + "a", known.swapcase(), known[::-1], upload, stored.id, stored.folder, "0", "2", "-1", "1e3", "*"]
    answers = [_asked(site.client, id_) for id_ in wrong]
    assert [(status, body.replace(id_, "…")) for id_, (status, body) in zip(wrong, answers, strict=True)] == [
        (404, answers[0][1].replace(deleted, "…"))
    ] * len(wrong)
    assert site.client.delete(f"/api/diffing/job/{known[:-1]}").status_code == 404
    assert site.client.get(f"/api/diffing/job/{known[:-1]}/summary").status_code == 404
    assert site.client.get(f"/api/diffing/job/{known}").text == DIFFED


def _asked(client: TestClient, id_: str) -> tuple[int, str]:
    answer = client.get(f"/api/diffing/job/{id_}")
    return answer.status_code, answer.text


def test_nothing_lists_the_comparisons_of_others(site: Site) -> None:
    ann, bob = TestClient(site.app), TestClient(site.app)
    for browser in (ann, bob):
        browser.get("/", headers=PAGE)
    id_ = send(ann).json()["job_id"]
    jobs = site.services.jobs
    owners: list[Any] = [bob.cookies["diffing_owner"], "", "*", "%", ann.cookies["diffing_owner"][:-1], None]
    assert [job.id for owner in owners for job in jobs.list(owner)] == []
    assert [job.id for job in jobs.list(ann.cookies["diffing_owner"])] == [id_]
    for path in ("/api/diffing/metrics", "/api/diffing/job", "/api/diffing/jobs", "/api/diffing/job/", "/api/openapi.json"):
        assert id_ not in bob.get(path).text


def test_files_of_programs_are_not_found_by_browsers_without_cookies(site: Site) -> None:
    id_ = send(site.client).json()["job_id"]
    assert site.services.jobs.list("") == []
    assert site.services.jobs.get(id_).owner == ""


@pytest.mark.parametrize("name", ["", "short", "x" * 31, "x" * 65, "../" * 12, "x" * 39 + "%"])
def test_a_name_of_a_browser_that_we_did_not_give_is_none(site: Site, name: str) -> None:
    answer = site.client.get("/", headers={**PAGE, "Cookie": f"diffing_owner={name}"})
    assert "diffing_owner=" in answer.headers["set-cookie"]


# --- forms -----------------------------------------------------------------------------------------


def test_a_file_that_is_sent_twice_is_refused_not_chosen_from(client: TestClient, site: Site) -> None:
    files = [("old", ("a.csv", OLD)), ("new", ("b.csv", NEW)), ("old", ("c.csv", NEW))]
    answer = client.post(FORM, files=files)
    assert (answer.status_code, answer.json()["error"]) == (400, "The old file is there twice.")
    assert list(site.services.uploads.folder.iterdir()) == []


@pytest.mark.parametrize(
    "head",
    [
        b"X: " + b"x" * 5_000_000 + b"\r\n",
        b"".join(b"X%d: x\r\n" % i for i in range(1_000)),
        b"x" * 5_000_000,
    ],
    ids=["a long header", "many headers", "a header without end"],
)
def test_a_form_can_not_fill_the_memory_with_what_is_no_file(client: TestClient, site: Site, head: bytes) -> None:
    body = b"--edge\r\n" + head + b'Content-Disposition: form-data; name="old"; filename="a.csv"\r\n\r\nid\n1\r\n--edge--\r\n'
    answer = client.post(FORM, content=body, headers={"Content-Type": "multipart/form-data; boundary=edge"})
    assert (answer.status_code, answer.json()["error"]) == (422, "The upload can't be read: it is no form, or was cut off.")
    assert list(site.services.uploads.folder.iterdir()) == []


def test_a_form_may_have_no_more_fields_than_there_can_be(client: TestClient, site: Site) -> None:
    body = b"".join(b'--edge\r\nContent-Disposition: form-data; name="key"\r\n\r\nid\r\n' for _ in range(1_001)) + b"--edge--\r\n"
    answer = client.post(FORM, content=body, headers={"Content-Type": "multipart/form-data; boundary=edge"})
    assert answer.status_code == 422
    long = client.post(FORM, files={"old": ("a.csv", OLD)}, data={"key": "x" * 100_000})
    assert (long.status_code, long.json()["error"]) == (400, "The field “key” is too long.")
