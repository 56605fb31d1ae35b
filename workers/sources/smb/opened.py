"""A file of a share held open: pipelined reads, holes of sparse files, a second look.

Rule of the file: when the wire is lost, the file is opened once more and must be the same; otherwise the backup fails.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from shared.model.backup import Notice
from shared.vault.entry import Entry
from workers.engine.notices import shown
from workers.engine.ports import Unreadable
from workers.engine.seen import entry_of
from workers.sources.smb import messages as smb
from workers.sources.smb import status
from workers.sources.smb.describing import READ_DATA, Described, described, open_node, questions
from workers.sources.smb.marks import mark_of
from workers.sources.smb.messages import Look
from workers.sources.smb.nodes import DIRECTORY, SPARSE, stat_of
from workers.sources.smb.share import Share, unreadable
from workers.sources.smb.status import Refused
from workers.sources.smb.wire import LineLost, Reply, Wire

_T = TypeVar("_T")
_WINDOW = 8
_RANGE = struct.Struct("<QQ")
_RANGES_AT_ONCE = 2048
_NOTHING: tuple[int, memoryview] = (0, memoryview(b""))


class OpenedShareFile:
    """The engine's ``OpenedFile`` on a handle of a share.

    What of its attributes cannot be had is told by ``tell`` with every description.
    """

    def __init__(self, share: Share, path: bytes, tell: Callable[[bytes, str], None]) -> None:
        self._share = share
        self._path = path
        self._tell = tell
        self._wire: Wire | None = None
        self._handle = b""
        self._coming: deque[tuple[int, int, int]] = deque()  # number, offset and length of what was asked ahead
        self._rest = _NOTHING
        self._until = 0
        try:
            self._node, self._look, about = self._opened()
        except LineLost:
            share.hang_up()
            try:
                self._node, self._look, about = self._opened()
            except LineLost as error:
                raise share.gone(error) from error
        self.entry = self._described(about)

    def _opened(self) -> tuple[int, Look, Described]:
        wire = self._share.take()
        setting = self._share.setting
        try:
            created, answers = open_node(
                wire, self._path, setting, access=READ_DATA, options=smb.IS_FILE | smb.FOR_BACKUP
            )
            self._wire, self._handle = wire, created.handle
            if created.look.attributes & DIRECTORY:
                raise Refused(status.IS_DIRECTORY)
            return created.node, created.look, described(wire, self._path, setting, created.look, answers)
        except Refused as error:
            self.close()
            self._share.give_back(wire)
            raise unreadable(self._path, error) from error

    def _described(self, about: Described) -> Entry:
        entry = entry_of(self._path, stat_of(self._look, self._node))
        entry.xattrs = about.xattrs
        if self._share.setting.marked:
            entry.ctime_ns = mark_of(self._look, about.xattrs)
        if about.complaint:
            self._tell(self._path, about.complaint)
        return entry

    def changes(self) -> None:
        """Shares are not cut into blocks."""
        return

    def look(self) -> bool:
        """Look at the attributes again and return whether nothing has changed since the last look."""
        now = self._again(self._looked)
        then, self._look = self._look, now
        if (now.size, now.written, now.changed) == (then.size, then.written, then.changed):
            return True
        self.entry = self._described(self._again(self._asked))
        return False

    def _looked(self, wire: Wire) -> Look:
        (answer,) = wire.ask(smb.query_info(self._handle, smb.INFO_FILE, smb.NETWORK_OPEN_INFORMATION))
        return smb.looked(answer.expect())

    def _asked(self, wire: Wire) -> Described:
        security, listed = wire.ask_apart(*questions(self._share.setting, self._handle))
        return described(wire, self._path, self._share.setting, self._look, (security, listed))

    def next_data(self, offset: int) -> int | None:
        """Return where data at or behind ``offset`` begins, None when there is none up to the size of the last look."""
        size = self._look.size
        if offset >= size:
            return None
        if not self._look.attributes & SPARSE:
            return offset
        found = self._ranges(offset, size - offset)
        return max(offset, found[0][0]) if found else None

    def data(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Return the (offset, length) ranges that hold data, in order, cut to ``begin`` and ``end``."""
        end = min(end, self._look.size)
        self._until = end  # what is read next is in here: no need to ask ahead beyond
        if begin >= end:
            return []
        if not self._look.attributes & SPARSE:
            return [(begin, end - begin)]
        found: list[tuple[int, int]] = []
        for offset, length in self._ranges(begin, end - begin):
            first, last = max(begin, offset), min(end, offset + length)
            if found and sum(found[-1]) == first:
                found[-1] = (found[-1][0], last - found[-1][0])
            elif first < last:
                found.append((first, last - first))
        return found

    def _ranges(self, offset: int, length: int) -> list[tuple[int, int]]:
        """Ask the server where data is; everything is when it cannot say."""
        end, found = offset + length, list[tuple[int, int]]()
        while offset < end:
            (answer,) = self._again(partial(self._ask_ranges, offset, end - offset))
            if answer.status not in (status.OK, status.MORE):
                return [(offset, end - offset)]
            some = list(_RANGE.iter_unpack(smb.told(answer.message)))
            found += some
            if answer.status == status.OK or not some:
                break
            offset = sum(some[-1])
        return found

    def _ask_ranges(self, offset: int, length: int, wire: Wire) -> list[Reply]:
        asked = _RANGE.pack(offset, length)
        room = _RANGES_AT_ONCE * _RANGE.size
        return wire.ask(smb.ioctl(self._handle, smb.FSCTL_QUERY_ALLOCATED_RANGES, asked, room=room))

    def read(self, size: int, offset: int) -> bytes:
        """Return up to ``size`` bytes from ``offset``."""
        buffer = bytearray(size)
        return bytes(buffer[: self.read_into(memoryview(buffer), offset)])

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset`` as far as the file goes."""
        done = 0

        def fill(wire: Wire) -> int:
            nonlocal done
            done += self._fill(wire, buffer[done:], offset + done)
            return done

        return self._again(fill)

    def _fill(self, wire: Wire, buffer: memoryview, offset: int) -> int:
        """Take what was asked for, and keep asking: while the engine works, the server does."""
        done = self._from_rest(buffer, offset)
        if self._coming and done < len(buffer) and self._coming[0][1] != offset + done:
            self._forget(wire)
        while done < len(buffer):
            self._ask_ahead(wire, offset + done, offset + len(buffer))
            number, at, length = self._coming.popleft()
            reply = wire.receive(number)
            if reply.status == status.END_OF_FILE:
                self._forget(wire)
                return done
            data = smb.data_read(reply.expect())
            taken = min(len(data), len(buffer) - done)
            buffer[done : done + taken] = data[:taken]
            done += taken
            if len(data) < length:  # the file ended, or the server gives less than it was asked for
                self._forget(wire)
                if not len(data):
                    return done
            if taken < len(data):
                self._rest = (at + taken, data[taken:])
        return done

    def _from_rest(self, buffer: memoryview, offset: int) -> int:
        """Take what was read and did not fit into the last buffer."""
        at, data = self._rest
        if not len(data) or at != offset:
            self._rest = _NOTHING
            return 0
        taken = min(len(data), len(buffer))
        buffer[:taken] = data[:taken]
        self._rest = (at + taken, data[taken:])
        return taken

    def _ask_ahead(self, wire: Wire, offset: int, wanted: int) -> None:
        at = sum(self._coming[-1][1:]) if self._coming else offset
        while len(self._coming) < _WINDOW and (at < self._until or not self._coming):
            end = wanted if at < wanted else max(self._until, at + 1)
            size = min(wire.most_read, end - at)
            (number,) = wire.send(smb.read(self._handle, at, size))
            self._coming.append((number, at, size))
            at += size

    def _forget(self, wire: Wire) -> None:
        wire.forget([number for number, _, _ in self._coming])
        self._coming.clear()

    def _again(self, act: Callable[[Wire], _T]) -> _T:
        """Do something with the handle; when the wire is lost, once more with a new one on the same file."""
        try:
            if self._wire is not None:
                return act(self._wire)
        except LineLost:
            self._coming.clear()
            self._rest = _NOTHING
            self._share.hang_up()
        except Refused as error:
            raise unreadable(self._path, error) from error
        try:
            node, look, _ = self._opened()
            if (node, look.size, look.written, look.changed) != self._is():
                raise Unreadable(Notice(shown(self._path), "unreadable", "it changed while the connection was lost"))
            if self._wire is None:
                raise AssertionError
            return act(self._wire)
        except Refused as error:
            raise unreadable(self._path, error) from error
        except LineLost as error:
            raise self._share.gone(error) from error

    def _is(self) -> tuple[int, int, int, int]:
        return self._node, self._look.size, self._look.written, self._look.changed

    def close(self) -> None:
        """Let go of the handle and of the wire."""
        wire, self._wire = self._wire, None
        if wire is None or wire.lost:
            return
        try:
            self._forget(wire)
            wire.forget(wire.send(smb.close(self._handle)))
        except LineLost:
            return
        self._share.give_back(wire)
