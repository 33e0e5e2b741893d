"""A session on Spark, on this machine or a cluster: connected, watched, interrupted, and its errors in words."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from diffing.engines import Watch
from diffing.engines.spark_sql import SETTINGS
from diffing.errors import DiffError, EngineError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOCAL, CLUSTER, CONNECT = re.compile(r"local(\[(\*|[1-9][0-9]*)\])?"), re.compile(r"(spark|k8s)://.+|yarn"), re.compile(r"sc://.+")
OLDEST_JAVA = 17
MASTER_PORT, CONNECT_PORT = 7077, 15002
"""Where they listen if nobody says otherwise."""
REACH = 10.0
"""Seconds in which an address must answer."""
EVERY = 0.2
"""Seconds between looks at how far a job is, and whether it shall stop."""
HOW_TO_HAVE = "Install it with: pip install -r requirements-spark.txt"
JAVA_HINT = "Install a Java runtime (Debian: apt-get install default-jre-headless), or set JAVA_HOME to one."
SETTINGS_HINT = "Check Spark's settings (DIFFING_SPARK_SETTINGS), above all for memory and Java, and the free memory of this machine."
_LOCK = threading.Lock()
_RUNNING: dict[str, Any] = {}
"""The session from which those of comparisons are made."""
warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")


def check_master(master: str) -> str:
    """The address of a Spark master as it is.

    Raises:
        EngineError: it is none.
    """
    if any(kind.fullmatch(master) for kind in (LOCAL, CLUSTER, CONNECT)):
        return master
    raise EngineError(
        f"“{master}” is no address of a Spark master.",
        "Write local[2] for this machine, spark://host:7077 for a cluster, or sc://host:15002 for a Spark Connect server.",
    )


def _check_reached(master: str) -> None:
    """See whether anybody answers, which Spark itself would try for minutes."""
    found = re.fullmatch(r"s(?:c|park)://(\[[0-9a-fA-F:]+\]|[^:/,;]+)(?::([0-9]+))?[^,]*", master)
    if not found:
        return
    port = int(found[2] or (CONNECT_PORT if master.startswith("sc:") else MASTER_PORT))
    try:
        socket.create_connection((found[1].strip("[]"), port), timeout=REACH).close()
    except OSError as error:
        what = "a Spark Connect server" if master.startswith("sc:") else "a Spark master"
        raise EngineError(
            f"Nobody answers at {master}: {error.strerror or error}.",
            f"Check that {what} runs there and is reached from here, and the address (DIFFING_SPARK, --spark).",
        ) from error


@contextmanager
def session(master: str, settings: dict[str, str]) -> Iterator[SparkSession]:
    """A session of one comparison, with settings and temporary views of its own.

    Raises:
        EngineError: there is no PySpark, no Java, or no such master.
    """
    _check_reached(check_master(master))
    opened = _connected(master) if CONNECT.fullmatch(master) else _started(master, settings)
    try:
        with in_words():
            for name, value in {**settings, **SETTINGS}.items():
                with suppress(_static_setting()):
                    opened.conf.set(name, value)
        yield opened
    finally:
        if CONNECT.fullmatch(master):
            opened.stop()


def _pyspark() -> Any:
    try:
        import pyspark
    except ImportError as error:
        raise EngineError("Comparing on Spark needs PySpark, which is not installed.", HOW_TO_HAVE) from error
    return pyspark


def _static_setting() -> type[Exception]:
    """What Spark raises for a setting that can only be given at the start."""
    from pyspark.errors import AnalysisException

    raised: type[Exception] = AnalysisException
    return raised


def _connected(remote: str) -> SparkSession:
    _pyspark()
    try:
        from pyspark.sql.connect.session import SparkSession as Remote
    except ImportError as error:
        raise EngineError("Spark Connect needs packages that are not installed.", HOW_TO_HAVE) from error
    with in_words(remote):
        found: SparkSession = Remote.builder.remote(remote).create()
        found.version  # noqa: B018 - the first question shows whether anybody answers
        return found


def _started(master: str, settings: dict[str, str]) -> SparkSession:
    """A new session in the one Spark that a process may hold."""
    _pyspark()
    with _LOCK:
        running = _RUNNING.get("session")
        if running is None or not _is_alive(running):
            _check_java()
            running = _RUNNING["session"] = _start(master, settings)
        if (at := running.sparkContext.master) != master:
            raise EngineError(f"This process works on Spark at {at} already, so it can't at {master}.", "Use one master per process.")
        return running.newSession()


def _is_alive(session: Any) -> bool:
    with suppress(Exception):
        if not session.sparkContext._jsc.sc().isStopped():
            return True
    with suppress(Exception):
        session.stop()
    return False


def _start(master: str, settings: dict[str, str]) -> SparkSession:
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkRuntimeError
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    log = Path(__file__).with_name("spark-log4j2.properties")
    usual = {
        "spark.master": master,
        "spark.app.name": "csv-diffing",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **({"spark.driver.host": "127.0.0.1", "spark.driver.memory": _quarter()} if LOCAL.fullmatch(master) else {}),
    }
    java = "spark.driver.extraJavaOptions"
    own = f"-Dlog4j2.configurationFile={log.as_uri()} {settings.get(java, '')}".strip()
    conf = SparkConf(loadDefaults=False).setAll(list({**usual, **settings, **SETTINGS, java: own}.items()))
    with in_words(master), tempfile.TemporaryFile() as said:  # Java greets people on standard error
        if SparkContext._gateway is None:
            try:
                gateway = launch_gateway(conf, {"stdout": said, "stderr": said})
            except PySparkRuntimeError as error:
                said.seek(0)
                raise EngineError(
                    f"Java could not start Spark: {_first_line(said.read().decode(errors='replace'))}", SETTINGS_HINT
                ) from error
            SparkContext._ensure_initialized(gateway=gateway)
        started: SparkSession = SparkSession.builder.config(conf=conf).getOrCreate()
        return started


def _first_line(said: str) -> str:
    """What Java complains of first."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith(("NOTE:", "WARNING:", "Error occurred"))]
    return _sentence(lines[0] if lines else "it ended without a word")


