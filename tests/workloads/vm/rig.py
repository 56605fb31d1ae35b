"""Sessions without an engine: opened as the worker would, read block by block as the engine does, against a copy."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.contracts.sources import VmSource
from shared.model.backup import BackupType
from shared.vault.entry import Entry
from shared.vault.point import PointBody
from workers.engine.ports import Found, Session, SessionOrder, Source
from workers.engine.seen import entry_of
from workers.guard import DEEDS
from workers.sources.opening import open_source


@dataclass
class Watch:
    """A guard that remembers what it was told, and does it when asked."""

    armed: dict[int, tuple[str, dict[str, str], float | None]] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def arm(self, kind: str, details: Mapping[str, str], *, within: float | None = None) -> int:
        number = next(self._numbers)
        self.armed[number] = (kind, dict(details), within)
        return number

    def disarm(self, number: int) -> None:
        self.armed.pop(number, None)

    def strike(self) -> None:
        """Do what is to be done when the worker is dead."""
        for kind, details, _ in self.armed.values():
            DEEDS[kind](details)
        self.armed.clear()


def order(
    spec: VmSource,
    point: str,
    reference: PointBody | None = None,
    *,
    folder: str = "/nowhere",
    guard: Watch | None = None,
) -> SessionOrder:
    return SessionOrder(
        spec=spec,
        item_id="item",
        point_id=point,
        reference=reference,
        leave_out=(),
        folder=folder,
        guard=guard or Watch(),
        check=lambda: None,
    )


def body_of(session: Session) -> PointBody:
    """What the point of a session says about itself, as far as a session looks at it."""
    return PointBody(
        machine_name="m",
        item_name="i",
        paths=session.paths,
        type=BackupType.FULL,
        reference=None,
        job_id="j",
        epoch=1,
        claim_id="c",
        started_at="",
        sealed_at="",
        files=1,
        bytes=1,
        workload="vm",
        state=dict(session.state),
    )


def entries_of(source: Source) -> dict[str, Entry]:
    found = [one for one in source.scan() if isinstance(one, Found)]
    return {
        path.decode(): entry_of(path, info) for one in found for path, info in zip(one.paths, one.stats, strict=True)
    }


def pull(session: Session, copies: Mapping[str, str]) -> int:
    """Bring copies of disks (name to path) up to the session's point; return how many bytes were read for that."""
    assert isinstance(session.reading, bytes)
    source = open_source(session.reading)
    entries = entries_of(source)
    return sum(_pull(source, entries[name], path) for name, path in copies.items())


def _pull(source: Source, entry: Entry, path: str) -> int:
    read = 0
    opened = source.open(entry)
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        changes = opened.changes()
        if changes is None:
            os.ftruncate(fd, 0)
            changes = [(0, entry.size)]
        os.ftruncate(fd, entry.size)
        for begin, length in changes:
            assert begin % source.block == 0
            os.pwrite(fd, bytes(length) if length <= 1 << 26 else b"", begin)
            for offset, size in opened.data(begin, begin + length):
                assert offset % source.block == 0
                for at in range(offset, offset + size, 1 << 22):
                    buffer = bytearray(min(1 << 22, offset + size - at))
                    assert opened.read_into(memoryview(buffer), at) == len(buffer)
                    os.pwrite(fd, buffer, at)
                    read += len(buffer)
    finally:
        os.close(fd)
        opened.close()
    return read


def same(one: str, other: str) -> bool:
    """Tell whether two files are the same, byte for byte; what is hole in both is not read."""
    with open(one, "rb") as left, open(other, "rb") as right:
        size = os.fstat(left.fileno()).st_size
        if os.fstat(right.fileno()).st_size != size:
            return False
        at = 0
        while at < size:
            at = min(_next_data(left.fileno(), at, size), _next_data(right.fileno(), at, size))
            if at >= size:
                return True
            if os.pread(left.fileno(), 1 << 20, at) != os.pread(right.fileno(), 1 << 20, at):
                return False
            at += 1 << 20
    return True


def _next_data(fd: int, at: int, size: int) -> int:
    try:
        return os.lseek(fd, at, os.SEEK_DATA)
    except OSError:
        return size
