"""A real cluster: processes that share nothing but files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffing.demo import write_demo
from tests.cluster import Cluster, cluster, kill, surroundings
from tests.on_spark import need_spark

ROOT = Path(__file__).parent.parent
SETTINGS = "spark.driver.memory=768m spark.executor.memory=512m"

WATCHED = """
import sys
from pathlib import Path
from diffing.engines import Watch
from diffing.engines.choosing import spark_settings
from diffing.engines.spark import SparkEngine
from diffing.export import write_csv
from diffing.metrics import load_metrics
from diffing.preparing import open_pair, prepare

folder, master, settings = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
metric = load_metrics(folder / "metrics.toml")["revenue"]
old, new = open_pair(metric.old, metric.new, workdir=folder)
plan = prepare(old, new, metric.choices, workdir=folder).plan
told = set()

def tell(stage, share):
    if stage not in told:
        told.add(stage)
        print(stage, flush=True)
        sys.stdin.readline()

(folder / "result").mkdir()
result = SparkEngine(master, spark_settings(settings)).run(plan, folder / "result", Watch(report=tell))
write_csv(result, folder / "watched.csv")
"""
"""Compares, and waits at the beginning of each stage until it is told to go on."""


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    need_spark()
    with cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture(scope="module")
def embedded(spark: Cluster) -> bytes:
    """What the embedded engine says about the revenue metric."""
    write_demo(spark.folder / "data" / "demo", revenue_rows=30_000, c_revenue_rows=100)
    (spark.folder / "metrics.toml").write_bytes((ROOT / "metrics.toml").read_bytes())
    return compared(spark, "--engine", "duckdb")


def compared(spark: Cluster, *options: str) -> bytes:
    """The revenue metric on the command line: the differing rows."""
    output = spark.folder / "diff.csv"
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "diffing",
            "metric",
            "revenue",
            "--metrics",
            str(spark.folder / "metrics.toml"),
            "-o",
            str(output),
            *options,
        ],
        env=surroundings(spark.folder) | {"DIFFING_SPARK_SETTINGS": SETTINGS},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (1, "")
    return output.read_bytes()


def test_a_cluster_says_the_same_as_the_embedded_engine(spark, embedded):
    assert compared(spark, "--spark", spark.master) == embedded


def test_a_spark_connect_server_says_the_same(spark, embedded):
    with spark.connect_server() as address:
        assert compared(spark, "--spark", address) == embedded


def test_a_worker_that_is_killed_in_the_middle_does_not_change_the_answer(spark, embedded):
    command = [sys.executable, "-c", WATCHED, str(spark.folder), spark.master, SETTINGS]
    run = subprocess.Popen(command, env=surroundings(spark.folder), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdin and run.stdout
    stages = []
    for stage in run.stdout:
        stages.append(stage.strip())
        if stages[-1] == "matching rows":
            kill(spark.workers[0])
        run.stdin.write("go on\n")
        run.stdin.flush()
    assert run.wait() == 0 and stages[-1] == "counting"
    assert (spark.folder / "watched.csv").read_bytes() == embedded
