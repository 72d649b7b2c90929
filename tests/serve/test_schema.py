import re

from core.text import normalise
from serve.schema import NOT_BLANK


def test_what_normalisation_empties_is_blank() -> None:
    text_to_read = re.compile(NOT_BLANK)
    characters = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    assert [c for c in characters if bool(text_to_read.search(c)) != bool(normalise(c))] == []
