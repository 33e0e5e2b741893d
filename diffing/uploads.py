"""Uploaded files: streamed to disk within limits, found only by their id and owner, swept by age.

HOME/uploads/<id>/              one file: data, about.json, work/ (its converted copies)
HOME/uploads/.part-<token>/     one being received; swept at the next start
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import threading
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from diffing.dialects import DialectChoice
from diffing.errors import DiffError, SourceError, StoreError
from diffing.plan_json import from_plain, to_plain
from diffing.sizes import folder_size, in_words
from diffing.sources import Source, open_source
from diffing.store import PART, Locks

log = logging.getLogger(__name__)

OWNER_COOKIE = "diffing_owner"
"""Tells browsers apart: its value is the owner of what the browser uploads."""
LONGEST_NAME, LONGEST_SUFFIX = 120, 12
DATA, ABOUT, WORK = "data", "about.json", "work"
POINTER = b'{"diffing upload": '
"""How the few bytes begin that stand in for a file that went to disk on its way in."""
LONGEST_POINTER = 100
MOST_REFUSED = 500
"""Files that were refused on their way in, of which it is remembered why."""

_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


class UploadTooLarge(SourceError):
    """A file beyond the limit, as it is or `unpacked`."""

    def __init__(self, name: str, limit: int, *, unpacked: bool = False) -> None:
        if unpacked:
            super().__init__(f"{name} takes more than {in_words(limit)} when it is unpacked.", "Split it, or raise DIFFING_UNPACKED_LIMIT.")
        else:
            super().__init__(f"{name} is larger than {in_words(limit)}.", "Compress it (.gz or .zst), or raise DIFFING_UPLOAD_LIMIT.")


class UploadGone(SourceError):
    """A file that is no longer there, or never was this person's."""

    def __init__(self) -> None:
        super().__init__("The uploaded file is no longer kept.", "Upload it again.")


class NoRoom(StoreError):
    """The disk, or what uploads may take of it, is full."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that someone uploaded."""

    id: str
    """Can't be guessed."""
    owner: str
    name: str
    """What people see; see `display_name`."""
    size: int
    """Bytes."""
    digest: str
    """SHA-256 in hex."""
    received: float
    """Seconds since 1970."""
    path: Path
    """Where its bytes are."""


def display_name(name: str) -> str:
    """A file name as it may be shown: no folders, no control characters, at most 120 characters."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(each if each.isprintable() else " " for each in unicodedata.normalize("NFC", last))
    shown = " ".join(shown.split())
    if not shown.strip(". "):
        return "file.csv"
    if len(shown) <= LONGEST_NAME:
        return shown
    suffix = os.path.splitext(shown)[1]
    suffix = suffix if len(suffix) <= LONGEST_SUFFIX else ""
    return shown[: LONGEST_NAME - len(suffix) - 1] + "…" + suffix


def pointer(id_: str) -> bytes:
    """The few bytes that stand in for an uploaded file; see `Uploads.received`."""
    return POINTER + json.dumps(id_).encode() + b"}"


class Receiving:
    """A file on its way in: write its pieces, then keep it. Leaving the `with` without that discards it."""

    def __init__(self, uploads: Uploads, id_: str, name: str, owner: str) -> None:
        self.id, self.name, self.owner, self.size = id_, name, owner, 0
        self._uploads = uploads
        self._folder = uploads.folder / f"{PART}{secrets.token_hex(8)}"
        self._digest = hashlib.sha256()
        with _receiving(name):
            self._folder.mkdir()
            self._file = (self._folder / DATA).open("wb", buffering=0)

    def write(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            UploadTooLarge: the file is over the limit.
            NoRoom: all uploads together are, or the disk is full.
        """
        self._uploads._reserve(self, len(data))
        self.size += len(data)
        self._digest.update(data)
        view = memoryview(data)
        with _receiving(self.name):
            while view:
                view = view[self._file.write(view) or 0 :]

    def keep(self) -> Upload:
        """The file is complete."""
        self._file.close()
        path = self._uploads.folder / self.id / DATA
        upload = Upload(self.id, self.owner, self.name, self.size, self._digest.hexdigest(), self._uploads.clock(), path)
        with _receiving(self.name):
            (self._folder / ABOUT).write_text(json.dumps(to_plain(upload)))
            self._uploads._keep(upload, self._folder)
        return upload

    def __enter__(self) -> Receiving:
        return self

    def refuse(self, error: DiffError) -> None:
        """The file can't be kept; who asks for it (see `Uploads.received`) is told why."""
        self.discard()
        self._uploads._refuse(self, error)

    def discard(self) -> None:
        """The file is not wanted, unless it was kept."""
        self._file.close()
        self._uploads._settle(self)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.discard()


