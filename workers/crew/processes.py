"""The crews of processes, seen from the worker: the engine's crews over hands that a chief forks.

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
from shared.vault.chunk_finder import ChunkFinder
from shared.vault.entry import Entry
from shared.vault.index_segment import table_bytes, table_from
from shared.vault.pack_format import FinishedPack
from shared.vault.writer import PointWriter
from workers.crew.chief import Chief
from workers.crew.line import Line
from workers.crew.messages import (
    BackupWork,
    BatchRead,
    BatchWritten,
    Flush,
    FromHand,
    PackDurable,
    PartRead,
    ReadBatch,
    ReadPart,
    Reserve,
    Reserved,
    RestoreWork,
    Trouble,
    WriteBatch,
)
from workers.engine.file_writing import Job, Written
from workers.engine.ports import ReadRange, Unreadable
from workers.engine.reading import Read

_ID = 32
_CALLS_PER_HAND = 2
_PATIENCE = 30.0

Say = Callable[[msgspec.Struct], None]


class _Hands:
    """Hands of one unit."""

    def __init__(self, chief: Chief, work: BackupWork | RestoreWork, *, count: int) -> None:
        self.limit = _CALLS_PER_HAND * count + 1
        self._chief = chief
        self._work = work
        self._count = count
        self._hands: list[_Hand] = []
        self._numbers = itertools.count()

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
            idlest = _Hand(Line(self._chief.fork(), FromHand), self._take)
            idlest.begin(self._work)
            self._hands.append(idlest)
        return idlest

    def _take(self, message: Reserve | PackDurable, say: Say) -> None:
        """Take a message that answers no call. Any thread. Only a backup's hands send any."""
        raise TypeError(message, say)


class ReadingProcesses(_Hands):
    """See ``workers.engine.crew.ReadingCrew`` for what the methods promise."""

    def __init__(self, chief: Chief, work: BackupWork, writer: PointWriter, *, count: int) -> None:
        super().__init__(chief, work, count=count)
        self._writer = writer

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

    def _take(self, message: Reserve | PackDurable, say: Say) -> None:
        match message:
            case Reserve():
                ids = [message.ids[at : at + _ID] for at in range(0, len(message.ids), _ID)]
                say(Reserved(bytes(self._writer.reserve(ids))))
            case PackDurable():
                table = table_from(message.table)
                self._writer.adopt(FinishedPack(table.packs[0], [], table))


class WritingProcesses(_Hands):
    """See ``workers.engine.crew.WritingCrew`` for what the methods promise."""

    def __init__(self, chief: Chief, work: RestoreWork, finder: ChunkFinder, *, count: int) -> None:
        super().__init__(chief, work, count=count)
        self._finder = finder
        self.bytes_read = 0

    def write(self, jobs: Sequence[Job]) -> Future[Written]:
        """See the port."""
        table = table_bytes(self._finder.table_of(b"".join([job.entry.chunks for job in jobs])))
        return self._call(lambda number: WriteBatch(number, list(jobs), table), self._note)

    def _note(self, reply: BatchWritten) -> Written:
        self.bytes_read += reply.written.bytes_read
        return reply.written


class _Hand:
    """One hand and the calls that it has not answered."""

    def __init__(self, line: Line[FromHand], take: Callable[[Reserve | PackDurable, Say], None]) -> None:
        self._line = line
        self._take_other = take
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[Future[Any], Callable[[Any], Any]]] = {}
        self._ended: BaseException | None = None
        self._thread = threading.Thread(target=self._listen, name="hand", daemon=True)

    @property
    def busy(self) -> int:
        """How many calls are under way."""
        return len(self._waiting)

    def begin(self, work: msgspec.Struct) -> None:
        """Say what it is about."""
        self._thread.start()
        with suppress(OSError):  # then the listener ends, and every call fails
            self._line.send(work)

    def call(self, number: int, message: msgspec.Struct, result: Callable[[Any], Any]) -> Future[Any]:
        """Send a call; its future becomes ``result`` of the reply."""
        future: Future[Any] = Future()
        with self._lock:
            if self._ended is not None:
                future.set_exception(self._ended)
                return future
            self._waiting[number] = future, result
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
        ended: BaseException = SkyharborError("hand-lost", "a process of this worker ended before its work did")
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
        if isinstance(message, Reserve | PackDurable):
            self._take_other(message, self._line.send)
            return
        with self._lock:
            future, result = self._waiting.pop(message.number)
        if isinstance(message, Trouble):
            failure = Unreadable(message.notice) if message.notice else SkyharborError(message.code, message.detail)
            future.set_exception(failure)
            return
        try:
            future.set_result(result(message))
        except Exception as error:  # noqa: BLE001 - a reply that makes no sense fails its call, and nobody waits for ever
            future.set_exception(error)


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
