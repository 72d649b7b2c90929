import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.errors import MGLMError
from core.manifest import read_manifest
from core.spark import SparkConfig
from tokenizer.commands import app
from tokenizer.shards import Shards


def test_importing_the_commands_loads_nothing_heavy() -> None:
    heavy = "{'sentencepiece', 'pyarrow', 'numpy', 'pyspark', 'pydantic', 'transformers'}"
    code = f"import sys, tokenizer.commands; print(sorted({heavy} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


@pytest.mark.spark
def test_train_and_shard_from_the_command_line(
    sample_directory: Path, documents_directory: Path, plan_path: Path, spark: SparkConfig, tmp_path: Path
) -> None:
    config = tmp_path / "run.toml"
    config.write_text("[tokenizer]\nnum_threads = 1\nvocab_size = 800\n[spark]\nshuffle_partitions = 2\n")
    made, shards = tmp_path / "tokenizer", tmp_path / "shards"
    train = ["train", "--sample", sample_directory, "--vocab-size", "600", "--output", made, "--config", config]
    run(train)
    assert read_manifest(made, "tokenizer/1").facts["requested"] == 600
    run(train)
    other = [*train, "--set", "tokenizer.model_type=bpe"]
    with pytest.raises(MGLMError, match="another configuration"):
        run(other)
    run([*other, "--overwrite"])
    run(["shard", "--documents", documents_directory, "--plan", plan_path, "--tokenizer", made, "--output", shards])
    assert Shards.open(shards, verify=True).documents("zh") == 9


def test_an_unknown_key_is_an_error(sample_directory: Path, tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="Did you mean vocab_size"):
        run(["train", "--sample", sample_directory, "--output", tmp_path / "x", "--set", "tokenizer.vocabsize=9"])


def run(arguments: list[object]) -> None:
    CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
