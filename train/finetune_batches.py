"""Batches of fine-tuning: prompted sources with their targets and, where wanted, samples of blank infilling.

Stateless as those of pretraining: which rows a step holds is a function of the step and the seed. Rows of like length
come together, so that little is padding: the examples of several steps are put in order of length and cut into these
steps; within a step rows are put in order again, and each micro-batch is only as long as its longest row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.examples import Example, Segment
from tokenizer.encoding import Tokenizer
from tokenizer.inputs import encode_source
from tokenizer.parallel_prompts import ParallelPrompts
from tokenizer.windows import encode_windows, windows_with_answer
from train.batches import MicroBatch, PretrainBatches, micro_batches
from train.blank_layout import NO_LOSS, NO_SEGMENT, Sample, Samples
from train.config import FinetuneConfig
from train.draws import Draws

ROW_MULTIPLE = 8  # rows are padded to the next multiple
BLANKS = "blanks:"  # before the language of a row of blank infilling, in the record of losses
_STEP_ORDER, _POOLS_KEPT = 1, 2


@dataclass(frozen=True)
class _Line:
    """One row to come, and whose losses are summed up with its own."""

    sample: Sample
    language: str


class FinetuneBatches:
    """Examples, shuffled anew in every epoch, and blank infilling's samples in a fixed share of the rows.

    A source ends up as `tokenizer.inputs.encode_source` makes it, as in prediction; its target is `[sop] tokens` →
    `tokens [eop]` at the mask's position. A target too long is cut and then has no end token: it does not end there.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        tokenizer: Tokenizer,
        config: FinetuneConfig,
        *,
        steps: int | None = None,
        blanks: PretrainBatches | None = None,
        prompts: ParallelPrompts | None = None,
    ) -> None:
        """`steps` of the whole run, so that its last ones hold what an epoch has left; `blanks` where the config wants
        a share of them; `prompts` in the languages that the config names."""
        self._examples, self._tokenizer, self._config = examples, tokenizer, config
        self._steps, self._blanks, self._prompts = steps, blanks, prompts
        # Within one epoch: copies of an example have the same length, and would meet in a batch.
        self._pooled = max(1, min(config.sort_batches, len(examples) // config.global_batch_size))
        self._pools: dict[int, list[list[_Line]]] = {}
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, dtype=np.int64))

    def batch(self, step: int, data_rank: int, data_size: int) -> list[MicroBatch]:
        """The micro-batches of one data-parallel rank in one step. They may differ in length, with the longest first;
        ranks take them in turn."""
        lines = sorted(self._lines(step), key=lambda line: -line.sample.input_ids_S.size)
        size = self._config.micro_batch_size
        assert len(lines) % (size * data_size) == 0, f"{len(lines)} rows over {data_size} processes"
        starts = range(data_rank * size, len(lines), data_size * size)
        return [self._padded(lines[start : start + size]) for start in starts]

    def blank_rows_before(self, step: int) -> int:
        """How many rows of the steps before this one are blank infilling's: their share to within a row, always."""
        return int(self._config.blank_infilling_share * step * self._config.global_batch_size + 1e-9)

    def _lines(self, step: int) -> list[_Line]:
        pool, place = divmod(step, self._pooled)
        if pool not in self._pools:
            self._pools = dict(sorted(self._pools.items())[1 - _POOLS_KEPT :])
            self._pools[pool] = self._pool(pool, step)
        return [*self._pools[pool][place], *self._blank_lines(step)]

    def _pool(self, pool: int, step: int) -> list[list[_Line]]:
        """The examples of a pool's steps, those of like length in one step; the order of the steps is drawn."""
        first, stop = pool * self._pooled, (pool + 1) * self._pooled
        if self._steps is not None and step < self._steps:
            stop = min(stop, self._steps)
        begins = [self._examples_before(each) for each in range(first, stop + 1)]
        lines = [self._example_line(index) for index in range(begins[0], begins[-1])]
        lines.sort(key=lambda line: line.sample.input_ids_S.size)
        of_steps: list[list[_Line]] = [[] for _ in range(stop - first)]
        for each in np.random.default_rng([self._config.seed, _STEP_ORDER, pool]).permutation(stop - first):
            count = begins[each + 1] - begins[each]
            of_steps[each], lines = lines[:count], lines[count:]
        return of_steps

    def _examples_before(self, step: int) -> int:
        return step * self._config.global_batch_size - self.blank_rows_before(step)

    def _example_line(self, index: int) -> _Line:
        example = self._examples[self._example_at(index)]
        draws = Draws(self._config.seed, np.array([index]))
        (prompt,), (window,) = draws.take(1)[0], draws.take(1)[0]
        source: Sequence[Segment] = example.source
        if self._prompts is not None:
            variants = self._prompts.of(source)
            source = variants[int(prompt * len(variants))]
        return _Line(finetune_sample(example, self._tokenizer, self._config, source, window), example.lang)

    def _example_at(self, index: int) -> int:
        """Which example stands at place `index` of the endless sequence of shuffled epochs."""
        epoch, place = divmod(index, len(self._examples))
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self._config.seed, epoch]).permutation(len(self._examples)))
        return int(self._order[1][place])

    def _blank_lines(self, step: int) -> list[_Line]:
        if self._blanks is None:
            return []
        first = self.blank_rows_before(step)
        count = self.blank_rows_before(step + 1) - first
        if not count:
            return []
        samples, languages = self._blanks.samples(first, count)
        return [_Line(_row_of(samples, row), f"{BLANKS}{lang}") for row, lang in enumerate(languages)]

    def _padded(self, lines: Sequence[_Line]) -> MicroBatch:
        if self._config.fixed_length:
            length = longest_row(self._config, self._blanks)
        else:
            length = _padded_length(max(line.sample.input_ids_S.size for line in lines))
        rows = _stacked([line.sample.padded(length, self._tokenizer.eos_id) for line in lines])
        (batch,) = micro_batches(rows, [line.language for line in lines], len(lines), isolate_documents=False)
        return batch


