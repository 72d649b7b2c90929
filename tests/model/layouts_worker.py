"""torchrun's worker of test_layouts: every layout of two processes, and checkpoints of two of them.

    torchrun --nproc-per-node 2 -m tests.model.layouts_worker DIR [REFERENCE]

With REFERENCE, a directory with the reference's weights as a checkpoint and its cases, it also leaves what TP=2 makes
of them.

Light at module level: megatron's checkpoint writer starts a process that imports this again.
"""

import json
import sys
from pathlib import Path
from typing import Any

from model.parity import Layout, layouts_of, measure_layouts
from model.topology import Topology

SAVED_AT = 2
SAVED = {
    "tensor": Layout(Topology(tensor=2)),
    "interleaved": Layout(Topology(pipeline=2, virtual_pipeline=2)),
    "data": Layout(Topology(), distributed_optimizer=True),
}


def train_layouts(directory: Path) -> None:
    """What each of the two processes does."""
    import torch.distributed as dist

    from model.checkpoint import save_checkpoint

    held: dict[str, list[int]] = {}

    def during(layout: Layout, steps: int, training: Any) -> None:
        if steps != SAVED_AT:
            return
        held[layout.name] = [0, 0]
        dist.all_gather_object(
            held[layout.name], sum(weight.numel() for chunk in training.chunks for weight in chunk.parameters())
        )
        for name, saved in SAVED.items():
            if layout == saved:
                save_checkpoint(
                    directory / name, training.chunks, training.optimizer, training.scheduler, training.meta(steps)
                )

    measure_layouts(directory, layouts_of(2), during)
    (directory / "parameters.json").write_text(json.dumps(held))


def train_in_half(directory: Path) -> None:
    """A checkpoint of fp16 at TP=2 in the middle of a training, and what followed: losses and the scale."""
    import torch.distributed as dist

    from model.checkpoint import save_checkpoint
    from model.execution import Execution
    from model.optimizer import loss_scale, update_weights
    from model.parallel import initialize
    from model.parity import MODEL, STEPS
    from model.tiny_training import TinyTraining

    initialize(Topology(tensor=2), seed=7)
    execution = Execution(precision="fp16")
    training = TinyTraining(MODEL, Topology(tensor=2), distributed_optimizer=True, execution=execution)
    losses = []
    for step in range(2 * STEPS):
        losses.append(training.step(step, update=update_weights))
        if step + 1 == STEPS:
            parts = training.chunks, training.optimizer, training.scheduler
            save_checkpoint(directory / "fp16", *parts, training.meta(step + 1))
            scale = loss_scale(training.optimizer)
    if dist.get_rank() == 0:
        (directory / "fp16.json").write_text(json.dumps({"losses": losses[STEPS:], "scale": scale}))


def compute_reference(directory: Path, reference: Path) -> None:
    """Logits, losses and gradients of the reference's cases at TP=2, this rank's part of each."""
    import torch
    import torch.distributed as dist
    from safetensors.torch import load_file, save_file

    from model.checkpoint import load_checkpoint
    from model.checkpoint_meta import read_meta
    from model.config import ModelConfig
    from model.parallel import build_stages, initialize

    initialize(Topology(tensor=2), seed=1)
    (step,) = reference.glob("step-*")
    meta = read_meta(step)
    (stage,) = build_stages(ModelConfig.model_validate(meta["model"]), meta["vocab_size"], Topology(tensor=2))
    load_checkpoint(step, [stage])
    for path in sorted(reference.glob("case*.safetensors")):
        case = load_file(path)
        rows = case["input_ids"], case["position_ids"], case["sep"]
        found = {"logits": stage(*rows).detach().contiguous()}
        if "labels" in case:
            for smoothing in (0.1, 0.0):  # the gradients compared are those of the plain loss
                stage.zero_grad()
                losses_N = stage(*rows, labels_BS=case["labels"], label_smoothing=smoothing)
                found[f"loss {smoothing}"] = losses_N.detach().mean().reshape(1)
            losses_N.mean().backward()
            for name in ("embedding.word_embeddings.weight", "decoder.layers.0.mlp.linear_fc1.weight"):
                found[name] = dict(stage.named_parameters())[name].grad
        save_file(
            {name: torch.clone(part) for name, part in found.items()}, directory / f"{path.stem}.{dist.get_rank()}"
        )


if __name__ == "__main__":
    from model.cpu import cpu_runtime

    with cpu_runtime():
        train_layouts(Path(sys.argv[1]))
        train_in_half(Path(sys.argv[1]))
        if len(sys.argv) > 2:
            compute_reference(Path(sys.argv[1]), Path(sys.argv[2]))
        from model.parallel import shut_down

        shut_down()
