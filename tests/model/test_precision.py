from pathlib import Path

import pytest
import torch

from core.errors import MGLMError
from model.hf.modeling_mglm import GLMForConditionalGeneration
from model.precision import load_model


@pytest.fixture(scope="module")
def export(reference_twin: GLMForConditionalGeneration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("precision") / "hf"
    reference_twin.save_pretrained(directory)
    return directory


@pytest.mark.parametrize(("precision", "dtype", "close"), [("fp32", torch.float32, 0), ("bf16", torch.bfloat16, 0.05)])
@torch.no_grad()
def test_weights_come_in_the_precision_asked_for(
    export: Path, reference_twin: GLMForConditionalGeneration, precision: str, dtype: torch.dtype, close: float
) -> None:
    model = load_model(export, "cpu", precision)
    assert {weight.dtype for weight in model.parameters()} == {dtype}
    assert model.lm_head.weight is model.transformer.word_embeddings.weight
    ids = torch.tensor([[302, 5, 6, 7, 308, 306]])
    wanted = reference_twin(ids).logits
    assert (model(ids).logits - wanted).norm() <= close * wanted.norm()


def test_a_cpu_serves_fp32_unless_told_otherwise(export: Path) -> None:
    assert next(load_model(export, "cpu", None).parameters()).dtype == torch.float32


@torch.no_grad()
def test_int8_takes_the_layers_and_leaves_the_embeddings(
    export: Path, reference_twin: GLMForConditionalGeneration
) -> None:
    model = load_model(export, "cpu", "int8")
    layer, plain = model.transformer.layers[0], load_model(export, "cpu", "bf16").transformer.layers[0]
    for name in ("attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"):
        weight, wanted = layer.get_submodule(name).weight, plain.get_submodule(name).weight
        assert weight.qdata.dtype == torch.int8
        step = wanted.abs().amax(dim=1, keepdim=True) / 127  # of each row
        assert ((weight.dequantize() - wanted).abs() <= step * 0.51 + wanted.abs() * 2**-7).all()
    assert type(model.lm_head.weight) is torch.nn.Parameter
    assert model.lm_head.weight.dtype == torch.bfloat16
    ids = torch.tensor([[302, 5, 6, 7, 308, 306]])
    wanted = reference_twin(ids).logits
    assert (model(ids).logits - wanted).norm() < 0.05 * wanted.norm()


def test_mistakes_are_named(export: Path, tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="one of fp32, bf16, int8"):
        load_model(export, "cpu", "fp8")
    with pytest.raises(MGLMError, match="one of cpu"):
        load_model(export, "abacus", None)
    (tmp_path / "config.json").write_bytes((export / "config.json").read_bytes())
    with pytest.raises(MGLMError, match="Export it again"):
        load_model(tmp_path, "cpu", None)
