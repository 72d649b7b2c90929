"""The [serve] section: where the service listens, who may use it, and what it takes before it refuses.

Light: imports nothing heavy. Every limit here is named in the answer that refuses, and in /openapi.json.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from core.config import Section


class ServeConfig(Section):
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)  # 0: any free one, named in the log
    device: str | None = None  # None: the GPU if there is one
    precision: str | None = None  # "fp32", "bf16" or "int8"; None: what suits the device

    # Who may use it.
    auth: bool = True  # False: no tokens, and that is wanted
    token_file: str | None = None  # one token a line; more of them come from the environment, MGLM_SERVE_TOKENS
    cors_origins: list[str] = Field(
        default_factory=list
    )  # web sites whose pages may call the API, e.g. "https://news.example"
    allowed_hosts: list[str] = Field(
        default_factory=list
    )  # names it answers to; none: on loopback without tokens its own, else any

    # What a request may hold.
    max_body_bytes: int = Field(default=2 * 1024 * 1024, ge=1024)
    max_texts: int = Field(default=16, ge=1)
    max_characters: int = Field(default=50_000, ge=1)  # of each text
    long_articles: Literal["passages", "cut"] = (
        "passages"  # longer than the context: read in passages, or cut; it says so
    )
    max_passages: int | None = Field(default=None, ge=1)  # that are read of an article, evenly spread; None: all
    max_new_tokens: int | None = Field(default=None, ge=1)  # None: what the model's export says
    max_beams: int = Field(default=8, ge=1)

    # How much is taken on, and for how long.
    max_queue: int = Field(default=64, ge=1)  # texts that wait; a request that does not fit is refused whole
    max_batch: int = Field(default=8, ge=1)  # texts generated together
    gather_ms: float = Field(default=5.0, ge=0)  # how long the first of a batch waits for company
    deadline_s: float = Field(default=60.0, ge=1)  # from arrival to answer; a request may ask for less
    receive_timeout_s: float = Field(default=20.0, gt=0)  # in which a request must have arrived wholly
    max_connections: int = Field(default=1000, ge=1)
    drain_timeout_s: float = Field(default=60.0, ge=0)  # after SIGTERM, for what was accepted
    stuck_after_s: float = Field(default=30.0, gt=0)  # past the last deadline of a batch; then its worker is replaced

    detect_language: bool = True  # where the corpus extra is installed
    lid_model: str | None = None  # another fastText model than the embedded lid.176

    @model_validator(mode="after")
    def _a_full_request_fits_the_queue(self) -> Self:
        if self.max_texts > self.max_queue:
            raise ValueError(f"max_texts ({self.max_texts}) at most max_queue ({self.max_queue}), or none could pass")
        return self
