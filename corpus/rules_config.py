"""The [corpus.rules] table: which rules judge a document. Off unless it says otherwise here."""

from pathlib import Path

from pydantic import Field

from core.config import Section
from core.errors import MGLMError
from core.manifest import sha256_file


class RulesConfig(Section):
    """Lengths count characters of Latin script and are scaled for the others (corpus/script_lengths.csv)."""

    mojibake: bool = True  # repair text decoded with the wrong code page
    whitespace: bool = False  # runs of spaces to one, of blank lines to one

    # Lines that go.
    line_end_marks: bool = False  # those that end in no sentence mark
    min_line_characters: int = Field(default=0, ge=0)
    max_word_characters: int = Field(default=0, ge=0)  # a longer word takes its line with it; C4: 1,000
    javascript_lines: bool = False
    policy_lines: bool = False  # those about cookies, terms and privacy, in English

    # Documents that go.
    lorem_ipsum: bool = False
    curly_bracket: bool = False
    min_sentences: int = Field(default=0, ge=0)  # C4: 5
    long_lines: int = Field(default=0, ge=0)  # mC4: 3 lines of …
    long_line_characters: int = Field(default=200, ge=1)  # … so many characters
    blocked_words: str = ""  # a file of one word or phrase a line, or a directory of such files, xx.txt by language
    blocked_urls: str = ""  # a file of one domain (with all below it) or beginning of a URL a line
    blocked_ids: str = ""  # a file of doc_ids, e.g. what `mglm corpus delete` printed

    private_data: list[str] = Field(default=[])  # kinds to replace: email, phone, ip, iban, card
    phone_regions: list[str] = Field(
        default=[]
    )  # countries whose phone numbers are known without a country code: DE, CN, US …

    quality_model: str = ""  # a fastText classifier …
    quality_label: str = ""  # … and the label whose probability is the score
    quality_threshold: float = Field(default=0.0, ge=0, le=1)  # a lower score is rejected
    quality_thresholds: dict[str, float] = Field(default={})  # the same by language

    plugins: list[str] = Field(default=[])  # entry points of the group mglm.corpus_rules, or module:factory

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
