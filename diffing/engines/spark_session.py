"""A session on Spark, on this machine or a cluster: connected, watched, interrupted, and its errors in words."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from diffing.engines import Watch
from diffing.engines.spark_sql import SETTINGS
from diffing.errors import Cancelled, EngineError, SourceError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOCAL, CLUSTER, CONNECT = re.compile(r"local(\[(\*|[1-9][0-9]*)\])?"), re.compile(r"(spark|k8s)://.+|yarn"), re.compile(r"sc://.+")
OLDEST_JAVA = 17
EVERY = 0.2
"""Seconds between looks at how far a job is, and whether it shall stop."""
HOW_TO_HAVE = "Install it with: pip install -r requirements-spark.txt"
JAVA_HINT = "Install a Java runtime (Debian: apt-get install default-jre-headless), or set JAVA_HOME to one."
_LOCK = threading.Lock()


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


@contextmanager
def session(master: str, settings: dict[str, str], scratch: Path) -> Iterator[SparkSession]:
    """A session of one comparison, with settings and temporary views of its own.

    Raises:
        EngineError: there is no PySpark, no Java, or no such master.
    """
    check_master(master)
    opened = _connected(master) if CONNECT.fullmatch(master) else _started(master, settings, scratch)
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


def _started(master: str, settings: dict[str, str], scratch: Path) -> SparkSession:
    """A new session in the one Spark that a process may hold."""
    _pyspark()
    from pyspark.sql import SparkSession

    with _LOCK:
        running = SparkSession.getActiveSession() or getattr(SparkSession, "_instantiatedSession", None)
        if running is None or running.sparkContext._jsc is None:
            _check_java()
            running = _start(master, settings, scratch)
        elif running.sparkContext.master != master:
            raise EngineError(
                f"This process works on Spark at {running.sparkContext.master} already, so it can't at {master}.",
                "Use one master per process.",
            )
        return running.newSession()


def _start(master: str, settings: dict[str, str], scratch: Path) -> SparkSession:
    from pyspark.sql import SparkSession

    log = Path(__file__).with_name("spark-log4j2.properties")
    builder = SparkSession.builder.master(master).appName("csv-diffing")
    usual = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1" if LOCAL.fullmatch(master) else "",
        "spark.sql.artifact.isolation.enabled": "false",
        "spark.sql.warehouse.dir": (scratch / "warehouse").as_uri(),
    }
    java = "spark.driver.extraJavaOptions"
    own = f"-Dlog4j2.configurationFile={log.as_uri()} {settings.get(java, '')}".strip()
    for name, value in {**usual, **settings, **SETTINGS, java: own}.items():
        if value:
            builder = builder.config(name, value)
    with in_words(master):
        started: SparkSession = builder.getOrCreate()
        return started


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
def in_words(master: str | None = None) -> Iterator[None]:
    """Turns what Spark says into words a person can act on; `master` says that it is about to be reached."""
    try:
        yield
    except (EngineError, SourceError):
        raise
    except Exception as error:
        if not _is_spark_error(error):
            raise
        raise _in_words(str(error), master) from error


def _is_spark_error(error: Exception) -> bool:
    rooms = {each.__module__.split(".")[0] for each in type(error).__mro__}
    return bool(rooms & {"pyspark", "py4j", "grpc"})


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
    ("SparkContext (was shut down|has been shutdown)|stopped SparkContext|SESSION_(CLOSED|NOT_FOUND|CHANGED)|session was closed",
     "The session on Spark ended before the comparison was done.", "Compare again; if it was not you, ask who runs the cluster."),
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
    return EngineError(f"Spark could not finish the comparison: {first_line(said)}", "If it fails again, please report this message.")


def first_line(text: str) -> str:
    """The first line of an error, without paths."""
    return re.sub(r"(/[^\s\"']+)+", "…", text.strip().splitlines()[0][:300] if text.strip() else "no reason given")


def raise_cancelled(watch: Watch) -> None:
    """Stop here if asked to."""
    if watch.cancelled.is_set():
        raise Cancelled("The comparison was cancelled.", "Start it again when you need it.")
