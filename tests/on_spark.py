"""Spark for the tests: one engine per process, where there is one to be had."""

from __future__ import annotations

import os
import shutil
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from diffing.engines.spark import SparkEngine

ARCHIVE = Path(sys.prefix) / "spark-classes.jsa"
"""The classes of Spark as Java has them in memory, if `python -m tests.on_spark` was run; Java then starts in half the time."""
LEFT_OUT = "the tests on Spark are left out: install Java 17 (Debian: apt-get install default-jre-headless) and run make spark"


def need_spark() -> None:
    """Leave a test out where there is no Spark; continuous integration may not."""
    has_java = bool(os.environ.get("JAVA_HOME") or shutil.which("java"))
    if find_spec("pyspark") is None or not has_java:
        if os.environ.get("CI"):
            pytest.fail(LEFT_OUT)
        pytest.skip(LEFT_OUT)


@cache
def _engine() -> SparkEngine:
    from diffing.engines.spark import SparkEngine

    return SparkEngine("local[2]", {"spark.driver.memory": "1g", "spark.driver.extraJavaOptions": java_options()})


SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xlog:disable"
"""For virtual machines that end before thorough compiling and collecting pays."""


def java_options() -> str:
    return f"{SHORT_LIVED} -Xshare:auto -XX:SharedArchiveFile={ARCHIVE}" if ARCHIVE.exists() else SHORT_LIVED


def make_archive() -> None:
    """Compare something, and keep the classes that it took when Java ends."""
    from pyspark import SparkContext

    from diffing.engines.spark import SparkEngine
    from diffing.plan import Choices, make_plan
    from diffing.sources import open_source

    part = ARCHIVE.with_suffix(".part")
    engine = SparkEngine("local[2]", {"spark.driver.extraJavaOptions": f"{SHORT_LIVED} -XX:ArchiveClassesAtExit={part}"})
    with TemporaryDirectory() as folder:
        home = Path(folder)
        for name in ("old", "new"):
            (home / f"{name}.csv").write_text(f"id,v,w\n1,1.5,a\n2,1,{name}\n2,2.5,{name}\n")
        sources = (open_source(home / f"{name}.csv", workdir=home) for name in ("old", "new"))
        engine.add_totals(engine.run(make_plan(*sources, Choices(key=("id",))), home))
    java = SparkContext._gateway.proc
    java.stdin.close()  # which ends it
    java.wait()
    part.rename(ARCHIVE)


def spark_engine() -> SparkEngine:
    """An engine on this machine."""
    need_spark()
    return _engine()


if __name__ == "__main__":
    make_archive()
