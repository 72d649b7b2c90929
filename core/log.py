"""Logging: everything that is not a result goes to stderr, one line per event."""

import logging
import sys

LOGGER_NAME = "mglm"


def get_logger(stage: str) -> logging.Logger:
    """The logger of one stage, e.g. `get_logger("corpus")`."""
    return logging.getLogger(f"{LOGGER_NAME}.{stage}")


def set_up_logging(*, verbose: bool = False) -> None:
    """Sends our messages to stderr as `HH:MM:SS stage  message`; safe to call twice."""
    logger = logging.getLogger(LOGGER_NAME)
    logger.handlers.clear()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
