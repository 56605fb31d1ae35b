"""The disks that are served: which files of a point they are, and by what names they are asked for.

Rule of the file: what is a disk is decided before anything listens.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.errors import SkyharborError
from shared.vault.entry import Entry, EntryKind
from shared.vault.reader import PointReader
from workers.engine.notices import shown
from workers.images.chunk_cache import ChunkCache
from workers.images.image import Image, open_image
from workers.serving.complaints import Complaints
from workers.serving.tree import Tree

_DISK = b".raw"
_LONGEST_NAME = 4096  # of the protocol


@dataclass(frozen=True, slots=True)
class Export:
    """One disk."""

    name: str
    path: bytes
    image: Image
    description: str


class Exports:
    """The disks in their order. The first one is the default, which has the empty name as well."""

    def __init__(self, exports: Sequence[Export]) -> None:
        self._by_name = {export.name: export for export in exports}
        self._first = exports[0]

    def __iter__(self) -> Iterator[Export]:
        return iter(self._by_name.values())

    def find(self, name: str) -> Export | None:
        """Return the disk of a name, None when there is none."""
        return self._by_name.get(name) if name else self._first


def choose_exports(reader: PointReader, paths: Sequence[bytes], complaints: Complaints) -> Exports:
    """Return the files at these paths as disks, or the disks at the top of the point (``disk0.raw`` is ``disk0``).

    Raises ``path-not-in-point``, ``bad-request`` for what is no file, and when there is nothing that looks like a disk.
    """
    tree = Tree(reader)
    found = {_name(path): _file(tree, path) for path in paths} if paths else _disks(tree)
    if not found:
        raise SkyharborError(
            "bad-request",
            "this point has no disks (files such as /disk0.raw)",
            hint="Name the files to serve with --path, such as an image in a folder that is protected.",
        )
    cache, body = ChunkCache(reader.chunks), reader.body
    told = f"{body.item_name} of {body.machine_name}, point {reader.point.point_id} of {body.sealed_at[:19]} UTC"
    tell, workload = complaints.about, body.workload
    return Exports(
        [
            Export(name, entry.path, open_image(entry, cache, tell, workload=workload), told)
            for name, entry in found.items()
        ]
    )


def _disks(tree: Tree) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for child in tree.children(b""):
        if isinstance(child, SkyharborError):
            raise child
        if child.entry is not None and child.entry.kind == EntryKind.FILE and child.name.endswith(_DISK):
            found[_name(child.name.removesuffix(_DISK))] = tree.with_content(child.entry)
    return found


def _file(tree: Tree, path: bytes) -> Entry:
    entry = tree.find(path)
    if entry is None:
        raise SkyharborError("path-not-in-point", shown(path))
    if entry.kind != EntryKind.FILE:
        raise SkyharborError("bad-request", f"{shown(path)} is no regular file")
    return tree.with_content(entry)


def _name(path: bytes) -> str:
    name = path.decode("utf-8", "backslashreplace")
    if len(os.fsencode(name)) > _LONGEST_NAME:
        raise SkyharborError("bad-request", f"{name[:40]}… is too long for the name of a disk")
    return name
