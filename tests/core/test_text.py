"""The normalisation is stable, loses no word, and gives what UTF-8, SentencePiece and the hash need."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.documents import document_id
from core.text import normalise

ANY_TEXT = st.text(st.characters())  # surrogates included


@given(ANY_TEXT)
@example("e\x00\u0301 \t\r\n\u2581")
@example("\ufeff\ud83d a\u0341 \u2028")
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@given(ANY_TEXT)
def test_the_result_is_nfc_and_encodes_and_has_no_control_but_newlines(text: str) -> None:
    result = normalise(text)
    assert unicodedata.is_normalized("NFC", result)
    assert result.encode("utf-8").decode("utf-8") == result
    assert {character for character in result if unicodedata.category(character) == "Cc"} <= {"\n"}
    assert all(line == line.rstrip() for line in result.split("\n"))


@given(st.text(st.characters(categories=("L", "N", "P", "M"))))
def test_words_are_left_alone_but_for_nfc(text: str) -> None:
    assert normalise(text) == unicodedata.normalize("NFC", text)


def test_only_marks_and_jamo_combine_with_what_stands_before() -> None:
    """What the quick look rests on: the second half of every canonical composition."""
    pairs = [unicodedata.decomposition(chr(code)).split() for code in range(0x20000)]
    seconds = {chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2 and not pair[0].startswith("<")}
    assert len(seconds) > 50
    assert all(unicodedata.category(second).startswith("M") for second in seconds)
    assert unicodedata.normalize("NFC", "\u1100\u1161\u11a8") == "\uac01"


@given(st.text(st.sampled_from("aé\u0301\u0308ᄀ\u1161\u11a8가ক\u09be\u09c7שּׁΩ\u212b")))
def test_what_combines_is_combined(text: str) -> None:
    assert normalise(text) == unicodedata.normalize("NFC", text)


MARKS = [
    chr(code) for code in range(0x110000) if all(map(unicodedata.combining, unicodedata.normalize("NFD", chr(code))))
]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["", "a", "é", "\u0f40", "\u05e9", "\uac00", "\u1100", "\u09c7", "\u09be", "\U0001f600", " ", "\n"]
            ),
            st.one_of(
                st.text(st.sampled_from(MARKS), max_size=3), st.text(st.sampled_from(MARKS), min_size=25, max_size=80)
            ),
        ),
        max_size=4,
    )
)
@example([("a", "\u0301\u0316" * 40), ("", "\u0f73\u0f75\u0f81" * 40), ("e", "\u0344\u0316" * 40)])
def test_however_many_marks_a_letter_has_it_is_nfc(pieces: list[tuple[str, str]]) -> None:
    text = "x" + "".join(letter + marks for letter, marks in pieces) + "x"
    assert normalise(text).replace(" ", "") == unicodedata.normalize("NFC", text).replace(" ", "")


@pytest.mark.parametrize("marks", ["\u0301\u0316", "\u0f73\u0f75", "\u0344\u0316", "\u0328\u0301\u0316"])
def test_a_letter_with_a_million_marks_takes_no_time_that_grows_with_their_square(marks: str) -> None:
    text = "a" + marks * (1_000_000 // len(marks))  # an hour, one by one
    assert unicodedata.is_normalized("NFC", normalise(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  one \r\ntwo\t\rthree\u2028four  \n", "one\ntwo\nthree\nfour"),
        ("tab\there \u2581 there", "tab here   there"),
        ("nul\x00 bell\x07 bom\ufeff\ufffe", "nul bell bom"),
        ("half a pair \ud83d", "half a pair \ufffd"),
        ("cafe\u0301", "caf\u00e9"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # the non-joiner is part of the word
        ("first\n\n\nsecond", "first\n\n\nsecond"),
        (" \n\t ", ""),
    ],
)
def test_cases_read_as_the_module_says(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_the_same_text_in_other_bytes_is_the_same_document() -> None:
    assert document_id(normalise("Crème\r\nbrûlée ")) == document_id(normalise("Cre\u0300me\nbru\u0302le\u0301e"))
