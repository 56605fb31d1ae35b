"""The journal's program: ``python -m workers.sources.journal FD [LOG]``.

Rule of the file: it answers after it has taken note of everything that had happened when it was asked.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence

import msgspec
import structlog

from shared.decoders import msgpack_decoder
from shared.model.ids import new_id
from shared.telemetry.logging import configure_logging
from shared.waiting import readable
from workers.sources.journal.fanotify import Watch
from workers.sources.journal.messages import Ask, Happened, Mark, Marked, Place, Since, receive, send
from workers.sources.journal.record import Record

log = structlog.get_logger()


class Journal:
    """The marks of this machine's file systems and what was noted of them, for one worker."""

    def __init__(self, line: socket.socket, watch: Watch) -> None:
        self._line = line
        self._watch = watch
        self._id = new_id()
        self._mounts: dict[int, str] = {}
        self._record = Record(self._mounts)
        self._devices: dict[int, int] = {}  # by file system
        self._begun: dict[int, int] = {}  # by device, the first mark since it has been watched without a gap

    def keep(self) -> None:
        """Serve until the worker's line ends."""
        while True:
            ready = readable(self._watch.fd, self._line.fileno())
            self._record.take(self._watch.events())
            if self._line.fileno() in ready:
                try:
                    send(self._line, self._answer(msgpack_decoder(Ask).decode(receive(self._line))))
                except (EOFError, ConnectionError):
                    return

    def _answer(self, ask: Ask) -> Marked | Happened:
        self._record.take(self._watch.events())
        match ask:
            case Mark():
                return self._mark(ask.places)
            case Since():
                return self._since(ask)

    def _mark(self, places: Sequence[Place]) -> Marked:
        marked, fresh = self._watch.marked(), set()
        try:
            for place in places:
                if place.device not in marked:
                    self._watch.mark(place.path)
                    fresh.add(place.device)
                    filesystem = os.statvfs(place.path).f_fsid
                    self._mounts[filesystem], self._devices[filesystem] = place.path, place.device
        except OSError as error:
            return Marked(problem=f"{error.filename}: {error.strerror}")
        mark = self._record.mark()
        self._begun.update(dict.fromkeys(fresh, mark))
        return Marked(journal=self._id, mark=mark)

    def _since(self, ask: Since) -> Happened:
        if ask.journal != self._id:
            return Happened(gap="the journal has not run all the time since")
        marked = self._watch.marked()
        for place in ask.places:
            if place.device not in marked or not self._begun.get(place.device, sys.maxsize) <= ask.mark:
                return Happened(gap=f"{place.path} was not watched all the time since")
        happened = self._record.since(ask.mark)
        return msgspec.structs.replace(
            happened, folders=self._by_device(happened.folders), fresh=self._by_device(happened.fresh)
        )

    def _by_device(self, nodes: Sequence[tuple[int, bytes]]) -> tuple[tuple[int, bytes], ...]:
        return tuple((self._devices[filesystem], handle) for filesystem, handle in nodes)


def main() -> None:
    """Keep the journal until the worker's line ends."""
    configure_logging(log_file=sys.argv[2] if len(sys.argv) > 2 else None, process="journal")
    # The worker decides when to end, and the end of its line tells.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as line:
        try:
            watch = Watch()
        except OSError as error:
            _refuse(line, f"{error.filename}: {error.strerror}")
            return
        Journal(line, watch).keep()


def _refuse(line: socket.socket, why: str) -> None:
    """Tell whoever asks that there is no journal on this machine."""
    while True:
        try:
            ask = msgpack_decoder(Ask).decode(receive(line))
            send(line, Marked(problem=why) if isinstance(ask, Mark) else Happened(gap=why))
        except (EOFError, ConnectionError):
            return


if __name__ == "__main__":
    main()
