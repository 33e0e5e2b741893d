"""One file in plain data: what a person wants to know before comparing it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffing.dialects import DialectChoice
from diffing.records import BadLines, check_records
from diffing.sources import Format, Source, open_source, parquet_rows


def describe(path: Path, choice: DialectChoice, workdir: Path) -> dict[str, Any]:
    """Dialect, columns, types, size, rows and bad lines; reads the whole file."""
    source = open_source(path, workdir=workdir, choice=choice)
    found: dict[str, Any] = {
        "file": source.name,
        "format": source.format.value,
        "compression": source.compression,
        "size": source.size,
        "dialect": source.dialect.in_words() if source.format is Format.CSV else {},
        "columns": [{"name": each.name, "type": each.type.value, "cells": each.shape.value} for each in source.columns],
    }
    return found | _records(source, workdir)


def _records(source: Source, workdir: Path) -> dict[str, Any]:
    if source.format is Format.PARQUET:
        return {"rows": parquet_rows(source.data), "bad_lines": 0, "bad": []}
    if not source.columns:
        return {"rows": 0, "bad_lines": 0, "bad": []}
    records = check_records(source.body, BadLines.SKIP, workdir / "described.csv")
    bad = [{"line": each.line, "text": each.text, "reason": each.reason} for each in records.bad]
    return {"rows": records.rows, "bad_lines": records.bad_lines, "bad": bad}
