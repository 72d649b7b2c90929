"""The `[model]` section: the shape of a GLM, by preset or field by field. Light: imports no torch.

The vocabulary's size is not in it: that comes from the tokenizer.
"""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from core.config import RunConfig, Section

# `large` is the model of the paper (section 3); smaller ones are its shape on smaller machines, `xxl` that of GLM-10B.
PRESETS: dict[str, dict[str, int]] = {
    "tiny": {"num_layers": 4, "hidden_size": 128, "num_attention_heads": 4},
    "small": {"num_layers": 8, "hidden_size": 512, "num_attention_heads": 8},
    "base": {"num_layers": 12, "hidden_size": 768, "num_attention_heads": 12},
    "large": {"num_layers": 24, "hidden_size": 1536, "num_attention_heads": 16},
    "xxl": {"num_layers": 48, "hidden_size": 4096, "num_attention_heads": 64},
}
DEFAULT_PRESET = "tiny"


class ModelConfig(Section):
    """A GLM's shape. `preset` fills what is not written out; explicit fields win over it."""

    preset: Literal["tiny", "small", "base", "large", "xxl"] | None = None
    """A shape by name; `large` is the paper's, `xxl` that of GLM-10B. Unset: tiny."""
    num_layers: int = Field(gt=0)
    """Transformer layers. Unset: the preset's."""
    hidden_size: int = Field(gt=0)
    """Width of the layers, a multiple of num_attention_heads. Unset: the preset's."""
    num_attention_heads: int = Field(gt=0)
    """Attention heads of a layer. Unset: the preset's."""
    ffn_hidden_size: int = Field(gt=0)
    """Width inside the feed-forward part. Unset: 4 × hidden_size."""
    sequence_length: int = Field(default=512, gt=1)
    """Context tokens of a pretraining sample."""
    max_positions: int = Field(default=1025, gt=1)
    """Rows of both position tables, so of the longest context and of the longest span (+ 1)."""
    hidden_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of what layers put out. Unset in fine-tuning: the checkpoint's."""
    attention_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of attention's weights. Unset in fine-tuning: the checkpoint's."""
    layernorm_epsilon: float = Field(default=1e-5, gt=0)
    """Added to the variance in every LayerNorm."""
    init_std: float = Field(default=0.02, gt=0)
    """Standard deviation of the weights that training begins with."""

    @model_validator(mode="before")
    @classmethod
    def resolve(cls, given: Any) -> Any:
        """Fills a preset's values, and those that follow from others, around the explicit fields."""
        if not isinstance(given, dict):
            return given
        preset = PRESETS.get(str(given.get("preset") or DEFAULT_PRESET), {})
        filled = {**preset, **given}
        if "ffn_hidden_size" not in filled and isinstance(filled.get("hidden_size"), int):
            filled["ffn_hidden_size"] = 4 * filled["hidden_size"]
        return filled

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is no multiple of num_attention_heads {self.num_attention_heads}"
            )
        if self.sequence_length > self.max_positions:
            raise ValueError(f"sequence_length {self.sequence_length} is above max_positions {self.max_positions}")
        return self

    def parameters(self, vocab_size: int) -> int:
        """Number of trainable parameters; the tied head is counted once.

        The paper's shape at its vocabulary of 250,112 gives 1,067,280,384, of which 679,956,480 in the layers.
        """
        tables = (vocab_size + 2 * self.max_positions) * self.hidden_size
        return tables + self.num_layers * self.parameters_per_layer() + 2 * self.hidden_size

    def parameters_per_layer(self) -> int:
        """Weights and biases of one layer: QKV, attention output, the two FFN matrices, two LayerNorms."""
        hidden, ffn = self.hidden_size, self.ffn_hidden_size
        attention = (hidden + 1) * 3 * hidden + (hidden + 1) * hidden
        return attention + (hidden + 1) * ffn + (ffn + 1) * hidden + 4 * hidden

    def weight_shape(self) -> dict[str, int]:
        """The fields that two configs must share for one to load the other's weights."""
        names = ("num_layers", "hidden_size", "num_attention_heads", "ffn_hidden_size", "max_positions")
        return {name: getattr(self, name) for name in names}


def authors_shape(run: RunConfig) -> ModelConfig:
    """The [model] section, for weights that do not tell their shape: the paper's unless it names one."""
    table = run.tables.setdefault("model", {})
    if "num_layers" not in table:
        table.setdefault("preset", "large")
    return run.section("model", ModelConfig)
