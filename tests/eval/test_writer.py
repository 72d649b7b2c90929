"""What answers examples: windows chosen by score, labels by probability, samples the same again after a kill."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from core.examples import Example, Segment
from eval.config import EvalConfig
from eval.likelihood import span_log_probs
from eval.writer import model_writer
from model.streaming import clean
from model.summarizer import Summarizer
from tokenizer.inputs import encode_source
from tokenizer.prompts import source
from tokenizer.windows import encode_windows


@pytest.fixture(scope="module")
def summarizer(export: Path) -> Summarizer:
    return Summarizer.from_pretrained(export, device="cpu")


def decoding(**fields: Any) -> dict[str, Any]:
    return EvalConfig(max_source_tokens=60, max_new_tokens=5, num_beams=2, **fields).decoding()


def question(number: int, times: int) -> Example:
    segments = source("question", "en", context="The fog was late. " * times, question="Who?")
    return Example(id=str(number), task="t", lang="en", target_lang="en", split="heldout", source=segments, target="x")


def test_a_spans_log_probability_is_the_sum_of_its_tokens(summarizer: Summarizer) -> None:
    tokenizer = summarizer.tokenizer
    sources = [encode_source(tokenizer, question(n, n).source, 60) for n in (1, 2, 4)]
    spans = [tokenizer.encode(text) for text in ("fog", "the harbour", "late")]
    together = span_log_probs(summarizer, sources, spans, ended=True)
    for given, span, total in zip(sources, spans, together, strict=True):
        ids = torch.tensor([[*given.ids, tokenizer.sop_id, *span]])
        with torch.inference_mode():
            logits_SV = summarizer.model(input_ids=ids).logits[0, len(given.ids) :]
        by_hand = sum(float(row[token]) for row, token in zip(logits_SV.log_softmax(-1), [*span, tokenizer.eop_id]))  # noqa: B905
        assert total == pytest.approx(by_hand, abs=1e-4)
        (alone,) = span_log_probs(summarizer, [given], [span], ended=True)
        assert alone == pytest.approx(total, abs=1e-4)


def test_the_answer_of_the_window_with_the_highest_score_is_taken(summarizer: Summarizer) -> None:
    settings = decoding(window_stride=8, length_penalty=0.0)
    example = question(1, 9)
    windows = encode_windows(summarizer.tokenizer, example.source, 60, 8)
    assert len(windows) > 3
    (chosen,) = model_writer(summarizer, settings, batch_size=3)([example])
    answers = []
    for ids in windows:
        (span,) = summarizer.generate([ids.ids], max_new_tokens=5, num_beams=2, length_penalty=0.0,
                                      no_repeat_ngram_size=3, do_sample=False)  # fmt: skip
        (score,) = span_log_probs(summarizer, [ids], [span], ended=True)
        answers.append((score, clean(summarizer.tokenizer.decode(span))))
    best = max(range(len(answers)), key=lambda index: answers[index][0])
    assert (chosen.window, chosen.windows) == (best, len(windows))
    assert chosen.score == pytest.approx(answers[best][0], abs=1e-4)
    assert chosen.text == answers[best][1]


def test_batches_and_windows_do_not_change_answers(summarizer: Summarizer) -> None:
    examples = [question(number, times) for number, times in enumerate((8, 1, 5))]
    settings = decoding(window_stride=10)
    together = model_writer(summarizer, settings, batch_size=4)(examples)
    alone = [answer for each in examples for answer in model_writer(summarizer, settings, batch_size=1)([each])]
    assert [(a.text, a.window) for a in together] == [(a.text, a.window) for a in alone]
    assert together[1].windows == 1


def test_a_label_is_chosen_by_the_mean_probability_of_its_verbalizers(summarizer: Summarizer) -> None:
    choices = {"yes": [" fog", " late"], "no": [" the"], "maybe": [" harbour was"]}
    segments = source("paraphrase", "", first="The ferry left.", second="It stayed", mask="[MASK]")
    example = Example(id="1", task="t", lang="en", target_lang="en", split="heldout", source=segments, target="no",
                      choices=choices)  # fmt: skip
    settings = decoding() | {"max_source_tokens": 95}
    (chosen,) = model_writer(summarizer, settings, batch_size=2)([example])
    given = encode_source(summarizer.tokenizer, segments, 95)
    means = {}
    for label, words in choices.items():
        logs = [
            span_log_probs(summarizer, [given], [summarizer.tokenizer.encode(word)], ended=False)[0] for word in words
        ]
        means[label] = sum(map(math.exp, logs)) / len(words)
    assert chosen.text == max(means, key=lambda label: means[label])
    assert chosen.score == pytest.approx(math.log(means[chosen.text]), abs=1e-3)


def test_sampling_depends_on_the_seed_and_on_nothing_else(summarizer: Summarizer) -> None:
    examples = [question(number, 2) for number in range(2)]

    def sampled(seed: int) -> list[str]:
        settings = decoding(temperature=3.0, seed=seed) | {"num_beams": 1, "max_new_tokens": 12}
        torch.manual_seed(torch.seed() % 1000)  # whatever stood there before
        return [answer.text for answer in model_writer(summarizer, settings, batch_size=2)(examples)]

    assert sampled(1) == sampled(1)
    assert sampled(1) != sampled(2)
    assert decoding()["temperature"] is None


def test_at_least_so_many_tokens_are_written_if_asked_for(summarizer: Summarizer) -> None:
    settings = decoding(min_new_tokens=5, no_repeat_ngram_size=0) | {"num_beams": 1}
    (answer,) = model_writer(summarizer, settings, batch_size=1)([question(1, 1)])
    assert answer.score is None  # nothing was chosen among windows
    assert EvalConfig(num_beams=3).decoding({"num_beams": 5, "length_penalty": 0.0}) == EvalConfig().decoding() | {
        "num_beams": 3, "length_penalty": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize(("most", "choices"), [(60, {}), (61, {}), (62, {"x": [" fog"]})])
def test_what_is_left_out_of_several_texts_is_told_wherever_their_common_length_ends(
    summarizer: Summarizer, most: int, choices: dict[str, list[str]]
) -> None:
    times = ("The fog was late. " * n for n in (20, 21, 22))
    texts = [Segment(kind="text", value=text) for text in times]
    asked = question(1, 1).model_copy(update={"source": [*texts, Segment(kind="mask", value="[sMASK]")]})
    asked = asked.model_copy(update={"choices": choices})
    (answer,) = model_writer(summarizer, decoding() | {"max_source_tokens": most}, batch_size=1)([asked])
    whole, read = (len(encode_source(summarizer.tokenizer, asked.source, n).ids) for n in (10_000, most))
    assert answer.left_out_tokens == whole - read > 0


def test_what_does_not_fit_is_told_or_read_in_passages(summarizer: Summarizer) -> None:
    def summary(times: int) -> Example:
        segments = source("summary", "en", text="The fog was late. " * times)
        return question(times, 1).model_copy(update={"source": segments})

    examples = [summary(1), summary(60)]
    fitting, cut = model_writer(summarizer, decoding(), batch_size=2)(examples)
    assert (fitting.left_out_tokens, cut.passages) == (0, 1)
    whole = len(encode_source(summarizer.tokenizer, examples[1].source, 10_000).ids)
    assert cut.left_out_tokens == whole - 60
    alike, read = model_writer(summarizer, decoding(long_articles="passages"), batch_size=2)(examples)
    assert alike == fitting
    assert (read.left_out_tokens, read.windows) == (0, 1)
    assert read.passages > 5
    assert read.rounds >= 1
    (part,) = model_writer(summarizer, decoding(long_articles="passages", max_passages=2), batch_size=2)(examples[1:])
    assert part.passages == 2
    assert 0 < part.left_out_tokens < whole
