"""Our exported model in lm-evaluation-harness (`pip install lm-eval`): its command line, with a model called `mglm`.

    python -m eval.harness run --model mglm --model_args pretrained=MODEL --tasks NAME [--include_path DIR] …

A request is put as pretraining's generation is: `[CLS] context [gMASK] [sop] continuation`; `mask=[sMASK]` in
--model_args asks for sentences as fine-tuning does. Requests of tasks that `mglm eval harness` wrote are read, decoded
and cut as `mglm eval predict` does. Text has no plain left-to-right likelihood in GLM: `loglikelihood_rolling` gives
each stretch of a text the stretch before it as context.
"""

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from core.errors import MGLMError
from core.examples import Example
from eval.config import DECODING_FIELDS
from eval.harness_tasks import temperature_of
from eval.likelihood import span_scores
from eval.writer import model_writer
from model.streaming import clean
from model.summarizer import Summarizer
from tokenizer.inputs import SourceIds, encode_source

NAME = "mglm"
MASKS = ("[MASK]", "[sMASK]", "[gMASK]")


class MGLMHarness(LM):  # type: ignore[misc]  # the harness need not be there
    """What the harness asks of a model, answered by a Summarizer."""

    def __init__(
        self,
        pretrained: str,
        batch_size: int | str = 8,
        device: str | None = None,
        precision: str | None = None,
        mask: str = "[gMASK]",
        **_: Any,
    ) -> None:
        """
        Raises:
            MGLMError: no export there, or no such mask.
        """
        super().__init__()
        if mask not in MASKS:
            raise MGLMError("mask in --model_args", found=mask, expected=f"one of {', '.join(MASKS)}")
        self.summarizer = Summarizer.from_pretrained(Path(pretrained), device, precision)
        self.rows = int(batch_size) if str(batch_size).isdecimal() else 8  # "auto" is the harness's own
        self._mask_id = self.summarizer.tokenizer.command_id(mask)
        config = self.summarizer.model.config
        self._context, self._span = int(config.max_position_embeddings) - 2, int(config.max_position_embeddings) - 1
        self._stretch = int(config.sequence_length) // 2

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Σ log p of each continuation in nats, its end token not counted, and whether it is the greedy one."""
        rows: list[tuple[int, SourceIds, list[int]]] = []
        for number, request in enumerate(requests):
            context, continuation = request.args
            span = self.summarizer.tokenizer.encode(continuation)
            example, decoding = ours(request.doc)
            if example is not None and continuation in request.doc["choices"]:
                length = decoding["max_source_tokens"] or self.summarizer.source_length
                rows.append((number, encode_source(self.summarizer.tokenizer, example.source, length), span))
            else:
                rows += [(number, *part) for part in self._parts(context, span, self._span)]
        return self._added_up(rows, len(requests))

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """Σ log p of each text in nats, stretch by stretch, each of half the length of pretraining's sequences."""
        rows = [
            (number, *part)
            for number, request in enumerate(requests)
            for part in self._parts("", self.summarizer.tokenizer.encode(request.args[0]), self._stretch)
        ]
        return [total for total, _ in self._added_up(rows, len(requests))]

    def generate_until(self, requests: list[Any]) -> list[str]:
        """What follows each context, up to the first of the stop strings."""
        written: dict[int, str] = {}
        order = sorted(range(len(requests)), key=lambda index: repr(requests[index].args[1]))
        for _, group in groupby(order, key=lambda index: repr(requests[index].args[1])):
            of_settings = list(group)
            settings = dict(requests[of_settings[0]].args[1])
            stops = settings.pop("until", None) or []
            settings["max_new_tokens"] = settings.pop("max_gen_toks", None) or settings.get("max_new_tokens", 200)
            told = {index: ours(requests[index].doc) for index in of_settings}
            tasks = [index for index in of_settings if told[index][0] is not None]
            others = [index for index in of_settings if told[index][0] is None]
            for index, text in [*self._answers(tasks, told, settings), *self._texts(others, requests, settings)]:
                ends = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
                written[index] = text[: min(ends, default=len(text))]
        return [written[index] for index in range(len(requests))]

    def _answers(self, indices: Sequence[int], told: Any, settings: dict[str, Any]) -> list[tuple[int, str]]:
        """Of tasks of ours: as `mglm eval predict` answers, with what the command line says about decoding."""
        found = []
        known = {name: value for name, value in settings.items() if name in DECODING_FIELDS}
        for start in range(0, len(indices), self.rows):
            batch = indices[start : start + self.rows]
            decoding = told[batch[0]][1]
            drawn = {"temperature": temperature_of(settings, decoding["temperature"])}
            write = model_writer(self.summarizer, {**decoding, **known, **drawn}, self.rows)
            answers = write([told[index][0] for index in batch])
            found += [(index, answer.text) for index, answer in zip(batch, answers, strict=True)]
        return found

    def _texts(self, indices: Sequence[int], requests: list[Any], settings: dict[str, Any]) -> list[tuple[int, str]]:
        found = []
        beams = settings.get("num_beams", 1)
        temperature = temperature_of({"do_sample": False, **settings})
        wanted = {"num_beams": beams, "no_repeat_ngram_size": 0, **settings, "do_sample": temperature is not None}
        wanted.pop("temperature", None)
        if temperature is not None:
            wanted["temperature"] = temperature
        wanted["max_new_tokens"] = min(int(wanted["max_new_tokens"]), self._span)
        by_length = sorted(indices, key=lambda index: len(requests[index].args[0]))
        for start in range(0, len(by_length), self.rows):
            batch = by_length[start : start + self.rows]
            contexts = [self.summarizer.tokenizer.encode(requests[index].args[0]) for index in batch]
            spans = self.summarizer.generate(
                [self._source(ids).ids for ids in contexts], **self.summarizer.settings(wanted)
            )
            found += [
                (index, clean(self.summarizer.tokenizer.decode(span))) for index, span in zip(batch, spans, strict=True)
            ]
        return found

    def _source(self, context: Sequence[int]) -> SourceIds:
        """`[CLS] context [gMASK]`; of a context too long, its end."""
        kept = list(context)[-self._context :]
        return SourceIds([self.summarizer.tokenizer.cls_id, *kept, self._mask_id], 1 + len(kept))

    def _parts(self, context: str, span: list[int], most: int) -> list[tuple[SourceIds, list[int]]]:
        """A continuation in parts of at most `most` tokens, each after all before it that fits."""
        before = self.summarizer.tokenizer.encode(context)
        room = most if not context else self._context
        return [
            (self._source([*before, *span[:start]][-room:]), span[start : start + most])
            for start in range(0, len(span), most)
        ]

    def _added_up(self, rows: Sequence[tuple[int, SourceIds, list[int]]], count: int) -> list[tuple[float, bool]]:
        """Scores of rows, together for each request; a continuation without tokens is certain."""
        totals, greedy = [0.0] * count, [True] * count
        by_length = sorted(rows, key=lambda row: len(row[1].ids) + len(row[2]))
        for start in range(0, len(by_length), self.rows):
            batch = by_length[start : start + self.rows]
            scores = span_scores(self.summarizer, [row[1] for row in batch], [row[2] for row in batch], ended=False)
            for (number, _, _), (total, is_greedy) in zip(batch, scores, strict=True):
                totals[number] += total
                greedy[number] &= is_greedy
        return list(zip(totals, greedy, strict=True))


def ours(doc: Any) -> tuple[Example | None, dict[str, Any]]:
    """The example and its decoding, where the harness's row is one that `mglm eval harness` wrote."""
    if not isinstance(doc, dict) or "mglm" not in doc:
        return None, {}
    told = json.loads(doc["mglm"])
    return Example.model_validate(told["example"]), told["decoding"]


def main() -> None:
    """The harness's own command line."""
    from lm_eval.__main__ import cli_evaluate

    register_model(NAME)(MGLMHarness)
    cli_evaluate()


if __name__ == "__main__":
    main()
