"""The passes of a step: forward and backward over its micro-batches, and the sums of that over all processes.

Tensor names end in their shape: B rows of a micro-batch, S positions, N positions with a loss, L languages.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch import Tensor

from model.glm import IGNORED_LABEL
from train.batches import MicroBatch
from train.job import Job
from train.signals import agreed, vote

_COMMON_SUMS = 6  # loss, targets, tokens, positions, votes to stop, unwritten saves


@dataclass(frozen=True)
class StepSums:
    """Of one step over all processes. `loss`: mean per target, natural log, with label smoothing where that is on.

    `nats_L` and `targets_L` are sums over each of the job's languages, and over rows of several.
    """

    loss: float
    targets: int
    tokens: int  # without padding
    length: float  # of the rows on the average, with padding
    stop: int  # the signal by which a process was asked to stop; 0: none was
    all_written: bool  # no process is still writing a checkpoint
    nats_L: list[float]
    targets_L: list[float]


class Passes:
    """Those of one job through this process's parts of the model."""

    def __init__(self, job: Job, chunks: list[Any]) -> None:
        self._job, self._chunks = job, chunks
        self._schedule = get_forward_backward_func()
        self._language_number = {lang: number for number, lang in enumerate(job.languages)}

    def __call__(self, micro_batches: Sequence[MicroBatch], stop: int, writing: bool) -> StepSums:
        """Leaves the gradients of a step, summed and reduced, where the optimizer finds them.

        What the processes must agree on goes along: the signal that this one has got, or 0, and whether it is still
        writing a checkpoint.
        """
        rows, length = micro_batches[0].input_ids_BS.shape
        found = self._schedule(
            forward_step_func=self._forward,
            data_iterator=[iter(micro_batches) for _ in self._chunks],  # each part of the model reads its own
            model=self._chunks,
            num_microbatches=len(micro_batches),
            seq_length=self._job.topology.padded(length),
            micro_batch_size=rows,
            forward_only=False,
        )
        return self._add_up(found, micro_batches, stop, writing)

    def _forward(self, micro_batches: Iterator[MicroBatch], model: Any) -> tuple[Tensor, Any]:
        batch = next(micro_batches)
        segment_ids_BS = None if batch.segment_ids_BS is None else _on_device(batch.segment_ids_BS)
        losses_N = model(
            _on_device(batch.input_ids_BS),
            _on_device(batch.position_ids_B2S),
            _on_device(batch.context_length_B),
            _on_device(batch.labels_BS),
            segment_ids_BS,
            self._job.label_smoothing,
        )
        several = len(self._language_number)  # the last of the sums
        language_B = np.array([self._language_number.get(lang, several) for lang in batch.languages_B])
        scored_B = (batch.labels_BS != IGNORED_LABEL).sum(1)
        language_N = _on_device(np.repeat(language_B, scored_B))  # losses are in rows' order

        def loss_sums(losses_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            """Sum and number for megatron, which divides by the number over all processes; and for the log."""
            number = torch.tensor(losses_N.numel(), dtype=torch.int, device=losses_N.device)
            sums_2L = torch.zeros(2, several + 1, dtype=torch.float64, device=losses_N.device)
            sums_2L[0].index_add_(0, language_N, losses_N.detach().double())
            sums_2L[1].index_add_(0, language_N, torch.ones_like(language_N, dtype=torch.float64))
            return losses_N.sum(), number, sums_2L

        return losses_N, loss_sums

    def _add_up(
        self, found: Sequence[Tensor], micro_batches: Sequence[MicroBatch], stop: int, writing: bool
    ) -> StepSums:
        """One exchange, and the one time that a step waits for a GPU before its update.

        Losses live on the last pipeline stage, equal on all its tensor-parallel ranks: only the first of those counts.
        """
        languages = len(self._language_number) + 1
        total = torch.zeros(_COMMON_SUMS + 2 * languages, dtype=torch.float64, device=torch.cuda.current_device())
        if parallel_state.is_pipeline_last_stage() and parallel_state.get_tensor_model_parallel_rank() == 0:
            sums_2L = torch.stack(list(found)).sum(0)
            total[:2], total[_COMMON_SUMS:] = sums_2L.sum(1), sums_2L.flatten()
            total[2] = sum(batch.tokens for batch in micro_batches)
            total[3] = sum(batch.input_ids_BS.size for batch in micro_batches)
        total[4], total[5] = vote(stop), float(writing)
        dist.all_reduce(total)
        sums: list[float] = total.tolist()
        nats, targets, tokens, positions, votes, unwritten = sums[:_COMMON_SUMS]
        return StepSums(
            loss=nats / max(targets, 1),
            targets=int(targets),
            tokens=int(tokens),
            length=positions / self._job.config.global_batch_size,
            stop=agreed(votes),
            all_written=unwritten == 0,
            nats_L=sums[_COMMON_SUMS : _COMMON_SUMS + languages],
            targets_L=sums[_COMMON_SUMS + languages :],
        )


def _on_device(array: Any) -> Tensor:
    """Through page-locked memory on GPUs: from any other the copy waits for all that was asked of the device before."""
    tensor = torch.from_numpy(array)
    if torch.cuda.is_available():
        tensor = tensor.pin_memory()
    return tensor.to(torch.cuda.current_device(), non_blocking=True)
