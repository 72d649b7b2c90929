"""The command that submits a job ends as the job did, which spark-submit does not tell."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docker" / "submit_kubernetes.sh"
SPARK = """#!/bin/sh
printf '%s\\n' "$@" > "$SPARK_HOME/arguments"
exit "${SPARK_STATUS:-0}"
"""
KUBECTL = """#!/bin/sh
printf '%s\\n' "$@" > "$SPARK_HOME/asked"
[ -n "$PHASE" ] || { echo "Error from server (NotFound)" >&2; exit 1; }
printf %s "$PHASE"
"""


def submit(folder: Path, *, with_kubectl: bool = True, **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs the script with stand-ins for spark-submit and kubectl, and with nothing else beside the shell's own."""
    tools = folder / "tools"
    for path, text in ((folder / "bin" / "spark-submit", SPARK), (tools / "kubectl", KUBECTL)):
        path.parent.mkdir(exist_ok=True)
        if path.name != "kubectl" or with_kubectl:
            path.write_text(text, "utf-8")
            path.chmod(0o755)
    for name in ("sh", "dirname", "date", "od", "tr"):
        (tools / name).unlink(missing_ok=True)
        (tools / name).symlink_to(shutil.which(name) or name)
    environment = {"PATH": str(tools), "SPARK_HOME": str(folder), "IMAGE": "registry/mglm-spark:1", **settings}
    command = ["sh", str(SCRIPT), "https://api:6443", "corpus", "build", "--input", "/data/a crawl"]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=60)


def driver(folder: Path) -> str:
    """The name that the driver's pod was to have."""
    (name,) = re.findall(
        r"^spark\.kubernetes\.driver\.pod\.name=(.*)$", (folder / "arguments").read_text("utf-8"), re.M
    )
    return str(name)


def test_a_job_that_succeeded_is_a_success_and_its_own_pod_was_asked_for(tmp_path: Path) -> None:
    names = set()
    for _ in range(2):
        done = submit(tmp_path, PHASE="Succeeded")
        assert (done.returncode, done.stderr) == (0, "")
        names.add(driver(tmp_path))
        asked = (tmp_path / "asked").read_text("utf-8").split()
        assert asked[:5] == ["--namespace", "mglm", "get", "pod", driver(tmp_path)]
    assert len(names) == 2  # else the second could be told the first one's end
    assert all(re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])", name) for name in names)  # RFC 1123
    assert (tmp_path / "arguments").read_text("utf-8").endswith("corpus\nbuild\n--input\n/data/a crawl\n")


@pytest.mark.parametrize("phase", ["Failed", "Running", "Unknown", ""])
def test_whatever_did_not_succeed_is_an_error_that_names_the_pod(tmp_path: Path, phase: str) -> None:
    done = submit(tmp_path, PHASE=phase)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"error: the driver's pod {driver(tmp_path)} is {phase or 'not to be found'}, expected Succ")


def test_a_submission_that_fails_keeps_its_status_and_nothing_is_asked(tmp_path: Path) -> None:
    assert submit(tmp_path, PHASE="Succeeded", SPARK_STATUS="7").returncode == 7
    assert not (tmp_path / "asked").exists()


def test_without_waiting_nothing_is_asked_and_kubectl_is_not_needed(tmp_path: Path) -> None:
    assert submit(tmp_path, with_kubectl=False, WAIT="false").returncode == 0
    assert "spark.kubernetes.submission.waitAppCompletion=false" in (tmp_path / "arguments").read_text("utf-8")


def test_a_machine_without_kubectl_is_told_before_anything_is_submitted(tmp_path: Path) -> None:
    done = submit(tmp_path, with_kubectl=False)
    assert done.returncode == 2
    assert "no kubectl" in done.stderr
    assert not (tmp_path / "arguments").exists()
