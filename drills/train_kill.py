"""Kills a training run again and again, at random moments, and compares what comes out with an undisturbed run.

    python -m drills.train_kill [--kills 20] [--steps 200] [--seed 1]

Each start has a random layout of two processes (tensor, pipeline or data parallel with the distributed optimizer) and a
random launcher (ours or torchrun). A random process of it, a worker or the launcher, is sent SIGKILL, SIGTERM or
SIGUSR1: while it starts, at a random step, or in the middle of a save. No process may be left behind, and the same
command must go on. In the end every step was recorded once, losses and weights are those of the undisturbed run.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from core.documents import document_id, split_of
from core.manifest import FileEntry, describe_files, open_stage
from core.plan import Plan, PlanLanguage
from core.schemas import DOCUMENTS, DOCUMENTS_TABLE, SAMPLE, SAMPLE_TABLE, SHARDS
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import Tokenizer
from tokenizer.shard_writer import Part, write_part
from tokenizer.train import train_tokenizer
from train.metrics import read_metrics

ROOT = Path(__file__).parents[1]
INPUTS = {"config": "config.toml", "shards": "shards", "plan": "plan.json", "heldout": "documents"}
LAYOUTS = {"TP2": ["tensor_parallel=2"], "PP2": ["pipeline_parallel=2"], "DP2": []}
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1)
TOO_LONG_S = 240
# Relative; of a loss, and of a tensor's norm. Layouts round differently, and 200 steps add that up; what is not
# restored shows as 1.
LOSS_TOLERANCE, WEIGHT_TOLERANCE = 1e-6, 1e-4
CONFIG = """
[model]
num_layers = 2
hidden_size = 64
num_attention_heads = 2
sequence_length = 64
max_positions = 128
hidden_dropout = 0.0
attention_dropout = 0.0
[pretrain]
steps = {steps}
global_batch_size = 8
micro_batch_size = 2
warmup_steps = 5
save_interval = 3
distributed_optimizer = true
heldout_documents = 1
sample_prompts = 1
sample_tokens = 4
eval_interval = 15
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of what is killed when")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mglm-drill-") as folder:
        drill(Path(folder), arguments.kills, arguments.steps, random.Random(arguments.seed))


def drill(work: Path, kills: int, steps: int, draw: random.Random) -> None:
    """One undisturbed run, one killed `kills` times, and the comparison."""
    make_inputs(work)
    (work / "config.toml").write_text(CONFIG.format(steps=steps), "utf-8")
    undisturbed, disturbed = Run(work, "undisturbed"), Run(work, "disturbed")
    disturb(undisturbed, disturbed, kills, steps, draw)


def disturb(undisturbed: "Run", disturbed: "Run", kills: int, steps: int, draw: random.Random) -> None:
    """Lets the one run, and the other between kills, and compares."""
    undisturbed.start("DP2", "mglm")
    assert undisturbed.wait() == 0, undisturbed.words()
    for number in range(1, kills + 1):
        layout, launcher = draw.choice(list(LAYOUTS)), draw.choice(["mglm", "torchrun"])
        before = disturbed.step
        disturbed.start(layout, launcher)
        told = disturbed.kill(draw, number)
        left = disturbed.left_behind()
        assert not left, f"left behind: {left}"
        print(f"{number:3d} {layout} by {launcher:8s} from step {before:3d}: {told}", flush=True)
    disturbed.start("PP2", "mglm")
    assert disturbed.wait() == 0, disturbed.words()
    assert not disturbed.left_behind()
    compare(undisturbed, disturbed, steps)


