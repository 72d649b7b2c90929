"""The table of characters: what its function says, asked once for each character that is met."""

from hypothesis import given
from hypothesis import strategies as st

from core.character_table import CharacterTable


@given(st.lists(st.text(st.characters()), max_size=4))  # surrogates included
def test_every_character_gets_what_the_function_says_of_it_and_is_asked_for_once(texts: list[str]) -> None:
    asked: list[str] = []

    def of_character(character: str) -> int:
        asked.append(character)
        return ord(character) % 251

    table = CharacterTable(of_character)
    for text in texts:
        assert table.look_up(text).tolist() == [ord(character) % 251 for character in text]
    assert sorted(asked) == sorted(set("".join(texts)))


def test_numbers_may_be_larger() -> None:
    assert CharacterTable(lambda character: 1 << 30, bits=32).look_up("ab").tolist() == [1 << 30] * 2
