"""The files in the disks of a point, as entries: ``disk0/p1/etc/hosts`` as if it had been in the point itself.

Rule of the file: paths, order and what is missing; every name and number has been checked before it becomes an entry.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from shared.errors import SkyharborError
from shared.vault.entry import Entry, EntryKind
from shared.vault.reader import PointReader
from workers.disks.checks import Lie, check_pieces, is_name
from workers.disks.file_system import HOLE, NOBODY, Node, Piece
from workers.disks.messages import (
    MOST_NEEDED,
    Answer,
    AreaInfo,
    Areas,
    Content,
    Data,
    List,
    Look,
    Nodes,
    Notes,
    Pieces,
    Read,
    Steps,
)
from workers.disks.parser import UNREADABLE, Parser, Patience
from workers.engine.notices import shown
from workers.images.chunk_cache import ChunkCache
from workers.images.image import CUT_INTO_BLOCKS, open_image

MACHINE = CUT_INTO_BLOCKS
"""The workload whose points have disks."""

_DISK = re.compile(rb"disk(\d{1,4})\.raw")
_INSIDE = re.compile(rb"disk(\d{1,4})(?:/|$)")
_LOOKED_AT = 10_000  # entries of a point: one of a machine has a handful
_MOST_NODES = 4_000_000  # in one directory
_MOST_BYTES = 1 << 30  # of xattrs in one directory
_MOST_PIECES = 16_000_000
_DEEPEST = 2000
_STEP = 1024 * 1024
_ZEROS = bytes(64 * 1024)


class Area(NamedTuple):
    """A part of a disk, by its path in the point; ``number`` is the parser's."""

    path: bytes
    number: int
    info: AreaInfo


class Found(NamedTuple):
    """A node. ``trouble`` is why its content cannot be had, ``lost`` what else is not in the entry.

    ``where`` is where its content is said to lie, if that is known already.
    """

    entry: Entry
    area: Area
    links: int = 1
    trouble: str = ""
    lost: str = ""
    where: list[Piece] | None = None


class Gap(NamedTuple):
    """Something that cannot be read: a node, or names in a directory."""

    path: bytes
    text: str


class Stretch(NamedTuple):
    """Bytes of a file, or with ``data`` None a hole of so many."""

    offset: int
    length: int
    data: bytes | None


def leads_inside(reader: PointReader, path: bytes) -> bool:
    """Tell whether a path, without its leading slash, leads into a disk of the point."""
    return reader.body.workload == MACHINE and _INSIDE.match(path) is not None


def disks_of(reader: PointReader) -> dict[int, Entry]:
    """Return the disks of a point by their number; none when it is not the point of a machine."""
    found = {}
    for entry in islice(reader.entries(), _LOOKED_AT):
        match = _DISK.fullmatch(entry.path)
        if match and entry.kind == EntryKind.FILE:
            found[int(match[1])] = entry
    return found


