"""Blank infilling: which tokens of a row become blanks (paper §3.1; GLM, Du et al. 2022).

In: token ids of rows, what they are, a seed and the samples' indices. Out: `Samples` of plain arrays. Everything
random is drawn from (seed, index) alone, so any process can make any sample at any time. Knows nothing of files,
batches and torch.

Three modes, one drawn for each sample (the authors draw one per micro-batch):
- token blanks: lengths from a Poisson distribution, at least one token left between two; a [MASK] each;
- sentence blanks: whole sentences; a [sMASK] each;
- generation: a [gMASK] and then all the rest, which has no end token, since it was only cut there; or, half the time
  where the row is a piece of one document, one long blank anywhere, with an end token.
[CLS] and the end of document are never inside token or sentence blanks.

Unlike the authors we drop no sample: a row is as long as most blanks ever need, and a blank beyond that stays uncut.

All rows of a batch are worked on at once. B rows, L tokens of a row, K blanks at most, N blanks of all rows, M tokens
of all rows that may be blanked.
"""

import math
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from core.errors import MGLMError
from train.blank_layout import Blanks, BoolArray, CommandIds, IntArray, Row, Rows, Sample, layout_rows, only_sample
from train.config import BlankConfig
from train.draws import Draws

ROW_MULTIPLE = 16  # rows are padded to it: tensor cores, and sequence parallelism up to 16
MISSED = 0.1  # of the share wanted: sentence blanks that would miss it by more end inside a sentence
MODES = ("none", "tokens", "sentences", "generation")
_NONE, _TOKENS, _SENTENCES, _GENERATION = range(len(MODES))


class SentenceFinder(Protocol):
    """`tokenizer.sentences.SentenceEnds`: where sentences and words begin in stretches of text that lie side by side.

    `begins` marks the first token of each stretch. Both answers are masks over the tokens.
    """

    def starts(self, tokens: IntArray, begins: BoolArray) -> tuple[BoolArray, BoolArray]: ...


class _Chosen(NamedTuple):
    """Blanks of some rows, in no order: the row of each, its first token and its length."""

    row_N: IntArray
    start_N: IntArray
    length_N: IntArray


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


def mean_length(sequence_length: int, config: BlankConfig) -> int:
    """About how long samples are before padding: a mask and a [sop] for each blank; of sentences, three."""
    lengths = np.arange(1, config.max_span + 1)
    words = config.blank_share * sequence_length / float(_span_lengths(config.mean_span, config.max_span) @ lengths)
    return sequence_length + round(2 * (words * config.token_blanks + 3 * config.sentence_blanks + config.generation))


def check_positions(section: str, config: BlankConfig, window: int, max_positions: int) -> None:
    """Whether every blank finds its places in the position table: they count from 1, its end included. `window` tokens
    of text stand together at most.

    Raises:
        MGLMError: a blank may be longer than that.
    """
    whole_sentences = config.sentence_ends == "authors" or (1 + MISSED) * config.blank_share >= 1
    longest = max(
        min(config.max_span, window) if config.token_blanks else 0,
        (window if whole_sentences else 0) if config.sentence_blanks else 0,
    )
    if longest + 2 > max_positions:
        raise MGLMError(
            f"model.max_positions {max_positions}",
            found=f"blanks of up to {longest} tokens, as {section}.blanks cuts them",
            expected=f"at least {longest + 2} positions",
            action="raise it (of a checkpoint: mglm model extend --positions), or cut shorter blanks",
        )


