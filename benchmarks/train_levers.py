"""What each lever brings to a training step of one process: one is changed at a time, against all as we set them.

    python -m benchmarks.train_levers                       # a small model on a CPU
    python -m benchmarks.train_levers --preset large --vocab-size 250112 --rows 20 --precision bf16     # on a GPU

Rows are made up, 576 positions with 137 targets. Tokens are positions. MFU counts the operations of our own step (the
head on targets alone) for every line, so that a line with more work shows less. Memory is the peak of the device, on a
CPU that of the process with its libraries. Each line has a process of its own. Levers that only a GPU has are left out
on a CPU.
"""

import argparse
import importlib.metadata
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.model_step import made_up_rows
from benchmarks.record import machine, write_record
from model.config import ModelConfig
from model.cpu import cpu_runtime
from model.describe import step_flops
from model.execution import Execution
from model.topology import Topology

H200_TFLOPS = 989.0
# Of a row, as blank infilling makes them of 512 tokens: 137 targets on the average.
LENGTH, CONTEXT, TARGETS = 576, 420, 137


@dataclass(frozen=True)
class Lever:
    """A line of the table: what is changed."""

    name: str
    execution: dict[str, Any]
    head_on_all: bool = False
    fused_adamw: bool = True
    compiled: bool = False
    needs_gpu: bool = False


LEVERS = [
    Lever("as we set it", {}),
    Lever("head on every position", {}, head_on_all=True),
    Lever("loss not in chunks", {"head_chunk": 1 << 30}),
    Lever("attention sdpa, dense mask", {"attention": "sdpa"}, needs_gpu=True),
    Lever("fp32", {"precision": "fp32"}, needs_gpu=True),
    Lever("layers recomputed", {"recompute": "full"}),
    Lever("AdamW not fused", {}, fused_adamw=False),
    Lever("layers compiled", {}, compiled=True, needs_gpu=True),
]


def main() -> None:
    """Measures and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny", help="of the model [tiny]")
    parser.add_argument("--vocab-size", type=int, default=16_000)
    parser.add_argument("--rows", type=int, default=8, help="of a pass [8]")
    parser.add_argument("--passes", type=int, default=2, help="of a step, whose gradients are added up [2]")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak-tflops", type=float, help=f"of the device, for MFU [{H200_TFLOPS} on a GPU]")
    arguments = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    peak = arguments.peak_tflops or (H200_TFLOPS if on_gpu else None)
    model = ModelConfig.model_validate({"preset": arguments.preset, "hidden_dropout": 0.0, "attention_dropout": 0.0})
    chosen = [lever for lever in LEVERS if on_gpu or not lever.needs_gpu]
    measured = {}
    for lever in chosen:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as own:
            measured[lever.name] = own.submit(_measured, lever, model, arguments).result()
        print(lever.name, measured[lever.name], file=sys.stderr)
    positions = arguments.rows * arguments.passes * LENGTH
    rows = arguments.rows * arguments.passes
    operations = step_flops(model, arguments.vocab_size, rows, LENGTH, rows * TARGETS)
    base = measured[chosen[0].name]
    assert not isinstance(base, str), f"the base line failed: {base}"
    table = []
    for name, result in measured.items():
        if isinstance(result, str):
            table.append([name, result, "", "", ""])
            continue
        seconds, peak_bytes = result
        mfu = f"{operations / seconds / peak / 1e12:.1%}" if peak else "–"
        table.append(
            [name, f"{positions / seconds:,.0f}", f"{base[0] / seconds:.2f}", mfu, f"{peak_bytes / 2**30:.2f}"]
        )
    columns = ["what is changed", "tokens/s", "of ours", "MFU", "peak GiB"]
    write_record(
        f"train_levers_{arguments.preset}_{'gpu' if on_gpu else 'cpu'}",
        f"What each lever brings to a step of `{arguments.preset}`",
        columns,
        table,
        remarks=[
            f"{arguments.passes} passes of {arguments.rows} rows of {LENGTH}, {TARGETS} targets each, vocabulary "
            f"{arguments.vocab_size:,}, {arguments.precision}, no dropout; forward, backward, clipping, AdamW; median "
            f"of {arguments.rounds} steps.",
            "Gradient-accumulation fusion and CUDA graphs are not in the code, so they have no line."
            + (
                ""
                if on_gpu
                else " Flex attention, half precision and compiled layers are a GPU's, and unmeasured here."
            ),
        ],
        versions={name: importlib.metadata.version(name) for name in ("torch", "megatron-core")},
        device=f"{torch.cuda.get_device_name()}, {machine()}" if on_gpu else "",
    )


def _measured(lever: Lever, model: ModelConfig, arguments: argparse.Namespace) -> tuple[float, int] | str:
    """Seconds of a step and peak bytes, or why there are none. In a process of its own, whose memory is one lever's."""
    on_gpu = torch.cuda.is_available()
    with cpu_runtime():
        from model.parallel import initialize, shut_down

        initialize(Topology(), seed=1)
        try:
            step = _step(lever, model, arguments)
            for _ in range(2):  # compiles, allocates
                step()
            if on_gpu:
                torch.cuda.reset_peak_memory_stats()
            seconds = []
            for _ in range(arguments.rounds):
                torch.cuda.synchronize()
                started = time.perf_counter()
                step()
                torch.cuda.synchronize()
                seconds.append(time.perf_counter() - started)
        except torch.OutOfMemoryError:
            return "out of memory"
        finally:
            shut_down()
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return statistics.median(seconds), int(peak)


def _step(lever: Lever, model: ModelConfig, arguments: argparse.Namespace) -> Callable[[], None]:
    """One update as train/loop.py makes it."""
    from megatron.core.pipeline_parallel import get_forward_backward_func

    from model.optimizer import build_optimizer, update_weights, use_fused
    from model.parallel import build_chunks

    execution = Execution.model_validate({"precision": arguments.precision, **lever.execution})
    chunks = build_chunks(
        model, arguments.vocab_size, Topology(), seed=1, execution=execution, distributed_optimizer=False
    )
    optimizer = build_optimizer(chunks, learning_rate=1e-5, precision=execution.precision, distributed_optimizer=False)
    use_fused(optimizer, fused=lever.fused_adamw)
    if lever.compiled:
        for chunk in chunks:
            for layer in chunk.module.modules():
                if type(layer).__name__ == "TransformerLayer":
                    layer.compile()
    device = torch.cuda.current_device() if torch.cuda.is_available() else "cpu"
    sizes = arguments.rows, arguments.vocab_size, LENGTH, CONTEXT, TARGETS
    rows = {name: value.to(device) for name, value in made_up_rows(*sizes).items()}
    if lever.head_on_all:
        rows["labels_BS"] = rows["input_ids_BS"].clone()
    passes = get_forward_backward_func()

    def step() -> None:
        for chunk in chunks:
            chunk.zero_grad_buffer()
        optimizer.zero_grad()
        passes(
            forward_step_func=lambda parts, part: (part(**next(parts)), _sums),
            data_iterator=iter([rows] * arguments.passes),
            model=chunks,
            num_microbatches=arguments.passes,
            seq_length=LENGTH,
            micro_batch_size=arguments.rows,
            forward_only=False,
        )
        update_weights(optimizer)

    return step


def _sums(losses_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    number = torch.tensor(losses_N.numel(), dtype=torch.int, device=losses_N.device)
    return losses_N.sum(), number, losses_N.detach().sum()


if __name__ == "__main__":
    main()
