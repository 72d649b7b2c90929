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
    url_field: str = "url"  # a record may lack it
    text_documents: Literal["file", "line", "paragraph"] = "file"  # of .txt; a paragraph ends at a blank line
    max_expansion: int = Field(default=200, ge=1)  # a compressed file that grows more is read no further
    max_record_bytes: int = Field(default=4 * 1024 * 1024, ge=1)  # a longer line is rejected, and never held whole
    lid_threshold: float = Field(default=0.5, ge=0, le=1)  # less sure than this is `und`; .5: 97.5 % are right
    lid_max_characters: int = Field(default=DEFAULT_MAX_CHARACTERS, ge=1)
    lid_minimum_letters: int = Field(default=MINIMUM_LETTERS, ge=0)  # a text with fewer is `und`
    lid_model: str | None = None  # a fastText model or a combination; none: lid.176 as installed
    rules: RulesConfig = RulesConfig()
    near_duplicates: NearDuplicatesConfig = NearDuplicatesConfig()
    heldout_share: float = Field(default=0.01, ge=0, lt=1)
    split_bytes: int = Field(default=64 * MIB, ge=1)  # most input of one part of the work, save uncut files
    run_bytes: int = Field(default=64 * MIB, ge=1, le=1024 * MIB)  # text that a task holds while it reads
    file_bytes: int = Field(default=128 * MIB, ge=1, le=1024 * MIB)  # most text of an output file, held to write it
    fan_in: int = Field(
        default=640, ge=2
    )  # runs that a task merges: of each an open file and a quarter megabyte of text

    def identity(self) -> dict[str, object]:
        """The fields that decide which documents come out; the others may change between a killed run and the next."""
        return self.model_dump(exclude=set(WORK_FIELDS))
