"""Records that both files have in the same order: the same bytes, so there is nothing to compare in them.

Most new versions of a table are the old one with a few rows changed or some added. Both files are
walked through side by side; where they part, a line that both have is looked for nearby. The old file
is checked meanwhile, in pieces and by several threads, and what is the same in the new one need not
be. Only what differs is hashed.

A line is not always a record. Equal lines are equal records if every line of the old file is one, and
every part of the new file that differs closes the quotes that it opens. Where that is not so, only
what both files begin with is left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from diffing.engines.run import SIDES
from diffing.errors import NotUtf8Error, SourceError
from diffing.plan import Plan
from diffing.records import BadLines, Body, Progress, Records, check_records

LEAST = 1 << 20
"""In smaller files, and for shorter beginnings, it is not worth the trouble."""
BUFFER = 1 << 22
"""Bytes of a file that are held at once."""
GLANCE = 1 << 16
"""Bytes that are compared first after a difference; most stretches are not much longer."""
NEAR = 1 << 14
"""Bytes in which both files must come together again."""
PIECE = 1 << 24
"""Bytes that a thread checks at once."""
FEW = 64
"""After so many differences it shows whether stretches are long."""
WORTH = 1 << 14
"""Bytes from one difference to the next below which hashing everything takes less time."""
MOST = 1 / 16
"""The share of a file that may differ."""


Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Common:
    """Records that both files have in the same order."""

    rows: int
    quoted: bool
    longest: int
    rests: dict[str, Body]
    """What else there is in each file."""


def find_common(plan: Plan, work: Path, progress: Progress) -> Common | None:
    """What both files have in the same order; None if that is little, or not all of it is plain records."""
    old, new = plan.old.body, plan.new.body
    if old.columns != new.columns or any(pair.old != pair.new for pair in plan.pairs):
        return None
    with ExitStack() as stack:
        files = [_File(stack.enter_context(each.path.open("rb")), each.offset) for each in (old, new)]
        if min(each.size for each in files) < LEAST:
            return None
        rests = [work / f"{side}.rest.csv" for side in SIDES]
        outs = [stack.enter_context(each.open("wb")) for each in rests]
        pool = stack.enter_context(ThreadPoolExecutor(os.cpu_count()))
        stack.callback(pool.shutdown, cancel_futures=True)
        checks = _Checks(old, work, pool, lambda done: progress(2 * done))
        walk = _Walk((files[0], files[1]), (outs[0], outs[1]), plan.new.dialect.quote.encode(), checks.up_to)
        if walk.to_the_end() and (records := checks.finish(files[0].size)) and _are_lines(records, files[0]):
            for out in outs:
                out.flush()
            bodies = [replace(body, path=rest, offset=0, line=1, follows=True) for body, rest in zip((old, new), rests, strict=True)]
            apart = [_plain_records(body, work / "clean.csv") for body in bodies]
            if apart[0] and apart[1]:
                return Common(records.rows - apart[0].rows, records.quoted, records.longest, dict(zip(SIDES, bodies, strict=True)))
        return _head(plan, walk.head, checks)


def together(common: Common | None, rest: Records) -> Records:
    """The records of a file of which those that both files have were left out."""
    if common is None:
        return rest
    return replace(rest, rows=common.rows + rest.rows, quoted=common.quoted or rest.quoted, longest=max(common.longest, rest.longest))


def _head(plan: Plan, size: int, checks: _Checks) -> Common | None:
    """So many bytes that both files begin with, if they are whole records."""
    if size < LEAST or (records := checks.finish(size)) is None:
        return None
    bodies = {side: getattr(plan, side).body for side in SIDES}
    after = {side: replace(body, offset=body.offset + size, line=body.line + records.lines, follows=True) for side, body in bodies.items()}
    return Common(records.rows, records.quoted, records.longest, after)


def _are_lines(records: Records, file: _File) -> bool:
    """Whether each record is one line."""
    unended = file.size > 0 and file.read(file.size - 1, 1) != b"\n"
    return not records.quoted or records.lines + unended == records.rows


# --- walking side by side ------------------------------------------------------------------------


class _File:
    """Reads a file from some offset on, some megabytes at a time; places count from there."""

    def __init__(self, file: BinaryIO, offset: int) -> None:
        self._file, self._offset = file.fileno(), offset
        self.size = max(os.stat(self._file).st_size - offset, 0)
        self._data = np.empty(BUFFER, np.uint8)
        self._start = self._held = 0

    def view(self, at: int, size: int) -> Bytes:
        """So many bytes, as far as there are so many; they stand there until something else is looked at."""
        if not self._start <= at or at + size > self._start + self._held:
            if size > len(self._data):
                self._data = np.empty(size, np.uint8)
            self._start, self._held = at, os.preadv(self._file, [self._data.data], self._offset + at)
        begin = at - self._start
        return self._data[begin : min(begin + size, self._held)]

    def read(self, at: int, size: int) -> bytes:
        """The same, to keep."""
        return self.view(at, size).tobytes()


@dataclass
class _Walk:
    """Where both files are the same, and where they are not."""

    files: tuple[_File, _File]
    rests: tuple[BinaryIO, BinaryIO]
    """Lines of the old and the new file that differ are written there."""
    quote: bytes
    passed: Callable[[int], None]
    """Told up to which place in the old file all is known."""
    head: int = 0
    """Bytes of whole lines that both begin with."""
    differences: int = 0
    left_out: int = 0
    """Bytes of the old and the new file that differ."""

    def to_the_end(self) -> bool:
        """Walk; False if there is too much that differs, or a difference leaves a quote open."""
        i = j = 0
        old, new = self.files
        while True:
            same = self._same(i, j)
            i, j = i + same, j + same
            self.passed(i)
            if not self.differences:
                self.head = i
            if i == old.size and j == new.size:
                return True
            apart = self._apart(i, j)
            if apart is None or not self._leave_out(i, j, apart):
                return False
            i, j = i + apart[0], j + apart[1]

    def _same(self, i: int, j: int) -> int:
        """How many bytes of whole lines are the same from these places on; all, if both files end with them."""
        old, new = self.files
        done, size = 0, GLANCE
        while True:
            a, b = old.view(i + done, size), new.view(j + done, size)
            shorter = min(len(a), len(b))
            place = _first_difference(a[:shorter], b[:shorter])
            if not shorter or place < shorter:
                done += place
                break
            done, size = done + shorter, min(2 * size, BUFFER)
            self.passed(i + done)
        return done if i + done == old.size and j + done == new.size else self._whole_lines(i, done)

    def _whole_lines(self, i: int, size: int) -> int:
        """How many of so many bytes of the old file are whole lines."""
        back = GLANCE
        while True:
            first = max(size - back, 0)
            found = self.files[0].read(i + first, size - first).rfind(b"\n") + 1
            if found or not first:
                return first + found if found else 0
            back *= 4

    def _apart(self, i: int, j: int) -> tuple[int, int] | None:
        """How many bytes of each file stand before the next line that both have; None if there is none nearby."""
        old, new = self.files
        left = old.size - i, new.size - j
        if not all(left):
            return left
        a, b = old.read(i, NEAR), new.read(j, NEAR)
        after = a.find(b"\n") + 1, b.find(b"\n") + 1
        following = a[after[0] : a.find(b"\n", after[0]) + 1]
        if all(after) and following and b.startswith(following, after[1]):
            return after
        found = _first_common_line(a, b)
        return left if found is None and max(left) <= NEAR else found

    def _leave_out(self, i: int, j: int, apart: tuple[int, int]) -> bool:
        """Write what differs; whether it is worth going on, and no quote is left open."""
        self.differences += 1
        self.left_out += sum(apart)
        too_much = self.left_out > MOST * sum(file.size for file in self.files)
        if too_much or (self.differences > FEW and i < self.differences * WORTH):
            return False
        for file, out, at, size in zip(self.files, self.rests, (i, j), apart, strict=True):
            quotes = 0
            for place in range(at, at + size, BUFFER):
                piece = file.read(place, min(BUFFER, at + size - place))
                quotes += piece.count(self.quote) if self.quote else 0
                out.write(piece)
            if quotes % 2:
                return False
        return True


def _first_difference(a: Bytes, b: Bytes) -> int:
    """Where two equally long pieces differ first; their length if they don't. Where they are aligned eight bytes are compared at a time."""
    same, end = 0, len(a)
    wide = [each[: end & ~7].view(np.uint64) for each in (a, b)]
    if all(each.flags.aligned for each in wide):
        same = 8 * _first(wide[0] != wide[1])
        end = min(same + 8, end)
    return same + _first(a[same:end] != b[same:end])


