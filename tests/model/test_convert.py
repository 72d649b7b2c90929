import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.errors import MGLMError
from core.manifest import read_manifest
from model.checkpoint_meta import CHECKPOINT, read_meta
from model.config import ModelConfig
from model.convert import HF, convert
from model.cpu import cpu_runtime
from model.hf.modeling_mglm import GLMForConditionalGeneration
from model.precision import load_model
from tokenizer.encoding import Tokenizer

MODEL = ModelConfig(num_layers=2, hidden_size=32, num_attention_heads=2, sequence_length=64, max_positions=129)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    """What pretraining leaves: two checkpoints and the tokenizer."""
    from model.checkpoint import save_checkpoint
    from model.parallel import build_chunks, initialize, shut_down
    from model.topology import Topology

    directory = tmp_path_factory.mktemp("run") / "pretrain"
    with cpu_runtime():
        initialize(Topology(), seed=1)
        for step in (1, 2):
            chunks = build_chunks(MODEL, tokenizer.vocab_size, Topology(), seed=step)
            meta = {
                "step": step,
                "samples": step,
                "model": MODEL.model_dump(),
                "vocab_size": tokenizer.vocab_size,
                "tokenizer_sha256": tokenizer.sha256,
                "training": {"source_length": 100},
            }
            save_checkpoint(directory / "checkpoints", chunks, None, None, meta)
        shut_down()
    tokenizer.save(directory / "tokenizer")
    return directory


@pytest.fixture(scope="module")
def export(pretrained: Path) -> Path:
    output = pretrained.parent / "hf"
    convert("megatron", "hf", pretrained, output, model=MODEL)
    return output


def test_the_export_is_complete_and_pickles_nothing(export: Path, tokenizer: Tokenizer) -> None:
    manifest = read_manifest(export, HF)
    assert manifest.facts == {"parameters": MODEL.parameters(tokenizer.vocab_size)}
    names = {path.name for path in export.iterdir()}
    assert {"config.json", "model.safetensors", "generation_config.json", "README.md", "tokenizer.model"} <= names
    assert {"modeling_mglm.py", "configuration_mglm.py", "tokenizer_config.json"} <= names
    assert not any(path.suffix in {".bin", ".pt", ".pkl"} for path in export.iterdir())
    modes = {path.stat().st_mode for path in export.iterdir() if path.suffix in {".json", ".safetensors"}}
    assert len(modes) == 1  # who may read the settings may read the weights
    generation = json.loads((export / "generation_config.json").read_text("utf-8"))
    wanted = {"num_beams": 4, "length_penalty": 0.7, "no_repeat_ngram_size": 3, "renormalize_logits": True}
    assert wanted.items() <= generation.items()
    assert (generation["eos_token_id"], generation["pad_token_id"]) == (tokenizer.eop_id, tokenizer.pad_id)
    config = json.loads((export / "config.json").read_text("utf-8"))
    assert (config["source_length"], config["sequence_length"]) == (100, 64)


def test_transformers_loads_it_by_itself_and_generates(
    export: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path))
    model = AutoModelForCausalLM.from_pretrained(export, trust_remote_code=True, local_files_only=True)
    ours = GLMForConditionalGeneration.from_pretrained(export)
    assert type(model).__name__ == "GLMForConditionalGeneration"
    assert type(model) is not GLMForConditionalGeneration  # the copy inside the export
    found = AutoTokenizer.from_pretrained(export, trust_remote_code=True, local_files_only=True)
    ids = torch.tensor([[*found.source("the river rises"), tokenizer.sop_id]])
    assert ids[0, 1:-2].tolist() == tokenizer.encode("the river rises")
    with torch.no_grad():
        assert torch.equal(model(ids).logits, ours(ids).logits)
        generated = model.generate(ids, max_new_tokens=5)
    assert generated.shape[1] <= ids.shape[1] + 5


def test_the_twin_computes_what_the_megatron_model_computes(
    export: Path, pretrained: Path, tokenizer: Tokenizer
) -> None:
    from model.checkpoint import latest_checkpoint, load_checkpoint
    from model.parallel import build_stages, initialize, shut_down
    from model.topology import Topology

    ids = torch.tensor([[tokenizer.cls_id, 5, tokenizer.smask_id, 7, tokenizer.sop_id, 9, 11]])
    twin = GLMForConditionalGeneration.from_pretrained(export).eval()
    positions, context = twin.geometry(ids, torch.ones_like(ids))
    latest = latest_checkpoint(pretrained / "checkpoints")
    assert latest is not None
    with cpu_runtime(), torch.no_grad():
        initialize(Topology(), seed=1)
        (stage,) = build_stages(MODEL, tokenizer.vocab_size, Topology())
        stage.eval()
        load_checkpoint(latest, [stage])
        wanted = stage(ids, positions, context)
        shut_down()
        torch.testing.assert_close(twin(ids).logits, wanted, rtol=0, atol=1e-5)


