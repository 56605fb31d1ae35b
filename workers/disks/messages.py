"""What is said between whoever wants files and the process that reads file systems.

One side asks, the other answers, in one or several parts; before each part it may need bytes of a disk, which come back
as they are. Frames are a length of four bytes and so much msgpack, or so many bytes.

Rule of the file: values and frames; both sides check what they are told.
"""

from __future__ import annotations

import socket
import struct

import msgspec

from workers.disks.file_system import Node, Piece

MOST_NEEDED = 4 * 1024 * 1024
"""So many bytes of a disk are needed at once, and so many of a file read."""
MOST_FRAME = 32 * 1024 * 1024
"""A page of answers ends before it has so many bytes: 512 nodes with xattrs of 64 KiB each are not met."""
PAGE = 512
PIECES = 8192


class Begin(msgspec.Struct, tag=1, array_like=True):
    """The sizes of the disks: the first message."""

    sizes: list[int]


class Look(msgspec.Struct, tag=2, array_like=True):
    """Which areas do the disks have?"""


class Steps(msgspec.Struct, tag=3, array_like=True):
    """Which nodes lie on the way from the root of an area, down these names? Answered with ``Nodes``."""

    area: int
    names: list[bytes]


class List(msgspec.Struct, tag=4, array_like=True):
    """What is in a directory?"""

    area: int
    number: int
    full: bool


class Content(msgspec.Struct, tag=5, array_like=True):
    """Where is the content of a file? Answered with ``Pieces`` in parts, or with ``Data`` when it has to be read."""

    area: int
    number: int


class Read(msgspec.Struct, tag=6, array_like=True):
    """What is the content of a file from here on?"""

    area: int
    number: int
    offset: int
    length: int


class Notes(msgspec.Struct, tag=7, array_like=True):
    """What has to be said about the file system of an area? Answered with ``Notes``."""

    area: int
    texts: list[str] = []


class AreaInfo(msgspec.Struct, array_like=True):
    """An area: the number of its disk, its name there, what it holds, why it cannot be browsed if it cannot."""

    disk: int
    name: str
    holds: str
    trouble: str
    size: int
    label: str


class Areas(msgspec.Struct, tag=10, array_like=True):
    """All areas; ``area`` in other messages is the place in this list."""

    areas: list[AreaInfo]


class Nodes(msgspec.Struct, tag=11, array_like=True):
    """A part of what was found; ``gaps`` are names (maybe empty) and why they or what they stand for is missing."""

    found: list[tuple[bytes, Node]]
    gaps: list[tuple[bytes, str]]
    last: bool


class Pieces(msgspec.Struct, tag=12, array_like=True):
    """A part of where a file is."""

    pieces: list[Piece]
    last: bool


class Data(msgspec.Struct, tag=13, array_like=True):
    """Bytes of a file, fewer than asked for only at its end."""

    data: bytes


class Need(msgspec.Struct, tag=14, array_like=True):
    """Bytes of a disk are needed; they come as a frame of their own."""

    disk: int
    offset: int
    length: int


class Trouble(msgspec.Struct, tag=15, array_like=True):
    """There is no answer, for a reason; ``supported`` tells that it is damage and not a lack of this program."""

    text: str
    supported: bool


Ask = Begin | Look | Steps | List | Content | Read | Notes
Answer = Areas | Nodes | Pieces | Data | Need | Trouble | Notes

_HEADER = struct.Struct("<I")


def send_frame(connection: socket.socket, payload: bytes) -> None:
    """Send one frame."""
    if len(payload) < 65536:
        connection.sendall(_HEADER.pack(len(payload)) + payload)
        return
    connection.sendall(_HEADER.pack(len(payload)))
    connection.sendall(payload)


def receive_frame(connection: socket.socket, most: int = MOST_FRAME) -> bytearray | None:
    """Return the next frame, None at the end of the line. ValueError for one that is too large or cut short."""
    header = _receive(connection, _HEADER.size)
    if header is None:
        return None
    (length,) = _HEADER.unpack(header)
    if length > most:
        raise ValueError(f"a message of {length} bytes")
    payload = _receive(connection, length)
    if payload is None and length:
        raise ValueError("a message is cut short")
    return payload


def _receive(connection: socket.socket, length: int) -> bytearray | None:
    data = bytearray(length)
    view, at = memoryview(data), 0
    while at < length:
        count = connection.recv_into(view[at:])
        if not count:
            if at:
                raise ValueError("a message is cut short")
            return None
        at += count
    return data
