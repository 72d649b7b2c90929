"""Fine-tuning of other people's models (mT5, BLOOM, NLLB …): the same [finetune] section, prompts and examples as ours.

`mglm train finetune --init DIR` comes here where DIR holds a Hugging Face model that is not ours; what it makes is a
directory of the same form, for `mglm eval predict`. Light until there is work: imports no torch before that.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config import RunConfig
from core.errors import MGLMError
from core.examples import EXAMPLES, Example
from core.log import get_logger
from core.manifest import read_manifest
from core.stage import Stage, open_stage
from model.peer_directory import OURS, PEER, model_identity, peer_config, positions_of
from tokenizer.parallel_prompts import ParallelPrompts
from train.config import FinetuneConfig
from train.development import Development, DevelopmentRequest, FindDevelopment
from train.job import check_schedule
from train.launch import as_worker, is_worker, launch, processes, started_workers

# Of [finetune], what the loop for our own models alone does.
_OURS_ALONE = (
    "tensor_parallel", "pipeline_parallel", "sequence_parallel", "virtual_pipeline", "distributed_optimizer",
    "fixed_length", "freeze_upper_layers", "blank_infilling_share", "wandb",
)  # fmt: skip


@dataclass(frozen=True)
class PeerJob:
    """A checked fine-tuning of another's model."""

    init: Path
    output: Path
    examples: Sequence[Example]
    config: FinetuneConfig
    steps: int
    world_size: int
    identity: dict[str, Any]
    inputs: dict[str, str]
    development: Development | None  # by which the best weights are kept
    prompts: ParallelPrompts | None  # in the languages that the config names

    @property
    def eval_interval(self) -> int:
        """Steps between two measurements."""
        return self.config.eval_interval or self.config.save_interval

    def claim(self, *, overwrite: bool) -> Stage:
        return open_stage(self.output, schema=PEER, config=self.identity, inputs=self.inputs, overwrite=overwrite)

    def facts(self, parameters: int) -> dict[str, Any]:
        """What the manifest says beyond the configuration."""
        return {
            "parameters": parameters,
            "steps": self.steps,
            "source_length": self.config.source_length,
            "target_length": self.config.target_length,
            **self.config.whereabouts(),
        }


def finetune_peer(
    run_config: RunConfig,
    init: Path,
    examples: Path,
    output: Path,
    task: str | None,
    nproc: int | None,
    *,
    overwrite: bool,
    arguments: Sequence[str],
    find_development: FindDevelopment | None,
) -> None:
    """Checks everything, then trains, in one process here or in `nproc` that run `mglm ARGUMENTS`.

    Raises:
        MGLMError: what does not fit, before slow work begins.
        SystemExit: stopped by a signal, the state saved (128 + signal).
    """
    log, started = get_logger("train"), time.monotonic()
    if is_worker():
        from train.peer_loop import train_together

        world_size = started_workers()
        job = prepare_peer(run_config, init, examples, output, task, world_size, find_development)
        as_worker(lambda: train_together(job, overwrite=overwrite))
        return
    job = prepare_peer(run_config, init, examples, output, task, processes(nproc, 1), find_development)
    stage = job.claim(overwrite=overwrite)
    if stage.done:
        log.info("finetune: already made in %s", output)
        return
    if job.world_size == 1:
        from train.peer_loop import train_alone

        stopped_by = train_alone(job, stage)
        if stopped_by:
            log.info("stopped by signal %d after saving: run the same command again to continue", stopped_by)
            raise SystemExit(128 + stopped_by)
    else:
        del stage  # its lock is for the workers
        launch(arguments, job.world_size, job.output)
    log.info(
        "finetune: %d steps of %d examples in %.0f s → %s",
        job.steps, job.config.global_batch_size, time.monotonic() - started, output,
    )  # fmt: skip


def prepare_peer(
    run_config: RunConfig,
    init: Path,
    examples_path: Path,
    output: Path,
    task: str | None,
    world_size: int,
    find_development: FindDevelopment | None = None,
) -> PeerJob:
    """
    Raises:
        MGLMError: the first thing that does not fit.
    """
    from train.finetune import TRAIN_FILE, load_examples, parallel_prompts

    config = run_config.section("finetune", FinetuneConfig)
    _check(config, init, world_size)
    manifest = read_manifest(examples_path, EXAMPLES)
    examples = load_examples(examples_path / TRAIN_FILE, task)
    steps = config.steps or max(1, math.ceil(config.epochs * len(examples) / config.global_batch_size))
    check_schedule("finetune", config, steps)
    development = None
    if find_development is not None:
        development = find_development(DevelopmentRequest(run_config, config, examples_path, task, None))
    return PeerJob(
        init=init,
        output=output,
        examples=examples,
        config=config,
        steps=steps,
        world_size=world_size,
        identity={"finetune": config.identity(), "task": task, "steps": steps},
        inputs={"init": model_identity(init), "examples": manifest.content_hash()},
        development=development,
        prompts=parallel_prompts(config, examples, manifest.facts.get("task", {})),
    )


def refuse_export(init: Path) -> None:
    """
    Raises:
        MGLMError: the directory is an export of ours, which is trained as a checkpoint.
    """
    if (init / "config.json").is_file() and peer_config(init) is None:
        raise MGLMError(
            f"--init {init}",
            found=f"an export ({OURS} in its config.json)",
            expected="a checkpoint, or another's model",
            action=f"run mglm model convert --from hf --to megatron --input {init} --output CHECKPOINT first",
        )


def _check(config: FinetuneConfig, init: Path, world_size: int) -> None:
    for name in _OURS_ALONE:
        value, default = getattr(config, name), FinetuneConfig.model_fields[name].default
        if value != default:
            found, action = f"{value} with a model that is not ours", "leave it out, and let --nproc split the batch"
            raise MGLMError(f"finetune.{name}", found=found, expected=str(default), action=action)
    if config.precision == "fp16":
        action = "set it to bf16, or fp32"
        raise MGLMError("finetune.precision", found="fp16", expected="bf16 or fp32: T5's sums overflow", action=action)
    if config.global_batch_size % world_size:
        raise MGLMError(
            "finetune.global_batch_size",
            found=str(config.global_batch_size),
            expected=f"a multiple of {world_size} processes",
            action="change it or --nproc",
        )
    published = peer_config(init)
    assert published is not None
    positions = positions_of(published)
    if positions is None:
        return
    wanted = {"source_length": config.source_length, "target_length": config.target_length + 2}
    if not published.get("is_encoder_decoder"):
        wanted = {"source_length": config.source_length + config.target_length}
    for name, tokens in wanted.items():
        if tokens > positions:
            found = f"{tokens} positions, start and answer counted"
            expected = f"at most the {positions} of the model"
            raise MGLMError(f"finetune.{name}", found=found, expected=expected, action=f"lower finetune.{name}")
