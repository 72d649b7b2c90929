import torch

from model.attention import glm_mask
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
