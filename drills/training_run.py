"""The small training runs of the drills: inputs, configuration, and the comparison of a disturbed run with one that
nobody disturbed."""

import json
import socket
from pathlib import Path

from benchmarks.shards import make_tokenizer, write_documents, write_plan, write_shards
from core.documents import document_id, split_of
from train.metrics import read_metrics

ROOT = Path(__file__).parents[1]
# Relative; of a loss, and of a tensor's norm. Layouts and numbers of processes round differently, and hundreds of steps
# add that up; what is not restored shows as 1.
LOSS_TOLERANCE, WEIGHT_TOLERANCE = 1e-6, 1e-4
# A key's bias shifts all scores of a query alike, which softmax takes away: its gradient is nothing but rounding, and
# Adam makes that as large as any other. So it wanders, and the losses do not notice.
WANDERING, WANDERING_TOLERANCE = "query_key_value.bias", 1e-3
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
global_batch_size = {batch}
micro_batch_size = 2
warmup_steps = 5
save_interval = {save_interval}
distributed_optimizer = true
heldout_documents = 1
sample_prompts = 1
sample_tokens = 4
eval_interval = 15
"""


def write_config(work: Path, steps: int, *, batch: int = 8, save_interval: int = 3) -> None:
    """`work/config.toml`; `batch` is what every number of processes must divide."""
    text = CONFIG.format(steps=steps, batch=batch, save_interval=save_interval)
    (work / "config.toml").write_text(text, "utf-8")


def compare(undisturbed: Path, disturbed: Path, steps: int) -> None:
    """Every step recorded once, and the losses and weights of the undisturbed run but for rounding."""
    from model.readers import read_megatron

    theirs, ours = (read_metrics(output / "metrics.jsonl") for output in (undisturbed, disturbed))
    assert [row["step"] for row in ours] == [row["step"] for row in theirs] == list(range(1, steps + 1))
    loss = max(abs(row["loss"] / other["loss"] - 1) for row, other in zip(ours, theirs, strict=True))
    events = read_metrics(disturbed / "events.jsonl")
    redone = sum(event.get("redone_steps", 0) for event in events)
    damaged = sum(event["event"] == "checkpoint damaged" for event in events)
    wanted, found = (read_megatron(output, None, None).weights for output in (undisturbed, disturbed))
    differences = {name: float((found[name] - whole).norm() / whole.norm()) for name, whole in wanted.items()}
    wandering = max(value for name, value in differences.items() if name.endswith(WANDERING))
    weight = max(value for name, value in differences.items() if not name.endswith(WANDERING))
    print(f"{steps} steps, each recorded once; {redone} redone; {damaged} damaged checkpoints", flush=True)
    norms = f"weights by {weight:.1e} of a tensor's norm, {WANDERING} by {wandering:.1e}"
    print(f"losses differ by {loss:.1e} at most, {norms}", flush=True)
    for row, other in zip(ours, theirs, strict=True):
        if abs(row["loss"] / other["loss"] - 1) > LOSS_TOLERANCE:
            data = "the same number of" if row["targets"] == other["targets"] else "other"
            raise AssertionError(f"from step {row['step']} on the losses are others, on {data} targets: {events}")
    assert weight <= WEIGHT_TOLERANCE, "the weights are not those of the undisturbed run"
    assert wandering <= WANDERING_TOLERANCE, "the biases are not those of the undisturbed run"


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
    tokenizer = make_tokenizer(work, texts, 800)
    write_shards(work / "shards", splits["train"], tokenizer)
    write_documents(work / "documents", splits)
    write_plan(work / "plan.json", dict.fromkeys(sorted(texts), 1 / len(texts)))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
