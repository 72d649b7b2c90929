"""The preview shows what training sees."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.config import RunConfig
from core.errors import MGLMError
from tokenizer.encoding import Tokenizer
from train.blank_infilling import NO_LOSS
from train.commands import app
from train.preview import preview


def test_the_text_of_context_and_blanks_is_the_document(
    shards_directory: Path, plan_path: Path, tiny_config: Path, documents: dict[str, list[str]]
) -> None:
    text = "".join(documents["en"]).replace(" ", "")
    for record in preview(RunConfig(tiny_config), shards_directory, plan_path, 10, "en"):
        assert record["lang"] == "en"
        whole = record["context"]
        for number, blank in enumerate(record["blanks"], start=1):
            for name in ("MASK", "sMASK", "gMASK"):
                whole = whole.replace(f"[{name} {number}]", blank["text"])
        parts = whole.replace("[EOS]", "").split("[CLS]")
        assert all(part.replace(" ", "") in text for part in parts)


def test_json_holds_the_ids_that_are_trained_on(
    shards_directory: Path, tiny_config: Path, tokenizer: Tokenizer
) -> None:
    arguments = ["preview", "--shards", str(shards_directory), "--count", "4", "--json", "--config", str(tiny_config)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    records = [json.loads(line) for line in result.output.splitlines()]
    assert [record["index"] for record in records] == [0, 1, 2, 3]
    for record in records:
        assert record["input_ids"][0] == tokenizer.cls_id
        assert set(record["labels"][: record["context_length"]]) == {NO_LOSS}


def test_text_numbers_the_blanks(shards_directory: Path, plan_path: Path, tiny_config: Path) -> None:
    inputs = ["--shards", str(shards_directory), "--plan", str(plan_path), "--config", str(tiny_config)]
    result = CliRunner().invoke(app, ["preview", *inputs, "--count", "2"])
    assert result.exit_code == 0, result.output
    assert result.output.count("sample ") == 2
    assert "(1)" in result.output


def test_a_language_that_is_never_drawn_is_an_error(shards_directory: Path, tiny_config: Path) -> None:
    with pytest.raises(MGLMError, match="expected one of en, hi, th"):
        next(preview(RunConfig(tiny_config), shards_directory, None, 1, "xx"))
