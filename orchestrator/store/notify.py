"""Hears PostgreSQL's NOTIFY on the channel ``skyharbor_tower``.

Rule of the file: a hint and nothing more. When the connection is lost, ``wait`` says nothing until it is back;
polling goes on.
"""

from __future__ import annotations

import threading
import time

import psycopg
import structlog
from sqlalchemy.engine import make_url

from orchestrator.store.patience import KEEPALIVES, SILENCE_SECONDS, PatientConnection

_log = structlog.get_logger(__name__)


_ASK_EVERY = 30.0
"""After so long a silence it asks whether anybody is there: a line that swallows everything sounds like a quiet one."""


class Listener:
    """One connection that listens. One thread waits, any thread may close."""

    def __init__(self, url: str, *, silence: float = SILENCE_SECONDS, ask_every: float = _ASK_EVERY) -> None:
        self._dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._silence, self._ask_every = silence, ask_every
        self._heard_at = 0.0
        self._connection: PatientConnection | None = None
        self._closed = threading.Event()

    def wait(self, timeout: float) -> bool:
        """Block up to ``timeout`` seconds.

        True when something was heard, or may have been missed (a new connection).
        """
        if self._closed.is_set():
            return False
        try:
            if self._connection is None:
                self._connection = PatientConnection.connect(
                    self._dsn, autocommit=True, connect_timeout=5, **KEEPALIVES
                )
                self._connection.silence = self._silence
                self._connection.execute("LISTEN skyharbor_tower")
                self._heard_at = time.monotonic()
                return True
            heard = any(True for _ in self._connection.notifies(timeout=timeout, stop_after=1))
            if not heard and time.monotonic() - self._heard_at > self._ask_every:
                self._connection.execute("SELECT 1")
                self._heard_at = time.monotonic()
            return heard
        except (psycopg.Error, OSError) as error:
            if not self._closed.is_set():
                _log.warning("listener_lost", error=type(error).__name__)
            self._drop()
            self._closed.wait(min(timeout, 1.0))
            return False

    def close(self) -> None:
        """Stop listening for good. The waiting thread returns within its timeout."""
        self._closed.set()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
