"""lm-evaluation-harness, offline, on two tasks of ours with a tiny model: its figures must be those of our own scoring.

    python -m drills.harness

A model with random weights is exported. One task is written (ROUGE, beams, several languages), one chosen by
verbalizers. The targets of every other example are what the model says, so that no figure is 0. The harness runs as a
process of its own, told to stay offline; it also takes a likelihood of text and plain continuations from the model.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import sentencepiece
import torch

from core.examples import EXAMPLES, Example, write_examples
from core.manifest import write_atomically
from core.stage import open_stage
from eval.config import EvalConfig
from eval.predict import predict
from eval.predictions import read_predictions
from eval.score import score_directory
from model.config import ModelConfig
from model.convert import HF
from model.export import hf_config, write_export
from model.hf.modeling_mglm import GLMForConditionalGeneration
from model.readers import LoadedModel
from tokenizer.encoding import Tokenizer
from tokenizer.prompts import source, summary_source

ROOT = Path(__file__).parents[1]
TEXTS = ROOT / "examples" / "documents.jsonl"
COUNT = 24
DECODING = {"max_source_tokens": 96, "max_new_tokens": 12, "num_beams": 3, "length_penalty": 0.7,
            "no_repeat_ngram_size": 3}  # fmt: skip
PLAIN = """
task: plain_{kind}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: {kind}
doc_to_text: "{text}"
doc_to_target: "{target}"
metric_list: [{{metric: {metric}, aggregation: {aggregation}, higher_is_better: true}}]
"""


def main() -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(prefix="mglm-drill-") as folder:
        work = Path(folder)
        texts = [json.loads(line)["text"] for line in TEXTS.read_text("utf-8").splitlines()[: 2 * COUNT]]
        model = export(work / "model", texts)
        sets = {"written": written(texts), "chosen": chosen(texts)}
        expected: dict[str, dict[str, float]] = {}
        for name, (task, examples) in sets.items():
            prepared = half_right(model, work, name, task, examples)
            predict(model, prepared, work / f"{name}-said", EvalConfig())
            overall = score_directory(work / f"{name}-said", work / f"{name}-scores", resamples=100)["overall"]
            expected[f"mglm_{name}"] = {measure: overall[measure] for measure in measures(task)}
        run("mglm", "eval", "harness", "--examples", str(work / "written"), "--examples", str(work / "chosen"),
            "--output", str(work / "tasks"))  # fmt: skip
        plain_tasks(work, texts)
        found = harness(work, model, [*expected, "plain_loglikelihood_rolling", "plain_generate_until"])
    for task_name, figures in expected.items():
        for measure, value in figures.items():
            theirs = found[task_name][f"{measure},none"]
            print(f"{task_name} {measure}: mglm eval score {value:.6f}, lm-eval {theirs:.6f}")
            assert abs(theirs - value) < 1e-6, (task_name, measure)
            assert 0 < value < 100
    perplexity = found["plain_loglikelihood_rolling"]["bits_per_byte,none"]
    print(f"plain tasks: {perplexity:.3f} bits per byte, exact match {found['plain_generate_until']}")
    assert 0 < perplexity < 50


def written(texts: list[str]) -> tuple[dict[str, Any], list[Example]]:
    task = {"name": "written", "kind": "summary", "scorer": "rouge", "decoding": DECODING}
    languages = ("en", "zh", "fr")
    rows = [
        Example(id=str(number), task="written", lang="en", target_lang=languages[number % 3], split="heldout",
                source=summary_source(text[: 40 * (1 + number % 9)], languages[number % 3]), target=text[:60])
        for number, text in enumerate(texts[:COUNT])
    ]  # fmt: skip
    return task, rows


def chosen(texts: list[str]) -> tuple[dict[str, Any], list[Example]]:
    task = {"name": "chosen", "kind": "choice", "scorer": "accuracy", "decoding": {"max_source_tokens": 256}}
    choices = {"entailment": [" True", " Yes"], "contradiction": [" False"], "neutral": [" Maybe"]}
    rows = [
        Example(id=str(number), task="chosen", lang="en", target_lang="en", split="heldout", target="neutral",
                source=source("nli", "", premise=first[:60], hypothesis=second[:40]), choices=choices)
        for number, (first, second) in enumerate(zip(texts[:COUNT], texts[COUNT:], strict=True))
    ]  # fmt: skip
    return task, rows


def measures(task: dict[str, Any]) -> list[str]:
    return ["accuracy"] if task["kind"] == "choice" else ["rouge1", "rouge2", "rougeL"]


def half_right(model: Path, work: Path, name: str, task: dict[str, Any], examples: list[Example]) -> Path:
    """The examples as a stage, every other one with the model's own answer, or another label, for its target."""
    prepare(work / f"{name}-as-made", task, examples)
    predict(model, work / f"{name}-as-made", work / f"{name}-first", EvalConfig())
    said = {item.id: item.prediction for item in read_predictions(work / f"{name}-first")}
    wrong = [
        example.target if not example.choices else next(label for label in example.choices if label != said[example.id])
        for example in examples
    ]
    return prepare(
        work / name,
        task,
        [
            example.model_copy(update={"target": said[example.id] if number % 2 else wrong[number]})
            for number, example in enumerate(examples)
        ],
    )


