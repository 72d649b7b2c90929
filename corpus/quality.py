"""A score for each document from a fastText classifier, e.g. of text like a reference corpus against other text.

The score is the probability of one label. Every document keeps it in the column `quality`; one below the threshold of
its language is rejected.
"""

from dataclasses import replace
from pathlib import Path

from core.detector import prepare
from core.errors import MGLMError
from core.fasttext_model import FastTextModel
from core.languages import UNKNOWN, code_of_label
from corpus.rules_config import RulesConfig
from corpus.verdicts import Document, Refusal

LOW_QUALITY = "low_quality"
MAX_CHARACTERS = 10_000  # a classifier of bags of words has made up its mind by then


class Quality:
    """Scores by the model of a configuration."""

    def __init__(self, config: RulesConfig) -> None:
        """Raises MGLMError: no model, not a fastText model, a label it does not know, or an unknown language."""
        if not config.quality_model:
            raise MGLMError("corpus.rules.quality_model", found="nothing", expected="a fastText model (.bin or .ftz)")
        self._model = FastTextModel(Path(config.quality_model))
        labels = self._model.labels
        if config.quality_label not in labels:
            raise MGLMError(
                "corpus.rules.quality_label",
                found=config.quality_label or "nothing",
                expected=f"a label of {config.quality_model}: {', '.join(labels[:10])}",
            )
        if unknown := [code for code in config.quality_thresholds if code_of_label(code) != code]:
            raise MGLMError(
                "corpus.rules.quality_thresholds",
                found=", ".join(sorted(unknown)),
                expected=f"the 101 codes, {UNKNOWN}, or qaa to qtz",
            )
        self._label, self._count = config.quality_label, len(labels)
        self._threshold, self._thresholds = config.quality_threshold, config.quality_thresholds

    def __call__(self, document: Document) -> Document | Refusal:
        line = prepare(document.text[:MAX_CHARACTERS])
        answers = {label: probability for probability, label in self._model.answers(line, self._count)}
        score = answers.get(self._label, 0.0)
        threshold = self._thresholds.get(document.lang, self._threshold)
        if score < threshold:
            return Refusal(LOW_QUALITY, f"{score:.3f}, less than {threshold}")
        return replace(document, quality=score)
