"""MLQA's normalisation of answers (Lewis et al., 2020), by the language of the answer; F1 and match are SQuAD's.

Written anew from the behaviour of the published script, which is not free software. As there: punctuation of all of
Unicode goes before articles do; German, Spanish, Vietnamese and English lose their articles; Arabic loses every ال,
wherever it stands in a word; a Chinese word is a character between U+4E00 and U+9FA5 or a run of anything else.
"""

import re
import string
import unicodedata
from collections.abc import Callable

from core.errors import MGLMError
from core.languages import canonical_code

_ARTICLES = {
    "ar": "ال",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "hi": "",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "zh": "",
}
LANGUAGES = tuple(_ARTICLES)
_HAN = re.compile("([\u4e00-\u9fa5])")


class _NoPunctuation(dict[int, int | None]):
    """For `str.translate`: drops punctuation; filled as characters are met."""

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        dropped = unicodedata.category(character)[0] == "P" or character in string.punctuation
        self[code] = None if dropped else code
        return self[code]


_NO_PUNCTUATION = _NoPunctuation()


def normaliser(language: str) -> Callable[[str], str]:
    """What an answer in `language` is compared as.

    Raises:
        MGLMError: not one of MLQA's seven languages.
    """
    code = canonical_code(language)
    if code not in _ARTICLES:
        expected = f"one of MLQA's, {', '.join(LANGUAGES)}: the language of the answers"
        raise MGLMError("--language", found=language or "none", expected=expected)
    articles = re.compile(_ARTICLES[code]) if _ARTICLES[code] else None

    def normalised(answer: str) -> str:
        text = answer.lower().translate(_NO_PUNCTUATION)
        if articles is not None:
            text = articles.sub(" ", text)
        if code == "zh":
            text = _HAN.sub(r" \1 ", text)
        return " ".join(text.split())

    return normalised
