"""Serbian, Azerbaijani and Uzbek in their other alphabet: all three are written in Latin and in Cyrillic letters.

A detector that saw one alphabet takes the other for a neighbour's language, so it is trained on both. The tables are
the languages' own orthographies. Serbian and Azerbaijani lose nothing on the way; Uzbek's Latin writes some
Cyrillic letters of loanwords alike (`s`, `sh`), and leaves the soft sign out.
"""

import re
from dataclasses import dataclass
from functools import cache

import regex

# Latin=Cyrillic; ^ is the beginning of a word. What has several partners is written as the first of them.
_TABLES = {
    "sr": "dž=џ lj=љ nj=њ a=а b=б c=ц č=ч ć=ћ d=д đ=ђ e=е f=ф g=г h=х i=и j=ј k=к l=л m=м n=н o=о p=п r=р s=с š=ш "
    "t=т u=у v=в z=з ž=ж",
    "az": "a=а b=б c=ҹ ç=ч d=д e=е ə=ә f=ф g=ҝ ğ=ғ h=һ x=х ı=ы i=и j=ж k=к q=г l=л m=м n=н o=о ö=ө p=п r=р s=с ş=ш "
    "t=т u=у ü=ү v=в y=ј z=з",
    "uz": "oʻ=ў gʻ=ғ yoʻ=йў tsiya=ция tsio=цио sh=ш ch=ч yo=ё yu=ю ya=я ʼ=ъ ^e=э ^ye=е a=а b=б d=д e=е f=ф g=г h=ҳ "
    "x=х i=и j=ж k=к l=л m=м n=н o=о p=п q=қ r=р s=с t=т u=у v=в y=й z=з ye=е e=э s=ц sh=щ i=ы =ь",
}

_WORD = re.compile(r"[^\W\d_]+(?:['`‘’][^\W\d_]+)*(?:(?<=[OoGg])['`‘’])?")
_LETTER_MARK = re.compile("(?<=[og])[ʼ'`‘’]")  # as people type Uzbek's ʻ, which makes one letter of o or g,
_SIGN = re.compile("['`‘’]")  # and its ʼ, a sign of its own


@dataclass(frozen=True)
class _Way:
    """From one alphabet to the other: `table` has small letters, `word` is what can be written by it alone."""

    table: dict[str, str]
    unit: re.Pattern[str]
    word: re.Pattern[str]


def in_other_alphabet(text: str, lang: str) -> str | None:
    """`text` in Cyrillic letters where most of its letters are Latin, in Latin where they are Cyrillic.

    None for every other language, and for text with neither. A word with a letter that its alphabet lacks (`Twitter`)
    stays as it is; so do a capital at the beginning of a word and a word of capitals alone.
    """
    if lang not in _TABLES:
        return None
    latin, cyrillic = (len(regex.findall(letters, text)) for letters in (r"\p{Latin}", r"\p{Cyrillic}"))
    if not latin and not cyrillic:
        return None
    way = _way(lang, to_latin=cyrillic > latin)
    return _WORD.sub(lambda match: _converted(match[0], lang, way), text)


def _converted(word: str, lang: str, way: _Way) -> str:
    small = _small(word, lang)
    if not way.word.fullmatch(small):
        return word
    other = way.unit.sub(lambda match: way.table["^" * (match.start() == 0) + match[0]], small)
    if len(word) > 1 and word.isupper():
        return _capitals(other, lang)
    return _capitals(other[:1], lang) + other[1:] if word[0].isupper() else other


def _small(word: str, lang: str) -> str:
    if lang == "az":  # whose I is the capital of ı
        word = word.replace("İ", "i").replace("I", "ı")
    small = word.lower()
    return _SIGN.sub("ʼ", _LETTER_MARK.sub("ʻ", small)) if lang == "uz" else small


def _capitals(letters: str, lang: str) -> str:
    return (letters.replace("i", "İ") if lang == "az" else letters).upper()


@cache
def _way(lang: str, *, to_latin: bool) -> _Way:
    table: dict[str, str] = {}
    for pair in _TABLES[lang].split(" "):
        latin, _, cyrillic = pair.partition("=")
        beginning, latin = ("^", latin[1:]) if latin.startswith("^") else ("", latin)
        written, other = (cyrillic, latin) if to_latin else (latin, cyrillic)
        if written:
            table.setdefault(beginning + written, other)
    units = sorted({written.removeprefix("^") for written in table}, key=len, reverse=True)
    for written in units:  # where the beginning of a word is nothing special
        table.setdefault("^" + written, table[written])
    unit = re.compile("|".join(units))
    return _Way(table, unit, re.compile(f"(?:{unit.pattern})+"))
