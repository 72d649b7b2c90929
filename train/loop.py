"""The training loop on megatron-core, the same for pretraining and fine-tuning, run by every process.

Tensor names end in their shape: B rows of a micro-batch, S positions, N positions with a loss.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch import Tensor

from core.errors import MGLMError
from core.log import get_logger
from core.progress import ProgressReporter, progress
from model.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from model.optimizer import build_optimizer, build_scheduler
from model.parallel import build_chunks, seed_step, unwrap
from train.batches import MicroBatch
from train.checkpoints import remove_old
from train.job import CHECKPOINTS, METRICS, TOKENIZER, Job
from train.metrics import MetricsLog
from train.signals import StopRequest, signals_blocked


@dataclass(frozen=True)
class StepResult:
    """Of one step over all processes. `loss`: mean per target, natural log, with label smoothing where that is on."""

    loss: float
    gradient_norm: float
    learning_rate: float  # that of this step's update
    targets: int
    tokens: int  # without padding
    stop: bool  # a process was asked to stop


class Trainer:
    """This process's share of the model with its optimiser and schedule, at a step."""

    def __init__(self, job: Job) -> None:
        config = job.config
        decay_steps = config.decay_steps or job.steps
        self.job = job
        self.chunks = build_chunks(
            job.model,
            job.tokenizer.vocab_size,
            job.topology,
            seed=config.seed,
            execution=config.execution(),
            distributed_optimizer=config.distributed_optimizer,
            overlap=torch.cuda.is_available(),
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
        )
        self.scheduler = build_scheduler(
            self.optimizer,
            learning_rate=config.learning_rate,
            min_learning_rate=config.min_learning_rate,
            warmup=config.warmup_steps,
            decay=decay_steps,
            weight_decay=config.weight_decay,
        )
        self.step = self._restore()
        if dist.get_rank() == 0:
            backend = unwrap(self.chunks[0]).backend
            get_logger("train").info("%s: attention by %s, %s", job.name, backend, config.precision)
        self._passes = get_forward_backward_func()

    def train_step(self, micro_batches: list[MicroBatch], stop: StopRequest) -> StepResult:
        """One update of the weights with all rows of a step.

        Raises:
            MGLMError: the loss or the gradient is not finite; the weights are left as they were for a bad loss.
        """
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
        loss_sum, targets, tokens, stops = _add_up(sums, micro_batches, stop)
        loss = loss_sum / max(targets, 1)
        self._check_finite("loss", loss)
        learning_rate = self.optimizer.param_groups[0]["lr"]
        _, gradient_norm, _ = self.optimizer.step()
        self._check_finite("gradient norm", float(gradient_norm))
        self.scheduler.step(1)
        self.step += 1
        return StepResult(loss, float(gradient_norm), learning_rate, int(targets), int(tokens), stops > 0)

    def save(self) -> None:
        """Writes a checkpoint of this step and removes the oldest."""
        job, root = self.job, self.job.output / CHECKPOINTS
        meta = {
            "step": self.step,
            "samples": self.step * job.config.global_batch_size,
            "model": job.model.model_dump(),
            "vocab_size": job.tokenizer.vocab_size,
            "tokenizer_sha256": job.tokenizer.sha256,
            "training": job.config.model_dump(),
        }
        with signals_blocked():  # megatron writes through child processes, which a signal to the group would end
            save_checkpoint(root, self.chunks, self.optimizer, self.scheduler, meta)
        if dist.get_rank() == 0:
            remove_old(root, job.config.keep_checkpoints)
        dist.barrier()

    def _restore(self) -> int:
        """Continues the latest checkpoint, or begins with the weights of `init`, or from scratch; returns the step."""
        latest = latest_checkpoint(self.job.output / CHECKPOINTS)
        if latest is not None:
            meta = load_checkpoint(latest, self.chunks, self.optimizer, self.scheduler)
            if dist.get_rank() == 0:
                get_logger("train").info("continuing %s at step %d", self.job.name, meta["step"])
            return int(meta["step"])
        if self.job.init is not None:
            load_checkpoint(self.job.init, self.chunks)
            self.optimizer.reload_model_params()
        return 0

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
        return losses_N, _loss_sums

    def _check_finite(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            raise MGLMError(
                f"{self.job.name}, step {self.step + 1}",
                found=f"{name} {value}",
                expected="a finite number",
                action="lower learning_rate or clip, or raise warmup_steps; the last checkpoint is kept",
            )


def run(job: Job) -> int:
    """Trains to the last step, or until a signal; returns the number of that signal, 0 at the end.

    After a signal the state is saved at the end of the running step; the same command continues from there.
    """
    is_first = dist.get_rank() == 0
    batches = job.make_batches()
    trainer = Trainer(job)
    data_rank = parallel_state.get_data_parallel_rank()
    data_size = parallel_state.get_data_parallel_world_size()
    if is_first and not (job.output / TOKENIZER).exists():
        job.tokenizer.save(job.output / TOKENIZER)
    metrics = MetricsLog(job.output / METRICS, trainer.step) if is_first else None
    with StopRequest() as stop, progress(job.name, job.steps, enabled=is_first) as reporter:
        reporter.advance(trainer.step)
        while trainer.step < job.steps:
            started = time.perf_counter()
            result = trainer.train_step(batches.batch(trainer.step, data_rank, data_size), stop)
            if metrics is not None:
                _report(trainer, result, time.perf_counter() - started, metrics, reporter)
            at_end = trainer.step == job.steps
            if at_end or result.stop or trainer.step % job.config.save_interval == 0:
                trainer.save()
            if result.stop and not at_end:
                return stop.signal or stop.DEFAULT
    if metrics is not None:
        metrics.close()
    return 0


def _loss_sums(losses_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sum and number for megatron, which divides by the number over all processes; and both for the log."""
    loss_sum = losses_N.sum()
    number = torch.tensor(losses_N.numel(), dtype=torch.int, device=losses_N.device)
    return loss_sum, number, torch.stack([loss_sum.detach().double(), number.double()])


def _add_up(sums: list[Tensor], micro_batches: list[MicroBatch], stop: StopRequest) -> tuple[float, ...]:
    """Loss sum, targets, tokens and stop requests over all processes, in one exchange.

    Losses live on the last pipeline stage, equal on all its tensor-parallel ranks: only the first of those counts them.
    """
    device = torch.cuda.current_device()
    total_4 = torch.zeros(4, dtype=torch.float64, device=device)
    if parallel_state.is_pipeline_last_stage() and parallel_state.get_tensor_model_parallel_rank() == 0:
        total_4[:2] = torch.stack(sums).sum(0)
        total_4[2] = sum(batch.tokens for batch in micro_batches)
    total_4[3] = float(stop.signal is not None)
    dist.all_reduce(total_4)
    return tuple(total_4.tolist())


def _on_device(array: Any) -> Tensor:
    return torch.from_numpy(array).to(torch.cuda.current_device(), non_blocking=True)


def _report(
    trainer: Trainer, result: StepResult, seconds: float, metrics: MetricsLog, reporter: ProgressReporter
) -> None:
    tokens_per_s = result.tokens / seconds
    metrics.append(
        {
            "step": trainer.step,
            "samples": trainer.step * trainer.job.config.global_batch_size,
            "loss": round(result.loss, 8),
            "learning_rate": result.learning_rate,
            "grad_norm": round(result.gradient_norm, 6),
            "targets": result.targets,
            "tokens": result.tokens,
            "step_s": round(seconds, 4),
            "tokens_per_s": round(tokens_per_s, 1),
        }
    )
    reporter.advance(1, f"loss {result.loss:.3f}  {tokens_per_s:,.0f} tokens/s")
