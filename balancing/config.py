"""The [balancing] section; each option of the command line of the same name overrides its field."""

from typing import Any, Literal

from pydantic import Field, field_validator

from core.config import Section

Strategy = Literal["two-stage", "alpha", "raw", "uniform", "unimax", "table"]
Curve = Literal["log-linear", "zipf"]
Regression = Literal["ols", "theil-sen"]


class BalancingConfig(Section):
    """How `mglm balancing fit` makes a plan and `mglm balancing sample` follows it."""

    strategy: Strategy = "two-stage"
    """How counts become shares (docs/balancing.md)."""
    alpha: float = Field(default=0.3, allow_inf_nan=False)
    """Exponent of the counts: 0 is uniform, 1 as counted. XLM-R, mT5 and the paper: 0.3; mBERT and mBART: 0.7."""
    table: str | None = None
    """For strategy table: a CSV of a language's code and its share or weight. Unset: the other strategies need none."""
    table_column: str | None = None
    """Column of that table. Unset: share, else weight."""
    curve: Curve = "log-linear"
    """Of two-stage: what is fitted to the counts; log-linear is the paper's line."""
    regression: Regression = "ols"
    """Of two-stage: how it is fitted; outliers do not pull theil-sen."""
    fit_ranks: str | None = None
    """The ranks A:B that the line is fitted through. Unset: all."""
    fit_min_count: float | None = Field(default=None, gt=0)
    """The least count that the line is fitted through. Unset: any."""
    count_column: str = "documents"
    """The column of counts to balance by: documents, characters, bytes or, of shards, tokens."""
    code_column: str | None = None
    """Column of the languages' codes in a counts file. Unset: code, else language."""
    budget_tokens: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Tokens of the whole training, e.g. 8e11, to tell tokens and epochs by; unimax and max_epochs need it. Unset: none
    are told."""
    max_epochs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Most passes over a language's text; what is cut goes to the others. Unset, or "none": any number, but one with
    unimax."""
    sequence_tokens: int = Field(default=512, ge=1)
    """Tokens of a training sequence: a budget holds one of each language at least."""
    tokens_column: str | None = None
    """Column of the tokens that a language has, in a counts file. Unset: they are estimated of
    bytes_column, where that is set."""
    tokens_unit: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """What one in that column is, e.g. 1e9."""
    bytes_column: str | None = None
    """Column of the bytes that a language has, in a counts file, where tokens are to be estimated. Unset: none."""
    bytes_per_token: float = Field(default=4.0, gt=0, allow_inf_nan=False)
    """Bytes of a token, to estimate the tokens of bytes."""
    sample_bytes: int = Field(default=1_000_000_000, ge=1)
    """Size of `mglm balancing sample`, at most; what SentencePiece trains on, with room."""
    max_copies: float = Field(default=10.0, ge=1)
    """Copies of a document in a sample at most, on average over its language."""
    seed: int = 0
    """Seed of the sample's draws."""

    @field_validator("max_epochs", mode="before")
    @classmethod
    def _none_in_words(cls, value: Any) -> Any:
        return None if value == "none" else value  # TOML has no null
