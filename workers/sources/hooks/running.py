"""Runs one command to its end, or to its deadline.

Rule of the file: when this returns nothing of the command runs any more, unless it ended by itself and left something
on purpose; and a command that fills its output, or never closes it, stops nobody.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from shared.errors import SkyharborError
from shared.waiting import readable
from workers.sources.children import tied
from workers.sources.settings import inherited

_TAIL = 2000  # bytes of output that are kept: its end says what went wrong
_GRACE = 5.0  # seconds between asking and killing
_STEP = 0.2


class Ended(NamedTuple):
    """How a command ended: its exit status (negative: the signal), None past its deadline; the end of its output."""

    status: int | None
    tail: str

    @property
    def well(self) -> bool:
        """Whether it did what it is for."""
        return self.status == 0

    def told(self, command: Sequence[str], timeout: float) -> str:
        """Return what became of it, for people."""
        how = f"took longer than {timeout:g} s" if self.status is None else f"ended with {_status(self.status)}"
        return f"{command[0]} {how}" + (f": {self.tail}" if self.tail else "")


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    timeout: float,
    check: Callable[[], None] = lambda: None,
) -> Ended:
    """Run a command in a process group of its own, without input, and with this environment besides a harmless one.

    ``check`` is called several times a second; what it raises ends the group and is raised. Past the deadline the
    group gets SIGTERM, and after five seconds SIGKILL. When this process dies, the command gets SIGKILL.
    Raises ``source-failed`` when the command cannot be started.
    """
    try:
        process = subprocess.Popen(
            tied(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**inherited(), **environment},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise SkyharborError("source-failed", f"{command[0]} cannot be run: {error.strerror}") from error
    output = _Output(process)
    try:
        deadline = time.monotonic() + timeout
        while not output.ended(min(_STEP, max(0.0, deadline - time.monotonic()))):
            check()
            if time.monotonic() >= deadline:
                _end(process, output)
                return Ended(None, output.tail())
        return Ended(process.wait(), output.tail())
    except BaseException:
        _end(process, output)
        raise
    finally:
        output.close()


class _Output:
    """What a process says, of which only the end is kept, and whether it has ended."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is None:
            raise ValueError("the output of the process is not ours to listen to")
        self._pipe = process.stdout
        os.set_blocking(self._pipe.fileno(), False)
        self._process = os.pidfd_open(process.pid)
        self._kept: deque[int] = deque(maxlen=_TAIL)
        self._open = True

    def ended(self, patience: float) -> bool:
        """Listen for so many seconds at most; True when the process has ended."""
        watched = [self._process, *([self._pipe.fileno()] if self._open else [])]
        ready = readable(*watched, seconds=patience)
        self._listen()
        return self._process in ready

    def _listen(self) -> None:
        for _ in range(64):  # not for ever: whoever talks without an end has a deadline as well
            try:
                got = os.read(self._pipe.fileno(), 65536)
            except BlockingIOError:
                return
            if not got:
                self._open = False
                return
            self._kept.extend(got[-_TAIL:])

    def tail(self) -> str:
        """Return the end of the output."""
        return bytes(self._kept).decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Stop listening; a process that was left running by the command gets SIGPIPE when it goes on talking."""
        self._pipe.close()
        os.close(self._process)


def _end(process: subprocess.Popen[bytes], output: _Output) -> None:
    """End the whole group: ask, wait, and kill what is left."""
    _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE
    while time.monotonic() < deadline and not output.ended(_STEP):
        pass
    _signal(process, signal.SIGKILL)  # whoever of the group has not listened
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _status(status: int) -> str:
    return f"status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"