class Uploads:
    """The uploaded files of one server. Safe to use from any thread.

    `limit` (one file), `unpacked` (one file without its compression; None: `quota`) and `quota` (all of
    them, with converted copies) are in bytes.
    """

    def __init__(
        self, home: Path, *, limit: int, quota: int, hours: float, unpacked: int | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.folder = home / "uploads"
        self.limit, self.quota, self.hours, self.clock = limit, quota, hours, clock
        self.unpacked = quota if unpacked is None else unpacked
        self._lock = threading.RLock()
        self._opening = Locks()
        self._sizes: dict[str, int] = {}
        self._coming: dict[Receiving | str, int] = {}
        self._too_large: dict[str, UploadTooLarge] = {}
        self._refused: dict[tuple[str, str], DiffError] = {}
        self._held: Counter[str] = Counter()
        self._doomed: set[str] = set()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._files = dict(self._found())
        self.sweep()

    # --- coming in ---------------------------------------------------------------------------------

    def receive(self, name: str, *, owner: str, id_: str | None = None) -> Receiving:
        """Begin to take a file in, under an id that can't be guessed.

        `owner` may be empty: then the id alone, and no other owner, finds the file.

        Raises:
            SourceError: the id is none, or is someone else's.
        """
        id_ = id_ or secrets.token_urlsafe(16)
        known = self._files.get(id_)
        if not _ID.fullmatch(id_) or (known and known.owner != owner):
            raise SourceError("This upload can't be taken.", "Upload the file again.")
        return Receiving(self, id_, display_name(name), owner)

    def save(self, name: str, pieces: Iterable[bytes | memoryview], *, owner: str, id_: str | None = None) -> Upload:
        """Take in a file that is there in pieces already."""
        with self.receive(name, owner=owner, id_=id_) as coming:
            for piece in pieces:
                coming.write(bytes(piece))
            return coming.keep()

    def received(self, id_: str, name: str, data: bytes | memoryview, *, owner: str) -> Upload:
        """The upload behind what a page was handed: found by its id, or kept now if it came in whole.

        Raises:
            UploadGone: the data are only a pointer to a file that is no longer there.
            DiffError: the file was refused on its way in.
        """
        known = self.find(id_, owner)
        if known:
            return known
        refused = self._refused.get((id_, owner))
        if refused:
            raise refused.with_traceback(None)
        if bytes(data[: len(POINTER)]) == POINTER and len(data) < LONGEST_POINTER:
            raise UploadGone
        return self.save(name, [data], owner=owner, id_=id_ if _ID.fullmatch(id_) else None)

    def _reserve(self, coming: Receiving, more: int) -> None:
        if coming.size + more > self.limit:
            raise UploadTooLarge(coming.name, self.limit)
        self._grow(coming, coming.name, more)

    def _grow(self, what: Receiving | str, name: str, more: int) -> None:
        """Count what is written to disk: a file on its way in, or the converted copy of the upload with this id."""
        with self._lock:
            if self.used + more > self.quota:
                self.sweep()
            if self.used + more > self.quota:
                hint = "Try again when older uploads are gone, or raise DIFFING_UPLOAD_QUOTA."
                raise NoRoom(f"There is no room for {name}: uploads take {in_words(self.used)} already.", hint)
            self._coming[what] = self._coming.get(what, 0) + more

    def _refuse(self, coming: Receiving, error: DiffError) -> None:
        with self._lock:
            self._refused[coming.id, coming.owner] = error
            while len(self._refused) > MOST_REFUSED:
                del self._refused[next(iter(self._refused))]

    def _settle(self, coming: Receiving | str) -> None:
        with self._lock:
            self._coming.pop(coming, None)

    def _keep(self, upload: Upload, folder: Path) -> None:
        with self._lock:
            if upload.id in self._files:
                shutil.rmtree(self.folder / upload.id, ignore_errors=True)
            os.replace(folder, self.folder / upload.id)
            self._files[upload.id], self._sizes[upload.id] = upload, upload.size
            self._refused.pop((upload.id, upload.owner), None)

    # --- there ---------------------------------------------------------------------------------------

    @property
    def used(self) -> int:
        """Bytes of all uploads, those on their way in included."""
        with self._lock:
            return sum(self._sizes.values()) + sum(self._coming.values())

    def find(self, id_: str, owner: str) -> Upload | None:
        """The file with this id, if it is this owner's."""
        with self._lock:
            found = self._files.get(id_)
        return found if found and found.owner == owner and id_ not in self._doomed else None

    def get(self, id_: str, owner: str) -> Upload:
        """The same.

        Raises:
            UploadGone: there is none.
        """
        found = self.find(id_, owner)
        if found is None:
            raise UploadGone
        return found

    def source(self, upload: Upload, choice: DialectChoice = DialectChoice()) -> Source:
        """An upload described, by its content and the name people know.

        Raises:
            SourceError: it is no table, is too large when it is unpacked, or is no longer there.
            NoRoom: there is no room for a converted copy.
        """
        work = self.folder / upload.id / WORK
        with self._opening.of(upload.id), self._converting(upload) as room:
            if not upload.path.exists():
                raise UploadGone
            work.mkdir(exist_ok=True)
            described = open_source(upload.path, workdir=work, choice=choice, name=upload.name, room=room)
        return replace(described, digest=f"sha256:{upload.digest}")

    @contextmanager
    def _converting(self, upload: Upload) -> Iterator[Callable[[int], None]]:
        """What is asked before converted copies of an upload grow. Once too large, it is not unpacked again."""
        if upload.id in self._too_large:
            raise self._too_large[upload.id].with_traceback(None)

        def grow(more: int) -> None:
            if self._coming.get(upload.id, 0) + more > self.unpacked:
                self._too_large[upload.id] = UploadTooLarge(upload.name, self.unpacked, unpacked=True)
                raise self._too_large[upload.id]
            self._grow(upload.id, upload.name, more)

        try:
            yield grow
        finally:
            with self._lock:
                if upload.id in self._coming and upload.id in self._files:
                    self._sizes[upload.id] = folder_size(self.folder / upload.id)
                self._settle(upload.id)

    def hold(self, ids: Iterable[str]) -> None:
        """Keep files on disk, even if they are removed, until they are released as often."""
        with self._lock:
            self._held.update(ids)

    def release(self, ids: Iterable[str]) -> None:
        """Undo one `hold`."""
        with self._lock:
            self._held.subtract(ids)
            for id_ in self._doomed & set(ids):
                self._remove(id_)

    # --- going ---------------------------------------------------------------------------------------

    def remove(self, id_: str, owner: str) -> None:
        """Forget a file; its bytes go when no comparison reads them."""
        with self._lock:
            self._refused.pop((id_, owner), None)
            if self.find(id_, owner):
                self._remove(id_)

    def sweep(self) -> None:
        """Remove what is older than it may be."""
        now = self.clock()
        with self._lock:
            for upload in list(self._files.values()):
                if now - upload.received > self.hours * 3600 and not self._held[upload.id]:
                    self._remove(upload.id)
                else:
                    growing = self._coming.get(upload.id, 0)
                    self._sizes[upload.id] = max(upload.size, folder_size(self.folder / upload.id) - growing)

    def _remove(self, id_: str) -> None:
        if self._held[id_] > 0:
            self._doomed.add(id_)
            return
        self._doomed.discard(id_)
        self._files.pop(id_, None)
        self._sizes.pop(id_, None)
        self._too_large.pop(id_, None)
        shutil.rmtree(self.folder / id_, ignore_errors=True)

    def _found(self) -> Iterator[tuple[str, Upload]]:
        """What is complete on disk; the rest is removed."""
        for folder in self.folder.iterdir():
            try:
                upload: Upload = from_plain(Upload, json.loads((folder / ABOUT).read_bytes()))
                if folder.name.startswith(PART) or (folder / DATA).stat().st_size != upload.size:
                    raise ValueError("incomplete")
            except (OSError, ValueError, StoreError) as error:
                log.info("An upload is removed: %s.", type(error).__name__)
                shutil.rmtree(folder, ignore_errors=True)
                continue
            self._sizes[upload.id] = folder_size(folder)
            yield upload.id, replace(upload, path=folder / DATA)


@contextmanager
def _receiving(name: str) -> Iterator[None]:
    """Turns what the system says about the disk into words, without paths."""
    try:
        yield
    except OSError as error:
        raise NoRoom(f"{name} can't be kept: {error.strerror or 'no reason given'}.", "Free some disk space.") from error
