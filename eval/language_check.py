"""Whether texts are in the language they are scored as: another one's references give figures that mean nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from core.detector import LanguageDetector
from core.errors import MGLMError
from core.languages import UNKNOWN, canonical_code, language_name, languages
from core.scripts import NO_SCRIPT, script_of

_SURE = 0.5  # the least score of a detection that counts
_MOST_TEXTS = 1000  # looked at, evenly spread
_FAMILIES = {"Hans": "Hani", "Hant": "Hani", "Jpan": "Jpan", "Kore": "Hang"}


@dataclass(frozen=True)
class LanguageCount:
    """Of `looked_at` texts long enough to tell, `other` are in another language, mostly in `mostly`."""

    looked_at: int
    other: int
    mostly: str


def languages_in(texts: Sequence[str], language: str) -> LanguageCount:
    """Counts the texts that are surely in another language than `language`."""
    step = max(1, len(texts) // _MOST_TEXTS)
    detected = [detection.lang for text in texts[::step] if (detection := detector().detect(text, _SURE)).label]
    told = [lang for lang in detected if lang != UNKNOWN]
    others = [lang for lang in told if lang != canonical_code(language)]
    return LanguageCount(len(told), len(others), max(set(others), key=others.count) if others else "")


def check_references(texts: Sequence[str], language: str, where: str) -> LanguageCount:
    """The count of references in another language.

    Raises:
        MGLMError: most of them are, in another script than the language's: they were not made for it.
    """
    counted = languages_in(texts, language)
    if counted.other * 2 > counted.looked_at and _foreign_script(texts, language):
        raise MGLMError(
            where,
            found=f"{counted.other} of {counted.looked_at} texts in another language, mostly "
            f"{language_name(counted.mostly)} ({counted.mostly})",
            expected=f"texts in {language_name(canonical_code(language))}, as --language {language} says",
            action=f"give the references of {language}, or --language {counted.mostly}",
        )
    return counted


@cache
def detector() -> LanguageDetector:
    return LanguageDetector()


def _foreign_script(texts: Sequence[str], language: str) -> bool:
    known = languages().get(canonical_code(language))
    step = max(1, len(texts) // _MOST_TEXTS)
    scripts = [script for text in texts[::step] if (script := _family(script_of(text))) != NO_SCRIPT]
    return known is not None and sum(script != _family(known.script) for script in scripts) * 2 > len(scripts)


def _family(script: str) -> str:
    return _FAMILIES.get(script, script)
