"""Batches: which samples a step sees, as arrays of fixed shape.

Stateless: step t holds samples t·B … t·B + B − 1, whatever the number of processes, so that resuming is setting the
step and a run on two machines sees what one machine sees. Both kinds offer `batch(step, data_rank, data_size)`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.examples import Example
from tokenizer.encoding import Tokenizer
from tokenizer.inputs import encode_source
from tokenizer.sampler import Draw, Sampler
from tokenizer.sentences import SentenceEnds
from tokenizer.shards import Shards
from train.blank_infilling import NO_LOSS, Row, Sample, blank_infilling, max_spans, row_length
from train.config import FinetuneConfig, PretrainConfig

ROW_MULTIPLE = 8  # fine-tuning rows are padded to the next multiple


@dataclass(frozen=True)
class MicroBatch:
    """Rows of one forward pass, int64. B rows of length S; `tokens` counts those that are not padding."""

    input_ids_BS: NDArray[np.int64]
    position_ids_B2S: NDArray[np.int64]
    context_length_B: NDArray[np.int64]
    labels_BS: NDArray[np.int64]
    segment_ids_BS: NDArray[np.int64] | None  # None: all of a row may be seen
    tokens: int


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
    ) -> None:
        self._shards, self._sampler, self._tokenizer, self._config = shards, sampler, tokenizer, config
        self._sentences = SentenceEnds(tokenizer)
        self._cls_1, self._eos_1 = np.array([tokenizer.cls_id]), np.array([tokenizer.eos_id])
        self._most_spans = max_spans(sequence_length, config.blanks)
        self.row_length = row_length(sequence_length, config.blanks)

    def sample(self, index: int) -> tuple[Sample, Row, str]:
        """Sample number `index`, not padded, with the row it was made of and that row's languages, joined by `+`."""
        (draws,) = self._draws(index, 1)
        row = self._row(*draws)
        return self._cut(row, index), row, "+".join(dict.fromkeys(draw.lang for draw in draws))

    def languages(self, index: int) -> set[str]:
        """The languages of sample number `index`; one, unless a sequence has several windows."""
        return {draw.lang for draw in self._draws(index, 1)[0]}

    def batch(self, step: int, data_rank: int, data_size: int) -> list[MicroBatch]:
        """The micro-batches of one data-parallel rank in one step."""
        indices = _own_indices(step, self._config.global_batch_size, data_rank, data_size)
        of_samples = self._draws(indices.start, len(indices))
        cut = [self._cut(self._row(*draws), index) for index, draws in zip(indices, of_samples, strict=True)]
        samples = [sample.padded(self.row_length, self._tokenizer.eos_id) for sample in cut]
        return _micro_batches(samples, self._config.micro_batch_size, self._config.isolate_documents)

    def _cut(self, row: Row, index: int) -> Sample:
        return blank_infilling(
            row,
            seed=self._config.seed,
            index=index,
            ids=self._tokenizer,
            sentences=self._sentences,
            config=self._config.blanks,
            spans=self._most_spans,
        )

    def _draws(self, first: int, count: int) -> list[list[Draw]]:
        """The draws of samples first … first+count−1."""
        windows = self._config.windows_per_sequence
        draws = self._sampler.draw_many(first * windows, count * windows)
        return [draws[start : start + windows] for start in range(0, len(draws), windows)]

    def _row(self, *draws: Draw) -> Row:
        """Windows of languages' streams as tokens, one after another.

        Source: the authors' packing `[CLS] document eos [CLS] document eos …`; a window may also end inside a document.
        """
        parts = [part for draw in draws for part in self._documents(draw)]
        segments_S = np.repeat(np.arange(len(parts)), [part.size for part in parts])
        return Row(np.concatenate(parts), segments_S)

    def _documents(self, draw: Draw) -> list[NDArray[np.int64]]:
        """The documents of one window; one that begins inside a document gets a [CLS] of its own."""
        pieces = self._shards.pieces(draw.lang, draw.start, draw.stop)
        if len(pieces) > 1 and not pieces[0].begins and pieces[0].tokens.size == 0:
            pieces = pieces[1:]  # the window begins at an end of document
        return [
            np.concatenate(
                [self._cls_1[: int(piece.begins or number == 0)], piece.tokens, self._eos_1[: int(piece.ends)]]
            )
            for number, piece in enumerate(pieces)
        ]


