import pytest
import torch

from model.config import ModelConfig
from model.hf.configuration_mglm import MGLMConfig
from model.hf.modeling_mglm import GLMForConditionalGeneration
from model.precision import PRECISIONS, quantise
from model.serving_memory import serving_memory

SHAPE = ModelConfig(num_layers=3, hidden_size=64, num_attention_heads=4, max_positions=200, sequence_length=128)
VOCABULARY = 640
LARGE = ModelConfig(preset="large")


def build(precision: str) -> GLMForConditionalGeneration:
    config = MGLMConfig(
        vocab_size=VOCABULARY,
        hidden_size=SHAPE.hidden_size,
        num_hidden_layers=SHAPE.num_layers,
        num_attention_heads=SHAPE.num_attention_heads,
        intermediate_size=SHAPE.ffn_hidden_size,
        max_position_embeddings=SHAPE.max_positions,
        pad_token_id=600, cls_token_id=602, mask_token_ids=[603, 608, 609], sop_token_id=606, eos_token_id=607,
    )  # fmt: skip
    model = GLMForConditionalGeneration(config).to(PRECISIONS[precision]).eval()
    if precision == "int8":
        quantise(model)
    return model


@pytest.mark.parametrize("precision", list(PRECISIONS))
def test_computed_weights_are_those_that_a_model_holds(precision: str) -> None:
    weights = build(precision).parameters()
    held = sum(
        weight.qdata.nbytes + weight.scale.nbytes if hasattr(weight, "qdata") else weight.nbytes for weight in weights
    )
    assert serving_memory(SHAPE, VOCABULARY, precision).weights == held


def test_the_computed_cache_is_what_two_articles_leave() -> None:
    model = build("bf16")
    ids = torch.randint(0, 600, (2, 50))
    ids[:, 0], ids[:, -2], ids[:, -1] = 602, 608, 606
    cache = model.read(ids, torch.ones_like(ids), beams=4)
    settings = {"num_beams": 4, "min_new_tokens": 70, "max_new_tokens": 70, "do_sample": False}
    model.generate(ids, attention_mask=torch.ones_like(ids), past_key_values=cache, **settings)
    held = sum(tensor.nbytes for tensor in [*cache.keys, *cache.values])
    computed = serving_memory(SHAPE, VOCABULARY, "bf16", articles=2, source_tokens=49, new_tokens=70).cache
    assert held == computed


def test_the_papers_model_fits_where_it_should() -> None:
    assert serving_memory(LARGE, 250_112, "bf16").total < 4e9
    assert serving_memory(LARGE, 250_112, "int8").total < 2.5e9
    assert serving_memory(LARGE, 250_112, "bf16").weights == 2 * 1_067_280_384


def test_sharing_an_article_among_its_beams_takes_less_than_half_of_the_cache() -> None:
    shared, copied = (serving_memory(LARGE, 250_112, "bf16", articles=8, shared=shared) for shared in (True, False))
    assert shared.cache < copied.cache / 2
    assert shared.weights == copied.weights
