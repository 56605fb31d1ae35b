"""Reads small files and folders of a share in one round trip each, many of them under way at once.

A compound opens the file, asks for its descriptor and streams, reads it, and closes it with a last look: by the looks
before and behind, what was read is what the scan met, or it is not taken and read the long way.

The engine says which nodes come next (``announce``); up to a window of them is asked for before they are needed.

Rule of the file: one object per thread. A wire that is lost takes only what was asked ahead with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from shared.vault.entry import Entry, EntryKind
from workers.engine.reading import LARGE_FILE
from workers.sources.smb import messages as smb
from workers.sources.smb import status
from workers.sources.smb.describing import READ_ATTRIBUTES, READ_DATA, Described, described, open_request, questions
from workers.sources.smb.marks import mark_of
from workers.sources.smb.messages import Created, Look
from workers.sources.smb.nodes import REPARSE, SPARSE, stat_of
from workers.sources.smb.share import Share
from workers.sources.smb.status import Refused
from workers.sources.smb.wire import LineLost, Wire

_KINDS = frozenset({int(EntryKind.FILE), int(EntryKind.DIRECTORY)})
_FILES, _BYTES = 24, 4 * 1024 * 1024
"""How much is asked for ahead."""


class _Asked(NamedTuple):
    wire: Wire
    numbers: list[int]
    size: int


class SmallFiles:
    """What one thread has asked for, and its wire."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._wire: Wire | None = None
        self._coming: deque[Entry] = deque()
        self._announced: set[bytes] = set()  # of those that come
        self._asked: dict[bytes, _Asked] = {}
        self._bytes = 0

    def announce(self, entries: Iterable[Entry]) -> None:
        """Take note of the nodes that are read next, in order; what was announced before is forgotten."""
        for path in list(self._asked):
            self._drop(path)
        self._coming = deque(entry for entry in entries if entry.kind in _KINDS and entry.size < LARGE_FILE)
        self._announced = {entry.path for entry in self._coming}

    def read(self, entry: Entry, room: memoryview) -> bool:
        """Read a file into ``room`` and complete its entry; False when it is not plainly what the scan met."""
        try:
            if entry.size >= self._line().most_read:
                return False
            asked = self._answering(entry)
            self._ask_ahead()
            return self._taken(entry, asked, room)
        except Refused:
            return False
        except LineLost:
            self._asked, self._bytes = {}, 0
            self._share.hang_up()
            return False  # the long way dials again, or says that the server is gone

    def describe(self, entry: Entry) -> tuple[Created, Described] | None:
        """Return what a folder is and has, if that is plainly told."""
        try:
            asked = self._answering(entry)
            self._ask_ahead()
            opening, security, listed, _ = [asked.wire.receive(number) for number in asked.numbers]
            created = smb.created(opening.expect())
            about = described(asked.wire, entry.path, self._share.setting, created.look, (security, listed))
        except Refused:
            return None
        except LineLost:
            self._asked, self._bytes = {}, 0
            self._share.hang_up()
            return None
        return created, about

    def _answering(self, entry: Entry) -> _Asked:
        if entry.path in self._asked:
            asked = self._asked.pop(entry.path)
            self._bytes -= asked.size
            return asked
        if entry.path in self._announced:
            self._pass_to(entry.path)
        return self._ask(entry)

    def _pass_to(self, path: bytes) -> None:
        """Go on behind a node that was announced and is wanted now."""
        passed = b""
        while passed != path:
            passed = self._coming.popleft().path
            self._announced.discard(passed)

    def _ask_ahead(self) -> None:
        while self._coming and len(self._asked) < _FILES and self._bytes < _BYTES:
            entry = self._coming.popleft()
            self._announced.discard(entry.path)
            if entry.size >= self._line().most_read:
                continue
            self._asked[entry.path] = self._ask(entry)
            self._bytes += entry.size

    def _ask(self, entry: Entry) -> _Asked:
        wire = self._line()
        setting = self._share.setting
        if entry.kind == EntryKind.DIRECTORY:
            create = open_request(entry.path, setting, options=smb.IS_DIRECTORY | smb.FOR_BACKUP)
            return _Asked(wire, wire.send(create, *questions(setting), smb.close(smb.RELATED)), 0)
        create = open_request(entry.path, setting, access=READ_DATA, options=smb.IS_FILE | smb.FOR_BACKUP)
        reading = smb.read(smb.RELATED, 0, entry.size + 1)
        numbers = wire.send(create, *questions(setting), reading, smb.close(smb.RELATED, look=True))
        return _Asked(wire, numbers, entry.size)

    def _line(self) -> Wire:
        if self._wire is None or self._wire.lost:
            self._wire = self._share.take()
        return self._wire

    def _drop(self, path: bytes) -> None:
        asked = self._asked.pop(path)
        self._bytes -= asked.size
        if not asked.wire.lost:
            asked.wire.forget(asked.numbers)

    def _taken(self, entry: Entry, asked: _Asked, room: memoryview) -> bool:
        if asked.wire.lost:
            return False
        opening, security, listed, reading, closing = [asked.wire.receive(number) for number in asked.numbers]
        created = smb.created(opening.expect())
        if not self._is_what_was_met(entry, created.look, created.node):
            return False
        if reading.status == status.END_OF_FILE:
            got = 0
        else:
            data = smb.data_read(reading.expect())
            got = len(data)
            if got == entry.size:
                room[:got] = data
        setting = self._share.setting
        about = described(asked.wire, entry.path, setting, created.look, (security, listed))
        last = smb.closed(closing.expect())
        if len(about.xattrs) > 2 and not about.complaint:  # streams were read behind the last look
            last = _looked(asked.wire, entry.path, setting.moment)
        if about.complaint or got != entry.size or not self._is_what_was_met(entry, last, created.node):
            return False
        if self._share.setting.marked and mark_of(last, about.xattrs) != entry.ctime_ns:
            return False
        entry.xattrs = about.xattrs
        return True

    def _is_what_was_met(self, entry: Entry, look: Look, node: int) -> bool:
        now = stat_of(look, node)
        return (
            not look.attributes & (SPARSE | REPARSE)
            and now.st_size == entry.size
            and now.st_mtime_ns == entry.mtime_ns
            and (self._share.setting.marked or now.st_ctime_ns == entry.ctime_ns)
            and (not node or now.st_ino == entry.inode)
        )


def _looked(wire: Wire, path: bytes, moment: int) -> Look:
    opening, closing = wire.ask(
        smb.create(path, access=READ_ATTRIBUTES, options=smb.IS_FILE | smb.FOR_BACKUP, moment=moment),
        smb.close(smb.RELATED, look=True),
    )
    opening.expect()
    return smb.closed(closing.expect())
