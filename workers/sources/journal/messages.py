"""What a worker and the journal of its machine tell each other: MessagePack, each message behind its length.

Rule of the file: both ends are the same program on the same machine.
"""

from __future__ import annotations

import socket
import struct

import msgspec

_LENGTH = struct.Struct("<I")


class Place(msgspec.Struct, frozen=True, array_like=True):
    """A mounted file system: where, and its device number as ``/proc/self/mountinfo`` has it."""

    path: str
    device: int


class Mark(msgspec.Struct, frozen=True, kw_only=True, tag="mark", tag_field="do"):
    """Watch these from now on; answered with ``Marked``."""

    places: tuple[Place, ...]


class Since(msgspec.Struct, frozen=True, kw_only=True, tag="since", tag_field="do"):
    """Tell what has happened there since a mark; answered with ``Happened``."""

    journal: str
    mark: int
    places: tuple[Place, ...]


Ask = Mark | Since


class Marked(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that happens from here on is behind this mark of this journal. ``problem``: why there is none."""

    journal: str = ""
    mark: int = 0
    problem: str = ""


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """What has happened. ``gap``: why that is not known; all else means nothing then.

    ``folders`` are directories in which anything changed, ``fresh`` such that have come to where they are, both as
    (file system, handle). ``inodes`` are of nodes that may have changed under whatever name.
    """

    gap: str = ""
    folders: tuple[tuple[int, bytes], ...] = ()
    fresh: tuple[tuple[int, bytes], ...] = ()
    inodes: tuple[int, ...] = ()


def send(line: socket.socket, message: Ask | Marked | Happened) -> None:
    """Send one message."""
    data = msgspec.msgpack.encode(message)
    line.sendall(_LENGTH.pack(len(data)) + data)


def receive(line: socket.socket) -> bytes:
    """Return the next message's bytes. EOFError at the end of the line."""
    (size,) = _LENGTH.unpack(_exactly(line, _LENGTH.size))
    return _exactly(line, size)


def _exactly(line: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        got = line.recv(min(1 << 20, size - len(data)))
        if not got:
            raise EOFError("the line has ended")
        data += got
    return bytes(data)
