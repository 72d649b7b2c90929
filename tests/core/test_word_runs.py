"""Words and their runs as hashes: of texts together as of each alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.word_runs import BLOCK_CHARACTERS, blocks, hashed_words, runs_of

texts_of_words = st.lists(st.sampled_from(["one", "Two", "हिन्दी", "水", "ไทย", "3", "…"]), max_size=9).map(" ".join)


@given(st.lists(texts_of_words | st.text(max_size=20), min_size=1, max_size=6), st.integers(1, 5))
def test_texts_together_have_the_runs_that_each_has_alone(texts: list[str], length: int) -> None:
    words, counts = hashed_words(texts)
    runs, of_text = runs_of(words, counts, length)
    alone = [runs_of(*hashed_words([text]), length)[0] for text in texts]
    assert of_text.tolist() == [found.size for found in alone]
    assert np.array_equal(runs, np.concatenate(alone))


def test_words_are_letters_in_lower_case_and_characters_where_no_spaces_are() -> None:
    words, counts = hashed_words(["One one-ONE, 水水", "", "one"])
    assert counts.tolist() == [5, 0, 1]
    assert len(set(words[[0, 1, 2, 5]].tolist())) == len(set(words[[3, 4]].tolist())) == 1


HALF = BLOCK_CHARACTERS // 2


@given(st.lists(st.sampled_from([0, 1, HALF - 1, HALF, HALF + 1, 2 * HALF, 3 * HALF]), max_size=5))
def test_blocks_hold_every_text_in_order_and_no_more_than_they_should(sizes: list[int]) -> None:
    texts = [chr(97 + number) * size for number, size in enumerate(sizes)]
    found = list(blocks(texts))
    assert [text for block in found for text in block] == texts
    assert all(len(block) == 1 or sum(map(len, block)) <= BLOCK_CHARACTERS for block in found)
