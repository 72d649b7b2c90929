"""Logs of the service: one JSON object a line on stderr, never a word of an article or a summary.

An exception's message may quote what it choked on, so only its kind and place are logged.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

from core.log import LOGGER_NAME, quieten_libraries

FIELDS = "fields"  # attribute of a record that carries more keys: log.info("event", extra={FIELDS: {...}})


class JsonLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line.update(getattr(record, FIELDS, {}))
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            line["at"] = [f"{frame.name} ({frame.filename.rpartition('/')[2]}:{frame.lineno})" for frame in
                          traceback.extract_tb(record.exc_info[2])]  # fmt: skip
        return json.dumps(line, ensure_ascii=False)


def set_up_json_logging() -> None:
    """Sends the project's and uvicorn's messages to stderr as JSON lines; uvicorn's access log is replaced by ours."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLine())
    for name, level in ((LOGGER_NAME, logging.INFO), ("uvicorn", logging.WARNING), ("py.warnings", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
    logging.getLogger("uvicorn.access").disabled = True
    logging.captureWarnings(True)
    quieten_libraries()
