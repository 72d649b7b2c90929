"""How a model's arithmetic is carried out: what changes speed and memory, and results by no more than rounding.

Light: imports no torch.
"""

from typing import Literal

from pydantic import Field

from core.config import Section
from core.errors import MGLMError

Precision = Literal["fp32", "bf16", "fp16"]
Attention = Literal["auto", "sdpa", "flex"]
Recompute = Literal["none", "full"]
# As checkpoints name them, by torch's words.
PRECISION_OF_DTYPE: dict[str, Precision] = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


class Execution(Section):
    """`attention` sdpa takes a dense mask, flex a block mask (FlexAttention, compiled on GPUs) and no dropout.

    `head_chunk` positions have logits at a time; with recompute `full` a layer keeps its input alone and computes the
    rest again in the backward pass.
    """

    precision: Precision = "fp32"
    attention: Attention = "auto"
    head_chunk: int = Field(default=1024, gt=0)
    recompute: Recompute = "none"

    def attention_backend(self, attention_dropout: float, *, on_gpu: bool) -> Literal["sdpa", "flex"]:
        """What `auto` means here: flex on GPUs where attention has no dropout, else sdpa.

        Raises:
            MGLMError: flex is demanded and attention has dropout.
        """
        if self.attention == "auto":
            return "flex" if on_gpu and not attention_dropout else "sdpa"
        if self.attention == "flex" and attention_dropout:
            raise MGLMError(
                "attention flex",
                found=f"attention_dropout {attention_dropout:g}",
                expected="0: FlexAttention has no dropout",
                action="set model.attention_dropout=0, or attention to sdpa",
            )
        return self.attention
