"""The dead-man ping: one GET to somebody outside, who speaks up when it stops coming.

Rule of the file: the URL is the credential, so it is in no log and no error, and is never followed anywhere else.
"""

from __future__ import annotations

import logging
import threading

import httpx
import structlog

_log = structlog.get_logger(__name__)

PING_SECONDS = 10.0


class HttpDeadMan:
    """Pings one URL. For one thread."""

    def __init__(self, url: str, *, seconds: float = PING_SECONDS) -> None:
        self._url = url
        self._seconds = seconds
        self._asking: threading.Thread | None = None
        for talker in ("httpx", "httpcore"):  # they write every URL into their logs
            logging.getLogger(talker).setLevel(logging.CRITICAL + 10)

    def ping(self) -> bool:
        """GET the URL; True for an answer of 200 to 299 within ten seconds in all, False for anything else."""
        if self._asking is not None and self._asking.is_alive():
            return False  # an answer that drips: the library's time limits are those of single reads
        answers: list[bool] = []
        self._asking = threading.Thread(target=lambda: answers.append(self._ask()), name="dead-man", daemon=True)
        self._asking.start()
        self._asking.join(self._seconds)
        return answers == [True]

    def _ask(self) -> bool:
        try:
            with (
                httpx.Client(timeout=self._seconds, follow_redirects=False) as http,
                http.stream("GET", self._url, headers={"User-Agent": "skyharbor-auditor"}) as answer,
            ):
                if not answer.is_success:
                    _log.warning("dead_man_refused", status=answer.status_code)
                return bool(answer.is_success)
        except Exception as error:  # noqa: BLE001 - a thread of its own; the words of the error may hold the URL
            _log.warning("dead_man_unreachable", error=type(error).__name__)
            return False
