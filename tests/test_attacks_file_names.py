"""Can a name of a file reach beyond its folder, beyond its place in an answer, or beyond a page?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, unquote

import pytest

from diffing.errors import MetricError
from diffing.jobs import Question
from diffing.metrics import load_metrics
from diffing.plan import Choices
from diffing.uploads import LONGEST_NAME, display_name
from tests.site import NEW, OLD, Site, filled

NAMES = {
    "up": "../../../../etc/passwd",
    "up, in Windows": "..\\..\\windows\\system32\\config",
    "absolute": "/etc/passwd",
    "a drive": "C:\\autoexec.bat",
    "a share": "\\\\evil.example\\share\\x.csv",
    "another disposition": 'x.csv"; filename="evil.exe',
    "a line end": "x.csv\r\nSet-Cookie: a=b\r\n\r\n<script>alert(1)</script>",
    "NUL": "x\0.csv",
    "a device": "CON",
    "a device with a suffix": "NUL.csv",
    "300 letters": "x" * 300 + ".csv",
    "300 wide letters": "界" * 300 + ".csv",
    "another direction": "orders\u202evsc.exe",
    "not seen": "\u200b\ufeff\u2066x.csv",
    "half a letter": "x\udcff.csv",
    "control signs": "x\x1b[31m\x07\x08.csv",
    "nothing": "",
    "dots": "...",
    "blanks": "   ",
    "a percent sign": "%2e%2e%2fetc%2fpasswd",
    "a home": "~root/.ssh/id_rsa",
    "a hidden file": ".htaccess",
    "a pattern": "*?[a-z].csv",
    "an option": "--output=x.csv",
    "a URL": "s3a://bucket/table",
    "a URL of a folder": "file:///etc",
    "a command": "$(touch x);`touch x`|x&.csv",
}
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a server, with nothing beside it."""
    (tmp_path / "server").mkdir()
    return filled(tmp_path / "server")


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    opened = Site(folder)
    yield opened
    opened.close()
    assert [each.name for each in folder.parent.iterdir()] == ["server"], "nothing is written beside the folder"
    assert {each.name for each in folder.iterdir()} <= {"home", "old.csv", "new.csv", "broken.csv", "metrics.toml"}


@pytest.mark.parametrize("kind", NAMES)
def test_a_file_is_kept_under_an_id_whatever_its_name(site: Site, kind: str) -> None:
    uploads = site.services.uploads
    upload = uploads.save(NAMES[kind], [OLD.encode()], owner="ann")
    source = uploads.source(upload)
    assert upload.path == uploads.folder / upload.id / "data"
    assert re.fullmatch(r"[\w-]{22}", upload.id)
    assert (len(upload.name) <= LONGEST_NAME, upload.name.isprintable(), source.name == upload.name) == (True, True, True)
    assert not set(upload.name) & set("/\\\0\r\n")


@pytest.mark.parametrize("kind", NAMES)
def test_a_download_has_a_name_and_nothing_else_from_it(site: Site, kind: str) -> None:
    name = display_name(NAMES[kind])
    uploads = [site.services.uploads.save(NAMES[kind], [text.encode()], owner="") for text in (OLD, NEW)]
    job = site.services.jobs.submit(Question(uploads=tuple(each.id for each in uploads), choices=Choices(key=("id",))), owner="")
    site.done(job.id)
    answer = site.client.get(f"/api/diffing/job/{job.id}")
    said = answer.headers["content-disposition"]
    assert answer.status_code == 200 and "set-cookie" not in answer.headers
    found = re.fullmatch(r"""attachment; (?:filename="([^"\\]*)"|filename\*=utf-8''([\w.~%!$&+^`|{}*'()-]*))""", said)
    assert found, said
    given = unquote(found[1] or found[2])
    assert given.endswith("-diff.csv") and given.isprintable() and not set(given) & set('/\\"\0\r\n'), given
    assert not DEVICES.fullmatch(given) and len(given) < 180
    assert given.startswith(name.partition(".")[0] or name), "it is still the name that people know"


@pytest.mark.parametrize("kind", NAMES)
def test_a_program_may_send_a_file_of_any_name(site: Site, kind: str) -> None:
    body = b""
    for side, text in (("old", OLD), ("new", NEW)):
        name = NAMES[kind].encode("utf-8", "surrogateescape").replace(b"\r\n", b"%0D%0A").replace(b'"', b"%22")
        head = b'--edge\r\nContent-Disposition: form-data; name="' + side.encode() + b'"; filename="' + name + b'"\r\n\r\n'
        body += head + text.encode() + b"\r\n"
    answer = site.client.post(
        "/api/diffing/new", content=body + b"--edge--\r\n", headers={"Content-Type": "multipart/form-data; boundary=edge"}
    )
    assert answer.status_code in (200, 422), answer.text
    if answer.status_code == 200:
        site.done(answer.json()["job_id"])
        assert site.client.get(answer.json()["url"]).status_code == 200


