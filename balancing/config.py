"""The [balancing] section; each option of the command line of the same name overrides its field."""

from typing import Literal

from pydantic import Field

from core.config import Section

Strategy = Literal["two-stage", "alpha", "raw", "uniform"]
Curve = Literal["log-linear", "zipf"]


class BalancingConfig(Section):
    """How `mglm balancing fit` makes a plan and `mglm balancing sample` follows it."""

    strategy: Strategy = "two-stage"
    alpha: float = Field(default=0.3, ge=0, le=1)  # XLM-R, mT5 and the paper: 0.3; mBERT and mBART: 0.7
    curve: Curve = "log-linear"
    count_column: str = "documents"
    budget_tokens: float | None = Field(default=None, gt=0)
    max_epochs: float | None = Field(default=None, gt=0)
    tokens_column: str | None = None  # of a counts file: tokens that a language has
    bytes_per_token: float = Field(default=4.0, gt=0)  # to estimate the tokens that documents hold
    sample_bytes: int = Field(default=1_000_000_000, ge=1)  # at most; what SentencePiece trains on, with room
    max_copies: float = Field(default=10.0, ge=1)  # of a document in a sample, on average over its language
    seed: int = 0
