"""How well a model predicts held-out text, per UTF-8 byte: comparable across languages and tokenizers.

What is scored, and given what, is `model.scored_windows`'s business, for the training loop as well.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model.hf.modeling_mglm import GLMForConditionalGeneration, glm_mask
from model.scored_windows import Window, cut_windows, rows_of
from tokenizer.encoding import Tokenizer

_HEAD_ROWS = 1024  # positions whose logits are in memory at once


@torch.inference_mode()
def bits_per_byte(
    model: GLMForConditionalGeneration, tokenizer: Tokenizer, texts: Sequence[str], *, batch_size: int = 8
) -> tuple[float, int]:
    """Bits the model needs for the scored parts of all texts, and the bytes of those parts; divide the two.

    Texts are cut into windows of the model's `sequence_length` (two tokens of it are [CLS] and [gMASK]). Losses are
    computed in fp32 and added in fp64.
    """
    model.eval()
    nats, scored_bytes = 0.0, 0
    windows = cut_windows(tokenizer, texts, int(model.config.sequence_length))
    for start in range(0, len(windows), batch_size):
        batch = windows[start : start + batch_size]
        nats += _nats(model, tokenizer, batch)
        scored_bytes += sum(tokenizer.byte_length(window.span) for window in batch)
    return nats / math.log(2), scored_bytes


def _nats(model: GLMForConditionalGeneration, tokenizer: Tokenizer, windows: Sequence[Window]) -> float:
    rows = rows_of(windows, tokenizer)
    device = model.device
    length = rows.input_ids_BS.shape[1]
    mask_B1SS = glm_mask(
        torch.from_numpy(rows.context_length_B).to(device), torch.from_numpy(rows.real_BS).to(device), 0, length
    )
    hidden_BSH = model.transformer(
        torch.from_numpy(rows.input_ids_BS).to(device),
        torch.from_numpy(rows.position_ids_B2S).to(device),
        mask_B1SS,
        None,
    )
    labels_BS = torch.from_numpy(rows.labels_BS).to(device)
    scored_BS = labels_BS != -100
    return _head_loss(model, hidden_BSH[scored_BS], labels_BS[scored_BS])


def _head_loss(model: GLMForConditionalGeneration, hidden_NH: Tensor, labels_N: Tensor) -> float:
    total = 0.0
    for start in range(0, len(labels_N), _HEAD_ROWS):
        logits_NV = model.lm_head(hidden_NH[start : start + _HEAD_ROWS]).float()
        losses_N = F.cross_entropy(logits_NV, labels_N[start : start + _HEAD_ROWS], reduction="none")
        total += float(losses_N.double().sum())
    return total
