"""Lists of words and addresses that no document may have. The lists are the user's: none comes with the project.

Words: one word or phrase a line, `#` begins a comment; a directory of `xx.txt` gives each language its own, as the
lists that C4 used are laid out. Addresses: one domain a line, which means all domains below it too, or a beginning of a
URL with its path, as the UT1 lists have them.
"""

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import regex

from core.deletion import read_ids
from core.documents import document_id
from core.errors import MGLMError
from core.languages import canonical_code
from core.text import normalise
from corpus.verdicts import Document, Refusal

BLOCKED_WORD = "blocked_word"
BLOCKED_URL = "blocked_url"
BLOCKED_ID = "blocked_id"
_SCHEME = regex.compile(r"(?:[a-z][a-z0-9+.-]*:)?//", regex.IGNORECASE)
_HOST_CHARACTERS = 253  # RFC 1035 (2.3.4), without the dot at its end
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")


class BlockedWords:
    """Refuses a document with one of the words, whatever their case; words of unspaced scripts are found anywhere."""

    def __init__(self, given: str) -> None:
        path = Path(given)
        if path.is_dir():
            lists = {canonical_code(file.stem): read_list(file) for file in sorted(path.glob("*.txt"))}
            self._patterns = {lang: _words(words) for lang, words in lists.items()}
            self._every: Any = None
        else:
            self._patterns, self._every = {}, _words(read_list(path))

    def __call__(self, document: Document) -> Document | Refusal:
        pattern = self._every or self._patterns.get(document.lang)
        found = pattern.search(document.text.casefold()) if pattern else None
        return Refusal(BLOCKED_WORD, found[0]) if found else document


class BlockedUrls:
    """Refuses a document by its address; one without an address, or with a broken one, passes."""

    def __init__(self, given: str) -> None:
        """Raises MGLMError: an entry has no domain; it would block every document without one."""
        lines = read_list(Path(given))
        entries = [_address(line) for line in lines]
        if broken := [line for line, (host, _) in zip(lines, entries, strict=True) if not host]:
            raise MGLMError(f"list {given}", found=broken[0], expected="a domain or a URL with one", action="mend it")
        self._domains = {host for host, path in entries if not path}
        self._paths: dict[str, list[str]] = {}  # in order, and none begins with another: lists name many of one host
        for host, path in sorted(entries):
            paths = self._paths.setdefault(host, [])
            if path and not (paths and path.startswith(paths[-1])):
                paths.append(path)

    def __call__(self, document: Document) -> Document | Refusal:
        if not document.url:
            return document
        host, path = _address(document.url)
        if len(host) > _HOST_CHARACTERS:  # no host, and as many domains above it as it has dots
            return document
        labels = host.split(".")
        for start in range(len(labels)):
            domain = ".".join(labels[start:])
            if domain in self._domains or _begins_with_one(path, self._paths.get(domain, [])):
                return Refusal(BLOCKED_URL, document.url)
        return document


class BlockedIds:
    """Refuses a document by the hash of its text: what was deleted once does not come back."""

    def __init__(self, given: str) -> None:
        self._ids = read_ids(Path(given))

    def __call__(self, document: Document) -> Document | Refusal:
        doc_id = document_id(document.text)
        return Refusal(BLOCKED_ID, doc_id) if doc_id in self._ids else document


def read_list(path: Path) -> list[str]:
    """The entries of a list, normalised, in the order of the file.

    Raises:
        MGLMError: not UTF-8, or nothing in it.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MGLMError(f"list {path}", found=str(error), expected="a UTF-8 text file") from None
    entries = [text for line in lines if (text := normalise(line)) and not text.startswith("#")]
    if not entries:
        raise MGLMError(f"list {path}", found="no entry", expected="one entry a line", action="remove or fill it")
    return entries


def _words(words: list[str]) -> Any:
    folded = {word.casefold() for word in words}
    inside = {word for word in folded if _UNSPACED.search(word)}
    alone = folded - inside
    parts = [r"(?<![\w\p{M}])\L<alone>(?![\w\p{M}])"] if alone else []
    parts += [r"\L<inside>"] if inside else []
    lists = {name: sorted(words) for name, words in (("alone", alone), ("inside", inside)) if words}
    return regex.compile("|".join(parts), **lists)


def _begins_with_one(path: str, beginnings: Sequence[str]) -> bool:
    """Whether `path` begins with one of them, which are in order and none of which begins with another."""
    place = bisect_right(beginnings, path)
    return place > 0 and path.startswith(beginnings[place - 1])


def _address(url: str) -> tuple[str, str]:
    """Host without `www.`, in lower case; path without the slash at its end."""
    try:
        parts = urlsplit(url if _SCHEME.match(url) else f"//{url}")  # "//" also comes in paths
        host = parts.hostname or ""
    except ValueError:
        return "", ""
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return host.removeprefix("www.").rstrip("."), path.rstrip("/")
