"""What language an article is written in, where the detector is installed; the service works without."""

from collections.abc import Callable
from pathlib import Path

from core.detector import LanguageDetector
from core.errors import MGLMError
from core.languages import UNKNOWN, language_name
from core.log import get_logger
from serve.config import ServeConfig
from serve.schema import Language

Detect = Callable[[str], Language | None]

log = get_logger("serve")


def language_detection(config: ServeConfig) -> Detect:
    """Detects in a fraction of a millisecond (only the first thousand characters count); says nothing where it cannot.

    Raises:
        MGLMError: the configuration names a model file that cannot be used.
    """
    if not config.detect_language:
        return lambda text: None
    try:
        detector = LanguageDetector(Path(config.lid_model) if config.lid_model is not None else None)
    except MGLMError as error:
        if config.lid_model is not None:
            raise
        log.warning("answers come without the detected language: %s", error)
        return lambda text: None

    def detect(text: str) -> Language:
        found = detector.detect(text)
        name = "not recognised" if found.lang == UNKNOWN else language_name(found.lang)
        return Language(code=found.lang, name=name, score=round(found.score, 4))

    return detect
