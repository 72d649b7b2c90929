"""Fine-tuning: a checkpoint and prompted examples become a checkpoint (paper §3.3)."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.config import RunConfig
from core.errors import MGLMError
from core.examples import EXAMPLES, Example, ExampleFile
from core.log import get_logger
from core.manifest import read_manifest
from model.checkpoint_meta import checkpoint_hash, read_meta
from model.config import ModelConfig
from model.peer_directory import peer_config
from tokenizer.encoding import Tokenizer
from tokenizer.parallel_prompts import ParallelPrompts
from train.blank_source import BlankSource, blank_source
from train.checkpoints import resolve_init
from train.config import FinetuneConfig
from train.development import DevelopmentMetric, DevelopmentRequest, FindDevelopment
from train.dry_run import DryRun
from train.finetune_batches import FinetuneBatches, finetune_sample, longest_row
from train.job import Job, check_layout, check_schedule
from train.launch import is_worker, launch, processes, started_workers, work
from train.peer_job import finetune_peer, refuse_export
from train.prefetch import Prefetched

TRAIN_FILE = "train.jsonl"
# The shape comes from the checkpoint; these of [model] may differ, because no weight depends on them.
FREE_OF_WEIGHTS = ("hidden_dropout", "attention_dropout")


def finetune(
    *,
    config: Path | None,
    overrides: Sequence[str],
    init: Path,
    examples: Path,
    output: Path,
    task: str | None = None,
    nproc: int | None = None,
    overwrite: bool = False,
    dry_run: DryRun | None = None,
    find_development: FindDevelopment | None = None,
) -> None:
    """Checks everything, then fine-tunes in `nproc` processes; under torchrun, this process trains.

    Raises:
        MGLMError: anything that does not fit, before a worker starts.
        SystemExit: stopped by a signal, the state saved (128 + signal).
    """
    log, started = get_logger("train"), time.monotonic()
    run_config = RunConfig(config, overrides)
    arguments = ["train", "finetune", "--init", str(init), "--examples", str(examples), "--output", str(output)]
    if task is not None:
        arguments += ["--task", task]
    if config is not None:
        arguments += ["--config", str(config)]
    for override in overrides:
        arguments += ["--set", override]
    if peer_config(init) is not None:
        if dry_run is not None:
            raise MGLMError("--dry-run", found=f"a model that is not ours, {init}", expected="a checkpoint of ours")
        finetune_peer(
            run_config, init, examples, output, task, nproc,
            overwrite=overwrite, arguments=arguments, find_development=find_development,
        )  # fmt: skip
        return
    refuse_export(init)

    def prepare(world_size: int | None) -> Job:
        return prepare_finetune(run_config, init, examples, output, task, world_size, nproc, find_development)

    if dry_run is not None:
        dry_run.tell(lambda: prepare(started_workers() if is_worker() else nproc), overwrite=overwrite)
        return
    if is_worker():
        work(prepare, overwrite=overwrite)
        return
    job = prepare(None)
    if job.claim(overwrite=overwrite).done:
        log.info("finetune: already made in %s", output)
        return
    launch(arguments, job.world_size, output)
    log.info(
        "finetune: %d steps of %d examples in %.0f s → %s",
        job.steps,
        job.config.global_batch_size,
        time.monotonic() - started,
        output,
    )


def prepare_finetune(
    run_config: RunConfig,
    init: Path,
    examples_path: Path,
    output: Path,
    task: str | None,
    world_size: int | None,
    nproc: int | None = None,
    find_development: FindDevelopment | None = None,
) -> Job:
    """Checks configuration, inputs and layout; `world_size` None: as `nproc` will make it.

    The model's shape is the checkpoint's; of [model] only dropout counts here.

    Raises:
        MGLMError: the first thing that does not fit.
    """
    config = run_config.section("finetune", FinetuneConfig)
    step_directory, tokenizer_directory = resolve_init(init)
    meta = read_meta(step_directory)
    model = _model_of(run_config, meta["model"])
    tokenizer = Tokenizer.load(tokenizer_directory)
    if tokenizer.sha256 != meta["tokenizer_sha256"]:
        raise MGLMError(
            f"tokenizer {tokenizer_directory}",
            found="another tokenizer",
            expected=f"the one {step_directory.name} was trained with",
            action="give the directory that mglm train pretrain made",
        )
    _check_lengths(config, model)
    examples_manifest = read_manifest(examples_path, EXAMPLES)
    examples = load_examples(examples_path / TRAIN_FILE, task)
    prompts = parallel_prompts(config, examples, examples_manifest.facts.get("task", {}))
    blanks = blank_source(config, model, tokenizer) if config.blank_infilling_share else None
    examples_a_step = config.global_batch_size * (1 - config.blank_infilling_share)
    steps = config.steps or max(1, math.ceil(config.epochs * len(examples) / examples_a_step - 1e-9))
    check_schedule("finetune", config, steps)
    if world_size is None:
        world_size = processes(nproc, config.tensor_parallel * config.pipeline_parallel)
    check_layout("finetune", config, model, tokenizer.vocab_size, world_size)
    if config.virtual_pipeline > 1 and not config.fixed_length:
        raise MGLMError(
            f"finetune.virtual_pipeline {config.virtual_pipeline}",
            found="rows as long as each batch needs",
            expected="rows of one length",
            action="set finetune.fixed_length=true",
        )
    development = None
    if find_development is not None:
        development = find_development(DevelopmentRequest(run_config, config, examples_path, task, model.max_positions))
    blank_rows = steps * config.global_batch_size - round(steps * examples_a_step)
    blank_epochs = dict(blanks.epochs(blank_rows)) if blanks is not None else {}
    languages = examples.languages
    job = Job(
        name="fine-tuning",
        output=output,
        identity={"finetune": config.identity(), "model": model.model_dump(), "task": task, "steps": steps},
        inputs={
            "init": checkpoint_hash(init),
            "examples": examples_manifest.content_hash(),
            **(blanks.inputs if blanks is not None else {}),
        },
        config=config,
        model=model,
        tokenizer=tokenizer,
        steps=steps,
        world_size=world_size,
        make_batches=lambda: Prefetched(
            FinetuneBatches(
                examples, tokenizer, config,
                steps=steps, blanks=blanks.batches if blanks is not None else None, prompts=prompts,
            ),
            steps,
            config.prefetch,
        ),
        label_smoothing=config.label_smoothing,
        frozen_layers=config.freeze_upper_layers,
        row_tokens=_mean_tokens(examples, tokenizer, config, blanks),
        row_length=longest_row(config, blanks.batches if blanks is not None else None),
        epochs={**dict.fromkeys(languages, steps * examples_a_step / len(examples)), **blank_epochs},
        languages=(*languages, *(blanks.languages if blanks is not None else ())),
        eval_interval=config.eval_interval or config.save_interval,
        init=step_directory,
    )  # fmt: skip
    if development is None:
        return job
    return replace(job, make_development=lambda: DevelopmentMetric(job, development))


def load_examples(path: Path, task: str | None) -> ExampleFile:
    """The training examples, of one task where that is named.

    Raises:
        MGLMError: no file, no example, or none of that task.
    """
    if not path.is_file():
        raise MGLMError(f"{path}", found="no such file", expected="training examples", action="run mglm eval prepare")
    chosen = ExampleFile(path, task)
    if not chosen:
        raise MGLMError(
            f"{path}",
            found=f"examples of {', '.join(chosen.tasks)}" if chosen.tasks else "0 examples",
            expected="at least one" + (f" of {task}" if task else ""),
            action="prepare examples of this task, or name another --task" if task else "prepare some first",
        )
    return chosen


def parallel_prompts(
    config: FinetuneConfig, examples: Sequence[Example], task: Mapping[str, Any]
) -> ParallelPrompts | None:
    """Prompts in the languages that are wanted, every example's prompt being known in all of them."""
    if not config.prompt_languages:
        return None
    prompts = ParallelPrompts(config.prompt_languages, task.get("parallel", []))
    for example in examples:
        prompts.check(example.source)
    return prompts


