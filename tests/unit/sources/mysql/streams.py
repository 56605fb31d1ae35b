"""Makes streams as mariabackup does, chunk by chunk."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

from workers.sources.mysql.mbstream import MbstreamReader
from workers.sources.mysql.unraveling import Unraveled


def head(kind: bytes, path: bytes, *, flags: int = 0) -> bytes:
    return struct.pack("<8sBcI", b"XBSTCK01", flags, kind, len(path)) + path


def payload(path: bytes, offset: int, data: bytes, *, flags: int = 0) -> bytes:
    return head(b"P", path, flags=flags) + struct.pack("<QQI", len(data), offset, zlib.crc32(data)) + data


def end(path: bytes) -> bytes:
    return head(b"E", path)


def seek(path: bytes, offset: int) -> bytes:
    return head(b"S", path) + struct.pack("<Q", offset)


def rename(path: bytes, to: bytes) -> bytes:
    return head(b"R", path) + struct.pack("<I", len(to)) + to


def remove(path: bytes) -> bytes:
    return head(b"D", path)


def unraveled(stream: bytes, folder: Path, *, most: int = 65536) -> tuple[list[tuple[str, bytes]], Unraveled]:
    """Return the files of a stream in the order in which they were passed on, read ``most`` bytes at a time."""
    source = io.BytesIO(stream)
    files = Unraveled(MbstreamReader(lambda room: source.readinto(room[:most])), str(folder))
    found = []
    for name, content in files.files():
        room, parts = memoryview(bytearray(most)), []
        while got := content.read_into(room):
            parts.append(bytes(room[:got]))
        found.append((os.fsdecode(name), b"".join(parts)))
    return found, files


def as_unpacked(stream: bytes, folder: Path) -> dict[str, bytes]:
    """Return what the files are in the end, under the names that they have then."""
    found, files = unraveled(stream, folder)
    names = files.names
    return {name: data for kept, data in found if (name := names.get(kept, kept)) is not None}
