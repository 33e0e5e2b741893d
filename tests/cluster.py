"""A cluster of Spark on loopback: a master, workers and a Spark Connect server, each a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.on_spark import java_options

PATIENCE = 120.0
"""Seconds in which a process must be ready."""


@dataclass
class Cluster:
    """Where the cluster is, and its processes."""

    folder: Path
    master: str
    workers: list[subprocess.Popen[bytes]]

    @contextmanager
    def connect_server(self) -> Iterator[str]:
        """The address of a Spark Connect server that works on the cluster."""
        port = free_port()
        command = ["spark-submit", "--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "--master", self.master]
        settings = {"spark.connect.grpc.binding.port": port, "spark.connect.grpc.binding.address": "127.0.0.1", "spark.ui.enabled": "false"}
        settings |= {"spark.driver.memory": "768m", "spark.executor.memory": "512m"}
        command += [each for name, value in settings.items() for each in ("--conf", f"{name}={value}")]
        with running([*command, "spark-internal"], self.folder, "connect") as server:
            wait_for(port, server)
            yield f"sc://127.0.0.1:{port}"


@contextmanager
def cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    port = free_port()
    master = f"spark://127.0.0.1:{port}"
    with ExitStack() as stack:
        start = f"--host 127.0.0.1 --port {port} --webui-port {free_port()}".split()
        first = stack.enter_context(running(["spark-class", "org.apache.spark.deploy.master.Master", *start], folder, "master"))
        wait_for(port, first)
        found = []
        for n in range(workers):
            at = free_port()
            told = f"--host 127.0.0.1 --port {at} --webui-port {free_port()} -c 1 -m 600m -d {folder / f'worker{n}'} {master}".split()
            each = stack.enter_context(running(["spark-class", "org.apache.spark.deploy.worker.Worker", *told], folder, f"worker{n}"))
            wait_for(at, each)
            found.append(each)
        yield Cluster(folder, master, found)


@contextmanager
def running(command: list[str], folder: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of Spark's with all that it starts; gone afterwards."""
    import pyspark

    home = Path(pyspark.__file__).parent
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(home / "bin" / command[0]), *command[1:]],
            env=surroundings(folder) | {"SPARK_HOME": str(home), "SPARK_DAEMON_MEMORY": "600m"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            kill(process)


def surroundings(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "TMPDIR": str(folder),
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "JDK_JAVA_OPTIONS": java_options(),
    }


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and its executors at once."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something listens."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens on port {port}")
