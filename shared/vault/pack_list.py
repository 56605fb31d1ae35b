"""A list of packs that may have ten million members: 41 bytes each.

Rule of the file: packs by their object names and sizes, in the order in which they were added.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from shared.errors import SkyharborError
from shared.vault import layout

_ROW = 33  # kind, SHA-256


class PackList:
    """Names and sizes of packs. One thread."""

    def __init__(self) -> None:
        self._rows = bytearray()
        self._sizes = array("Q")

    def append(self, name: str, size: int) -> None:
        """Add a pack; ``bad-request`` for a name that is none."""
        parsed = layout.parse_pack(name)
        if parsed is None:
            raise SkyharborError("bad-request", f"{name[:120]!r} is not the name of a pack")
        self._rows.append(parsed[0])
        self._rows += parsed[1]
        self._sizes.append(size)

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def size(self) -> int:
        """The bytes of all packs together."""
        return sum(self._sizes)

    def batches(self, most: int) -> Iterator[list[tuple[str, int]]]:
        """Yield all packs in order, as names and sizes, so many at a time."""
        for begin in range(0, len(self), most):
            yield [self._at(number) for number in range(begin, min(len(self), begin + most))]

    def _at(self, number: int) -> tuple[str, int]:
        row = self._rows[number * _ROW : (number + 1) * _ROW]
        return layout.pack_name(row[0], bytes(row[1:])), self._sizes[number]
