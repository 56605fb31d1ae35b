"""Bytes at offsets: what a disk, a partition, a logical volume and a journal's view of one have in common.

Rule of the file: reading past the end gives fewer bytes, never an error; everything else that cannot be read raises.
"""

from __future__ import annotations

from typing import Protocol


class Volume(Protocol):
    """Something with bytes at offsets. Used by one thread."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes from ``offset`` on, fewer only at the end. Raises ``Damaged`` for what is not there."""
        ...

    def where(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        """Return where these bytes lie, in order, as (number of the disk, offset, length)."""
        ...


class Bytes(Protocol):
    """What the other side of the line needs of a disk."""

    @property
    def size(self) -> int: ...  # noqa: D102

    def read(self, offset: int, length: int) -> bytes:
        """See ``Volume``."""
        ...


class Damaged(Exception):
    """The bytes are not what they must be; its text is for people and names what it is about."""


class Unsupported(Exception):
    """The bytes are in order, and of a kind that is not read here; its text says which, and what to do instead."""


class Window:
    """A part of a volume. It ends with the volume, whatever was said about its size."""

    def __init__(self, base: Volume, offset: int, size: int) -> None:
        self.base, self.offset = base, offset
        self.size = max(0, min(size, base.size - offset))

    def read(self, offset: int, length: int) -> bytes:
        """See ``Volume``."""
        length = min(length, self.size - offset)
        return self.base.read(self.offset + offset, length) if length > 0 else b""

    def where(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        """See ``Volume``."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise Damaged(f"{length} bytes at {offset} are outside of the volume")
        return self.base.where(self.offset + offset, length)


def read_exactly(volume: Volume, offset: int, length: int) -> bytes:
    """Return all of these bytes. Raises ``Damaged`` where the volume ends before them."""
    data = volume.read(offset, length) if offset >= 0 else b""
    if len(data) != length:
        raise Damaged(f"{length} bytes at {offset} are outside of the volume")
    return data