@dataclass
class Run:
    """A training run with its output, started and killed as often as one likes."""

    work: Path
    name: str
    stage: str = "pretrain"
    inputs: Mapping[str, str] = field(default_factory=lambda: INPUTS)  # option → name in `work`
    process: "subprocess.Popen[str] | None" = None

    @property
    def output(self) -> Path:
        return self.work / self.name

    @property
    def step(self) -> int:
        rows = read_metrics(self.output / "metrics.jsonl")
        return int(rows[-1]["step"]) if rows else 0

    def start(self, layout: str, launcher: str) -> None:
        arguments = [item for name, path in self.inputs.items() for item in (f"--{name}", str(self.work / path))]
        for override in LAYOUTS[layout]:
            arguments += ["--set", f"{self.stage}.{override}"]
        arguments += ["--output", str(self.output)]
        torchrun = ["torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
        torchrun += ["--master-port", str(free_port()), "-m"]
        start = [sys.executable, "-m", *(torchrun if launcher == "torchrun" else []), "mglm", "train", self.stage]
        settings = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        command = [*start, *arguments, *(["--nproc", "2"] if launcher == "mglm" else [])]
        with (self.work / f"{self.name}.log").open("w") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, text=True, start_new_session=True, env={**os.environ, **settings}
            )

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(TOO_LONG_S)

    def words(self) -> str:
        return (self.work / f"{self.name}.log").read_text("utf-8")[-4000:]

    def kill(self, draw: random.Random, number: int) -> str:
        """Waits for a random moment, kills a random process, waits for all to end; tells what it did."""
        assert self.process is not None
        moment = ("step", "save", "start")[0 if number % 5 in (0, 3) else 2 if number % 5 == 4 else 1]
        if moment == "start":
            time.sleep(draw.uniform(0.5, 8))
        else:
            wanted = self.step + draw.randint(1, 9)
            self._until(lambda: self.step >= wanted)
            if moment == "save":
                self._until(lambda: any((self.output / "checkpoints").glob(".step-*.partial")))
            time.sleep(draw.uniform(0, 0.03))
        if self.process.poll() is not None:
            raise AssertionError(f"it ended before it could be killed: {self.words()}")
        workers = self._workers()
        victim, what = draw.choice([(self.process.pid, "launcher"), *((pid, "worker") for pid in workers)])
        number_of_signal = draw.choice(SIGNALS)
        at = self.step
        os.kill(victim, number_of_signal)
        status = self.process.wait(TOO_LONG_S)
        deadline = time.monotonic() + TOO_LONG_S
        while self.left_behind() and time.monotonic() < deadline:  # a killed launcher's workers save before they end
            time.sleep(0.1)
        assert status != 0, self.words()
        lines = [line for line in self.words().splitlines() if line.strip()]
        said = next((line for line in reversed(lines) if "error: " in line or ": stopped by" in line), "")
        return f"{number_of_signal.name} to a {what} at a {moment}, step {at}: exit status {status}. {said[:150]}"

    def left_behind(self) -> list[int]:
        """Processes of this run that are alive."""
        return [pid for pid in self._mine() if pid != os.getpid()]

    def _workers(self) -> list[int]:
        assert self.process is not None
        return [pid for pid in self._mine() if pid != self.process.pid]

    def _mine(self) -> list[int]:
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                if str(self.output) in words and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
            except psutil.Error:
                continue
        return found

    def _until(self, is_so: Callable[[], bool]) -> None:
        assert self.process is not None
        deadline = time.monotonic() + TOO_LONG_S
        while not is_so():
            assert self.process.poll() is None, self.words()
            assert time.monotonic() < deadline, f"nothing in {TOO_LONG_S} s: {self.words()}"
            time.sleep(0.002)


def compare(undisturbed: Run, disturbed: Run, steps: int) -> None:
    from model.readers import read_megatron

    theirs, ours = (read_metrics(run.output / "metrics.jsonl") for run in (undisturbed, disturbed))
    assert [row["step"] for row in ours] == [row["step"] for row in theirs] == list(range(1, steps + 1))
    loss = max(abs(row["loss"] / other["loss"] - 1) for row, other in zip(ours, theirs, strict=True))
    events = read_metrics(disturbed.output / "events.jsonl")
    redone = sum(event.get("redone_steps", 0) for event in events)
    damaged = [event for event in events if event["event"] == "checkpoint damaged"]
    wanted, found = (read_megatron(run.output, None, None).weights for run in (undisturbed, disturbed))
    weight = max(float((found[name] - whole).norm() / whole.norm()) for name, whole in wanted.items())
    print(f"{steps} steps, each recorded once; {redone} redone after kills; {len(damaged)} damaged checkpoints")
    print(f"losses differ by {loss:.1e} at most, weights by {weight:.1e} of a tensor's norm")
    for row, other in zip(ours, theirs, strict=True):
        if abs(row["loss"] / other["loss"] - 1) > LOSS_TOLERANCE:
            data = "the same number of" if row["targets"] == other["targets"] else "other"
            raise AssertionError(f"from step {row['step']} on the losses are others, on {data} targets: {events}")
    assert weight <= WEIGHT_TOLERANCE, "the weights are not those of the undisturbed run"


