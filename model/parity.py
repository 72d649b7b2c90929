"""Does every layout compute what one process computes? A tiny GLM, trained a few steps under each, and compared.

`mglm model parity --nproc 4` prints the table: losses of each step, and the gradient of every whole parameter tensor in
the first. What each rank holds goes through files (safetensors, JSON) and is put together by name and place.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import MGLMError
from core.processes import end_with_parent
from model.config import ModelConfig
from model.topology import Topology

if TYPE_CHECKING:
    from torch import Tensor

    from model.tiny_training import TinyTraining

MODEL = ModelConfig(
    num_layers=4, hidden_size=32, num_attention_heads=4, ffn_hidden_size=128, sequence_length=24, max_positions=33,
    hidden_dropout=0.0, attention_dropout=0.0,
)  # fmt: skip
STEPS = 4
LOSS_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4  # ‖difference‖ / ‖gradient‖ of a whole tensor


@dataclass(frozen=True)
class Layout:
    """A topology with its kind of optimizer; `name` as printed.

    `overlap`: gradients and weights are communicated during the passes, as on GPUs.
    """

    topology: Topology
    distributed_optimizer: bool = False
    overlap: bool = False

    @property
    def name(self) -> str:
        words = [f"TP{self.topology.tensor}", f"PP{self.topology.pipeline}"]
        if self.topology.virtual_pipeline > 1:
            words.append(f"interleaved {self.topology.virtual_pipeline}")
        if self.topology.sequence_parallel:
            words.append("sequence parallel")
        words += ["distributed optimizer"] if self.distributed_optimizer else []
        return " ".join([*words, "overlapped"] if self.overlap else words)


@dataclass(frozen=True)
class Parity:
    """How far a layout is from one process. `worst` names the tensor with the largest relative difference."""

    layout: str
    data: int
    loss_difference: float
    gradient_difference: float
    worst: str

    @property
    def holds(self) -> bool:
        return self.loss_difference <= LOSS_TOLERANCE and self.gradient_difference <= GRADIENT_TOLERANCE


def layouts_of(world_size: int) -> list[Layout]:
    """Every tensor × pipeline × data that fills `world_size`, with each of the switches that it allows, and as it is
    trained on GPUs."""
    found = []
    for tensor in range(1, world_size + 1):
        for pipeline in range(1, world_size // tensor + 1):
            if world_size % (tensor * pipeline):
                continue
            for sequence in (False, True)[: 1 + (tensor > 1)]:
                for virtual in (1, 2)[: 1 + (pipeline > 1)]:
                    topology = Topology(
                        tensor=tensor, pipeline=pipeline, sequence_parallel=sequence, virtual_pipeline=virtual
                    )
                    if MODEL.num_layers % (pipeline * virtual) == 0:
                        split = tensor * pipeline < world_size
                        found += [Layout(topology, distributed) for distributed in (False, True)[: 1 + split]]
                        found += [Layout(topology, distributed_optimizer=True, overlap=True)] * (world_size > 1)
    return found


def check_parity(world_size: int) -> Iterator[Parity]:
    """Trains under each layout of `world_size` processes on this machine, and in one; compares.

    Raises:
        MGLMError: the processes did not end well; their last words are in the message.
    """
    with tempfile.TemporaryDirectory(prefix="mglm-parity-") as folder:
        alone, together = Path(folder, "alone"), Path(folder, "together")
        for processes, directory in ((1, alone), (world_size, together)):
            directory.mkdir()
            _launch(processes, directory)
        yield from compare(alone, together, layouts_of(world_size), world_size)


def compare(alone: Path, together: Path, layouts: Sequence[Layout], world_size: int) -> Iterator[Parity]:
    """What `measure_layouts` left in the two directories, layout by layout."""
    import torch

    reference = read_result(alone, Layout(Topology()))
    for layout in layouts:
        losses, gradients = read_result(together, layout)
        if gradients.keys() != reference[1].keys():
            odd = sorted(gradients.keys() ^ reference[1].keys())
            raise MGLMError(f"layout {layout.name}", found=f"other parameters: {', '.join(odd[:3])}")
        differences = {
            name: float(torch.linalg.norm(gradients[name] - whole) / torch.linalg.norm(whole))
            for name, whole in reference[1].items()
        }
        worst = max(differences, key=differences.__getitem__)
        loss = max(abs(found - wanted) for found, wanted in zip(losses, reference[0], strict=True))
        yield Parity(layout.name, layout.topology.data(world_size), loss, differences[worst], worst)


def measure_layouts(
    directory: Path, layouts: Sequence[Layout], during: "Callable[[Layout, int, TinyTraining], None] | None" = None
) -> None:
    """Trains under each layout and leaves losses and first gradients in `directory`. Run by every process.

    `during` is called with the layout, the number of steps done and the training, after each step.
    """
    import torch.distributed as dist

    from model.parallel import initialize
    from model.tiny_training import TinyTraining

    for layout in layouts:
        initialize(layout.topology, seed=7)
        training = TinyTraining(
            MODEL, layout.topology, distributed_optimizer=layout.distributed_optimizer, overlap=layout.overlap
        )
        write = partial(_write_gradients, training, directory, layout)
        losses = []
        for step in range(STEPS):
            losses.append(training.step(step, None if step else write))
            if during is not None:
                during(layout, step + 1, training)
        if dist.get_rank() == 0:
            (directory / f"{layout.name}.json").write_text(json.dumps(losses))
        dist.barrier()


def read_result(directory: Path, layout: Layout) -> "tuple[list[float], dict[str, Tensor]]":
    """Losses by step, and whole gradients by parameter, put together from all ranks' parts."""
    import torch
    from safetensors import safe_open

    losses: list[float] = json.loads((directory / f"{layout.name}.json").read_text())
    whole: dict[str, Tensor] = {}
    for path in sorted(directory.glob(f"{layout.name}.*.safetensors")):
        with safe_open(path, "pt") as parts:
            places = {key: json.loads(value) for key, value in parts.metadata().items()}
            for key, place in places.items():
                into = whole.setdefault(place["name"], torch.full(place["shape"], torch.nan, dtype=torch.float64))
                part = parts.get_tensor(key).double().reshape(place["local"])
                into[tuple(slice(o, o + n) for o, n in zip(place["offset"], place["local"], strict=True))] = part
    return losses, whole


