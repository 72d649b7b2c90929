"""`mglm world run`: a small world, a model pretrained on it by the ordinary commands, and the transfer experiment.

One pair of languages is tuned on as it is and with each switch against the lack of prompt transferring (paper §5), a
second pair as it is, and all pairs together. The world knows its words, so the language of every answer is certain.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.config import RunConfig
from core.manifest import hash_of
from mglm.demo import checked_config
from mglm.stages import (
    DemoStage,
    checkpoint_made,
    documents_made,
    plan_made,
    sample_made,
    shards_made,
    tokenizer_made,
    world_made,
)
from mglm.transfer_run import plan_experiment, run_experiment
from mglm.transfer_stages import Variant
from mglm.walk import say, walk
from mglm.world import DOCUMENTS_NAME, TASK_NAME, WORLD, World, WorldConfig
from model.config import ModelConfig

CONFIG = Path(__file__).with_name("small_world.toml")  # that of configs/, which is not installed
DETECTOR_NAME = "world.ftz"
PROCESSES = 2


@dataclass(frozen=True)
class DetectorStage(DemoStage):
    """`mglm corpus train-lid` leaves no manifest but a table of its own beside the model."""

    def content(self) -> str:
        path = self.output.with_suffix(".json")
        return hash_of(json.loads(path.read_text("utf-8"))["fingerprint"]) if path.exists() else ""

    def said(self) -> str:
        return f"detector of {self.output.stat().st_size / 1e6:.1f} MB"


def run_world(output: Path, config: Path | None, overrides: Sequence[str]) -> Path:
    """Walks everything and returns the path of the experiment's page.

    Raises:
        MGLMError: settings that do not fit, or a command failed; what is finished stays.
    """
    config = config or CONFIG
    checked_config(config, overrides)
    run = RunConfig(config, overrides)
    world = World(run.section("world", WorldConfig))
    stages = world_stages(output, config, overrides)
    say(f"{len(stages)} commands to a pretrained model in {output}; logs in {output / 'logs'}")
    for number, stage in enumerate(stages, start=1):
        walk(stage, number, len(stages), output)
    codes = list(world.languages)
    experiment = plan_experiment(
        task=str(output / "world" / TASK_NAME),
        inputs=[output / "world"],
        init=output / "pretrain",
        output=output / "transfer",
        train=[f"{codes[0]}-{codes[-2]}", f"{codes[-1]}-{codes[-2]}"],
        evaluate=[f"{source}-{target}" for source in codes for target in codes],
        ask=[],
        variants=switches(output, codes, run.section("model", ModelConfig).num_layers),
        mixed=True,
        config=config,
        overrides=overrides,
        nproc=PROCESSES,
    )
    return run_experiment(experiment, world.written_in)


def switches(output: Path, codes: Sequence[str], layers: int) -> list[Variant]:
    """Each switch of [finetune] against the lack of prompt transferring, alone."""
    return [
        Variant("freeze", (f"finetune.freeze_upper_layers={layers // 2}",)),
        Variant(
            "blanks",
            (
                "finetune.blank_infilling_share=0.5",
                f"finetune.blank_infilling_shards={json.dumps(str(output / 'shards'))}",
                f"finetune.plan={json.dumps(str(output / 'plan' / 'plan.json'))}",
            ),
        ),
        Variant("prompts", (f"finetune.prompt_languages={json.dumps(list(codes))}",)),
    ]


def world_stages(run: Path, config: Path, overrides: Sequence[str]) -> list[DemoStage]:
    """From nothing to a pretrained model, by the ordinary commands."""
    shared = ["--config", str(config), "--overwrite"]  # the run directory is our own
    for override in overrides:
        shared += ["--set", override]

    def words(name: str, output: Path, *given: str | Path) -> tuple[str, ...]:
        return (*name.split(), *map(str, given), "--output", str(output), *shared)

    documents = run / "world" / DOCUMENTS_NAME
    # fastText learns a little differently every time, and all that follows hangs on it: made once for its settings.
    tables = RunConfig(config, overrides).tables
    settings = hash_of({name: tables.get(name) for name in ("world", "lid")})
    detector = run / f"detector-{settings[:8]}" / DETECTOR_NAME
    plan, processes = run / "plan" / "plan.json", ("--nproc", str(PROCESSES))
    made = [
        ("world make", "world", WORLD, world_made, ()),
        ("corpus build", "corpus", "documents/1", documents_made, ("--input", documents, "--lid-model", detector)),
        ("balancing fit", "plan", "plan/1", plan_made, ("--counts", run / "corpus")),
        ("balancing sample", "sample", "sample/1", sample_made, ("--documents", run / "corpus", "--plan", plan)),
        ("tokenizer train", "tokenizer", "tokenizer/1", tokenizer_made, ("--sample", run / "sample")),
        (
            "tokenizer shard", "shards", "shards/1", shards_made,
            ("--documents", run / "corpus", "--plan", plan, "--tokenizer", run / "tokenizer"),
        ),
        (
            "train pretrain", "pretrain", "checkpoint/1", checkpoint_made,
            ("--shards", run / "shards", "--plan", plan, *processes),
        ),
    ]  # fmt: skip
    stages = [
        DemoStage(name, words(name, run / folder, *given), run / folder, schema, describe)
        for name, folder, schema, describe, given in made
    ]
    trained = words("corpus train-lid", detector, "--input", documents)
    if detector.with_suffix(".json").exists():
        trained = tuple(word for word in trained if word != "--overwrite")
    stages.insert(1, DetectorStage("corpus train-lid", trained, detector, "", world_made))
    return stages
