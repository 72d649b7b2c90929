"""A tiny GLM in training, for parity checks: random rows, megatron's schedule, losses per target."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.pipeline_parallel import get_forward_backward_func

from model.config import ModelConfig
from model.execution import Execution
from model.optimizer import build_optimizer, build_scheduler
from model.parallel import build_chunks, seed_step
from model.topology import Topology

VOCAB_SIZE = 256
ROWS, LENGTH, CONTEXT, MICRO_ROWS = 16, 23, 14, 2  # an odd length: sequence parallelism has to pad
LABEL_SMOOTHING = 0.1


class TinyTraining:
    """A model with optimizer and schedule on the current process group; `train` continues at any step."""

    def __init__(
        self,
        model: ModelConfig,
        topology: Topology,
        *,
        distributed_optimizer: bool,
        overlap: bool = False,
        seed: int = 7,
        execution: Execution | None = None,
    ) -> None:
        self.model, self.topology, self.seed = model, topology, seed
        self.gradient_norms: list[float] = []
        execution = execution or Execution()
        self.chunks = build_chunks(
            model,
            VOCAB_SIZE,
            topology,
            seed=seed,
            execution=execution,
            distributed_optimizer=distributed_optimizer,
            overlap=overlap,
        )
        self.optimizer = build_optimizer(
            self.chunks,
            learning_rate=5e-3,
            precision=execution.precision,
            distributed_optimizer=distributed_optimizer,
        )
        self.scheduler = build_scheduler(self.optimizer, learning_rate=5e-3, min_learning_rate=1e-3, warmup=1, decay=20)

    def train(self, first: int, last: int) -> list[float]:
        """Mean losses per target of steps first … last − 1, the same on every rank."""
        return [self.step(step) for step in range(first, last)]

    def meta(self, step: int) -> dict[str, Any]:
        return {
            "step": step,
            "samples": step * ROWS,
            "model": self.model.model_dump(),
            "vocab_size": VOCAB_SIZE,
            "tokenizer_sha256": "none",
        }

    def step(
        self,
        step: int,
        before_update: Callable[[], None] | None = None,
        update: Callable[[Any], Any] | None = None,
    ) -> float:
        """One step; `before_update` is called when all gradients are there, `update` in place of the plain update."""
        seed_step(self.seed, step)
        for chunk in self.chunks:
            chunk.zero_grad_buffer()
        self.optimizer.zero_grad()
        micro_batches = micro_batches_of(step)
        sums = get_forward_backward_func()(
            forward_step_func=_forward,
            data_iterator=[iter(micro_batches) for _ in self.chunks],
            model=self.chunks,
            num_microbatches=len(micro_batches),
            seq_length=self.topology.padded(LENGTH),
            micro_batch_size=MICRO_ROWS,
            forward_only=False,
        )
        if before_update is not None:
            before_update()
        self.gradient_norms.append(0.0 if update else float(self.optimizer.step()[1]))
        if update is not None:
            update(self.optimizer)
        self.scheduler.step(1)
        total_2 = torch.stack(sums).sum(0) if sums else torch.zeros(2, dtype=torch.float64)
        if parallel_state.get_tensor_model_parallel_rank():
            total_2.zero_()
        dist.all_reduce(total_2)
        return float(total_2[0] / total_2[1])


def micro_batches_of(step: int) -> list[dict[str, torch.Tensor]]:
    """This data-parallel rank's share of a step: rows with a context, a mask in it and a span of random length."""
    generator = torch.Generator().manual_seed(step)
    ids_BS = torch.randint(0, VOCAB_SIZE, (ROWS, LENGTH), generator=generator)
    place_S = torch.arange(LENGTH)
    in_span_S = place_S >= CONTEXT
    positions_B2S = torch.stack([
        torch.where(in_span_S, CONTEXT // 2, place_S), torch.where(in_span_S, place_S - CONTEXT + 1, 0)
    ]).expand(ROWS, 2, LENGTH)  # fmt: skip
    end_B1 = torch.randint(CONTEXT + 1, LENGTH + 1, (ROWS, 1), generator=generator)
    labels_BS = torch.where(in_span_S & (place_S < end_B1), ids_BS.roll(-1, 1), -100)
    whole = {
        "input_ids_BS": ids_BS,
        "position_ids_B2S": positions_B2S,
        "context_length_B": torch.full((ROWS,), CONTEXT),
        "labels_BS": labels_BS,
    }
    share = ROWS // parallel_state.get_data_parallel_world_size()
    first = share * parallel_state.get_data_parallel_rank()
    return [
        {name: rows[start : start + MICRO_ROWS] for name, rows in whole.items()}
        for start in range(first, first + share, MICRO_ROWS)
    ]


def _forward(micro_batches: Any, model: Any) -> tuple[torch.Tensor, Any]:
    return model(**next(micro_batches), label_smoothing=LABEL_SMOOTHING), _sums


def _sums(losses_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    total, number = losses_N.sum(), torch.tensor(losses_N.numel(), dtype=torch.int)
    return total, number, torch.stack([total.detach().double(), number.double()])
