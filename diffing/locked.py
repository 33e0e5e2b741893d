"""Connections to DuckDB that reach the files they are given, and nothing else on the machine or the network."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

CLOSED: dict[str, Any] = {
    "temp_directory": "",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
}
"""No extensions, and no folder for what does not fit in memory unless one is given."""


FOR_MANY_COLUMNS = "disabled_optimizers = 'common_subexpressions,statistics_propagation'"
"""A setting for statements that name hundreds of columns: what these optimizers do takes the square of the columns."""


def connected(
    *, folders: Iterable[Path] = (), files: Iterable[Path] = (), settings: Iterable[str] = (), **config: Any
) -> duckdb.DuckDBPyConnection:
    """A connection to an empty database in memory that may use these folders and files alone, and can't be told otherwise.

    `settings` are those that can be set on a connection only, as `TimeZone = 'UTC'`.
    """
    import duckdb  # takes a while, and not everybody needs it

    con = duckdb.connect(config=CLOSED | config)
    for setting in settings:
        con.execute(f"SET {setting}")
    con.execute("SET allowed_directories = $folders", {"folders": [f"{folder.resolve()}/" for folder in folders]})
    con.execute("SET allowed_paths = $files", {"files": sorted({str(each) for file in files for each in (file, file.resolve())})})
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")
    return con
