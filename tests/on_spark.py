"""Spark for the tests: one engine per process, where there is one to be had."""

from __future__ import annotations

import os
import shutil
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from diffing.engines.spark import SparkEngine

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

    return SparkEngine("local[2]", {"spark.driver.memory": "1g", "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1"})


def spark_engine() -> SparkEngine:
    """An engine on this machine."""
    need_spark()
    return _engine()
