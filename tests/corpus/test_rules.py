"""The chain of rules: what each takes out or refuses, that it is counted, and that nothing else changes."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import MGLMError
from core.fasttext_training import train_classifier
from core.text import normalise
from corpus.rules import EMPTY_AFTER_RULES, Rules
from corpus.rules_config import RulesConfig
from corpus.verdicts import Document, Refusal

ALL_LINE_RULES = RulesConfig(
    whitespace=True,
    line_end_marks=True,
    min_line_characters=20,
    max_word_characters=100,
    javascript_lines=True,
    policy_lines=True,
    private_data=["email", "phone", "ip", "iban", "card"],
)


def judge(text: str, url: str | None = None, *, lang: str = "en", **settings: object) -> Document | Refusal:
    rules = Rules(RulesConfig(**settings))  # type: ignore[arg-type]
    before = rules.before_detection(Document(text, url))
    if isinstance(before, Refusal):
        return before
    return rules.after_detection(Document(before.text, before.url, lang, "Latn", None, before.changes))


@given(st.text(max_size=200).map(normalise).filter(bool))
def test_without_rules_a_document_passes_untouched(text: str) -> None:
    document = Document(text, None)
    assert Rules(RulesConfig()).before_detection(document) is document


@given(st.lists(st.text(max_size=60), max_size=8).map("\n".join).map(normalise).filter(bool))
def test_whatever_passes_is_normalised_and_passes_again_unchanged(text: str) -> None:
    rules = Rules(ALL_LINE_RULES)
    judged = rules.before_detection(Document(text, None))
    if isinstance(judged, Refusal):
        assert judged.reason
        return
    assert judged.text == normalise(judged.text) != ""
    again = rules.before_detection(Document(judged.text, None))
    assert isinstance(again, Document)
    assert again.text == judged.text


def test_a_text_of_which_a_plugin_leaves_nothing_is_refused() -> None:
    judged = judge("Some text.", plugins=["tests.corpus.plugins:blank"])
    assert isinstance(judged, Refusal)
    assert judged.reason == EMPTY_AFTER_RULES


def test_plugins_score_refuse_and_are_named_when_missing() -> None:
    scored = judge("A text of some length.", plugins=["tests.corpus.plugins:length_score"])
    assert isinstance(scored, Document)
    assert scored.quality == 22
    refused = judge("Short.", plugins=["tests.corpus.plugins:length_score"])
    assert refused == Refusal("too_short", "6")
    for name in ("nowhere", "tests.corpus.plugins:nothing", "no.such.module:rule"):
        with pytest.raises(MGLMError, match="plug-in"):
            judge("Some text.", plugins=[name])


def test_blocked_words_are_found_as_words_and_in_chinese_anywhere(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("# bad ones\nBad\nvery wicked\n脏话\n", "utf-8")
    for text, found in (("A BAD thing.", "bad"), ("Very wicked.", "very wicked"), ("这是脏话。", "脏话")):
        assert judge(text, blocked_words=str(words)) == Refusal("blocked_word", found)
    for text in ("A badge.", "Not so very-wicked? bãd", "这是好话。"):
        assert isinstance(judge(text, blocked_words=str(words)), Document)


def test_each_language_has_its_own_list_of_words(tmp_path: Path) -> None:
    (tmp_path / "de.txt").write_text("gift\n", "utf-8")
    (tmp_path / "he.txt").write_text("רע\n", "utf-8")
    assert isinstance(judge("A gift.", blocked_words=str(tmp_path)), Document)
    assert isinstance(judge("Das Gift.", lang="de", blocked_words=str(tmp_path)), Refusal)
    assert isinstance(judge("זה רע", lang="iw", blocked_words=str(tmp_path)), Refusal)


@pytest.mark.parametrize(
    ("url", "blocked"),
    [
        ("https://www.spam.example/page", True),
        ("http://a.b.spam.example:8080", True),
        ("https://notspam.example/", False),
        ("https://news.example/ads/1", True),
        ("https://news.example/politics", False),
        ("spam.example", True),
        ("http://[broken", False),
        (f"http://{'a.' * 120}spam.example/", True),
        (f"http://{'a.' * 500_000}spam.example/", False),  # no host; all of its domains would be half a million squared
        ("", False),
        (None, False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_addresses_are_blocked_by_domain_or_beginning(tmp_path: Path, url: str | None, blocked: bool) -> None:
    urls = tmp_path / "urls.txt"
    urls.write_text("spam.example\nhttps://news.example/ads/\n", "utf-8")
    assert isinstance(judge("Some text.", url, blocked_urls=str(urls)), Refusal) == blocked


@given(st.lists(st.text("ab/", max_size=4), min_size=1, max_size=6), st.text("ab/", max_size=6))
def test_of_many_beginnings_any_blocks(paths: list[str], asked: str) -> None:
    with TemporaryDirectory() as folder:
        urls = Path(folder) / "urls.txt"
        urls.write_text("".join(f"host.example/a{path}\n" for path in paths), "utf-8")
        blocked = isinstance(judge("Some text.", f"http://host.example/a{asked}", blocked_urls=str(urls)), Refusal)
    assert blocked == any(f"a{asked}".rstrip("/").startswith(f"a{path}".rstrip("/")) for path in paths)


@pytest.mark.parametrize("entry", ["https://", "http://[broken", "/path"])
def test_an_address_without_a_domain_is_told_and_blocks_nothing(tmp_path: Path, entry: str) -> None:
    urls = tmp_path / "urls.txt"
    urls.write_text(f"spam.example\n{entry}\n", "utf-8")
    with pytest.raises(MGLMError, match=re.escape(f"urls.txt; found {entry}; expected a domain")):
        judge("Some text.", "http://[oops", blocked_urls=str(urls))


def test_lists_and_models_count_by_their_content(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("bad\n")
    config = RulesConfig(blocked_words=str(words))
    first = config.lists_and_models()
    words.write_text("worse\n")
    assert first.keys() == config.lists_and_models().keys()
    assert first != config.lists_and_models()
    with pytest.raises(MGLMError, match="blocked_urls"):
        RulesConfig(blocked_urls=str(tmp_path / "none.txt")).lists_and_models()
    words.write_text("# nothing\n")
    with pytest.raises(MGLMError, match="no entry"):
        Rules(config)


def test_whitespace_collapses_and_is_counted() -> None:
    judged = judge("a  b\u3000c\n\n\n\nd", whitespace=True)
    assert isinstance(judged, Document)
    assert (judged.text, dict(judged.changes)) == ("a b c\n\nd", {"whitespace_collapsed": 1})


def test_quality_is_the_probability_of_a_label(tmp_path: Path) -> None:
    good_line = "__label__good council number {0} met and decided to repair the bridge of town {0}"
    bad_line = "__label__bad buy {0} cheap pills now click here win {0} money"
    lines = [line.format(number) for number in range(100) for line in (good_line, bad_line)]
    path = str(tmp_path / "quality.bin")
    train_classifier(lines, Path(path), training={"dim": 4, "epoch": 20, "minn": 0, "maxn": 0})
    settings: dict[str, object] = {"quality_model": path, "quality_label": "good", "quality_threshold": 0.5}
    good = judge("The council decided to repair\nthe bridge.", **settings)
    assert isinstance(good, Document)
    assert good.quality is not None
    assert 0.5 < good.quality <= 1
    bad = judge("Buy cheap pills now, click here.", **settings)
    assert isinstance(bad, Refusal)
    assert bad.reason == "low_quality"
    assert isinstance(judge("Buy cheap pills.", lang="de", quality_thresholds={"de": 0.0}, **settings), Document)
    with pytest.raises(MGLMError, match="quality_label"):
        judge("Text.", quality_model=path, quality_label="fine")
    own = {"qaa": 0.0, "und": 1.0}  # a language of the user's own, and none
    assert isinstance(judge("Buy cheap pills.", lang="qaa", quality_thresholds=own, **settings), Document)
    for unknown in ("xx", "he"):
        with pytest.raises(MGLMError, match=f"quality_thresholds; found {unknown}; expected the 101 codes"):
            judge("Text.", quality_thresholds={unknown: 0.5}, **settings)