def _write_gradients(training: "TinyTraining", directory: Path, layout: Layout) -> None:
    import torch.distributed as dist
    from megatron.core.dist_checkpointing.mapping import ShardedTensor
    from safetensors.torch import save_file

    from model.parallel import unwrap

    tensors, places = {}, {}
    for index, chunk in enumerate(training.chunks):
        _gather_reduced(chunk, layout.distributed_optimizer)
        stage = unwrap(chunk)
        parameters = dict(stage.named_parameters())
        for name, shard in stage.sharded_state_dict().items():
            if not isinstance(shard, ShardedTensor) or name not in parameters:
                continue
            axes = shard.prepend_axis_num  # leading axes that count layers
            place = {
                "name": shard.key,
                "shape": shard.global_shape,
                "offset": shard.global_offset,
                "local": [1] * axes + list(shard.local_shape),
            }
            tensors[f"{index}.{name}"] = parameters[name].main_grad.detach().clone()
            places[f"{index}.{name}"] = json.dumps(place)
    save_file(tensors, directory / f"{layout.name}.{dist.get_rank()}.safetensors", metadata=places)
    dist.barrier()


def _gather_reduced(chunk: "object", distributed_optimizer: bool) -> None:
    """Completes the gradients of a distributed optimizer, of which each rank has summed up its own part alone."""
    import torch.distributed as dist

    if not distributed_optimizer:
        return
    for buffer in chunk.buffers:  # type: ignore[attr-defined]
        group = buffer.data_parallel_group
        for bucket in buffer.buckets:
            own = bucket.grad_data.view(group.size(), -1)[group.rank()].clone()
            dist.all_gather_into_tensor(bucket.grad_data, own, group=group)


def _launch(processes: int, directory: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    ended = subprocess.run(
        [*command, "-m", "model.parity", str(directory)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=end_with_parent,
    )
    if ended.returncode:
        reasons = [line for line in ended.stderr.splitlines() if "Error: " in line] or ended.stderr.splitlines()[-1:]
        raise MGLMError(f"the parity run of {processes} processes", found=reasons[0].partition("]:")[2] or reasons[0])


if __name__ == "__main__":
    from model.cpu import cpu_runtime

    with cpu_runtime():
        from model.parallel import shut_down

        measure_layouts(Path(sys.argv[1]), layouts_of(int(os.environ["WORLD_SIZE"])))
        shut_down()
