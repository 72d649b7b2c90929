"""A detector's answers on labelled documents, whole and cut short."""

from collections.abc import Sequence
from typing import Any

from core.detector import LanguageDetector
from corpus.labelled import LabelledDocument
from corpus.lid_scores import score
from corpus.snippets import snippets

# What is measured: name → length of the snippets in characters; None: the document, up to the detector's cap.
GRAINS: dict[str, int | None] = {"documents": None, "100 characters": 100, "40 characters": 40}
SNIPPETS_OF_A_DOCUMENT = 3


def evaluate(detector: LanguageDetector, documents: Sequence[LabelledDocument]) -> dict[str, Any]:
    """The scores at each grain, without a threshold."""
    found = {}
    for grain, characters in GRAINS.items():
        texts = cut(documents, characters)
        found[grain] = score([lang for lang, _ in texts], [detector.detect(text).lang for _, text in texts]).to_json()
    return found


def cut(documents: Sequence[LabelledDocument], characters: int | None) -> list[tuple[str, str]]:
    """(language, text) of whole documents, or of up to three snippets of each with about so many characters."""
    if characters is None:
        return [(document.lang, document.text) for document in documents]
    return [
        (document.lang, snippet)
        for document in documents
        for _, snippet in zip(
            range(SNIPPETS_OF_A_DOCUMENT),
            snippets(document.text, document.doc_id, characters, characters),
            strict=False,
        )
    ]
