"""predictions/1: one JSON line for each example, what the model wrote beside what it should have written, and how.

A file can be read by itself: every line holds the source's text and the decoding settings, too.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import MGLMError
from core.manifest import MADE_BY, read_manifest
from eval.texts import check_unique

PREDICTIONS = "predictions/1"
FILE_NAME = "predictions.jsonl"


class Prediction(BaseModel):
    """`lang` is the source's language, `target_lang` that of reference and prediction.

    `references` are all right answers where `reference` is not the only one. A long source was read in `windows`; the
    answer comes from number `window` (from 0) and had the highest `score`, a log-probability; or it was condensed, in
    `passages` and `rounds`. `left_out_tokens` of it were not read. `source` is the text without its prompt.
    """

    model_config = ConfigDict(extra="forbid")
    id: str
    lang: str
    target_lang: str
    reference: str
    prediction: str
    references: list[str] = []
    source: str = ""
    score: float | None = None
    windows: int = 1
    window: int = 0
    passages: int = 1
    rounds: int = 0
    left_out_tokens: int = 0
    task: str = ""
    decoding: dict[str, Any] = {}

    def accepted(self) -> list[str]:
        """Every right answer."""
        return self.references or [self.reference]


def read_predictions(directory: Path) -> list[Prediction]:
    """All predictions of a finished stage.

    Raises:
        MGLMError: not a finished predictions/1 directory, a broken line, or a doubled id.
    """
    read_manifest(directory, PREDICTIONS)
    predictions = list(_records(directory / FILE_NAME))
    check_unique((prediction.id for prediction in predictions), str(directory / FILE_NAME))
    return predictions


def _records(path: Path) -> Iterator[Prediction]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield Prediction.model_validate_json(line)
            except ValidationError as error:
                raise MGLMError(
                    f"{path}, line {number}",
                    found=error.errors()[0]["msg"],
                    expected=f"a {PREDICTIONS} record",
                    action=f"run {MADE_BY[PREDICTIONS]}",
                ) from None
