"""Blank infilling: how a row of tokens becomes a GLM training sample (paper §3.1; GLM, Du et al. 2022).

In: token ids of one row, what they are, a seed and the sample's index. Out: a `Sample` of plain arrays. Everything
random is drawn from (seed, index) alone, so any process can make any sample at any time. Knows nothing of files,
batches and torch.

A sample is the context, in which each blank is one mask token, then the blanks in random order, each
`[sop] tokens`, whose targets are `tokens [eop]`. The first position counts along the context as it stands; all tokens
of a blank carry the position of their mask. The second is 0 in the context and 1, 2, … in a blank.

Three modes, one drawn for each sample (the authors draw one per micro-batch):
- token blanks: lengths from a Poisson distribution, at least one token left between two; a [MASK] each;
- sentence blanks: whole sentences; a [sMASK] each;
- generation: a [gMASK] and then all the rest, which has no end token, since it was only cut there; or, half the time
  where the row is a piece of one document, one long blank anywhere, with an end token.
[CLS] and the end of document are never inside token or sentence blanks.

Unlike the authors we drop no sample: a row is as long as most blanks ever need, and a blank beyond that stays uncut.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from train.config import BlankConfig

IntArray = NDArray[np.int64]
Span = tuple[int, int]  # token indices [start, stop) of a row

NO_LOSS = -100  # label of positions without a target, as everywhere in torch
NO_SEGMENT = -1  # segment of padding
ROW_MULTIPLE = 16  # rows are padded to it: tensor cores, and sequence parallelism up to 16
LONG_SENTENCE = 0.5  # sentences are blanked only while at most this share of the row is missing


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


class SentenceFinder(Protocol):
    """`tokenizer.sentences.SentenceEnds`: the sentences of a run of tokens, as [start, stop) indices."""

    def spans(self, tokens: IntArray) -> Sequence[Span]: ...


@dataclass(frozen=True)
class Row:
    """Tokens before any blank is cut: `segments_S` numbers the document of each token from 0."""

    tokens_S: IntArray
    segments_S: IntArray


@dataclass(frozen=True)
class Sample:
    """One training row. Labels are `NO_LOSS` outside blanks, segments `NO_SEGMENT` on padding."""

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


def max_spans(sequence_length: int, config: BlankConfig) -> int:
    """Most blanks of a sample: the mean number of token blanks and three standard deviations (32 for 512 tokens)."""
    probabilities = _span_lengths(config.mean_span, config.max_span)
    lengths = np.arange(1, config.max_span + 1)
    mean = float(probabilities @ lengths)
    variance = float(probabilities @ (lengths - mean) ** 2)
    number = sequence_length * config.blank_share / mean
    return max(1, math.ceil(number + 3 * math.sqrt(number * variance) / mean))  # renewal theory


def row_length(sequence_length: int, config: BlankConfig) -> int:
    """Length of every sample made of at most `sequence_length` tokens: each blank adds its mask and its [sop].

    512 tokens give 576, which is about what the authors' samples grow to.
    """
    longest = sequence_length + 2 * max_spans(sequence_length, config)
    return -(-longest // ROW_MULTIPLE) * ROW_MULTIPLE


def blank_infilling(
    row: Row, *, seed: int, index: int, ids: CommandIds, sentences: SentenceFinder, config: BlankConfig, spans: int
) -> Sample:
    """The sample number `index` (≥ 0) made of `row` with at most `spans` blanks; not padded.

    A mode that a row is too short for gives way to token blanks; a row with nothing but commands has no targets.
    """
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))
    point = rng.random()
    if point < config.generation and row.tokens_S.size >= 4:
        span, end_token = _generation_span(rng, row, ids, config)
        return layout(row, [span], mask_id=ids.gmask_id, ids=ids, end_token=end_token, mode="generation")
    if point < config.generation + config.sentence_blanks:
        chosen = _sentence_spans(rng, row, ids, sentences, config, spans)
        if chosen:
            return layout(row, chosen, mask_id=ids.smask_id, ids=ids, mode="sentences")
    chosen = _token_spans(rng, row, ids, config, spans)
    return layout(row, chosen, mask_id=ids.mask_id, ids=ids, mode="tokens" if chosen else "none")


def layout(
    row: Row, spans: Sequence[Span], *, mask_id: int, ids: CommandIds, end_token: bool = True, mode: str = "tokens"
) -> Sample:
    """Cuts `spans`, which must not overlap, out of `row` and lays them behind it in the order given."""
    tokens_S, segments_S = row.tokens_S, row.segments_S
    length = tokens_S.size
    blanked_S = np.zeros(length, dtype=bool)
    starts = np.array([start for start, _ in spans], dtype=np.int64)
    for start, stop in spans:
        assert 0 <= start < stop <= length, f"span {start}:{stop} outside a row of {length}"
        assert not blanked_S[start:stop].any(), "spans overlap"
        blanked_S[start:stop] = True
    # A blank's first token becomes its mask and stays in the context; its other tokens go.
    with_masks_S = tokens_S.copy()
    with_masks_S[starts] = mask_id
    kept_S = ~blanked_S
    kept_S[starts] = True
    context = with_masks_S[kept_S]
    position_S = np.cumsum(kept_S) - 1  # of each kept token in the context

    inputs, targets, positions, blocks, segments = [context], [_no_loss(context.size)], [], [], [segments_S[kept_S]]
    for start, stop in spans:
        blank = tokens_S[start:stop]
        size = blank.size + 1 if end_token else blank.size
        inputs += [np.array([ids.sop_id]), blank[: size - 1]]
        targets += [blank, np.array([ids.eop_id])] if end_token else [blank]
        positions.append(np.full(size, position_S[start]))
        blocks.append(np.arange(1, size + 1))
        # [sop] belongs to the document of its first token; only generation ever crosses into the next.
        segments += [segments_S[start : start + 1], segments_S[start : start + size - 1]]
    return Sample(
        np.concatenate(inputs).astype(np.int64),
        np.stack(
            [
                np.concatenate([np.arange(context.size), *positions]),
                np.concatenate([np.zeros(context.size, dtype=np.int64), *blocks]),
            ]
        ).astype(np.int64),
        np.concatenate(targets).astype(np.int64),
        np.concatenate(segments).astype(np.int64),
        context.size,
        mode,
        tuple(spans),
    )


def _no_loss(size: int) -> IntArray:
    return np.full(size, NO_LOSS, dtype=np.int64)


def _maskable(row: Row, ids: CommandIds) -> IntArray:
    """Indices of the tokens that may be blanked."""
    return np.flatnonzero((row.tokens_S != ids.cls_id) & (row.tokens_S != ids.eos_id))


def _token_spans(rng: np.random.Generator, row: Row, ids: CommandIds, config: BlankConfig, most: int) -> list[Span]:
    """Poisson lengths until the share is reached, placed uniformly with gaps of at least one token.

    Placed in the row without its command tokens, all arrangements being equally likely; a blank that would span the end
    of a document becomes two.
    """
    maskable = _maskable(row, ids)
    if maskable.size == 0:
        return []
    wanted = config.blank_share * maskable.size
    cumulative = np.cumsum(_span_lengths(config.mean_span, config.max_span))[:-1]
    lengths = 1 + np.searchsorted(cumulative, rng.random(most), side="right")
    number = min(int(np.searchsorted(np.cumsum(lengths), wanted)) + 1, most)
    lengths = lengths[:number]
    lengths[0] = min(lengths[0], maskable.size)
    # Very short rows: only as many blanks as fit with their gaps.
    fit = max(1, int(np.searchsorted(np.cumsum(lengths + 1), maskable.size + 1, side="right")))
    lengths = lengths[:fit]
    free = maskable.size - int(lengths.sum()) - (lengths.size - 1)
    # Stars and bars: a uniform choice of where the blanks stand among the free tokens.
    before = np.sort(rng.choice(free + lengths.size, size=lengths.size, replace=False)) - np.arange(lengths.size)
    starts = before + np.concatenate([[0], np.cumsum(lengths[:-1] + 1)])
    spans: list[Span] = []
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        indices = maskable[start : start + length]
        runs = np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)
        spans += [(int(run[0]), int(run[-1]) + 1) for run in runs]
    order = rng.permutation(len(spans))[:most]
    return [spans[i] for i in order]


@cache
def _span_lengths(mean: float, longest: int) -> NDArray[np.float64]:
    """Probabilities of the lengths 1 … longest: a Poisson distribution without 0 and without its tail."""
    logs = np.array([length * math.log(mean) - math.lgamma(length + 1) for length in range(1, longest + 1)])
    weights = np.exp(logs - logs.max())
    probabilities: NDArray[np.float64] = weights / weights.sum()
    return probabilities


def _sentence_spans(
    rng: np.random.Generator, row: Row, ids: CommandIds, finder: SentenceFinder, config: BlankConfig, most: int
) -> list[Span]:
    """Whole sentences in random order until the share is reached; empty when none is short enough.

    The authors' code knows Latin and Chinese sentence ends only, so that in other scripts the whole row is one sentence
    and all of it is blanked; `LONG_SENTENCE` keeps that from happening wherever sentence ends are not found.
    """
    maskable = _maskable(row, ids)
    candidates: list[Span] = []
    for run in np.split(maskable, np.flatnonzero(np.diff(maskable) > 1) + 1):
        if run.size:
            first = int(run[0])
            candidates += [(first + a, first + b) for a, b in finder.spans(row.tokens_S[first : first + run.size])]
    wanted, longest = config.blank_share * maskable.size, LONG_SENTENCE * maskable.size
    chosen: list[Span] = []
    blanked = 0
    for i in rng.permutation(len(candidates)):
        start, stop = candidates[i]
        if blanked + stop - start <= longest:
            chosen.append((start, stop))
            blanked += stop - start
        if blanked >= wanted or len(chosen) == most:
            break
    return chosen


def _generation_span(rng: np.random.Generator, row: Row, ids: CommandIds, config: BlankConfig) -> tuple[Span, bool]:
    """The span to generate and whether an end token follows it."""
    maskable = _maskable(row, ids)
    if row.segments_S[0] == row.segments_S[-1] and maskable.size >= 4 and rng.random() < 0.5:
        length = _generation_length(rng, maskable.size, config)
        start = int(maskable[0]) + int(rng.integers(maskable.size - length + 1))
        return (start, start + length), True
    size = row.tokens_S.size
    return (size - _generation_length(rng, size, config), size), False


def _generation_length(rng: np.random.Generator, size: int, config: BlankConfig) -> int:
    """Uniform from `min_generation` of the tokens to all but two."""
    least = min(math.ceil(config.min_generation * size), size - 2)
    return int(rng.integers(least, size - 2, endpoint=True))
