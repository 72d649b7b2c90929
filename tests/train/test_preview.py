"""The preview shows what training sees."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.shards import write_plan
from core.config import RunConfig
from core.errors import MGLMError
from tokenizer.encoding import Tokenizer
from train.blank_layout import NO_LOSS
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
        for blank in record["blanks"]:
            spelled = record["row_ids"][blank["start"] : blank["stop"]]
            assert record["position_ids"][0].count(blank["position"]) == blank["size"] + 1  # the mask itself
            assert [token for token in record["labels"] if token in spelled][:1] != []
            assert blank["size"] - len(spelled) in (0, 1)  # with or without an end token
        assert set(record["labels"][: record["context_length"]]) == {NO_LOSS}


def test_text_numbers_the_blanks(shards_directory: Path, plan_path: Path, tiny_config: Path) -> None:
    inputs = ["--shards", str(shards_directory), "--plan", str(plan_path), "--config", str(tiny_config)]
    result = CliRunner().invoke(app, ["preview", *inputs, "--count", "2"])
    assert result.exit_code == 0, result.output
    assert result.output.count("sample ") == 2
    assert "(1) at " in result.output


def test_a_language_with_a_small_share_is_found(shards_directory: Path, tiny_config: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.json", {"en": 0.9999, "hi": 0.0001})
    (record,) = preview(RunConfig(tiny_config), shards_directory, plan, 1, "hi")
    assert record["lang"] == "hi"
    assert record["index"] > 1_000


def test_a_language_that_is_never_drawn_is_an_error(shards_directory: Path, tiny_config: Path) -> None:
    with pytest.raises(MGLMError, match="expected one of en, hi, th"):
        next(preview(RunConfig(tiny_config), shards_directory, None, 1, "xx"))
