"""Measuring a model in training: bits per byte of held-out text, and blanks in it filled in. At any layout.

The windows and their scores are those of `mglm eval bits-per-byte`. All processes take part and all know the result.

Tensor names end in their shape: B rows, S positions, N positions with a loss, L languages, V this rank's vocabulary.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch import Tensor

from model.optimizer import gather_weights
from model.scored_windows import Window, cut_windows, rows_of
from tokenizer.encoding import Tokenizer
from train.job import Job

_CONTEXT_AROUND = 24  # tokens on each side of a blank that is filled in


@dataclass(frozen=True)
class Blank:
    """A place in a held-out text for the model to fill in."""

    lang: str
    before: list[int]
    hidden: list[int]
    after: list[int]


class Evaluation:
    """Held-out windows cut once, for every time they are scored."""

    def __init__(self, job: Job, texts: Mapping[str, Sequence[str]]) -> None:
        tokenizer, config = job.tokenizer, job.config
        self._job, self._tokenizer, self._languages = job, tokenizer, sorted(texts)
        windows = {lang: cut_windows(tokenizer, texts[lang], job.model.sequence_length) for lang in self._languages}
        self._bytes = {
            lang: sum(tokenizer.byte_length(window.span) for window in windows[lang]) for lang in self._languages
        }
        # Long ones together: little padding.
        every = [(index, window) for index, lang in enumerate(self._languages) for window in windows[lang]]
        every.sort(key=lambda item: -len(item[1].context) - len(item[1].span))
        self._micro_batches = _shared(every, config.micro_batch_size, job.topology.pipeline)
        self._blanks = _blanks(tokenizer, texts, job.sample_prompts, job.sample_tokens)

    def bits_per_byte(self, chunks: list[Any]) -> dict[str, Any]:
        """{"bits_per_byte", "macro", "languages": {code: bits per byte}}: by bytes, by languages, and each."""
        count = len(self._languages)
        length = self._job.model.sequence_length
        with _measuring(chunks):
            sums = self._pass(chunks, [self._scored(part, length) for part in self._micro_batches], length)
        nats_L = torch.zeros(count, dtype=torch.float64, device=torch.cuda.current_device())
        if sums and parallel_state.get_tensor_model_parallel_rank() == 0:
            nats_L += torch.stack(sums).sum(0)
        dist.all_reduce(nats_L)
        bits = dict(zip(self._languages, (nats_L / math.log(2)).tolist(), strict=True))
        each = {lang: bits[lang] / self._bytes[lang] for lang in self._languages if self._bytes[lang]}
        return {
            "bits_per_byte": sum(bits.values()) / max(sum(self._bytes.values()), 1),
            "macro": sum(each.values()) / max(len(each), 1),
            "languages": each,
        }

    def fill_blanks(self, chunks: list[Any]) -> list[dict[str, str]]:
        """For each blank its language, the text around it, what stood there and what the model writes, greedily."""
        if not self._blanks:
            return []
        tokenizer = self._tokenizer
        written: list[list[int]] = [[] for _ in self._blanks]
        length = max(len(blank.before) + len(blank.after) + 3 + len(blank.hidden) for blank in self._blanks)
        with _measuring(chunks):
            for _ in range(max(len(blank.hidden) for blank in self._blanks)):
                rows = [_blank_row(*pair, tokenizer, length) for pair in zip(self._blanks, written, strict=True)]
                for tokens, token in zip(written, self._next(chunks, rows, length), strict=True):
                    tokens.append(token)
                if all(tokenizer.eop_id in tokens for tokens in written):
                    break
        return [
            {
                "lang": blank.lang,
                "text": f"{tokenizer.decode(blank.before)}[MASK]{tokenizer.decode(blank.after)}",
                "truth": tokenizer.decode(blank.hidden),
                "written": tokenizer.decode(_until(tokens, tokenizer.eop_id)[: len(blank.hidden)]),
            }
            for blank, tokens in zip(self._blanks, written, strict=True)
        ]

    def _scored(self, part: Sequence[tuple[int, Window]], length: int) -> dict[str, Any]:
        rows = rows_of([window for _, window in part], self._tokenizer, length)
        return {
            "input_ids_BS": rows.input_ids_BS,
            "position_ids_B2S": rows.position_ids_B2S,
            "context_length_B": rows.context_length_B,
            "labels_BS": rows.labels_BS,
            "language_B": np.array([index for index, _ in part], dtype=np.int64),
        }

    def _next(self, chunks: list[Any], rows: Sequence[dict[str, Any]], length: int) -> list[int]:
        """The likeliest next token of each row, a piece or the end of the blank; all data-parallel ranks compute it."""
        stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        repeated = self._job.topology.pipeline if self._job.topology.virtual_pipeline > 1 else 1
        found = self._pass(chunks, [stacked] * repeated, length)
        chosen_B = torch.zeros(len(rows), dtype=torch.long, device=torch.cuda.current_device())
        is_teller = parallel_state.get_data_parallel_rank() == parallel_state.get_tensor_model_parallel_rank() == 0
        if found and is_teller:
            chosen_B += found[0]
        dist.all_reduce(chosen_B)
        return [int(token) for token in chosen_B.tolist()]

    def _pass(self, chunks: list[Any], micro_batches: Sequence[dict[str, Any]], length: int) -> list[Tensor]:
        """What `_forward` makes of each micro-batch; empty but on the last pipeline stage."""
        found: list[Tensor] = get_forward_backward_func()(
            forward_step_func=self._forward,
            data_iterator=[iter(micro_batches) for _ in chunks],
            model=chunks,
            num_microbatches=len(micro_batches),
            seq_length=self._job.topology.padded(length),
            micro_batch_size=len(micro_batches[0]["input_ids_BS"]),
            forward_only=True,
        )
        return found

    def _forward(self, micro_batches: Iterator[dict[str, Any]], model: Any) -> tuple[Tensor, Any]:
        device = torch.cuda.current_device()
        batch = {name: torch.from_numpy(array).to(device) for name, array in next(micro_batches).items()}
        language_B = batch.pop("language_B", None)
        output = model(**batch)
        if language_B is None:
            return output, lambda logits_BV: (logits_BV.sum(), torch.tensor(0), self._likeliest(logits_BV))
        scored_BS = batch["labels_BS"] != -100
        language_N = language_B[:, None].expand_as(scored_BS)[scored_BS]

        def sums(losses_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            nats_L = torch.zeros(len(self._languages), dtype=torch.float64, device=device)
            nats_L.index_add_(0, language_N, losses_N.detach().double())
            return losses_N.sum(), torch.tensor(losses_N.numel(), dtype=torch.int), nats_L

        return output, sums

    def _likeliest(self, logits_BV: Tensor) -> Tensor:
        """Of the whole vocabulary, which the tensor-parallel ranks hold in parts."""
        group = parallel_state.get_tensor_model_parallel_group()
        first = parallel_state.get_tensor_model_parallel_rank() * logits_BV.shape[1]
        ids_V = torch.arange(first, first + logits_BV.shape[1], device=logits_BV.device)
        writable_V = (ids_V < self._tokenizer.pieces) | (ids_V == self._tokenizer.eop_id)
        best_B, place_B = logits_BV.float().masked_fill(~writable_V, -math.inf).max(-1)
        highest_B = best_B.clone()
        dist.all_reduce(highest_B, op=dist.ReduceOp.MAX, group=group)
        id_B = torch.where(best_B == highest_B, ids_V[place_B], 2**31)
        dist.all_reduce(id_B, op=dist.ReduceOp.MIN, group=group)
        return id_B


@contextmanager
def _measuring(chunks: list[Any]) -> Iterator[None]:
    """The weights of the last update on all ranks, without dropout and without gradients."""
    gather_weights(chunks)
    for chunk in chunks:
        chunk.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for chunk in chunks:
            chunk.train()


def _shared(windows: Sequence[tuple[int, Window]], rows: int, pipeline: int) -> list[list[tuple[int, Window]]]:
    """This data-parallel rank's micro-batches of `rows` windows, filled up with empty ones.

    Every rank has as many, a multiple of the pipeline's length: interleaved stages take nothing else.
    """
    data_rank, data_size = parallel_state.get_data_parallel_rank(), parallel_state.get_data_parallel_world_size()
    number = -(-len(windows) // (rows * data_size))
    number = -(-number // pipeline) * pipeline
    filled = [*windows, *[(0, Window([], []))] * (number * rows * data_size - len(windows))]
    batches = [filled[start : start + rows] for start in range(0, len(filled), rows)]
    return batches[data_rank::data_size]


def _blanks(tokenizer: Tokenizer, texts: Mapping[str, Sequence[str]], number: int, most: int) -> list[Blank]:
    """One blank in the first text of each of `number` languages, evenly spread over their codes; of texts too short,
    none."""
    found = []
    for lang in sorted(texts):
        tokens = next((ids for ids in tokenizer.encode_batch(list(texts[lang])) if len(ids) >= 4), None)
        if tokens is not None:
            size = min(most, len(tokens) // 4)
            start = min(_CONTEXT_AROUND, (len(tokens) - size) // 2)
            stop = start + size
            found.append(Blank(lang, tokens[:start], tokens[start:stop], tokens[stop : stop + _CONTEXT_AROUND]))
    count = min(number, len(found))
    return [found[index * len(found) // count] for index in range(count)]


def _blank_row(blank: Blank, written: Sequence[int], tokenizer: Tokenizer, length: int) -> dict[str, Any]:
    """The blank with what is written in it so far; `read_B` is where the next token is told."""
    context = [tokenizer.cls_id, *blank.before, tokenizer.mask_id, *blank.after]
    place, size = len(blank.before) + 1, min(1 + len(written), length - len(context))
    ids_S = np.full(length, tokenizer.pad_id, dtype=np.int64)
    ids_S[: len(context) + size] = [*context, tokenizer.sop_id, *written][: len(context) + size]
    positions_2S = np.zeros((2, length), dtype=np.int64)
    positions_2S[0, : len(context)] = np.arange(len(context))
    positions_2S[0, len(context) :] = place
    positions_2S[1, len(context) :] = np.arange(1, length - len(context) + 1)
    return {
        "input_ids_BS": ids_S,
        "position_ids_B2S": positions_2S,
        "context_length_B": np.int64(len(context)),
        "read_B": np.int64(len(context) + size - 1),
    }


def _until(tokens: Sequence[int], end: int) -> list[int]:
    return list(tokens[: tokens.index(end)]) if end in tokens else list(tokens)
