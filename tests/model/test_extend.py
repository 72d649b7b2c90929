"""A checkpoint grown to a larger vocabulary: every row where its piece is now, with its optimizer's state."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch

from core.errors import MGLMError
from model.checkpoint import load_checkpoint, save_checkpoint
from model.checkpoint_meta import read_meta
from model.config import ModelConfig
from model.cpu import cpu_runtime
from model.execution import Execution
from model.extend import extend_checkpoint, grown_rows
from model.optimizer import build_optimizer, main_parameters
from model.parallel import Topology, build_chunks, initialize, shut_down
from model.readers import read_megatron
from tokenizer.encoding import Tokenizer
from tokenizer.extend import _record

MODEL = ModelConfig(num_layers=1, hidden_size=16, num_attention_heads=2, max_positions=32, sequence_length=16)
NEW = [("▁bridges▁", -9.0), ("riv", -9.5), ("水草", -9.5)]


@pytest.fixture
def extended(tokenizer: Tokenizer) -> Tokenizer:
    return Tokenizer(tokenizer._model + b"".join(_record(text, score) for text, score in NEW))


def test_rows_go_with_their_pieces_and_new_ones_are_means(tokenizer: Tokenizer, extended: Tokenizer) -> None:
    rows_VH = torch.randn(tokenizer.vocab_size, 4)
    fresh_VH = torch.full((extended.vocab_size, 4), 7.0)
    grown_VH = grown_rows(rows_VH, tokenizer, extended, fresh_VH)
    assert torch.equal(grown_VH[: tokenizer.pieces], rows_VH[: tokenizer.pieces])
    for name in ("cls_id", "eos_id", "mask_id", "smask_id", "gmask_id", "sop_id", "eop_id"):
        assert torch.equal(grown_VH[getattr(extended, name)], rows_VH[getattr(tokenizer, name)])
    for index, (text, _) in enumerate(NEW, start=tokenizer.pieces):
        spelled = tokenizer.encode(text.replace("▁", " "))
        assert torch.allclose(grown_VH[index], rows_VH[spelled].mean(0))
    assert (grown_VH[extended.pieces + 11 :] == 7).all()


def test_a_piece_that_the_old_tokenizer_drops_has_a_row_of_numbers() -> None:
    made = io.BytesIO()
    texts = ["the old bridge sings in the rain", "a river market near the old bridge"] * 50
    sentencepiece.SentencePieceTrainer.train(  # as mT5's, it makes nothing of white space alone
        sentence_iterator=iter(texts), model_writer=made, vocab_size=60, hard_vocab_limit=False, minloglevel=2
    )
    foreign = Tokenizer(made.getvalue())
    grown = Tokenizer(made.getvalue() + _record("\n", -3.0) + _record("zq", -4.0))
    assert foreign.encode("\n") == []
    fresh_VH = torch.full((grown.vocab_size, 4), 7.0)
    grown_VH = grown_rows(torch.randn(foreign.vocab_size, 4), foreign, grown, fresh_VH)
    assert grown_VH.isfinite().all()
    assert torch.equal(grown_VH[foreign.pieces], fresh_VH[foreign.pieces])


def world(vocab_size: int, precision: Any, distributed: bool) -> tuple[list[Any], Any]:
    execution = Execution(precision=precision, attention="sdpa")
    chunks = build_chunks(MODEL, vocab_size, Topology(), execution=execution, distributed_optimizer=distributed)
    optimizer = build_optimizer(chunks, learning_rate=1e-2, precision=precision, distributed_optimizer=distributed)
    return chunks, optimizer


@pytest.mark.parametrize(("precision", "distributed"), [("fp32", False), ("fp32", True), ("bf16", True)])
def test_a_checkpoint_grows_with_its_optimizer(
    tokenizer: Tokenizer, extended: Tokenizer, tmp_path: Path, precision: str, distributed: bool
) -> None:
    tokenizer.save(tmp_path / "run" / "tokenizer")
    extended.save(tmp_path / "extended")
    with cpu_runtime():
        initialize(Topology(), 0)
        before = world(tokenizer.vocab_size, precision, distributed)
        for parameter in before[0][0].parameters():
            parameter.main_grad.normal_()
        before[1].step()
        meta = {
            "step": 3,
            "samples": 12,
            "model": MODEL.model_dump(),
            "vocab_size": tokenizer.vocab_size,
            "tokenizer_sha256": tokenizer.sha256,
        }
        save_checkpoint(tmp_path / "run" / "checkpoints", *before, None, meta)
        shut_down()
    extend_checkpoint(tmp_path / "run", tmp_path / "extended", tmp_path / "grown")
    step = tmp_path / "grown" / "checkpoints" / "step-00000003"
    grown_meta = read_meta(step)
    assert grown_meta["tokenizer_sha256"] == extended.sha256
    assert grown_meta["lineage"][0]["changed"]["pieces"] == [tokenizer.pieces, extended.pieces]
    with cpu_runtime():
        initialize(Topology(), 0)
        after = world(extended.vocab_size, precision, distributed)
        load_checkpoint(step, *after)
        shut_down()
    old, new = (dict(chunks[0].named_parameters()) for chunks, _ in (before, after))
    old_main, new_main = main_parameters(*before), main_parameters(*after)
    for name, parameter in new.items():
        (main, adam), (grown, grown_adam) = old_main[name], new_main[name]
        pairs = [(old[name], parameter), (main, grown)]
        pairs += [(adam.state[main][key], grown_adam.state[grown][key]) for key in ("exp_avg", "exp_avg_sq")]
        assert float(adam.state[main]["step"]) == float(grown_adam.state[grown]["step"]) == 1
        for value, of_grown in pairs:
            if name.endswith("word_embeddings.weight"):
                value_VH, grown_VH = value.reshape(-1, 16), of_grown.reshape(-1, 16)
                assert torch.equal(grown_VH[: tokenizer.pieces], value_VH[: tokenizer.pieces])
                assert torch.equal(grown_VH[extended.cls_id], value_VH[tokenizer.cls_id])
                assert not torch.equal(grown_VH[tokenizer.cls_id], value_VH[tokenizer.cls_id])
            else:
                assert torch.equal(value, of_grown)


def test_a_tokenizer_that_does_not_extend_the_checkpoint_s_is_refused(
    tokenizer: Tokenizer, extended: Tokenizer, tmp_path: Path
) -> None:
    extended.save(tmp_path / "run" / "tokenizer")
    tokenizer.save(tmp_path / "other")
    step = tmp_path / "run" / "checkpoints" / "step-00000001"
    step.mkdir(parents=True)
    (step / "meta.json").write_text('{"schema": "checkpoint/1", "step": 1}')
    with pytest.raises(MGLMError, match="an extension of"):
        extend_checkpoint(tmp_path / "run", tmp_path / "other", tmp_path / "out")


@pytest.mark.parametrize(
    ("precision", "distributed"), [("fp32", False), ("fp32", True), ("bf16", True), ("fp32", None)]
)
def test_more_positions_are_rows_behind_the_old_ones(
    tokenizer: Tokenizer, tmp_path: Path, precision: str, distributed: bool | None
) -> None:
    tokenizer.save(tmp_path / "run" / "tokenizer")
    meta = {
        "step": 3, "samples": 12, "model": MODEL.model_dump(), "vocab_size": tokenizer.vocab_size,
        "tokenizer_sha256": tokenizer.sha256,
    }  # fmt: skip
    with cpu_runtime():
        initialize(Topology(), 0)
        chunks, optimizer = world(tokenizer.vocab_size, precision, bool(distributed))
        for parameter in chunks[0].parameters():
            parameter.main_grad.normal_()
        optimizer.step()
        kept = None if distributed is None else optimizer  # a converted model comes without
        save_checkpoint(tmp_path / "run" / "checkpoints", chunks, kept, None, meta)
        shut_down()
    extend_checkpoint(tmp_path / "run", None, tmp_path / "longer", positions=80)
    step = tmp_path / "longer" / "checkpoints" / "step-00000003"
    grown = read_meta(step)
    assert grown["model"] == {**MODEL.model_dump(), "max_positions": 80}
    assert grown["lineage"][0]["changed"] == {"max_positions": [32, 80]}
    assert grown["tokenizer_sha256"] == tokenizer.sha256
    old, new = (read_megatron(tmp_path / name, None, MODEL).weights for name in ("run", "longer"))
    for name, weight in new.items():
        if "position_embeddings" in name:
            assert weight.shape == (80, 16)
            assert torch.equal(weight[:32], old[name])
            assert 0.01 < float(weight[32:].float().std()) < 0.03  # N(0, .02), as the authors'
        else:
            assert torch.equal(weight, old[name])
    if distributed is not None:
        with cpu_runtime():
            initialize(Topology(), 0)
            execution = Execution(precision=precision, attention="sdpa")  # type: ignore[arg-type]
            longer = MODEL.model_copy(update={"max_positions": 80})
            chunks = build_chunks(
                longer, tokenizer.vocab_size, Topology(), execution=execution, distributed_optimizer=distributed
            )
            optimizer = build_optimizer(
                chunks,
                learning_rate=1e-2,
                precision=precision,
                distributed_optimizer=distributed,  # type: ignore[arg-type]
            )
            load_checkpoint(step, chunks, optimizer)
            found = main_parameters(chunks, optimizer)
            shut_down()
        main, adam = next(pair for name, pair in found.items() if name.endswith(".block_position_embeddings.weight"))
        moments = adam.state[main]["exp_avg"].reshape(-1, 16)
        assert (moments[32:] == 0).all()
        assert (moments[:32] != 0).all()


@pytest.mark.parametrize("distributed", [False, True])
def test_of_a_run_with_frozen_layers_the_weights_grow(tokenizer: Tokenizer, tmp_path: Path, distributed: bool) -> None:
    tokenizer.save(tmp_path / "run" / "tokenizer")
    model = MODEL.model_copy(update={"num_layers": 2})
    meta = {
        "step": 3, "samples": 12, "model": model.model_dump(), "vocab_size": tokenizer.vocab_size,
        "tokenizer_sha256": tokenizer.sha256, "training": {"freeze_upper_layers": 1},
    }  # fmt: skip
    with cpu_runtime():
        initialize(Topology(), 0)
        chunks = build_chunks(
            model, tokenizer.vocab_size, Topology(), distributed_optimizer=distributed, frozen_layers=1
        )
        optimizer = build_optimizer(chunks, learning_rate=1e-2, distributed_optimizer=distributed)
        save_checkpoint(tmp_path / "run" / "checkpoints", chunks, optimizer, None, meta)
        shut_down()
    extend_checkpoint(tmp_path / "run", None, tmp_path / "longer", positions=80)
    assert read_meta(tmp_path / "longer" / "checkpoints" / "step-00000003")["optimizer"] is None
    old, new = (read_megatron(tmp_path / name, None, model).weights for name in ("run", "longer"))
    for name, weight in new.items():
        assert torch.equal(weight[: len(old[name])], old[name])


def test_what_extends_nothing_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "run" / "tokenizer")
    step = tmp_path / "run" / "checkpoints" / "step-00000001"
    step.mkdir(parents=True)
    (step / "meta.json").write_text(json.dumps({"schema": "checkpoint/1", "step": 1, "model": MODEL.model_dump()}))
    with pytest.raises(MGLMError, match="neither --tokenizer nor --positions"):
        extend_checkpoint(tmp_path / "run", None, tmp_path / "out")
    with pytest.raises(MGLMError, match="--positions 32; found 32 in"):
        extend_checkpoint(tmp_path / "run", None, tmp_path / "out", positions=32)
    assert not (tmp_path / "out").exists()
