"""Amounts of bytes: as people write them, and of what is in a folder."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_size(text: str) -> int:
    """Bytes of an amount such as 10GB, 512 MiB or 1000.

    Raises:
        ValueError: it is none, or nothing.
    """
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) *([kmgt]i?)?b?", text.strip().lower())
    size = int(float(found[1]) * UNITS[found[2] or ""]) if found else 0
    if size <= 0:
        raise ValueError("an amount such as 10GB or 500MB")
    return size


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder; what vanishes meanwhile counts as nothing."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(where, name)).st_size
    return total


def in_words(size: float) -> str:
    """A size as people write it: 1.5 GB."""
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        del units[0]
    return f"{size:,.0f} {units[0]}" if units[0] == "bytes" or size >= 100 else f"{size:,.1f} {units[0]}"
