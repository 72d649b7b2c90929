"""How well a model predicts held-out text, per UTF-8 byte: comparable across languages and tokenizers.

GLM has no plain left-to-right likelihood; each window is scored as pretraining's generation task poses it: the first
quarter is context before [gMASK], the rest is the span. Its end token is not scored. Paper: unstated. We: this.
"""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model.hf.modeling_mglm import GLMForConditionalGeneration, glm_mask
from tokenizer.encoding import Tokenizer

CONTEXT_SHARE = 4  # one part in four of a window is context
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
    windows = list(_windows(tokenizer, texts, int(model.config.sequence_length) - 2))
    for start in range(0, len(windows), batch_size):
        batch = windows[start : start + batch_size]
        nats += _nats(model, tokenizer, batch)
        scored_bytes += sum(tokenizer.byte_length(span) for _, span in batch)
    return nats / math.log(2), scored_bytes


def _windows(tokenizer: Tokenizer, texts: Sequence[str], size: int) -> Iterator[tuple[list[int], list[int]]]:
    """Yields (context, span) in tokens of each window."""
    for tokens in tokenizer.encode_batch(list(texts)):
        for start in range(0, len(tokens), size):
            window = tokens[start : start + size]
            context = len(window) // CONTEXT_SHARE
            yield window[:context], window[context:]


def _nats(
    model: GLMForConditionalGeneration, tokenizer: Tokenizer, windows: Sequence[tuple[list[int], list[int]]]
) -> float:
    rows = [
        ([tokenizer.cls_id, *context, tokenizer.gmask_id], [tokenizer.sop_id, *span[:-1]]) for context, span in windows
    ]
    length = max(len(context) + len(span) for context, span in rows)
    ids_BS = torch.full((len(rows), length), tokenizer.pad_id)
    labels_BS = torch.full((len(rows), length), -100)
    positions_B2S = torch.zeros(len(rows), 2, length, dtype=torch.long)
    real_BS = torch.zeros(len(rows), length, dtype=torch.long)
    for index, (context, span) in enumerate(rows):
        split, end = len(context), len(context) + len(span)
        ids_BS[index, :end] = torch.tensor(context + span)
        labels_BS[index, split:end] = torch.tensor(windows[index][1])
        positions_B2S[index, 0, :split] = torch.arange(split)
        positions_B2S[index, 0, split:end] = split - 1  # the place of [gMASK]
        positions_B2S[index, 1, split:end] = torch.arange(1, len(span) + 1)
        real_BS[index, :end] = 1
    context_length_B = torch.tensor([len(context) for context, _ in rows])

    device = model.device
    mask_B1SS = glm_mask(context_length_B.to(device), real_BS.to(device), 0, length)
    hidden_BSH = model.transformer(ids_BS.to(device), positions_B2S.to(device), mask_B1SS, None)
    scored_BS = labels_BS.to(device) != -100
    return _head_loss(model, hidden_BSH[scored_BS], labels_BS.to(device)[scored_BS])


def _head_loss(model: GLMForConditionalGeneration, hidden_NH: Tensor, labels_N: Tensor) -> float:
    total = 0.0
    for start in range(0, len(labels_N), _HEAD_ROWS):
        logits_NV = model.lm_head(hidden_NH[start : start + _HEAD_ROWS]).float()
        losses_N = F.cross_entropy(logits_NV, labels_N[start : start + _HEAD_ROWS], reduction="none")
        total += float(losses_N.double().sum())
    return total
