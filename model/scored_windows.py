"""Held-out text as rows whose loss measures a model, per UTF-8 byte. NumPy alone: for both homes of the model.

GLM has no plain left-to-right likelihood; each window is scored as pretraining's generation task poses it: the first
quarter is context before [gMASK], the rest is the span. Its end token is not scored. Paper: unstated. We: this.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenizer.encoding import Tokenizer

CONTEXT_SHARE = 4  # one part in four of a window is context
NO_LABEL = -100


class Window(NamedTuple):
    """Tokens the model is given, and those it is to predict."""

    context: list[int]
    span: list[int]


@dataclass(frozen=True)
class WindowRows:
    """B windows of length S; `real_BS` is 1 where there is no padding. int64."""

    input_ids_BS: NDArray[np.int64]
    position_ids_B2S: NDArray[np.int64]
    context_length_B: NDArray[np.int64]
    labels_BS: NDArray[np.int64]
    real_BS: NDArray[np.int64]


def cut_windows(tokenizer: Tokenizer, texts: Sequence[str], sequence_length: int) -> list[Window]:
    """All of each text in windows of at most `sequence_length` tokens, two of which are [CLS] and [gMASK]."""
    size = sequence_length - 2
    windows = []
    for tokens in tokenizer.encode_batch(list(texts)):
        for start in range(0, len(tokens), size):
            window = tokens[start : start + size]
            context = len(window) // CONTEXT_SHARE
            windows.append(Window(window[:context], window[context:]))
    return windows


def rows_of(windows: Sequence[Window], tokenizer: Tokenizer, length: int | None = None) -> WindowRows:
    """The windows as rows, as long as the longest needs or `length`; a window without a span is all padding."""
    rows = [
        ([tokenizer.cls_id, *context, tokenizer.gmask_id], [tokenizer.sop_id, *span[:-1]] if span else [])
        for context, span in windows
    ]
    length = length or max(len(context) + len(span) for context, span in rows)
    ids_BS = np.full((len(rows), length), tokenizer.pad_id, dtype=np.int64)
    labels_BS = np.full((len(rows), length), NO_LABEL, dtype=np.int64)
    positions_B2S = np.zeros((len(rows), 2, length), dtype=np.int64)
    real_BS = np.zeros((len(rows), length), dtype=np.int64)
    for index, (context, span) in enumerate(rows):
        split, end = len(context), len(context) + len(span)
        ids_BS[index, :end] = context + span
        labels_BS[index, split:end] = windows[index].span
        positions_B2S[index, 0, :split] = np.arange(split)
        positions_B2S[index, 0, split:end] = split - 1  # the place of [gMASK]
        positions_B2S[index, 1, split:end] = np.arange(1, len(span) + 1)
        real_BS[index, :end] = 1
    return WindowRows(
        ids_BS, positions_B2S, np.array([len(context) for context, _ in rows], dtype=np.int64), labels_BS, real_BS
    )
