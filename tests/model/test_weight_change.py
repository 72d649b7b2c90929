"""How far training moved each layer, against norms worked out by hand."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from core.errors import MGLMError
from model.weight_change import weight_change


def save(directory: Path, tensors: dict[str, list[float]]) -> Path:
    directory.mkdir()
    save_file({name: torch.tensor(values) for name, values in tensors.items()}, directory / "model.safetensors")
    return directory


BEFORE = {
    "transformer.layers.0.mlp.weight": [3.0, 4.0],
    "transformer.layers.0.mlp.bias": [0.0, 0.0],
    "transformer.layers.10.mlp.weight": [1.0, 0.0],
    "transformer.layers.2.mlp.weight": [2.0, 0.0],
    "transformer.word_embeddings.weight": [1.0, 1.0, 1.0, 1.0],
    "transformer.zeros.weight": [0.0],
}


def test_a_layer_s_change_is_the_norm_of_all_its_weights_difference_over_their_norm(tmp_path: Path) -> None:
    after = BEFORE | {
        "transformer.layers.0.mlp.bias": [0.0, 0.5],
        "transformer.layers.2.mlp.weight": [0.0, 0.0],
        "transformer.word_embeddings.weight": [1.0, 1.0, 1.0, 3.0],
    }
    changes = weight_change(save(tmp_path / "a", BEFORE), save(tmp_path / "b", after))
    assert [(one.part, one.layer, one.parameters) for one in changes] == [
        ("layer 0", 0, 4), ("layer 2", 2, 2), ("layer 10", 10, 2), ("word_embeddings", None, 4), ("zeros", None, 1),
    ]  # fmt: skip
    assert [one.change for one in changes] == [pytest.approx(0.1), 1.0, 0.0, pytest.approx(1.0), None]


def test_weights_that_an_index_names_in_vain_are_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / name, BEFORE)
        (tmp_path / name / "model.safetensors").rename(tmp_path / name / "model-00001-of-00001.safetensors")
        index = {"weight_map": dict.fromkeys(BEFORE, "model-00001-of-00001.safetensors")}
        (tmp_path / name / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    assert all(one.change in (0, None) for one in weight_change(tmp_path / "a", tmp_path / "b"))
    (tmp_path / "b" / "model-00001-of-00001.safetensors").unlink()
    with pytest.raises(MGLMError, match="model-00001-of-00001"):
        weight_change(tmp_path / "a", tmp_path / "b")


def test_encoder_and_decoder_are_kept_apart(tmp_path: Path) -> None:
    names = {"encoder.block.0.layer.0.weight": [1.0], "decoder.block.0.layer.1.weight": [1.0]}
    changes = weight_change(save(tmp_path / "a", names), save(tmp_path / "b", names))
    assert {one.part for one in changes} == {"encoder layer 0", "decoder layer 0"}


@pytest.mark.parametrize(
    ("after", "words"),
    [({"other": [1.0]}, "tensors that the other lacks"), (BEFORE | {"transformer.zeros.weight": [0.0, 1.0]}, "shape")],
)
def test_models_of_another_shape_are_refused_by_name(tmp_path: Path, after: dict[str, list[float]], words: str) -> None:
    with pytest.raises(MGLMError, match=words):
        weight_change(save(tmp_path / "a", BEFORE), save(tmp_path / "b", after))


def test_a_directory_without_weights_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"none")
    for directory in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(MGLMError, match="mglm model convert"):
            weight_change(directory, directory)
