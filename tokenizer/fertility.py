"""How many tokens a vocabulary spends on a language: on its own text, and on the same text in English.

In: texts, a tokenizer. Out: counts and their ratios. Words are what readers of a script would count: runs of letters
and digits where words are spaced, single characters with their marks in Han, kana, Thai, Lao, Khmer and Burmese, which
space none. Premium: Petrov et al. 2023, "Language Model Tokenizers Introduce Unfairness Between Languages".
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import regex

from core.languages import languages
from tokenizer.encoding import Tokenizer

REFERENCE = "en"  # the language of which the others' premium is reckoned
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
UNSPACED_SCRIPTS = frozenset({"Hans", "Hani", "Jpan", "Thai", "Laoo", "Khmr", "Mymr"})
_WORD = regex.compile(
    rf"[\p{{L}}&&[{_UNSPACED}]]\p{{M}}*|[[\p{{L}}\p{{N}}]--[{_UNSPACED}]](?:[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]"
    r"|[\p{M}'’·\u200c\u200d-](?=[\p{L}\p{M}\p{N}]))*",
    regex.VERSION1,
)


@dataclass(frozen=True)
class Fertility:
    """What a vocabulary made of some text; `bytes` are of UTF-8, `byte_tokens` those that stand for a single byte."""

    documents: int
    characters: int
    bytes: int
    words: int
    tokens: int
    unknown: int
    byte_tokens: int

    @property
    def tokens_per_word(self) -> float | None:
        return self.tokens / self.words if self.words else None

    @property
    def tokens_per_character(self) -> float:
        return self.tokens / max(self.characters, 1)

    @property
    def bytes_per_token(self) -> float:
        return self.bytes / max(self.tokens, 1)

    @property
    def unknown_rate(self) -> float:
        return self.unknown / max(self.tokens, 1)

    @property
    def byte_rate(self) -> float:
        return self.byte_tokens / max(self.tokens, 1)


@dataclass(frozen=True)
class Premium:
    """Tokens of a language and of English on the parallel groups that have both."""

    groups: int
    tokens: int
    reference_tokens: int

    @property
    def ratio(self) -> float:
        return self.tokens / max(self.reference_tokens, 1)


def fertility(tokenizer: Tokenizer, texts: Sequence[str]) -> Fertility:
    """Counts over all of the texts."""
    tokens = unknown = byte_tokens = 0
    is_byte = byte_table(tokenizer)
    for ids in tokenizer.encode_batch(texts):
        array = np.asarray(ids, np.int64)
        tokens += len(array)
        unknown += int((array == tokenizer.unknown_id).sum())
        byte_tokens += int(is_byte[array].sum())
    return Fertility(
        documents=len(texts),
        characters=sum(map(len, texts)),
        bytes=sum(len(text.encode("utf-8", "replace")) for text in texts),
        words=sum(map(count_words, texts)),
        tokens=tokens,
        unknown=unknown,
        byte_tokens=byte_tokens,
    )


def byte_table(tokenizer: Tokenizer) -> np.ndarray:
    """[pieces] of bool: the byte pieces."""
    return np.fromiter((tokenizer.piece_byte(index) >= 0 for index in range(tokenizer.pieces)), bool, tokenizer.pieces)


def count_words(text: str) -> int:
    """Words, or where a script spaces none, characters."""
    return sum(1 for _ in _WORD.finditer(text))


def word_unit(lang: str) -> str:
    """What a language's `words` are: `word` or `character`."""
    language = languages().get(lang)
    return "character" if language is not None and language.script in UNSPACED_SCRIPTS else "word"


def premiums(tokenizer: Tokenizer, parallel: Iterable[tuple[str, str, str]]) -> dict[str, Premium]:
    """Per language, of records (group, language, text): the texts of a group say the same.

    Where a language has several, as Norwegian in two standards, they count as one of their mean length.
    """
    lengths: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for group, lang, text in parallel:
        lengths[lang][group].append(len(tokenizer.encode(text)))
    counts = {lang: {group: fmean(each) for group, each in of_lang.items()} for lang, of_lang in lengths.items()}
    reference = counts.get(REFERENCE, {})
    return {lang: premium for lang in sorted(counts) if (premium := _premium(counts[lang], reference)).groups}


def _premium(counts: Mapping[str, float], reference: Mapping[str, float]) -> Premium:
    shared = counts.keys() & reference.keys()
    ours, theirs = (round(math.fsum(each[group] for group in shared)) for each in (counts, reference))
    return Premium(len(shared), ours, theirs)
