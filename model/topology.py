"""How many ways a model is split: validated here, once, before anything slow starts. Light: imports no torch."""

from pydantic import Field

from core.config import Section
from core.errors import MGLMError
from model.config import ModelConfig


class Topology(Section):
    """Tensor × pipeline × data = number of processes; `data` follows from the other two.

    `sequence_parallel` also splits what lies between the split matrices, along the sequence, over the tensor-parallel
    ranks. `virtual_pipeline` gives each pipeline stage that many parts of the model, taken in turn, which shortens the
    pipeline's idle time.
    """

    tensor: int = Field(default=1, gt=0)
    pipeline: int = Field(default=1, gt=0)
    sequence_parallel: bool = False
    virtual_pipeline: int = Field(default=1, gt=0)

    def data(self, world_size: int) -> int:
        """The data-parallel size that fills `world_size` processes.

        Raises:
            MGLMError: tensor × pipeline does not divide the number of processes.
        """
        split = self.tensor * self.pipeline
        if world_size % split:
            raise MGLMError(
                f"the layout of {world_size} processes",
                found=f"tensor {self.tensor} × pipeline {self.pipeline} = {split}",
                expected=f"a product that divides {world_size}",
                action="change --nproc, tensor or pipeline",
            )
        return world_size // split

    def padded(self, length: int) -> int:
        """The length of rows of `length` positions inside the layers: sequence parallelism cuts it in equal parts."""
        return length + (-length % self.tensor if self.sequence_parallel else 0)

    def check(self, model: ModelConfig, vocab_size: int, world_size: int) -> int:
        """The data-parallel size, when the model can be split this way.

        Raises:
            MGLMError: a dimension is not divisible by its split; the message names both.
        """
        for name, size, split, axis in (
            ("num_attention_heads", model.num_attention_heads, self.tensor, "tensor"),
            ("ffn_hidden_size", model.ffn_hidden_size, self.tensor, "tensor"),
            ("the vocabulary", vocab_size, self.tensor, "tensor"),
            ("num_layers", model.num_layers, self.pipeline, "pipeline"),
        ):
            if size % split:
                raise MGLMError(
                    f"{name} {size} under {axis} parallelism {split}",
                    found=f"{size} / {split} = {size / split:.2f}",
                    expected="a whole number",
                    action=f"choose a {axis}-parallel size that divides {size}",
                )
        self._check_parts(model)
        return self.data(world_size)

    def _check_parts(self, model: ModelConfig) -> None:
        if self.sequence_parallel and self.tensor == 1:
            raise MGLMError(
                "sequence_parallel", found="tensor 1", expected="tensor parallelism above 1", action="raise tensor"
            )
        parts = self.pipeline * self.virtual_pipeline
        if self.virtual_pipeline > 1 and self.pipeline == 1:
            raise MGLMError(
                "virtual_pipeline",
                found=f"{self.virtual_pipeline} with pipeline 1",
                expected="pipeline parallelism above 1",
                action="raise pipeline",
            )
        if model.num_layers % parts:
            raise MGLMError(
                f"num_layers {model.num_layers}",
                found=f"pipeline {self.pipeline} × virtual_pipeline {self.virtual_pipeline} = {parts}",
                expected=f"a product that divides {model.num_layers}",
                action="change virtual_pipeline",
            )
