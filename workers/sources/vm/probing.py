"""Whether a point in time is still there to be read, asked right before it is sealed.

Rule of the file: a few bytes of every disk; a server that has given it up refuses all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from shared.errors import SkyharborError
from workers.engine.notices import reason
from workers.sources.vm.description import DiskReading
from workers.sources.vm.nbd import NbdClient

_PROBE = 4096


def probe(disks: Iterable[DiskReading]) -> None:
    """Raise ``source-failed`` unless every disk can still be read as it was."""
    for disk in disks:
        try:
            client = NbdClient.connect(disk.address, disk.export)
            with contextlib.closing(client):
                client.read_into(memoryview(bytearray(min(_PROBE, disk.size))), 0)
        except OSError as error:
            raise SkyharborError(
                "source-failed",
                f"/{disk.name}: QEMU has given its point in time up: {reason(error)}",
                hint="The scratch folder was full or too slow: give one with more room with --scratch.",
            ) from error