def longest_row(config: FinetuneConfig, blanks: PretrainBatches | None) -> int:
    """Positions of the longest row there may be, with padding: of an example, or of blank infilling."""
    return _padded_length(max(config.source_length + config.target_length, blanks.row_length if blanks else 0))


def _padded_length(length: int) -> int:
    return -(-length // ROW_MULTIPLE) * ROW_MULTIPLE


def finetune_sample(
    example: Example,
    tokenizer: Tokenizer,
    config: FinetuneConfig,
    source: Sequence[Segment] | None = None,
    window: float = 0.0,
) -> Sample:
    """One example as a training row of at most `source_length` + `target_length` tokens; `source`, where given, is in
    place of its own. `window`, 0 ≤ u < 1, says which of a long source's windows is taken."""
    source = example.source if source is None else source
    if config.window_stride is None:
        asked = encode_source(tokenizer, source, config.source_length)
    else:
        windows = encode_windows(tokenizer, source, config.source_length, config.window_stride)
        chosen = windows_with_answer(windows, source, example.answers, tokenizer)
        asked = chosen[int(window * len(chosen))]
    target = tokenizer.encode(example.answer)
    complete = len(target) < config.target_length
    answer = [*target, tokenizer.eop_id] if complete else target[: config.target_length]
    context, size = len(asked.ids), len(answer)
    positions = [[*range(context), *[asked.mask_position] * size], [0] * context + [*range(1, size + 1)]]
    return Sample(
        np.array([*asked.ids, tokenizer.sop_id, *answer[:-1]], dtype=np.int64),
        np.array(positions, dtype=np.int64),
        np.array([NO_LOSS] * context + answer, dtype=np.int64),
        np.zeros(context + size, dtype=np.int64),
        context,
        "target",
        (),
    )


def _row_of(samples: Samples, row: int) -> Sample:
    """One sample of a batch, without its padding."""
    length = int(samples.length_B[row])
    return Sample(
        samples.input_ids_BS[row, :length],
        samples.position_ids_B2S[row, :, :length],
        samples.labels_BS[row, :length],
        samples.segment_ids_BS[row, :length],
        int(samples.context_length_B[row]),
        "blanks",
        (),
    )


def _stacked(samples: Sequence[Sample]) -> Samples:
    """Samples padded to one length as one batch."""
    segment_ids_BS = np.stack([sample.segment_ids_S for sample in samples])
    return Samples(
        np.stack([sample.input_ids_S for sample in samples]),
        np.stack([sample.position_ids_2S for sample in samples]),
        np.stack([sample.labels_S for sample in samples]),
        segment_ids_BS,
        np.array([sample.context_length for sample in samples], dtype=np.int64),
        (segment_ids_BS != NO_SEGMENT).sum(1),
    )
