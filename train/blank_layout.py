"""How rows of tokens with blanks are laid out as GLM samples (paper §3.1; GLM, Du et al. 2022).

A sample is the context, in which each blank is one mask token, then the blanks in the order given, each
`[sop] tokens`, whose targets are `tokens [eop]`. The first position counts along the context as it stands; all tokens
of a blank carry the position of their mask. The second is 0 in the context and 1, 2, … in a blank.

Works on all rows of a batch at once. Arrays carry their shape: B rows of a batch, L tokens before and S after the
layout, N blanks of all rows, T tokens of all blanks. Knows nothing of how blanks are chosen.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Span = tuple[int, int]  # token indices [start, stop) of a row

NO_LOSS = -100  # label of positions without a target, as everywhere in torch
NO_SEGMENT = -1  # segment of padding


class CommandIds(Protocol):
    """The ids of the command tokens used here; `tokenizer.encoding.Tokenizer` is one."""

    @property
    def eos_id(self) -> int: ...
    @property
    def cls_id(self) -> int: ...
    @property
    def mask_id(self) -> int: ...
    @property
    def smask_id(self) -> int: ...
    @property
    def gmask_id(self) -> int: ...
    @property
    def sop_id(self) -> int: ...
    @property
    def eop_id(self) -> int: ...


@dataclass(frozen=True)
class Row:
    """Tokens before any blank is cut: `segments_S` numbers the document of each token from 0."""

    tokens_S: IntArray
    segments_S: IntArray


@dataclass(frozen=True)
class Rows:
    """Rows side by side; what lies behind a row's length is padding of any value."""

    tokens_BL: IntArray
    segments_BL: IntArray
    length_B: IntArray

    @classmethod
    def of(cls, row: Row) -> "Rows":
        """A batch of one."""
        return cls(row.tokens_S[None], row.segments_S[None], np.array([row.tokens_S.size]))

    def valid(self) -> BoolArray:
        """Where there is a token: [B, L]."""
        return np.arange(self.tokens_BL.shape[1]) < self.length_B[:, None]

    def row(self, index: int) -> Row:
        """One row without its padding."""
        length = int(self.length_B[index])
        return Row(self.tokens_BL[index, :length], self.segments_BL[index, :length])


@dataclass(frozen=True)
class Blanks:
    """Blanks of all rows, sorted by row and, within it, in the order they are laid out; they do not overlap."""

    row_N: IntArray
    start_N: IntArray
    length_N: IntArray
    mask_B: IntArray  # the mask token of each row's blanks
    ended_B: BoolArray  # whether a row's blanks end in [eop]
    mode_B: IntArray  # what kind they are; the chooser's business

    def spans(self, row: int) -> tuple[Span, ...]:
        """A row's blanks as [start, stop)."""
        first, stop = np.searchsorted(self.row_N, [row, row + 1])
        starts, lengths = self.start_N[first:stop].tolist(), self.length_N[first:stop].tolist()
        return tuple((start, start + length) for start, length in zip(starts, lengths, strict=True))


@dataclass(frozen=True)
class Samples:
    """Samples of one length. Labels are `NO_LOSS` outside blanks, segments `NO_SEGMENT` on padding."""

    input_ids_BS: IntArray
    position_ids_B2S: IntArray
    labels_BS: IntArray
    segment_ids_BS: IntArray
    context_length_B: IntArray
    length_B: IntArray  # without padding


@dataclass(frozen=True)
class Sample:
    """One training row, as in `Samples`."""

    input_ids_S: IntArray
    position_ids_2S: IntArray
    labels_S: IntArray
    segment_ids_S: IntArray
    context_length: int
    mode: str  # tokens | sentences | generation | none
    spans: tuple[Span, ...]  # what was blanked, as indices of the row, in the order of the sample

    def padded(self, length: int, pad_id: int) -> "Sample":
        """The same sample with padding behind everything, where causal attention never looks."""
        missing = length - self.input_ids_S.size
        assert missing >= 0, f"a sample of {self.input_ids_S.size} does not fit {length}"
        return Sample(
            np.pad(self.input_ids_S, (0, missing), constant_values=pad_id),
            np.pad(self.position_ids_2S, ((0, 0), (0, missing))),
            np.pad(self.labels_S, (0, missing), constant_values=NO_LOSS),
            np.pad(self.segment_ids_S, (0, missing), constant_values=NO_SEGMENT),
            self.context_length,
            self.mode,
            self.spans,
        )


