"""What ROUGE counts as words, language by language, without stemming.

The reference that people compare multilingual summaries with is XL-Sum's `multilingual_rouge_scoring` (Hasan et al.,
2021, https://github.com/csebuetnlp/xl-sum). `xlsum-*` here gives the words that it gives with its stemmer off (checked
against it on 97 languages; U+2581 alone comes out otherwise):

- lower case; control and format characters go; Unicode punctuation and ASCII symbols separate words;
- Chinese is then cut by jieba, Thai by PyThaiNLP's newmm. What separated two words is a space by now and counts as a
  word of its own, as it does there;
- elsewhere a word is a run of letters with their marks, or a run of digits; other symbols and Han stand alone.

Not as there: XL-Sum's published figures stem the eighteen languages for which it has a stemmer; Japanese it cuts with
MeCab and UniDic and Burmese into syllables. Those two, Khmer and Lao are scored here by `graphemes`, what a reader
takes for one character, because they write no spaces between words.
"""

import os
import string
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import regex

from core.languages import canonical_code

_HAN = r"\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF\U00020000-\U0002CEAF\U0002F800-\U0002FA1F"
_MOST_CUTS = 2**17
_DIGIT = regex.compile("[0-9]")
_SPACE = "\uff050020"
# A Han letter is cut out of the run it stands in; marks on it stay with what follows.
_LETTERS = rf"(?:(?![{_HAN}])\p{{L}}\p{{M}}*)"
_WORD = regex.compile(rf"[{_HAN}]|(?<=[{_HAN}])\p{{M}}+{_LETTERS}*|{_LETTERS}+|(?:\p{{N}}\p{{M}}*)+|\S\p{{M}}*")


@dataclass(frozen=True)
class Words:
    """A way to cut text into words, with the name that results carry; fits `rouge_score.RougeScorer(tokenizer=…)`."""

    name: str
    tokenize: Callable[[str], list[str]]


def words_of(language: str) -> Words:
    """The way of `language` (a code such as `zh`); languages that write spaces share one."""
    code = canonical_code(language)
    if code == "zh":
        return Words("xlsum-jieba", lambda text: _jieba_cut(_separated(text)))
    if code == "th":
        return Words("xlsum-newmm", lambda text: _newmm_cut(_separated(text)))
    if code in ("ja", "km", "lo", "my"):
        return Words("graphemes", lambda text: regex.findall(r"(?!\s)\X", _separated(text)))
    return Words("xlsum-words", _spaced_words)


class _Signs(dict[int, int | str | None]):
    """For `str.translate`: punctuation and white space become a space, invisible characters nothing. Filled as met."""

    def __missing__(self, code: int) -> int | str | None:
        character = chr(code)
        category = unicodedata.category(character)
        if character in "\t\n\r" or category == "Zs" or category[0] == "P" or character in string.punctuation:
            self[code] = " "
        elif category[0] == "C" or character == "\ufffd":
            self[code] = None
        else:
            self[code] = code
        return self[code]


_SIGNS = _Signs()


def _chunks(text: str) -> list[str]:
    """Lower case, no control characters, cut at punctuation and white space."""
    return text.lower().translate(_SIGNS).split()


def _separated(text: str) -> str:
    return " ".join(_chunks(text))


class _Cuts(dict[str, tuple[str, ...]]):
    """Chunk → its words. The same chunks come again and again; emptied before it takes much memory."""

    def __missing__(self, chunk: str) -> tuple[str, ...]:
        words = _WORD.findall(chunk)
        if unicodedata.category(chunk[0])[0] == "M":  # a mark on the space before: there it is written so
            words[0] = _SPACE + words[0]
        if len(self) > _MOST_CUTS:
            self.clear()
        self[chunk] = tuple(words)
        return self[chunk]


_CUTS = _Cuts()


def _spaced_words(text: str) -> list[str]:
    chunks = _chunks(text)
    if not chunks or (text.isascii() and _DIGIT.search(text) is None):
        return chunks
    words = _WORD.findall(chunks[0])
    for chunk in chunks[1:]:
        words += _CUTS[chunk]
    return list(words)


def _jieba_cut(text: str) -> list[str]:
    return list(_jieba().cut(text)) if text else []


def _newmm_cut(text: str) -> list[str]:
    return list(_newmm()(text)) if text else []


@cache
def _jieba() -> Any:
    """jieba with its own dictionary, built in memory (a second).

    Its `initialize` would load and write a cache under a guessable name in the shared temporary directory, and log.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes and pkg_resources: it is an old package
        import jieba

    tokenizer = jieba.Tokenizer()
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    return tokenizer


@cache
def _newmm() -> Callable[[str], list[str]]:
    """PyThaiNLP's newmm with the dictionary in the package: nothing downloaded, no folder made in the home."""
    os.environ.setdefault("PYTHAINLP_OFFLINE", "1")
    if "PYTHAINLP_READ_MODE" not in os.environ:  # the older name of the same; both together are refused
        os.environ.setdefault("PYTHAINLP_READ_ONLY", "1")
    from pythainlp.tokenize import word_tokenize

    return lambda text: list(word_tokenize(text, engine="newmm"))
