"""The [corpus] section: what is read from a record, what is refused, when a language is believed."""

from typing import Literal

from pydantic import Field

from core.config import Section
from core.detector import DEFAULT_MAX_CHARACTERS, MINIMUM_LETTERS
from corpus.near_duplicates_config import NearDuplicatesConfig
from corpus.rules_config import RulesConfig

MIB = 1024 * 1024
WORK_FIELDS = ("split_bytes", "run_bytes", "file_bytes", "fan_in", "lid_model")  # the detector counts by its sha256


class CorpusConfig(Section):
    """How `mglm corpus build` works. `split_bytes` to `fan_in` at the end shape the work, not the documents."""

    text_field: str = "text"
    """The field of a JSON record, or column of a Parquet file, that holds the text."""
    url_field: str = "url"
    """The one that holds the address; a record may lack it."""
    text_documents: Literal["file", "line", "paragraph"] = "file"
    """What a document is in a .txt file; a paragraph ends at a blank line."""
    max_expansion: int = Field(default=200, ge=1)
    """A compressed file that grows to more than so many times its size is read no further."""
    max_record_bytes: int = Field(default=4 * 1024 * 1024, ge=1)
    """Most bytes of a record; a longer line is rejected, and never held whole."""
    lid_threshold: float = Field(default=0.5, ge=0, le=1)
    """A document whose language is less sure than this is `und`, undetermined. docs/language_detection.md has what is
    kept and what is right at each."""
    lid_max_characters: int = Field(default=DEFAULT_MAX_CHARACTERS, ge=1)
    """Characters of a document that its language is told by."""
    lid_minimum_letters: int = Field(default=MINIMUM_LETTERS, ge=0)
    """A text with fewer letters is `und`."""
    lid_model: str | None = None
    """A fastText model, or a combination made by `mglm corpus train-lid`. Unset: lid.176 as installed."""
    rules: RulesConfig = RulesConfig()
    """Rules that clean or refuse documents."""
    near_duplicates: NearDuplicatesConfig = NearDuplicatesConfig()
    """Whether documents that are nearly the same as another are refused."""
    heldout_share: float = Field(default=0.01, ge=0, lt=1)
    """Share of the documents that is never trained on, and measured with; `[eval]` must say the same."""
    split_bytes: int = Field(default=64 * MIB, ge=1)
    """Most bytes of input of one part of the work, but for files that cannot be cut."""
    run_bytes: int = Field(default=64 * MIB, ge=1, le=1024 * MIB)
    """Bytes of documents that a task holds while it reads: text, URLs and 256 for each."""
    file_bytes: int = Field(default=128 * MIB, ge=1, le=1024 * MIB)
    """Most bytes of documents of an output file, so counted, held to write it."""
    fan_in: int = Field(default=640, ge=2)
    """Sorted runs that a task merges at a time: each is an open file and a quarter megabyte of text."""

    def identity(self) -> dict[str, object]:
        """The fields that decide which documents come out; the others may change between a killed run and the next."""
        return self.model_dump(exclude=set(WORK_FIELDS))
