"""The worker's end of the journal: starts it when it is first asked for, and again when it has died.

Rule of the file: a journal that cannot be had is a problem that is told, never an error: there is always the scan.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from shared.decoders import msgpack_decoder
from workers.sources.journal.messages import Ask, Happened, Mark, Marked, Place, Since, receive, send

_PATIENCE = 120.0  # seconds: after a storm of events it has to read them all first


class JournalLine:
    """The journal of this worker's machine. Safe to share between threads; ends with this process.

    ``environment`` is the journal's; it logs to ``log_file``.
    """

    def __init__(self, environment: Mapping[str, str], *, log_file: str | None = None) -> None:
        self._environment = dict(environment)
        self._log_file = [log_file] if log_file else []
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def mark(self, places: Sequence[Place]) -> Marked:
        """Have these watched from now on. What happens after this call began is behind the mark."""
        with self._lock:
            for _ in range(2):  # one that died is started again, once
                try:
                    return msgpack_decoder(Marked).decode(self._asked(Mark(places=tuple(places))))
                except (OSError, EOFError, msgspec.MsgspecError) as error:
                    problem = str(error) or type(error).__name__
                    self._end()
        return Marked(problem=problem)

    def since(self, journal: str, mark: int, places: Sequence[Place]) -> Happened:
        """Tell what has happened there behind a mark, up to the moment of this call at least."""
        with self._lock:
            try:
                asked = Since(journal=journal, mark=mark, places=tuple(places))
                return msgpack_decoder(Happened).decode(self._asked(asked))
            except (OSError, EOFError, msgspec.MsgspecError) as error:
                self._end()
                return Happened(gap=f"the journal does not answer: {error}")

    def close(self) -> None:
        """End it. Idempotent."""
        with self._lock:
            self._end()

    def _asked(self, ask: Ask) -> bytes:
        line = self._running()
        send(line, ask)
        return receive(line)

    def _running(self) -> socket.socket:
        if self._line is None:
            ours, theirs = socket.socketpair()
            ours.settimeout(_PATIENCE)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "workers.sources.journal", str(theirs.fileno()), *self._log_file],
                    env=self._environment,
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
            self._line = ours
        return self._line

    def _end(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line, process, self._process = None, self._process, None
        if process is not None:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)