def _quarter() -> str:
    """A quarter of the machine's memory, at least 1 GB: on one machine the driver does all the work."""
    return f"{max(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >> 22, 1024)}m"


def _check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    try:
        said = subprocess.run([java or "java", "-version"], capture_output=True, text=True, timeout=60, check=True).stderr
    except (OSError, subprocess.SubprocessError) as error:
        where = f"at {home} (JAVA_HOME)" if home else "on this machine"
        raise EngineError(f"Spark needs Java {OLDEST_JAVA} or later, and there is none {where}.", JAVA_HINT) from error
    found = re.search(r'version "(\d+)', said)
    if found and int(found[1]) < OLDEST_JAVA:
        raise EngineError(f"Spark needs Java {OLDEST_JAVA} or later; this is Java {found[1]}.", JAVA_HINT)


# --- watching ------------------------------------------------------------------------------------


@contextmanager
def watched(spark: SparkSession, watch: Watch, stage: Callable[[], str]) -> Iterator[None]:
    """Tells how many of the tasks that are known are done, and interrupts what runs when asked to."""
    tag, done = f"diffing-{uuid.uuid4().hex}", threading.Event()
    progress = _connect_progress(spark) if _is_remote(spark) else _classic_progress(spark, tag)
    spark.addTag(tag)

    def look() -> None:
        while not done.wait(EVERY):
            with suppress(Exception):  # a session that is gone shows in the comparison itself
                if watch.cancelled.is_set():
                    spark.interruptTag(tag)
                    if not _is_remote(spark):
                        spark.sparkContext.cancelJobGroup(tag)
                elif (share := progress()) is not None:
                    watch.report(stage(), share)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    except Exception:
        watch.check()
        raise
    finally:
        done.set()
        thread.join()
        with suppress(Exception):
            spark.removeTag(tag)


def _is_remote(spark: SparkSession) -> bool:
    return ".connect." in type(spark).__module__


def _classic_progress(spark: SparkSession, group: str) -> Callable[[], float | None]:
    context: Any = spark.sparkContext
    context.setJobGroup(group, "a comparison")
    tracker = context.statusTracker()

    def share() -> float | None:
        ids = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(group)]
        running = [job for job in ids if job and job.status == "RUNNING"]
        stages = [tracker.getStageInfo(each) for job in running for each in job.stageIds]
        tasks = sum(each.numTasks for each in stages if each)
        return sum(each.numCompletedTasks for each in stages if each) / tasks if tasks else None

    return share


