import string

import pytest

from core.errors import MGLMError
from core.examples import Segment
from tokenizer.prompts import MASKS, PROMPTS, source, summary_source


def test_summaries_are_asked_for_as_in_the_paper() -> None:
    def said(lang: str) -> str:
        return "".join(segment.value for segment in summary_source("[text]", lang))

    assert said("en") == "[text]. English Summary: [sMASK]"
    assert said("zh") == "[text]. 中文摘要: [sMASK]"


def test_titles_and_questions_are_asked_for_as_in_the_paper() -> None:
    title = source("title", "zh", text="[text]")
    assert "".join(segment.value for segment in title) == "中文标题: [MASK] 原文: [text]"
    question = source("question", "th", context="C", question="Q")
    assert "".join(segment.value for segment in question) == "C Question: Q Answer: [sMASK]"


def test_braces_and_masks_in_a_text_stay_text() -> None:
    text = "{mask} {question} [MASK] {0}"
    segments = source("question", "en", context=text, question=text)
    assert [segment.value for segment in segments if segment.kind == "text"] == [text, text]
    assert [segment.value for segment in segments if segment.kind == "mask"] == ["[sMASK]"]


def test_another_mask_may_be_asked_for() -> None:
    assert Segment(kind="mask", value="[gMASK]") in source("tldr", "en", text="x", mask="[gMASK]")


@pytest.mark.parametrize("prompt", PROMPTS)
def test_every_template_has_one_mask_and_a_text(prompt: str) -> None:
    assert prompt in MASKS
    for template in PROMPTS[prompt].values():
        fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
        assert fields.count("mask") == 1
        assert len(fields) >= 2


def test_unknown_prompts_and_languages_are_named() -> None:
    with pytest.raises(MGLMError, match="prompt 'haiku'"):
        source("haiku", "en", text="x")
    with pytest.raises(MGLMError, match="target language 'yo'"):
        summary_source("x", "yo")
