"""What a model weighs under a layout: parameters and bytes of the fullest rank. Exact arithmetic; imports no torch."""

from dataclasses import asdict, dataclass

from model.config import ModelConfig
from model.topology import Topology

ADAM_BYTES = 8  # two fp32 moments
MASTER_BYTES = {"fp32": 0, "bf16": 4}  # the fp32 copy of bf16 weights
WEIGHT_BYTES = {"fp32": 4, "bf16": 2}
GRADIENT_BYTES = 4  # gradients are summed in fp32 in both


@dataclass(frozen=True)
class Description:
    """Counts of a whole model, and of its fullest rank, without activations."""

    parameters: int
    world_size: int
    parameters_per_rank: int
    weight_bytes_per_rank: int
    gradient_bytes_per_rank: int
    optimizer_bytes_per_rank: int
    optimizer_bytes_per_rank_distributed: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def describe(model: ModelConfig, vocab_size: int, topology: Topology, data: int, precision: str) -> Description:
    """Checks the layout and counts.

    Raises:
        MGLMError: the model cannot be split this way.
    """
    world_size = topology.tensor * topology.pipeline * data
    topology.check(model, vocab_size, world_size)
    held = max(parameters_of_stage(model, vocab_size, topology, stage) for stage in range(topology.pipeline))
    state = held * (ADAM_BYTES + MASTER_BYTES[precision])
    return Description(
        parameters=model.parameters(vocab_size),
        world_size=world_size,
        parameters_per_rank=held,
        weight_bytes_per_rank=held * WEIGHT_BYTES[precision],
        gradient_bytes_per_rank=held * GRADIENT_BYTES,
        optimizer_bytes_per_rank=state,
        optimizer_bytes_per_rank_distributed=-(-state // data),
    )


def parameters_of_stage(model: ModelConfig, vocab_size: int, topology: Topology, stage: int) -> int:
    """Parameters that one tensor-parallel rank of a pipeline stage holds; the last has a copy of the tied head."""
    hidden, ffn, tensor = model.hidden_size, model.ffn_hidden_size, topology.tensor
    split = ((hidden + 1) * 3 * hidden + hidden * hidden + (hidden + 1) * ffn + ffn * hidden) // tensor
    whole = 6 * hidden  # two LayerNorms and the biases of the two matrices that are split by rows
    total = (split + whole) * (model.num_layers // topology.pipeline)
    first, last = stage == 0, stage == topology.pipeline - 1
    if first or last:
        total += vocab_size // tensor * hidden
    if first:
        total += 2 * model.max_positions * hidden
    if last:
        total += 2 * hidden
    return total
