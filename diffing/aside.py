"""Work in a process of its own, while this one gets ready for what follows."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")
THREADED = ("numpy", "duckdb")
"""Libraries that start threads, after which a process can't be split in two safely."""


def aside(work: Callable[[], Answer]) -> Callable[[], Answer]:
    """Begin some work beside this process; calling what is returned waits for its answer.

    Where that can't be, or did not end well, the work is done when its answer is asked for, and raises what it raises.
    """
    if not hasattr(os, "fork") or any(each in sys.modules for each in THREADED):
        return work
    receiving, sending = os.pipe()
    child = os.fork()
    if not child:
        _tell(work, sending)
    os.close(sending)

    def answer() -> Answer:
        with open(receiving, "rb") as told:
            said = told.read()
        _, status = os.waitpid(child, 0)
        if status or not said:
            return work()
        found: Answer = pickle.loads(said)
        return found

    return answer


def _tell(work: Callable[[], object], sending: int) -> None:
    """In the other process: send the answer, and end without a trace."""
    try:
        with open(sending, "wb") as out:
            pickle.dump(work(), out)
        os._exit(0)
    except BaseException:
        os._exit(1)
