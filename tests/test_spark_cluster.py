"""A real cluster: processes that share nothing but files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from diffing.demo import write_demo
from tests.cluster import Cluster, cluster, kill, surroundings
from tests.on_spark import need_spark

ROOT = Path(__file__).parent.parent
SETTINGS = "spark.driver.memory=768m spark.executor.memory=512m"

DRIVER = """
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
engine = SparkEngine(master, spark_settings(settings))

for name in ("whole", "broken"):
    told = set()

    def tell(stage, share):
        if stage not in told:
            told.add(stage)
            print(name, stage, flush=True)
            sys.stdin.readline()

    (folder / name).mkdir()
    write_csv(engine.run(plan, folder / name, Watch(report=tell)), folder / f"{name}.csv")
"""
"""Compares twice, and waits at the beginning of each stage until it is told to go on."""


def test_a_cluster_says_the_same_also_through_spark_connect_and_when_a_worker_is_killed(tmp_path):
    """One test, as its processes take longer to start than to compare."""
    need_spark()
    write_demo(tmp_path / "data" / "demo", revenue_rows=30_000, c_revenue_rows=100)
    (tmp_path / "metrics.toml").write_bytes((ROOT / "metrics.toml").read_bytes())
    embedded = on_the_command_line(tmp_path, "--engine", "duckdb")
    assert embedded.count(b"\n") > 100
    with cluster(tmp_path, workers=2) as spark:
        with spark.connect_server() as address:
            assert on_the_command_line(tmp_path, "--spark", address) == embedded
        kill_a_worker_in_the_second_of_two_comparisons(spark)
    for name in ("whole", "broken"):
        assert (tmp_path / f"{name}.csv").read_bytes() == embedded, name


def on_the_command_line(folder: Path, *options: str) -> bytes:
    """The revenue metric: the differing rows."""
    command = [sys.executable, "-m", "diffing", "metric", "revenue", "--metrics", str(folder / "metrics.toml")]
    ran = subprocess.run(
        [*command, "-o", str(folder / "diff.csv"), *options], env=surroundings(folder), cwd=ROOT, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (1, "")
    return (folder / "diff.csv").read_bytes()


def kill_a_worker_in_the_second_of_two_comparisons(spark: Cluster) -> None:
    command = [sys.executable, "-c", DRIVER, str(spark.folder), spark.master, SETTINGS]
    run = subprocess.Popen(command, env=surroundings(spark.folder), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdin and run.stdout
    told = []
    for stage in run.stdout:
        told.append(stage.strip())
        if told[-1] == "broken matching rows":
            kill(spark.workers[0])
        run.stdin.write("go on\n")
        run.stdin.flush()
    assert run.wait() == 0
    assert "whole counting" in told and "broken counting" in told