class Browser:
    """Lists, walks and reads. Used by one thread; ``close`` ends its process."""

    def __init__(
        self, reader: PointReader, *, check: Callable[[], None] = lambda: None, patience: Patience | None = None
    ) -> None:
        self._disks = disks_of(reader)
        self._numbers = sorted(self._disks)
        cache = ChunkCache(reader.chunks)
        self._files = [open_image(self._disks[number], cache, workload=MACHINE) for number in self._numbers]
        self._sizes = [file.size for file in self._files]
        self._parser = Parser(self._files, check=check, patience=patience)
        self._areas: list[Area] | None = None
        self._noted: set[int] = set()

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        self._parser.close()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def areas(self) -> list[Area]:
        """All areas of all disks. Raises ``disk-unreadable``."""
        if self._areas is None:
            answer = self._parser.one(Look())
            if not isinstance(answer, Areas):
                raise _nonsense()
            self._areas = [
                Area(b"disk%d/%s" % (self._numbers[info.disk], os.fsencode(info.name)), number, info)
                for number, info in enumerate(answer.areas)
            ]
        return self._areas

    def areas_at(self, path: bytes) -> list[Area]:
        """Return the areas of a disk (``disk0``). Raises ``path-not-in-point``."""
        match = _INSIDE.match(path)
        if match is None or int(match[1]) not in self._disks or path.strip(b"/").count(b"/"):
            raise SkyharborError("path-not-in-point", shown(path))
        return [area for area in self.areas if area.path.startswith(path.strip(b"/") + b"/")]

    def notes(self, area: Area) -> list[str]:
        """Return what has to be said about an area's file system, once."""
        if area.number in self._noted:
            return []
        self._noted.add(area.number)
        answer = self._parser.one(Notes(area.number))
        return answer.texts if isinstance(answer, Notes) else []

    def find(self, path: bytes) -> list[Found]:
        """Return the nodes on the way to a path, from the root of its area to the node itself.

        Raises ``path-not-in-point`` and ``disk-unreadable``.
        """
        area, names = self._area_of(path)
        answer = self._parser.one(Steps(area.number, names))
        if not isinstance(answer, Nodes):
            raise _nonsense()
        if answer.gaps:
            raise SkyharborError("path-not-in-point", shown(path))
        if [name for name, _ in answer.found] != [b"", *names]:
            raise _nonsense()
        at, found = area.path, []
        for name, node in answer.found:
            at = at + b"/" + name if name else at
            found.append(_found(at, area, node))
        return found

    def inside(self, folder: Found, *, full: bool) -> list[Found | Gap]:
        """Return what is in a directory, by names; with targets and xattrs if ``full``. Raises ``disk-unreadable``."""
        path, area = folder.entry.path, folder.area
        found: list[Found | Gap] = []
        seen: set[bytes] = set()
        weight = 0
        for part in self._parser.ask(List(area.number, folder.entry.inode, full)):
            if not isinstance(part, Nodes):
                raise _nonsense()
            for name, node in part.found:
                if not is_name(name):
                    found.append(Gap(path, f"a name that leads elsewhere: {shown(name)[1:]!r}"))
                elif name in seen:
                    found.append(Gap(path + b"/" + name, "there are two of this name; the first one is taken"))
                else:
                    seen.add(name)
                    found.append(_found(path + b"/" + name, area, node))
                    weight += sum(len(value) for _, value in node.xattrs)
            found += [Gap(path + b"/" + name if is_name(name) else path, text) for name, text in part.gaps]
            if len(found) > _MOST_NODES or weight > _MOST_BYTES:
                raise SkyharborError(UNREADABLE, f"{shown(path)} has more nodes than can be: the image is damaged")
        return found

    def walk(self, top: Found, *, full: bool) -> Iterator[Found | Gap]:
        """Yield a node and everything below it, a directory before what is in it; a gap for what cannot be read.

        A directory that is met again is a gap: a damaged file system may go round in a circle.
        """
        yield top
        if top.entry.kind != EntryKind.DIRECTORY:
            return
        met = {top.entry.inode}
        levels: list[Iterator[Found | Gap]] = [iter(self._listed(top, full=full))]
        while levels:
            one = next(levels[-1], None)
            if one is None:
                levels.pop()
                continue
            if isinstance(one, Found) and one.entry.kind == EntryKind.DIRECTORY:
                if one.entry.inode in met or len(levels) > _DEEPEST:
                    yield Gap(one.entry.path, "the directory was met before: the file system goes round in a circle")
                    continue
                met.add(one.entry.inode)
                yield one
                levels.append(iter(self._listed(one, full=full)))
            else:
                yield one

    def content(self, node: Found) -> Iterator[Stretch]:
        """Yield a file's bytes from the first to the last. Raises ``disk-unreadable`` and what the vault raises."""
        if node.trouble:
            raise SkyharborError(UNREADABLE, f"{shown(node.entry.path)}: {node.trouble}")
        size = node.entry.size
        if not size:
            return
        pieces = self._pieces(node)
        if pieces is None:
            yield from self._read(node, size)
            return
        at = 0
        for disk, offset, length in pieces.tolist():
            yield from self._stretches(at, Piece(disk, offset, length))
            at += length

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _area_of(self, path: bytes) -> tuple[Area, list[bytes]]:
        parts = path.strip(b"/").split(b"/")
        area = next((area for area in self.areas if area.path == b"/".join(parts[:2])), None)
        if area is None or not all(is_name(part) for part in parts):
            raise SkyharborError("path-not-in-point", shown(path))
        return area, parts[2:]

    def _listed(self, folder: Found, *, full: bool) -> list[Found | Gap]:
        try:
            return self.inside(folder, full=full)
        except SkyharborError as error:
            if error.code != UNREADABLE:
                raise
            return [Gap(folder.entry.path, error.detail)]

    def _pieces(self, node: Found) -> np.ndarray[tuple[int, int], np.dtype[np.int64]] | None:
        """Return where a file is, as rows; all of them before the first byte, for another question may come between."""
        left, rows = node.entry.size, []
        count = 0
        for part in self._told_pieces(node):
            if isinstance(part, Data):
                return None
            if not isinstance(part, Pieces):
                raise _nonsense()
            try:
                left = check_pieces(part.pieces, self._sizes, left)
            except Lie as lie:
                raise SkyharborError(UNREADABLE, f"the image is damaged: {lie}") from None
            count += len(part.pieces)
            if count > _MOST_PIECES:
                raise SkyharborError(UNREADABLE, "the file is in more pieces than can be: the image is damaged")
            rows.append(np.array([(p.disk, p.offset, p.length) for p in part.pieces], np.int64).reshape(-1, 3))
        if left:
            raise SkyharborError(UNREADABLE, f"the image is damaged: {left} bytes of the file are nowhere")
        return np.concatenate(rows)

    def _told_pieces(self, node: Found) -> Iterator[Answer]:
        if node.where is not None:
            return iter([Pieces(node.where, last=True)])
        return self._parser.ask(Content(node.area.number, node.entry.inode))

    def _stretches(self, at: int, piece: Piece) -> Iterator[Stretch]:
        if piece.disk == HOLE:
            yield Stretch(at, piece.length, None)
            return
        file = self._files[piece.disk]
        for done in range(0, piece.length, MOST_NEEDED):
            length, offset = min(MOST_NEEDED, piece.length - done), piece.offset + done
            is_hole = all(hole for _, _, hole in file.extents(offset, length))
            data = None if is_hole else file.read(offset, length)
            yield Stretch(at + done, length, data)

    def _read(self, node: Found, size: int) -> Iterator[Stretch]:
        at = 0
        while at < size:
            answer = self._parser.one(Read(node.area.number, node.entry.inode, at, min(_STEP, size - at)))
            if not isinstance(answer, Data) or not 0 < len(answer.data) <= min(_STEP, size - at):
                raise SkyharborError(UNREADABLE, f"the image is damaged: {size - at} bytes of the file are nowhere")
            yield from _with_holes(at, answer.data)
            at += len(answer.data)


def _with_holes(at: int, data: bytes) -> Iterator[Stretch]:
    """Split bytes at longer runs of zeros, for which a file needs no room."""
    if _ZEROS not in data:
        yield Stretch(at, len(data), data)
        return
    for begin in range(0, len(data), len(_ZEROS)):
        part = data[begin : begin + len(_ZEROS)]
        yield Stretch(at + begin, len(part), None if part == _ZEROS else part)


def _found(path: bytes, area: Area, node: Node) -> Found:
    size = node.size if node.kind == EntryKind.FILE else len(node.target)
    entry = Entry(
        path, node.kind, node.mode, os.geteuid() if node.uid == NOBODY else node.uid,
        os.getegid() if node.gid == NOBODY else node.gid, size, node.mtime_ns, node.ctime_ns, area.number,
        node.number, b"", node.target, node.rdev, b"", node.xattrs, (), node.flags,
    )  # fmt: skip
    return Found(entry, area, node.links, node.trouble, node.lost, node.where)


def _nonsense() -> SkyharborError:
    return SkyharborError(UNREADABLE, "the image is damaged: the process that reads it answers something else")
