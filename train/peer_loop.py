"""The training loop for other people's models: plain PyTorch, whole model in every process, gradients summed.

As with ours the batch is a function of the step, the loss is a mean per target over all processes, and the same command
continues after a kill: the result is that of an undisturbed run. State is kept in safetensors, never pickled.
"""

import os
import shutil
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from core.errors import MGLMError
from core.examples import Example
from core.log import get_logger
from core.manifest import WORK_NAME
from core.processes import end_with_parent
from core.progress import progress
from core.stage import Stage
from model.peer import Peer
from model.peer_text import PeerSource
from tokenizer.windows import windows_with_answer
from train.config import FinetuneConfig
from train.development import Development, measured, tell_development
from train.draws import Draws
from train.guard import StepGuard
from train.job import EVENTS, METRICS
from train.launch import check_same
from train.metrics import EventLog, MetricsLog
from train.peer_job import PeerJob
from train.peer_state import (
    add_to_state,
    best_state,
    is_whole,
    last_state,
    load_weights,
    read_state,
    restore,
    save_state,
)
from train.signals import StopRequest, agreed, vote

Row = tuple[PeerSource, list[int]]  # what is read, and the tokens to be learned


class PeerBatches:
    """The examples, shuffled anew in every epoch, as ours are."""

    def __init__(self, job: PeerJob, peer: Peer) -> None:
        self._job, self._peer = job, peer
        self._order: tuple[int, Any] = (-1, None)

    def rows(self, step: int, rank: int, size: int) -> list[Row]:
        """One process's share of a step."""
        share = self._job.config.global_batch_size // size
        first = step * self._job.config.global_batch_size + rank * share
        return [self._row(index) for index in range(first, first + share)]

    def _example_at(self, index: int) -> int:
        epoch, place = divmod(index, len(self._job.examples))
        if self._order[0] != epoch:
            draw = np.random.default_rng([self._job.config.seed, epoch])
            self._order = epoch, draw.permutation(len(self._job.examples))
        return int(self._order[1][place])

    def _row(self, index: int) -> Row:
        job, example = self._job, self._job.examples[self._example_at(index)]
        draws = Draws(job.config.seed, np.array([index]))
        (prompt,), (window,) = draws.take(1)[0], draws.take(1)[0]
        asked = [example.source] if job.prompts is None else job.prompts.of(example.source)
        # Made anew each time: kept as lists, the ids of NCLS would fill ten gigabytes in every process.
        sources, target = self._encoded(example.model_copy(update={"source": asked[int(prompt * len(asked))]}))
        return sources[int(window * len(sources))], target

    def _encoded(self, example: Example) -> tuple[list[PeerSource], list[int]]:
        """What of the example may be read, one source or several windows, and what is to be learned."""
        config = self._job.config
        windows = self._peer.sources(example, config.source_length, config.window_stride)
        target = self._peer.encode(example.answer)[: config.target_length]
        if len(target) < config.target_length:  # a target that was cut does not end there
            target.append(self._peer.end_ids[0])
        return windows_with_answer(windows, example.source, example.answers, self._peer), target


