"""Whole models into memory, from each home a model can have: megatron checkpoints, our exports, the authors' files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from core.errors import MGLMError
from core.manifest import read_manifest
from model.checkpoint_meta import locate_checkpoint, read_meta
from model.config import ModelConfig
from model.convert import HF
from model.cpu import cpu_runtime
from model.execution import PRECISION_OF_DTYPE, Execution
from model.hf.configuration_mglm import MGLMConfig
from model.hf.modeling_mglm import GLMForConditionalGeneration
from model.released import check_weights, read_released
from model.topology import Topology
from model.weights import WORD_EMBEDDINGS, authors_to_hf, megatron_to_hf
from tokenizer.encoding import Tokenizer

# Released vocabularies are padded to a multiple of 128 × the tensor-parallel size they were trained with.
MOST_PADDING = 1024


@dataclass(frozen=True)
class LoadedModel:
    """Weights in Hugging Face names, the shape, the tokenizer, a line on where it is from.

    `source_length` is the longest context it was trained on, in tokens, `target_length` the longest fine-tuning target,
    None without fine-tuning.
    """

    weights: dict[str, Tensor]
    model: ModelConfig
    vocab_size: int
    tokenizer: Tokenizer
    source_length: int
    origin: str
    target_length: int | None = None


def read_megatron(path: Path, tokenizer: Path | None, _: ModelConfig) -> LoadedModel:
    """A checkpoint of `mglm train`: its output directory (the latest step is taken) or one step directory.

    Raises:
        MGLMError: none there, or not the tokenizer it was trained with.
    """
    step, own_tokenizer = locate_checkpoint(path)
    meta = read_meta(step)
    found = Tokenizer.load(tokenizer or own_tokenizer)
    if found.sha256 != meta["tokenizer_sha256"]:
        raise MGLMError(
            f"tokenizer {tokenizer or own_tokenizer}",
            found=f"sha256 {found.sha256[:12]}…",
            expected=f"{meta['tokenizer_sha256'][:12]}…, which {step} was trained with",
            action="give that tokenizer with --tokenizer",
        )
    model = ModelConfig.model_validate(meta["model"])
    training = meta.get("training", {})
    trained_on = max(model.sequence_length, training.get("source_length", 0))
    origin = f"Trained with mglm to step {meta['step']:,} ({meta['samples']:,} samples)."
    return LoadedModel(
        _load_megatron(step, model, meta),
        model,
        meta["vocab_size"],
        found,
        min(trained_on, model.max_positions),
        origin,
        training.get("target_length"),
    )


def read_hf(path: Path, tokenizer: Path | None, _: ModelConfig) -> LoadedModel:
    """An export of ours.

    Raises:
        MGLMError: no such export, or its weights are not whole.
    """
    read_manifest(path, HF)
    try:
        twin = GLMForConditionalGeneration.from_pretrained(path, local_files_only=True, dtype="auto")
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise MGLMError(f"model {path}", found=str(error).splitlines()[0], action="export it again") from None
    weights = {name: weight for name, weight in twin.state_dict().items() if name != "lm_head.weight"}
    config = twin.config
    found = Tokenizer.load(tokenizer or path)
    origin = f"Made from the export {path.name}."
    return LoadedModel(
        weights,
        _model_config(config),
        config.vocab_size,
        found,
        config.source_length,
        origin,
        twin.generation_config.max_new_tokens,
    )


def read_authors(path: Path, tokenizer: Path | None, model: ModelConfig) -> LoadedModel:
    """A checkpoint as the authors released it: a file or a directory of model-parallel parts (model.released).

    It does not say its number of heads: `model` does, and must agree with it in all else.

    Raises:
        MGLMError: no tokenizer given or another one, not such a file, or another shape.
    """
    if tokenizer is None:
        raise MGLMError("--tokenizer", found="nothing", expected="a directory with the released tokenizer.model")
    weights = authors_to_hf(read_released(path))
    if WORD_EMBEDDINGS not in weights:
        raise MGLMError(f"{path}", found="no word embeddings", expected="a GLM")
    vocab_size, hidden_size = weights[WORD_EMBEDDINGS].shape
    found = {
        "num_layers": sum(name.endswith(".input_layernorm.weight") for name in weights),
        "hidden_size": hidden_size,
        "max_positions": len(weights.get("transformer.position_embeddings.weight", ())),
    }
    for name, value in found.items():
        if getattr(model, name) != value:
            raise MGLMError(
                f"{path}",
                found=f"{name} {value}",
                expected=f"{getattr(model, name)}, as in [model]",
                action=f"set model.{name}={value} in --config or --set",
            )
    check_weights(weights, model, path)
    own = Tokenizer.load(tokenizer)
    if not own.vocab_size <= vocab_size < own.vocab_size + MOST_PADDING:
        # Command ids follow the pieces: with another tokenizer they would name other rows of the vocabulary.
        raise MGLMError(
            f"--tokenizer {tokenizer}",
            found=f"{own.pieces:,} pieces, {own.vocab_size:,} ids with commands and padding",
            expected=f"the tokenizer of the {vocab_size:,} rows in {path}",
            action="import the released .model file with mglm tokenizer import, and give that directory",
        )
    origin = "Converted from the authors' released checkpoint."
    return LoadedModel(weights, model, vocab_size, own, model.sequence_length, origin)


READERS = {"megatron": read_megatron, "hf": read_hf, "authors": read_authors}


def _load_megatron(step: Path, model: ModelConfig, meta: Mapping[str, Any]) -> dict[str, Tensor]:
    with cpu_runtime():
        from model.checkpoint import load_checkpoint
        from model.parallel import build_stages, initialize, shut_down

        initialize(Topology(), seed=0)
        try:
            execution = Execution(precision=PRECISION_OF_DTYPE[meta["dtype"]])
            (stage,) = build_stages(model, meta["vocab_size"], Topology(), execution)
            load_checkpoint(step, [stage])
            state = {name: weight.cpu() for name, weight in stage.state_dict().items() if isinstance(weight, Tensor)}
        finally:
            shut_down()
    return megatron_to_hf(state, model.num_attention_heads)


def _model_config(config: MGLMConfig) -> ModelConfig:
    return ModelConfig(
        num_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        num_attention_heads=config.num_attention_heads,
        ffn_hidden_size=config.intermediate_size,
        sequence_length=config.sequence_length,
        max_positions=config.max_position_embeddings,
        hidden_dropout=config.hidden_dropout,
        attention_dropout=config.attention_dropout,
        layernorm_epsilon=config.layer_norm_eps,
        init_std=config.initializer_range,
    )
