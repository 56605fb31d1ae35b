"""Nodes with several names (hard links) of which one part of a backup in shards has met some only.

Rule of the file: it notes which entries they are; what is done about them is ``joining``'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np

Node = tuple[int, int]
"""Device and inode."""


class LinkRow(NamedTuple):
    """An entry of a part, by its place in it: a name of a node. ``trusted``: its content is in an earlier part."""

    place: int
    node: Node
    trusted: bool


class LinkRows(msgspec.Struct, frozen=True, array_like=True):
    """Rows as columns, little-endian: places (u32, each as its distance from the one before), devices, inodes (u64)."""

    steps: bytes = b""
    devices: bytes = b""
    inodes: bytes = b""
    trusted: bytes = b""

    def rows(self) -> Iterator[LinkRow]:
        """Yield the rows in the order of the entries. ValueError unless the columns have the same length."""
        places = np.cumsum(np.frombuffer(self.steps, "<u4"), dtype=np.int64).tolist()
        devices = np.frombuffer(self.devices, "<u8").tolist()
        inodes = np.frombuffer(self.inodes, "<u8").tolist()
        for place, device, inode, trusted in zip(places, devices, inodes, self.trusted, strict=True):
            yield LinkRow(place, (device, inode), bool(trusted))


class LinkLog:
    """Every name of such nodes that went into a part. It grows with the number of these names. One thread."""

    def __init__(self) -> None:
        self._rows: list[LinkRow] = []
        self._names: dict[Node, int] = {}  # how many a node has that were not met here

    def note(self, place: int, node: Node, *, names: int, trusted: bool = False) -> None:
        """Note an entry; ``names`` is how many the node had in all when the scan met it."""
        self._rows.append(LinkRow(place, node, trusted))
        self._names[node] = self._names.get(node, names) - 1

    def incomplete(self) -> LinkRows:
        """Return the entries whose nodes may have names in other parts as well."""
        rows = [row for row in self._rows if self._names[row.node] > 0]
        places = np.array([row.place for row in rows], dtype=np.int64)
        return LinkRows(
            np.diff(places, prepend=0).astype("<u4").tobytes(),
            np.array([row.node[0] for row in rows], dtype="<u8").tobytes(),
            np.array([row.node[1] for row in rows], dtype="<u8").tobytes(),
            bytes([row.trusted for row in rows]),
        )