def window_length(sequence_length: int, config: PretrainConfig) -> int:
    """Stream tokens of one draw: each leaves room for the [CLS] of a window that begins inside a document."""
    return sequence_length // config.windows_per_sequence - 1


class FinetuneBatches:
    """Prompted sources with their targets, shuffled anew in every epoch.

    A source ends up as `tokenizer.inputs.encode_source` makes it, as in prediction; its target is `[sop] tokens` →
    `tokens [eop]` at the mask's position. A target too long is cut and then has no end token: it does not end there.
    """

    def __init__(self, examples: Sequence[Example], tokenizer: Tokenizer, config: FinetuneConfig) -> None:
        self._examples, self._tokenizer, self._config = examples, tokenizer, config
        self._samples: dict[int, Sample] = {}
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, dtype=np.int64))

    def sample(self, number: int) -> Sample:
        """The sample of example `number`, not padded; encoded once and kept."""
        if number not in self._samples:
            self._samples[number] = finetune_sample(self._examples[number], self._tokenizer, self._config)
        return self._samples[number]

    def batch(self, step: int, data_rank: int, data_size: int) -> list[MicroBatch]:
        """The micro-batches of one data-parallel rank in one step, all of one length."""
        indices = _own_indices(step, self._config.global_batch_size, data_rank, data_size)
        samples = [self.sample(self._example_at(index)) for index in indices]
        if self._config.fixed_length:
            longest = self._config.source_length + self._config.target_length
        else:
            longest = max(sample.input_ids_S.size for sample in samples)
        length = -(-longest // ROW_MULTIPLE) * ROW_MULTIPLE
        padded = [sample.padded(length, self._tokenizer.eos_id) for sample in samples]
        return _micro_batches(padded, self._config.micro_batch_size, isolate_documents=False)

    def _example_at(self, index: int) -> int:
        """Which example stands at place `index` of the endless sequence of shuffled epochs."""
        epoch, place = divmod(index, len(self._examples))
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self._config.seed, epoch]).permutation(len(self._examples)))
        return int(self._order[1][place])


def finetune_sample(example: Example, tokenizer: Tokenizer, config: FinetuneConfig) -> Sample:
    """One example as a training row of at most `source_length` + `target_length` tokens."""
    source = encode_source(tokenizer, example.source, config.source_length)
    target = tokenizer.encode(example.target)
    complete = len(target) < config.target_length
    answer = [*target, tokenizer.eop_id] if complete else target[: config.target_length]
    context, size = len(source.ids), len(answer)
    positions = [[*range(context), *[source.mask_position] * size], [0] * context + [*range(1, size + 1)]]
    return Sample(
        np.array([*source.ids, tokenizer.sop_id, *answer[:-1]], dtype=np.int64),
        np.array(positions, dtype=np.int64),
        np.array([NO_LOSS] * context + answer, dtype=np.int64),
        np.zeros(context + size, dtype=np.int64),
        context,
        "target",
        (),
    )


def _own_indices(step: int, global_batch: int, data_rank: int, data_size: int) -> range:
    assert global_batch % data_size == 0, f"batch of {global_batch} over {data_size} processes"
    share = global_batch // data_size
    first = step * global_batch + data_rank * share
    return range(first, first + share)


def _micro_batches(samples: Sequence[Sample], size: int, isolate_documents: bool) -> list[MicroBatch]:
    batches = []
    for first in range(0, len(samples), size):
        part = samples[first : first + size]
        segment_ids_BS = np.stack([sample.segment_ids_S for sample in part])
        batches.append(
            MicroBatch(
                np.stack([sample.input_ids_S for sample in part]),
                np.stack([sample.position_ids_2S for sample in part]),
                np.array([sample.context_length for sample in part], dtype=np.int64),
                np.stack([sample.labels_S for sample in part]),
                segment_ids_BS if isolate_documents else None,
                int((segment_ids_BS >= 0).sum()),
            )
        )
    return batches
