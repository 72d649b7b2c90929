"""What answers examples: an exported model, decoding as the task and [eval] say.

A task with a window stride reads a long source in windows; the model answers each, and the answer it finds most
probable counts. A task with choices asks how probable each is instead (paper §2.3).
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from core.errors import MGLMError
from core.examples import Example
from eval.likelihood import span_log_probs
from eval.predict import Writer, Written
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

    def inputs(example: Example) -> list[SourceIds]:
        if stride is None:
            return [encode_source(summarizer.tokenizer, example.source, source_tokens)]
        return encode_windows(summarizer.tokenizer, example.source, source_tokens, stride)

    def write(examples: Sequence[Example]) -> list[Written]:
        chosen = [_choose(summarizer, example, source_tokens) if example.choices else None for example in examples]
        rows = [
            (number, window, ids)
            for number, example in enumerate(examples)
            if not example.choices
            for window, ids in enumerate(inputs(example))
        ]
        answers: list[tuple[int, Written]] = []
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            sources = [ids for _, _, ids in batch]
            if generation["do_sample"]:
                torch.manual_seed(_seed(decoding["seed"], sources))
            spans = summarizer.generate([ids.ids for ids in sources], **generation)
            for (number, window, ids), span in zip(batch, spans, strict=True):
                text = clean(summarizer.tokenizer.decode(span))
                score = _score(summarizer, ids, span, decoding) if stride is not None else None
                answers.append((number, Written(text, score=score, window=window)))
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
    return Written(first.text, score=first.score, windows=len(answers), window=first.window)


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


def _seed(seed: int, sources: Sequence[SourceIds]) -> int:
    """Of the batch's own content, so that a resumed run samples what an uninterrupted one would have."""
    content = repr((seed, [source.ids for source in sources])).encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=7).digest(), "big")
