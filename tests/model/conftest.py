"""A world of one process for megatron, a small tokenizer, and the numerical reference of the authors' GLM."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
from torch import Tensor

from model.config import ModelConfig
from model.cpu import cpu_runtime
from model.hf.configuration_mglm import MGLMConfig
from model.hf.modeling_mglm import GLMForConditionalGeneration
from model.weights import authors_to_hf
from tokenizer.encoding import Tokenizer

REFERENCE = Path(__file__).parents[2].parent / "shared" / "reference" / "glm_tiny"
SENTENCE = "the river rises in spring and bridges hold while people walk over them to see water grass 河水 上涨 。"
WORDS = SENTENCE.split()


@pytest.fixture
def megatron_world() -> Iterator[None]:
    """megatron-core on the CPU in a process group of one."""
    from model.parallel import initialize, shut_down
    from model.topology import Topology

    with cpu_runtime():
        initialize(Topology(), seed=7)
        try:
            yield
        finally:
            shut_down()


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Pieces of a few made-up sentences, trained as the tokenizer stage trains, in miniature."""
    generator = np.random.default_rng(0)
    sentences = [" ".join(generator.choice(WORDS, 12)) + "\n" for _ in range(400)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=330,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        hard_vocab_limit=False,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    return Tokenizer(model.getvalue())


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Texts of different lengths that the tokenizer knows."""
    generator = np.random.default_rng(1)
    return [" ".join(generator.choice(WORDS, length)) for length in (5, 40, 17, 80, 2)]


@dataclass(frozen=True)
class Reference:
    """The authors' tiny GLM: weights in their newer naming, and per case inputs, logits (fp64) and losses."""

    described: dict[str, Any]
    arrays: Any

    @property
    def weights(self) -> dict[str, Tensor]:
        prefix = "weights/"
        return {name[len(prefix) :]: torch.from_numpy(self.arrays[name]) for name in self.arrays if name[:8] == prefix}

    @property
    def model(self) -> ModelConfig:
        config = self.described["config"]
        return ModelConfig(
            num_layers=config["num_layers"],
            hidden_size=config["hidden_size"],
            num_attention_heads=config["num_attention_heads"],
            max_positions=config["max_sequence_length"],
            sequence_length=128,
            hidden_dropout=0.0,
            attention_dropout=0.0,
        )

    @property
    def vocab_size(self) -> int:
        return int(self.described["config"]["vocab_size"])

    def cases(self) -> Iterator[tuple[dict[str, Any], dict[str, Tensor]]]:
        for index, case in enumerate(self.described["cases"]):
            names = ("input_ids", "position_ids", "sep", "target", "loss_mask", "logits_f64")
            found = {name: f"case{index}/{name}" for name in names if f"case{index}/{name}" in self.arrays}
            tensors = {name: torch.from_numpy(self.arrays[key]) for name, key in found.items()}
            if "target" in tensors:
                tensors["labels"] = torch.where(tensors["loss_mask"].bool(), tensors["target"], -100)
            yield case, tensors

    def gradients(self, index: int) -> dict[str, Tensor]:
        prefix = f"case{index}/grad/"
        return {
            name[len(prefix) :]: torch.from_numpy(self.arrays[name]) for name in self.arrays if name.startswith(prefix)
        }


@pytest.fixture(scope="session")
def reference() -> Reference:
    if not REFERENCE.is_dir():
        pytest.skip("the numerical reference (shared/reference/glm_tiny) is not beside the repository")
    return read_reference()


def read_reference() -> Reference:
    described = json.loads((REFERENCE / "glm_tiny.json").read_text("utf-8"))
    with np.load(REFERENCE / "glm_tiny.npz") as arrays:
        return Reference(described, dict(arrays))


@pytest.fixture(scope="session")
def reference_twin(reference: Reference) -> GLMForConditionalGeneration:
    """The reference's weights in the Hugging Face class, fp32."""
    config = reference.described["config"]
    twin = GLMForConditionalGeneration(
        MGLMConfig(
            vocab_size=config["vocab_size"],
            hidden_size=config["hidden_size"],
            num_hidden_layers=config["num_layers"],
            num_attention_heads=config["num_attention_heads"],
            intermediate_size=4 * config["hidden_size"],
            max_position_embeddings=config["max_sequence_length"],
            pad_token_id=300,
            cls_token_id=302,
            mask_token_ids=[303, 308, 309],
            sop_token_id=306,
            eos_token_id=307,
        )
    )
    weights = authors_to_hf(reference.weights)
    twin.load_state_dict({**weights, "lm_head.weight": weights["transformer.word_embeddings.weight"]})
    return twin.eval()
