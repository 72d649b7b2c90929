"""Kills a fine-tuning run again and again, everything switched on, and compares it with an undisturbed run.

    python -m drills.finetune_kill [--kills 12] [--steps 120] [--seed 1]

As `drills.train_kill`, which says how: here with frozen layers, rows of blank infilling, prompts in several languages,
and the development metric by generation. The best checkpoint must be that of the highest score in the record.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path

from core.examples import EXAMPLES, Example, write_examples
from core.stage import open_stage
from drills.train_kill import Run, disturb
from drills.training_run import ROOT, make_inputs
from model.checkpoint_meta import read_meta
from tokenizer.prompts import summary_source
from train.metrics import read_metrics

INPUTS = {"config": "config.toml", "init": "pretrained", "examples": "examples"}
CONFIG = """
[model]
num_layers = 4
hidden_size = 64
num_attention_heads = 2
sequence_length = 64
max_positions = 160
hidden_dropout = 0.0
attention_dropout = 0.0
[pretrain]
steps = 4
global_batch_size = 4
micro_batch_size = 2
[finetune]
steps = {steps}
global_batch_size = 8
micro_batch_size = 2
warmup_steps = 5
source_length = 96
target_length = 24
save_interval = 3
distributed_optimizer = true
freeze_upper_layers = 2
blank_infilling_share = 0.3
blank_infilling_shards = "{work}/shards"
plan = "{work}/plan.json"
prompt_languages = ["en", "zh", "fr"]
eval_interval = 20
development_examples = 6
[eval]
num_beams = 2
max_new_tokens = 8
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1, help="of what is killed when")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mglm-drill-") as folder:
        work = Path(folder)
        make_inputs(work)
        make_examples(work / "examples")
        (work / "config.toml").write_text(CONFIG.format(steps=arguments.steps, work=work), "utf-8")
        pretrained = Run(work, "pretrained")
        pretrained.start("DP2", "mglm")
        assert pretrained.wait() == 0, pretrained.words()
        undisturbed, disturbed = (Run(work, name, "finetune", INPUTS) for name in ("undisturbed", "disturbed"))
        disturb(undisturbed, disturbed, arguments.kills, arguments.steps, random.Random(arguments.seed))
        for run in (undisturbed, disturbed):
            check_best(run)


def check_best(run: Run) -> None:
    """Whether `best` is the checkpoint of the highest score, the earliest of several."""
    events = read_metrics(run.output / "events.jsonl")
    scores = {event["step"]: event["score"] for event in events if event["event"] == "development"}
    best = max(scores, key=lambda step: (scores[step], -step))
    link = run.output / "checkpoints" / "best"
    assert link.readlink().name == f"step-{best:08d}", f"best is {link.readlink()}, scores are {scores}"
    assert read_meta(link)["development"]["score"] == scores[best]
    print(f"{run.name}: {len(scores)} measurements, the best at step {best} is kept")


def make_examples(directory: Path) -> None:
    """The summaries of examples/ as prompted examples, every tenth for development."""
    made: dict[str, list[Example]] = {"train": [], "dev": []}
    for number, line in enumerate((ROOT / "examples" / "documents.jsonl").read_text("utf-8").splitlines()):
        record = json.loads(line)
        for target_lang in ("en", "zh"):
            if not record.get(f"summary_{target_lang}"):
                continue
            split = "train" if number % 10 else "dev"
            fields = {"id": f"{number}-{target_lang}", "task": "summaries", "split": split, "lang": record["lang"]}
            source = summary_source(record["text"], target_lang)
            target = {"target_lang": target_lang, "target": record[f"summary_{target_lang}"]}
            made[split].append(Example.model_validate({**fields, **target, "source": source}))
    stage = open_stage(directory, schema=EXAMPLES, config={}, inputs={})
    for split, examples in made.items():
        write_examples(directory / f"{split}.jsonl", examples)
    stage.finish(facts={"task": {"name": "summaries", "kind": "summary", "scorer": "rouge"}})


if __name__ == "__main__":
    main()
