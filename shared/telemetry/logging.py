"""One JSON object per line, from our own code and from the libraries we run.

Rule of the file: configured once per process, before anything logs. A field whose name smells of a secret is blanked
and credentials inside URLs are cut out, wherever the line came from.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_REDACTED = "[redacted]"
_SECRET_NAME = re.compile(
    r"(?i)(^|[_\-.])(token|tokens|password|passwd|passphrase|secret|authorization|cookie|dek|kek|pin|credentials?|dsn)($|[_\-.])"
)
_URL_CREDENTIALS = re.compile(r"(?P<scheme>[a-zA-Z][\w+.\-]*://)[^/@\s]+@")
_BEARER = re.compile(r"(?i)\b(bearer)\s+[A-Za-z0-9._~+/=\-]+")
_LIBRARY_LEVEL = logging.WARNING
_DEEPEST = 4


def configure_logging(*, log_file: str | None = None, process: str, level: str = "info") -> None:
    """Send every log line of this process to ``log_file`` (appended, made 0600), or to standard error.

    ``process`` names the program in each line (``api``, ``loops``, ``worker``). Libraries are heard from WARNING up.
    Lines are written whole and unbuffered, so several processes may append to one file.
    """
    stream = _open(log_file) if log_file else sys.stderr
    threshold = logging.getLevelNamesMapping()[level.upper()]
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _Named(process),
    ]
    after: list[Processor] = [
        structlog.processors.format_exc_info,
        redact,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
    structlog.configure(
        processors=[*before, *after],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    _route_libraries(stream, before, after)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blank secrets in a line: fields by their name, credentials in URLs and bearer tokens by their shape."""
    return {str(name): _clean(str(name), value, 0) for name, value in event.items()}


class _Named:
    """Adds the program's name to every line."""

    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = self._process
        event["pid"] = os.getpid()
        return event


def _clean(name: str, value: object, depth: int) -> object:
    if isinstance(value, (str, bytes)) and _smells(name):
        return _REDACTED
    if isinstance(value, str):
        return _without_credentials(value)
    if depth >= _DEEPEST:
        return value
    if isinstance(value, Mapping):
        return {str(key): _clean(str(key), inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_clean(name, inner, depth + 1) for inner in value]
    return value


@lru_cache(maxsize=1024)  # a static event has static fields
def _smells(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _without_credentials(text: str) -> str:
    """Cut out what looks like credentials. Most texts have none, and are told by a glance."""
    if "://" in text and "@" in text:
        text = _URL_CREDENTIALS.sub(rf"\g<scheme>{_REDACTED}@", text)
    return _BEARER.sub(r"\1 " + _REDACTED, text) if "bearer" in text.lower() else text


def _route_libraries(stream: TextIO, before: list[Processor], after: list[Processor]) -> None:
    """Give the standard library's loggers the same shape; replaces handlers that a library installed for itself."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*before, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *after],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LIBRARY_LEVEL)
    logging.captureWarnings(capture=True)


def _open(path: str) -> TextIO:
    return open(path, "a", encoding="utf-8", errors="backslashreplace", buffering=1, opener=_private)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
