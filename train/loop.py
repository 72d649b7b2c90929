"""The training loop on megatron-core, the same for pretraining and fine-tuning, run by every process."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state

from core.errors import MGLMError
from core.log import get_logger
from core.progress import progress
from model.checkpoint import load_checkpoint
from model.optimizer import build_optimizer, build_scheduler, loss_scale, update_weights
from model.parallel import build_chunks, seed_step, unwrap
from train.batches import MicroBatch
from train.checkpoints import tidy_up
from train.development import DevelopmentMetric
from train.evaluation import Evaluation
from train.guard import StepGuard
from train.heldout import HELDOUT, read_heldout
from train.job import CHECKPOINTS, EVENTS, TOKENIZER, TOKENIZER_PARTIAL, Job
from train.metrics import EventLog
from train.passes import Passes, StepSums
from train.record import Record
from train.saver import Saver, check_init, last_good
from train.schedule import take_up
from train.signals import StopRequest


@dataclass(frozen=True)
class StepResult(StepSums):
    """Of one step, after its update. `skipped` says why the weights were left as they are; "" when they were not."""

    gradient_norm: float  # NaN where it was not taken
    learning_rate: float  # that of this step's update
    loss_scale: float  # 1 but in fp16
    skipped: str
    bad: bool  # skipped, and not as part of how fp16 finds its scale


class Trainer:
    """This process's share of the model with its optimiser and schedule, at a step."""

    def __init__(self, job: Job, events: EventLog | None) -> None:
        config = job.config
        self.job = job
        self.chunks = build_chunks(
            job.model,
            job.tokenizer.vocab_size,
            job.topology,
            seed=config.seed,
            execution=config.execution(),
            distributed_optimizer=config.distributed_optimizer,
            overlap=torch.cuda.is_available(),
            frozen_layers=job.frozen_layers,
        )
        self.optimizer = build_optimizer(
            self.chunks,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            betas=(config.adam_beta1, config.adam_beta2),
            epsilon=config.adam_eps,
            clip_grad=config.clip,
            precision=config.precision,
            distributed_optimizer=config.distributed_optimizer,
            initial_loss_scale=config.initial_loss_scale,
            loss_scale_window=config.loss_scale_window,
        )
        self.scheduler = build_scheduler(
            self.optimizer,
            learning_rate=config.learning_rate,
            min_learning_rate=config.min_learning_rate,
            warmup=config.warmup_steps,
            decay=config.decay_steps or job.steps - job.schedule_from,
            weight_decay=config.weight_decay,
        )
        self.saver = Saver(job.output / CHECKPOINTS, config.keep_checkpoints, config.max_failed_saves, events)
        self.restored = self._restore(events)
        self.step = int(self.restored.get("step", 0))
        self.guard = StepGuard(config, self.restored.get("recent_losses", ()))
        if dist.get_rank() == 0:
            backend = unwrap(self.chunks[0]).backend
            get_logger("train").info("%s: attention by %s, %s", job.name, backend, config.precision)
        self._passes = Passes(job, self.chunks)

    def train_step(self, micro_batches: list[MicroBatch], stop: StopRequest) -> StepResult:
        """One update of the weights with all rows of a step; none, and the reason, when the step is bad."""
        seed_step(self.job.config.seed, self.step)
        for chunk in self.chunks:
            chunk.zero_grad_buffer()
        self.optimizer.zero_grad()
        sums = self._passes(micro_batches, stop.signal or 0, self.saver.pending)
        learning_rate = next((group["lr"] for group in self.optimizer.param_groups), 0.0)  # none where all is frozen
        scale, gradient_norm, skipped = loss_scale(self.optimizer), math.nan, self.guard.reason(sums.loss)
        if not skipped:
            update = update_weights(self.optimizer)
            gradient_norm = update.gradient_norm
            if not update.done:
                skipped = f"overflow at loss scale {scale:g}" if update.overflow else f"gradient norm {gradient_norm}"
        bad = bool(skipped) and not (skipped.startswith("overflow") and scale > 1)
        self.guard.note(None if bad else sums.loss)
        self.scheduler.step(1)  # also for a skipped step: the rate depends on the step alone
        self.step += 1
        return StepResult(**vars(sums), gradient_norm=gradient_norm, learning_rate=learning_rate,
                          loss_scale=scale, skipped=skipped, bad=bad)  # fmt: skip

    def save(self, **more: Any) -> None:
        """Begins a checkpoint of this step; `more` goes into its meta."""
        job = self.job
        meta = {
            "step": self.step,
            "samples": job.samples(self.step),
            "model": job.model.model_dump(),
            "vocab_size": job.tokenizer.vocab_size,
            "tokenizer_sha256": job.tokenizer.sha256,
            "training": job.config.model_dump(),
            "recent_losses": self.guard.state,
            **job.meta,
            **more,
        }
        self.saver.begin(self.chunks, self.optimizer, self.scheduler, meta)

    def _restore(self, events: EventLog | None) -> dict[str, Any]:
        """Continues the last good checkpoint and returns its meta, or begins with `init` or from scratch."""
        root = self.job.output / CHECKPOINTS
        if dist.get_rank() == 0:
            tidy_up(root)
        dist.barrier()
        latest = last_good(root, events)
        if latest is not None:
            meta = load_checkpoint(latest, self.chunks, self.optimizer, self.scheduler)
            if dist.get_rank() == 0:
                get_logger("train").info("continuing %s at step %d", self.job.name, meta["step"])
            return meta
        if self.job.init is None:
            return {}
        check_init(self.job.init)
        if not self.job.first_step:
            load_checkpoint(self.job.init, self.chunks)
            self.optimizer.reload_model_params()
            return {}
        meta = load_checkpoint(self.job.init, self.chunks, self.optimizer)
        take_up(self.optimizer, self.scheduler, self.job)
        if events is not None:
            chapter = self.job.meta["lineage"][-1]
            events.tell("continued", self.job.first_step, checkpoint=chapter["checkpoint"], changed=chapter["changed"])
        # Against losses on other data, which may be nats below, every step would be a spike and none would train.
        same_data = self.job.meta["data"]["first_step"] != self.job.first_step
        kept = ("step", "recent_losses") if same_data else ("step",)
        return {name: meta[name] for name in kept if name in meta}


