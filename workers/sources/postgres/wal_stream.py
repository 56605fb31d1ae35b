"""The log, as the server sends it from a slot: one file a segment, the last one filled up with zeros.

The slot is not moved by reading: it moves when the point that has the log is sealed (``slot``), so that whatever
happens before, the log is there for the next attempt.

Rule of the file: one ``START_REPLICATION`` and its answer.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from datetime import datetime

from psycopg import pq

from workers.engine.ports import Pushed
from workers.sources.postgres.lsn import from_server, segment_name, segment_start, show_lsn
from workers.sources.postgres.nodes import Pieces
from workers.sources.postgres.replication import Replication
from workers.sources.postgres.trouble import failed
from workers.sources.postgres.wal_marks import WalMarks

_DATA = struct.Struct(">QQQ")  # behind the first byte: where it begins, how far the server is, its time
_ALIVE = struct.Struct(">QQb")  # how far it has sent, its time, whether it wants to hear of us
_STATUS = struct.Struct(">cQQQQb")
_TELL_EVERY = 10.0
_ZEROS = bytes(1 << 16)
_W, _K = ord("w"), ord("k")


class WalStream:
    """The log from the beginning of a segment to wherever it ended at the server when it was asked.

    ``goal`` is what it must reach at least. After ``nodes`` came to its end, ``ends`` is the position that was reached
    and ``ended`` the server's time when its log ended there.
    """

    def __init__(
        self, connection: Replication, *, slot: str, timeline: int, start: int, goal: int, segment: int, marks: WalMarks
    ) -> None:
        self._connection = connection
        self._slot, self._timeline, self._segment, self._goal = slot, timeline, segment, goal
        self._marks = marks
        self._received = segment_start(start, segment)
        self._told = 0.0
        self._pieces: Iterator[memoryview] = iter(())
        self._rest: memoryview = memoryview(b"")
        self.ends: int | None = None
        self.ended: datetime | None = None

    def nodes(self) -> Iterator[tuple[bytes, Pushed]]:
        """Yield each segment's name and node. Raises ``source-failed`` when the log does not reach the goal."""
        at = self._received
        begin_streaming(self._connection, self._slot, at, self._timeline)
        self._tell(ask=True)
        self._pieces = self._log()
        while self._more():
            name = segment_name(self._timeline, at, self._segment).encode()
            content = self._content()
            yield name, Pieces(segment_path(name), content)
            for _ in content:  # whatever was not asked for
                pass
            at += self._segment
        if self.ends is None or self.ended is None or self._received < self.ends:
            self._connection.end_copy()  # raises what the server has to say about it
            raise failed(f"{self._connection.place} stopped sending its log at {show_lsn(self._received)}")
        self._marks.end()
        self._connection.end_copy()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _more(self) -> bool:
        if not self._rest:
            self._rest = next(self._pieces, memoryview(b""))
        return len(self._rest) > 0

    def _content(self) -> Iterator[bytes | memoryview]:
        left = self._segment
        while left and self._more():
            piece, self._rest = self._rest[:left], self._rest[left:]
            left -= len(piece)
            self._marks.show(piece)
            yield piece
        while left:
            piece = memoryview(_ZEROS)[:left]
            left -= len(piece)
            yield piece

    def _log(self) -> Iterator[memoryview]:
        """Yield the log in order, up to where it ended when the server first told."""
        for message in self._connection.messages():
            if message[0] == _W:
                position, end, sent = _DATA.unpack_from(message, 1)
                if position != self._received:
                    raise failed(f"{self._connection.place} left out a piece of its log at {show_lsn(self._received)}")
                self._note(end, sent)
                data = message[1 + _DATA.size :]
                if self.ends is not None:
                    data = data[: self.ends - self._received]
                self._received += len(data)
                yield data
                self._tell()
            elif message[0] == _K:
                end, sent, wants = _ALIVE.unpack_from(message, 1)
                if self._received >= self._goal:
                    self._note(end, sent)
                self._tell(now=bool(wants))
            if self.ends is not None and self._received >= self.ends:
                return

    def _note(self, end: int, sent: int) -> None:
        if self.ends is None and end >= self._goal:
            self.ends, self.ended = end, from_server(sent)

    def _tell(self, *, now: bool = False, ask: bool = False) -> None:
        """Tell that we are alive, and nothing that would move the slot."""
        if now or ask or time.monotonic() - self._told > _TELL_EVERY:
            self._connection.put(_STATUS.pack(b"r", self._received, 0, 0, 0, ask))
            self._told = time.monotonic()


def segment_path(name: bytes) -> bytes:
    """Return where a segment is in the tree: a folder has those of 4 GiB."""
    return b"wal/" + name[:16] + b"/" + name


def begin_streaming(connection: Replication, slot: str, position: int, timeline: int) -> None:
    """Have the server send its log. Raises ``Refusal``."""
    connection.send(f"START_REPLICATION SLOT {slot} PHYSICAL {show_lsn(position)} TIMELINE {timeline}")
    connection.expect(pq.ExecStatus.COPY_BOTH)


def confirm_flushed(connection: Replication, position: int) -> None:
    """Tell, while the log is being sent, that everything before this position is safe: the slot lets go of it."""
    connection.put(_STATUS.pack(b"r", position, position, position, 0, 0))
