"""The crews of processes, seen from the worker: the engine's crews over hands that a chief forks.

Hands are called for when there is work for them, and each call goes to the least busy one. Per hand, one thread here
listens: it answers reservations, takes note of packs and completes the futures. Another one speaks, so that a hand that
does not listen (somebody has stopped the process) never holds up the unit, which could not be cancelled then.

Rule of the file: a hand that ends too early fails what it had in hand, and with that the unit; the next attempt finds
what was stored. Whoever has closed a crew knows that its hands have ended.
"""

from __future__ import annotations

import itertools
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
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
    Here,
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
_PATIENCE = 5.0  # seconds; a hand gives itself less

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
        self._closed = False

    def stop(self) -> None:
        """See the port. Returns when the hands have ended."""
        self.close()

    def close(self) -> None:
        """See the port. Returns when the hands have ended; what they do not end themselves is ended by force."""
        self._closed = True
        hands, self._hands = self._hands, []
        for hand in hands:
            hand.hang_up()
        until = time.monotonic() + _PATIENCE
        for hand in hands:
            hand.close(patience=until - time.monotonic())

    def _call(self, say: Callable[[int], msgspec.Struct], result: Callable[[Any], Any]) -> Future[Any]:
        if self._closed:
            raise RuntimeError("the crew was stopped or closed")
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

    def read_range(self, entry: Entry, offset: int, length: int, *, changed: bool = False) -> Future[ReadRange]:
        """See the port."""
        return self._call(lambda number: ReadPart(number, entry, offset, length, changed), _range)

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
                self._writer.adopt(FinishedPack(table.packs[0], table))


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
        self._pid: int | None = None
        self._outbox: queue.SimpleQueue[msgspec.Struct | None] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, name="hand-listen", daemon=True)
        self._speaker = threading.Thread(target=self._speak, name="hand-speak", daemon=True)

    @property
    def busy(self) -> int:
        """How many calls are under way."""
        return len(self._waiting)

    def begin(self, work: msgspec.Struct) -> None:
        """Say what it is about."""
        self._listener.start()
        self._speaker.start()
        self._outbox.put(work)

    def call(self, number: int, message: msgspec.Struct, result: Callable[[Any], Any]) -> Future[Any]:
        """Send a call; its future becomes ``result`` of the reply."""
        future: Future[Any] = Future()
        with self._lock:
            if self._ended is not None:
                future.set_exception(self._ended)
                return future
            self._waiting[number] = future, result
        self._outbox.put(message)
        return future

    def hang_up(self) -> None:
        """End what it does."""
        self._line.hang_up()

    def close(self, *, patience: float) -> None:
        """Wait for its end, after ``hang_up``; kill it when that takes longer than so many seconds."""
        self._listener.join(max(0.0, patience))
        if self._listener.is_alive() and self._pid is not None:
            # The number is its own as long as it has not let go of the line.
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._listener.join(_PATIENCE)
        self._line.cut()
        self._outbox.put(None)
        self._listener.join()
        self._speaker.join()
        self._line.close()

    def _speak(self) -> None:
        with suppress(OSError):  # the listener learns of it as well, and fails the calls
            while (message := self._outbox.get()) is not None:
                self._line.send(message)

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
            future.set_exception(ended)
        self._line.await_end()

    def _take(self, message: FromHand) -> None:
        if isinstance(message, Here):
            self._pid = message.pid
            return
        if isinstance(message, Reserve | PackDurable):
            self._take_other(message, self._outbox.put)
            return
        with self._lock:
            future, result = self._waiting.pop(message.number)
        try:
            future.set_result(_outcome(message, result))
        except Exception as error:  # noqa: BLE001 - raised by the future
            future.set_exception(error)


def _outcome(message: Any, result: Callable[[Any], Any]) -> Any:
    if not isinstance(message, Trouble):
        return result(message)
    if message.notice is not None:
        raise Unreadable(message.notice)
    raise SkyharborError(message.code, message.detail)


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
    return ReadRange(reply.entry, reply.ids, reply.data, reply.ended, reply.young)
