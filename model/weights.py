"""Names and row orders of GLM's weights in their three homes: authors' checkpoints, megatron-core, Hugging Face.

Authors' newer naming and ours for Hugging Face differ in one name. QKV rows are [Q; K; V] in both; megatron-core wants
them per head: [q k v] of head 0, then of head 1, …
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from core.errors import MGLMError

WORD_EMBEDDINGS = "transformer.word_embeddings.weight"
# Hugging Face name → megatron name; `N` stands for the layer's number.
_NAMES = {
    WORD_EMBEDDINGS: "embedding.word_embeddings.weight",
    "transformer.position_embeddings.weight": "embedding.position_embeddings.weight",
    "transformer.block_position_embeddings.weight": "embedding.block_position_embeddings.weight",
    "transformer.final_layernorm": "decoder.final_layernorm",
    "transformer.layers.N.input_layernorm": "decoder.layers.N.input_layernorm",
    "transformer.layers.N.attention.query_key_value": "decoder.layers.N.self_attention.linear_qkv",
    "transformer.layers.N.attention.dense": "decoder.layers.N.self_attention.linear_proj",
    "transformer.layers.N.post_attention_layernorm": "decoder.layers.N.pre_mlp_layernorm",
    "transformer.layers.N.mlp.dense_h_to_4h": "decoder.layers.N.mlp.linear_fc1",
    "transformer.layers.N.mlp.dense_4h_to_h": "decoder.layers.N.mlp.linear_fc2",
}
# Authors' names (newer, older) that are not Hugging Face's.
_AUTHORS_NAMES = {
    "mixins.block_position_embedding.block_position_embeddings.weight": "transformer.block_position_embeddings.weight",
    "word_embeddings.weight": WORD_EMBEDDINGS,
}
_AUTHORS_LONGER = re.compile(r"additional_(block_)?position_embeddings?\.weight$")
_TIED = "lm_head.weight"


def hf_to_megatron(weights: Mapping[str, Tensor], heads: int) -> dict[str, Tensor]:
    """megatron-core's state of the whole model (TP=1, PP=1)."""
    return {
        _renamed(name, _NAMES): _per_head(weight, heads) if ".query_key_value." in name else weight
        for name, weight in weights.items()
        if name != _TIED
    }


def megatron_to_hf(weights: Mapping[str, Tensor], heads: int) -> dict[str, Tensor]:
    """The inverse of `hf_to_megatron`, bit for bit. megatron's extra states, which are no tensors, fall away."""
    names = {megatron: hf for hf, megatron in _NAMES.items()}
    return {
        _renamed(name, names): _per_part(weight, heads) if ".linear_qkv." in name else weight
        for name, weight in weights.items()
        if isinstance(weight, Tensor)
    }


def authors_to_hf(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """fp32 weights in Hugging Face names from a released state of either naming; additional positions are appended.

    Raises:
        MGLMError: lists the names that are in neither naming.
    """
    renamed, longer, unknown = {}, {}, []
    for name, weight in weights.items():
        if match := _AUTHORS_LONGER.search(name):
            longer["block_" if match[1] else ""] = weight.float()
            continue
        new = _AUTHORS_NAMES.get(name, name)
        if not _known(new):
            unknown.append(name)
        renamed[new] = weight.float()
    if unknown:
        shown = ", ".join(unknown[:8]) + (f" and {len(unknown) - 8} more" if len(unknown) > 8 else "")
        raise MGLMError("the checkpoint's weights", found=f"unknown names {shown}", expected="those of a GLM")
    for kind, rows in longer.items():
        table = f"transformer.{kind}position_embeddings.weight"
        renamed[table] = torch.cat([renamed[table], rows])
    return renamed


def _known(name: str) -> bool:
    general = re.sub(r"\.layers\.\d+\.", ".layers.N.", name)
    return general in _NAMES or general.rpartition(".")[0] in _NAMES


def _renamed(name: str, names: Mapping[str, str]) -> str:
    layer = re.search(r"\.layers\.(\d+)\.", name)
    general = re.sub(r"\.layers\.\d+\.", ".layers.N.", name)
    stem, _, kind = general.rpartition(".")
    new = names[general] if general in names else f"{names[stem]}.{kind}" if stem in names else None
    if new is None:
        raise MGLMError(f"weight {name}", found="an unknown name", expected="a weight of a GLM")
    return new.replace(".N.", f".{layer[1]}.") if layer else new


def _per_head(weight: Tensor, heads: int) -> Tensor:
    parts = weight.reshape(3, heads, weight.shape[0] // (3 * heads), *weight.shape[1:])
    return parts.transpose(0, 1).reshape(weight.shape).contiguous()


def _per_part(weight: Tensor, heads: int) -> Tensor:
    parts = weight.reshape(heads, 3, weight.shape[0] // (3 * heads), *weight.shape[1:])
    return parts.transpose(0, 1).reshape(weight.shape).contiguous()
