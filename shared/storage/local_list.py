"""The sorted walk through a local store's folders.

Rule of the file: memory is that of the folders on the way down, never of the whole store; no link is followed out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from shared.storage.local_files import store_errors
from shared.storage.names import TEMPORARY
from shared.storage.object_store import ObjectInfo

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# Made by mkfs at the top of a disk, readable by root only, and nobody's objects.
_HIDDEN = frozenset({TEMPORARY, "lost+found"})


@dataclass(frozen=True, slots=True)
class _Node:
    name: str  # from the root; a folder's ends in "/", which also sorts it where its content belongs
    size: int


def walk(root: int, url: str, prefix: str) -> Iterator[ObjectInfo]:
    """Yield the plain files below ``prefix`` sorted by name. Files and folders that vanish meanwhile are left out."""
    root = os.dup(root)  # the store may be closed while somebody still lists
    try:
        pending = [_Node(prefix, 0)]
        while pending:
            node = pending.pop()
            if node.name.endswith("/") or node.name == "":
                with store_errors(f"{node.name or '.'} in {url}"):
                    pending.extend(reversed(_read_folder(root, node.name)))
            else:
                yield ObjectInfo(node.name, node.size)
    finally:
        os.close(root)


def _read_folder(root: int, folder: str) -> list[_Node]:
    try:
        # Without its last slash: with it, O_NOFOLLOW would follow.
        descriptor = os.open(folder.removesuffix("/") or ".", _FOLDER, dir_fd=root)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        nodes = [node for entry in os.scandir(descriptor) if (node := _node(folder, entry)) is not None]
    finally:
        os.close(descriptor)
    return sorted(nodes, key=lambda node: node.name)


def _node(folder: str, entry: os.DirEntry[str]) -> _Node | None:
    if folder == "" and entry.name in _HIDDEN:
        return None
    if entry.is_dir(follow_symlinks=False):
        return _Node(f"{folder}{entry.name}/", 0)
    if not entry.is_file(follow_symlinks=False):
        return None
    try:
        return _Node(folder + entry.name, entry.stat(follow_symlinks=False).st_size)
    except FileNotFoundError:
        return None
