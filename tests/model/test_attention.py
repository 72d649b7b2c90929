import gc
from types import SimpleNamespace

import pytest
import torch

from core.errors import MGLMError
from model import attention
from model.attention import DenseAttention, FlexAttention, block_mask, glm_mask, mask_for
from model.execution import Execution
from model.hf.modeling_mglm import glm_mask as hugging_face_mask

CONTEXT, LENGTH = 3, 6


def test_every_row_sees_the_context_and_what_came_before_it() -> None:
    mask = glm_mask(torch.tensor([CONTEXT]), LENGTH)[0, 0]
    for row in range(LENGTH):
        for column in range(LENGTH):
            assert mask[row, column] == (column < CONTEXT or column <= row)


def test_segments_never_meet_and_padding_sees_itself() -> None:
    segments = torch.tensor([[0, 0, 1, 0, 1, 2]])
    mask = glm_mask(torch.tensor([CONTEXT]), LENGTH, segments)[0, 0]
    assert not mask[segments[0][:, None] != segments[0][None, :]].any()
    assert mask.diagonal().all()
    assert mask[3, 0]  # a span sees the context of its own segment


def test_the_twin_masks_alike_and_hides_padding() -> None:
    context = torch.tensor([CONTEXT, 2])
    ones = torch.ones(2, LENGTH, dtype=torch.long)
    assert torch.equal(glm_mask(context, LENGTH), hugging_face_mask(context, ones, 0, LENGTH))
    padded = ones.clone()
    padded[0, :2] = 0
    mask = hugging_face_mask(context, padded, 0, LENGTH)[0, 0]
    assert not mask[2:, :2].any()
    assert mask.diagonal().all()
    assert torch.equal(hugging_face_mask(context, ones, 4, 2), glm_mask(context, LENGTH)[:, :, 4:])


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")  # slow here, and right
@pytest.mark.parametrize("segmented", [False, True])
def test_both_backends_give_the_same_numbers(segmented: bool) -> None:
    length, context = 150, torch.tensor([40, 97])  # more than one block of 128
    segments = torch.arange(length).expand(2, length) // 60 if segmented else None
    config = SimpleNamespace(attention_dropout=0.0)
    results = {}
    for name, core in (("sdpa", DenseAttention(config)), ("flex", FlexAttention(config))):
        generator = torch.Generator().manual_seed(3)
        parts = [torch.randn(length, 2, 3, 8, generator=generator) for _ in range(3)]
        results[name] = core(*parts, attention_mask=mask_for(name, context, length, segments))
    torch.testing.assert_close(results["flex"], results["sdpa"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 2])
def test_layers_of_a_pass_share_a_block_mask_and_it_goes_with_its_rows(rows: int) -> None:
    gc.collect()  # what other tests left
    before = len(attention._BLOCK_MASKS)
    mask = mask_for("flex", torch.full((rows,), 3), 140)
    assert block_mask(mask) is block_mask(mask)
    assert block_mask(mask.clone()) is not block_mask(mask)
    del mask
    gc.collect()
    assert len(attention._BLOCK_MASKS) == before


def test_on_gpus_block_masks_are_made_by_one_compiled_function_that_warns_of_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[object] = []

    def note(function: object) -> object:
        compiled.append(function)
        return function

    monkeypatch.setattr(torch, "compile", note)
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda tensor: True))
    attention._compiled.cache_clear()
    try:
        for _ in range(2):
            block_mask(mask_for("flex", torch.tensor([3]), 140))
    finally:
        attention._compiled.cache_clear()
    assert compiled == [attention.create_block_mask]


def test_flex_is_chosen_on_gpus_without_dropout_and_refused_with_it() -> None:
    auto = Execution()
    assert auto.attention_backend(0.0, on_gpu=True) == "flex"
    assert auto.attention_backend(0.1, on_gpu=True) == auto.attention_backend(0.0, on_gpu=False) == "sdpa"
    with pytest.raises(MGLMError, match="attention_dropout 0.1; expected 0"):
        Execution(attention="flex").attention_backend(0.1, on_gpu=True)
