"""The [serve] section: where the service listens, who may use it, and what it takes before it refuses.

Light: imports nothing heavy. Every limit here is named in the answer that refuses, and in /openapi.json.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from core.config import Section


class ServeConfig(Section):
    """Where `mglm serve` listens, who may use it, what it takes on."""

    host: str = "127.0.0.1"
    """Address to listen on; any but this machine's own needs tokens."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0: any free one, named in the log."""
    device: str | None = None
    """cpu, cuda, cuda:1 … Unset: the GPU if there is one."""
    precision: str | None = None
    """Precision of the weights: "fp32", "bf16" or "int8". Unset: what suits the device."""

    auth: bool = True
    """false: no tokens, and that is wanted."""
    token_file: str | None = None
    """A file of one token a line. Unset: tokens come from the environment alone, MGLM_SERVE_TOKENS."""
    cors_origins: list[str] = Field(default_factory=list)
    """Web sites whose pages may call the API, e.g. "https://news.example"."""
    allowed_hosts: list[str] = Field(default_factory=list)
    """Names it answers to, without ports; none: on loopback without tokens its own, else any. Health is told to any."""

    max_body_bytes: int = Field(default=2 * 1024 * 1024, ge=1024)
    """Bytes of a request, at most."""
    max_texts: int = Field(default=16, ge=1)
    """Texts of a request, at most; no more than max_queue."""
    max_characters: int = Field(default=50_000, ge=1)
    """Characters of each text, at most."""
    long_articles: Literal["passages", "cut"] = "passages"
    """What is longer than the context is read in passages, all of it, or cut; the answer says so."""
    max_passages: int | None = Field(default=None, ge=1)
    """Passages that are read of an article, evenly spread. Unset: all."""
    max_new_tokens: int | None = Field(default=None, ge=1)
    """Tokens of a summary at most, also where a request names none. Unset: what the model's export says."""
    max_beams: int = Field(default=8, ge=1)
    """Beams at most, also where a request names none."""

    max_queue: int = Field(default=64, ge=1)
    """Texts that wait, at most; a request that does not fit is refused whole."""
    max_batch: int = Field(default=8, ge=1)
    """Texts generated together, at most, and passages of a long one: with max_beams, what bounds the memory."""
    gather_ms: float = Field(default=5.0, ge=0)
    """Milliseconds that the first of a batch waits for company."""
    deadline_s: float = Field(default=60.0, ge=1)
    """Seconds from arrival to answer; a request may ask for less."""
    receive_timeout_s: float = Field(default=20.0, gt=0)
    """Seconds in which a request must have arrived wholly."""
    max_connections: int = Field(default=1000, ge=1)
    """Connections open at the same time, at most."""
    drain_timeout_s: float = Field(default=60.0, ge=0)
    """Seconds after SIGTERM for what was accepted."""
    stuck_after_s: float = Field(default=30.0, gt=0)
    """Seconds past the last deadline of a batch; then its worker is replaced."""

    detect_language: bool = True
    """Tell the language of a text, where the detector is installed, as by `make setup` and in the image."""
    lid_model: str | None = None
    """The fastText model that tells it. Unset: the embedded lid.176."""

    @model_validator(mode="after")
    def _a_full_request_fits_the_queue(self) -> Self:
        if self.max_texts > self.max_queue:
            raise ValueError(f"max_texts ({self.max_texts}) at most max_queue ({self.max_queue}), or none could pass")
        return self