class NeverAsked:
    """A cluster that must not hear of a place."""

    def describe(self, *place: object) -> NoReturn:
        raise AssertionError(f"a request named a place: {place}")

    matches_by_value = describe


@pytest.mark.parametrize("place", ["file:///etc", "s3a://bucket/table", "/etc", "*.csv"])
def test_no_request_can_name_a_place_that_a_cluster_reads(site: Site, place: str) -> None:
    site.services.files.cluster = lambda engine: NeverAsked()  # type: ignore[assignment,return-value]
    answer = site.client.post("/api/diffing/new", files={"old": (place, OLD), "new": (place, NEW)}, data={"key": "id"})
    site.done(answer.json()["job_id"])
    assert "changed" in site.client.get(answer.json()["url"]).text
    for fields in ({"old": place, "new": place}, {"old": place, "new": place, "engine": "spark"}):
        assert site.client.post("/api/diffing/new", data=fields).status_code in (400, 422)
    one = site.client.post("/api/diffing/new", files={"old": ("old.csv", OLD)}, data={"new": place, "engine": "spark"})
    assert one.status_code in (400, 422)
    assert site.client.get("/api/diffing/new/revenue", params={"old": place, "new": place, "engine": "spark"}).json()["job_id"]
    assert site.client.get(f"/api/diffing/new/{quote(place, safe='')}").status_code in (400, 404)


# --- the registry ----------------------------------------------------------------------------------

OUTSIDE = [
    "/etc/passwd",
    "../secret.csv",
    "a/../../secret.csv",
    "C:\\secret.csv",
    "\\\\host\\share",
    "..\\secret.csv",
    "./../secret.csv",
    "//etc/passwd",
]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("side", ["old", "new"])
def test_a_metric_outside_the_folder_of_the_registry_is_refused(folder: Path, path: str, side: str) -> None:
    (folder.parent / "secret.csv").write_text("id\n1\n")
    files = {"old": "old.csv", "new": "new.csv", side: path}
    (folder / "metrics.toml").write_text(f"[m]\nold = '{files['old']}'\nnew = '{files['new']}'\n")
    with pytest.raises(MetricError, match="leaves the folder of the registry"):
        load_metrics(folder / "metrics.toml")


def test_no_answer_tells_where_files_are_on_the_server(site: Site) -> None:
    """Neither what goes well nor what goes wrong names a folder of the server."""
    (site.folder / "broken.csv").write_bytes(b"id,v\n1\n2,3,4\n\xff\xfe")
    entries = (("fine", "old.csv"), ("gone", "sub/gone.csv"), ("bad", "broken.csv"))
    (site.folder / "metrics.toml").write_text("".join(f'[{id_}]\nold = "{old}"\nnew = "new.csv"\n' for id_, old in entries))
    said = [site.client.get("/api/diffing/metrics").text, site.client.get("/api/diffing/new/nope").text]
    for metric in ("fine", "gone", "bad"):
        answer = site.client.get(f"/api/diffing/new/{metric}")
        said.append(answer.text)
        if answer.status_code == 200:
            job = answer.json()["job_id"]
            site.done(job)
            said += [site.client.get(f"/api/diffing/job/{job}{rest}").text for rest in ("", "/summary", "?format=json")]
    (site.folder / "metrics.toml").write_text('[m]\nold = "/etc/passwd"\nnew = "new.csv"\n')
    said.append(site.client.get("/api/diffing/metrics").text)
    (site.folder / "metrics.toml").unlink()
    said.append(site.client.get("/api/diffing/metrics").text)
    assert [text for text in said if str(site.folder) in text or "site-packages" in text or "Traceback" in text] == []
    assert len(said) > 8


@pytest.mark.parametrize(
    "path",
    [
        "/api/diffing/job/..%2f..%2fetc%2fpasswd",
        "/api/diffing/new/..%2f..%2fmetrics",
        "/api/diffing/job/1%00",
        "/api/..%2f..%2fetc/passwd",
        "/api/diffing/new/%2e%2e",
    ],
)
def test_an_address_is_no_path(site: Site, path: str) -> None:
    answer = site.client.get(path)
    assert answer.status_code in (400, 404)
    assert "root:" not in answer.text and str(site.folder) not in answer.text
