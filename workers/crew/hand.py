"""A hand: reads or writes what it is told to, and ends when its unit does.

One thread works, one listens, so that the end of the unit is noticed in the middle of a large file. A backup's hand
asks the worker, which keeps the index, whether a chunk is new; packs are filled, encrypted and put here. A restore's
hand is told with each batch where the chunks are.

When the worker hangs up, whatever is under way ends at its next step. What does not (a put over a slow line, a read
from a file server that is gone) gets a moment, and then ends with the process: a hand may be killed at any time, so
nothing is lost by that, and nothing is put once the worker has seen the hand end.

Rule of the file: every failure becomes a message, that of beginning too; the line's end is the hand's.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from typing_extensions import Buffer

from shared.clock import SystemClock
from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.storage.throttle import Throttle
from shared.vault.chunk_finder import TableFinder
from shared.vault.chunk_reader import ChunkReader
from shared.vault.chunk_writer import ChunkWriter
from shared.vault.entry import Entry, EntryKind
from shared.vault.index_segment import table_bytes, table_from
from shared.vault.pack_format import FinishedPack
from shared.vault.segment_source import SegmentSource
from shared.vault.vault import Vault
from workers.crew.line import Line
from workers.crew.messages import (
    BackupWork,
    BatchRead,
    BatchWritten,
    Done,
    Flush,
    Here,
    PackDurable,
    PartRead,
    ReadBatch,
    ReadPart,
    Reserve,
    Reserved,
    RestoreWork,
    ToHand,
    Trouble,
    WriteBatch,
)
from workers.engine.file_writing import FileWriting
from workers.engine.folders import Folders
from workers.engine.ports import Source, Stop, StopReason, Unreadable
from workers.engine.reading import FileReading, Read
from workers.engine.unit_store import unit_store

OpenSource = Callable[[bytes], Source]
Call = ReadBatch | ReadPart | Flush | WriteBatch

_FILE = int(EntryKind.FILE)
_GRACE = 2.0  # seconds
_KEEP = 12 * 1024 * 1024  # of expanded segments: batches end where segments do


class _Craft(Protocol):
    """What a hand knows how to do."""

    def answer(self, call: Call) -> msgspec.Struct:
        """Do what is asked and return the reply."""
        ...

    def stop(self) -> None:
        """End a call under way at its next step. Any thread."""
        ...

    def end(self) -> None:
        """Leave nothing behind."""
        ...


def serve(connection: socket.socket, open_source: OpenSource) -> None:
    """Do the work of one unit; returns when the line ends."""
    line: Line[ToHand] = Line(connection, ToHand)
    work = line.receive()
    if not isinstance(work, BackupWork | RestoreWork):
        return
    desk = _Desk(line)
    with contextlib.ExitStack() as opened:
        desk.run(_craft(work, desk, open_source, opened))


def _craft(
    work: BackupWork | RestoreWork, desk: _Desk, open_source: OpenSource, opened: contextlib.ExitStack
) -> _Craft:
    """Open what the work takes; what cannot be opened is told to whoever calls."""
    try:
        throttle = Throttle.following(work.throttle, work.bandwidth)
        read_only = isinstance(work, RestoreWork)
        store = opened.enter_context(
            unit_store(work.vault_url, throttle=throttle, check=desk.check, read_only=read_only)
        )
        vault = Vault(store=store, header=work.vault, clock=SystemClock())
        match work:
            case BackupWork():
                source = opened.enter_context(contextlib.closing(open_source(work.reading)))
                return _Reader(desk, work, vault, source)
            case RestoreWork():
                return _Writer(work, vault)
    except Exception as error:  # noqa: BLE001 - told to the worker, which fails the unit
        return _Unable(error)


class _Desk:
    """The hand's end of the line: calls in, replies out."""

    def __init__(self, line: Line[ToHand]) -> None:
        self.line = line
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._hung_up = threading.Event()
        self._ended = threading.Event()

    def check(self) -> None:
        """Raise ``Stop`` when the worker has hung up: nobody waits for what would be put. Any thread."""
        if self._hung_up.is_set():
            raise Stop(StopReason.LOST)

    def run(self, craft: _Craft) -> None:
        """Answer calls until the worker hangs up."""
        threading.Thread(target=self._listen, args=(craft,), name="listen", daemon=True).start()
        try:
            self.line.send(Here(os.getpid()))
            while (call := self._calls.get()) is not None:
                self.line.send(_reply(craft, call))
        except (Stop, OSError):
            pass  # the worker has hung up
        finally:
            craft.end()
            self._ended.set()

    def ask(self, question: Reserve) -> bytes:
        """Ask the worker and wait for its answer; ``Stop`` when it has hung up."""
        self.line.send(question)
        answer = self._answers.get()
        if answer is None:
            raise Stop(StopReason.LOST)
        return answer

    def _listen(self, craft: _Craft) -> None:
        try:
            while (message := self.line.receive()) is not None:
                if isinstance(message, Reserved):
                    self._answers.put(message.wanted)
                elif not isinstance(message, BackupWork | RestoreWork):
                    self._calls.put(message)
        finally:
            self._hung_up.set()
            craft.stop()
            self._answers.put(None)
            self._calls.put(None)
            if not self._ended.wait(_GRACE):
                os._exit(1)


