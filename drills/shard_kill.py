"""Kills `mglm tokenizer shard` in the middle, driver, JVM and workers at once: nothing it left is taken for whole.

Run again it goes on, keeps the files that were finished, and comes to the same bytes as a job that nobody disturbed.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import texts
from core.errors import MGLMError
from core.manifest import read_manifest
from core.schemas import SHARDS
from core.spark import SparkConfig, spark_session
from tokenizer.shards import Shards

TEXT_BYTES = 20_000_000
FILES_BEFORE_THE_KILL = (3, 40)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="mglm-drill-") as folder:
        drill(Path(folder))
    print("killed twice, continued, and the same bytes in the end")


def drill(work: Path) -> None:
    documents = work / "corpus"
    texts.make_documents(documents, TEXT_BYTES)
    (work / "plan.json").write_text(texts.plan_of(documents).to_json(), encoding="utf-8")
    spark = SparkConfig()
    with spark_session("drill", spark):
        tokenizer = texts.make_tokenizer(work, documents, spark, 3_000)

    def command(output: Path) -> list[str]:
        given = {"documents": documents, "plan": work / "plan.json", "tokenizer": tokenizer, "output": output}
        options = [item for name, path in given.items() for item in (f"--{name}", str(path))]
        return [
            sys.executable,
            "-m",
            "mglm",
            "tokenizer",
            "shard",
            *options,
            "--set",
            "tokenizer.shard_text_bytes=200000",
        ]

    output = work / "killed"
    for files in FILES_BEFORE_THE_KILL:
        process = subprocess.Popen(command(output), start_new_session=True)
        while len(list(output.glob("lang=*/part-*.arrow"))) < files and process.poll() is None:
            time.sleep(0.02)
        assert process.poll() is None, "the job was done before it could be killed"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert "unfinished" in refusal(output)
    finished = {path: path.stat().st_mtime_ns for path in (output / "_work" / "parts").glob("*.json")}
    assert len(finished) >= max(FILES_BEFORE_THE_KILL) - (os.cpu_count() or 1)
    kept = {path: path.stat().st_mtime_ns for path in output.glob("lang=*/part-*.arrow")}
    subprocess.run(command(output), check=True)
    untouched = sum(path.stat().st_mtime_ns == moment for path, moment in kept.items())
    assert untouched >= len(finished), f"{untouched} of {len(finished)} finished files were kept"
    assert not list(output.rglob("*.tmp"))
    Shards.open(output, verify=True)
    subprocess.run(command(work / "undisturbed"), check=True)
    hashes = {read_manifest(path, SHARDS).content_hash() for path in (output, work / "undisturbed")}
    assert len(hashes) == 1, "another result than without the kills"


def refusal(output: Path) -> str:
    """What a reader says of the directory."""
    try:
        Shards.open(output)
    except MGLMError as error:
        return str(error)
    sys.exit("a killed job was taken for whole")


if __name__ == "__main__":
    main()
