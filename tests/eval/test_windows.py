"""Windows hold every token of a long text, overlap as asked, and leave the rest of the source whole."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import MGLMError
from tokenizer.encoding import Tokenizer
from tokenizer.inputs import encode_source
from tokenizer.prompts import source
from tokenizer.windows import encode_windows, windows_with_answer

QUESTION = "Who?"


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=400), limit=st.integers(40, 120), stride=st.integers(1, 90))
def test_every_token_stands_in_a_window_and_the_question_in_all(
    tokenizer: Tokenizer, text: str, limit: int, stride: int
) -> None:
    segments = source("question", "en", context=text, question=QUESTION)
    windows = encode_windows(tokenizer, segments, limit, stride)
    whole = encode_source(tokenizer, segments, 10_000)
    if len(whole.ids) <= limit:
        assert windows == [whole]
        return
    tail = whole.ids[-(len(whole.ids) - 1 - len(tokenizer.encode(text))) :]  # the prompt with its question and mask
    parts = [window.ids[1 : -len(tail)] for window in windows]
    context, room = tokenizer.encode(text), limit - 1 - len(tail)
    for number, (window, part) in enumerate(zip(windows, parts, strict=True)):
        start = number * min(stride, room)
        assert window.ids == [tokenizer.cls_id, *context[start : start + room], *tail]
        assert window.ids[window.mask_position] == tokenizer.smask_id
        assert len(window.ids) <= limit
        assert part
    assert len(windows) == 1 or (len(windows) - 2) * min(stride, room) + room < len(context)  # none is superfluous
    assert (len(windows) - 1) * min(stride, room) + room >= len(context)


def test_no_room_for_the_context_is_an_error(tokenizer: Tokenizer) -> None:
    segments = source("question", "en", context="long " * 60, question="really? " * 20)
    with pytest.raises(MGLMError, match="tokens beside its longest text"):
        encode_windows(tokenizer, segments, 40, 10)


def test_windows_to_learn_from_are_those_that_hold_an_answer(tokenizer: Tokenizer) -> None:
    filler = [f"The market opens on day {number}." for number in range(40)]
    context = " ".join([*filler[:25], "The ferry left at nine.", *filler[25:]])
    segments = source("question", "en", context=context, question="When did the ferry leave?")
    windows = encode_windows(tokenizer, segments, 120, 30)
    assert len(windows) > 5
    chosen = windows_with_answer(windows, segments, ["at nine"], tokenizer)
    assert 1 <= len(chosen) < len(windows)
    assert [window for window in windows if "at nine" in tokenizer.decode(window.ids)] == chosen
    assert windows_with_answer(windows, segments, ["at ten", "at nine"], tokenizer) == chosen  # of several right ones
    beside = windows_with_answer(windows, segments, ["ferry"], tokenizer)  # the question has that word, too
    assert beside == [window for window in windows if tokenizer.decode(window.ids).count("ferry") == 2]
    assert windows_with_answer(windows, segments, ["nobody knows"], tokenizer) == windows[:1]
    assert windows_with_answer(windows[:1], segments, ["at nine"], tokenizer) == windows[:1]  # fits, or is all there is
