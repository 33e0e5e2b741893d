"""The README does not lie: its commands and its code run, and its tables name what there is."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from diffing.services import _READERS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines()]
COMMANDS = [line for line in SHELL if line.startswith("python -m diffing")]
PYTHON = re.findall(r"```python\n(.*?)```", README, re.S)


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder that has the repository's data."""
    for name in ("data", "metrics.toml"):
        (folder / name).symlink_to(ROOT / name)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_there_are_commands_and_code_to_try():
    assert len(COMMANDS) >= 6
    assert PYTHON


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_runs(command, tmp_path):
    done = run(shlex.split(command)[1:], tmp_path)
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("code", PYTHON)
def test_the_code_of_the_readme_runs(code, tmp_path):
    done = run(["-c", code], tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_output_shown_is_the_output(tmp_path):
    shown = re.search(r"```text\n([^`]*rows differ.*?)```", README, re.S)
    assert shown is not None
    said = re.sub(r"[0-9.]+ s\.", "", run(shlex.split(COMMANDS[0])[1:], tmp_path).stdout)
    assert re.sub(r"[0-9.]+ s\.", "", shown[1]).strip() in said


def test_the_make_targets_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert {line.split()[1] for line in SHELL if line.startswith("make ")} <= set(targets)


def test_every_room_it_names_is_there():
    rooms = re.findall(r"`(?:diffing/)?([a-z_]+)\.py`", README)
    assert [name for name in rooms if not [*ROOT.glob(f"{name}.py"), *ROOT.glob(f"*/{name}.py")]] == []


def test_every_option_it_names_is_there():
    listed = subprocess.run([sys.executable, "-m", "diffing", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60).stdout
    assert {each for each in re.findall(r"`(--[a-z-]+)", README) if each not in listed} <= {"--old-", "--new-"}


def test_every_setting_is_explained_and_every_explained_one_is_there():
    explained = {name: set(re.findall(r"DIFFING_[A-Z]+(?:_[A-Z]+)*", text)) for name, text in TEXTS.items()}
    assert explained["README.md"] == set(_READERS)
    assert [name for name, found in explained.items() if not found <= set(_READERS)] == []