def run(job: Job, *, then_ends: bool = False) -> int:
    """Trains to the last step, or until a signal; returns the number of that signal, 0 at the end.

    After a signal the state is saved at the end of the running step; the same command continues from there. What was to
    be measured at that step, which may take longer than there is time, is measured then, before the next one. With
    `then_ends` this process is one that ends afterwards, and signals no longer hurry it.
    """
    is_first = dist.get_rank() == 0
    events = EventLog(job.output / EVENTS) if is_first else None
    batches = job.make_batches()
    trainer = Trainer(job, events)
    evaluation = _evaluation(job)
    development = job.make_development() if job.make_development is not None else None
    measures = evaluation is not None or development is not None
    data_rank = parallel_state.get_data_parallel_rank()
    data_size = parallel_state.get_data_parallel_world_size()
    if is_first and not (job.output / TOKENIZER).exists():
        job.tokenizer.save(job.output / TOKENIZER_PARTIAL)
        (job.output / TOKENIZER_PARTIAL).rename(job.output / TOKENIZER)
    stopped_by = 0
    record = Record(job, trainer.step, trainer.restored, events) if events is not None else None
    with StopRequest(then_ends=then_ends) as stop, progress(job.name, job.steps, enabled=is_first) as reporter:
        reporter.advance(trainer.step)
        if trainer.restored.get("unmeasured") and measures:
            _save(trainer, record, _measured(trainer, evaluation, development, record))
        while trainer.step < job.steps:
            started = time.perf_counter()
            micro_batches = batches.batch(trainer.step, data_rank, data_size)
            data_s = time.perf_counter() - started
            result = trainer.train_step(micro_batches, stop)
            at_end = trainer.step == job.steps
            trainer.saver.finish_if(all_written=result.all_written)
            if record is not None:
                record.step(
                    trainer.step, result, time.perf_counter() - started, data_s, trainer.saver.take_waited_s(), reporter
                )
            if result.bad and trainer.guard.enough():
                _give_up(trainer, result, events)
            stopped_by = 0 if at_end else result.stop
            to_measure = measures and (at_end or trainer.step % job.eval_interval == 0)
            found: dict[str, Any] = {"unmeasured": True} if to_measure else {}
            if to_measure and not stopped_by:
                found = _measured(trainer, evaluation, development, record)
            # A bad step's weights may be beyond repair, and saving them would rotate good ones away. What was measured
            # is saved, so that the best can be kept.
            due = trainer.step % job.config.save_interval == 0 and not result.bad
            if at_end or stopped_by or found.get("development") or due:
                _save(trainer, record, found)
            if stopped_by:
                break
        trainer.saver.finish(must=True)
    if record is not None:
        record.close(trainer.step, stopped_by)
    return stopped_by


def _evaluation(job: Job) -> Evaluation | None:
    """The first process reads the held-out texts, the others what it wrote."""
    if job.heldout is None:
        return None
    kept = job.output / HELDOUT
    if dist.get_rank() == 0:
        read_heldout(job.heldout, kept)
    dist.barrier()
    return Evaluation(job, json.loads(kept.read_text("utf-8"))["texts"])


def _measured(
    trainer: Trainer, evaluation: Evaluation | None, development: DevelopmentMetric | None, record: Record | None
) -> dict[str, Any]:
    """Measures what there is to measure; what a checkpoint keeps of it."""
    found: dict[str, Any] = {}
    if evaluation is not None:
        started = time.perf_counter()
        scores = evaluation.bits_per_byte(trainer.chunks)
        blanks = evaluation.fill_blanks(trainer.chunks)
        found["heldout_bits_per_byte"] = float(scores["bits_per_byte"])
        if record is not None:
            record.evaluation(trainer.step, scores, blanks, time.perf_counter() - started)
    if development is not None:
        found["development"] = development.measure(trainer.chunks)
        if record is not None:
            record.development(trainer.step, found["development"])
    return found


def _save(trainer: Trainer, record: Record | None, found: Mapping[str, Any]) -> None:
    """Begins a checkpoint with what was `found` by measuring, and what the record has to go on with."""
    of_record = record.state if record is not None else {}
    texts = trainer.job.heldout.identity if trainer.job.heldout is not None else None
    trainer.save(**{"heldout_bits_per_byte": None, "heldout": texts, "development": None, **found, **of_record})


def _give_up(trainer: Trainer, result: StepResult, events: EventLog | None) -> None:
    config, guard = trainer.job.config, trainer.guard
    trainer.saver.finish()
    if events is not None:
        events.tell("given up", trainer.step, reason=result.skipped)
    among = f", and {guard.skipped} bad steps among the last {config.spike_window}" if guard.skipped > 1 else ""
    raise MGLMError(
        f"{trainer.job.name}, step {trainer.step}",
        found=f"{result.skipped}{among}",
        expected="finite losses near those before" if config.on_bad_step == "stop" else f"at most {config.max_skipped}",
        action="the last checkpoint is kept; continue with on_bad_step, max_skipped or spike_nats set otherwise, "
        "or begin anew with a lower learning_rate or clip, or more warmup_steps",
    )
