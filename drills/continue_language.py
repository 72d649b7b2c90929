"""Adds a language to a trained model, and measures what the old ones lose by it: against continuing without it.

    python -m drills.continue_language [--steps 120] [--more 80] [--share 0.25]

A model is trained on some languages. Then it goes on twice: as it was; and with a vocabulary extended for one more
language, the weights grown, and a plan in which the new one takes its share. The second goes on for so many more steps
that the old languages get as many samples in both. Held-out bits per byte are compared: of the old languages they must
not be worse by more than three in a hundred, and the new language's must be far below what the old model made of it.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from balancing import fit_plan
from benchmarks.record import write_record
from benchmarks.shards import write_shards
from benchmarks.texts import source, texts
from core.config import RunConfig
from core.documents import document_id
from core.schemas import SAMPLE, SAMPLE_TABLE
from core.stage import open_stage
from model.extend import extend_checkpoint
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import Tokenizer
from tokenizer.extend import extend_tokenizer
from tokenizer.train import train_tokenizer
from train.heldout import HELDOUT, HeldoutSource
from train.metrics import read_metrics
from train.pretrain import prepare_pretrain

OLD, NEW = ("de", "en", "ru"), "ka"
HELD = 8  # documents of each language that are measured on, and not trained on
LOSS_ALLOWED = 0.03
SETTINGS = [
    "model.num_layers=2", "model.hidden_size=64", "model.sequence_length=128", "model.hidden_dropout=0.0",
    "model.attention_dropout=0.0", "pretrain.global_batch_size=8", "pretrain.learning_rate=2e-3",
    "pretrain.warmup_steps=10", "pretrain.tensorboard=false", "pretrain.sample_prompts=0",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=120, help="of the first run [120]")
    parser.add_argument("--more", type=int, default=80, help="of the run that goes on without the language [80]")
    parser.add_argument("--share", type=float, default=0.25, help="of the new language [0.25]")
    arguments = parser.parse_args()
    found = texts()
    if not {*OLD, NEW} <= found.keys():
        sys.exit(f"error: this drill needs text in {', '.join((*OLD, NEW))}, which {source()} has not")
    with tempfile.TemporaryDirectory(prefix="mglm-drill-") as folder:
        drill(Path(folder), {lang: found[lang][:150] for lang in (*OLD, NEW)}, arguments)


def drill(work: Path, found: Mapping[str, list[str]], arguments: argparse.Namespace) -> None:
    """Trains three runs and compares; ends with status 1 when the old languages lost."""
    held = {lang: of_language[:HELD] for lang, of_language in found.items()}
    trained = {lang: of_language[HELD:] for lang, of_language in found.items()}
    old_texts = {lang: trained[lang] for lang in OLD}
    config = TokenizerConfig(vocab_size=4_000, num_threads=1)
    train_tokenizer(make_sample(work / "sample", old_texts), work / "tokenizer", config)
    new_sample = make_sample(work / "new_sample", {NEW: trained[NEW]})
    extend_tokenizer(work / "tokenizer", new_sample, work / "extended", 600, config)
    old, extended = Tokenizer.load(work / "tokenizer"), Tokenizer.load(work / "extended")
    write_shards(work / "shards", old_texts, old)
    write_shards(work / "all_shards", dict(trained), extended)
    even = {lang: (1 - arguments.share) / len(OLD) for lang in OLD}
    steps, end = arguments.steps, arguments.steps + arguments.more
    longer = steps + round(arguments.more / (1 - arguments.share))
    first = train(work, "first", "shards", dict.fromkeys(OLD, 1 / len(OLD)), steps, held)
    extend_checkpoint(work / "first", work / "extended", work / "grown")
    without = train(work, "without", "shards", dict.fromkeys(OLD, 1 / len(OLD)), end, held, "first")
    added = train(work, "added", "all_shards", {**even, NEW: arguments.share}, longer, held, "grown")
    same = sum(old.encode(text) == extended.encode(text) for lang in OLD for text in held[lang])
    rows = [
        [lang, *(f"{run[lang]:.3f}" for run in (first, without, added)), f"{added[lang] / without[lang] - 1:+.2%}"]
        for lang in (*OLD, NEW)
    ]
    worst = max(added[lang] / without[lang] - 1 for lang in OLD)
    write_record(
        "continue_language",
        "A language added to a trained model",
        ["language", "before", "continued without", "continued with it", "with ÷ without"],
        rows,
        remarks=[
            f"Held-out bits per byte of {HELD} documents each; {NEW} is the new language. {source()}, 2 layers of 64, "
            f"{steps} steps of 8 rows of 128, then {arguments.more} without and {longer - steps} with the new one, so "
            "that the old ones get as many samples in both.",
            f"{extended.pieces - old.pieces} pieces were added to {old.pieces:,}; of {HELD * len(OLD)} old documents "
            f"{same} are cut as before.",
        ],
    )
    if worst > LOSS_ALLOWED or added[NEW] > 0.9 * without[NEW]:
        sys.exit(f"failed: an old language lost {worst:.2%}, {NEW} went from {without[NEW]:.3f} to {added[NEW]:.3f}")


def train(
    work: Path,
    name: str,
    shards: str,
    shares: Mapping[str, float],
    steps: int,
    held: Mapping[str, list[str]],
    continued: str | None = None,
) -> dict[str, float]:
    """Bits per byte of each language at the end of a run in this process."""
    from model.cpu import cpu_runtime
    from model.parallel import initialize, shut_down
    from train.loop import run

    plan = fit_plan(dict(shares), strategy="raw")
    (work / f"{name}.json").write_text(plan.to_json(), encoding="utf-8")
    settings = RunConfig(None, [*SETTINGS, f"pretrain.steps={steps}", f"pretrain.decay_steps={10 * steps}"])
    output = work / name
    job = prepare_pretrain(
        settings, work / shards, work / f"{name}.json", output, 1,
        continue_from=work / continued if continued else None,
    )  # fmt: skip
    output.mkdir()
    (output / HELDOUT).write_text(json.dumps({"identity": "drill", "texts": held}), encoding="utf-8")
    measured = replace(job, heldout=HeldoutSource(work, list(held), HELD, "drill"), eval_interval=steps)
    with cpu_runtime():
        initialize(job.topology, job.config.seed)
        assert run(measured) == 0
        shut_down()
    (scores,) = (row for row in read_metrics(output / "events.jsonl") if row["event"] == "evaluation")
    return dict(scores["languages"])


def make_sample(directory: Path, found: Mapping[str, list[str]]) -> Path:
    """sample/1 of these texts."""
    stage = open_stage(directory, schema=SAMPLE, config={}, inputs={})
    rows: list[dict[str, Any]] = [
        {"doc_id": document_id(text), "lang": lang, "copy": 0, "text": text[:8_000]}
        for lang, of_language in found.items()
        for text in of_language
    ]
    pq.write_table(pa.Table.from_pylist(rows, SAMPLE_TABLE), directory / "part.parquet")
    stage.finish()
    return directory


if __name__ == "__main__":
    main()
