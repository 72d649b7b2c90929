"""What the training loop is given: one description for pretraining and fine-tuning. Light: imports no torch."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import MGLMError
from core.manifest import LOCK_NAME, MARKER_NAME
from core.stage import Stage, open_stage
from model.checkpoint_meta import CHECKPOINT
from model.config import ModelConfig
from model.topology import Topology
from tokenizer.encoding import Tokenizer
from train.batches import Batches
from train.config import TrainingConfig
from train.heldout import HELDOUT, HeldoutSource
from train.metrics import read_metrics

if TYPE_CHECKING:
    from train.development import DevelopmentMetric

CHECKPOINTS = "checkpoints"
TOKENIZER = "tokenizer"
TOKENIZER_PARTIAL = ".tokenizer.partial"  # as long as it is written
METRICS = "metrics.jsonl"
EVENTS = "events.jsonl"  # starts, stops, evaluations, checkpoints, what went wrong
SAMPLES = "samples.jsonl"  # blanks filled in on the way
TENSORBOARD = "tensorboard"
_BEFORE_THE_FIRST_STEP = {
    MARKER_NAME, LOCK_NAME, CHECKPOINTS, TOKENIZER, TOKENIZER_PARTIAL, METRICS, EVENTS, SAMPLES, HELDOUT, TENSORBOARD
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A checked training run. The batches are made late: a finished stage need not open its data."""

    name: str  # for progress and messages: pretraining | fine-tuning
    output: Path
    identity: dict[str, Any]  # what of the configuration decides the result, for the manifest
    inputs: dict[str, str]
    config: TrainingConfig
    model: ModelConfig
    tokenizer: Tokenizer
    steps: int
    world_size: int  # processes
    make_batches: Callable[[], Batches]
    label_smoothing: float = 0.0
    frozen_layers: int = 0  # topmost layers that keep their weights
    init: Path | None = None  # step directory whose weights the run begins with
    first_step: int = 0  # its step, where optimiser and data go on with it too; 0: they begin anew
    first_samples: int = 0  # samples of the steps before, whose batches may have been of another size
    schedule_from: int = 0  # step at which warm-up and decay begin
    meta: dict[str, Any] = field(default_factory=dict)  # what its checkpoints keep besides
    row_tokens: int = 0  # of a row on the average, without padding
    row_length: int = 0  # of the longest row there may be, with padding
    epochs: Mapping[str, float] = field(default_factory=dict)  # how often each language's data is seen by its end
    languages: tuple[str, ...] = ()  # those of its rows, for the record of losses
    heldout: HeldoutSource | None = None  # what it is measured on
    eval_interval: int = 1  # steps between two measurements
    make_development: Callable[[], "DevelopmentMetric"] | None = None  # by which the best checkpoint is kept
    sample_prompts: int = 0  # blanks filled at each of them
    sample_tokens: int = 0

    @property
    def topology(self) -> Topology:
        return self.config.topology()

    def samples(self, step: int) -> int:
        """How many were seen when `step` steps are done, those before `first_step` included."""
        return self.first_samples + (step - self.first_step) * self.config.global_batch_size

    def claim(self, *, overwrite: bool) -> Stage:
        """Opens the output as this work's stage; it stays locked as long as the stage is held. One process may.

        A run that has not made its first step, e.g. since memory ran out, leaves nothing that other work must spare.
        """
        overwrite = overwrite or nothing_trained(self.output)
        return open_stage(self.output, schema=CHECKPOINT, config=self.identity, inputs=self.inputs, overwrite=overwrite)


def nothing_trained(output: Path) -> bool:
    """Whether all that lies in a directory is from a run of ours before the end of its first step."""
    marker = output / MARKER_NAME
    if not marker.exists() or {child.name for child in output.iterdir()} - _BEFORE_THE_FIRST_STEP:
        return False
    if json.loads(marker.read_text("utf-8")).get("schema") != CHECKPOINT:
        return False
    # Checkpoints first: the rows of a long run, all in memory, are most of a gigabyte.
    return not any((output / CHECKPOINTS).glob("step-*")) and not read_metrics(output / METRICS)


def check_layout(section: str, config: TrainingConfig, model: ModelConfig, vocab_size: int, world_size: int) -> None:
    """Whether model and batch can be split over `world_size` processes.

    Raises:
        MGLMError: names the numbers that do not divide.
    """
    config.execution().attention_backend(model.attention_dropout, on_gpu=False)  # refuses what no machine can do
    data_size = config.topology().check(model, vocab_size, world_size)
    micro = config.micro_batch_size
    rows = micro * data_size
    if config.global_batch_size % rows:
        raise MGLMError(
            f"{section}.global_batch_size",
            found=str(config.global_batch_size),
            expected=f"a multiple of micro_batch_size {micro} × {data_size} data-parallel processes = {rows}",
            action=f"change {section}.global_batch_size, {section}.micro_batch_size or --nproc",
        )
    passes = config.global_batch_size // rows
    if config.virtual_pipeline > 1 and passes % config.pipeline_parallel:
        raise MGLMError(
            f"{section}.virtual_pipeline {config.virtual_pipeline}",
            found=f"{passes} micro-batches a step",
            expected=f"a multiple of pipeline_parallel {config.pipeline_parallel}",
            action=f"change {section}.global_batch_size or {section}.micro_batch_size",
        )


def check_schedule(section: str, config: TrainingConfig, steps: int) -> None:
    """Whether the warm-up ends before the learning rate has decayed, once the number of steps is known."""
    decay_steps = config.decay_steps or steps
    if config.warmup_steps >= decay_steps:
        raise MGLMError(
            f"{section}.warmup_steps",
            found=str(config.warmup_steps),
            expected=f"less than the {decay_steps} steps of the schedule",
            action=f"lower {section}.warmup_steps",
        )


def summary(job: Job) -> dict[str, Any]:
    """What the manifest of a finished run says beyond its configuration."""
    return {
        "parameters": job.model.parameters(job.tokenizer.vocab_size),
        "steps": job.steps,
        **{name: job.meta[name] for name in ("lineage",) if job.meta.get(name)},
        **job.config.whereabouts(),
    }
