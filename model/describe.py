"""What a model costs under a layout: parameters, memory, arithmetic and communication. Imports no torch.

Parameters and states are exact. Activations follow Korthikanti et al. 2022 ("Reducing Activation Recomputation in Large
Transformer Models", section 4) for attention that keeps no S × S scores; they are an estimate of what autograd holds.
"""

from dataclasses import asdict, dataclass

from model.config import ModelConfig
from model.execution import Execution
from model.topology import Topology

ADAM_BYTES = 8  # two fp32 moments
MASTER_BYTES = {"fp32": 0, "bf16": 4, "fp16": 4}  # the fp32 copy of weights in half precision
WEIGHT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
GRADIENT_BYTES = 4  # gradients are summed in fp32 in all
SCORED_SHARE = 0.24  # of positions have a target: measured, 137 of 576, with the defaults of blank infilling


@dataclass(frozen=True)
class Description:
    """Of the whole model, and of its fullest process (rank). Bytes are of one rank, bytes sent are per step."""

    parameters: int
    world_size: int
    parameters_per_rank: int
    weight_bytes_per_rank: int
    gradient_bytes_per_rank: int
    optimizer_bytes_per_rank: int
    optimizer_bytes_per_rank_distributed: int
    activation_bytes_per_rank: int
    head_bytes_per_rank: int
    bytes_per_rank: int  # all of the above, with the distributed optimizer
    flops_per_token: int  # of a training step: forward and backward
    data_parallel_bytes_sent: int
    tensor_parallel_bytes_sent: int
    pipeline_parallel_bytes_sent: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def describe(
    model: ModelConfig,
    vocab_size: int,
    topology: Topology,
    data: int,
    execution: Execution,
    *,
    micro_batch: int = 1,
    global_batch: int | None = None,
) -> Description:
    """Checks the layout and counts; `global_batch` rows a step, `micro_batch` of them at a time.

    Raises:
        MGLMError: the model cannot be split this way.
    """
    world_size = topology.tensor * topology.pipeline * data
    topology.check(model, vocab_size, world_size)
    width = WEIGHT_BYTES[execution.precision]
    held = max(parameters_of_stage(model, vocab_size, topology, stage) for stage in range(topology.pipeline))
    state = held * (ADAM_BYTES + MASTER_BYTES[execution.precision])
    passes = max((global_batch or micro_batch * data) // (micro_batch * data), 1)
    activations = activation_bytes(model, topology, execution, micro_batch)
    head = head_bytes(model, vocab_size, topology, execution, micro_batch)
    hidden = model.sequence_length * micro_batch * model.hidden_size * width  # of one pass, between two layers
    return Description(
        parameters=model.parameters(vocab_size),
        world_size=world_size,
        parameters_per_rank=held,
        weight_bytes_per_rank=held * width,
        gradient_bytes_per_rank=held * GRADIENT_BYTES,
        optimizer_bytes_per_rank=state,
        optimizer_bytes_per_rank_distributed=-(-state // data),
        activation_bytes_per_rank=activations,
        head_bytes_per_rank=head,
        bytes_per_rank=held * (width + GRADIENT_BYTES) + -(-state // data) + activations + head,
        flops_per_token=flops_per_token(model, vocab_size, execution),
        # Reduce-scatter of fp32 gradients, all-gather of weights, each (d − 1)/d of the whole.
        data_parallel_bytes_sent=held * (GRADIENT_BYTES + width) * (data - 1) // data,
        # Four all-reduces a layer and pass (two forward, two backward), each 2 (t − 1)/t of the hidden states;
        # sequence parallelism sends the same as pairs of reduce-scatter and all-gather.
        tensor_parallel_bytes_sent=8 * hidden * passes * (topology.tensor - 1) // topology.tensor
        * (model.num_layers // topology.pipeline),
        # Hidden states forward and their gradients backward, once for each part of an inner stage.
        pipeline_parallel_bytes_sent=2 * hidden * passes * topology.virtual_pipeline * (topology.pipeline > 1)
        // (topology.tensor if topology.sequence_parallel else 1),
    )  # fmt: skip


def flops_per_token(
    model: ModelConfig, vocab_size: int, execution: Execution, scored_share: float = SCORED_SHARE
) -> int:
    """Floating-point operations of a training step per position, additions and multiplications counted apart.

    Layers: 2 a weight forward, twice that backward, once more when recomputed. Attention: every position with every
    other, as in the context. The head on the positions with a target alone. Embeddings and norms are left out.
    """
    hidden, ffn = model.hidden_size, model.ffn_hidden_size
    layer = 2 * (4 * hidden * hidden + 2 * hidden * ffn) + 4 * model.sequence_length * hidden
    head = 2 * vocab_size * hidden * scored_share
    return round(model.num_layers * layer * (4 if execution.recompute == "full" else 3) + 3 * head)


def step_flops(model: ModelConfig, vocab_size: int, rows: int, length: float, targets: int) -> float:
    """Floating-point operations of a training step on `rows` rows of `length` positions, of which `targets` are scored.

    As `flops_per_token`, from what was really computed: padding passes the layers too, the head sees scored positions
    alone. What recomputation repeats is not counted, as is usual for the model FLOP/s utilisation (MFU).
    """
    hidden, ffn = model.hidden_size, model.ffn_hidden_size
    layer = 2 * (4 * hidden * hidden + 2 * hidden * ffn) + 4 * length * hidden
    return 3 * (rows * length * model.num_layers * layer + targets * 2 * vocab_size * hidden)


def activation_bytes(model: ModelConfig, topology: Topology, execution: Execution, micro_batch: int) -> int:
    """What the layers keep for the backward pass, at the fullest moment of the first pipeline stage.

    A layer keeps 34 bytes an element of its input in half precision: 10 outside the split matrices, 24 inside. The
    schedule 1F1B has as many passes under way as there are stages, so a stage holds as much as the whole model for one;
    interleaving adds (p − 1) / (p v) of that.
    """
    elements = model.sequence_length * micro_batch * model.hidden_size
    scale = WEIGHT_BYTES[execution.precision] / 2
    outside = 10 / (topology.tensor if topology.sequence_parallel else 1)
    layer = elements * scale * (outside + 24 / topology.tensor)
    parts = topology.pipeline * topology.virtual_pipeline
    under_way = 1 + ((topology.pipeline - 1) / parts if topology.virtual_pipeline > 1 else 0)
    if execution.recompute == "full":
        inputs = 2 * elements * scale / (topology.tensor if topology.sequence_parallel else 1)
        return round(model.num_layers * inputs * under_way + layer)
    return round(model.num_layers * layer * under_way)


def head_bytes(model: ModelConfig, vocab_size: int, topology: Topology, execution: Execution, micro_batch: int) -> int:
    """Logits of a chunk, in the weights' precision and in fp32, and the head's weight gradient in fp32."""
    positions = min(execution.head_chunk, round(SCORED_SHARE * model.sequence_length * micro_batch))
    columns = vocab_size // topology.tensor
    width = WEIGHT_BYTES[execution.precision]
    return columns * (positions * (2 * width + 4) + model.hidden_size * 4)


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