def _reply(craft: _Craft, call: Call) -> msgspec.Struct:
    try:
        return craft.answer(call)
    except Unreadable as problem:
        return Trouble(call.number, "source-failed", problem.notice.message, problem.notice)
    except SkyharborError as error:
        return Trouble(call.number, error.code, error.detail)
    except (Stop, BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:  # noqa: BLE001 - told to the worker, which fails the unit
        return Trouble(call.number, "internal", f"{type(error).__name__}: {error}")


class _Unable:
    """Could not even begin."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def answer(self, call: Call) -> msgspec.Struct:  # noqa: ARG002 - the protocol's signature
        """Say why not."""
        raise self._error

    def stop(self) -> None:
        """See the protocol."""

    def end(self) -> None:
        """See the protocol."""


class _Reader:
    """Reads for a backup; also the sink of its reading."""

    def __init__(self, desk: _Desk, work: BackupWork, vault: Vault, source: Source) -> None:
        self._desk = desk
        keys = DomainKeys.derive(work.dek)
        self._chunks = ChunkWriter(vault, keys, on_durable=self._tell_pack, zstd_level=work.zstd_level)
        self._reading = FileReading(source, keys, self, SystemClock())

    def reserve(self, ids: Sequence[bytes]) -> Sequence[bool]:
        """Ask the worker."""
        return [wanted == 1 for wanted in self._desk.ask(Reserve(b"".join(ids)))]

    def add_segment(
        self, ids: Sequence[bytes], chunks: Sequence[Buffer], *, whole: memoryview | None = None, effort: int = 0
    ) -> None:
        """Store chunks in a pack of this hand."""
        self._chunks.add_segment(ids, chunks, whole=whole, effort=effort)

    def answer(self, call: Call) -> msgspec.Struct:
        """Read, or make durable what was read."""
        match call:
            case ReadBatch():
                ctimes = [entry.ctime_ns for entry in call.entries]
                return _told(call, ctimes, self._reading.read(call.entries))
            case ReadPart():
                part = self._reading.read_range(call.entry, call.offset, call.length, changed=call.changed)
                return PartRead(call.number, part.entry, part.ids, part.data, part.ended, part.young)
            case Flush():
                self._chunks.flush()
                return Done(call.number)
        raise TypeError(call)

    def stop(self) -> None:
        """See the protocol."""
        self._reading.stop()

    def end(self) -> None:
        """See the protocol: what is not durable was promised to nobody."""
        self._chunks.abort()

    def _tell_pack(self, pack: FinishedPack) -> None:
        self._desk.line.send(PackDurable(table_bytes(pack.table)))


class _Writer:
    """Writes for a restore."""

    def __init__(self, work: RestoreWork, vault: Vault) -> None:
        keys = DomainKeys.derive(work.dek)
        self._finder = TableFinder()
        self._folders = Folders(_open_target(work))
        chunks = ChunkReader(self._finder, SegmentSource(vault, keys, keep=_KEEP), keys)
        self._writing = FileWriting(chunks, self._folders, work.rule)

    def answer(self, call: Call) -> msgspec.Struct:
        """Write a batch."""
        if not isinstance(call, WriteBatch):
            raise TypeError(call)
        self._finder.turn_to(table_from(call.table))
        return BatchWritten(call.number, self._writing.write(call.jobs))

    def stop(self) -> None:
        """See the protocol."""
        self._writing.stop()

    def end(self) -> None:
        """See the protocol."""
        self._folders.close()


def _open_target(work: RestoreWork) -> int:
    fd = os.open(work.target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    there = os.fstat(fd)
    if (there.st_dev, there.st_ino) != work.node:
        os.close(fd)
        raise SkyharborError("target-invalid", f"{work.target} was replaced while it was being restored to")
    return fd


def _told(call: ReadBatch, ctimes: Sequence[int], result: Read) -> BatchRead:
    """Sum up a batch: nearly all of it is plain files, of which the worker has everything but their chunk."""
    ids: list[bytes] = []
    others: list[tuple[int, Entry | None]] = []
    young: list[int] = []
    for place, (asked, entry) in enumerate(zip(call.entries, result.entries, strict=True)):
        # Files that needed a second look come back as entries of their own.
        if entry is not asked or entry.kind != _FILE or entry.xattrs or entry.flags:
            others.append((place, entry))
            continue
        ids.append(entry.chunks)
        if entry.ctime_ns != ctimes[place]:
            young.append(place)
    return BatchRead(call.number, b"".join(ids), others, young, result.notices, result.bytes_read)
