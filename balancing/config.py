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
    alpha: float = Field(default=0.3, allow_inf_nan=False)  # XLM-R, mT5 and the paper: 0.3; mBERT and mBART: 0.7
    table: str | None = None  # strategy table: a CSV of a code and a share or weight
    table_column: str | None = None
    curve: Curve = "log-linear"
    regression: Regression = "ols"
    fit_ranks: str | None = None  # A:B, the ranks the line is fitted through
    fit_min_count: float | None = Field(default=None, gt=0)  # and the least count it is fitted through
    count_column: str = "documents"
    code_column: str | None = None  # of a counts file; none: code, else language
    budget_tokens: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_epochs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    sequence_tokens: int = Field(default=512, ge=1)  # a budget holds one sequence of each language at least
    tokens_column: str | None = None  # of a counts file: tokens that a language has
    tokens_unit: float = Field(default=1.0, gt=0, allow_inf_nan=False)  # what one in that column is, e.g. 1e9
    bytes_column: str | None = None  # of a counts file: bytes that a language has, where tokens are to be estimated
    bytes_per_token: float = Field(default=4.0, gt=0, allow_inf_nan=False)  # to estimate the tokens of bytes
    sample_bytes: int = Field(default=1_000_000_000, ge=1)  # at most; what SentencePiece trains on, with room
    max_copies: float = Field(default=10.0, ge=1)  # of a document in a sample, on average over its language
    seed: int = 0

    @field_validator("max_epochs", mode="before")
    @classmethod
    def _none_in_words(cls, value: Any) -> Any:
        return None if value == "none" else value  # TOML has no null
