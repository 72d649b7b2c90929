"""What answers examples: an exported model, decoding as the task and [eval] say.

A task with a window stride reads a long source in windows; the model answers each, and the answer it finds most
probable counts. Other long sources are cut, or condensed in passages (model.long_articles) where that is asked for.
A task with choices asks how probable each is instead (paper §2.3).
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from core.errors import MGLMError
from core.examples import Example
from eval.likelihood import span_log_probs
from eval.predict import Writer, Written
from model.long_articles import LongReader
from model.streaming import clean
from model.summarizer import Summarizer
from tokenizer.encoding import Tokenizer
from tokenizer.inputs import SourceIds, encode_source
from tokenizer.windows import encode_windows


def load_writer(directory: Path, decoding: Mapping[str, Any], batch_size: int) -> Writer:
    """Loads the model; the result answers a batch of examples."""
    return model_writer(Summarizer.from_pretrained(directory), decoding, batch_size)


def model_writer(summarizer: Summarizer, decoding: Mapping[str, Any], batch_size: int) -> Writer:
    """`decoding` has the fields of `eval.config.DECODING_FIELDS`; at most `batch_size` rows are generated at once."""
    source_tokens = decoding["max_source_tokens"] or summarizer.source_length
    stride = decoding["window_stride"]
    generation = generation_settings(decoding)
    in_passages = stride is None and decoding["long_articles"] == "passages"

    def answer(rows: list[list[int]], shorter: Mapping[str, Any]) -> list[list[int]]:
        settings = {**generation, **shorter}
        if settings["do_sample"]:
            torch.manual_seed(_seed(decoding["seed"], rows))
        return summarizer.generate(rows, **settings)

    def inputs(example: Example) -> list[SourceIds]:
        if stride is None:
            return [encode_source(summarizer.tokenizer, example.source, source_tokens)]
        return encode_windows(summarizer.tokenizer, example.source, source_tokens, stride)

    def read(example: Example) -> list[tuple[SourceIds, Written]]:
        """What is answered, and how it came to be, as an answer without words."""
        if in_passages:
            reader = LongReader(
                summarizer.tokenizer,
                answer,
                lambda: summarizer.sentences,
                batch_size=batch_size,
                max_passages=decoding["max_passages"],
            )
            reading = reader.read(example.source, source_tokens, generation)
            note = Written(
                "", passages=reading.passages, rounds=reading.rounds, left_out_tokens=reading.left_out_tokens
            )
            return [(reading.source, note)]
        made = inputs(example)
        left_out = 0
        if stride is None and len(made[0].ids) == source_tokens:
            left_out = len(encode_source(summarizer.tokenizer, example.source, 2**31).ids) - source_tokens
        return [(ids, Written("", window=window, left_out_tokens=left_out)) for window, ids in enumerate(made)]

    def write(examples: Sequence[Example]) -> list[Written]:
        chosen = [_choose(summarizer, example, source_tokens) if example.choices else None for example in examples]
        rows = [
            (number, ids, note)
            for number, example in enumerate(examples)
            if not example.choices
            for ids, note in read(example)
        ]
        answers: list[tuple[int, Written]] = []
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            spans = answer([ids.ids for _, ids, _ in batch], {})
            for (number, ids, note), span in zip(batch, spans, strict=True):
                text = clean(summarizer.tokenizer.decode(span))
                score = _score(summarizer, ids, span, decoding) if stride is not None else None
                answers.append((number, replace(note, text=text, score=score)))
        best = {number: _best([answer for _, answer in group]) for number, group in groupby(answers, lambda a: a[0])}
        return [best[number] if choice is None else choice for number, choice in enumerate(chosen)]

    return write


def generation_settings(decoding: Mapping[str, Any]) -> dict[str, Any]:
    """What transformers' `generate` is called with."""
    sampled = decoding["temperature"] is not None
    settings = {
        "max_new_tokens": decoding["max_new_tokens"],
        "num_beams": decoding["num_beams"],
        "no_repeat_ngram_size": decoding["no_repeat_ngram_size"],
        "length_penalty": decoding["length_penalty"] if decoding["num_beams"] > 1 else 1.0,  # greedy search has none
        "do_sample": sampled,
    }
    if decoding["min_new_tokens"]:
        settings["min_new_tokens"] = decoding["min_new_tokens"]
    if sampled:
        settings |= {"temperature": decoding["temperature"], "top_k": 0, "top_p": 1.0}
    return settings


def _score(summarizer: Summarizer, source: SourceIds, span: list[int], decoding: Mapping[str, Any]) -> float:
    """Log-probability of an answer and its end, by its length as in beam search: what ranks windows."""
    (total,) = span_log_probs(summarizer, [source], [span], ended=True)
    penalty = float(decoding["length_penalty"])
    return total / float(max(1, len(span)) ** penalty)


def _best(answers: Sequence[Written]) -> Written:
    """The most probable answer of all windows that has words; ties go to the first window."""
    first = max(answers, key=lambda answer: (bool(answer.text), answer.score or 0.0))
    return replace(first, windows=len(answers))


def _choose(summarizer: Summarizer, example: Example, source_tokens: int) -> Written:
    """The label whose verbalizers are most probable at the mask, on average (paper §2.3); its mean probability's
    log."""
    source = encode_source(summarizer.tokenizer, example.source, source_tokens)
    said = [(label, word) for label, words in example.choices.items() for word in words]
    spans = [_verbalizer(summarizer.tokenizer, word) for _, word in said]
    logs = span_log_probs(summarizer, [source] * len(said), spans, ended=False)
    means = {
        label: math.fsum(math.exp(log) for (of, _), log in zip(said, logs, strict=True) if of == label) / len(words)
        for label, words in example.choices.items()
    }
    label = max(means, key=lambda name: means[name])
    return Written(label, score=math.log(means[label]) if means[label] > 0 else -math.inf)


def _verbalizer(tokenizer: Tokenizer, word: str) -> list[int]:
    tokens = tokenizer.encode(word)
    if not tokens:
        raise MGLMError(f"verbalizer {word!r}", found="no token", expected="a word", action="mend the task's choices")
    return tokens


def _seed(seed: int, rows: Sequence[list[int]]) -> int:
    """Of the batch's own content, so that a resumed run samples what an uninterrupted one would have."""
    content = repr((seed, list(rows))).encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=7).digest(), "big")
