import pytest

from tokenizer.encoding import Tokenizer
from tokenizer.fertility import count_words, fertility, premiums, word_unit


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop, the well-known co-op.", 5),
        ("3.14 and 2024!", 4),
        ("नमस्ते दुनिया।", 2),
        ("می‌خواهم", 1),  # one word around a joiner
        ("春天河水上涨。ABC 12", 8),  # Han by character, the rest by word
        ("เรือน้ำ", 5),  # letters with their marks
        ("... \n --- 😀", 0),
        ("", 0),
    ],
)
def test_words_are_counted_as_a_reader_of_the_script_would(text: str, words: int) -> None:
    assert count_words(text) == words


def test_a_language_that_spaces_no_words_is_measured_by_character() -> None:
    assert {lang for lang in ("zh", "ja", "th", "lo", "km", "my") if word_unit(lang) == "character"} == {
        "zh", "ja", "th", "lo", "km", "my",
    }  # fmt: skip
    assert word_unit("ko") == word_unit("vi") == word_unit("hi") == word_unit("xx") == "word"


def test_counts_are_those_of_the_texts(tokenizer: Tokenizer) -> None:
    texts = ["The river rises in spring.", "水 ☃"]  # the snowman is in no sample
    found = fertility(tokenizer, texts)
    assert (found.documents, found.characters, found.words) == (2, 29, 6)
    assert found.bytes == len("".join(texts).encode())
    assert found.tokens == sum(len(tokenizer.encode(text)) for text in texts)
    assert found.byte_tokens == 3
    assert found.unknown == 0
    assert found.bytes_per_token == found.bytes / found.tokens
    assert found.tokens_per_word == found.tokens / 6
    assert found.byte_rate == 3 / found.tokens
    nothing = fertility(tokenizer, [])
    assert (nothing.tokens_per_word, nothing.bytes_per_token, nothing.byte_rate) == (None, 0, 0)


def test_a_premium_compares_the_groups_that_both_languages_have(tokenizer: Tokenizer) -> None:
    english, chinese = "The river rises in spring.", "春天河水上涨。"
    records = [
        ("1", "en", english), ("1", "zh", chinese), ("1", "zh", chinese * 3),  # as Norwegian's two standards
        ("2", "zh", chinese * 9), ("3", "en", english * 9), ("4", "xx", "alone"),
    ]  # fmt: skip
    found = premiums(tokenizer, records)
    assert found.keys() == {"en", "zh"}
    assert (found["en"].ratio, found["en"].groups) == (1, 2)
    mean = (len(tokenizer.encode(chinese)) + len(tokenizer.encode(chinese * 3))) / 2
    assert (found["zh"].groups, found["zh"].tokens) == (1, round(mean))
    assert found["zh"].reference_tokens == len(tokenizer.encode(english))
    assert premiums(tokenizer, []) == {}
