"""The shape of the house, held by a test: imports point down, and each library has its owners."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = [
    ["__main__"],
    ["cli"],
    ["asgi", "api"],
    ["services", "inspect"],
    ["inspect"],
    ["jobs"],
    ["options", "terminal", "describe"],
    ["preparing"],
    ["excel", "charts"],
    ["keys", "store", "uploads", "engines", "views", "export", "demo"],
    ["sql", "plan_json"],
    ["result"],
    ["metrics"],
    ["plan"],
    ["sources"],
    ["dialects", "records"],
    ["lines", "naming", "grammar", "digits", "sizes", "locked", "aside"],
    ["errors"],
]
"""From the top down: a module imports from lower floors, or from its own."""

OWNERS = {
    "streamlit": {"app", "pages"},
    "starlette": {"api", "asgi"},
    "plotly": {"charts"},
    "diskcache": {"store", "jobs"},
    "duckdb": {"locked", "sources", "keys", "engines", "views", "export", "demo"},
    "pyarrow": {"records", "sources", "engines", "export"},
    "pandas": {"pages"},
    "numpy": {"lines", "engines", "pages"},
    "xlsxwriter": {"excel"},
    "pyspark": {"engines"},
}
"""The only rooms that may know a library exists."""

PACKAGE = sorted((ROOT / "diffing").rglob("*.py"))
FILES = [*PACKAGE, *sorted((ROOT / "pages").rglob("*.py")), *([ROOT / "app.py"] if (ROOT / "app.py").exists() else [])]


def room(file: Path) -> str:
    """The name of a file in the tables above."""
    top, *rest = file.relative_to(ROOT).with_suffix("").parts
    return rest[0] if top == "diffing" else top


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "diffing":
            names |= {f"diffing.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_library_is_known_only_to_its_owners(file):
    for name in imported(file):
        owners = OWNERS.get(name.split(".")[0])
        assert owners is None or room(file) in owners, f"{room(file)} must not import {name}"


@pytest.mark.parametrize("file", PACKAGE, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_down(file):
    floor = {name: depth for depth, names in enumerate(FLOORS) for name in names}
    if room(file) == "__init__":
        return
    assert room(file) in floor, f"{room(file)} has no floor"
    for name in imported(file):
        if name.startswith("diffing.") and (below := name.split(".")[1]) in floor:
            assert floor[room(file)] <= floor[below], f"{room(file)} must not import {below}"


def test_every_public_name_is_what_it_says_whatever_was_imported_before():
    code = (
        "import importlib, types, diffing\n"
        "for home in set(diffing._HOMES): importlib.import_module(home)\n"
        "for name in diffing.__all__:\n"
        "    exec(f'from diffing import {name}')\n"
        "    assert not isinstance(locals()[name], types.ModuleType), name\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_spark_is_known_to_its_own_files_only_and_loaded_when_chosen_only():
    knowing = [file for file in FILES if any(name.split(".")[0] == "pyspark" for name in imported(file))]
    assert knowing and all(file.name.startswith("spark") for file in knowing)
    others = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in PACKAGE if not file.name.startswith(("spark", "__"))]
    loaded = f"import sys; {'; '.join(f'import {name}' for name in others)}; print(any('pyspark' in name for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, cwd=ROOT).stdout == "False\n"
