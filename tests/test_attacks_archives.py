"""Can a small file fill the disk or the memory when it is unpacked?"""

# ruff: noqa: F811 - fixtures are imported, and named as arguments

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from diffing.errors import DiffError, SourceError
from diffing.sizes import folder_size
from diffing.sources import open_source
from diffing.uploads import NoRoom, Upload, Uploads, UploadTooLarge
from tests.site import Site, folder  # noqa: F401

MB = 1_000_000
CSV = b"id,v\n1,2\n"
LINE = b"1," + b"x" * 9_997 + b"\n"


def gz(times: int, block: bytes = LINE * 100) -> bytes:
    """A gzip file of many members, each a megabyte of text in a few kilobytes."""
    return gzip.compress(b"id,v\n") + gzip.compress(block) * times


def zst(times: int) -> bytes:
    def compressed(data: bytes) -> bytes:
        return bytes(pa.compress(data, "zstd", asbytes=True))

    return compressed(b"id,v\n") + compressed(LINE * 100) * times


def gz_of_one_member(times: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return packer.compress(b"id,v\n") + b"".join(packer.compress(LINE * 100) for _ in range(times)) + packer.flush()


BOMBS: dict[str, Callable[[int], bytes]] = {"gzip of many members": gz, "gzip": gz_of_one_member, "zstd": zst}


def kept(folder: Path, data: bytes, *, unpacked: int | None = 5 * MB, quota: int = 50 * MB) -> tuple[Uploads, Upload]:
    uploads = Uploads(folder, limit=20 * MB, unpacked=unpacked, quota=quota, hours=24)
    return uploads, uploads.save("orders.csv.gz", [data], owner="ann")


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_as_soon_as_it_takes_more_than_the_limit_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    uploads, upload = kept(tmp_path, BOMBS[kind](200))
    assert upload.size < MB
    with pytest.raises(UploadTooLarge, match="orders.csv.gz takes more than 5.0 MB when it is unpacked") as told:
        uploads.source(upload)
    assert "DIFFING_UNPACKED_LIMIT" in told.value.hint
    assert folder_size(tmp_path) < MB and uploads.used < MB


def test_the_disk_never_holds_more_of_a_bomb_than_the_limit(tmp_path: Path) -> None:
    highest = 0

    def watched(room: int) -> None:
        nonlocal highest
        highest = max(highest, folder_size(tmp_path))
        if room > 50 * MB:
            raise AssertionError

    (tmp_path / "bomb.gz").write_bytes(gz(10))
    open_source(tmp_path / "bomb.gz", workdir=tmp_path, room=watched)
    assert highest > 5 * MB, "it is asked before each piece is written, not once at the end"


def test_a_gigabyte_in_one_megabyte_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    uploads, upload = kept(tmp_path, gz(100, block=b"a" * (10 * MB)))
    assert upload.size < 2 * MB
    with pytest.raises(UploadTooLarge):
        uploads.source(upload)
    assert folder_size(tmp_path) < 2 * MB


def test_a_bomb_is_unpacked_once_however_often_it_is_asked_for(tmp_path: Path) -> None:
    uploads, upload = kept(tmp_path, gz(200))
    with pytest.raises(UploadTooLarge):
        uploads.source(upload)
    upload.path.write_bytes(b"\x1f\x8b no longer a bomb")
    with pytest.raises(UploadTooLarge):
        uploads.source(upload)
    uploads.remove(upload.id, "ann")
    again = uploads.save("orders.csv.gz", [gzip.compress(CSV)], owner="ann", id_=upload.id)
    assert len(uploads.source(again).columns) == 2


def test_unpacked_copies_count_among_all_uploads_while_they_grow(tmp_path: Path) -> None:
    uploads, upload = kept(tmp_path, gz(40), unpacked=35 * MB, quota=30 * MB)
    with pytest.raises(NoRoom, match="There is no room for orders.csv.gz"):
        uploads.source(upload)
    assert uploads.used < MB
    small = uploads.save("small.csv.gz", [gz(10)], owner="ann")
    uploads.source(small)
    assert 10 * MB < uploads.used < 30 * MB
    with pytest.raises(NoRoom):
        for _ in range(2):
            uploads.save("other.csv", [b"x" * (15 * MB)], owner="bob")


def test_a_file_that_unpacks_within_the_limits_is_read(tmp_path: Path) -> None:
    uploads, upload = kept(tmp_path, gz(4))
    source = uploads.source(upload)
    assert [column.name for column in source.columns] == ["id", "v"] and source.data.stat().st_size == 5 + 400 * len(LINE)


def test_a_copy_in_another_encoding_counts_too(tmp_path: Path) -> None:
    uploads, upload = kept(tmp_path, b"id,v\n" + "1,ä\n".encode("latin-1") * 1_000_000, unpacked=4 * MB)
    with pytest.raises(UploadTooLarge):
        uploads.source(upload)


def test_a_window_of_gigabytes_is_not_allocated(tmp_path: Path) -> None:
    window_of_2_gb = bytes([0xA8])
    frame = b"\x28\xb5\x2f\xfd\x00" + window_of_2_gb + (1 | len(CSV) << 3).to_bytes(3, "little") + CSV
    (tmp_path / "orders.csv.zst").write_bytes(frame)
    with pytest.raises(SourceError, match="damaged or cut-off zstd"):
        open_source(tmp_path / "orders.csv.zst", workdir=tmp_path)
    usual = frame.replace(window_of_2_gb, bytes([0x50]), 1)
    (tmp_path / "orders.csv.zst").write_bytes(usual)
    assert len(open_source(tmp_path / "orders.csv.zst", workdir=tmp_path).columns) == 2


def zipped() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("orders.csv", LINE * 1_000)
    return data.getvalue()


def test_zip_files_are_not_unpacked_at_all(tmp_path: Path) -> None:
    uploads, upload = kept(tmp_path, zipped())
    with pytest.raises(SourceError, match="is a ZIP or Excel file"):
        uploads.source(upload)
    assert folder_size(tmp_path) < MB


def test_a_bomb_within_a_bomb_is_unpacked_once_and_is_no_table(tmp_path: Path) -> None:
    uploads, upload = kept(tmp_path, gzip.compress(gz(200)))
    with pytest.raises(DiffError):
        uploads.source(upload)
    assert folder_size(tmp_path) < MB


def test_a_line_without_end_in_a_bomb_is_refused_by_its_length(tmp_path: Path) -> None:
    uploads, upload = kept(tmp_path, gzip.compress(b"x" * (40 * MB)), unpacked=50 * MB, quota=100 * MB)
    with pytest.raises(SourceError, match="longer than 16 MB"):
        uploads.source(upload)


def test_a_program_that_sends_a_bomb_is_told_and_the_server_goes_on(folder: Path) -> None:
    site = Site(folder, unpacked_limit=MB)
    try:
        files = {"old": ("old.csv", gz(50)), "new": ("new.csv", CSV)}
        job = site.client.post("/api/diffing/new", files=files).json()["job_id"]
        site.done(job)
        answer = site.client.get(f"/api/diffing/job/{job}")
        assert (answer.status_code, answer.json()["error"]) == (413, "old.csv takes more than 1.0 MB when it is unpacked.")
        assert site.client.get("/api/diffing/metrics").status_code == 200
    finally:
        site.close()
