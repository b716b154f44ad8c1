"""Structured logs on stderr: one JSON line an event, never a name, mail, phone or key in it."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from typing import Any

import structlog


def configure_logging(service: str, *, level: str = "INFO") -> None:
    """Log as JSON lines on stderr, each with time, level and `service`; libraries' warnings join in."""
    processors: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*processors, _as_json],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processor=_as_json,
            foreign_pre_chain=processors,
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    structlog.contextvars.bind_contextvars(service=service)


_JSON = json.JSONEncoder(default=repr)
"""Made once: structlog's own renderer makes one for each line."""


def _as_json(_: Any, __: str, line: structlog.types.EventDict) -> str:
    return _JSON.encode(line)


def fault_of(error: BaseException) -> dict[str, str]:
    """Describe an unexpected error for a log line: its type and where it came from.

    Its text is left out: a database says in it which mail address was in the way.
    """
    places = [
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)
    ]
    return {"error": type(error).__name__, "at": " > ".join(places[-6:])}