def _first(marks: npt.NDArray[np.bool_]) -> int:
    """The place of the first mark; the number of places if there is none."""
    place = int(marks.argmax()) if len(marks) else 0
    return place if len(marks) and marks[place] else len(marks)


def _first_common_line(a: bytes, b: bytes) -> tuple[int, int] | None:
    """Where the line begins that both have soonest."""
    places: dict[bytes, tuple[int, int]] = {}
    at = 0
    for n, line in enumerate(b.split(b"\n")[:-1]):
        places.setdefault(line, (n, at))
        at += len(line) + 1
    best: tuple[int, tuple[int, int]] | None = None
    at = 0
    for n, line in enumerate(a.split(b"\n")[:-1]):
        if line in places and (best is None or n + places[line][0] < best[0]):
            best = n + places[line][0], (at, places[line][1])
        at += len(line) + 1
    return best[1] if best else None


# --- checking meanwhile --------------------------------------------------------------------------


class _Checks:
    """Checks a file from its beginning in pieces of whole lines, by other threads."""

    def __init__(self, body: Body, work: Path, pool: ThreadPoolExecutor, progress: Progress) -> None:
        self.body, self.work, self.pool, self.progress = body, work, pool, progress
        self.pieces: list[tuple[int, Future[Records | None]]] = []
        """Where each ends, and what was found in it."""

    def up_to(self, place: int) -> None:
        """What stands before this place will be needed."""
        self.progress(0)
        while place - self._done >= PIECE:
            end = self._line_end(self._done + PIECE)
            if end <= self._done:
                return
            self._submit(end)

    @property
    def _done(self) -> int:
        return self.pieces[-1][0] if self.pieces else 0

    def _line_end(self, place: int) -> int:
        """The end of the last line before a place; 0 if there is none nearby."""
        size = min(GLANCE, place)
        with self.body.path.open("rb") as file:
            found = os.pread(file.fileno(), size, self.body.offset + place - size).rfind(b"\n") + 1
        return place - size + found if found else 0

    def _submit(self, end: int) -> None:
        begin = self._done
        body = replace(self.body, offset=self.body.offset + begin, size=end - begin, follows=self.body.follows or begin > 0)
        self.pieces.append((end, self.pool.submit(_plain_records, body, self.work / f"{begin}.csv", self.progress)))

    def finish(self, size: int) -> Records | None:
        """The records in so many bytes, which end with a line; None if they are not plain records."""
        while self._done > size:
            self.pieces.pop()
        if self._done < size:
            self._submit(size)
        found = [piece.result() for _, piece in self.pieces]
        records = [each for each in found if each is not None]
        if len(records) == len(found) and len({each.line_end for each in records}) == 1:
            return replace(
                records[0],
                rows=sum(each.rows for each in records),
                lines=sum(each.lines for each in records),
                quoted=any(each.quoted for each in records),
                longest=max(each.longest for each in records),
            )
        if len(found) == 1:
            return None
        del self.pieces[:]  # a record may stand in two of them
        self._submit(size)
        return self.finish(size)


def _plain_records(body: Body, clean_copy: Path, progress: Progress = lambda done: None) -> Records | None:
    """The records of a body; None if they are not plain."""
    try:
        records = check_records(body, BadLines.REFUSE, clean_copy, progress)
    except NotUtf8Error:
        raise
    except SourceError:
        return None
    return records if records.path == body.path else None