def _connect_progress(spark: SparkSession) -> Callable[[], float | None]:
    latest: list[float | None] = [None]

    def take(stages: Any, inflight_tasks: int, operation_id: str | None, done: bool) -> None:
        tasks = sum(each.num_tasks for each in stages or ())
        latest[0] = sum(each.num_completed_tasks for each in stages) / tasks if tasks and not done else None

    spark.registerProgressHandler(cast(Any, take))
    return lambda: latest[0]


# --- errors --------------------------------------------------------------------------------------


@contextmanager
def in_words(master: str | None = None, spark: SparkSession | None = None) -> Iterator[None]:
    """Turns what Spark says into words a person can act on.

    `master` says that it is about to be reached; `spark` is the session that works.
    """
    try:
        yield
    except DiffError:
        raise
    except Exception as error:
        if not _is_spark_error(error):
            raise
        if spark is not None and not _is_remote(spark) and not _is_alive(spark):
            raise EngineError(*ENDED) from error
        raise _in_words(str(error), master) from error


def _is_spark_error(error: Exception) -> bool:
    rooms = {each.__module__.split(".")[0] for each in type(error).__mro__}
    return bool(rooms & {"pyspark", "py4j", "grpc"})


ENDED = (
    "The session on Spark ended before the comparison was done.",
    "Compare again; if it was not you, ask who runs the cluster.",
)
CAUSES: tuple[tuple[str, str, str], ...] = (
    ("PATH_NOT_FOUND|FileNotFoundException|NoSuchFileException|No such file", "Spark can't find {path}.",
     "The cluster must see the file under the same path: put it on storage that both share, or give a URL such as s3a:// or hdfs://."),
    ("UNSUPPORTED_FILE_SYSTEM|UnsupportedFileSystemException|No FileSystem for scheme|ClassNotFoundException.*FileSystem",
     "Spark can't read {path}: it knows no such storage.",
     "Add the connector to the cluster (for s3a: the package hadoop-aws), or copy the file where the cluster can read it."),
    ("AccessControlException|Permission denied|AccessDenied|403", "Spark may not read or write {path}.",
     "Give the cluster's user the rights."),
    ("No space left on device", "A disk of the cluster is full.", "Free some space, then compare again."),
    ("OutOfMemoryError|Container killed|exceeding memory", "An executor of Spark ran out of memory.",
     "Give the executors more memory (spark.executor.memory), or more of them."),
    ("SparkContext (was shut down|has been shutdown)|stopped SparkContext|SESSION_(CLOSED|NOT_FOUND|CHANGED)|session was closed", *ENDED),
    ("cancelled|OPERATION_CANCELED|interrupted", "The comparison was stopped on Spark.", "Start it again when you need it."),
    ("UNAVAILABLE|failed to connect|Connection refused|DNS resolution|UnknownHostException|All masters are unresponsive|RETRIES_EXCEEDED",
     "Spark can't be reached.", "Check that it runs and is reached from here under its address (DIFFING_SPARK)."),
)  # fmt: skip
"""What Spark says, and what that means for a person. The first that fits is told."""


def _in_words(said: str, master: str | None) -> EngineError:
    paths = re.findall(r"(?:[a-z0-9]+:)?/[^\s'\"`,;)]+", said)
    path = f"“{paths[0].rsplit('/', 1)[-1].rstrip('.')}”" if paths else "a file"
    for signs, message, hint in CAUSES:
        if re.search(signs, said):
            return EngineError(message.format(path=path), hint)
    if master:
        return EngineError(f"Spark can't be reached at {master}.", "Check the address (DIFFING_SPARK), and that it runs.")
    return EngineError(f"Spark could not finish the comparison: {_reason(said)}", "If it fails again, please report this message.")


def _reason(said: str) -> str:
    """The innermost cause that an error names, without names of classes and paths."""
    causes = re.findall(r"^(?:Caused by: |: )[\w.$]+(?:Exception|Error)?: (.+)$", said, re.MULTILINE) or said.strip().splitlines()[:1]
    return _sentence(causes[-1][:300] if causes else "no reason given")


def _sentence(said: str) -> str:
    told = re.sub(r"(/[^\s\"']+)+", "…", said)
    return told if told.endswith((".", "…")) else f"{told}."
