"""Batches: which samples a step of pretraining sees, as arrays of fixed shape.

Stateless: step t holds samples t·B … t·B + B − 1, whatever the number of processes, so that resuming is setting the
step and a run on two machines sees what one machine sees. Fine-tuning's are in `train.finetune_batches`; both offer
`batch(step, data_rank, data_size)`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.errors import MGLMError
from tokenizer.encoding import Tokenizer
from tokenizer.sampler import Draw, Sampler
from tokenizer.sentences import AuthorsSentenceEnds, SentenceEnds
from tokenizer.shards import Shards
from train.blank_infilling import MODES, choose_blanks, max_spans, row_length
from train.blank_layout import Blanks, Row, Rows, Sample, Samples, layout_rows, only_sample
from train.config import PretrainConfig


@dataclass(frozen=True)
class MicroBatch:
    """Rows of one forward pass, int64. B rows of length S; `tokens` counts those that are not padding."""

    input_ids_BS: NDArray[np.int64]
    position_ids_B2S: NDArray[np.int64]
    context_length_B: NDArray[np.int64]
    labels_BS: NDArray[np.int64]
    segment_ids_BS: NDArray[np.int64] | None  # None: all of a row may be seen
    tokens: int
    languages_B: tuple[str, ...] = ()  # of each row, for the record of losses


class Batches(Protocol):
    """What the training loop needs to know of its data."""

    def batch(self, step: int, data_rank: int, data_size: int) -> list[MicroBatch]: ...


class PretrainBatches:
    """Blank-infilling samples cut from shards by the plan's shares."""

    def __init__(
        self,
        shards: Shards,
        sampler: Sampler,
        tokenizer: Tokenizer,
        config: PretrainConfig,
        sequence_length: int,
        first_step: int = 0,
    ) -> None:
        """`first_step`: the step that the sampler's sample 0 belongs to."""
        self._shards, self._sampler, self._tokenizer, self._config = shards, sampler, tokenizer, config
        as_authors = config.blanks.sentence_ends == "authors"
        self._sentences = AuthorsSentenceEnds(tokenizer) if as_authors else SentenceEnds(tokenizer)
        self._length, self._before = sequence_length, first_step * config.global_batch_size
        self._most_spans = max_spans(sequence_length, config.blanks)
        self.row_length = row_length(sequence_length, config.blanks)

    def sample(self, index: int) -> tuple[Sample, Row, str]:
        """Sample number `index`, not padded, with the row it was made of and that row's languages, joined by `+`."""
        of_samples = self._draws(index, 1)
        rows = self._rows(of_samples)
        samples, blanks = self._cut(rows, index, 1)
        return only_sample(samples, blanks, MODES[blanks.mode_B[0]]), rows.row(0), _languages(of_samples[0])

    def languages(self, index: int) -> set[str]:
        """The languages of sample number `index`; one, unless a sequence has several windows."""
        return {draw.lang for draw in self._draws(index, 1)[0]}

    def batch(self, step: int, data_rank: int, data_size: int) -> list[MicroBatch]:
        """The micro-batches of one data-parallel rank in one step."""
        indices = own_indices(step, self._config.global_batch_size, data_rank, data_size)
        samples, languages = self.samples(indices.start, len(indices))
        return micro_batches(samples, languages, self._config.micro_batch_size, self._config.isolate_documents)

    def samples(self, first: int, count: int) -> tuple[Samples, list[str]]:
        """Samples first … first+count−1, and the languages of each, joined by `+`."""
        of_samples = self._draws(first, count)
        samples, _ = self._cut(self._rows(of_samples), first, count)
        return samples, [_languages(draws) for draws in of_samples]

    def _cut(self, rows: Rows, first: int, count: int) -> tuple[Samples, Blanks]:
        """Samples first … first+count−1 of their rows, and their blanks."""
        blanks = choose_blanks(
            rows,
            seed=self._config.seed,
            index_B=np.arange(first, first + count),
            ids=self._tokenizer,
            sentences=self._sentences,
            config=self._config.blanks,
            spans=self._most_spans,
        )
        return layout_rows(rows, blanks, self._tokenizer, self.row_length), blanks

    def _draws(self, first: int, count: int) -> list[list[Draw]]:
        """The draws of samples first … first+count−1."""
        windows = self._config.windows_per_sequence
        draws = self._sampler.draw_many((first - self._before) * windows, count * windows)
        return [draws[start : start + windows] for start in range(0, len(draws), windows)]

    def _rows(self, of_samples: Sequence[Sequence[Draw]]) -> Rows:
        """For each sample, windows of languages' streams as tokens, one after another.

        A window that begins inside a document gets a [CLS] of its own. Source: the authors' packing `[CLS] document eos
        [CLS] document eos …`; a window may also end inside a document.
        """
        cls_id, eos_id = self._tokenizer.cls_id, self._tokenizer.eos_id
        tokens_BL = np.full((len(of_samples), self._length), eos_id, dtype=np.int64)
        begins_BL = np.zeros(tokens_BL.shape, dtype=bool)
        length_B = np.empty(len(of_samples), dtype=np.int64)
        for row, draws in enumerate(of_samples):
            tokens_L, begins, place = tokens_BL[row], [], 0
            for lang, _, start, stop in draws:
                pieces = self._shards.pieces(lang, start, stop)
                if len(pieces) > 1 and not pieces[0].begins and pieces[0].tokens.size == 0:
                    pieces = pieces[1:]  # the window begins at an end of document
                for number, (tokens, at_beginning, at_end) in enumerate(pieces):
                    begins.append(place)
                    if at_beginning or number == 0:
                        tokens_L[place] = cls_id
                        place += 1
                    tokens_L[place : place + tokens.size] = tokens
                    place += tokens.size + at_end  # the eos is there already
            begins_BL[row, begins] = True
            length_B[row] = place
        return Rows(tokens_BL, np.cumsum(begins_BL, axis=1) - 1, length_B)


def window_length(sequence_length: int, config: PretrainConfig) -> int:
    """Stream tokens of one draw: each leaves room for the [CLS] of a window that begins inside a document.

    Raises:
        MGLMError: so many windows that nothing is left of each.
    """
    window = sequence_length // config.windows_per_sequence - 1
    if window < 1:
        raise MGLMError(
            "pretrain.windows_per_sequence",
            found=f"{config.windows_per_sequence} windows in model.sequence_length {sequence_length}",
            expected="two tokens for each at least, one of which is [CLS]",
            action="lower it, or raise model.sequence_length",
        )
    return window


def own_indices(step: int, global_batch: int, data_rank: int, data_size: int) -> range:
    assert global_batch % data_size == 0, f"batch of {global_batch} over {data_size} processes"
    share = global_batch // data_size
    first = step * global_batch + data_rank * share
    return range(first, first + share)


def _languages(draws: Sequence[Draw]) -> str:
    return "+".join(dict.fromkeys(draw.lang for draw in draws))


def micro_batches(samples: Samples, languages: Sequence[str], size: int, isolate_documents: bool) -> list[MicroBatch]:
    parts = [slice(first, first + size) for first in range(0, len(languages), size)]
    return [
        MicroBatch(
            samples.input_ids_BS[part],
            samples.position_ids_B2S[part],
            samples.context_length_B[part],
            samples.labels_BS[part],
            samples.segment_ids_BS[part] if isolate_documents else None,
            int(samples.length_B[part].sum()),
            tuple(languages[part]),
        )
        for part in parts
    ]
