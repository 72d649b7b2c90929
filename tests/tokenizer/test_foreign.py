"""Models that stand for mT5's (nmt_nfkc, a space before the text, control pieces first, user-defined ones last)."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from core.errors import MGLMError
from core.manifest import read_manifest
from core.spark import SparkConfig
from tokenizer.commands import app
from tokenizer.encoding import COMMANDS, Tokenizer
from tokenizer.foreign import import_model
from tokenizer.hf.tokenization_mglm import MGLMTokenizer
from tokenizer.inputs import encode_source
from tokenizer.prompts import source, summary_source
from tokenizer.sentences import SentenceEnds
from tokenizer.shards import Shards

from .conftest import SENTENCES, text_of

quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def trained(**options: Any) -> bytes:
    model = io.BytesIO()
    given = {
        "vocab_size": 900,
        "hard_vocab_limit": False,
        "pad_id": 0,
        "eos_id": 1,
        "unk_id": 2,
        "bos_id": -1,
        "num_threads": 1,
        "minloglevel": 2,
        "user_defined_symbols": ["<extra_id_1>", "<extra_id_0>"],
    }
    lines = [text_of(lang, number) for lang in SENTENCES for number in range(5)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line for text in lines for line in text.split("\n")), model_writer=model, **given | options
    )
    return model.getvalue()


MODELS: dict[str, dict[str, Any]] = {
    "mt5": {"byte_fallback": True, "character_coverage": 0.99},
    "without bytes": {"character_coverage": 0.99},
    "bpe": {"model_type": "bpe", "character_coverage": 1.0},
    "identity": {
        "normalization_rule_name": "identity",
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
        "byte_fallback": True,
    },
}


@pytest.fixture(scope="session", params=MODELS)
def foreign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer directory made of such a model."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "spiece.model").write_bytes(trained(**MODELS[request.param]))
    import_model(folder / "spiece.model", folder / "tokenizer")
    return folder / "tokenizer"


@quick
@given(
    text=st.lists(
        st.sampled_from([*COMMANDS, "</s>", "<pad>", "<extra_id_0>", " ", "ﬁ", "水"]) | st.text(st.characters()),
        max_size=6,
    ).map("".join)
)
def test_text_stays_text_and_decodes_to_the_models_own_normalisation(foreign: Path, text: str) -> None:
    tokenizer = Tokenizer.load(foreign)
    ids = tokenizer.encode(text)
    assert all(0 <= index < tokenizer.pieces for index in ids)
    assert not {0, 1} & set(ids)  # its own control pieces
    if tokenizer.unknown_id not in ids:
        assert tokenizer.decode(ids) == tokenizer.normalised(text)
    else:
        assert not tokenizer.has_bytes
    found = MGLMTokenizer(str(foreign / "tokenizer.model"))
    assert found(text).input_ids == ids


def test_commands_follow_its_pieces_and_its_own_control_pieces_stand_for_no_text(foreign: Path) -> None:
    tokenizer = Tokenizer.load(foreign)
    manifest = read_manifest(foreign, "tokenizer/1")
    assert manifest.facts["pieces"] == tokenizer.pieces == tokenizer.eos_id
    assert tokenizer.vocab_size % 128 == 0
    assert [tokenizer.piece_text(index) for index in range(3)] == ["", "", ""]
    assert tokenizer.byte_length([0, 1, 2, tokenizer.eos_id]) == 0


def test_training_and_summarising_take_it(foreign: Path) -> None:
    tokenizer = Tokenizer.load(foreign)
    text = text_of("hi", 3) + " ☃ [sMASK] <extra_id_0>"
    for segments in (summary_source(text, "zh"), source("question", "th", context=text, question="水?")):
        made = encode_source(tokenizer, segments, 60)
        assert len(made.ids) == 60
        assert [index for index in made.ids if index >= tokenizer.pieces] == [tokenizer.cls_id, tokenizer.smask_id]
    tokens = np.array([*tokenizer.encode(text), tokenizer.eos_id], np.int32)
    spans = SentenceEnds(tokenizer).spans(tokens)
    assert sum(stop - start for start, stop in spans) == len(tokens)
    array = tokenizer.encode_arrays([text.encode()])[0]
    assert array.dtype == np.int32
    assert array.tolist() == tokenizer.encode(text)


def test_a_newline_is_lost_by_mt5s_normalisation_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "m.model").write_bytes(trained(**MODELS["without bytes"]))
    manifest = import_model(tmp_path / "m.model", tmp_path / "out")
    assert manifest.facts["normalises"]
    assert not manifest.facts["byte_pieces"]
    tokenizer = Tokenizer.load(tmp_path / "out")
    assert tokenizer.normalised(" Ａ\n\nb ") == "A b"
    assert import_model(tmp_path / "m.model", tmp_path / "out").made == manifest.made


def test_what_will_not_do_is_one_clear_line(tmp_path: Path) -> None:
    def refused(name: str, content: bytes | None, match: str) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(MGLMError, match=match):
            import_model(tmp_path / name, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    refused("absent.model", None, "No such file")
    refused("empty.model", b"", "an empty file")
    refused("broken.model", b"not a model", "a SentencePiece .model file")
    refused("", None, "found a directory")
    refused("mask.model", trained(user_defined_symbols=["[MASK]"]), r"pieces that spell our commands: \[MASK\]")
    refused("suffix.model", trained(treat_whitespace_as_suffix=True), "marks words at their beginning")


def test_control_pieces_that_are_named_like_commands_are_harmless(tmp_path: Path) -> None:
    (tmp_path / "albert.model").write_bytes(trained(control_symbols=["[CLS]", "[SEP]", "[MASK]"]))
    import_model(tmp_path / "albert.model", tmp_path / "out")
    tokenizer = Tokenizer.load(tmp_path / "out")
    found = MGLMTokenizer(str(tmp_path / "out" / "tokenizer.model"))
    assert found.convert_tokens_to_ids("[MASK]") == tokenizer.mask_id == tokenizer.pieces + 3
    ids = tokenizer.encode("[MASK]")
    assert found("[MASK]").input_ids == ids
    assert found.decode([tokenizer.mask_id]) == "[MASK]"


@pytest.mark.spark
def test_documents_become_shards_with_it(
    documents_directory: Path, plan_path: Path, spark: SparkConfig, tmp_path: Path
) -> None:
    (tmp_path / "m.model").write_bytes(trained(**MODELS["without bytes"]))
    imported = tmp_path / "tokenizer"
    shards_directory = tmp_path / "shards"
    given = ["--documents", documents_directory, "--plan", plan_path, "--tokenizer", imported]
    partitions = ["--set", f"spark.shuffle_partitions={spark.shuffle_partitions}"]
    for arguments in (
        ["import", "--model", tmp_path / "m.model", "--output", imported],
        ["shard", *given, "--output", shards_directory, *partitions],
    ):
        CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    shards = Shards.open(shards_directory, verify=True)
    assert shards.documents("zh") == 9
    assert Tokenizer.load(shards_directory / "tokenizer").sha256 == Tokenizer.load(imported).sha256
