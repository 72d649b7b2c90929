"""The [corpus.rules] table: which rules judge a document. Off unless it says otherwise here."""

from pathlib import Path

from pydantic import Field

from core.config import Section
from core.errors import MGLMError
from core.manifest import sha256_file


class RulesConfig(Section):
    """Lengths count characters of Latin script and are scaled for the others (corpus/script_lengths.csv)."""

    mojibake: bool = True
    """Repair text that was decoded with the wrong code page."""
    whitespace: bool = False
    """Make runs of spaces one, and runs of blank lines one."""

    line_end_marks: bool = False
    """Take out lines that end in no sentence mark."""
    min_line_characters: int = Field(default=0, ge=0)
    """Take out shorter lines; 0: none."""
    max_word_characters: int = Field(default=0, ge=0)
    """A longer word takes its line with it; 0: none does. C4: 1,000."""
    javascript_lines: bool = False
    """Take out lines about JavaScript."""
    policy_lines: bool = False
    """Take out lines about cookies, terms and privacy, in English."""

    lorem_ipsum: bool = False
    """Refuse documents that have "lorem ipsum"."""
    curly_bracket: bool = False
    """Refuse documents that have a curly bracket."""
    min_sentences: int = Field(default=0, ge=0)
    """Refuse documents of fewer sentences. C4: 5."""
    long_lines: int = Field(default=0, ge=0)
    """Refuse documents that have fewer than so many long lines. mC4: 3."""
    long_line_characters: int = Field(default=200, ge=1)
    """From what length on a line is long."""
    blocked_words: str = ""
    """A file of one word or phrase a line, or a directory of such files, xx.txt by language: documents that have one
    are refused."""
    blocked_urls: str = ""
    """A file of one domain (with all below it) or beginning of a URL a line: documents from there are refused."""
    blocked_ids: str = ""
    """A file of doc_ids, e.g. what `mglm corpus delete` printed: these documents are refused."""

    private_data: list[str] = Field(default=[])
    """Kinds to replace: email, phone, ip, iban, card."""
    phone_regions: list[str] = Field(default=[])
    """Countries whose phone numbers are known without a country code: DE, CN, US …"""

    quality_model: str = ""
    """A fastText classifier that scores documents."""
    quality_label: str = ""
    """The label of that classifier whose probability is the score."""
    quality_threshold: float = Field(default=0.0, ge=0, le=1)
    """Refuse documents of a lower score."""
    quality_thresholds: dict[str, float] = Field(default={})
    """The same by language, e.g. {de = 0.3}, where it is to differ."""

    plugins: list[str] = Field(default=[])
    """Rules of your own: entry points of the group mglm.corpus_rules, or module:factory."""

    def lists_and_models(self) -> dict[str, str]:
        """sha256 of every file that rules read, by path: they decide what comes out as much as the settings do.

        Raises:
            MGLMError: one of them is not there.
        """
        found: dict[str, str] = {}
        for field in ("blocked_words", "blocked_urls", "blocked_ids", "quality_model"):
            if not (given := getattr(self, field)):
                continue
            path = Path(given)
            files = sorted(path.glob("*.txt")) if path.is_dir() and field == "blocked_words" else [path]
            if not files or not all(file.is_file() for file in files):
                kind = "a directory without .txt files" if path.is_dir() else "no such file"
                thing, expected = f"corpus.rules.{field} {given}", "a file, see docs/corpus_rules.md"
                raise MGLMError(thing, found=kind, expected=expected)
            found |= {str(file): sha256_file(file) for file in files}
        return found