def test_to_megatron_and_back_is_bit_for_bit(export: Path, tmp_path: Path) -> None:
    there, back = tmp_path / "megatron", tmp_path / "hf"
    convert("hf", "megatron", export, there, model=MODEL)
    read_manifest(there, CHECKPOINT)
    assert read_meta(there / "checkpoints" / "step-00000000")["step"] == 0
    convert("megatron", "hf", there, back, model=MODEL)
    assert (back / "model.safetensors").read_bytes() == (export / "model.safetensors").read_bytes()
    assert (back / "config.json").read_bytes() == (export / "config.json").read_bytes()


def test_half_precision_stays_what_it_is(pretrained: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    from model.checkpoint import save_checkpoint
    from model.execution import Execution
    from model.optimizer import build_optimizer
    from model.parallel import build_chunks, initialize, shut_down
    from model.topology import Topology

    meta = {
        **read_meta(pretrained / "checkpoints" / "step-00000001"),
        "training": {"precision": "fp16", "source_length": 100},
    }
    tokenizer.save(tmp_path / "run" / "tokenizer")
    with cpu_runtime():
        initialize(Topology(), seed=1)
        chunks = build_chunks(MODEL, tokenizer.vocab_size, Topology(), execution=Execution(precision="fp16"))
        optimizer = build_optimizer(chunks, learning_rate=1e-3, precision="fp16")
        save_checkpoint(tmp_path / "run" / "checkpoints", chunks, optimizer, None, meta)
        weight = chunks[0].module.module.embedding.word_embeddings.weight.detach().clone()
        shut_down()
    convert("megatron", "hf", tmp_path / "run", tmp_path / "hf", model=MODEL)
    twin = GLMForConditionalGeneration.from_pretrained(tmp_path / "hf", dtype="auto")
    assert {parameter.dtype for parameter in twin.parameters()} == {torch.float16}
    assert torch.equal(twin.transformer.word_embeddings.weight, weight)
    convert("hf", "megatron", tmp_path / "hf", tmp_path / "back", model=MODEL)
    assert read_meta(tmp_path / "back" / "checkpoints" / "step-00000000")["dtype"] == "float16"


def test_the_latest_step_is_taken_or_the_one_named_and_nothing_is_made_twice(
    export: Path, pretrained: Path, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    convert("megatron", "hf", pretrained / "checkpoints" / "step-00000001", first, model=MODEL)
    assert (first / "model.safetensors").read_bytes() != (export / "model.safetensors").read_bytes()
    before = (export / "model.safetensors").stat().st_mtime_ns
    convert("megatron", "hf", pretrained, export, model=MODEL)
    assert (export / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(MGLMError, match="finished work of another"):
        convert("megatron", "hf", pretrained, first, model=MODEL)


@pytest.mark.parametrize("name", ["deepspeed_sat_names.pt", "deepspeed_old_names.pt"])
def test_released_checkpoints_become_exports(
    reference: Any, reference_twin: GLMForConditionalGeneration, tokenizer: Tokenizer, tmp_path: Path, name: str
) -> None:
    from tests.model.conftest import REFERENCE

    tokenizer.save(tmp_path / "tokenizer")
    output = tmp_path / "hf"
    convert("authors", "hf", REFERENCE / name, output, model=reference.model, tokenizer=tmp_path / "tokenizer")
    twin = GLMForConditionalGeneration.from_pretrained(output).eval()
    tolerance = 0 if "old" in name else 1e-3  # the newer file is fp16
    for key, weight in reference_twin.state_dict().items():
        torch.testing.assert_close(twin.state_dict()[key], weight, rtol=tolerance, atol=tolerance)


def test_what_cannot_be_converted_is_refused(export: Path, pretrained: Path, tmp_path: Path, reference: Any) -> None:
    from tests.model.conftest import REFERENCE

    output = tmp_path / "out"
    cut = shutil.copytree(export, tmp_path / "cut")
    os.truncate(cut / "model.safetensors", (cut / "model.safetensors").stat().st_size // 2)
    with pytest.raises(MGLMError, match="model .*cut.*Export it again"):
        convert("hf", "megatron", cut, tmp_path / "of cut", model=MODEL)
    with pytest.raises(MGLMError, match="model .*cut.*Export it again"):
        load_model(cut, None, None)
    with pytest.raises(MGLMError, match="one of --from megatron --to hf"):
        convert("hf", "hf", export, output, model=MODEL)
    with pytest.raises(MGLMError, match="no complete checkpoint"):
        convert("megatron", "hf", tmp_path, output, model=MODEL)
    with pytest.raises(MGLMError, match="no such file"):
        convert("authors", "hf", tmp_path / "none.pt", output, model=MODEL)
    released = REFERENCE / "deepspeed_old_names.pt"
    with pytest.raises(MGLMError, match="num_layers 3; expected 2"):
        convert("authors", "hf", released, output, model=MODEL, tokenizer=export)
