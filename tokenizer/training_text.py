"""What SentencePiece is given of a sample: which lines, and which characters may be part of its pieces.

In: rows of a sample, streamed. Out: lines, at most so many bytes of them; characters that become pieces, all others
being left to byte pieces. Nothing here depends on the order of the rows, on files or on machines.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import regex

from core.languages import languages
from core.scripts import SCRIPTS

# Scripts of thousands of characters: there coverage decides, in all others every letter counts.
_OPEN_SCRIPTS = ("Hani", "Hang")
# SentencePiece uses these itself, and would skip a whole line for one of them. U+2581 is its space.
_RESERVED = "\0\t\n\u2581\u2585"
_BUCKETS = 1 << 16
# Where a long line may be cut: after a sentence, else before white space.
_SENTENCE_END = regex.compile(r"(?:[\p{STerm}--[.!?]]|[.!?](?=\s))[\p{Pe}\p{Pf}\"']*", regex.VERSION1)
_SPACE = regex.compile(r"\s")


@dataclass(frozen=True)
class Row:
    """A document of the sample; `key` tells it, and each of its copies, from all others, and decides which of its lines
    are drawn."""

    key: str
    lang: str
    text: str


@dataclass(frozen=True)
class Survey:
    """A pass over the sample: bytes of its lines by their hash, and how often each character occurs in a language."""

    bucket_bytes: np.ndarray
    characters: Mapping[str, Counter[str]]

    @property
    def total_bytes(self) -> int:
        return int(self.bucket_bytes.sum())

    def buckets_within(self, limit_bytes: int) -> int:
        """How many buckets, counted from the first, hold at most `limit_bytes`."""
        return int(np.searchsorted(np.cumsum(self.bucket_bytes), limit_bytes, side="right"))


def survey(rows: Iterable[Row], max_line_bytes: int) -> Survey:
    """Memory: a table of fixed size, and a counter of characters for each language."""
    bucket_bytes = np.zeros(_BUCKETS, np.int64)
    characters: dict[str, Counter[str]] = {}
    for row in rows:
        characters.setdefault(row.lang, Counter()).update(row.text)
        for bucket, line in _lines_with_bucket(row, max_line_bytes):
            bucket_bytes[bucket] += len(line) if line.isascii() else len(line.encode("utf-8"))
    for counter in characters.values():
        counter.pop("\n", None)  # a piece of its own already
    return Survey(bucket_bytes, characters)


def training_lines(rows: Iterable[Row], max_line_bytes: int, buckets: int, kept: frozenset[str]) -> Iterator[str]:
    """The lines of the first so many buckets, cut wherever a character is not `kept` or is a digit.

    ASCII digits stay: SentencePiece keeps those apart itself (`split_digits`), but not those of other scripts.
    """
    table = _CutAt(
        {ord(character): character for character in kept if character.isascii() or not character.isdecimal()}
    )
    for row in rows:
        for bucket, line in _lines_with_bucket(row, max_line_bytes):
            if bucket < buckets:
                yield from filter(None, line.translate(table).split("\n"))


def alphabet(characters: Mapping[str, Counter[str]], coverage: float, room: int) -> tuple[frozenset[str], float]:
    """The characters that become pieces, and the share of the sample's text that they make up.

    Of each language the most frequent characters that make up `coverage` of its text, so that a small language is not
    measured by a large one's characters; and every letter and digit of the alphabets and syllabaries of the 101
    languages (all their scripts but Han and Hangul, where coverage alone decides), however rare. If these are more than
    `room`, the most frequent of them.
    """
    total: Counter[str] = Counter()
    wanted: set[str] = set()
    for counts in characters.values():
        total.update(counts)
        needed, have = coverage * counts.total(), 0
        for character, count in _by_frequency(counts):
            if have >= needed:
                break
            wanted.add(character)
            have += count
    letters = _letters()
    wanted |= {character for character in total if letters.match(character)}
    wanted -= set(_RESERVED)
    kept = [character for character, _ in _by_frequency(total) if character in wanted][:room]
    return frozenset(kept), sum(total[character] for character in kept) / max(total.total(), 1)


def lines_of(text: str, max_bytes: int) -> Iterator[str]:
    """The lines of a text without newlines; longer ones cut after a sentence or at a space where there is one."""
    for line in text.split("\n"):
        if not line:
            continue
        # Four bytes are the most a character takes: the cheap test spares nearly every line the exact one.
        if len(line) * 4 <= max_bytes or len(line.encode("utf-8")) <= max_bytes:
            yield line
        else:
            yield from _cut(line, max_bytes // 4)


def _cut(line: str, limit: int) -> Iterator[str]:
    start = 0
    while len(line) - start > limit:
        stop = start + limit
        middle = start + limit // 2
        ends = [match.end() for match in _SENTENCE_END.finditer(line, middle, stop)]
        spaces = [match.start() for match in _SPACE.finditer(line, middle, stop)] if not ends else []
        stop = (ends or spaces or [stop])[-1]
        yield line[start:stop]
        start = stop
    if start < len(line):
        yield line[start:]


def _lines_with_bucket(row: Row, max_line_bytes: int) -> Iterator[tuple[int, str]]:
    # Each line is drawn by itself, so that a document as large as the limit is drawn from, not left out whole. From the
    # document's hash on, multiples of the golden ratio spread its lines evenly over the buckets.
    place = int.from_bytes(hashlib.blake2b(row.key.encode(), digest_size=8, person=b"mglm-line").digest(), "big")
    for line in lines_of(row.text, max_line_bytes):
        yield place >> 48, line
        place = (place + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF


def _by_frequency(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


@cache
def _letters() -> "regex.Pattern[str]":
    """Letters, marks and digits of the 101 languages' scripts, but for those of thousands of characters."""
    codes = {"Hira", "Kana"} | {language.script for language in languages().values()}
    names = "".join(rf"\p{{Script={name}}}" for code, name in SCRIPTS.items() if code in codes - set(_OPEN_SCRIPTS))
    # Digits and marks that several scripts share (Arabic's vowel signs among them) belong to no script of their own.
    return regex.compile(rf"[[\p{{L}}\p{{M}}]&&[{names}\p{{Script=Inherited}}]]|\p{{Nd}}", regex.VERSION1)


class _CutAt(dict[int, str]):
    def __missing__(self, code: int) -> str:
        return "\n"
