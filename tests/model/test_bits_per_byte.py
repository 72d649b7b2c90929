import math

import pytest
import torch

from model.bits_per_byte import bits_per_byte
from model.hf.configuration_mglm import MGLMConfig
from model.hf.modeling_mglm import GLMForConditionalGeneration
from tokenizer.encoding import Tokenizer

WINDOW = 32


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> GLMForConditionalGeneration:
    torch.manual_seed(0)
    config = MGLMConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=65, sequence_length=WINDOW, initializer_range=0.3,
        pad_token_id=tokenizer.pad_id, cls_token_id=tokenizer.cls_id, sop_token_id=tokenizer.sop_id,
        mask_token_ids=[tokenizer.mask_id, tokenizer.smask_id, tokenizer.gmask_id], eos_token_id=tokenizer.eop_id,
    )  # fmt: skip
    return GLMForConditionalGeneration(config)


def test_batches_do_not_change_the_figure(
    model: GLMForConditionalGeneration, tokenizer: Tokenizer, texts: list[str]
) -> None:
    bits, size = bits_per_byte(model, tokenizer, texts, batch_size=4)
    single = [bits_per_byte(model, tokenizer, [text], batch_size=1) for text in texts]
    assert bits == pytest.approx(sum(one for one, _ in single), rel=1e-6)
    assert size == sum(one for _, one in single)
    assert bits > 0


def test_a_window_is_scored_as_the_definition_says(model: GLMForConditionalGeneration, tokenizer: Tokenizer) -> None:
    text = "the river rises in spring and bridges hold"
    tokens = tokenizer.encode(text)
    assert len(tokens) <= WINDOW - 2
    quarter = len(tokens) // 4
    span = tokens[quarter:]
    ids = torch.tensor([[tokenizer.cls_id, *tokens[:quarter], tokenizer.gmask_id, tokenizer.sop_id, *span[:-1]]])
    with torch.no_grad():
        log_probabilities = model(ids).logits.double().log_softmax(-1)[0, quarter + 2 :]
    wanted = -sum(float(log_probabilities[place, token]) for place, token in enumerate(span)) / math.log(2)
    bits, size = bits_per_byte(model, tokenizer, [text])
    assert bits == pytest.approx(wanted, rel=1e-6)
    assert size == tokenizer.byte_length(span) == len(tokenizer.decode(span).encode("utf-8"))


def test_a_model_that_knows_nothing_needs_the_bits_of_a_uniform_guess(
    model: GLMForConditionalGeneration, tokenizer: Tokenizer
) -> None:
    blank = GLMForConditionalGeneration(model.config)
    for weight in blank.parameters():
        weight.data.zero_()
    text = "water grass " * 20  # several windows
    tokens = tokenizer.encode(text)
    scored = sum(
        len(window) - len(window) // 4
        for window in (tokens[start : start + WINDOW - 2] for start in range(0, len(tokens), WINDOW - 2))
    )
    bits, _ = bits_per_byte(blank, tokenizer, [text, ""])
    assert bits == pytest.approx(scored * math.log2(tokenizer.vocab_size), rel=1e-6)