def layout_rows(rows: Rows, blanks: Blanks, ids: CommandIds, length: int) -> Samples:
    """Cuts the blanks out of their rows and lays them behind; every sample is padded to `length` with eos."""
    count, width = rows.tokens_BL.shape
    row_N, start_N, length_N = blanks.row_N, blanks.start_N, blanks.length_N
    # A blank's first token becomes its mask and stays in the context; its other tokens go.
    edges_BL = np.zeros((count, width + 1), dtype=np.int8)
    edges_BL[row_N, start_N + 1] += 1  # no two blanks begin at one place, or end at one
    edges_BL[row_N, start_N + length_N] -= 1
    kept_BL = rows.valid() & (np.cumsum(edges_BL[:, :width], axis=1, dtype=np.int8) == 0)
    position_BL = np.cumsum(kept_BL, axis=1) - 1  # of each kept token in the context
    context_B = position_BL[:, -1] + 1
    with_masks_BL = rows.tokens_BL.copy()
    with_masks_BL[row_N, start_N] = blanks.mask_B[row_N]

    size_N = length_N + blanks.ended_B[row_N]
    stop_N = np.cumsum(size_N)  # of a blank among the tokens of all blanks
    first_N = stop_N - size_N
    size_B = np.bincount(row_N, size_N, count).astype(np.int64)
    length_B = context_B + size_B
    assert int(length_B.max(initial=0)) <= length, f"a sample of {length_B.max()} does not fit {length}"
    number_T = np.arange(int(size_N.sum())) - np.repeat(first_N, size_N)  # of a token in its blank
    row_T = np.repeat(row_N, size_N)
    # Blanks of a row lie one after another behind its context.
    place_T = np.arange(number_T.size) + (np.arange(count) * length + context_B - np.cumsum(size_B) + size_B)[row_T]
    source_T = np.repeat(row_N * width + start_N, size_N) + number_T
    label_T = rows.tokens_BL.ravel()[np.minimum(source_T, rows.tokens_BL.size - 1)]
    label_T[(stop_N - 1)[blanks.ended_B[row_N]]] = ids.eop_id
    input_T = np.empty_like(label_T)
    input_T[1:] = label_T[:-1]  # teacher forcing: each input is the target before it
    input_T[first_N] = ids.sop_id

    in_context_BS = np.arange(length) < context_B[:, None]
    input_ids_BS = np.full((count, length), ids.eos_id, dtype=np.int64)
    input_ids_BS[in_context_BS] = with_masks_BL[kept_BL]
    input_ids_BS.ravel()[place_T] = input_T
    labels_BS = np.full((count, length), NO_LOSS, dtype=np.int64)
    labels_BS.ravel()[place_T] = label_T
    segment_ids_BS = np.full((count, length), NO_SEGMENT, dtype=np.int64)
    segment_ids_BS[in_context_BS] = rows.segments_BL[kept_BL]
    # [sop] belongs to the document of its first token; only generation ever crosses into the next.
    segment_ids_BS.ravel()[place_T] = rows.segments_BL.ravel()[source_T - (number_T > 0)]
    position_ids_B2S = np.zeros((count, 2, length), dtype=np.int64)
    position_ids_B2S[:, 0] = np.where(in_context_BS, np.arange(length), 0)
    flat_T = place_T + row_T * length  # the same place in the first of two tables
    position_ids_B2S.ravel()[flat_T] = np.repeat(position_BL[row_N, start_N], size_N)
    position_ids_B2S.ravel()[flat_T + length] = number_T + 1
    return Samples(input_ids_BS, position_ids_B2S, labels_BS, segment_ids_BS, context_B, length_B)


def layout(
    row: Row, spans: Sequence[Span], *, mask_id: int, ids: CommandIds, end_token: bool = True, mode: str = "tokens"
) -> Sample:
    """One sample of one row, not padded: cuts `spans`, which must not overlap, and lays them out in the order given."""
    ordered = sorted(spans)
    assert all(0 <= start < stop <= row.tokens_S.size for start, stop in spans), "a span is outside its row"
    assert all(stop <= start for (_, stop), (start, _) in itertools.pairwise(ordered)), "spans overlap"
    starts = np.array([start for start, _ in spans], dtype=np.int64)
    lengths = np.array([stop - start for start, stop in spans], dtype=np.int64)
    blanks = Blanks(
        np.zeros(len(spans), dtype=np.int64),
        starts,
        lengths,
        np.array([mask_id]),
        np.array([end_token]),
        np.zeros(1, dtype=np.int64),
    )
    return only_sample(layout_rows(Rows.of(row), blanks, ids, _room(row, blanks)), blanks, mode)


def only_sample(samples: Samples, blanks: Blanks, mode: str) -> Sample:
    """The sample of a batch of one, without padding."""
    length = int(samples.length_B[0])
    return Sample(
        samples.input_ids_BS[0, :length],
        samples.position_ids_B2S[0, :, :length],
        samples.labels_BS[0, :length],
        samples.segment_ids_BS[0, :length],
        int(samples.context_length_B[0]),
        mode,
        blanks.spans(0),
    )


def _room(row: Row, blanks: Blanks) -> int:
    return row.tokens_S.size + 2 * blanks.row_N.size
