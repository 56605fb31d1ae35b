"""Answers questions about the files in disks: the inside of the process without rights.

Rule of the file: what goes wrong is part of the answer; a file system is opened once and kept.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice

from shared.vault.entry import EntryKind
from workers.disks.checks import Lie, check_node
from workers.disks.file_system import FileSystem, Node, Piece
from workers.disks.layout import Area, areas_of
from workers.disks.messages import (
    PAGE,
    PIECES,
    Answer,
    AreaInfo,
    Areas,
    Ask,
    Content,
    Data,
    List,
    Look,
    Nodes,
    Notes,
    Pieces,
    Read,
    Steps,
    Trouble,
)
from workers.disks.volume import Damaged, Unsupported, Volume

_ODD = (struct.error, IndexError, KeyError, ValueError, OverflowError, RecursionError, TypeError)
"""What a reader that was led astray may run into where it does not look before each step."""

_MUCH = 4 * 1024 * 1024
_FEW = 8


class Desk:
    """All areas of some disks."""

    def __init__(self, disks: Sequence[Volume]) -> None:
        self._disks = disks
        self._open: dict[int, FileSystem] = {}

    def answer(self, ask: Ask) -> Iterator[Answer]:
        """Yield the parts of the answer; trouble is one of them, and the last."""
        try:
            yield from self._answer(ask)
        except Unsupported as reason:
            yield Trouble(str(reason), supported=False)
        except Damaged as reason:
            yield Trouble(str(reason), supported=True)
        except MemoryError:
            yield Trouble("it takes more memory than a sound file system ever would", supported=True)
        except _ODD as error:
            yield Trouble(f"its structures make no sense ({type(error).__name__}: {error})", supported=True)

    def _answer(self, ask: Ask) -> Iterator[Answer]:
        match ask:
            case Look():
                yield Areas([_info(area) for area in self._areas])
            case Steps():
                yield self._steps(ask)
            case List():
                yield from self._list(ask)
            case Content():
                yield from self._content(ask)
            case Read():
                yield Data(self._file_system(ask.area).read(ask.number, ask.offset, ask.length))
            case Notes():
                yield Notes(ask.area, list(self._file_system(ask.area).notes))
            case _:
                raise Damaged("this cannot be asked here")

    @cached_property
    def _areas(self) -> list[Area]:
        return areas_of(self._disks)

    def _file_system(self, number: int) -> FileSystem:
        found = self._open.get(number)
        if found is None:
            if not 0 <= number < len(self._areas):
                raise Damaged("there is no such area")
            area = self._areas[number]
            if area.format.opener is None or area.volume is None:
                raise Unsupported(area.format.trouble)
            found = self._open[number] = area.format.opener(area.volume)
        return found

    def _steps(self, ask: Steps) -> Nodes:
        system = self._file_system(ask.area)
        number = system.root
        found = [(b"", _node(system, number, full=True))]
        for name in ask.names:
            below = next((child for child in system.children(number) if child.name == name), None)
            if below is None:
                return Nodes(found, [(name, "")], last=True)
            number = below.number
            found.append((name, _node(system, number, full=True)))
        return Nodes(found, [], last=True)

    def _list(self, ask: List) -> Iterator[Nodes]:
        system = self._file_system(ask.area)
        gaps: list[tuple[bytes, str]] = []
        children = []
        try:
            for child in system.children(ask.number):
                if child.name:
                    children.append(child)
                else:
                    gaps.append((b"", "a name cannot be read"))
        except (Damaged, *_ODD) as reason:
            gaps.append((b"", str(reason)))
        children.sort()
        page: list[tuple[bytes, Node]] = []
        weight = 0
        for name, number in children:
            try:
                node = _node(system, number, full=ask.full)
                if ask.full and node.kind == EntryKind.FILE and node.size and not node.trouble:
                    node.where = _few_pieces(system, number)
            except (Damaged, *_ODD) as reason:
                gaps.append((name, str(reason)))
                continue
            page.append((name, node))
            weight += sum(len(value) for _, value in node.xattrs)
            if len(page) >= PAGE or len(gaps) >= PAGE or weight >= _MUCH:
                yield Nodes(page, gaps, last=False)
                page, gaps, weight = [], [], 0
        yield Nodes(page, gaps, last=True)

    def _content(self, ask: Content) -> Iterator[Answer]:
        pieces = self._file_system(ask.area).pieces(ask.number)
        if pieces is None:
            yield Data(b"")
            return
        page = []
        for piece in pieces:
            page.append(piece)
            if len(page) >= PIECES:
                yield Pieces(page, last=False)
                page = []
        yield Pieces(page, last=True)


def _few_pieces(system: FileSystem, number: int) -> list[Piece] | None:
    pieces = system.pieces(number)
    found = None if pieces is None else list(islice(pieces, _FEW + 1))
    return found if found is not None and len(found) <= _FEW else None


def _node(system: FileSystem, number: int, *, full: bool) -> Node:
    """Return a node that those outside will believe."""
    node = system.node(number, full=full)
    try:
        check_node(node)
    except Lie as lie:
        raise Damaged(f"it is {lie}") from None
    return node


def _info(area: Area) -> AreaInfo:
    return AreaInfo(area.disk, area.name, area.format.name, area.format.trouble, area.size, area.label)
