"""Processes, timed and weighed from outside, turn about."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True)
class Measured:
    """Medians over some runs."""

    seconds: float
    megabytes: float
    """Peak resident memory of the process."""


def measure(commands: Mapping[str, Sequence[str]], runs: int = 3) -> dict[str, Measured]:
    """Run each command several times, one after the other in turns, so that all meet the same weather.

    The first turn does not count, unless there is only one.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(runs + (runs > 1)):
        for name, command in commands.items():
            once = run_once(command)
            if turn or runs == 1:
                found[name].append(once)
    return {name: Measured(statistics.median(s for s, _ in each), statistics.median(m for _, m in each)) for name, each in found.items()}


def run_once(command: Sequence[str]) -> tuple[float, float]:
    """Seconds and megabytes of one process. A command that begins with a dash is one of this Python."""
    started = time.perf_counter()
    argv = [sys.executable, *command] if command[0].startswith("-") else list(command)
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"failed: {' '.join(argv)}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024
