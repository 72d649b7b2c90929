from hypothesis import given
from hypothesis import strategies as st

from core.detector import prepare
from corpus.snippets import LONGEST_WORD, snippets


@given(st.text(max_size=400), st.integers(1, 50), st.integers(0, 100), st.text(max_size=5))
def test_snippets_are_the_words_of_the_text_in_their_order(text: str, shortest: int, more: int, key: str) -> None:
    found = list(snippets(text, key, shortest, shortest + more))
    whole = "".join(prepare(text).split())
    joined = "".join("".join(found).split())
    assert whole.startswith(joined)
    assert len(whole) - len(joined) <= shortest + 1
    assert found == list(snippets(text, key, shortest, shortest + more))


def test_words_stay_whole_and_text_without_spaces_is_cut_between_characters() -> None:
    assert list(snippets("one two three four five six", "k", 10, 10)) == ["one two three", "four five"]
    chinese = "河" * (LONGEST_WORD * 3)
    assert [len(snippet) for snippet in snippets(chinese, "k", 20, 20)][:3] == [19, 20, 20]


def test_another_key_cuts_elsewhere_and_lengths_vary_between_the_limits() -> None:
    text = "a bb " * 2_000
    first, second = (list(snippets(text, key, 20, 400)) for key in ("0", "1"))
    assert first != second
    lengths = sorted(map(len, first[:-1]))
    assert lengths[0] < 60
    assert lengths[-1] > 200
    assert lengths[-1] <= 400 + len(" bb")
