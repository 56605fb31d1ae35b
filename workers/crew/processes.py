"""The crew of processes, seen from the worker: the engine's ``Crew`` over hands that a chief forks.

Hands are called for when there is work for them, and each call goes to the least busy one. Per hand, one thread here
listens: it answers reservations, takes note of packs and completes the futures.

Rule of the file: a hand that ends too early fails what it had in hand, and with that the unit; the next attempt finds
what was stored.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

import msgspec

from shared.errors import SkyharborError
from shared.vault.entry import Entry
from shared.vault.index_segment import table_from
from shared.vault.pack_format import FinishedPack
from shared.vault.writer import PointWriter
from workers.crew.chief import Chief
from workers.crew.line import Line
from workers.crew.messages import (
    BackupWork,
    BatchRead,
    Flush,
    FromHand,
    PackDurable,
    PartRead,
    ReadBatch,
    ReadPart,
    Reserve,
    Reserved,
    Trouble,
)
from workers.engine.ports import ReadRange, Unreadable
from workers.engine.reading import Read

_ID = 32
_CALLS_PER_HAND = 2
_PATIENCE = 30.0


class Processes:
    """Hands of one unit; see ``workers.engine.crew.Crew`` for what the methods promise."""

    def __init__(self, chief: Chief, work: BackupWork, writer: PointWriter, *, count: int) -> None:
        self.limit = _CALLS_PER_HAND * count + 1
        self._chief = chief
        self._work = work
        self._writer = writer
        self._count = count
        self._hands: list[_Hand] = []
        self._numbers = itertools.count()

    def read(self, entries: Sequence[Entry]) -> Future[Read]:
        """See the port. The entries are completed in place where that is all there is to do."""
        given = list(entries)
        return self._call(lambda number: ReadBatch(number, given), lambda reply: _read(given, reply))

    def read_range(self, entry: Entry, offset: int, length: int) -> Future[ReadRange]:
        """See the port."""
        return self._call(lambda number: ReadPart(number, entry, offset, length), _range)

    def flush(self) -> Sequence[Future[None]]:
        """See the port."""
        return [hand.call(number := next(self._numbers), Flush(number), lambda _: None) for hand in self._hands]

    def stop(self) -> None:
        """See the port. Waits until the hands have put their last pack, within reason."""
        for hand in self._hands:
            hand.hang_up()
        self.close()

    def close(self) -> None:
        """See the port."""
        for hand in self._hands:
            hand.close()
        self._hands = []

    def _call(self, say: Callable[[int], msgspec.Struct], result: Callable[[Any], Any]) -> Future[Any]:
        number = next(self._numbers)
        return self._next_hand().call(number, say(number), result)

    def _next_hand(self) -> _Hand:
        idlest = min(self._hands, key=lambda hand: hand.busy, default=None)
        if idlest is None or (idlest.busy and len(self._hands) < self._count):
            idlest = _Hand(Line(self._chief.fork(), FromHand), self._writer)
            idlest.begin(self._work)
            self._hands.append(idlest)
        return idlest


class _Hand:
    """One hand and the calls that it has not answered."""

    def __init__(self, line: Line[FromHand], writer: PointWriter) -> None:
        self._line = line
        self._writer = writer
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[Future[Any], Callable[[Any], Any]]] = {}
        self._ended: BaseException | None = None
        self._thread = threading.Thread(target=self._listen, name="hand", daemon=True)

    @property
    def busy(self) -> int:
        """How many calls are under way."""
        return len(self._waiting)

    def begin(self, work: BackupWork) -> None:
        """Say what it is about."""
        self._line.send(work)
        self._thread.start()

    def call(self, number: int, message: msgspec.Struct, result: Callable[[Any], Any]) -> Future[Any]:
        """Send a call; its future becomes ``result`` of the reply."""
        future: Future[Any] = Future()
        with self._lock:
            if self._ended is None:
                self._waiting[number] = future, result
            else:
                future.set_exception(self._ended)
        if self._ended is None:
            with suppress(OSError):  # then the listener ends, and with it the future
                self._line.send(message)
        return future

    def hang_up(self) -> None:
        """End what it does."""
        self._line.hang_up()

    def close(self) -> None:
        """Hang up and wait for its end."""
        self._line.hang_up()
        self._thread.join(_PATIENCE)
        self._line.close()

    def _listen(self) -> None:
        ended: BaseException = SkyharborError("hand-lost", "a process that read the source ended before its work did")
        try:
            while (message := self._line.receive()) is not None:
                self._take(message)
        except Exception as error:  # noqa: BLE001 - raised by the futures
            ended = error  # the writer has failed, and what is under way with it
        self._line.hang_up()
        with self._lock:
            self._ended = ended
            waiting, self._waiting = self._waiting, {}
        for future, _ in waiting.values():
            with suppress(InvalidStateError):
                future.set_exception(ended)

    def _take(self, message: FromHand) -> None:
        match message:
            case Reserve():
                ids = [message.ids[at : at + _ID] for at in range(0, len(message.ids), _ID)]
                self._line.send(Reserved(bytes(self._writer.reserve(ids))))
            case PackDurable():
                table = table_from(message.table)
                self._writer.adopt(FinishedPack(table.packs[0], [], table))
            case Trouble():
                future, _ = self._settle(message.number)
                failure = Unreadable(message.notice) if message.notice else SkyharborError(message.code, message.detail)
                future.set_exception(failure)
            case _:
                future, result = self._settle(message.number)
                future.set_result(result(message))

    def _settle(self, number: int) -> tuple[Future[Any], Callable[[Any], Any]]:
        with self._lock:
            return self._waiting.pop(number)


def _read(given: list[Entry], reply: BatchRead) -> Read:
    entries: list[Entry | None] = list(given)
    special = {place for place, _ in reply.others}
    at = 0
    for place, entry in enumerate(given):
        if place not in special and entry.size:
            entry.chunks = reply.ids[at : at + _ID]
            at += _ID
    for place in reply.young:
        given[place].ctime_ns = 0
    for place, other in reply.others:
        entries[place] = other
    return Read(entries, reply.notices, reply.bytes_read)


def _range(reply: PartRead) -> ReadRange:
    return ReadRange(reply.entry, reply.ids, reply.data, reply.ended)
