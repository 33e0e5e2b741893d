"""Is work done beside a process, and done at all whatever becomes of it?"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from diffing.aside import aside

SETUP = """
import os, sys
from diffing.aside import aside
here = os.getpid()
"""


def run(body: str) -> str:
    """What a new process prints, in which no library has started threads."""
    return subprocess.run([sys.executable, "-c", SETUP + body], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes can't be split here")
def test_the_work_is_done_in_a_process_of_its_own():
    assert run("print(aside(os.getpid)() != here)") == "True"


def test_an_error_is_raised_where_the_answer_is_asked_for():
    body = """
def fail(): raise ValueError("no such table")
answer = aside(fail)
try: answer()
except ValueError as error: print(error, os.getpid() == here)
"""
    assert run(body) == "no such table True"


@pytest.mark.parametrize("end", ["os._exit(3)", "os.kill(os.getpid(), 9)", "os._exit(0)"])
def test_what_a_process_left_undone_is_done_here(end):
    body = f"""
def work():
    if os.getpid() != here: {end}
    return "done"
print(aside(work)())
"""
    assert run(body) == "done"


def test_a_process_with_threads_is_not_split():
    assert "numpy" in sys.modules or __import__("numpy")
    assert aside(os.getpid)() == os.getpid()
