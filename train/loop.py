"""The training loop on megatron-core, the same for pretraining and fine-tuning, run by every process.

Tensor names end in their shape: B rows of a micro-batch, S positions, N positions with a loss, L languages.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch import Tensor

from core.errors import MGLMError
from core.log import get_logger
from core.progress import progress
from model.checkpoint import load_checkpoint
from model.glm import IGNORED_LABEL
from model.optimizer import build_optimizer, build_scheduler, loss_scale, update_weights
from model.parallel import build_chunks, seed_step, unwrap
from train.batches import MicroBatch
from train.checkpoints import tidy_up
from train.evaluation import Evaluation
from train.guard import StepGuard
from train.heldout import HELDOUT, read_heldout
from train.job import CHECKPOINTS, EVENTS, TOKENIZER, Job
from train.metrics import EventLog
from train.record import Record
from train.saver import Saver, last_good
from train.schedule import take_up
from train.signals import StopRequest, agreed

_COMMON_SUMS = 7  # loss, targets, tokens, positions, stop requests, their signals, unwritten saves


@dataclass(frozen=True)
class StepResult:
    """Of one step over all processes. `loss`: mean per target, natural log, with label smoothing where that is on.

    `skipped` says why the weights were left as they are; "" when they were not. `nats_L` and `targets_L` are sums over
    each of the job's languages, and over rows of several.
    """

    loss: float
    gradient_norm: float
    learning_rate: float  # that of this step's update
    loss_scale: float  # 1 but in fp16
    targets: int
    tokens: int  # without padding
    length: float  # of the rows on the average, with padding
    stop: int  # the signal by which a process was asked to stop; 0: none was
    all_written: bool  # no process is still writing a checkpoint
    skipped: str
    bad: bool  # skipped, and not as part of how fp16 finds its scale
    nats_L: list[float]
    targets_L: list[float]


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
        self._passes = get_forward_backward_func()
        self._language_number = {lang: number for number, lang in enumerate(job.languages)}

    def train_step(self, micro_batches: list[MicroBatch], stop: StopRequest) -> StepResult:
        """One update of the weights with all rows of a step; none, and the reason, when the step is bad."""
        seed_step(self.job.config.seed, self.step)
        for chunk in self.chunks:
            chunk.zero_grad_buffer()
        self.optimizer.zero_grad()
        rows, length = micro_batches[0].input_ids_BS.shape
        sums = self._passes(
            forward_step_func=self._forward,
            data_iterator=[iter(micro_batches) for _ in self.chunks],  # each part of the model reads its own
            model=self.chunks,
            num_microbatches=len(micro_batches),
            seq_length=self.job.topology.padded(length),
            micro_batch_size=rows,
            forward_only=False,
        )
        (loss_sum, targets, tokens, positions, stops, signals, unwritten), nats_L, targets_L = self._add_up(
            sums, micro_batches, stop
        )
        loss, scale = loss_sum / max(targets, 1), loss_scale(self.optimizer)
        learning_rate = next((group["lr"] for group in self.optimizer.param_groups), 0.0)  # none where all is frozen
        gradient_norm, skipped = 0.0, self.guard.reason(loss)
        if not skipped:
            update = update_weights(self.optimizer)
            gradient_norm = update.gradient_norm
            if not update.done:
                skipped = f"overflow at loss scale {scale:g}" if update.overflow else f"gradient norm {gradient_norm}"
        bad = bool(skipped) and not (skipped.startswith("overflow") and scale > 1)
        self.guard.note(None if bad else loss)
        self.scheduler.step(1)  # also for a skipped step: the rate depends on the step alone
        self.step += 1
        return StepResult(
            loss, gradient_norm, learning_rate, scale, int(targets), int(tokens),
            positions / self.job.config.global_batch_size,
            agreed(signals, stops), unwritten == 0, skipped, bad, nats_L, targets_L,
        )  # fmt: skip

    def save(self, **more: Any) -> None:
        """Begins a checkpoint of this step; `more` goes into its meta."""
        job = self.job
        meta = {
            "step": self.step,
            "samples": self.step * job.config.global_batch_size,
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
        if not self.job.first_step:
            load_checkpoint(self.job.init, self.chunks)
            self.optimizer.reload_model_params()
            return {}
        meta = load_checkpoint(self.job.init, self.chunks, self.optimizer)
        take_up(self.optimizer, self.scheduler, self.job)
        if events is not None:
            chapter = self.job.meta["lineage"][-1]
            events.tell("continued", self.job.first_step, checkpoint=chapter["checkpoint"], changed=chapter["changed"])
        return {name: meta[name] for name in ("step", "recent_losses") if name in meta}

    def _forward(self, micro_batches: Iterator[MicroBatch], model: Any) -> tuple[Tensor, Any]:
        batch = next(micro_batches)
        segment_ids_BS = None if batch.segment_ids_BS is None else _on_device(batch.segment_ids_BS)
        losses_N = model(
            _on_device(batch.input_ids_BS),
            _on_device(batch.position_ids_B2S),
            _on_device(batch.context_length_B),
            _on_device(batch.labels_BS),
            segment_ids_BS,
            self.job.label_smoothing,
        )
        several = len(self._language_number)  # the last of the sums
        language_B = np.array([self._language_number.get(lang, several) for lang in batch.languages_B])
        language_N = _on_device(
            np.repeat(language_B, (batch.labels_BS != IGNORED_LABEL).sum(1))
        )  # losses are in rows' order

        def loss_sums(losses_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            """Sum and number for megatron, which divides by the number over all processes; and for the log."""
            number = torch.tensor(losses_N.numel(), dtype=torch.int, device=losses_N.device)
            sums_2L = torch.zeros(2, several + 1, dtype=torch.float64, device=losses_N.device)
            sums_2L[0].index_add_(0, language_N, losses_N.detach().double())
            sums_2L[1].index_add_(0, language_N, torch.ones_like(language_N, dtype=torch.float64))
            return losses_N.sum(), number, sums_2L

        return losses_N, loss_sums

    def _add_up(
        self, sums: Sequence[Tensor], micro_batches: Sequence[MicroBatch], stop: StopRequest
    ) -> tuple[list[float], list[float], list[float]]:
        """The sums of `_COMMON_SUMS`, then loss and targets by language, over all processes.

        One exchange. Losses live on the last pipeline stage, equal on all its tensor-parallel ranks: only the first of
        those counts them.
        """
        languages = len(self._language_number) + 1
        total = torch.zeros(_COMMON_SUMS + 2 * languages, dtype=torch.float64, device=torch.cuda.current_device())
        if parallel_state.is_pipeline_last_stage() and parallel_state.get_tensor_model_parallel_rank() == 0:
            sums_2L = torch.stack(list(sums)).sum(0)
            total[:2], total[_COMMON_SUMS:] = sums_2L.sum(1), sums_2L.flatten()
            total[2] = sum(batch.tokens for batch in micro_batches)
            total[3] = sum(batch.input_ids_BS.size for batch in micro_batches)
        total[4], total[5], total[6] = float(stop.signal is not None), stop.signal or 0, float(self.saver.pending)
        dist.all_reduce(total)
        found: list[float] = total.tolist()
        middle = _COMMON_SUMS + languages
        return found[:_COMMON_SUMS], found[_COMMON_SUMS:middle], found[middle:]


def run(job: Job, *, then_ends: bool = False) -> int:
    """Trains to the last step, or until a signal; returns the number of that signal, 0 at the end.

    After a signal the state is saved at the end of the running step; the same command continues from there. With
    `then_ends` this process is one that ends afterwards, and signals no longer hurry it.
    """
    is_first = dist.get_rank() == 0
    events = EventLog(job.output / EVENTS) if is_first else None
    batches = job.make_batches()
    trainer = Trainer(job, events)
    evaluation = _evaluation(job)
    development = job.make_development() if job.make_development is not None else None
    data_rank = parallel_state.get_data_parallel_rank()
    data_size = parallel_state.get_data_parallel_world_size()
    if is_first and not (job.output / TOKENIZER).exists():
        job.tokenizer.save(job.output / TOKENIZER)
    stopped_by = 0
    record = Record(job, trainer.step, trainer.restored, events) if events is not None else None
    with StopRequest(then_ends=then_ends) as stop, progress(job.name, job.steps, enabled=is_first) as reporter:
        reporter.advance(trainer.step)
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
            scores, developed = None, None
            if evaluation is not None and (at_end or trainer.step % job.eval_interval == 0):
                scores = _measure(trainer, evaluation, record)
            if development is not None and (at_end or trainer.step % job.eval_interval == 0):
                developed = development.measure(trainer.chunks)
                if record is not None:
                    record.development(trainer.step, developed)
            # A bad step's weights may be beyond repair, and saving them would rotate good ones away. What was measured
            # is saved, so that the best can be kept.
            due = trainer.step % job.config.save_interval == 0 and not result.bad
            if at_end or result.stop or developed or due:
                of_record = record.state if record is not None else {}
                trainer.save(heldout_bits_per_byte=scores, development=developed, **of_record)
            if result.stop and not at_end:
                stopped_by = result.stop
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


def _measure(trainer: Trainer, evaluation: Evaluation, record: Record | None) -> float:
    started = time.perf_counter()
    scores = evaluation.bits_per_byte(trainer.chunks)
    blanks = evaluation.fill_blanks(trainer.chunks)
    if record is not None:
        record.evaluation(trainer.step, scores, blanks, time.perf_counter() - started)
    return float(scores["bits_per_byte"])


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


def _on_device(array: Any) -> Tensor:
    """Through page-locked memory on GPUs: from any other the copy waits for all that was asked of the device before."""
    tensor = torch.from_numpy(array)
    if torch.cuda.is_available():
        tensor = tensor.pin_memory()
    return tensor.to(torch.cuda.current_device(), non_blocking=True)
