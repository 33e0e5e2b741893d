"""What can go wrong with Spark, and how it is said: a message and a hint, never a stack trace."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from diffing.engines import Watch
from diffing.errors import Cancelled, EngineError
from diffing.plan import Choices, Plan, make_plan
from diffing.sources import open_source
from tests.cluster import free_port
from tests.on_spark import need_spark, spark_engine

ROOT = Path(__file__).parent.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, more in (("old", 0), ("new", 1)):
        (tmp_path / f"{name}.csv").write_text("k,v\n" + "".join(f"{i},{i + more}\n" for i in range(2000)))
    return tmp_path


def plan_of(folder: Path) -> Plan:
    sources = (open_source(folder / f"{name}.csv", workdir=folder) for name in ("old", "new"))
    return make_plan(*sources, Choices(key=("k",)))


def complaint(folder: Path, *options: str, **surroundings: str) -> str:
    """What the command line says when it can't compare on Spark."""
    command = [sys.executable, "-m", "diffing", str(folder / "old.csv"), str(folder / "new.csv"), "--key", "k", "--engine", "spark"]
    ran = subprocess.run([*command, *options], env=os.environ | surroundings, cwd=ROOT, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    message, hint = ran.stderr.splitlines()
    assert message.startswith("error: ") and hint.startswith("hint: ")
    return ran.stderr


def test_an_address_that_is_none_is_refused(folder):
    assert "“mars” is no address of a Spark master" in complaint(folder, "--spark", "mars")
    assert "local[2]" in complaint(folder, DIFFING_SPARK="local[two]")


def test_settings_that_are_none_are_refused(folder):
    assert "“memory=8g” is no setting of Spark" in complaint(folder, DIFFING_SPARK_SETTINGS="memory=8g")


def test_what_java_complains_of_is_told(folder):
    need_spark()
    said = complaint(folder, DIFFING_SPARK_SETTINGS="spark.driver.memory=99999999g")
    assert re.search("Java could not start Spark: .*heap", said) and "DIFFING_SPARK_SETTINGS" in said


def test_without_java_it_is_said_how_to_have_it(folder):
    need_spark()
    said = complaint(folder, JAVA_HOME="/nowhere")
    assert "needs Java 17 or later, and there is none at /nowhere (JAVA_HOME)" in said and "default-jre-headless" in said


def test_without_pyspark_it_is_said_how_to_have_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark", None)
    from diffing.engines.spark import SparkEngine

    with pytest.raises(EngineError, match="needs PySpark") as error:
        SparkEngine("local[3]").run(plan_of(folder), folder)
    assert "requirements-spark.txt" in error.value.hint


@pytest.mark.parametrize(("address", "who"), [("spark://127.0.0.1:{}", "a Spark master"), ("sc://127.0.0.1:{}", "a Spark Connect server")])
def test_a_master_that_does_not_answer_is_named(folder, address, who):
    need_spark()
    address = address.format(free_port())
    said = complaint(folder, "--spark", address)
    assert f"Nobody answers at {address}" in said and who in said


def test_a_file_that_the_cluster_can_not_see_is_named(folder):
    def hide(stage: str, share: float | None) -> None:
        if stage == "cancelling identical rows":
            (folder / "old.csv").unlink(missing_ok=True)

    with pytest.raises(EngineError, match="Spark can't find “old.csv”") as error:
        spark_engine().run(plan_of(folder), folder, Watch(report=hide))
    assert "same path" in error.value.hint


def test_a_session_that_is_ended_from_outside_is_said_and_the_next_one_works(folder):
    engine = spark_engine()

    def end(stage: str, share: float | None) -> None:
        if stage == "matching rows" and not ended:
            from pyspark import SparkContext

            ended.append(SparkContext._active_spark_context.stop())

    ended: list[None] = []
    with pytest.raises(EngineError, match="session on Spark ended") as error:
        engine.run(plan_of(folder), folder, Watch(report=end))
    assert not isinstance(error.value, Cancelled) and "Compare again" in error.value.hint
    assert engine.run(plan_of(folder), folder).summary.changed == 2000
