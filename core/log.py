"""Logging: everything that is not a result goes to stderr, one line per event."""

import logging
import os
import sys

LOGGER_NAME = "mglm"
# transformers imports torchao, which warns at every start of GPU code that a CPU cannot load.
NOISY = ("torchao", "torch.utils._pytree")
LOG_FILE_VARIABLE = "MGLM_LOG_FILE"  # with a path, everything is also appended there and stderr has warnings alone


def get_logger(stage: str) -> logging.Logger:
    """The logger of one stage, e.g. `get_logger("corpus")`."""
    return logging.getLogger(f"{LOGGER_NAME}.{stage}")


def set_up_logging(*, verbose: bool = False) -> None:
    """Sends our messages to stderr as `HH:MM:SS stage  message`; safe to call twice."""
    logger = logging.getLogger(LOGGER_NAME)
    logger.handlers.clear()
    formatter = logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S")
    to_stderr = logging.StreamHandler(sys.stderr)
    handlers: list[logging.Handler] = [to_stderr]
    if path := os.environ.get(LOG_FILE_VARIABLE):
        handlers.append(logging.FileHandler(path, encoding="utf-8"))
        to_stderr.setLevel(logging.DEBUG if verbose else logging.WARNING)
    for handler in handlers:
        handler.setFormatter(formatter)
        logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
    quieten_libraries()


def quieten_libraries() -> None:
    """Keeps warnings that say nothing out of the log. They come while a library loads: call it before that."""
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
