"""Pretraining: shards and a plan become a checkpoint (paper §3, §3.1)."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from core.config import RunConfig
from core.errors import MGLMError
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
from train.blank_infilling import check_positions, mean_length, row_length
from train.config import PretrainConfig
from train.continuing import check_continued, data_place, lineage, open_continued
from train.dry_run import DryRun
from train.heldout import heldout_source
from train.job import Job, check_layout, check_schedule
from train.launch import is_worker, launch, processes, started_workers, work
from train.prefetch import Prefetched


def pretrain(
    *,
    config: Path | None,
    overrides: Sequence[str],
    shards: Path,
    plan: Path,
    output: Path,
    heldout: Path | None = None,
    continue_from: Path | None = None,
    nproc: int | None = None,
    overwrite: bool = False,
    dry_run: DryRun | None = None,
) -> None:
    """Checks everything, then trains in `nproc` processes; under torchrun, this process trains.

    Raises:
        MGLMError: anything that does not fit, before a worker starts.
        SystemExit: stopped by a signal, the state saved (128 + signal).
    """
    log, started = get_logger("train"), time.monotonic()
    run_config = RunConfig(config, overrides)

    def prepare(world_size: int | None) -> Job:
        return prepare_pretrain(run_config, shards, plan, output, world_size, nproc, heldout, continue_from)

    if dry_run is not None:
        dry_run.tell(lambda: prepare(started_workers() if is_worker() else nproc), overwrite=overwrite)
        return
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
    if heldout is not None:
        arguments += ["--heldout", str(heldout)]
    if continue_from is not None:
        arguments += ["--continue-from", str(continue_from)]
    for override in overrides:
        arguments += ["--set", override]
    launch(arguments, job.world_size, output)
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
    heldout: Path | None = None,
    continue_from: Path | None = None,
) -> Job:
    """Checks configuration, inputs and layout; `world_size` None: as `nproc` will make it.

    Raises:
        MGLMError: the first thing that does not fit.
    """
    config, model = run_config.section("pretrain", PretrainConfig), run_config.section("model", ModelConfig)
    shards_manifest, plan = read_manifest(shards, SHARDS), read_plan(plan_path)
    opened = Shards.open(shards)
    tokenizer = Tokenizer.load(opened.tokenizer_directory)
    continued = open_continued(continue_from) if continue_from is not None else None
    schedule_from = 0
    if continued is not None:
        check_continued(continued, model, tokenizer, config, shards)
        schedule_from = continued.step if config.restart_schedule else int(continued.meta.get("schedule_from", 0))
    check_schedule("pretrain", config, config.steps - schedule_from)
    if world_size is None:
        world_size = processes(nproc, config.tensor_parallel * config.pipeline_parallel)
    check_layout("pretrain", config, model, tokenizer.vocab_size, world_size)
    window = window_length(model.sequence_length, config)
    check_positions("pretrain", config.blanks, window, model.max_positions)
    place = data_place(config, model.sequence_length, opened, plan.shares(), continued)
    sampler = place.sampler(opened)
    _check_languages(sampler, opened, config, plan_path, shards)
    epochs = sampler.epochs((config.steps - place.first_step) * place.windows_per_step)
    repeated = [lang for lang in opened.cut_languages if epochs.get(lang, 0) > 1.05]
    if repeated and not is_worker():
        note = "the shards were cut at a budget smaller than this run: it repeats %s, which have more documents"
        get_logger("train").warning(note, ", ".join(repeated))
    meta = {"model": model.model_dump(), "tokenizer_sha256": tokenizer.sha256, "training": config.identity()}
    place_meta = {"data": asdict(place), "schedule_from": schedule_from}
    inputs = {"shards": shards_manifest.content_hash(), "plan": plan.content_hash()}
    return Job(
        name="pretraining",
        output=output,
        identity={"pretrain": config.identity(), "model": model.model_dump()},
        inputs=inputs | ({"continued": continued.hash} if continued is not None else {}),
        config=config,
        model=model,
        tokenizer=tokenizer,
        steps=config.steps,
        world_size=world_size,
        make_batches=lambda: Prefetched(
            PretrainBatches(opened, sampler, tokenizer, config, model.sequence_length, place.first_step),
            config.steps,
            config.prefetch,
        ),
        init=continued.step_directory if continued is not None else None,
        first_step=continued.step if continued is not None else 0,
        first_samples=int(continued.meta["samples"]) if continued is not None else 0,
        schedule_from=schedule_from,
        meta={**place_meta, "lineage": lineage(continued, {**meta, **place_meta})},
        row_tokens=mean_length(model.sequence_length, config.blanks),
        row_length=row_length(model.sequence_length, config.blanks),
        epochs=epochs,
        languages=tuple(sampler.languages),
        heldout=heldout_source(heldout, config.heldout_documents, set(sampler.languages)) if heldout else None,
        eval_interval=config.eval_interval or config.save_interval,
        sample_prompts=config.sample_prompts,
        sample_tokens=config.sample_tokens,
    )


def _check_languages(sampler: Sampler, opened: Shards, config: PretrainConfig, plan: Path, shards: Path) -> None:
    """Whether the plan's languages are there, and the first file of each is what the shards say.

    Raises:
        MGLMError: a language is missing and may not be, or a file is another's.
    """
    if sampler.dropped and config.missing_languages == "refuse":
        raise MGLMError(
            f"plan {plan}",
            found=f"a share for {', '.join(sampler.dropped)}",
            expected=f"languages of {shards}: {', '.join(opened.languages)}",
            action="shard these languages too, or set pretrain.missing_languages=drop: the others grow in proportion",
        )
    if sampler.dropped and not is_worker():
        note = "%s have a share in the plan but no documents in the shards; the others grow in proportion"
        get_logger("train").warning(note, ", ".join(sampler.dropped))
    for lang in sampler.languages:
        opened.pieces(lang, 0, 1)  # maps and checks the file
