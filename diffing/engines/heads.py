"""Records that both files begin with: the same bytes, so there is nothing to compare in them.

Most new versions of a table are the old one with a few rows changed or some added at the end. The
bytes that both begin with are read once more to check and count their records, in one of the files
only, and neither cut into records nor hashed.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from diffing.errors import BadLinesError
from diffing.plan import Plan
from diffing.records import BadLines, Body, Progress, Records, check_records

PIECE = 1 << 22
"""Bytes compared at once."""
LEAST = 1 << 20
"""A shorter head is not worth the trouble."""
AT_ONCE = 8
"""Pieces compared before it is known whether they are needed."""


@dataclass(frozen=True, slots=True)
class Head:
    """Regular records that both files begin with."""

    size: int
    """In bytes."""
    records: Records


def common_head(plan: Plan, clean_copy: Path, progress: Progress) -> Head | None:
    """What both files begin with; None if that is little, or not all of it is plain records."""
    old, new = plan.old.body, plan.new.body
    if old.columns != new.columns or any(pair.old != pair.new for pair in plan.pairs):
        return None
    size = _same_bytes(old, new)
    if size < LEAST:
        return None
    try:
        records = check_records(replace(old, size=size), BadLines.REFUSE, clean_copy, progress)
    except BadLinesError:
        return None
    return Head(size, records) if records.path == old.path else None


def after(head: Head | None, body: Body) -> Body:
    """A body without the head."""
    if head is None:
        return body
    return replace(body, offset=body.offset + head.size, line=body.line + head.records.lines, follows=True)


def together(head: Head | None, rest: Records) -> Records:
    """The records of a file of which the head was left out."""
    if head is None:
        return rest
    return replace(
        rest,
        rows=head.records.rows + rest.rows,
        quoted=head.records.quoted or rest.quoted,
        longest=max(head.records.longest, rest.longest),
    )


def _same_bytes(old: Body, new: Body) -> int:
    """How many bytes of whole lines both begin with."""
    with old.path.open("rb") as a, new.path.open("rb") as b, ThreadPoolExecutor() as pool:
        files = (a.fileno(), old.offset), (b.fileno(), new.offset)
        most = min(os.stat(file).st_size - offset for file, offset in files)

        def differs(at: int) -> bool:
            size = min(PIECE, most - at)
            pieces = [os.pread(file, size, offset + at) for file, offset in files]
            return pieces[0] != pieces[1]

        at = 0
        while at < most:
            ahead = range(at, min(at + AT_ONCE * PIECE, most), PIECE)
            found = next((piece for piece, different in zip(ahead, pool.map(differs, ahead), strict=True) if different), None)
            if found is not None:
                pieces = [np.frombuffer(os.pread(file, min(PIECE, most - found), offset + found), np.uint8) for file, offset in files]
                at = found + int(np.argmax(pieces[0] != pieces[1]))
                break
            at = min(at + AT_ONCE * PIECE, most)
        return _whole_lines(a.fileno(), old.offset, at)


def _whole_lines(file: int, offset: int, size: int) -> int:
    """The size of as many bytes from `offset` on as are whole lines."""
    last = os.pread(file, min(PIECE, size), offset + max(size - PIECE, 0))
    return max(size - PIECE, 0) + last.rfind(b"\n") + 1 if b"\n" in last else 0
