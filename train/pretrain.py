"""Pretraining: shards and a plan become a checkpoint (paper §3, §3.1)."""

import time
from collections.abc import Sequence
from pathlib import Path

from core.config import RunConfig
from core.log import get_logger
from core.manifest import read_manifest
from core.plan import read_plan
from core.schemas import SHARDS
from model.checkpoint_meta import CHECKPOINT
from model.config import ModelConfig
from tokenizer.encoding import Tokenizer
from tokenizer.sampler import Sampler
from tokenizer.shards import Shards
from train.batches import PretrainBatches, window_length
from train.config import PretrainConfig
from train.job import Job, check_layout, check_schedule
from train.launch import is_worker, launch, processes, work


def pretrain(
    *,
    config: Path | None,
    overrides: Sequence[str],
    shards: Path,
    plan: Path,
    output: Path,
    nproc: int | None = None,
    overwrite: bool = False,
) -> None:
    """Checks everything, then trains in `nproc` processes; under torchrun, this process trains.

    Raises:
        MGLMError: anything that does not fit, before a worker starts.
        SystemExit: stopped by a signal, the state saved (128 + signal).
    """
    log, started = get_logger("train"), time.monotonic()
    run_config = RunConfig(config, overrides)

    def prepare(world_size: int | None) -> Job:
        return prepare_pretrain(run_config, shards, plan, output, world_size, nproc)

    if is_worker():
        work(prepare, overwrite=overwrite)
        return
    job = prepare(None)
    if job.claim(overwrite=overwrite).done:
        log.info("pretrain: already made in %s", output)
        return
    arguments = ["train", "pretrain", "--shards", str(shards), "--plan", str(plan), "--output", str(output)]
    if config is not None:
        arguments += ["--config", str(config)]
    for override in overrides:
        arguments += ["--set", override]
    launch(arguments, job.world_size)
    manifest = read_manifest(output, CHECKPOINT)
    log.info(
        "pretrain: %s parameters, %d steps of %d samples in %.0f s → %s",
        f"{manifest.facts['parameters']:,}",
        job.steps,
        job.config.global_batch_size,
        time.monotonic() - started,
        output,
    )


def prepare_pretrain(
    run_config: RunConfig,
    shards: Path,
    plan_path: Path,
    output: Path,
    world_size: int | None,
    nproc: int | None = None,
) -> Job:
    """Checks configuration, inputs and layout; `world_size` None: as `nproc` will make it.

    Raises:
        MGLMError: the first thing that does not fit.
    """
    config, model = run_config.section("pretrain", PretrainConfig), run_config.section("model", ModelConfig)
    shards_manifest, plan = read_manifest(shards, SHARDS), read_plan(plan_path)
    opened = Shards.open(shards)
    tokenizer = Tokenizer.load(opened.tokenizer_directory)
    check_schedule("pretrain", config, config.steps)
    if world_size is None:
        world_size = processes(nproc, config.tensor_parallel * config.pipeline_parallel)
    check_layout("pretrain", config, model, tokenizer.vocab_size, world_size)
    sampler = Sampler(opened.stream_lengths(), plan.shares(), window_length(model.sequence_length, config), config.seed)
    if sampler.dropped and not is_worker():
        note = "%s have a share in the plan but no documents in the shards; the others grow in proportion"
        get_logger("train").warning(note, ", ".join(sampler.dropped))
    epochs = sampler.epochs(config.steps * config.global_batch_size * config.windows_per_sequence)
    repeated = [lang for lang in opened.cut_languages if epochs.get(lang, 0) > 1.05]
    if repeated and not is_worker():
        note = "the shards were cut at a budget smaller than this run: it repeats %s, which have more documents"
        get_logger("train").warning(note, ", ".join(repeated))
    return Job(
        name="pretraining",
        output=output,
        identity={"pretrain": config.identity(), "model": model.model_dump()},
        inputs={"shards": shards_manifest.content_hash(), "plan": plan.content_hash()},
        config=config,
        model=model,
        tokenizer=tokenizer,
        steps=config.steps,
        world_size=world_size,
        make_batches=lambda: PretrainBatches(opened, sampler, tokenizer, config, model.sequence_length),
    )
