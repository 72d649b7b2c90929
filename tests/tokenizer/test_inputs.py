import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import MGLMError
from core.examples import Segment
from tokenizer.encoding import Tokenizer
from tokenizer.inputs import encode_source
from tokenizer.prompts import source, summary_source

LONG = "The river rises in spring. " * 50
SHORT = "Does the bridge hold?"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=300), limit=st.integers(60, 200), lang=st.sampled_from(["en", "zh"]))
def test_a_summary_source_fits_and_keeps_its_prompt(tokenizer: Tokenizer, text: str, limit: int, lang: str) -> None:
    made = encode_source(tokenizer, summary_source(text, lang), limit)
    prompt = tokenizer.encode(". English Summary: " if lang == "en" else ". 中文摘要: ")
    whole = tokenizer.encode(text)
    assert len(made.ids) == min(limit, len(whole) + len(prompt) + 2)
    assert made.ids[0] == tokenizer.cls_id
    assert made.mask_position == len(made.ids) - 1
    assert made.ids[made.mask_position] == tokenizer.smask_id
    assert made.ids[-1 - len(prompt) : -1] == prompt
    assert made.ids[1 : -1 - len(prompt)] == whole[: limit - len(prompt) - 2]


def test_a_mask_named_in_the_text_stays_text(tokenizer: Tokenizer) -> None:
    made = encode_source(tokenizer, summary_source("[sMASK] [MASK] <|endoftext|> {mask}", "en"), 512)
    commands = [index for index in made.ids if index >= tokenizer.pieces]
    assert commands == [tokenizer.cls_id, tokenizer.smask_id]
    assert "[sMASK] [MASK] <|endoftext|> {mask}" in tokenizer.decode(made.ids)


def test_a_title_has_its_mask_in_front_of_the_text(tokenizer: Tokenizer) -> None:
    made = encode_source(tokenizer, source("title", "zh", text=LONG), 100)
    assert made.ids[made.mask_position] == tokenizer.mask_id
    assert made.mask_position < 20
    assert len(made.ids) == 100


def test_of_two_texts_the_longer_is_cut(tokenizer: Tokenizer) -> None:
    made = encode_source(tokenizer, source("question", "hi", context=LONG, question=SHORT), 150)
    assert len(made.ids) == 150
    assert f" Question: {SHORT} Answer: " in tokenizer.decode(made.ids)


def test_a_prompt_that_does_not_fit_is_an_error(tokenizer: Tokenizer) -> None:
    with pytest.raises(MGLMError, match=r"a prompt of \d+ tokens; expected at most 5"):
        encode_source(tokenizer, summary_source(SHORT, "en"), 5)


@pytest.mark.parametrize("masks", [0, 2])
def test_a_source_has_exactly_one_mask(tokenizer: Tokenizer, masks: int) -> None:
    segments = [Segment(kind="text", value=SHORT), *[Segment(kind="mask", value="[sMASK]")] * masks]
    with pytest.raises(MGLMError, match=f"{masks} masks"):
        encode_source(tokenizer, segments, 100)