def choose_blanks(
    rows: Rows,
    *,
    seed: int,
    index_B: IntArray,
    ids: CommandIds,
    sentences: SentenceFinder,
    config: BlankConfig,
    spans: int,
) -> Blanks:
    """The blanks of the samples number `index_B` (≥ 0) made of `rows`, at most `spans` each.

    A mode that a row is too short for gives way to token blanks; a row with nothing but commands has no blank.
    """
    draws = Draws(seed, index_B)
    point_B = draws.take(1)[:, 0]
    maskable_BL = rows.valid() & (rows.tokens_BL != ids.cls_id) & (rows.tokens_BL != ids.eos_id)
    number_B = maskable_BL.sum(1)
    mode_B = np.select(
        [number_B == 0, point_B < config.generation, point_B < config.generation + config.sentence_blanks],
        [_NONE, _GENERATION, _SENTENCES],
        _TOKENS,
    )
    mode_B[(rows.length_B < 4) & (mode_B == _GENERATION)] = _TOKENS
    wanted_B = np.minimum(config.blank_share * rows.length_B, number_B)
    ended_B = np.ones(len(mode_B), dtype=bool)
    parts = [
        _token_spans(draws, np.flatnonzero(mode_B == _TOKENS), maskable_BL, wanted_B, config, spans),
        _sentence_spans(draws, np.flatnonzero(mode_B == _SENTENCES), rows, maskable_BL, wanted_B, sentences, config),
        _generation_spans(draws, np.flatnonzero(mode_B == _GENERATION), rows, maskable_BL, config, ended_B),
    ]
    chosen = _Chosen(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    mask_B = np.array([ids.mask_id, ids.mask_id, ids.smask_id, ids.gmask_id])[mode_B]
    row_N, start_N, length_N = _in_random_order(draws, chosen, spans)
    return Blanks(row_N, start_N, length_N, mask_B, ended_B, mode_B)


def blank_infilling(
    row: Row, *, seed: int, index: int, ids: CommandIds, sentences: SentenceFinder, config: BlankConfig, spans: int
) -> Sample:
    """The sample number `index` (≥ 0) made of `row` with at most `spans` blanks; not padded."""
    rows, index_B = Rows.of(row), np.array([index])
    blanks = choose_blanks(
        rows, seed=seed, index_B=index_B, ids=ids, sentences=sentences, config=config, spans=spans
    )  # fmt: skip
    samples = layout_rows(rows, blanks, ids, row.tokens_S.size + 2 * spans)
    return only_sample(samples, blanks, MODES[blanks.mode_B[0]])


def _token_spans(
    draws: Draws, chosen: IntArray, maskable_BL: BoolArray, wanted_B: IntArray, config: BlankConfig, most: int
) -> _Chosen:
    """Poisson lengths until the share is reached, each at a place drawn for it alone, gaps of at least one token.

    Placed in the row without its command tokens; a blank that would span the end of a document becomes two.
    Source: the authors' code, which draws places so; the paper is silent.
    """
    maskable_BL = maskable_BL[chosen]
    number_B = maskable_BL.sum(1)
    cumulative = np.cumsum(_span_lengths(config.mean_span, config.max_span))[:-1]
    length_BK = 1 + np.searchsorted(cumulative, draws.take(most, chosen), side="right")
    length_BK[:, 0] = np.minimum(length_BK[:, 0], number_B)
    total_BK = np.cumsum(length_BK, axis=1)
    count_B = np.minimum((total_BK < wanted_B[chosen, None]).sum(1) + 1, most)
    # Very short rows: only as many blanks as fit with their gaps.
    fit_B = (total_BK + np.arange(most) <= number_B[:, None]).sum(1)
    count_B = np.maximum(np.minimum(count_B, fit_B), 1)
    rows = np.arange(chosen.size)
    free_B = number_B - total_BK[rows, count_B - 1] - (count_B - 1)
    in_use_BK = np.arange(most) < count_B[:, None]
    before_BK = np.where(in_use_BK, (draws.take(most, chosen) * (free_B[:, None] + 1)).astype(np.int64), 1 << 40)
    before_BK.sort(axis=1)
    start_BK = before_BK + total_BK - length_BK + np.arange(most)
    return _runs(maskable_BL, np.nonzero(in_use_BK)[0], start_BK[in_use_BK], length_BK[in_use_BK], chosen)


def _runs(maskable_BL: BoolArray, row_N: IntArray, start_N: IntArray, length_N: IntArray, chosen: IntArray) -> _Chosen:
    """Blanks among the tokens that may be blanked, as blanks of the row: cut where commands lie between."""
    row_M, column_M = _places(maskable_BL)
    first_B = np.searchsorted(row_M, np.arange(maskable_BL.shape[0]))
    stop_N = np.cumsum(length_N)
    token_T = np.arange(int(length_N.sum())) + np.repeat(first_B[row_N] + start_N - stop_N + length_N, length_N)
    column_T = column_M[token_T]
    cut_T = np.ones(column_T.size, dtype=bool)
    cut_T[1:] = np.diff(column_T) != 1
    cut_T[(stop_N - length_N)] = True
    begin_N = np.flatnonzero(cut_T)
    return _Chosen(
        chosen[np.repeat(row_N, length_N)[begin_N]], column_T[begin_N], np.diff(begin_N, append=column_T.size)
    )


def _sentence_spans(
    draws: Draws,
    chosen: IntArray,
    rows: Rows,
    maskable_BL: BoolArray,
    wanted_B: IntArray,
    finder: SentenceFinder,
    config: BlankConfig,
) -> _Chosen:
    """Whole sentences in random order while they fit the share wanted, then the one that comes nearest to what is left.

    Where that would miss the share by more than a tenth, as with long sentences, the end of the next sentence is taken
    instead, from the beginning of a word. The authors take whole sentences until the share is passed, on the average a
    fifth to a quarter of a row, most where sentences are long; and since they know Latin and Chinese marks alone, in
    other scripts the whole row: `sentence_ends = "authors"` does as they do.
    """
    row_M, column_M = _places(maskable_BL[chosen])
    begins_M = np.ones(row_M.size, dtype=bool)
    begins_M[1:] = (np.diff(row_M) != 0) | (np.diff(column_M) != 1)
    starts_M, words_M = finder.starts(rows.tokens_BL[chosen][row_M, column_M], begins_M)
    begin_N = np.flatnonzero(starts_M)
    row_N, length_N = row_M[begin_N], np.diff(begin_N, append=row_M.size)
    order_N, rank_N = _shuffled(draws, row_N, chosen)
    row_N, length_N, begin_N = row_N[order_N], length_N[order_N], begin_N[order_N]
    if not row_N.size:
        return _Chosen(row_N, begin_N, length_N)
    stop_N, first_N = begin_N + length_N, np.flatnonzero(rank_N == 0)
    before_N = np.cumsum(length_N) - length_N
    before_N -= before_N[np.arange(row_N.size) - rank_N]
    wanted_N = wanted_B[chosen][row_N]
    if config.sentence_ends == "authors":
        take_N = before_N < wanted_N
        return _Chosen(chosen[row_N[take_N]], column_M[begin_N[take_N]], length_N[take_N])
    fits_N = before_N + length_N <= wanted_N
    left_N = wanted_N - np.bincount(row_N, length_N * fits_N, chosen.size)[row_N]  # of the row's share
    miss_N = np.where(fits_N, np.inf, np.abs(length_N - left_N))
    least_N = np.repeat(np.minimum.reduceat(miss_N, first_N), np.diff(first_N, append=row_N.size))
    short_N = np.minimum(least_N, left_N) > MISSED * wanted_N
    nearest_N = _first_of_row((miss_N == least_N) & (miss_N < left_N) & ~short_N, row_N)
    part_N = _first_of_row(~fits_N & short_N, row_N)
    cut_N = np.maximum(stop_N - np.maximum(left_N.astype(np.int64), 1), begin_N)
    word_M = np.minimum.accumulate(np.where(words_M, np.arange(row_M.size), row_M.size)[::-1])[::-1]
    at_word_N = word_M[cut_N]
    near_N = at_word_N - cut_N <= MISSED * left_N  # else in the middle of a word, or where words are not spaced
    begin_N = np.where(part_N, np.where(near_N, at_word_N, cut_N), begin_N)
    take_N = fits_N | nearest_N | part_N
    begin_N, stop_N = begin_N[take_N], stop_N[take_N]
    return _Chosen(chosen[row_N[take_N]], column_M[begin_N], stop_N - begin_N)


def _places(found_BL: BoolArray) -> tuple[IntArray, IntArray]:
    """Rows and columns of what is found, in order; quicker than NumPy's own in two dimensions."""
    place_M = np.flatnonzero(found_BL)
    row_M = place_M // found_BL.shape[1]
    return row_M, place_M - row_M * found_BL.shape[1]


def _first_of_row(found_N: BoolArray, row_N: IntArray) -> BoolArray:
    """Of what is found, the first in each row."""
    first_N = np.zeros(found_N.size, dtype=bool)
    places = np.flatnonzero(found_N)
    first_N[places[np.flatnonzero(np.diff(row_N[places], prepend=-1))]] = True
    return first_N


def _generation_spans(
    draws: Draws, chosen: IntArray, rows: Rows, maskable_BL: BoolArray, config: BlankConfig, ended_B: BoolArray
) -> _Chosen:
    """The span to generate; says in `ended_B` whether an end token follows it."""
    size_B, maskable_BL = rows.length_B[chosen], maskable_BL[chosen]
    segments_BL, draw_B3 = rows.segments_BL[chosen], draws.take(3, chosen)
    alone_B = segments_BL[:, 0] == segments_BL[np.arange(chosen.size), size_B - 1]
    number_B = maskable_BL.sum(1)
    anywhere_B = alone_B & (number_B >= 4) & (draw_B3[:, 0] < 0.5)
    ended_B[chosen] = anywhere_B
    size_B = np.where(anywhere_B, number_B, size_B)
    # Uniform from `min_generation` of the tokens to all but two.
    least_B = np.minimum(np.ceil(config.min_generation * size_B).astype(np.int64), size_B - 2)
    length_B = least_B + (draw_B3[:, 1] * (size_B - 1 - least_B)).astype(np.int64)
    free_B = size_B - length_B
    start_B = np.where(anywhere_B, maskable_BL.argmax(1) + (draw_B3[:, 2] * (free_B + 1)).astype(np.int64), free_B)
    return _Chosen(chosen, start_B, length_B)


def _in_random_order(draws: Draws, chosen: _Chosen, most: int) -> _Chosen:
    """Sorted by row, at random within it; of a row with more blanks than there is room for, the first `most`."""
    by_place = np.lexsort((chosen.start_N, chosen.row_N))
    row_N, start_N, length_N = (array[by_place] for array in chosen)
    order_N, rank_N = _shuffled(draws, row_N)
    order_N = order_N[rank_N < most]
    return _Chosen(row_N[order_N], start_N[order_N], length_N[order_N])


def _shuffled(draws: Draws, row_N: IntArray, chosen: IntArray | None = None) -> tuple[IntArray, IntArray]:
    """A random order of things within their rows, given sorted by row; and the rank of each in that order."""
    size_B = np.bincount(row_N, minlength=1)
    rank_N = np.arange(row_N.size) - (np.cumsum(size_B) - size_B)[row_N]
    keys_BN = draws.take(int(size_B.max()), chosen)
    order_N = np.argsort(row_N + keys_BN[row_N, rank_N])
    return order_N, rank_N


@cache
def _span_lengths(mean: float, longest: int) -> NDArray[np.float64]:
    """Probabilities of the lengths 1 … longest: a Poisson distribution without 0 and without its tail."""
    logs = np.array([length * math.log(mean) - math.lgamma(length + 1) for length in range(1, longest + 1)])
    weights = np.exp(logs - logs.max())
    probabilities: NDArray[np.float64] = weights / weights.sum()
    return probabilities
