"""One request in several languages: recognised by its words, asked anew with the same texts."""

import pytest

from core.errors import MGLMError
from core.examples import Segment
from tokenizer.parallel_prompts import ParallelPrompts, groups
from tokenizer.prompts import PROMPTS, fill, names_of, source


def said(segments: list[Segment]) -> str:
    return "".join(segment.value for segment in segments)


@pytest.mark.parametrize("prompt", ["summary", "native_summary", "title", "native_question"])
def test_every_prompt_of_ours_belongs_to_one_group(prompt: str) -> None:
    for lang, template in PROMPTS[prompt].items():
        assert sum(template in group.values() for group in groups()) == 1, (prompt, lang)


def test_templates_of_a_group_name_the_same_texts_and_differ() -> None:
    for group in groups():
        assert len(set(group.values())) == len(group)
        assert len({tuple(names_of(template)) for template in group.values()}) == 1


def test_what_is_asked_for_stays_and_the_words_change() -> None:
    prompts = ParallelPrompts(["en", "zh", "de"])
    for_chinese = source("summary", "zh", text="{text} [sMASK]")
    assert [said(one) for one in prompts.of(for_chinese)] == [
        "{text} [sMASK]. Chinese Summary: [sMASK]",
        "{text} [sMASK]. 中文摘要: [sMASK]",
        "{text} [sMASK]. Chinesische Zusammenfassung: [sMASK]",
    ]
    assert prompts.of(for_chinese)[1] == for_chinese
    title = source("title", "en", text="Rain.")
    assert said(prompts.of(title)[2]) == "Englischer Titel: [MASK] Text: Rain."
    question = source("question", "zh", context="Rain fell.", question="What?")
    assert said(prompts.of(question)[1]) == "Rain fell. 问题: What? 答案: [sMASK]"


def test_what_has_no_parallel_is_refused_by_name() -> None:
    with pytest.raises(MGLMError, match=r"found no parallel prompts .* Declare `parallel`"):
        ParallelPrompts(["en"]).of(source("tldr", "en", text="Rain."))
    with pytest.raises(MGLMError, match=r"prompt_languages fr; .* expected any of en, hi"):
        ParallelPrompts(["en", "fr"]).of(source("native_summary", "hi", text="x"))


def test_a_task_brings_its_own() -> None:
    group = {"aa": "{text} bo {mask}", "bb": "{mask} ob {text}"}
    prompts = ParallelPrompts(["bb", "aa"], [group])
    made = prompts.of(fill(group["aa"], "[MASK]", {"text": "rain"}))
    assert [said(one) for one in made] == ["[MASK] ob rain", "rain bo [MASK]"]
