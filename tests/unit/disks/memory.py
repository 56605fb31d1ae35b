"""A volume in memory."""

from __future__ import annotations


class Memory:
    """Bytes as a disk."""

    def __init__(self, data: bytes | bytearray, number: int = 0) -> None:
        self.data, self.size, self._number = data, len(data), number

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.data[offset : offset + length]) if offset >= 0 else b""

    def where(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        return [(self._number, offset, length)]
