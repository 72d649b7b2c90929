"""MLQA's normalisation, language by language."""

import pytest

from core.errors import MGLMError
from eval.mlqa import LANGUAGES, normaliser


@pytest.mark.parametrize(
    ("language", "answer", "expected"),
    [
        ("en", "The “Eiffel” Tower—in Paris", "eiffel towerin paris"),
        ("de", "Die Stadt, des Landes", "stadt landes"),
        ("es", "¿Los años?", "años"),
        ("hi", "यह, किताब।", "यह किताब"),
        ("vi", "của những Người", "người"),
        ("ar", "الكتاب والقلم", "كتاب و قلم"),
        ("zh", "北京（Beijing） 2008年", "北 京 beijing 2008 年"),
        ("zh", "𠀀㐀a", "𠀀㐀a"),  # beyond U+9FA5 and in extensions no character is cut out
    ],
)
def test_answers_are_normalised_as_published(language: str, answer: str, expected: str) -> None:
    assert normaliser(language)(answer) == expected


def test_other_languages_are_refused() -> None:
    assert LANGUAGES == ("ar", "de", "en", "es", "hi", "vi", "zh")
    with pytest.raises(MGLMError, match="found fr; expected one of MLQA's"):
        normaliser("fr")
