"""How long a training step takes on a cluster, reckoned from what `model.describe` counts. Imports no torch.

A step is arithmetic plus the communication that arithmetic does not hide:

- arithmetic: the step's operations over what a device does while all others of its machine work, for they may share
  memory bandwidth or power: its peak × the utilisation measured so;
- idle pipeline stages: (p − 1) / (v · m) of it for m micro-batches and v parts of a stage (Narayanan et al. 2021);
- tensor parallelism: four all-reduces a layer and pass over the fast link inside a machine, never hidden;
- pipeline parallelism: hidden states between neighbours, over the slow link where a machine's devices do not hold the
  whole pipeline;
- data parallelism: gradients reduced and weights gathered, on the slow link as soon as there are two machines. `hidden`
  of it runs during the backward pass; the rest, with the embedding's gradient, which is complete last, does not.

Bandwidths are of one device and one direction, as bytes a second that really pass. Left out are latencies, stragglers,
the filesystem; what communication takes from arithmetic that runs at
the same time (a GPU's cores and memory, a CPU's cores); and the update of the weights, which the utilisation holds as
it was measured. At 10 MB and more a message the first is small, but a model that fits a measurement on two machines is
worth more than this one.
"""

from dataclasses import dataclass

from model.config import ModelConfig
from model.describe import Description, describe, flops_per_token
from model.execution import Execution
from model.topology import Topology


@dataclass(frozen=True)
class Cluster:
    """What a model of a step takes from outside."""

    flops: float  # a second that each device does when all work without communication: its peak × utilisation
    fast_bytes_per_s: float  # between devices of a machine
    slow_bytes_per_s: float  # between machines, for each device
    devices_per_machine: int = 8
    hidden: float = 0.5  # share of data-parallel communication that runs during the backward pass


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step, and what they go to."""

    compute_s: float
    bubble_s: float
    tensor_s: float
    pipeline_s: float
    data_s: float
    tokens_per_s: float  # positions of rows, over all devices

    @property
    def seconds(self) -> float:
        return self.compute_s + self.bubble_s + self.tensor_s + self.pipeline_s + self.data_s

    @property
    def efficiency(self) -> float:
        """Share of the step that is arithmetic."""
        return self.compute_s / self.seconds


def step_time(
    model: ModelConfig,
    vocab_size: int,
    topology: Topology,
    data: int,
    execution: Execution,
    cluster: Cluster,
    *,
    micro_batch: int,
    global_batch: int,
) -> StepTime:
    """One step of `global_batch` rows on tensor × pipeline × `data` devices.

    `model.sequence_length` is the length of the rows as they are computed, with the masks and starts of blanks and
    padding: 576 for 512 tokens of text (train.blank_infilling.row_length).
    """
    counted: Description = describe(
        model, vocab_size, topology, data, execution, micro_batch=micro_batch, global_batch=global_batch
    )
    machines = -(-counted.world_size // cluster.devices_per_machine)
    positions = global_batch * model.sequence_length
    operations = positions * flops_per_token(model, vocab_size, execution) / counted.world_size
    compute_s = operations / cluster.flops
    passes = global_batch // (micro_batch * data)
    bubble_s = compute_s * (topology.pipeline - 1) / (topology.virtual_pipeline * passes)
    across = cluster.slow_bytes_per_s if machines > 1 else cluster.fast_bytes_per_s
    pipeline_link = across if topology.tensor * topology.pipeline > cluster.devices_per_machine else (
        cluster.fast_bytes_per_s
    )  # fmt: skip
    tensor_s = counted.tensor_parallel_bytes_sent / cluster.fast_bytes_per_s
    pipeline_s = counted.pipeline_parallel_bytes_sent / pipeline_link
    table = vocab_size * model.hidden_size // topology.tensor
    exposed = 1 - cluster.hidden * (1 - table / counted.parameters_per_rank)  # the embedding's part is never hidden
    data_s = counted.data_parallel_bytes_sent / across * exposed
    seconds = compute_s + bubble_s + tensor_s + pipeline_s + data_s
    return StepTime(compute_s, bubble_s, tensor_s, pipeline_s, data_s, positions / seconds)