def prepare(directory: Path, task: dict[str, Any], examples: list[Example]) -> Path:
    stage = open_stage(directory, schema=EXAMPLES, config={}, inputs={})
    write_examples(directory / "heldout.jsonl", examples)
    stage.finish(facts={"task": task})
    return directory


def plain_tasks(work: Path, texts: list[str]) -> None:
    """Two tasks as anybody writes them: a likelihood of whole texts, and what follows a beginning."""
    data = work / "tasks" / "plain.jsonl"
    write_atomically(data, "".join(json.dumps({"text": text, "end": text[-9:]}) + "\n" for text in texts[:8]))
    for kind, text, target, metric, aggregation in (
        ("loglikelihood_rolling", "", "{{text}}", "bits_per_byte", "bits_per_byte"),
        ("generate_until", "{{text}}", "{{end}}", "exact_match", "mean"),
    ):
        content = PLAIN.format(kind=kind, data=data, text=text, target=target, metric=metric, aggregation=aggregation)
        write_atomically(work / "tasks" / f"plain_{kind}.yaml", content)


def harness(work: Path, model: Path, tasks: list[str]) -> dict[str, dict[str, Any]]:
    run("eval.harness", "run", "--model", "mglm", "--model_args", f"pretrained={model}", "--tasks",
        ",".join(tasks), "--include_path", str(work / "tasks"), "--output_path", str(work / "out"),
        "--batch_size", "4", "--device", "cpu")  # fmt: skip
    (made,) = (work / "out").rglob("results_*.json")
    results: dict[str, dict[str, Any]] = json.loads(made.read_text("utf-8"))["results"]
    return results


def run(*arguments: str) -> None:
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, env={**os.environ, **offline}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def export(directory: Path, texts: list[str]) -> Path:
    """A model that has learned nothing."""
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=made, vocab_size=1_500, byte_fallback=True, hard_vocab_limit=False,
        normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
        character_coverage=0.98, minloglevel=2,
    )  # fmt: skip
    tokenizer = Tokenizer(made.getvalue())
    shape = ModelConfig(
        num_layers=2, hidden_size=32, num_attention_heads=2, sequence_length=64, max_positions=384, init_std=0.3
    )
    loaded = LoadedModel({}, shape, tokenizer.vocab_size, tokenizer, source_length=256, origin="Random.")
    twin = GLMForConditionalGeneration(hf_config(loaded))
    weights = {name: weight for name, weight in twin.state_dict().items() if name != "lm_head.weight"}
    stage = open_stage(directory, schema=HF, config={}, inputs={})
    write_export(directory, LoadedModel(weights, shape, tokenizer.vocab_size, tokenizer, 256, "Random."))
    stage.finish()
    return directory


if __name__ == "__main__":
    main()
