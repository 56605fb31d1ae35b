"""A connection that gives a silent server up: the line is half-open, or whoever is behind it hangs.

A server that works ends a statement after 15 s (``statement_timeout``): a longer silence is no work. The kernel would
notice nothing while some box between acknowledges what it swallows, and within hours only when nobody does.

Rule of the file: what was given up is closed, for nobody knows how much of it was heard; a commit in the air may have
happened or not, as with every connection that breaks.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg

SILENCE_SECONDS = 25.0

KEEPALIVES: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""libpq's words for a peer that acknowledges nothing: found dead after 25 s, also by who only listens."""

_Result = TypeVar("_Result")


class PatientConnection(psycopg.Connection[Any]):
    """Waits up to ``silence`` seconds for the end of each of its operations; then ``psycopg.OperationalError``."""

    silence = SILENCE_SECONDS

    def wait(self, gen: Generator[Any, Any, _Result], *args: Any, **kwargs: Any) -> _Result:
        """Consume a generator of psycopg's, as every operation does; one that takes too long is ended."""
        return super().wait(self._hurried(gen), *args, **kwargs)

    def _hurried(self, gen: Generator[Any, Any, _Result]) -> Generator[Any, Any, _Result]:
        deadline = time.monotonic() + self.silence
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > deadline:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the server was silent for {self.silence:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: _Result = end.value
            return result
