"""CSV Diffing: here is the same table twice; what changed?

The names here are the public ones. They are looked up when first used, so that importing the
package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "diffing.dialects": ["CsvDialect", "DialectChoice"],
    "diffing.engines": ["Engine", "Watch"],
    "diffing.engines.duckdb": ["DuckDBEngine"],
    "diffing.errors": ["DiffError"],
    "diffing.export": ["write_csv", "write_json_lines", "write_parquet"],
    "diffing.grammar": ["ColumnType"],
    "diffing.keys": ["KeySuggestion", "suggest_keys"],
    "diffing.metrics": ["Metric", "load_metrics"],
    "diffing.plan": ["Choices", "ColumnPair", "Plan", "Tolerance", "make_plan"],
    "diffing.preparing": ["open_pair", "prepare"],
    "diffing.records": ["BadLines"],
    "diffing.result": ["Change", "Result", "Summary"],
    "diffing.sources": ["Source", "open_source"],
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
