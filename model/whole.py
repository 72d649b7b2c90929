"""The whole model on every process, out of the parts that a layout has split it into, and its Hugging Face twin of it.

For answering while training: what generates is what users will have, beams and all. Each process needs room for one
more copy of the weights, in the precision of training.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from megatron.core.dist_checkpointing.mapping import ShardedTensor
from torch import Tensor

from model.config import ModelConfig
from model.export import make_twin
from model.optimizer import gather_weights
from model.parallel import unwrap
from model.readers import LoadedModel
from model.summarizer import Summarizer
from model.weights import megatron_to_hf
from tokenizer.encoding import Tokenizer


@torch.no_grad()
def whole_weights(chunks: list[Any]) -> dict[str, Tensor]:
    """Every weight in Hugging Face names, on this process's device. All processes must call it, at any layout."""
    gather_weights(chunks)
    mine = [shard for chunk in chunks for shard in _shards(chunk)]
    told: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(told, [_place(shard) for shard in mine])
    whole: dict[str, Tensor] = {}
    device = torch.cuda.current_device()
    for rank, places in enumerate(told):
        for number, (name, shape, offset, size, dtype) in enumerate(places):
            part = mine[number].data.detach().reshape(size) if rank == dist.get_rank() else None
            part = torch.empty(size, dtype=dtype, device=device) if part is None else part.contiguous()
            dist.broadcast(part, src=rank)
            if name not in whole:
                whole[name] = torch.empty(shape, dtype=dtype, device=device)
            whole[name][tuple(slice(start, start + length) for start, length in zip(offset, size, strict=True))] = part
    heads = unwrap(chunks[0]).config.num_attention_heads
    return megatron_to_hf(whole, heads)


def whole_summarizer(
    chunks: list[Any], model: ModelConfig, vocab_size: int, tokenizer: Tokenizer, training: Mapping[str, Any]
) -> Summarizer:
    """A Summarizer of the model as it is now, as an export of a checkpoint would be. All processes must call it.

    `training` has the `source_length` and `target_length` it is trained with.
    """
    source_length = min(max(model.sequence_length, training["source_length"]), model.max_positions)
    weights = whole_weights(chunks)
    loaded = LoadedModel(weights, model, vocab_size, tokenizer, source_length, "", training["target_length"])
    return Summarizer(make_twin(loaded).to(next(iter(weights.values())).device), tokenizer)


def _shards(chunk: Any) -> list[ShardedTensor]:
    """Of several processes that hold the same part, one tells it."""
    state = unwrap(chunk).sharded_state_dict()
    return [shard for shard in state.values() if isinstance(shard, ShardedTensor) and _is_first(shard.replica_id)]


def _is_first(replica: int | tuple[int, ...]) -> bool:
    return not any(replica) if isinstance(replica, tuple) else not replica


def _place(shard: ShardedTensor) -> tuple[str, tuple[int, ...], tuple[int, ...], tuple[int, ...], torch.dtype]:
    """Name, whole shape, and where in it this part lies, of what size. A layer's number belongs to its name."""
    leading = shard.prepend_axis_num
    name = shard.key
    if leading:
        name = name.replace("decoder.layers.", f"decoder.layers.{shard.global_offset[0]}.")
    size = tuple(shard.local_shape)
    return name, tuple(shard.global_shape[leading:]), tuple(shard.global_offset[leading:]), size, shard.dtype
