"""hf/1: a directory that transformers loads by itself (AutoModelForCausalLM, trust_remote_code) and users share.

It holds config.json, model.safetensors, generation_config.json, the two files of
`model/hf/`, the tokenizer's files and a model card; nothing in it is pickled.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from core.manifest import write_atomically
from model.hf import modeling_mglm
from model.hf.configuration_mglm import MGLMConfig
from model.hf.modeling_mglm import GLMForConditionalGeneration
from model.readers import LoadedModel
from model.weights import WORD_EMBEDDINGS

_SHARD_SIZE = "2GB"
_AUTO_MAP = {
    "AutoConfig": "configuration_mglm.MGLMConfig",
    "AutoModelForCausalLM": "modeling_mglm.GLMForConditionalGeneration",
}
# Paper, section 4.2: the service's beam search. Renormalising after the n-gram ban is what the authors' search does;
# with the last set to False, its length penalty is theirs too.
GENERATION: dict[str, Any] = {
    "num_beams": 4,
    "length_penalty": 0.7,
    "no_repeat_ngram_size": 3,
    "max_new_tokens": 200,
    "renormalize_logits": True,
    "do_sample": False,
    "length_penalty_counts_end": True,
}


def write_export(output: Path, loaded: LoadedModel) -> int:
    """Writes everything but the manifest into `output`; returns the number of parameters."""
    twin = make_twin(loaded)
    twin.save_pretrained(output, max_shard_size=_SHARD_SIZE)
    for weights in output.glob("*.safetensors"):  # written for their owner alone; a service may run as another user
        weights.chmod((output / "config.json").stat().st_mode)
    for name in ("configuration_mglm.py", "modeling_mglm.py", "beam_cache.py"):
        shutil.copyfile(Path(modeling_mglm.__file__).with_name(name), output / name)
    loaded.tokenizer.save(output)
    parameters = sum(weight.numel() for weight in loaded.weights.values())
    write_atomically(output / "README.md", _model_card(loaded, parameters))
    return parameters


def make_twin(loaded: LoadedModel) -> GLMForConditionalGeneration:
    """The model that transformers generates with, on the weights as they are, with its generation settings."""
    config = hf_config(loaded)
    with torch.device("meta"):
        twin = GLMForConditionalGeneration(config)
    head = {"lm_head.weight": loaded.weights[WORD_EMBEDDINGS]}
    twin.load_state_dict({**loaded.weights, **head}, assign=True)
    twin.tie_weights()
    twin.config.dtype = head["lm_head.weight"].dtype
    # Beyond the targets it was fine-tuned on, a model has never seen a position.
    most = min(GENERATION["max_new_tokens"], loaded.target_length or loaded.model.max_positions - 1)
    twin.generation_config = GenerationConfig(
        **{**GENERATION, "max_new_tokens": most}, pad_token_id=config.pad_token_id, eos_token_id=config.eos_token_id
    )
    return twin


def hf_config(loaded: LoadedModel) -> MGLMConfig:
    """The Hugging Face configuration of a model with its tokenizer."""
    model, tokenizer = loaded.model, loaded.tokenizer
    return MGLMConfig(
        vocab_size=loaded.vocab_size,
        hidden_size=model.hidden_size,
        num_hidden_layers=model.num_layers,
        num_attention_heads=model.num_attention_heads,
        intermediate_size=model.ffn_hidden_size,
        max_position_embeddings=model.max_positions,
        sequence_length=model.sequence_length,
        source_length=loaded.source_length,
        hidden_dropout=model.hidden_dropout,
        attention_dropout=model.attention_dropout,
        layer_norm_eps=model.layernorm_epsilon,
        initializer_range=model.init_std,
        pad_token_id=tokenizer.pad_id,
        cls_token_id=tokenizer.cls_id,
        mask_token_ids=[tokenizer.mask_id, tokenizer.smask_id, tokenizer.gmask_id],
        sop_token_id=tokenizer.sop_id,
        eos_token_id=tokenizer.eop_id,
        auto_map=dict(_AUTO_MAP),
    )


def _model_card(loaded: LoadedModel, parameters: int) -> str:
    model, tokenizer = loaded.model, loaded.tokenizer
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [glm, multilingual, summarization]
---
# A multilingual GLM

{loaded.origin}

| | |
|---|---|
| parameters | {parameters:,} |
| layers, hidden size, heads | {model.num_layers}, {model.hidden_size}, {model.num_attention_heads} |
| vocabulary | {tokenizer.pieces:,} pieces, {loaded.vocab_size:,} rows with commands and padding |
| longest context it was trained on | {loaded.source_length:,} tokens |
| longest context that fits | {model.max_positions:,} tokens |
| tokenizer sha256 | {tokenizer.sha256} |

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("DIR", trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained("DIR", trust_remote_code=True)
```

With the mglm package: `mglm summarize --model DIR --to en < article.txt`, or
`model.summarizer.Summarizer.from_pretrained("DIR").summarize(text, target="en")`.
"""
