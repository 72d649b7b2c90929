"""Training samples as people can read them: to see, before a long run, what the model will learn from."""

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from core.config import RunConfig
from core.errors import MGLMError
from core.manifest import read_manifest
from core.plan import read_plan
from core.schemas import SHARDS
from model.config import ModelConfig
from tokenizer.encoding import Tokenizer
from tokenizer.sampler import Sampler
from tokenizer.shards import Shards
from train.batches import PretrainBatches, window_length
from train.blank_layout import Row, Sample
from train.config import PretrainConfig

_LOOKED_AT = 4_096  # samples at a time, to find those of a language with a small share


def preview(
    run_config: RunConfig, shards: Path, plan: Path | None, number: int, language: str | None
) -> Iterator[dict[str, Any]]:
    """The first `number` samples of a run, of one language where that is named; without a plan, languages are equal.

    Raises:
        MGLMError: inputs are missing, or the run never draws this language.
    """
    config, model = run_config.section("pretrain", PretrainConfig), run_config.section("model", ModelConfig)
    read_manifest(shards, SHARDS)
    opened = Shards.open(shards)
    tokenizer = Tokenizer.load(opened.tokenizer_directory)
    shares = read_plan(plan).shares() if plan is not None else dict.fromkeys(opened.languages, 1.0)
    sampler = Sampler(opened.stream_lengths(), shares, window_length(model.sequence_length, config), config.seed)
    if language is not None and language not in sampler.languages:
        drawn = ", ".join(sampler.languages)
        raise MGLMError(f"--language {language}", found="no sample of it", expected=f"one of {drawn}")
    batches = PretrainBatches(opened, sampler, tokenizer, config, model.sequence_length)
    for index in islice(_indices(sampler, config.windows_per_sequence, language), number):
        sample, row, lang = batches.sample(index)
        yield _record(index, lang, sample, row, tokenizer)


def _indices(sampler: Sampler, windows: int, language: str | None) -> Iterator[int]:
    """The numbers of the samples, of those with the language alone where it is named."""
    if language is None:
        yield from count()
    for first in count(0, _LOOKED_AT):
        draws = sampler.draw_many(first * windows, _LOOKED_AT * windows)
        yield from dict.fromkeys(first + place // windows for place, draw in enumerate(draws) if draw.lang == language)


def as_text(record: dict[str, Any]) -> str:
    """A record for a terminal: the context with numbered blanks, then the blanks in the order they are learnt.

    `at 17, 1 … 4`: all of a blank's tokens have the position 17, its mask's, and 1 to 4 within the blank.
    """
    blanks = record["blanks"]
    head = (
        f"sample {record['index']} · {record['lang']} · {record['mode']} · {record['row_tokens']} tokens, "
        f"{record['blanked_share']:.1%} in {len(blanks)} blank{'s' * (len(blanks) != 1)}"
    )
    lines = [head, f"  {record['context']}"]
    lines += [
        f"  ({number}) at {blank['position']}, 1 … {blank['size']}: {blank['text']}"
        for number, blank in enumerate(blanks, start=1)
    ]
    return "\n".join(line.replace("\n", "⏎") for line in lines)


def _record(index: int, lang: str, sample: Sample, row: Row, tokenizer: Tokenizer) -> dict[str, Any]:
    blanked = sum(stop - start for start, stop in sample.spans)
    begins = np.flatnonzero(sample.input_ids_S == tokenizer.sop_id)
    sizes = np.diff(begins, append=sample.input_ids_S.size).tolist()
    places = sample.position_ids_2S[0, begins].tolist()
    return {
        "index": index,
        "lang": lang,
        "mode": sample.mode,
        "row_tokens": int(row.tokens_S.size),
        "blanked_share": round(blanked / row.tokens_S.size, 4),
        "context": _context_text(sample, tokenizer),
        "blanks": [
            {
                "start": start,
                "stop": stop,
                "position": place,
                "size": size,
                "text": _readable(row.tokens_S[start:stop], tokenizer),
            }
            for (start, stop), place, size in zip(sample.spans, places, sizes, strict=True)
        ],
        "row_ids": row.tokens_S.tolist(),
        "input_ids": sample.input_ids_S.tolist(),
        "position_ids": sample.position_ids_2S.tolist(),
        "labels": sample.labels_S.tolist(),
        "segment_ids": sample.segment_ids_S.tolist(),
        "context_length": sample.context_length,
    }


def _context_text(sample: Sample, tokenizer: Tokenizer) -> str:
    """The context with every mask as `[MASK 1]`, numbered in the order of the blanks."""
    context = sample.input_ids_S[: sample.context_length]
    names = {tokenizer.mask_id: "MASK", tokenizer.smask_id: "sMASK", tokenizer.gmask_id: "gMASK"}
    masks = np.flatnonzero(np.isin(context, list(names)))
    # Masks stand in the context in the order of their spans' starts.
    number_of = {int(place): int(rank) + 1 for place, rank in zip(masks, _order_of(sample), strict=True)}
    text, start = [], 0
    for place in masks.tolist():
        text.append(_readable(context[start:place], tokenizer))
        text.append(f"[{names[int(context[place])]} {number_of[place]}]")
        start = place + 1
    return "".join([*text, _readable(context[start:], tokenizer)])


def _order_of(sample: Sample) -> list[int]:
    """For the spans sorted by place, their index in the sample's order."""
    return sorted(range(len(sample.spans)), key=lambda i: sample.spans[i][0])


def _readable(ids: np.ndarray, tokenizer: Tokenizer) -> str:
    """Text with [CLS] and end of document shown as such."""
    shown = {tokenizer.cls_id: "[CLS]", tokenizer.eos_id: "[EOS]"}
    places = np.flatnonzero(np.isin(ids, list(shown)))
    text, start = [], 0
    for place in places.tolist():
        text += [tokenizer.decode(ids[start:place].tolist()), shown[int(ids[place])]]
        start = place + 1
    return "".join([*text, tokenizer.decode(ids[start:].tolist())])
