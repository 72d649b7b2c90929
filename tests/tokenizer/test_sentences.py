import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenizer.encoding import Tokenizer
from tokenizer.sentences import SentenceEnds


@pytest.fixture(scope="module")
def ends(tokenizer: Tokenizer) -> SentenceEnds:
    return SentenceEnds(tokenizer)


def divided(ends: SentenceEnds, tokenizer: Tokenizer, text: str) -> list[str]:
    ids = np.array(tokenizer.encode(text), np.int32)
    return [tokenizer.decode(ids[start:stop]) for start, stop in ends.spans(ids)]


def test_sentences_of_every_script_are_divided_as_a_reader_would(
    ends: SentenceEnds, tokenizer: Tokenizer, real_sentences: list[str]
) -> None:
    assert divided(ends, tokenizer, "".join(real_sentences)) == real_sentences


def test_newlines_divide_too(ends: SentenceEnds, tokenizer: Tokenizer, real_sentences: list[str]) -> None:
    lines = [sentence.strip() + "\n" for sentence in real_sentences]
    assert divided(ends, tokenizer, "".join(lines)) == lines


@pytest.mark.parametrize(
    "sentences",
    [
        ["“The bridge holds.”", " (It did last year!)", ' "Really?!"', " Yes."],
        ["「桥还牢固吗？」", "去年没有问题！！", "（真的。）"],
        ["It rises by 3.14 metres.", " See example.org!"],
        ["The river rises…", " Does it?"],
        ["A title\n\n", "The river rises.\n", "It falls."],
        ["น้ำในแม่น้ำสูงขึ้น\n", "สะพานจะรับไหว", " ปีที่แล้วยังรับไหว\n"],
        ["The river has no end mark at all"],
    ],
)
def test_marks_quotes_numbers_and_titles(ends: SentenceEnds, tokenizer: Tokenizer, sentences: list[str]) -> None:
    assert divided(ends, tokenizer, "".join(sentences)) == sentences


def test_khmer_without_a_mark_is_cut_at_spaces_and_with_a_mark_is_not(ends: SentenceEnds, tokenizer: Tokenizer) -> None:
    assert divided(ends, tokenizer, "ទឹកទន្លេឡើង នៅរដូវក្ដៅ") == ["ទឹកទន្លេឡើង", " នៅរដូវក្ដៅ"]
    assert divided(ends, tokenizer, "ទឹកទន្លេឡើង នៅរដូវក្ដៅ។") == ["ទឹកទន្លេឡើង នៅរដូវក្ដៅ។"]


def test_the_end_of_a_document_is_the_end_of_a_sentence(ends: SentenceEnds, tokenizer: Tokenizer) -> None:
    words = tokenizer.encode("no mark")
    ids = np.array([tokenizer.cls_id, *words, tokenizer.eos_id] * 2, np.int32)
    assert ends.spans(ids) == [(0, len(ids) // 2), (len(ids) // 2, len(ids))]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_spans_partition_any_tokens(ends: SentenceEnds, tokenizer: Tokenizer, data: st.DataObject) -> None:
    ids = np.array(data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=80)), np.int32)
    spans = ends.spans(ids)
    assert [position for start, stop in spans for position in range(start, stop)] == list(range(len(ids)))
    assert all(start < stop for start, stop in spans)
