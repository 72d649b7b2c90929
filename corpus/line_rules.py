"""mC4's rules about lines, and C4's, for every script: lines that are no prose go, pages with too little of it too.

Sources: C4 (Raffel et al. 2020, section 2.2) drops lines without a final mark, of few words, with words of a thousand
characters, about JavaScript or cookies, and pages with "lorem ipsum", a curly bracket or fewer than five sentences;
mC4 (Xue et al. 2021, section 3.1) wants three lines of at least 200 characters. Here lengths are given in characters
of Latin script and scaled for the others, and end marks are those of every script; where a script has none, the rules
about marks say nothing. C4 wants three words, which Chinese or Thai do not show: here it is a length.
"""

from collections import Counter
from functools import cache
from typing import Any

import regex

from core.scripts import script_of
from core.sentence_marks import CLOSERS, SENTENCE_MARKS, UNSPACED_SCRIPTS
from corpus.rules_config import RulesConfig
from corpus.script_lengths import ends_lines_in_marks, length_in
from corpus.verdicts import Document, Refusal

# Reasons of rejection.
NO_LINES = "no_lines_left"
LOREM_IPSUM = "lorem_ipsum"
CURLY_BRACKET = "curly_bracket"
FEW_SENTENCES = "too_few_sentences"
FEW_LONG_LINES = "too_few_long_lines"
# Lines dropped, as the build counts them.
NO_END_MARK = "lines_without_end_mark"
SHORT_LINE = "lines_too_short"
LONG_WORD = "lines_with_long_word"
JAVASCRIPT = "lines_about_javascript"
POLICY = "lines_about_policy"

_POLICY_PHRASES = (
    "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies",
)  # fmt: skip
# What people type for the mark that their keyboard lacks, and what closes a quotation.
_TYPED = {"Armn": ":", "Ethi": "፡", "Guru": "|", "Deva": "|", "Beng": "|"}
_ENDING = rf"(?:{SENTENCE_MARKS}{CLOSERS}*|[\"'”’»」』])$"


def ends_in_mark(line: str, script: str) -> bool:
    """Whether a line ends in a sentence mark, closing quotes and brackets aside, or in a quote; three dots are none."""
    if line.endswith(("...", "…")):
        return False
    return _pattern(_ENDING).search(line) is not None or line.endswith(_TYPED.get(script, "."))


def sentences(text: str, script: str) -> int:
    """How many sentence ends a text has; a mark of ASCII counts where white space follows."""
    typed = f"[.!?{_TYPED.get(script, '')}]"
    # A run that no white space follows is not tried again from each of its marks: a page of dots would take an hour.
    marks = rf"[{SENTENCE_MARKS}--[.!?]]+|(?<!{typed}){typed}++{CLOSERS}*+(?=\s|$)"
    return len(_pattern(marks).findall(text))


class LineRules:
    """The rules of a configuration; those that are off cost nothing."""

    def __init__(self, config: RulesConfig) -> None:
        self._config = config
        self._judges_lines = bool(
            config.line_end_marks
            or config.min_line_characters
            or config.max_word_characters
            or config.javascript_lines
            or config.policy_lines
        )
        judges_pages = config.lorem_ipsum or config.curly_bracket or config.min_sentences or config.long_lines
        self.any = bool(self._judges_lines or judges_pages)

    def __call__(self, document: Document) -> Document | Refusal:
        """The document with the lines that pass, or why it is none."""
        config, script = self._config, script_of(document.text)
        if self._judges_lines:
            document = self._drop_lines(document, script)
            if not document.text:
                dropped = ", ".join(f"{count} {reason}" for reason, count in document.changes.items())
                return Refusal(NO_LINES, dropped)
        text = document.text
        if config.lorem_ipsum and "lorem ipsum" in text.lower():
            return Refusal(LOREM_IPSUM, "")
        if config.curly_bracket and (place := text.find("{")) >= 0:
            return Refusal(CURLY_BRACKET, text[max(0, place - 20) : place + 20])
        if config.min_sentences and ends_lines_in_marks(script):
            found = sentences(text, script)
            if found < config.min_sentences:
                return Refusal(FEW_SENTENCES, f"{found}, fewer than {config.min_sentences}")
        if config.long_lines:
            length = length_in(script, config.long_line_characters)
            long = sum(len(line) >= length for line in text.split("\n"))
            if long < config.long_lines:
                detail = f"{long} of {length} characters, fewer than {config.long_lines} ({script})"
                return Refusal(FEW_LONG_LINES, detail)
        return document

    def _drop_lines(self, document: Document, script: str) -> Document:
        kept: list[str] = []
        dropped: Counter[str] = Counter()
        for line in document.text.split("\n"):
            reason = self._judge(line, script) if line.strip() else None
            if reason is None:
                kept.append(line)
            else:
                dropped[reason] += 1
        if not dropped:
            return document
        return document.changed("\n".join(kept).strip(), dropped)

    def _judge(self, line: str, script: str) -> str | None:
        """Why a line goes, None when it stays."""
        config = self._config
        if config.line_end_marks and ends_lines_in_marks(script) and not ends_in_mark(line, script):
            return NO_END_MARK
        if config.min_line_characters and len(line) < length_in(script, config.min_line_characters):
            return SHORT_LINE
        spaced = config.max_word_characters and script not in UNSPACED_SCRIPTS
        if spaced and max(map(len, line.split()), default=0) > config.max_word_characters:
            return LONG_WORD
        lowered = line.lower() if config.javascript_lines or config.policy_lines else ""
        if config.javascript_lines and "javascript" in lowered:
            return JAVASCRIPT
        if config.policy_lines and any(phrase in lowered for phrase in _POLICY_PHRASES):
            return POLICY
        return None


@cache
def _pattern(text: str) -> Any:
    return regex.compile(text, regex.VERSION1)
