"""One process, timed and weighed from outside."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """Medians over some runs."""

    seconds: float
    megabytes: float
    """Peak resident memory of the process."""


def measure(command: Sequence[str], runs: int = 3) -> Measured:
    """Run a command of Python several times, after one run that does not count."""
    found = [_once(command) for _ in range(runs + 1)][1:]
    return Measured(statistics.median(s for s, _ in found), statistics.median(m for _, m in found))


def _once(command: Sequence[str]) -> tuple[float, float]:
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"failed: {' '.join(command)}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024
