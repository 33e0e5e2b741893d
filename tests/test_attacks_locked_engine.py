"""If hostile SQL reached a connection to DuckDB after all: could it read, write or load what it must not?"""

from __future__ import annotations

import ast
import csv
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb
import pytest

from diffing import export, keys, views
from diffing.engines.bounds import Bounded
from diffing.engines.duckdb import DuckDBEngine
from diffing.plan import Choices, Plan, make_plan
from diffing.result import Result
from diffing.sources import open_source

PACKAGE = Path(__file__).parent.parent / "diffing"
SECRET = "what nobody may read"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of two files in results/one; a secret, and a place to write to, are beside it."""
    folder = tmp_path_factory.mktemp("attacked")
    for name, text in (("old.csv", "id,v\n1,1\n"), ("new.csv", "id,v\n1,2\n"), ("secret.csv", f"words\n{SECRET}\n")):
        (folder / name).write_text(text)
    (folder / "elsewhere").mkdir()
    (folder / "results" / "one").mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    return DuckDBEngine().run(plan_of(folder, Choices(key=("id",))), folder / "results" / "one")


def plan_of(folder: Path, choices: Choices) -> Plan:
    old, new = (open_source(folder / f"{side}.csv", workdir=folder) for side in ("old", "new"))
    return make_plan(old, new, choices)


def of_engine(result: Result, opened: ExitStack) -> Any:
    work = result.folder / "work"
    work.mkdir()
    return opened.enter_context(DuckDBEngine()._connected(result.folder, work, result.plan, Bounded()))


def of_keys(result: Result, opened: ExitStack) -> Any:
    return opened.enter_context(keys._connected(result.folder, result.plan.old, result.plan.new))


def of_export(result: Result, opened: ExitStack) -> Any:
    return opened.enter_context(export._rows(result))


def of_views(result: Result, opened: ExitStack) -> Any:
    return opened.enter_context(views._connection(result.folder.parent).cursor())


@pytest.fixture(scope="module", params=[of_engine, of_keys, of_export, of_views], ids=lambda each: each.__name__)
def con(request: pytest.FixtureRequest, result: Result) -> Iterator[Any]:
    """Each connection of the product that runs SQL, as it is when that SQL runs."""
    with ExitStack() as opened:
        yield request.param(result, opened)


READS: dict[str, Callable[[Path], str]] = {
    "a file of the system": lambda folder: "SELECT content FROM read_text('/etc/passwd')",
    "the environment": lambda folder: "SELECT content FROM read_blob('/proc/self/environ')",
    "a file beside": lambda folder: f"SELECT * FROM read_csv('{folder}/secret.csv')",
    "a file beside, by its name": lambda folder: f"SELECT * FROM '{folder}/secret.csv'",
    "a file beside, round a corner": lambda folder: f"SELECT * FROM '{folder}/results/../secret.csv'",
    "a list of files": lambda folder: f"SELECT * FROM glob('{folder}/*.csv')",
    "a variable of the process": lambda folder: "SELECT * FROM secret_table",
}
WRITES: dict[str, Callable[[Path], str]] = {
    "a file": lambda folder: f"COPY (SELECT 1) TO '{folder}/elsewhere/file.csv'",
    "a database": lambda folder: f"ATTACH '{folder}/elsewhere/file.db'",
    "a copy of all": lambda folder: f"EXPORT DATABASE '{folder}/elsewhere/all'",
    "over an input": lambda folder: f"COPY (SELECT 1) TO '{folder}/secret.csv'",
}
LOADS = (
    "INSTALL httpfs",
    "LOAD httpfs",
    "INSTALL prql FROM community",
    "CREATE SECRET stolen (TYPE s3)",
    "SELECT * FROM read_csv('https://127.0.0.1:1/data.csv')",
)
OPENS = (
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "RESET lock_configuration",
    "SET allowed_directories = ['/']",
    "SET temp_directory = '/etc'",
    "SET autoload_known_extensions = true",
    "PRAGMA enable_external_access = true",
)


@pytest.mark.parametrize("what", READS)
def test_nothing_else_is_read(con: Any, folder: Path, what: str) -> None:
    secret_table = duckdb.sql(f"SELECT '{SECRET}' AS words").arrow()  # noqa: F841 - a name that SQL may find
    with duckdb.connect() as open_:
        assert open_.execute(READS[what](folder)).fetchall(), "the attack works where nothing is locked"
    with pytest.raises(duckdb.Error):
        con.execute(READS[what](folder)).fetchall()


@pytest.mark.parametrize("what", WRITES)
def test_nothing_else_is_written(con: Any, folder: Path, what: str) -> None:
    with pytest.raises(duckdb.Error):
        con.execute(WRITES[what](folder))
    assert list((folder / "elsewhere").iterdir()) == []
    assert SECRET in (folder / "secret.csv").read_text()


@pytest.mark.parametrize("statement", LOADS)
def test_no_extension_is_loaded_and_no_network_reached(con: Any, statement: str) -> None:
    with pytest.raises(duckdb.PermissionException):
        con.execute(statement)


@pytest.mark.parametrize("statement", OPENS)
def test_the_lock_can_not_be_opened(con: Any, statement: str) -> None:
    with pytest.raises(duckdb.Error, match="locked"):
        con.execute(statement)


def test_what_a_connection_is_for_is_read(con: Any, result: Result) -> None:
    named = {str(result.rows_file), str(result.plan.old.path)}
    readable = [file for file in named if _can_read(con, file)]
    assert readable, "a connection that reads nothing would pass every other test"


def _can_read(con: Any, file: str) -> bool:
    try:
        return bool(con.execute(f"SELECT * FROM '{file}'").fetchall())
    except duckdb.Error:
        return False


def test_a_link_to_a_secret_is_no_way_to_it(result: Result, folder: Path) -> None:
    link = result.folder / "link.csv"
    link.symlink_to(folder / "secret.csv")
    with ExitStack() as opened, pytest.raises(duckdb.PermissionException):
        of_views(result, opened).execute(f"SELECT * FROM '{link}'")


def test_every_connection_of_the_package_is_locked() -> None:
    found = {
        file.name
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("connect", "sql", "query", "execute", "read_csv", "read_parquet")
        if isinstance(node.value, ast.Name) and node.value.id == "duckdb"
    }
    assert found == {"locked.py"}


# --- names and cells as SQL ------------------------------------------------------------------------

HOSTILE = [
    'id"; DROP TABLE compared; --',
    "v'); COPY (SELECT 1) TO '/tmp/attacked.csv'; --",
    "$rows",
    "c0",
    "{v}",
    "%s",
    "select",
    "*",
    "'",
    '"',
    "\\",
    "old_left",
    "change",
    "k0_old",
]
"""Column names, and cells, that would do harm or clash if they became part of a statement."""


@pytest.mark.parametrize("name", HOSTILE)
def test_a_column_may_be_called_anything_and_is_only_a_name(tmp_path: Path, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    (tmp_path / "old.csv").write_text(f"{quoted},plain\n1,x\n2,y\n")
    (tmp_path / "new.csv").write_text(f"{quoted},plain\n1,x\n2,{quoted}\n")
    for key, found in (((name,), (0, 0, 1, 1)), (("plain",), (1, 1, 0, 1)), ((), (1, 1, 0, 1))):
        folder = tmp_path / f"by {len(key)} {'plain' in key}"
        folder.mkdir()
        result = DuckDBEngine().run(plan_of(tmp_path, Choices(key=key)), folder)
        assert (result.summary.added, result.summary.removed, result.summary.changed, result.summary.unchanged) == found
        shown = views.page(result, views.Filter(search=name), views.Order(name, views.By.NEW, True))
        assert len(shown.rows) == 1
        export.write_csv(result, tmp_path / "out.csv")
        with (tmp_path / "out.csv").open(newline="") as file:
            assert name in [cell for row in list(csv.reader(file))[1:] for cell in row]
    ideas = keys.suggest_keys(result.plan.old, result.plan.new, workdir=tmp_path)
    assert (name,) in [idea.columns for idea in ideas]
    assert not Path("/tmp/attacked.csv").exists()
