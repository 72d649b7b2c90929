"""A sweep over decoding: predictions and scores at every combination of beams, length penalties and temperatures.

Each point is a predictions/1 and a scores/1 directory, so a killed sweep continues where it was. Choose on development
data: the best of many points on a test set is better than it will be again.
"""

import json
from collections.abc import Sequence
from itertools import product
from math import isfinite
from pathlib import Path
from typing import Any

from core.errors import MGLMError
from core.log import get_logger
from core.manifest import write_atomically
from eval.config import EvalConfig
from eval.predict import predict
from eval.score import score_directory

FILE_NAME = "sweep.json"

_log = get_logger("eval")


def sweep(
    model: Path,
    examples: Path,
    output: Path,
    config: EvalConfig,
    *,
    beams: Sequence[int] = (),
    length_penalties: Sequence[float] = (),
    temperatures: Sequence[float] = (),
    split: str = "dev",
    limit: int | None = None,
    overwrite: bool = False,
) -> list[dict[str, Any]]:
    """Rows of settings and figures, best first by the task's first measure; also in sweep.json.

    What is not listed stays as the task and [eval] have it. A temperature of 0 samples nothing.

    Raises:
        MGLMError: nothing to sweep over, or as `predict` and `score_directory`.
    """
    axes: list[tuple[str, list[Any]]] = [
        ("num_beams", list(beams)),
        ("length_penalty", list(length_penalties)),
        ("temperature", [value or None for value in temperatures]),
    ]
    axes = [(name, values) for name, values in axes if values]
    if not axes:
        expected = "values of --beams, --length-penalties or --temperatures"
        raise MGLMError("the sweep", found="nothing to vary", expected=expected)
    if output.exists() and not output.is_dir():
        raise MGLMError(f"output {output}", found="a file", expected="a directory", action="choose another --output")
    rows = []
    for values in product(*(values for _, values in axes)):
        point = dict(zip((name for name, _ in axes), values, strict=True))
        written = {name: getattr(config, name) for name in config.model_fields_set}
        settings = EvalConfig.model_validate(written | point)
        name = ",".join(f"{key}={value}" for key, value in point.items())
        predictions = output / name / "predictions"
        predict(model, examples, predictions, settings, limit=limit, split=split, overwrite=overwrite)
        scores = score_directory(predictions, output / name / "scores", resamples=config.resamples, overwrite=overwrite)
        overall = scores["overall"]
        row = {measure: overall[measure] for measure in scores["measures"]}
        rows.append({**point, **row, "interval": overall["interval"], "examples": overall["examples"]})
    first = scores["measures"][0]
    rows.sort(key=lambda row: -row[first])
    write_atomically(output / FILE_NAME, json.dumps(rows, indent=1))
    _log.info("%d points, %s from %.4f to %.4f: %s", len(rows), first, rows[-1][first], rows[0][first], output)
    return rows


def numbers(option: str, text: str, *, least: float | None = None, whole: bool = False) -> list[float]:
    """Numbers with commas between them; nothing is none.

    Raises:
        MGLMError: something else, or one below `least`.
    """
    kind = "whole numbers" if whole else "numbers"
    expected = f"{kind} with commas" + (f", {least:g} or more each" if least is not None else "")
    try:
        found = [float(int(part) if whole else float(part)) for part in text.split(",") if part.strip()]
    except ValueError:
        raise MGLMError(option, found=text, expected=expected) from None
    if any(not isfinite(value) or (least is not None and value < least) for value in found):
        raise MGLMError(option, found=text, expected=expected)
    return found
