"""torchrun's worker of test_layouts: trains the tiny GLM on two processes under several layouts.

    torchrun --nproc-per-node 2 -m tests.model.layouts_worker DIR

writes DIR/layouts.json, losses and parameters per rank of each layout, and a checkpoint of the TP=2 run in DIR/tensor.
Light at module level: megatron's checkpoint writer starts a process that imports this again.
"""

import json
import sys
from pathlib import Path
from typing import Any

from model.topology import Topology

STEPS, SAVED_AT = 4, 2
LAYOUTS = {
    "tensor": (Topology(tensor=2), True),
    "pipeline": (Topology(pipeline=2), False),
    "data": (Topology(), True),
    "data, plain optimizer": (Topology(), False),
}


def train_layouts(directory: Path) -> None:
    """What each of the two processes does."""
    import torch.distributed as dist

    from model.checkpoint import save_checkpoint
    from model.parallel import initialize, shut_down
    from tests.model.tiny_training import PLAIN, TinyTraining

    results: dict[str, Any] = {}
    for name, (topology, distributed_optimizer) in LAYOUTS.items():
        initialize(topology, seed=7)
        training = TinyTraining(PLAIN, topology, distributed_optimizer=distributed_optimizer)
        losses = training.train(0, SAVED_AT)
        if name == "tensor":
            save_checkpoint(
                directory / name, training.chunks, training.optimizer, training.scheduler, training.meta(SAVED_AT)
            )
        losses += training.train(SAVED_AT, STEPS)
        held = [0, 0]
        dist.all_gather_object(held, sum(weight.numel() for weight in training.chunks[0].parameters()))
        results[name] = {"losses": losses, "norms": training.gradient_norms, "parameters": held}
    if dist.get_rank() == 0:
        (directory / "layouts.json").write_text(json.dumps(results))
    shut_down()


if __name__ == "__main__":
    from model.cpu import cpu_runtime

    with cpu_runtime():
        train_layouts(Path(sys.argv[1]))
