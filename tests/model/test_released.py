"""Released checkpoints, whole and in model-parallel parts, split here as the authors' code splits them."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from core.errors import MGLMError
from model.released import check_weights, read_released, weight_shapes
from model.weights import authors_to_hf

RANKS = 2


def split_for_ranks(weights: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """What each model-parallel rank holds: heads, FFN columns and vocabulary rows in equal parts."""
    parts: list[dict[str, Tensor]] = [{} for _ in range(RANKS)]
    for name, weight in weights.items():
        if "query_key_value" in name:
            query, key, value = weight.chunk(3)
            pieces = [
                torch.cat([part.chunk(RANKS)[rank] for part in (query, key, value)]) for rank in range(RANKS)
            ]  # fmt: skip
        elif "word_embeddings" in name or "dense_h_to_4h" in name:
            pieces = list(weight.chunk(RANKS))
        elif name.endswith(("attention.dense.weight", "dense_4h_to_h.weight")):
            pieces = list(weight.chunk(RANKS, dim=1))
        else:
            pieces = [weight] * RANKS
        for part, piece in zip(parts, pieces, strict=True):
            part[name] = piece.clone()
    return parts


@pytest.fixture
def parts(tmp_path: Path, reference: Any) -> Path:
    for rank, part in enumerate(split_for_ranks(reference.weights)):
        torch.save({"module": part, "iteration": 7}, tmp_path / f"mp_rank_{rank:02}_model_states.pt")
    return tmp_path


def test_model_parallel_parts_become_the_whole(parts: Path, reference: Any) -> None:
    merged = read_released(parts)
    assert merged.keys() == reference.weights.keys()
    for name, weight in reference.weights.items():
        assert torch.equal(merged[name], weight), name


def test_a_missing_part_or_one_of_another_step_is_refused(parts: Path) -> None:
    second = parts / "mp_rank_01_model_states.pt"
    state = torch.load(second, weights_only=True)
    state["module"]["transformer.final_layernorm.bias"] += 1
    torch.save(state, second)
    with pytest.raises(MGLMError, match="final_layernorm.bias differs between parts"):
        read_released(parts)
    (parts / "mp_rank_00_model_states.pt").unlink()
    with pytest.raises(MGLMError, match="mp_rank_00_model_states.pt as well"):
        read_released(parts)
    with pytest.raises(MGLMError, match="no such file"):
        read_released(parts / "none")


def test_everything_wrong_with_a_checkpoint_is_listed_at_once(reference: Any) -> None:
    weights = authors_to_hf(reference.weights)
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == weight_shapes(
        reference.model, reference.vocab_size
    )
    check_weights(weights, reference.model, Path("x.pt"))
    del weights["transformer.final_layernorm.bias"]
    weights["transformer.layers.0.mlp.dense_h_to_4h.bias"] = torch.zeros(3)
    weights["transformer.layers.9.mlp.dense_h_to_4h.bias"] = torch.zeros(3)
    with pytest.raises(MGLMError) as refused:
        check_weights(weights, reference.model, Path("x.pt"))
    for words in ("missing transformer.final_layernorm.bias", "layers.0.mlp.dense_h_to_4h.bias of shape (3,), not",
                  "unknown transformer.layers.9.mlp.dense_h_to_4h.bias"):  # fmt: skip
        assert words in str(refused.value)


class Payload:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("raise SystemExit('a pickle ran')",))


def test_no_object_is_unpickled_and_a_cut_file_is_named(tmp_path: Path) -> None:
    hostile, cut = tmp_path / "hostile.pt", tmp_path / "cut.pt"
    torch.save({"module": {"weight": Payload()}}, hostile)
    torch.save({"module": {"weight": torch.zeros(1000)}}, cut)
    cut.write_bytes(cut.read_bytes()[:700])
    (tmp_path / "old.pt").write_bytes(pickle.dumps({"weight": Payload()}, protocol=2))
    for path in (hostile, cut, tmp_path / "old.pt"):
        with pytest.raises(MGLMError, match=f"{path.name}.*does not load as plain weights"):
            read_released(path)
