"""The chief: a process that has imported everything, opened nothing and started no thread, and forks hands.

The worker starts it once and speaks to it over a socket pair: every message is one connected socket, for which a hand
is forked. When the worker ends, by whatever cause, the chief reads the end of the line and ends too.

Rule of the file: this is the worker's side; the program itself is ``workers.hands``.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Mapping

from shared.errors import SkyharborError

_PATIENCE = 10.0


class Chief:
    """The worker's view: started on first use, and again should it ever end. Safe to share between threads.

    ``environment`` is the whole environment of the program and its hands; they log to ``log_file`` or stderr.
    """

    def __init__(self, environment: Mapping[str, str], *, log_file: str | None = None) -> None:
        self._environment = environment
        self._log_file = [log_file] if log_file else []
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None

    def start(self) -> None:
        """Start the process now, so that the first unit need not wait for it."""
        with self._lock:
            self._running()

    def fork(self) -> socket.socket:
        """Return a connection to a new hand. Raises ``hand-lost`` when the machine cannot give one."""
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            for _ in range(2):
                try:
                    socket.send_fds(self._running(), [b"h"], [theirs.fileno()])
                    return ours
                except OSError:
                    self._end()
        ours.close()
        raise SkyharborError("hand-lost", "no process for reading could be started")

    def close(self) -> None:
        """End the process; hands that are still at work go on to the end of their line."""
        with self._lock:
            self._end()

    def _running(self) -> socket.socket:
        if self._line is not None and self._process is not None and self._process.poll() is None:
            return self._line
        self._end()
        self._line, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            command = [sys.executable, "-P", "-m", "workers.hands", str(fd), *self._log_file]
            self._process = subprocess.Popen(command, pass_fds=[fd], stdin=subprocess.DEVNULL, env=self._environment)
        return self._line

    def _end(self) -> None:
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._line = self._process = None
