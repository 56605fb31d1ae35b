"""The last one out: when the supervisor is killed without a word, this ends what it left.

Rule of the file: a script of its own (``python -I -S guard.py``), standard library only, small enough to be always
there. Each child has a parent-death signal as well; this is for grandchildren and for children that do not listen.

It waits at the other end of a pipe. A byte means goodbye; the end of the pipe without one means that the supervisor
died. PostgreSQL, which is doing its own fast shutdown then, gets a few seconds before it is killed too.
"""

from __future__ import annotations

import os
import signal
import sys
import time

_POSTGRES_SECONDS = 6.0
_SECONDS = 9.0
_PAUSE = 0.1


def _victims(mark: bytes, *, spare: bytes | None) -> list[int]:
    """Return the processes whose environment carries ``mark``, without those of the part ``spare``."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as handle:
                variables = handle.read().split(b"\0")
        except OSError:
            continue
        if any(variable.startswith(mark) and variable.rpartition(b"/")[2] != spare for variable in variables):
            found.append(int(entry))
    return found


def main(argv: list[str]) -> int:
    """Wait for the supervisor's goodbye or its death. Argument: the mark of its run, ``NAME=home/run/``."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # whoever stops the stack stops the supervisor; we go after it
    mark = argv[0].encode()
    if os.read(0, 1):
        return 0
    began = time.monotonic()
    while time.monotonic() - began < _SECONDS:
        patient = time.monotonic() - began < _POSTGRES_SECONDS
        for pid in _victims(mark, spare=b"postgres" if patient else None):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if not _victims(mark, spare=None):
            break
        time.sleep(_PAUSE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
