"""Passages of a long text: all of it, in whole sentences, in any script, none longer than there is room."""

import numpy as np
import pytest

from tests.tokenizer.conftest import SENTENCES
from tokenizer.encoding import Tokenizer
from tokenizer.passages import passages
from tokenizer.sentences import SentenceEnds


@pytest.fixture(scope="module")
def sentences(tokenizer: Tokenizer) -> SentenceEnds:
    return SentenceEnds(tokenizer)


@pytest.mark.parametrize("lang", sorted(SENTENCES))
def test_passages_are_the_text_cut_at_sentence_ends(lang: str, tokenizer: Tokenizer, sentences: SentenceEnds) -> None:
    ids = tokenizer.encode("".join(SENTENCES[lang]) * 30)
    spans = sentences.spans(np.array(ids))
    ends = {stop for _, stop in spans}
    longest = max(stop - start for start, stop in spans)
    for room in (longest, 2 * longest, 5 * longest):
        cut = passages(ids, room, sentences, tokenizer)
        assert [token for part in cut for token in part] == ids
        assert max(map(len, cut)) <= room
        assert set(np.cumsum([len(part) for part in cut]).tolist()) <= ends
        if room == 5 * longest:
            assert len(cut) <= 1.5 * len(ids) / room + 1
            assert min(map(len, cut)) > room / 4


def test_a_sentence_without_end_is_cut_between_words_or_else_characters(
    tokenizer: Tokenizer, sentences: SentenceEnds
) -> None:
    words = tokenizer.encode("the river rises and the bridges hold " * 40)
    cut = passages(words, 50, sentences, tokenizer)
    assert [token for part in cut for token in part] == words
    assert all(tokenizer.decode(part)[0] == " " or number == 0 for number, part in enumerate(cut))
    for letter in ("\U00012000", "水"):  # in bytes; without spaces
        letters = tokenizer.encode(letter * 200)
        cut = passages(letters, 33, sentences, tokenizer)
        assert max(map(len, cut)) <= 33
        assert "".join(tokenizer.decode(part) for part in cut) == letter * 200


def test_short_and_empty_texts(tokenizer: Tokenizer, sentences: SentenceEnds) -> None:
    assert passages([], 10, sentences, tokenizer) == []
    ids = tokenizer.encode("the river")
    assert passages(ids, len(ids), sentences, tokenizer) == [ids]
