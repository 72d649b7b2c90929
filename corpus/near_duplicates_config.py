"""The [corpus.near_duplicates] table. Light: the libraries of MinHash load when it is used."""

from pydantic import Field

from core.config import Section


class NearDuplicatesConfig(Section):
    """Near-duplicates by MinHash, as FineWeb has it (Penedo et al. 2024): a pair of similarity 0.8 is found with
    probability 0.92, of 0.68 with one half, of 0.5 with 0.05."""

    enabled: bool = False
    """Whether near-duplicates are looked for, and all but one of them refused."""
    words: int = Field(default=5, ge=1)
    """Length of the runs of words whose sets are compared."""
    bands: int = Field(default=14, ge=1)
    """Bands of a signature, one of which must be equal; more find more."""
    rows: int = Field(default=8, ge=1)
    """Values of a band; more find less."""
