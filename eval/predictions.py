"""predictions/1: one JSON line for each example, what the model wrote beside what it should have written."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import MGLMError
from core.manifest import MADE_BY, read_manifest
from eval.texts import check_unique

PREDICTIONS = "predictions/1"
FILE_NAME = "predictions.jsonl"


class Prediction(BaseModel):
    """`lang` is the source's language, `target_lang` that of reference and prediction."""

    model_config = ConfigDict(extra="forbid")
    id: str
    lang: str
    target_lang: str
    reference: str
    prediction: str


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
