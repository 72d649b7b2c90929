import re

import pytest
from pydantic import ValidationError

from core.text import normalise
from serve.config import ServeConfig
from serve.schema import NOT_BLANK, input_models

LAST_OF_PLANES = [chr(plane + last) for plane in range(0x10000, 0x110000, 0x10000) for last in range(0xFFF0, 0x10000)]


def test_what_normalisation_empties_is_blank() -> None:
    text_to_read = re.compile(NOT_BLANK)
    characters = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000] + LAST_OF_PLANES
    assert [c for c in characters if bool(text_to_read.search(c)) != bool(normalise(c))] == []


def test_blank_texts_are_refused_by_the_engine_that_checks_them() -> None:
    batch, _ = input_models(ServeConfig(), 200)
    assert batch(text="\U0001f600").texts == ["\U0001f600"]
    with pytest.raises(ValidationError):
        batch(text="\U0001fffe\U0010ffff")
