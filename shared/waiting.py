"""Waits until there is something to read.

select(2) knows descriptors up to 1,023 only: a process that has more of them open, as a worker that reads many files
and servers may, could not wait for any of its newer ones. poll(2) has no such limit.

Rule of the file: the linter forbids ``select.select`` everywhere else.
"""

from __future__ import annotations

import errno
import math
import os
import select


def readable(*descriptors: int, seconds: float | None = None) -> list[int]:
    """Return those that can be read, or have ended, after so many seconds at most (None: however long it takes).

    Raises OSError for a descriptor that is closed.
    """
    poll = select.poll()
    for one in descriptors:
        poll.register(one, select.POLLIN)
    ready = poll.poll(None if seconds is None else math.ceil(max(0.0, seconds) * 1000))
    if any(event & select.POLLNVAL for _, event in ready):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return [one for one, _ in ready]
