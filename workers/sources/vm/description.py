"""By what description hands and shards open the very same point in time of a virtual machine.

Rule of the file: values, and how they become bytes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from workers.sources.vm.file_look import FileLook
from workers.sources.vm.wire import Address

LEAST_BLOCK: Final = 256 * 1024
_BLOCKS: Final = 16 * 1024 * 1024


class DiskReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A disk: a raw image at ``file``, or else an export of an NBD server.

    ``image`` is what an image of a machine that is off consists of, the image itself first, and ``format`` its format:
    whoever reads it by its path reads these very files, or nothing. A machine that runs has none.

    ``bitmap`` is the name of what has changed since the reference, empty where anything can have. ``unchanged``: it is
    known that nothing has.
    """

    name: str
    size: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    file: str = ""
    address: Address = Address()
    export: str = ""
    bitmap: str = ""
    unchanged: bool = False
    image: tuple[FileLook, ...] = ()
    format: str = ""


class FileReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A small file that comes along: its content is here, or at ``path``."""

    name: str
    content: bytes = b""
    path: str = ""
    time_ns: int = 0


class VmReading(msgspec.Struct, frozen=True, kw_only=True, tag="vm", tag_field="reading"):
    """A whole machine. ``boot`` is of the machine whose sockets and devices these are (``file_look``)."""

    block: int
    boot: str = ""
    disks: tuple[DiskReading, ...]
    files: tuple[FileReading, ...] = ()


def encode(reading: VmReading) -> bytes:
    """Return the description's bytes."""
    return msgspec.msgpack.encode(reading)


def block_for(largest: int) -> int:
    """Return into how large pieces disks are cut: 256 KiB, and more where the largest disk has over 16 Mi of them.

    Every block of data costs 32 bytes of a point: half a GiB for a full disk of 4 TiB.
    """
    block = LEAST_BLOCK
    while largest > block * _BLOCKS:
        block *= 2
    return block
