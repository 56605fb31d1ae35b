"""The worker's end: starts the guard when the first deed is armed, and another one when that has died.

Rule of the file: nothing that needs a guard begins before the guard has answered.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from shared.decoders import json_decoder
from shared.errors import SkyharborError
from workers.guarding.messages import Arm, Armed, Disarm

_PATIENCE = 20.0  # seconds: an interpreter starts in one of them


class GuardLine:
    """The engine's ``Guard``. Safe to share between threads.

    ``environment`` is the guard's; it logs to ``log_file``. The guard is no child that dies with its parent: it is in a
    session of its own, and ends by itself once the line has ended and everything is undone.
    """

    def __init__(self, environment: Mapping[str, str], *, log_file: str | None, program: str = "workers.guard") -> None:
        self._program = program
        self._environment = dict(environment)
        self._log_file = log_file
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._armed: dict[int, Arm] = {}
        self._last = 0

    def arm(self, kind: str, details: Mapping[str, str], *, within: float | None = None) -> int:
        """See the port. Raises ``source-failed`` when no guard can be had."""
        with self._lock:
            self._last += 1
            order = Arm(number=self._last, kind=kind, details=dict(details), within=within)
            try:
                self._tell(order)
            except (OSError, EOFError):
                self._start_again(order)
            self._armed[order.number] = order
            return order.number

    def disarm(self, number: int) -> None:
        """See the port."""
        with self._lock:
            if self._armed.pop(number, None) is not None and self._line is not None:
                with suppress(OSError):  # a guard that is gone has done its deeds
                    self._line.sendall(msgspec.json.encode(Disarm(number=number)) + b"\n")

    def close(self) -> None:
        """Let the guard go; what is still armed is done now. Idempotent."""
        with self._lock:
            if self._line is not None:
                self._line.close()
            self._line, process, self._process = None, self._process, None
        if process is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)

    def _start_again(self, order: Arm) -> None:
        """A guard that died took its line with it: everything that is armed is told to the next one."""
        try:
            self._start()
            for one in (*self._armed.values(), order):
                self._tell(one)
        except (OSError, EOFError) as error:
            raise SkyharborError("source-failed", f"the guard of this worker cannot be started: {error}") from error

    def _start(self) -> None:
        if self._line is not None:
            self._line.close()
        ours, theirs = socket.socketpair()
        ours.settimeout(_PATIENCE)
        with theirs:
            command = [sys.executable, "-P", "-m", self._program, str(theirs.fileno())]
            command += [self._log_file] if self._log_file else []
            self._process = subprocess.Popen(
                command,
                env=self._environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._line = ours

    def _tell(self, order: Arm) -> None:
        if self._line is None:
            raise EOFError("there is no guard yet")
        self._line.sendall(msgspec.json.encode(order) + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            got = self._line.recv(4096)
            if not got:
                raise EOFError("the guard has ended")
            answer += got
        if json_decoder(Armed).decode(answer).number != order.number:
            raise EOFError("the guard answers something else")
