"""Head and cross-entropy at a vocabulary of 250,112: time and memory of the plain formula, and of ours.

    python -m benchmarks.model_head [--hidden 256] [--positions 2048] [--rounds 3]

Each way runs in a process of its own, forward and backward, fp32; what it holds above an idle process is its own. The
seconds are those of the passes alone.
"""

import argparse
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.record import in_turn, write_record
from model.cpu import cpu_runtime

VOCABULARY = 250_112
TARGET_SHARE = 0.18  # of the positions have a target
WAYS = {
    "idle": "tensors made, no pass",
    "every": "plain: logits of every position",
    "targets": "plain: logits of the positions with a target",
    "ours": "ours: those, 128 at a time",
}


def main() -> None:
    """Measures each way in processes of their own and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--positions", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        with cpu_runtime():
            print(run(arguments.way, arguments.hidden, arguments.positions))
        return

    seconds: dict[str, list[float]] = {way: [] for way in WAYS}

    def started(way: str) -> None:
        sizes = ["--hidden", str(arguments.hidden), "--positions", str(arguments.positions)]
        command = [sys.executable, "-m", "benchmarks.model_head", "--way", way, *sizes]
        ended = subprocess.run(command, check=True, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE)
        seconds[way].append(float(ended.stdout))

    measured = in_turn({way: partial(started, way) for way in WAYS}, arguments.rounds)
    idle_bytes = max(run.peak_bytes for run in measured["idle"])
    held = {way: max(run.peak_bytes for run in runs) - idle_bytes for way, runs in measured.items()}
    median_s = {way: statistics.median(runs) for way, runs in seconds.items()}
    rows = [
        [
            WAYS[way],
            f"{median_s[way]:.1f}",
            f"{median_s[way] / median_s['every']:.2f}",
            f"{held[way] / 1024**3:.2f}",
            f"{held[way] / held['every']:.2f}",
        ]
        for way in ("every", "targets", "ours")
    ]
    write_record(
        "model_head",
        "Head and cross-entropy over 250,112 pieces",
        ["way", "seconds", "of plain", "GiB above idle", "of plain"],
        rows,
        remarks=[
            f"{arguments.positions:,} positions, {TARGET_SHARE:.0%} with a target, hidden {arguments.hidden}, fp32, "
            "forward and backward, weight gradient included."
        ],
        versions={"torch": torch.__version__},
    )


def run(way: str, hidden: int, positions: int) -> float:
    """Seconds of one forward and backward pass of a way."""
    import torch.distributed as dist

    from model.head import head_losses
    from model.parallel import initialize, shut_down
    from model.topology import Topology

    initialize(Topology(), seed=1)
    assert dist.group.WORLD is not None
    generator = torch.Generator().manual_seed(1)
    hidden_NH = torch.randn(positions, hidden, generator=generator, requires_grad=True)
    weight_VH = (0.02 * torch.randn(VOCABULARY, hidden, generator=generator)).requires_grad_()
    labels_N = torch.randint(0, VOCABULARY, (positions,), generator=generator)
    targets = round(TARGET_SHARE * positions)
    started = time.perf_counter()
    if way == "every":
        labels_N[targets:] = -100
        loss = F.cross_entropy(hidden_NH @ weight_VH.T, labels_N, reduction="sum")
    elif way == "targets":
        loss = F.cross_entropy(hidden_NH[:targets] @ weight_VH.T, labels_N[:targets], reduction="sum")
    elif way == "ours":
        losses_N = head_losses(hidden_NH[:targets], weight_VH, labels_N[:targets], 0.0, dist.group.WORLD, 128)
        loss = losses_N.sum()
    if way != "idle":
        torch.autograd.backward(loss)
    seconds = time.perf_counter() - started
    shut_down()
    return seconds


if __name__ == "__main__":
    main()
