"""A sweep predicts and scores at every point and says which was best."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import MGLMError
from eval.config import EvalConfig
from eval.predictions import read_predictions
from eval.sweep import numbers, sweep

CONFIG = EvalConfig(max_new_tokens=6, batch_size=4, resamples=100)


def test_every_combination_is_predicted_and_scored_once(export: Path, examples: Path, tmp_path: Path) -> None:
    def run() -> list[dict[str, Any]]:
        return sweep(export, examples, tmp_path / "out", CONFIG, beams=[1, 2], temperatures=[0, 2.0], split="heldout")

    rows = run()
    assert {(row["num_beams"], row["temperature"]) for row in rows} == {(1, None), (1, 2.0), (2, None), (2, 2.0)}
    assert [row["rouge1"] for row in rows] == sorted((row["rouge1"] for row in rows), reverse=True)
    assert json.loads((tmp_path / "out" / "sweep.json").read_text("utf-8")) == rows
    (prediction, *_) = read_predictions(tmp_path / "out" / "num_beams=2,temperature=2.0" / "predictions")
    assert (prediction.decoding["num_beams"], prediction.decoding["temperature"]) == (2, 2.0)
    assert (
        sweep(export, examples, tmp_path / "out", CONFIG, beams=[1, 2], temperatures=[0, 2.0], split="heldout") == rows
    )


def test_what_cannot_be_swept_is_said(export: Path, examples: Path, tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="found nothing to vary"):
        sweep(export, examples, tmp_path / "out", CONFIG)
    with pytest.raises(MGLMError, match=r"found no dev\.jsonl"):
        sweep(export, examples, tmp_path / "out", CONFIG, beams=[1])
    assert numbers("--beams", "1, 4,", least=1, whole=True) == [1, 4]
    for text in ("1,x", "0", "1.5"):
        with pytest.raises(MGLMError, match="--beams"):
            numbers("--beams", text, least=1, whole=True)
    with pytest.raises(MGLMError, match="--temperatures"):
        numbers("--temperatures", "nan")
