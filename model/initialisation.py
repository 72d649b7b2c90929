"""Initial weights that depend on the seed and the parameter's name alone, not on how the model is split.

So a run started at TP=2 begins where one at TP=1 does, and their loss curves can be compared.
"""

import math
import zlib
from typing import Any

import torch
from megatron.core.dist_checkpointing.mapping import ShardedTensor
from torch import Tensor

from model.config import ModelConfig

_OUTPUT_MATRICES = ("self_attention.linear_proj.weight", "mlp.linear_fc2.weight")


@torch.no_grad()
def initialise(stage: Any, model: ModelConfig, seed: int) -> None:
    """Draws a stage's weights: N(0, σ); attention output and second FFN matrix σ/√(2L); biases 0; LayerNorm 1 and 0."""
    parameters = dict(stage.named_parameters())
    for name, shard in stage.sharded_state_dict().items():
        if not isinstance(shard, ShardedTensor) or name not in parameters:
            continue
        parameter = parameters[name]
        if parameter.dim() == 1:
            parameter.fill_(1.0 if name.endswith("layernorm.weight") else 0.0)
            continue
        deviation = model.init_std / math.sqrt(2 * model.num_layers if name.endswith(_OUTPUT_MATRICES) else 1)
        parameter.copy_(_own_part(shard, seed).mul_(deviation))


def _own_part(shard: Any, seed: int) -> Tensor:
    """This rank's slice of the whole matrix's standard normal numbers; a layer's index belongs to its name."""
    leading = shard.prepend_axis_num
    layer = shard.global_offset[:leading]
    shape, offset = shard.global_shape[leading:], shard.global_offset[leading:]
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}/{shard.key}/{layer}".encode()))
    whole = torch.randn(shape, generator=generator)
    return whole[tuple(slice(start, start + size) for start, size in zip(offset, shard.local_shape, strict=True))]
