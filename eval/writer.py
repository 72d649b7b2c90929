"""What answers examples: an exported model or another one, decoding as the task and [eval] say.

A task with a window stride reads a long source in windows; the model answers each, and the answer it finds most
probable counts. Other long sources are cut, or condensed in passages (model.long_articles) where that is asked for.
A task with choices asks how probable each is instead (paper §2.3).
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import torch

from core.errors import MGLMError
from core.examples import Example
from core.log import get_logger
from core.manifest import MANIFEST_NAME, read_manifest
from eval.lengths import in_passages_refused
from eval.likelihood import span_log_probs
from eval.predict import Writer, Written
from model.long_articles import LongReader
from model.peer import Peer
from model.peer_directory import PEER, peer_config
from model.streaming import clean
from model.summarizer import Summarizer
from tokenizer.inputs import SourceIds, encode_source
from tokenizer.windows import encode_windows


class Source(Protocol):
    """An example as a model reads it."""

    @property
    def ids(self) -> list[int]: ...


class Answerer(Protocol):
    """What a writer asks of a model; `model.peer.Peer` is one. Sources are those that its `sources` made."""

    @property
    def source_length(self) -> int: ...

    def sources(self, example: Example, most_tokens: int, stride: int | None) -> list[Any]: ...

    def generate(self, sources: Sequence[Any], **generation: Any) -> list[list[int]]: ...

    def log_probs(self, sources: Sequence[Any], spans: Sequence[list[int]], *, ended: bool) -> list[float]: ...

    def encode(self, text: str) -> list[int]: ...

    def decode(self, span: Sequence[int]) -> str: ...


class GLM:
    """An exported GLM as an Answerer."""

    def __init__(self, summarizer: Summarizer) -> None:
        self.summarizer = summarizer
        self.encode, self.decode = summarizer.tokenizer.encode, summarizer.tokenizer.decode

    @property
    def source_length(self) -> int:
        return self.summarizer.source_length

    def sources(self, example: Example, most_tokens: int, stride: int | None) -> list[SourceIds]:
        if stride is None:
            return [encode_source(self.summarizer.tokenizer, example.source, most_tokens)]
        return encode_windows(self.summarizer.tokenizer, example.source, most_tokens, stride)

    def condensed(
        self,
        example: Example,
        most_tokens: int,
        generation: Mapping[str, Any],
        answer: Callable[[Sequence[SourceIds], Mapping[str, Any]], list[list[int]]],
        batch_size: int,
        max_passages: int | None,
    ) -> tuple[SourceIds, Written]:
        """A source that fits, its long text read in passages where it must be; and a note that says so."""
        reader = LongReader(
            self.summarizer.tokenizer,
            lambda rows, settings: answer([SourceIds(row, 0) for row in rows], settings),
            lambda: self.summarizer.sentences,
            batch_size=batch_size,
            max_passages=max_passages,
        )
        reading = reader.read(example.source, most_tokens, generation)
        note = Written("", passages=reading.passages, rounds=reading.rounds, left_out_tokens=reading.left_out_tokens)
        return reading.source, note

    def generate(self, sources: Sequence[SourceIds], **generation: Any) -> list[list[int]]:
        return self.summarizer.generate([source.ids for source in sources], **generation)

    def log_probs(self, sources: Sequence[SourceIds], spans: Sequence[list[int]], *, ended: bool) -> list[float]:
        return span_log_probs(self.summarizer, sources, spans, ended=ended)


def load_writer(
    directory: Path, decoding: Mapping[str, Any], batch_size: int, *, trust_remote_code: bool = False
) -> Writer:
    """Loads the model, of whichever kind its config.json says; the result answers a batch of examples."""
    answerer = load_answerer(directory, trust_remote_code=trust_remote_code)
    stride, source_tokens = decoding["window_stride"], decoding["max_source_tokens"] or answerer.source_length
    if stride is not None and stride >= source_tokens:
        note = (
            "windows of %d tokens do not overlap at eval.window_stride %d: an answer between two stands whole in none"
        )
        get_logger("eval").warning(note, source_tokens, stride)
    return model_writer(answerer, decoding, batch_size)


def load_answerer(directory: Path, *, trust_remote_code: bool = False) -> Answerer:
    """An export of ours, a peer that was fine-tuned here, or a model as published."""
    if peer_config(directory) is None:
        return GLM(Summarizer.from_pretrained(directory))
    made = directory / MANIFEST_NAME
    trained = read_manifest(directory, PEER).facts["source_length"] if made.exists() else None
    return Peer.load(directory, trust_remote_code=trust_remote_code, source_length=trained)


def model_writer(model: Summarizer | Answerer, decoding: Mapping[str, Any], batch_size: int) -> Writer:
    """`decoding` has the fields of `eval.config.DECODING_FIELDS`; at most `batch_size` rows are generated at once."""
    answerer: Answerer = GLM(model) if isinstance(model, Summarizer) else model
    source_tokens = decoding["max_source_tokens"] or answerer.source_length
    stride = decoding["window_stride"]
    generation = generation_settings(decoding)
    in_passages = stride is None and decoding["long_articles"] == "passages"
    if in_passages and not isinstance(answerer, GLM):
        raise in_passages_refused()

    def answer(sources: Sequence[Any], shorter: Mapping[str, Any]) -> list[list[int]]:
        settings = {**generation, **shorter}
        if settings["do_sample"]:
            torch.manual_seed(_seed(decoding["seed"], sources))
        return answerer.generate(sources, **settings)

    def read(example: Example) -> list[tuple[Any, Written]]:
        """What is answered, and how it came to be, as an answer without words."""
        if in_passages and isinstance(answerer, GLM):
            return [
                answerer.condensed(example, source_tokens, generation, answer, batch_size, decoding["max_passages"])
            ]
        made = answerer.sources(example, source_tokens, stride)
        left_out = _left_out(answerer, example, made[0]) if stride is None else 0
        return [(source, Written("", window=window, left_out_tokens=left_out)) for window, source in enumerate(made)]

    def write(examples: Sequence[Example]) -> list[Written]:
        chosen = [_choose(answerer, example, source_tokens) if example.choices else None for example in examples]
        rows = [
            (number, source, note)
            for number, example in enumerate(examples)
            if not example.choices
            for source, note in read(example)
        ]
        answers: list[tuple[int, Written]] = []
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            spans = answer([source for _, source, _ in batch], {})
            for (number, source, note), span in zip(batch, spans, strict=True):
                text = clean(answerer.decode(span))
                score = _score(answerer, source, span, decoding) if stride is not None else None
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


def _score(answerer: Answerer, source: Source, span: list[int], decoding: Mapping[str, Any]) -> float:
    """Log-probability of an answer and its end, by its length as in beam search: what ranks windows."""
    (total,) = answerer.log_probs([source], [span], ended=True)
    penalty = float(decoding["length_penalty"])
    return total / float(max(1, len(span)) ** penalty)


def _best(answers: Sequence[Written]) -> Written:
    """The most probable answer of all windows that has words; ties go to the first window."""
    first = max(answers, key=lambda answer: (bool(answer.text), answer.score or 0.0))
    return replace(first, windows=len(answers))


def _choose(answerer: Answerer, example: Example, source_tokens: int) -> Written:
    """The label whose verbalizers are most probable at the mask, on average (paper §2.3); its mean probability's
    log."""
    (source,) = answerer.sources(example, source_tokens, None)
    said = [(label, word) for label, words in example.choices.items() for word in words]
    spans = [_verbalizer(answerer, word) for _, word in said]
    logs = answerer.log_probs([source] * len(said), spans, ended=False)
    means = {
        label: math.fsum(math.exp(log) for (of, _), log in zip(said, logs, strict=True) if of == label) / len(words)
        for label, words in example.choices.items()
    }
    label = max(means, key=lambda name: means[name])
    score = math.log(means[label]) if means[label] > 0 else -math.inf
    return Written(label, score=score, left_out_tokens=_left_out(answerer, example, source))


def _left_out(answerer: Answerer, example: Example, source: Source) -> int:
    """Tokens that were cut away. How many are left does not tell: several texts are cut to one length, and what is cut
    may be tokenised otherwise, so a cut source may be shorter than the model takes."""
    (whole,) = answerer.sources(example, 2**31, None)
    return len(whole.ids) - len(source.ids)


def _verbalizer(answerer: Answerer, word: str) -> list[int]:
    tokens = answerer.encode(word)
    if not tokens:
        raise MGLMError(f"verbalizer {word!r}", found="no token", expected="a word", action="mend the task's choices")
    return tokens


def _seed(seed: int, sources: Sequence[Source]) -> int:
    """Of the batch's own content, so that a resumed run samples what an uninterrupted one would have."""
    content = repr((seed, [source.ids for source in sources])).encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=7).digest(), "big")
