from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import MGLMError
from core.manifest import open_stage, read_manifest
from core.schemas import SAMPLE, SAMPLE_TABLE
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import Tokenizer
from tokenizer.train import most_frequent_characters, sentences, train_tokenizer, without_other_characters


def test_a_vocabulary_the_sample_cannot_carry_becomes_as_large_as_it_can(tokenizer_directory: Path) -> None:
    manifest = read_manifest(tokenizer_directory, "tokenizer/1")
    assert manifest.facts["requested"] == 20_000
    assert 300 < manifest.facts["pieces"] < 20_000
    assert manifest.facts["pieces"] == Tokenizer.load(tokenizer_directory).pieces


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_a_vocabulary_too_small_for_the_characters_leaves_the_rarest_to_bytes(
    sample_directory: Path, tmp_path: Path, model_type: str
) -> None:
    config = TokenizerConfig.model_validate({"vocab_size": 400, "model_type": model_type, "num_threads": 1})
    manifest = train_tokenizer(sample_directory, tmp_path / "small", config)
    assert manifest.facts["pieces"] <= 400
    assert manifest.facts["character_coverage"] < config.character_coverage
    tokenizer = Tokenizer.load(tmp_path / "small")
    assert tokenizer.decode(tokenizer.encode("春天河水上涨。\n Ωδή")) == "春天河水上涨。\n Ωδή"


def test_the_same_sample_and_config_give_the_same_bytes_and_finished_work_is_not_redone(
    sample_directory: Path, tmp_path: Path
) -> None:
    config = TokenizerConfig(vocab_size=900, num_threads=1, input_sentence_size=400)
    first = train_tokenizer(sample_directory, tmp_path / "a", config)
    second = train_tokenizer(sample_directory, tmp_path / "b", config)
    assert first.facts["sha256"] == second.facts["sha256"]
    assert train_tokenizer(sample_directory, tmp_path / "a", config).made == first.made


def test_an_unfinished_sample_an_empty_one_and_a_broken_file_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="mglm balancing sample first"):
        train_tokenizer(tmp_path / "absent", tmp_path / "out", TokenizerConfig())
    empty = open_stage(tmp_path / "empty", schema=SAMPLE, config={}, inputs={})
    pq.write_table(SAMPLE_TABLE.empty_table(), tmp_path / "empty" / "part.parquet")
    empty.finish()
    with pytest.raises(MGLMError, match="found no text"):
        train_tokenizer(tmp_path / "empty", tmp_path / "out", TokenizerConfig())
    broken = open_stage(tmp_path / "broken", schema=SAMPLE, config={}, inputs={})
    (tmp_path / "broken" / "part.parquet").write_bytes(b"not parquet")
    broken.finish()
    with pytest.raises(MGLMError, match=r"part\.parquet.*expected a Parquet file"):
        train_tokenizer(tmp_path / "broken", tmp_path / "out2", TokenizerConfig())
    other = open_stage(tmp_path / "other", schema=SAMPLE, config={}, inputs={})
    pq.write_table(pa.table({"words": ["a"]}), tmp_path / "other" / "part.parquet")
    other.finish()
    with pytest.raises(MGLMError, match="a column text"):
        train_tokenizer(tmp_path / "other", tmp_path / "out3", TokenizerConfig())


@given(st.lists(st.text(alphabet="ab 水😀\n", max_size=200), max_size=5), st.integers(64, 128))
def test_lines_fit_the_limit_and_lose_nothing_but_newlines(texts: list[str], limit: int) -> None:
    lines = list(sentences(texts, limit))
    assert all(line and "\n" not in line and len(line.encode()) <= limit for line in lines)
    assert "".join(lines) == "".join(texts).replace("\n", "")


def test_long_lines_are_cut_at_a_space() -> None:
    lines = list(sentences(["word " * 100], 64))
    assert all(line.startswith(" word") for line in lines[1:])


def test_the_most_frequent_characters_and_their_share() -> None:
    assert most_frequent_characters(["aaab", "c"], 1) == ({"a"}, pytest.approx(3 / 5))
    assert most_frequent_characters(["aaab", "c"], 9)[1] == 1


def test_lines_are_cut_at_the_other_characters() -> None:
    assert list(without_other_characters(["abcab", "c", "b"], {"a", "b"})) == ["ab", "ab", "b"]
