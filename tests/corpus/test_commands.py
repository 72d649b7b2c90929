"""The command checks its input before anything slow, and its help is instant."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.errors import MGLMError
from corpus.commands import app


def run(*arguments: str) -> None:
    result = CliRunner().invoke(app, ["build", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_a_missing_input_is_told_without_spark_and_without_an_output(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with pytest.raises(MGLMError, match="no such file"):
        run("--input", str(tmp_path / "nothing.jsonl"), "--output", str(output))
    assert not output.exists()


@pytest.mark.parametrize(
    ("setting", "message"), [("corpus.lid_treshold=0.4", "lid_threshold"), ("corpus.heldout_share=1.0", "less than 1")]
)
def test_a_wrong_setting_is_told(tmp_path: Path, setting: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n')
    with pytest.raises(MGLMError, match=message):
        run("--input", str(path), "--output", str(tmp_path / "out"), "--set", setting)


def test_a_detector_that_is_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n')
    with pytest.raises(MGLMError, match="fastText model"):
        run("--input", str(path), "--output", str(tmp_path / "out"), "--lid-model", str(path))


def test_the_command_module_loads_nothing_heavy() -> None:
    code = "import sys, corpus.commands, balancing.commands; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pyspark", "pyarrow", "fasttext", "scipy", "numpy", "matplotlib", "torch"} & set(loaded)
