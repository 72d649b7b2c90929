"""The whole road on one machine: every stage as its own command and process, then one page that shows what came out.

Nothing is special to the demo: each stage is the command a user would type, with its config from one TOML file. What is
finished is not redone; after a kill the same command continues.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from balancing.config import BalancingConfig
from core.config import RunConfig, Section
from core.errors import MGLMError
from core.log import LOG_FILE_VARIABLE
from core.manifest import MANIFEST_NAME, hash_of, inputs_of_files, wait_until_free, write_atomically
from core.processes import end_with_parent, tree_bytes
from core.spark import SparkConfig
from corpus.config import CorpusConfig
from eval.config import EvalConfig
from mglm.stages import DemoStage, demo_stages
from model.config import ModelConfig
from tokenizer.config import TokenizerConfig
from train.config import FinetuneConfig, PretrainConfig

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED = ROOT / "examples" / "documents.jsonl"
RECORD_NAME = "demo.json"  # what the last complete walk was made of
TIMINGS_NAME = "timings.json"  # command, seconds and memory of every stage, when it last did work
REPORT_NAME = "report.html"
MEMORY_SAMPLE_S = 0.5
SAVING_S = 30.0


class DemoConfig(Section):
    """`processes`: how many torchrun workers train, the tensor-parallel size of configs/demo.toml."""

    processes: int = 2


SECTION_MODELS: dict[str, type[Section]] = {
    "spark": SparkConfig,
    "corpus": CorpusConfig,
    "balancing": BalancingConfig,
    "tokenizer": TokenizerConfig,
    "model": ModelConfig,
    "pretrain": PretrainConfig,
    "finetune": FinetuneConfig,
    "eval": EvalConfig,
    "demo": DemoConfig,
}


def run_demo(inputs: Sequence[Path], output: Path, config: Path | None, overrides: Sequence[str]) -> Path:
    """Walks all stages, writes report.html and returns its path.

    `inputs` are the user's JSONL files; without any, the texts of examples/. Fine-tuning always learns from the
    summaries in examples/.

    Raises:
        MGLMError: an input is missing or empty, or a stage failed; finished stages stay.
    """
    sources = [_checked(path) for path in inputs] or [_checked(EMBEDDED)]
    config = config or ROOT / "configs" / ("own_text.toml" if inputs else "demo.toml")
    settings = _checked_config(config, overrides)
    stages = demo_stages(sources, [EMBEDDED], output, config, overrides, settings.processes)
    identity = hash_of([config.read_text("utf-8"), list(overrides), inputs_of_files([*sources, EMBEDDED])])
    report = output / REPORT_NAME
    if report.exists() and _walked_before(output, stages, identity):
        _say(f"nothing to do: all {len(stages)} stages were made before from the same input and config")
        _say(f"report: {report}")
        return report
    (output / "logs").mkdir(parents=True, exist_ok=True)
    _say(f"{len(stages)} stages into {output}, each a command of its own; logs in {output / 'logs'}")
    started = time.monotonic()
    for number, stage in enumerate(stages, start=1):
        _walk(stage, number, len(stages), output)
    from mglm.material import gather
    from mglm.report import write_report

    page_started = time.monotonic()
    write_report(report, gather(output, sources, EMBEDDED, stages))
    hashes = {stage.output.name: stage.manifest().content_hash() for stage in stages}
    write_atomically(output / RECORD_NAME, json.dumps({"identity": identity, "stages": hashes}, indent=1))
    _say(f"report and summaries of an unseen article  ({time.monotonic() - page_started:.1f} s)")
    _say(f"done in {time.monotonic() - started:.0f} s; open {report}")
    return report


def read_timings(run: Path) -> dict[str, dict[str, Any]]:
    """Stage folder → {command, wall_s, peak_bytes} of the process that made it."""
    path = run / TIMINGS_NAME
    timings: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return timings


def _checked_config(config: Path, overrides: Sequence[str]) -> DemoConfig:
    """Every section, so that a slip in one of the last stages does not show after minutes."""
    run = RunConfig(config, overrides)
    for name, model in SECTION_MODELS.items():
        run.section(name, model)
    return run.section("demo", DemoConfig)


def _checked(path: Path) -> Path:
    if not path.exists():
        raise MGLMError(
            f"input {path}", found="no such file", expected="JSONL with a text field", action="mend --input"
        )
    if path.is_dir():
        raise MGLMError(
            f"input {path}", found="a directory", expected="a JSONL file", action="name its files one by one"
        )
    if path.stat().st_size == 0:
        raise MGLMError(f"input {path}", found="an empty file", expected="JSONL with a text field")
    return path


def _walked_before(output: Path, stages: Sequence[DemoStage], identity: str) -> bool:
    record = output / RECORD_NAME
    if not record.exists():
        return False
    known = json.loads(record.read_text("utf-8"))
    if known.get("identity") != identity or not all((s.output / MANIFEST_NAME).exists() for s in stages):
        return False
    return all(known["stages"].get(s.output.name) == s.manifest().content_hash() for s in stages)


def _walk(stage: DemoStage, number: int, total: int, run: Path) -> None:
    """Runs one stage as a process, with its memory watched, and prints the one line about it."""
    finished_before = (stage.output / MANIFEST_NAME).exists() and stage.manifest().content_hash()
    command = [sys.executable, "-m", "mglm", *stage.arguments]
    log = run / "logs" / f"{number:02}-{stage.output.name}.log"
    wait_until_free(stage.output, SAVING_S)  # by a run that was killed a moment ago
    started = time.monotonic()
    status, peak_bytes = _run_watched(command, {**os.environ, LOG_FILE_VARIABLE: str(log)})
    wall_s = time.monotonic() - started
    if status != 0:
        raise MGLMError(
            f"stage {number}/{total} {stage.name}",
            found=f"exit status {status}",
            action=f"see the line above and {log}; the same command continues where it stopped",
        )
    manifest = stage.manifest()
    if finished_before == manifest.content_hash():
        _say(f"[{number:2}/{total}] {stage.name:<19} made before")
        return
    timings = read_timings(run)
    timings[stage.output.name] = {
        "stage": stage.name,
        "command": "mglm " + " ".join(stage.arguments),
        "wall_s": round(wall_s, 1),
        "peak_bytes": peak_bytes,
    }
    write_atomically(run / TIMINGS_NAME, json.dumps(timings, indent=1))
    _say(f"[{number:2}/{total}] {stage.name:<19} {stage.describe(manifest)}  ({wall_s:.1f} s)")


def _run_watched(command: Sequence[str], environment: dict[str, str]) -> tuple[int, int]:
    """Runs a command to its end; returns exit status and the peak memory of its process tree.

    Memory is the proportional set size: a page that processes share counts once, divided among them.
    """
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, preexec_fn=end_with_parent)
    peak_bytes = 0
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak_bytes
        while not ended.wait(MEMORY_SAMPLE_S):
            peak_bytes = max(peak_bytes, tree_bytes(process.pid))

    def forward(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    previous = signal.signal(signal.SIGTERM, forward)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.wait()  # the terminal sent it the same interrupt: let it save what it saves
        raise
    finally:
        ended.set()
        watcher.join()
        signal.signal(signal.SIGTERM, previous)
    return status, peak_bytes


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
