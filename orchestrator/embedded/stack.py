"""``down`` and ``status``, and where the API is: what can be said of a stack from outside.

Rule of the file: light imports, because nearly every command of the CLI asks here first; starting is ``start``'s.
"""

from __future__ import annotations

import os
import signal
import time

from orchestrator.embedded.home import Home, find_home
from orchestrator.embedded.lock import holder, signal_holder
from orchestrator.embedded.probe import get
from orchestrator.embedded.processes import end_marked
from orchestrator.embedded.record import read_record
from orchestrator.embedded.report import Document, running_document, stopped_document

_STOP_SECONDS = 90.0  # more than all parts' own patience together


def stop_stack(path: str) -> bool:
    """End the stack of a home and wait until it has ended; False when none was running.

    A supervisor that does not end within 90 s is killed, and its children with it.
    """
    home = find_home(path)
    pid = holder(home.lock) if home else None
    if home is None or pid is None or not signal_holder(home.lock, signal.SIGTERM):
        return False
    deadline = time.monotonic() + _STOP_SECONDS
    while holder(home.lock) == pid:
        if time.monotonic() > deadline:
            signal_holder(home.lock, signal.SIGKILL)
            end_marked(home.id, spare="postgres")
            deadline += _STOP_SECONDS
        time.sleep(0.02)
    return True


def stack_status(path: str) -> Document:
    """Return what runs under a home; also when nothing does, or there is no home.

    Healthy means that every process lives, no loop of theirs hangs, and the API says that it is ready (asked for a
    second at most).
    """
    home = find_home(path)
    pid = holder(home.lock) if home else None
    record = read_record(home.record) if home and pid is not None else None
    if home is None or pid is None or record is None or record.pid != pid:
        return stopped_document(home or Home(os.path.realpath(path)), pid)
    document = running_document(home, record)
    answers = get(record.port, "/readyz") is not None
    return {**document, "healthy": document["healthy"] and answers}


def stack_endpoint(path: str) -> tuple[str, str] | None:
    """Return URL and operator token of the stack that runs under a home, or None."""
    home = find_home(path)
    pid = holder(home.lock) if home else None
    record = read_record(home.record) if home else None
    if home is None or record is None or record.pid != pid:
        return None
    with open(home.token, encoding="ascii") as handle:
        return record.url, handle.read().strip()
