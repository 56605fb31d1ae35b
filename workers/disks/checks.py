"""Judges what the process that reads file systems says: it may have been turned by the disk that it read.

Rule of the file: a value that cannot be true ends the conversation; nothing is mended.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.vault.entry import EntryKind
from workers.disks.file_system import HOLE, NOBODY, Node, Piece
from workers.disks.messages import AreaInfo

_LONGEST_NAME = 1024  # 255 characters of UTF-16 as UTF-8, and room
_LONGEST_TARGET = 64 * 1024
_LONGEST_TEXT = 2000
_LARGEST_VALUE = 16 * 1024 * 1024
_I64 = 1 << 63
_U32 = 1 << 32
_KINDS = frozenset(int(kind) for kind in EntryKind)
_XATTRS = (b"user.", b"trusted.", b"security.", b"system.")
_NO_AREA = frozenset({"", ".", ".."})


class Lie(Exception):
    """Something that no honest answer has; its text says what."""


def check_areas(areas: Sequence[AreaInfo], disks: int) -> None:
    """Refuse areas of disks that there are not, and names that are no name."""
    names = {(area.disk, area.name) for area in areas}
    if len(names) != len(areas):
        raise Lie("two areas of one name")
    for area in areas:
        if not 0 <= area.disk < disks or area.name in _NO_AREA or "/" in area.name or "\0" in area.name:
            raise Lie("an area that cannot be")
        if any(len(text) > _LONGEST_TEXT for text in (area.name, area.holds, area.trouble, area.label)):
            raise Lie("an endless word about an area")


def is_name(name: bytes) -> bool:
    """Tell whether these bytes can be the name of a node: one part of a path, and none that leads elsewhere."""
    return name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name and len(name) <= _LONGEST_NAME


def check_node(node: Node) -> None:
    """Refuse values that no file system has."""
    small = 0 <= node.mode <= 0o7777 and 0 <= node.flags < _U32 and node.links >= 0 and 0 <= node.rdev < _I64
    large = 0 <= node.number < 1 << 64 and 0 <= node.size < _I64
    owners = NOBODY <= node.uid < _U32 and NOBODY <= node.gid < _U32
    times = -_I64 <= node.mtime_ns < _I64 and -_I64 <= node.ctime_ns < _I64
    if node.kind not in _KINDS or not (small and large and owners and times):
        raise Lie("a node with impossible values")
    if len(node.trouble) > _LONGEST_TEXT or len(node.lost) > _LARGEST_VALUE:
        raise Lie("an endless word about a node")
    link = node.kind == EntryKind.SYMLINK and not node.trouble
    if bool(node.target) != link or b"\0" in node.target or len(node.target) > _LONGEST_TARGET:
        raise Lie("a link to nowhere")
    for name, value in node.xattrs:
        if not name.startswith(_XATTRS) or b"\0" in name or len(name) > _LONGEST_NAME or len(value) > _LARGEST_VALUE:
            raise Lie("an extended attribute that cannot be")


def check_pieces(pieces: Sequence[Piece], sizes: Sequence[int], left: int) -> int:
    """Refuse pieces outside of their disks, or of more bytes than the file has left; return how many it has then."""
    for piece in pieces:
        if piece.length <= 0 or piece.length > left:
            raise Lie("more content than the size of the file")
        left -= piece.length
        if piece.disk == HOLE:
            continue
        if not 0 <= piece.disk < len(sizes) or piece.offset < 0 or piece.offset + piece.length > sizes[piece.disk]:
            raise Lie("content outside of the disk")
    return left
