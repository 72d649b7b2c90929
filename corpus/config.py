"""The [corpus] section: what is read from a record, what is refused, when a language is believed."""

from pydantic import Field

from core.config import Section
from core.detector import DEFAULT_MAX_CHARACTERS


class CorpusConfig(Section):
    """How `mglm corpus build` works. `split_bytes` and `file_bytes` shape the work, not the documents."""

    text_field: str = "text"
    url_field: str = "url"  # a record may lack it
    max_record_bytes: int = Field(default=4 * 1024 * 1024, ge=1)  # a longer line is rejected, and never held whole
    lid_threshold: float = Field(default=0.5, ge=0, le=1)  # less sure than this is `und`; .5: 97.5 % are right
    lid_max_characters: int = Field(default=DEFAULT_MAX_CHARACTERS, ge=1)
    heldout_share: float = Field(default=0.01, ge=0, lt=1)
    split_bytes: int = Field(default=64 * 1024 * 1024, ge=1)  # most input of one task, of uncompressed files
    file_bytes: int = Field(default=256 * 1024 * 1024, ge=1)  # text that one output file is meant to hold

    def identity(self) -> dict[str, object]:
        """The fields that decide which documents come out; the others may change between a killed run and the next."""
        return self.model_dump(exclude={"split_bytes", "file_bytes"})
