"""The program of a guard: ``python -m workers.guard FD [LOG]``.

Rule of the file: a composition root beside ``bootstrap`` and ``hands``: it knows what the sources want undone.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Mapping

from shared.telemetry.logging import configure_logging
from workers.guarding.watch import Deed, Watch
from workers.sources.hooks.debt import KIND as RUN_HOOK
from workers.sources.hooks.debt import pay_for_the_dead
from workers.sources.snapshots.btrfs import KIND as DELETE_SNAPSHOT
from workers.sources.snapshots.btrfs import delete_for_the_dead
from workers.sources.snapshots.lvm import KIND as REMOVE_SNAPSHOT
from workers.sources.snapshots.lvm import remove_for_the_dead
from workers.sources.vm import domain_release as domains
from workers.sources.vm import release as vm


def _drop_slot(details: Mapping[str, str]) -> None:
    from workers.sources.postgres.slot import drop_left_slot  # needs a client library that not every worker has

    drop_left_slot(details)


DEEDS: dict[str, Deed] = {
    **vm.DEEDS,
    **domains.DEEDS,
    "postgres-drop-slot": _drop_slot,
    RUN_HOOK: pay_for_the_dead,
    DELETE_SNAPSHOT: delete_for_the_dead,
    REMOVE_SNAPSHOT: remove_for_the_dead,
}
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
