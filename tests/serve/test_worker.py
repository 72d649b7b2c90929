import queue
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import MGLMError
from model.summarizer import Summarizer, SummaryRequest
from serve import worker
from serve.worker import Inbox, batch, described, generate, limit, stream, work_through
from tests.serve.tiny_model import article

SETTINGS = {"num_beams": 2, "max_new_tokens": 6}


def jobs_of(*texts: str) -> list[dict[str, Any]]:
    return [{"id": number, "text": text, "target": "en", "generation": SETTINGS} for number, text in enumerate(texts)]


def test_a_text_that_fails_takes_no_other_of_its_batch_along(summarizer: Summarizer) -> None:
    told: list[Mapping[str, Any]] = []
    inbox: Any = SimpleNamespace(nobody_waits=lambda ids: False)
    generate(summarizer, jobs_of(article(1), "", article(2)), batch, inbox, told.append)
    by_id = {message["id"]: message for message in told}
    assert len(told) == len(by_id) == 3, "one answer each"
    for number, text in ((0, article(1)), (2, article(2))):
        assert by_id[number]["summary"] == summarizer.summarize_batch([SummaryRequest(text, "en", SETTINGS)])[0].text
    assert (by_id[1]["error"], by_id[1]["detail"]) == (
        "generation_failed",
        "text 1; found an empty text; expected an article. Give some text",
    )


def test_what_was_answered_before_a_failure_is_not_written_again_nor_what_nobody_waits_for() -> None:
    told: list[Mapping[str, Any]] = []
    asked: list[list[int]] = []

    def work(_: Any, jobs: list[dict[str, Any]], inbox: Any, tell: Any) -> None:
        asked.append([job["id"] for job in jobs])
        tell({"id": jobs[0]["id"], "summary": "a"})
        if len(jobs) > 1:
            raise RuntimeError("the text")

    inbox: Any = SimpleNamespace(nobody_waits=lambda ids: ids == [2])
    sound: Any = SimpleNamespace(model=SimpleNamespace(device="cpu"))
    generate(sound, jobs_of("a", "b", "c"), work, inbox, told.append)
    assert asked == [[0, 1, 2], [1]]
    assert [message["id"] for message in told] == [0, 1]


def test_a_worker_whose_device_no_longer_computes_ends_and_answers_nothing() -> None:
    told: list[Mapping[str, Any]] = []

    def work(*_: Any) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    inbox: Any = SimpleNamespace(nobody_waits=lambda ids: False)
    lost: Any = SimpleNamespace(model=SimpleNamespace(device="meta"))  # where nothing can be read
    with pytest.raises(SystemExit):
        generate(lost, jobs_of("a", "b"), work, inbox, told.append)
    assert not told, "its texts are tried in another process"
    sound: Any = SimpleNamespace(model=SimpleNamespace(device="cpu"))
    generate(sound, jobs_of("a"), work, inbox, told.append)
    assert [message["error"] for message in told] == ["generation_failed"]


@pytest.mark.parametrize("work", [batch, stream])
def test_no_more_passages_than_texts_are_in_the_model_at_once(
    summarizer: Summarizer, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    generated = summarizer.generate

    def counted(sources: Any, **settings: Any) -> list[list[int]]:
        rows.append(len(sources))
        return generated(sources, **settings)

    monkeypatch.setattr(summarizer, "generate", counted)
    told: list[Mapping[str, Any]] = []
    inbox: Any = SimpleNamespace(nobody_waits=lambda ids: False)
    (job,) = jobs_of(article(3, words=600))
    job["generation"] = {"num_beams": 1, "max_new_tokens": 6}
    work(summarizer, [job], inbox, told.append, max_batch=2)
    assert told[-1]["passages"] > 2
    assert max(rows) == 2


def test_the_longest_summary_is_what_the_model_has_positions_for(summarizer: Summarizer) -> None:
    most = described(summarizer)["most_new_tokens"]
    assert summarizer.settings({"max_new_tokens": most})
    with pytest.raises(MGLMError, match="max_new_tokens"):
        summarizer.settings({"max_new_tokens": most + 1})


@pytest.mark.parametrize(
    ("beams", "tokens", "kept"), [(4, 200, (4, 200)), (2, 300, (2, 256)), (None, None, (1, 256)), (8, 30, (4, 30))]
)
def test_defaults_of_an_export_are_no_larger_than_the_limits(
    beams: int | None, tokens: int | None, kept: tuple[int, int]
) -> None:
    settings = SimpleNamespace(num_beams=beams, max_new_tokens=tokens)
    limit(settings, max_beams=4, max_new_tokens=256)
    assert (settings.num_beams, settings.max_new_tokens) == kept


def test_a_long_article_that_nobody_waits_for_is_given_up_whatever_became_of_its_batch(
    summarizer: Summarizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One text is answered before, one goes on after it: neither keeps it running, and it takes neither along."""
    cancelled: set[int] = set()
    told: dict[int, Mapping[str, Any]] = {}
    inbox: Any = SimpleNamespace(nobody_waits=lambda ids: cancelled.issuperset(ids))

    def tell(message: Mapping[str, Any]) -> None:
        told[message["id"]] = message
        if message["id"] == 0:
            cancelled.add(1)  # its client leaves now; who has an answer cancels nothing

    passes: list[int] = []
    generated = summarizer.generate

    def counted(sources: Any, **settings: Any) -> list[list[int]]:
        passes.append(len(told))
        return generated(sources, **settings)

    monkeypatch.setattr(summarizer, "generate", counted)
    jobs = jobs_of(article(1), article(2, words=200), article(3, words=200))
    batch(summarizer, jobs, inbox, tell, max_batch=1)
    assert passes.count(1) == 1, "no pass but the last one, which ends at its first token"
    assert told[1]["output_tokens"] <= 1
    assert passes.count(2) > told[2]["passages"] > 2
    (alone,) = summarizer.summarize_batch([SummaryRequest(jobs[2]["text"], "en", SETTINGS)])
    assert told[2]["summary"] == alone.text


def test_what_is_cancelled_too_late_is_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    said: queue.SimpleQueue[str] = queue.SimpleQueue()

    def lines() -> Iterator[bytes]:
        for number in range(3):
            yield b'{"batch": [{"id": %d}], "stream": false}' % number
            said.get()
            yield b'{"cancel": [%d]}' % number
        yield b'{"batch": [{"id": 3}], "stream": false}'

    monkeypatch.setattr(worker, "generate", lambda *_: None)
    inbox, out = Inbox(lines()), SimpleNamespace(write=said.put, flush=lambda: None)
    work_through(SimpleNamespace(), inbox, out, "", 8)  # type: ignore[arg-type]
    assert inbox.cancelled == set()