class PeerTrainer:
    """The model with its optimiser, at a step. `sums` adds a vector up over all processes."""

    def __init__(self, job: PeerJob, work: Path, rank: int, size: int) -> None:
        self.job, self.config, self.rank, self.size = job, job.config, rank, size
        device = f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
        self.peer = Peer.load(
            job.init, trust_remote_code=self.config.trust_remote_code, device=device, precision="fp32"
        )
        self.model = self.peer.model.train()
        if self.config.recompute == "full":
            self.model.gradient_checkpointing_enable()
        self.parameters = {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}
        self.optimizer = optimizer_of(self.parameters, self.config)
        self.step, losses = 0, []
        self.unmeasured = False  # whether it was stopped where it was to be measured
        if (state := _newest_state(work, rank, size)) is not None:
            meta = restore(state, self.parameters, self.optimizer)
            self.step, losses = int(meta["step"]), meta["recent_losses"]
            self.unmeasured = meta.get("unmeasured", False)
            if rank == 0:
                get_logger("train").info("continuing fine-tuning at step %d", self.step)
        self.guard = StepGuard(self.config, losses)

    def train_step(self, rows: Sequence[Row], stop: StopRequest) -> dict[str, Any]:
        """One update; what metrics.jsonl says of it, with the signal to stop for."""
        config, device = self.config, self.model.device
        torch.manual_seed(int(np.random.SeedSequence([config.seed, self.step, self.rank]).generate_state(1)[0]))
        rate = learning_rate(self.step, config, self.job.steps)
        counts = self._sum([sum(len(target) for _, target in rows), sum(len(source.ids) for source, _ in rows)])
        targets, loss = int(counts[0]), 0.0
        for first in range(0, len(rows), config.micro_batch_size):
            sources, answers = zip(*rows[first : first + config.micro_batch_size], strict=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                logits_NV, labels_N = self.peer.logits(sources, answers)
            part = F.cross_entropy(logits_NV, labels_N, label_smoothing=config.label_smoothing, reduction="sum")
            torch.autograd.backward(part / targets)
            loss += float(part.detach()) / targets
        loss, votes = self._sum([loss, vote(stop.signal)])
        norm = self._gradient_norm()
        skipped = self.guard.reason(loss) or ("" if np.isfinite(norm) else f"gradient norm {norm}")
        self.guard.note(None if skipped else loss)
        if not skipped:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        row: dict[str, Any] = {"step": self.step, "samples": self.step * config.global_batch_size}
        row |= {"loss": round(loss, 8) if np.isfinite(loss) else None, "learning_rate": rate}
        row |= {"grad_norm": round(norm, 6) if np.isfinite(norm) else None, "targets": targets}
        row |= {"tokens": targets + int(counts[1]), **({"skipped": skipped} if skipped else {})}
        return {"row": row, "stop": agreed(votes), "skipped": skipped}

    def measure(self, development: Development) -> dict[str, Any]:
        """The model's scores on the development examples, as `train.development.measured`."""
        self.model.eval()
        try:
            with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
                return measured(development, lambda: self.peer)
        finally:
            self.model.train()

    def meta(self) -> dict[str, Any]:
        return {"step": self.step, "recent_losses": self.guard.state}

    def _gradient_norm(self) -> float:
        """Sums the gradients over all processes and clips them."""
        for weight in self.parameters.values():
            if weight.grad is None:  # of a part that no row used, here: others may have used it
                weight.grad = torch.zeros_like(weight)
            if self.size > 1:
                dist.all_reduce(weight.grad)
        weights = list(self.parameters.values())
        return float(torch.nn.utils.clip_grad_norm_(weights, self.config.clip or float("inf")))

    def _sum(self, values: Sequence[float]) -> list[float]:
        total = torch.tensor(values, dtype=torch.float64, device=self.model.device)
        if self.size > 1:
            dist.all_reduce(total)
        found: list[float] = total.tolist()
        return found


def _newest_state(work: Path, rank: int, size: int) -> Path | None:
    """The newest state as the first process sees it: another host may not see it yet, or write to another disk.

    Raises:
        MGLMError: a process does not see it, on all of them.
    """
    told: list[Any] = [last_state(work) if rank == 0 else None]
    if size == 1:
        return cast("Path | None", told[0])
    dist.broadcast_object_list(told)
    if told[0] is None:
        return None
    state = work / str(told[0].name)
    seen: list[Any] = [None] * size
    dist.all_gather_object(seen, is_whole(state))
    if not all(seen):
        raise MGLMError(
            f"state {state}",
            found=f"none that process {seen.index(False)} sees",
            expected="an output that all hosts share",
            action="put --output on shared storage, and run the same command again",
        )
    return state


def train_alone(job: PeerJob, stage: Stage) -> int:
    """Trains in this process; the signal that stopped it, 0 at the end."""
    trainer = PeerTrainer(job, stage.work, 0, 1)
    stopped_by = run(job, trainer, stage.work)
    if not stopped_by:
        finish(job, trainer, stage)
    return stopped_by


def train_together(job: PeerJob, *, overwrite: bool) -> int:
    """The life of a worker; the first one claims the output and tells the others whether there is work."""
    end_with_parent()
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    try:
        stage = job.claim(overwrite=overwrite) if rank == 0 else None
        done = torch.tensor(int(stage is not None and stage.done), device="cuda" if on_gpu else "cpu")
        dist.broadcast(done, src=0)
        if done:
            return 0
        check_same(job.config, job.inputs, steps=job.steps)
        work = job.output / WORK_NAME
        if stage is not None:
            work = stage.work  # makes it
        dist.barrier()
        trainer = PeerTrainer(job, work, rank, size)
        stopped_by = run(job, trainer, work)
        if stage is not None and not stopped_by:
            finish(job, trainer, stage)
        dist.barrier()
        return stopped_by
    finally:
        dist.destroy_process_group()


def run(job: PeerJob, trainer: PeerTrainer, work: Path) -> int:
    """Trains to the last step, or until a signal, and saves the state; returns that signal.

    What was to be measured where a signal stopped it is measured when it goes on.
    """
    config, first = job.config, trainer.rank == 0
    batches = PeerBatches(job, trainer.peer)
    metrics = MetricsLog(job.output / METRICS, trainer.step) if first else None
    events = EventLog(job.output / EVENTS) if first else None
    with StopRequest() as stop, progress("fine-tuning", job.steps, enabled=first) as bar:
        bar.advance(trainer.step)
        if trainer.unmeasured and job.development is not None:
            scores = trainer.measure(job.development)
            if events is not None:
                tell_development(events, trainer.step, scores)
                add_to_state(work, {"development": scores, "unmeasured": False})
        while trainer.step < job.steps:
            started = time.perf_counter()
            result = trainer.train_step(batches.rows(trainer.step, trainer.rank, trainer.size), stop)
            seconds = time.perf_counter() - started
            if metrics is not None:
                row = result["row"]
                row |= {"step_s": round(seconds, 4), "tokens_per_s": round(row["tokens"] / seconds, 1)}
                metrics.append(row)
                bar.advance(note=f"loss {row['loss']}")
            if result["skipped"]:
                _bear(trainer, result["skipped"])
            at_end, developed = trainer.step == job.steps, None
            stopped_by = 0 if at_end else int(result["stop"])
            to_measure = at_end or trainer.step % job.eval_interval == 0
            if job.development is not None and to_measure and not stopped_by:
                developed = trainer.measure(job.development)
                if events is not None:
                    tell_development(events, trainer.step, developed)
            if first and (at_end or stopped_by or developed or trainer.step % config.save_interval == 0):
                meta = {**trainer.meta(), "development": developed, "unmeasured": to_measure and developed is None}
                save_state(work, trainer.parameters, trainer.optimizer, meta)
            if stopped_by:
                return stopped_by
    for log in filter(None, (metrics, events)):
        log.close()
    return 0


def finish(job: PeerJob, trainer: PeerTrainer, stage: Stage) -> None:
    """Writes what `from_pretrained` reads, of the best weights where some were measured, and the manifest."""
    facts: dict[str, Any] = {}
    if (best := best_state(stage.work)) is not None:
        load_weights(best, trainer.parameters)
        facts = {name: read_state(best)[name] for name in ("step", "development")}
        get_logger("train").info("the weights of step %d are the best: kept", facts["step"])
    weights = sum(weight.numel() for weight in trainer.parameters.values())
    shutil.rmtree(stage.work / "export", ignore_errors=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.peer.save(stage.work / "export")
    for path in (stage.work / "export").iterdir():
        path.replace(job.output / path.name)
    stage.finish(facts=job.facts(weights) | facts)


def optimizer_of(parameters: dict[str, Tensor], config: FinetuneConfig) -> torch.optim.AdamW:
    """AdamW without decay of biases and normalisations, as ours."""
    decayed = [weight for weight in parameters.values() if weight.dim() > 1]
    others = [weight for weight in parameters.values() if weight.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=(config.adam_beta1, config.adam_beta2), eps=config.adam_eps
    )


def learning_rate(step: int, config: FinetuneConfig, steps: int) -> float:
    """Of the update after `step` updates: linear up, then linear down, as megatron's scheduler has it."""
    highest, lowest, last = config.learning_rate, config.min_learning_rate, config.decay_steps or steps
    if step <= config.warmup_steps and config.warmup_steps:
        return highest * step / config.warmup_steps
    if step > last:
        return lowest
    return lowest + (highest - lowest) * (1 - (step - config.warmup_steps) / (last - config.warmup_steps))


def _bear(trainer: PeerTrainer, reason: str) -> None:
    if trainer.rank == 0:
        get_logger("train").warning("step %d skipped: %s", trainer.step, reason)
    if trainer.guard.enough():
        raise MGLMError(
            f"fine-tuning, step {trainer.step}",
            found=reason,
            expected="finite losses near those before",
            action="lower finetune.learning_rate or finetune.clip, or raise finetune.warmup_steps",
        )
