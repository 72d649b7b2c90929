from typing import Any

import pytest
import torch

from core.errors import MGLMError
from model.weights import authors_to_hf, hf_to_megatron, megatron_to_hf

HEADS, HIDDEN = 4, 16


def made_up() -> dict[str, torch.Tensor]:
    shapes = {
        "word_embeddings.weight": (24, HIDDEN),
        "position_embeddings.weight": (9, HIDDEN),
        "block_position_embeddings.weight": (9, HIDDEN),
        "final_layernorm.weight": (HIDDEN,),
        "layers.11.attention.query_key_value.weight": (3 * HIDDEN, HIDDEN),
        "layers.11.attention.query_key_value.bias": (3 * HIDDEN,),
        "layers.11.attention.dense.weight": (HIDDEN, HIDDEN),
        "layers.11.mlp.dense_4h_to_h.bias": (HIDDEN,),
    }
    return {f"transformer.{name}": torch.randn(shape) for name, shape in shapes.items()}


def test_there_and_back_is_bit_for_bit() -> None:
    weights = made_up()
    megatron = hf_to_megatron(weights, HEADS)
    back = megatron_to_hf({**megatron, "decoder.layers.11.self_attention.linear_qkv._extra_state": None}, HEADS)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_megatron_holds_query_key_and_value_head_by_head() -> None:
    weights = made_up()
    together = weights["transformer.layers.11.attention.query_key_value.weight"]
    by_head = hf_to_megatron(weights, HEADS)["decoder.layers.11.self_attention.linear_qkv.weight"]
    size = HIDDEN // HEADS
    for head in range(HEADS):
        for part in range(3):
            start = (3 * head + part) * size
            wanted = together[part * HIDDEN + head * size :][:size]
            assert torch.equal(by_head[start : start + size], wanted)


def test_both_namings_of_the_authors_are_read(reference: Any) -> None:
    newer = reference.weights
    older = {
        {
            "transformer.word_embeddings.weight": "word_embeddings.weight",
            "mixins.block_position_embedding.block_position_embeddings.weight": (
                "transformer.block_position_embeddings.weight"
            ),
        }.get(name, name): weight
        for name, weight in newer.items()
    }
    one, other = authors_to_hf(newer), authors_to_hf(older)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_rows_for_longer_inputs_are_appended() -> None:
    weights = made_up()
    longer = authors_to_hf({**weights, "transformer.additional_position_embeddings.weight": torch.ones(3, HIDDEN)})
    table = longer["transformer.position_embeddings.weight"]
    assert table.shape == (12, HIDDEN)
    assert bool((table[9:] == 1).all())


def test_a_weight_of_another_model_is_refused() -> None:
    with pytest.raises(MGLMError, match="unknown names transformer.rotary.weight"):
        authors_to_hf({"transformer.rotary.weight": torch.zeros(1)})
