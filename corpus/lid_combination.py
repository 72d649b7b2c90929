"""The weights of two detectors that answer together, fitted on documents that neither was trained on."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.combined_model import EMBEDDED, codes_of, distribution, pool
from core.detector import DEFAULT_MAX_CHARACTERS, prepare
from core.fasttext_model import FastTextModel, embedded_model_path
from core.languages import UNKNOWN
from core.manifest import sha256_file
from corpus.labelled import LabelledDocument
from corpus.lid_measure import GRAINS, cut
from corpus.lid_scores import score

EVEN = (0.5, 0.5)
FEWEST_DOCUMENTS = 100  # fewer say too little
STEPS = 10  # weights are searched by tenths


@dataclass(frozen=True)
class FirstModel:
    """The detector that the new one is combined with."""

    name: str
    path: Path
    sha256: str

    def written_as(self, combination: Path) -> str:
        """How the combination names it: lid.176 as installed, others by their path from the combination's folder."""
        if self.path == embedded_model_path():
            return EMBEDDED
        return os.path.relpath(self.path, combination.parent)


def find_first_model(combine_with: str | None) -> FirstModel | None:
    """Raises MGLMError: it is no fastText model."""
    if combine_with is None:
        return None
    path = embedded_model_path() if combine_with == EMBEDDED else Path(combine_with)
    FastTextModel(path)
    return FirstModel(path.name, path, sha256_file(path))


def fit_weights(first: Path, second: Path, dev: Sequence[LabelledDocument]) -> tuple[float, float]:
    """The weights, adding up to 1, with the highest macro-F1 on the average of whole and short texts.

    Of equal ones the most even. By F1, not by likelihood, which on text like its own trusts the new model alone.
    With fewer than a hundred documents both weigh one half.
    """
    if len(dev) < FEWEST_DOCUMENTS:
        return EVEN
    models = FastTextModel(first), FastTextModel(second)
    codes = codes_of(models[0]), codes_of(models[1])
    grains = []
    for characters in GRAINS.values():
        lines = [(lang, prepare(text[:DEFAULT_MAX_CHARACTERS])) for lang, text in cut(dev, characters)]
        grains.append([(lang, (distribution(models[0], line), distribution(models[1], line))) for lang, line in lines])

    def macro_f1(weights: tuple[float, float]) -> float:
        total = 0.0
        for said in grains:
            answers = [_best(pool(pair, codes, weights)) for _, pair in said]
            total += score([lang for lang, _ in said], answers).macro_f1()
        return total

    choices = [(step / STEPS, (STEPS - step) / STEPS) for step in range(STEPS + 1)]
    choices.sort(key=lambda weights: abs(weights[0] - weights[1]))
    return max(choices, key=macro_f1)


def _best(pooled: dict[str, float]) -> str:
    return max(sorted(pooled), key=pooled.__getitem__) if pooled else UNKNOWN