def make_inputs(work: Path) -> None:
    """Shards, plan and documents/1 of the texts in examples/, some of them held out, by the real writers."""
    texts: dict[str, list[str]] = {}
    for line in (ROOT / "examples" / "documents.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        texts.setdefault(record["lang"], []).append(record["text"][:4000])
    texts = {lang: texts[lang] for lang in sorted(texts, key=lambda lang: -len(texts[lang]))[:3]}
    splits = {
        split: {lang: [text for text in of if split_of(document_id(text), 0.3) == split] for lang, of in texts.items()}
        for split in ("train", "heldout")
    }
    sample = open_stage(work / "sample", schema=SAMPLE, config={}, inputs={})
    rows = [
        {"doc_id": document_id(text), "lang": lang, "copy": 0, "text": text} for lang in texts for text in texts[lang]
    ]
    pq.write_table(pa.Table.from_pylist(rows, SAMPLE_TABLE), work / "sample" / "part.parquet")
    sample.finish()
    train_tokenizer(work / "sample", work / "tokenizer", TokenizerConfig(vocab_size=800, num_threads=1))
    write_shards(work / "shards", splits["train"], Tokenizer.load(work / "tokenizer"))
    write_documents(work / "documents", splits)
    share = 1 / len(texts)
    languages = [
        PlanLanguage(code=code, count=1, rank=rank, fitted_count=1, raw_share=share, stage1_share=share, share=share)
        for rank, code in enumerate(sorted(texts), start=1)
    ]
    plan = Plan(strategy="table", alpha=None, curve=None, count_unit="documents", languages=languages)
    (work / "plan.json").write_text(plan.to_json(), "utf-8")


def write_shards(directory: Path, texts: dict[str, list[str]], tokenizer: Tokenizer) -> None:
    stage = open_stage(directory, schema=SHARDS, config={}, inputs={})
    tokenizer.save(directory / "tokenizer")
    made = []
    for number, (lang, of_language) in enumerate(sorted(texts.items())):
        columns = [pa.array([document_id(text) for text in of_language]), pa.array(of_language)]
        batch = pa.RecordBatch.from_arrays(columns, names=["doc_id", "text"])
        made.append(write_part([batch], tokenizer, Part(number, lang, 0), directory, stage.work))
    files = [FileEntry(path=row.path, rows=row.rows, bytes=row.bytes, sha256=row.sha256) for row in made]
    inside = describe_files(directory / "tokenizer", {})
    files += [entry.model_copy(update={"path": f"tokenizer/{entry.path}"}) for entry in inside]
    stage.finish(
        files=files,
        counts={row.lang: {"documents": row.rows, "tokens": row.tokens, "bytes": row.n_bytes} for row in made},
        facts={"tokenizer_sha256": tokenizer.sha256, "tokens_of_file": {row.path: row.tokens for row in made}},
    )


def write_documents(directory: Path, splits: dict[str, dict[str, list[str]]]) -> None:
    stage = open_stage(directory, schema=DOCUMENTS, config={}, inputs={})
    counts = {}
    for lang in splits["train"]:
        rows = [
            {
                "doc_id": document_id(text), "text": text, "url": None, "script": "Zyyy", "lid_label": lang,
                "lid_score": 1.0, "n_chars": len(text), "n_bytes": len(text.encode()), "source": "drill", "offset": 0,
                "split": split,
            }
            for split, texts in splits.items() for text in texts[lang]
        ]  # fmt: skip
        folder = directory / "documents" / f"lang={lang}"
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, DOCUMENTS_TABLE), folder / "part-00000.parquet")
        counts[lang] = {"documents": len(rows), "heldout_documents": len(splits["heldout"][lang])}
    stage.finish(counts=counts)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
