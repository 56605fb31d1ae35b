"""A hand: reads what it is told to, and ends when its unit does.

One thread works, one listens, so that the end of the unit is noticed in the middle of a large file. Whether a chunk is
new is for the worker to say, which keeps the index; packs are filled, encrypted and put here.

Rule of the file: every failure of a call becomes a message; the line's end is the hand's.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Sequence

from typing_extensions import Buffer

from shared.clock import SystemClock
from shared.contracts.work import FilesSource
from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.storage.open import open_store
from shared.vault.chunk_writer import ChunkWriter
from shared.vault.entry import Entry, EntryKind
from shared.vault.index_segment import table_bytes
from shared.vault.pack_format import FinishedPack
from shared.vault.vault import Vault
from workers.crew.line import Line
from workers.crew.messages import (
    BackupWork,
    BatchRead,
    Done,
    Flush,
    PackDurable,
    PartRead,
    ReadBatch,
    ReadPart,
    Reserve,
    Reserved,
    ToHand,
    Trouble,
)
from workers.engine.ports import Source, Stop, StopReason, Unreadable
from workers.engine.reading import FileReading, Read

OpenSource = Callable[[FilesSource, Sequence[str]], Source]

_FILE = int(EntryKind.FILE)


def serve(connection: socket.socket, open_source: OpenSource) -> None:
    """Do the work of one unit; returns when the line ends."""
    line: Line[ToHand] = Line(connection, ToHand)
    work = line.receive()
    if isinstance(work, BackupWork):
        with contextlib.closing(open_store(work.vault_url)) as store:
            vault = Vault(store=store, header=work.vault, clock=SystemClock())
            _Reader(line, work, vault, open_source(work.source, work.leave_out)).run()


class _Reader:
    """The working side of a backup's hand; also the sink of its reading."""

    def __init__(self, line: Line[ToHand], work: BackupWork, vault: Vault, source: Source) -> None:
        self._line = line
        keys = DomainKeys.derive(work.dek)
        self._chunks = ChunkWriter(vault, keys, on_durable=self._tell_pack, zstd_level=work.zstd_level)
        self._reading = FileReading(source, keys, self, SystemClock())
        self._calls: queue.SimpleQueue[ReadBatch | ReadPart | Flush | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def run(self) -> None:
        threading.Thread(target=self._listen, name="listen", daemon=True).start()
        try:
            while (call := self._calls.get()) is not None:
                self._answer(call)
        except (Stop, OSError):
            pass  # the worker has hung up
        finally:
            self._chunks.abort()

    # ── the sink ─────────────────────────────────────────────────────────────────────────────────────

    def reserve(self, ids: Sequence[bytes]) -> Sequence[bool]:
        """Ask the worker."""
        self._line.send(Reserve(b"".join(ids)))
        answer = self._answers.get()
        if answer is None:
            raise Stop(StopReason.LOST)
        return [wanted == 1 for wanted in answer]

    def add_segment(self, ids: Sequence[bytes], chunks: Sequence[Buffer]) -> None:
        """Store chunks in a pack of this hand."""
        self._chunks.add_segment(ids, chunks)

    def _tell_pack(self, pack: FinishedPack) -> None:
        self._line.send(PackDurable(table_bytes(pack.table)))

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _listen(self) -> None:
        while (message := self._line.receive()) is not None:
            if isinstance(message, Reserved):
                self._answers.put(message.wanted)
            elif not isinstance(message, BackupWork):
                self._calls.put(message)
        self._reading.stop()
        self._answers.put(None)
        self._calls.put(None)

    def _answer(self, call: ReadBatch | ReadPart | Flush) -> None:
        try:
            match call:
                case ReadBatch():
                    ctimes = [entry.ctime_ns for entry in call.entries]
                    self._line.send(_told(call, ctimes, self._reading.read(call.entries)))
                case ReadPart():
                    part = self._reading.read_range(call.entry, call.offset, call.length)
                    self._line.send(PartRead(call.number, part.entry, part.ids, part.data, part.ended))
                case Flush():
                    self._chunks.flush()
                    self._line.send(Done(call.number))
        except Unreadable as problem:
            self._line.send(Trouble(call.number, "source-failed", problem.notice.message, problem.notice))
        except SkyharborError as error:
            self._line.send(Trouble(call.number, error.code, error.detail))
        except (Stop, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:  # noqa: BLE001 - told to the worker, which fails the unit
            self._line.send(Trouble(call.number, "internal", f"{type(error).__name__}: {error}"))


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
