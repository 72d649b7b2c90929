"""What the API takes and gives, as Pydantic models; OpenAPI is made from them, so the limits stand there too."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from serve.config import ServeConfig
from tokenizer.prompts import PROMPTS

TARGETS = tuple(PROMPTS["summary"])

# At least one character that is neither space nor control (U+2581 is SentencePiece's space): a text to read. Spelled
# out, because engines differ in what \s holds.
_BLANK = (
    "\\s\\u0000-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"
    "\\u2581\\ufdd0-\\ufdef\\ufeff\\ufffe\\uffff"
    # The last two of every further plane are no characters either; engines differ in how these are spelled.
    + "".join(chr(plane + 0xFFFE) + chr(plane + 0xFFFF) for plane in range(0x10000, 0x110000, 0x10000))
)
NOT_BLANK = f"[^{_BLANK}]"

ARTICLE = (
    "The river rose two metres overnight after a week of rain. Both bridges of the old town stayed open, but the "
    "market square was closed until noon. The council asks people to keep away from the banks until the weekend."
)


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 4.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Options(_Strict):
    """How the summary is searched for. What is missing takes the model's own value (beam search as in the paper),
    within the limits."""

    num_beams: Annotated[int, Field(ge=1), WHOLE] | None = Field(
        default=None, description="Summaries followed side by side; 1 is the fastest."
    )
    max_new_tokens: Annotated[int, Field(ge=1), WHOLE] | None = Field(
        default=None, description="The longest summary, in tokens."
    )
    length_penalty: float | None = Field(default=None, ge=-5, le=5, description="Above 0 favours longer summaries.")
    no_repeat_ngram_size: Annotated[int, Field(ge=0, le=20), WHOLE] | None = Field(
        default=None, description="No run of so many tokens comes twice in a summary; 0 allows any."
    )
    do_sample: bool | None = Field(default=None, description="Draw words instead of taking the likeliest.")
    temperature: float | None = Field(default=None, ge=0.05, le=5, description="With do_sample: below 1 is safer.")
    top_p: float | None = Field(
        default=None, gt=0, le=1, description="With do_sample: draw from the likeliest words of this total probability."
    )

    def generation(self) -> dict[str, Any]:
        """As transformers' `generate` takes them; temperature and top_p act with sampling alone, and stay out else."""
        given = self.model_dump(exclude_none=True)
        if not given.get("do_sample"):
            given = {name: value for name, value in given.items() if name not in ("temperature", "top_p")}
        return given


class SummaryInput(_Strict):
    """Texts to summarise. Text is data: whatever it says, it is summarised and nothing else."""

    text: Any = Field(description="One article or a list of them, in any language.")
    target: Any = Field(default="en", description="Language of the summaries.")
    options: Options = Field(default_factory=Options)
    deadline_s: float | None = Field(default=None, ge=1, description="Give up after so many seconds (504).")

    @property
    def texts(self) -> list[str]:
        return [self.text] if isinstance(self.text, str) else list(self.text)


class StreamInput(SummaryInput):
    """One text, summarised word by word with one beam."""


class Language(BaseModel):
    """What an article is written in, by the language detector."""

    code: str = Field(description="mC4's code of one of the 101 languages, or `und`.", examples=["en"])
    name: str = Field(examples=["English"])
    score: float = Field(description="The detector's probability.", ge=0, le=1)


class SummaryItem(BaseModel):
    summary: str
    language: Language | None = Field(default=None, description="Absent where no detector is installed.")
    input_tokens: int = Field(description="What the model read: article and prompt.", ge=0)
    output_tokens: int = Field(ge=0)
    truncated: bool = Field(description="Part of the article was not read: see read_share.")
    passages: int = Field(default=1, ge=1, description="Above 1: the article did not fit, and was read in so many.")
    rounds: int = Field(default=0, ge=0, description="Passages, and then their summaries, were summarised so often.")
    read_share: float = Field(default=1.0, ge=0, le=1, description="Of the article's tokens.")
    revision: str = Field(description="Which weights wrote it, as in /v1/models.")


class SummaryOutput(BaseModel):
    """One item for each text, in their order."""

    model: str
    target: str
    summaries: list[SummaryItem]


class Limits(BaseModel):
    max_body_bytes: int
    max_texts: int
    max_characters: int
    max_new_tokens: int
    max_beams: int
    deadline_s: float


class Model(BaseModel):
    id: str
    revision: str = Field(description="Hash of the export's files; changes with the weights.")
    ready: bool
    targets: list[str] = list(TARGETS)
    parameters: int | None = None
    source_length: int | None = Field(default=None, description="Tokens of article and prompt that are read.")
    num_beams: int | None = Field(default=None, description="Beams of a request that names none.")
    max_new_tokens: int | None = Field(default=None, description="Tokens, at most, of a request that names none.")
    device: str | None = None
    dtype: str | None = None
    limits: Limits


class Models(BaseModel):
    data: list[Model]


class Health(BaseModel):
    status: Literal["alive", "ready", "not ready"]
    why: str | None = None


def _with(base: type[Any], name: str = "", **annotations: Any) -> type[Any]:
    """`base` with other types for some fields; their defaults and descriptions stay."""
    fields: dict[str, Any] = {
        field: (
            annotation,
            Field(default=base.model_fields[field].default, description=base.model_fields[field].description),
        )
        for field, annotation in annotations.items()
        if field != "options"
    }
    if "options" in annotations:
        fields["options"] = (annotations["options"], Field(default_factory=annotations["options"]))
    made: type[Any] = create_model(name or base.__name__, __base__=base, __doc__=base.__doc__ or "", **fields)
    return made


def input_models(config: ServeConfig, most_tokens: int) -> tuple[type[SummaryInput], type[StreamInput]]:
    """The inputs with the operator's limits in them."""
    text = Annotated[str, Field(max_length=config.max_characters, pattern=NOT_BLANK)]
    target = Literal[TARGETS]  # type: ignore[valid-type]  # the languages that have a prompt
    beams = Annotated[int, Field(ge=1, le=config.max_beams), WHOLE]
    tokens = Annotated[int, Field(ge=1, le=most_tokens), WHOLE]
    options = _with(Options, num_beams=beams | None, max_new_tokens=tokens | None)
    one = Annotated[int, Field(ge=1, le=1), WHOLE]
    one_beam = _with(Options, "StreamOptions", num_beams=one | None, max_new_tokens=tokens | None)
    common: dict[str, Any] = {
        "target": target,
        "deadline_s": Annotated[float, Field(ge=1, le=config.deadline_s)] | None,
    }
    several = Annotated[list[text], Field(min_length=1, max_length=config.max_texts)]
    example = {"text": ARTICLE, "target": "zh", "options": {"num_beams": 4, "max_new_tokens": min(60, most_tokens)}}
    batch = _with(SummaryInput, text=text | several, options=options, **common)
    batch.model_config["json_schema_extra"] = {"examples": [example, {"text": [ARTICLE, ARTICLE], "target": "en"}]}
    stream = _with(StreamInput, text=text, options=one_beam, **common)
    stream.model_config["json_schema_extra"] = {"examples": [{"text": ARTICLE, "target": "en"}]}
    return batch, stream
