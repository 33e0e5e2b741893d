"""Are uploads kept within limits, found only by their owner, and swept?"""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffing.dialects import DialectChoice
from diffing.errors import SourceError
from diffing.uploads import NoRoom, UploadGone, Uploads, UploadTooLarge, display_name, pointer

CSV = b"id,v\n1,2\n3,4\n"


class Clock:
    """A clock that a test sets."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def uploads(tmp_path: Path, clock: Clock) -> Uploads:
    return Uploads(tmp_path, limit=1000, quota=2500, hours=24, clock=clock)


def reopened(uploads: Uploads) -> Uploads:
    return Uploads(uploads.folder.parent, limit=uploads.limit, quota=uploads.quota, hours=uploads.hours, clock=uploads.clock)


def folders(uploads: Uploads) -> list[str]:
    return [each.name for each in uploads.folder.iterdir()]


def test_what_was_uploaded_is_on_disk_byte_for_byte(uploads: Uploads) -> None:
    upload = uploads.save("orders.csv", [b"id,v\n", memoryview(b"1,2\n"), b"3,4\n"], owner="ann")
    assert upload.path.read_bytes() == CSV
    assert (upload.name, upload.size, upload.digest) == ("orders.csv", len(CSV), hashlib.sha256(CSV).hexdigest())


def test_ids_cannot_be_guessed(uploads: Uploads) -> None:
    ids = {uploads.save("a.csv", [b"x"], owner="ann").id for _ in range(20)}
    assert len(ids) == 20
    assert all(len(id_) >= 22 for id_ in ids)


def test_an_upload_is_found_by_its_owner_alone(uploads: Uploads) -> None:
    upload = uploads.save("orders.csv", [CSV], owner="ann")
    assert uploads.find(upload.id, "ann") == upload
    for owner in ("bob", "", "ann "):
        assert uploads.find(upload.id, owner) is None
        with pytest.raises(UploadGone):
            uploads.get(upload.id, owner)


def test_nobody_can_remove_or_replace_the_upload_of_another(uploads: Uploads) -> None:
    upload = uploads.save("orders.csv", [CSV], owner="ann")
    uploads.remove(upload.id, "bob")
    with pytest.raises(SourceError):
        uploads.save("evil.csv", [b"evil"], owner="bob", id_=upload.id)
    assert upload.path.read_bytes() == CSV


@pytest.mark.parametrize("id_", ["../../../etc", "a/b", "..", "x" * 65, "short", "nul\0nul\0nul", "weiß-nicht-was"])
def test_an_id_that_is_a_path_is_refused(uploads: Uploads, id_: str) -> None:
    with pytest.raises(SourceError):
        uploads.receive("a.csv", owner="ann", id_=id_)
    assert folders(uploads) == []


def test_a_file_over_the_limit_is_refused_and_leaves_nothing(uploads: Uploads) -> None:
    with pytest.raises(UploadTooLarge, match=r"orders\.csv is larger than 1\.0 kB"):
        uploads.save("orders.csv", [b"x" * 600, b"x" * 600], owner="ann")
    assert (folders(uploads), uploads.used) == ([], 0)


def test_all_uploads_together_stay_within_the_quota(uploads: Uploads) -> None:
    for name in "abc":
        if name == "c":
            with pytest.raises(NoRoom, match=r"no room for c"):
                uploads.save(name, [b"x" * 1000], owner="ann")
        else:
            uploads.save(name, [b"x" * 1000], owner="ann")
    assert len(folders(uploads)) == 2


def test_files_on_their_way_in_count_too(uploads: Uploads) -> None:
    with uploads.receive("a", owner="ann") as a, uploads.receive("b", owner="ann") as b, uploads.receive("c", owner="ann") as c:
        a.write(b"x" * 1000)
        b.write(b"x" * 1000)
        with pytest.raises(NoRoom):
            c.write(b"x" * 1000)
    assert (folders(uploads), uploads.used) == ([], 0)


def test_room_is_made_by_what_is_too_old(uploads: Uploads, clock: Clock) -> None:
    old = [uploads.save(name, [b"x" * 1000], owner="ann") for name in "ab"]
    clock.now += 25 * 3600
    new = uploads.save("c", [b"x" * 1000], owner="ann")
    assert uploads.find(new.id, "ann")
    assert not any(uploads.find(each.id, "ann") for each in old)


def test_uploads_are_swept_by_age(uploads: Uploads, clock: Clock) -> None:
    old = uploads.save("old.csv", [CSV], owner="ann")
    clock.now += 23 * 3600
    new = uploads.save("new.csv", [CSV], owner="ann")
    clock.now += 2 * 3600
    uploads.sweep()
    assert uploads.find(old.id, "ann") is None
    assert folders(uploads) == [new.id]


def test_what_a_comparison_reads_is_not_pulled_away(uploads: Uploads, clock: Clock) -> None:
    upload = uploads.save("a.csv", [CSV], owner="ann")
    uploads.hold([upload.id])
    clock.now += 48 * 3600
    uploads.sweep()
    uploads.remove(upload.id, "ann")
    assert upload.path.read_bytes() == CSV
    assert uploads.find(upload.id, "ann") is None
    uploads.release([upload.id])
    assert folders(uploads) == []


def test_uploads_are_there_after_a_restart_and_half_ones_are_gone(uploads: Uploads) -> None:
    upload = uploads.save("a.csv", [CSV], owner="ann")
    uploads.receive("b.csv", owner="ann").write(b"half")
    (uploads.folder / "no-about-file").mkdir()
    cut = uploads.save("c.csv", [CSV], owner="ann")
    cut.path.write_bytes(b"cut")
    again = reopened(uploads)
    assert again.find(upload.id, "ann") == upload
    assert folders(again) == [upload.id]


def test_a_new_file_under_the_same_id_takes_the_place_of_the_old(uploads: Uploads) -> None:
    id_ = "8d1f3a52-0000-4000-8000-000000000000"
    uploads.save("a.csv", [b"old"], owner="ann", id_=id_)
    assert uploads.save("a.csv", [b"new!"], owner="ann", id_=id_).path.read_bytes() == b"new!"
    assert uploads.used == 4


def test_an_upload_reads_as_a_source_known_by_its_content(uploads: Uploads) -> None:
    one, two = (uploads.save(name, [CSV], owner="ann") for name in ("one.csv", "two.csv"))
    source = uploads.source(one)
    assert (source.name, [column.name for column in source.columns]) == ("one.csv", ["id", "v"])
    assert source.digest == uploads.source(two).digest == f"sha256:{hashlib.sha256(CSV).hexdigest()}"
    assert not source.has_changed()
    assert uploads.source(one, DialectChoice(header=False)).columns[0].name == "c1"


def test_converted_copies_live_and_die_with_the_upload(uploads: Uploads) -> None:
    upload = uploads.save("a.csv.gz", [gzip.compress(CSV)], owner="ann")
    assert uploads.source(upload).data.read_bytes() == CSV
    uploads.sweep()
    assert uploads.used > upload.size + len(CSV)
    uploads.remove(upload.id, "ann")
    assert (folders(uploads), uploads.used) == ([], 0)


def test_a_source_that_is_no_table_is_told_by_the_name_people_know(uploads: Uploads) -> None:
    upload = uploads.save("report.xlsx", [b"PK\x03\x04" + b"\0" * 100], owner="ann")
    with pytest.raises(SourceError) as caught:
        uploads.source(upload)
    assert "report.xlsx" in caught.value.message
    assert str(uploads.folder) not in caught.value.message + caught.value.hint


def test_a_page_gets_the_file_behind_a_pointer(uploads: Uploads) -> None:
    id_ = "8d1f3a52-0000-4000-8000-000000000000"
    upload = uploads.save("a.csv", [CSV], owner="ann", id_=id_)
    assert uploads.received(id_, "a.csv", pointer(id_), owner="ann") == upload


def test_a_pointer_without_its_file_is_never_taken_for_a_table(uploads: Uploads) -> None:
    id_ = "8d1f3a52-0000-4000-8000-000000000000"
    with pytest.raises(UploadGone, match="no longer kept"):
        uploads.received(id_, "a.csv", pointer(id_), owner="ann")


def test_a_file_that_came_in_whole_is_kept_once(uploads: Uploads) -> None:
    first = uploads.received("file_1_of_a_test", "a.csv", memoryview(CSV), owner="ann")
    assert uploads.received("file_1_of_a_test", "a.csv", memoryview(CSV), owner="ann") == first
    assert len(folders(uploads)) == 1


def test_many_threads_may_upload_at_once(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, limit=10**6, quota=10**7, hours=24)
    threads = [threading.Thread(target=uploads.save, args=(f"{i}.csv", [b"%d" % i] * 100), kwargs={"owner": "ann"}) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.read_bytes()[:1] for path in tmp_path.rglob("data"))[0] == b"0"
    assert uploads.used == sum(len(str(i)) * 100 for i in range(20))


def names() -> Iterator[tuple[str, str]]:
    yield "orders.csv", "orders.csv"
    yield "../../etc/passwd", "passwd"
    yield "C:\\Users\\ann\\orders.csv", "orders.csv"
    yield "/abs/olute.csv", "olute.csv"
    yield "a\0b\x1b[31m.csv", "a b [31m.csv"
    yield "  two \n lines.csv ", "two lines.csv"
    yield "txt.\u202evsc.exe", "txt. vsc.exe"
    yield "..", "file.csv"
    yield "", "file.csv"
    yield "données été.csv", "données été.csv"
    yield "x" * 300 + ".csv.gz", ("x" * 300)[:116] + "….gz"
    yield "x." + "y" * 300, ("x." + "y" * 300)[:119] + "…"


@pytest.mark.parametrize(("given", "shown"), list(names()))
def test_names_are_safe_to_show(given: str, shown: str) -> None:
    assert display_name(given) == shown
    assert len(display_name(given)) <= 120