def _mean_tokens(
    examples: Sequence[Example], tokenizer: Tokenizer, config: FinetuneConfig, blanks: BlankSource | None
) -> int:
    """Tokens of a row on the average, by a hundred examples from all over."""
    some = examples[:: max(1, len(examples) // 100)]
    mean = sum(finetune_sample(example, tokenizer, config).labels_S.size for example in some) / len(some)
    share = config.blank_infilling_share
    return round((1 - share) * mean + (share * blanks.row_tokens if blanks is not None else 0))


def _model_of(run_config: RunConfig, trained: dict[str, object]) -> ModelConfig:
    """The checkpoint's model, with the dropout that [model] writes out, if any."""
    written = run_config.tables.get("model", {})
    wanted = run_config.section("model", ModelConfig)
    changes = {name: getattr(wanted, name) for name in FREE_OF_WEIGHTS if name in written}
    return ModelConfig.model_validate({**trained, **changes})


def _check_lengths(config: FinetuneConfig, model: ModelConfig) -> None:
    if config.freeze_upper_layers > model.num_layers:
        raise MGLMError(
            "finetune.freeze_upper_layers",
            found=str(config.freeze_upper_layers),
            expected=f"at most {model.num_layers}, the model's layers",
            action="lower it",
        )
    for name, length in (("source_length", config.source_length), ("target_length", config.target_length + 1)):
        if length > model.max_positions:
            raise MGLMError(
                f"finetune.{name}",
                found=str(getattr(config, name)),
                expected=f"at most {model.max_positions - (name == 'target_length')}, the model's positions",
                action=f"lower finetune.{name}",
            )
