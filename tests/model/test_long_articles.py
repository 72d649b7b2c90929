"""Articles beyond the context: read in passages, all of them; those that fit are untouched."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from core.errors import MGLMError
from model.long_articles import LongReader
from model.summarizer import Summarizer, SummaryRequest
from tests.serve.tiny_model import MOST_TOKENS, SENTENCE, SOURCE_LENGTH, article, write_model
from tokenizer.inputs import encode_source
from tokenizer.prompts import source, summary_source

WORDS = 100_000
# A sentence in each of several scripts; the last two space no words.
TEXTS = {
    "en": f"{SENTENCE.capitalize()}. ",
    "ar": "نهر جسر ماء ربيع. ",
    "hi": "शहर नदी पुल पानी। ",
    "zh": "河水上涨。",
    "th": "แม่น้ำขึ้นในฤดูใบไม้ผลิ ",
}
QUICK: dict[str, Any] = {"num_beams": 1, "max_new_tokens": 8, "no_repeat_ngram_size": 0}


@pytest.fixture(scope="module")
def summarizer(tmp_path_factory: pytest.TempPathFactory) -> Summarizer:
    return Summarizer.from_pretrained(write_model(tmp_path_factory.mktemp("tiny") / "model"), device="cpu")


class Scribe:
    """Answers each row with some of its own tokens, and remembers what it was given."""

    def __init__(self, tokens: int) -> None:
        self.tokens, self.rows, self.settings = tokens, list[list[int]](), list[Any]()
        self.batches: list[int] = []

    def __call__(self, rows: list[list[int]], settings: Any) -> list[list[int]]:
        self.rows += rows
        self.batches.append(len(rows))
        self.settings.append(settings)
        return [row[1 : 1 + min(self.tokens, settings["max_new_tokens"])] for row in rows]


def reader(summarizer: Summarizer, generate: Callable[..., Any], **more: Any) -> LongReader:
    return LongReader(summarizer.tokenizer, generate, lambda: summarizer.sentences, **more)


@pytest.mark.parametrize("lang", TEXTS)
def test_every_token_of_a_long_text_is_read_once(summarizer: Summarizer, lang: str) -> None:
    tokenizer, scribe = summarizer.tokenizer, Scribe(12)
    text = (TEXTS[lang] * 300).strip()
    segments = summary_source(text, "zh")
    read = reader(summarizer, scribe, batch_size=4).read(segments, SOURCE_LENGTH, {"max_new_tokens": 200})
    around = len(encode_source(tokenizer, summary_source("", "zh"), 100).ids)
    prompt = around - 1
    first_round = [row[1:-prompt] for row in scribe.rows[: read.passages]]
    assert sorted(len(row) for row in first_round) == [len(row) for row in first_round]  # little padding
    assert sum(map(len, first_round)) == read.text_tokens == len(tokenizer.encode(text))
    assert read.left_out_tokens == 0
    assert read.read_share == 1
    assert read.passages > 10
    assert read.rounds >= 2
    assert read.read_tokens == sum(map(len, scribe.rows))
    assert max(map(len, scribe.rows)) <= SOURCE_LENGTH
    assert len(read.source.ids) <= SOURCE_LENGTH
    assert read.source.ids[read.source.mask_position] == tokenizer.smask_id
    assert max(scribe.batches) == 4  # memory does not depend on the length
    assert all(settings["max_new_tokens"] <= SOURCE_LENGTH // 3 for settings in scribe.settings)


def test_titles_keep_their_mask_and_a_limit_is_told(summarizer: Summarizer) -> None:
    scribe = Scribe(12)
    text = "the river rises. " * 500
    segments = source("title", "en", text=text)
    read = reader(summarizer, scribe, max_passages=5).read(segments, SOURCE_LENGTH, {"max_new_tokens": 10})
    assert read.passages == 5
    assert 0 < read.read_share < 0.5
    assert read.left_out_tokens == round((1 - read.read_share) * read.text_tokens)
    assert read.source.ids[read.source.mask_position] == summarizer.tokenizer.mask_id
    with pytest.raises(MGLMError, match="beside the prompt"):
        reader(summarizer, scribe).read(segments, 20, {"max_new_tokens": 10})


def test_what_fits_is_as_it_always_was(summarizer: Summarizer, tmp_path: Path) -> None:
    texts = [article(number, words) for number, words in enumerate((8, 40, 24))]
    cutting = Summarizer(summarizer.model, summarizer.tokenizer, long_articles="cut")
    long = article(9, 400)
    alone = summarizer.summarize_batch([SummaryRequest(text, "en", QUICK) for text in texts])
    told: list[int] = []
    requests = [SummaryRequest(text, "en", QUICK) for text in (long, *texts)]
    beside = summarizer.summarize_batch(requests, tell=lambda index, _: told.append(index))
    assert beside[1:] == alone == cutting.summarize_batch([SummaryRequest(text, "en", QUICK) for text in texts])
    assert told == [1, 2, 3, 0]  # nobody waits for a long one
    assert all((summary.passages, summary.rounds, summary.read_share) == (1, 0, 1.0) for summary in alone)
    assert beside[0].passages > 4
    (cut,) = cutting.summarize_batch([SummaryRequest(long, "en", QUICK)])
    assert (cut.truncated, cut.passages) == (True, 1)
    assert 0 < cut.read_share < 1
    assert beside[0].truncated is False


def test_a_stream_and_a_batch_read_a_long_article_alike(summarizer: Summarizer) -> None:
    request = SummaryRequest(article(3, 500), "zh", QUICK)
    (summary,) = summarizer.summarize_batch([request])
    assert "".join(summarizer.stream(request)) == summary.text
    assert summarizer.summarize(request.text, "zh", **QUICK) == summary.text
    stopped = iter([False] * 5)
    (early,) = summarizer.summarize_batch([request], stop=lambda _: next(stopped, True))
    assert early.output_tokens == 0 or early.read_share < 1 or early.text != summary.text


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_an_article_of_a_hundred_thousand_words(
    summarizer: Summarizer, lang: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("mglm"), "propagate", True)
    sizes: list[tuple[int, int]] = []
    generate = summarizer.generate

    def measured(rows: Sequence[list[int]], **settings: Any) -> list[list[int]]:
        sizes.append((len(rows), max(map(len, rows))))
        return generate(rows, **settings)

    monkeypatch.setattr(summarizer, "generate", measured)
    words = {"en": len(SENTENCE.split()), "zh": 3}[lang]
    text = TEXTS[lang] * (WORDS // words)
    with caplog.at_level(logging.INFO, logger="mglm"):
        (summary,) = summarizer.summarize_batch([SummaryRequest(text, "en", {**QUICK, "max_new_tokens": 4})])
    assert summary.passages > 1000
    assert summary.read_share == 1
    assert summary.rounds >= 2
    assert summary.output_tokens <= MOST_TOKENS
    assert max(rows for rows, _ in sizes) <= 8
    assert max(length for _, length in sizes) <= SOURCE_LENGTH
    assert f"in {summary.passages} passages and {summary.rounds} rounds, 100.0% of it" in caplog.text
