"""The program of a guard: ``python -m workers.guard FD [LOG]``.

Rule of the file: a composition root beside ``bootstrap`` and ``hands``: it knows what the sources want undone.
"""

from __future__ import annotations

import signal
import socket
import sys

from shared.telemetry.logging import configure_logging
from workers.guarding.watch import Deed, Watch
from workers.sources.vm import domain_release as domains
from workers.sources.vm import release as vm

DEEDS: dict[str, Deed] = {**vm.DEEDS, **domains.DEEDS}
"""By kind, what undoes what a session may leave behind."""


def main() -> None:
    """Keep watch until the worker's line ends and everything is undone."""
    configure_logging(log_file=sys.argv[2] if len(sys.argv) > 2 else None, process="guard")
    # Whoever ends a worker may tell its whole family; the guard's work begins only then.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as line:
        Watch(line, DEEDS).keep()


if __name__ == "__main__":
    main()
