"""Real trees of files on this machine, for programs that want real input.

Rule of the file: trees are found and counted, never read or changed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

CANDIDATES = ("/usr/share", "/usr/lib", "/usr", sys.prefix)
"""Where one tree may be enough, small ones first."""

TOGETHER = ("/usr", "/opt", sys.base_prefix, sys.prefix, "/etc", "/var/lib/dpkg")
"""What is put together when no single tree is enough: programs and their data, nobody's own files."""


def find_tree(minimum: int, candidates: Sequence[str] = CANDIDATES) -> str | None:
    """Return the first candidate with at least ``minimum`` files, None when there is none."""
    return next((tree for tree in candidates if count_files(tree, enough=minimum) >= minimum), None)


def find_trees(
    minimum: int, candidates: Sequence[str] = CANDIDATES, together: Sequence[str] = TOGETHER
) -> tuple[str, ...]:
    """Return trees that have ``minimum`` files between them: one when one is enough.

    No tree is inside another. When the machine has fewer files, all trees are returned: the caller counts.
    """
    single = find_tree(minimum, candidates)
    if single is not None:
        return (single,)
    chosen: list[str] = []
    total = 0
    for tree in map(os.path.realpath, together):
        if total >= minimum:
            break
        if not os.path.isdir(tree) or any(_within(tree, other) or _within(other, tree) for other in chosen):
            continue
        chosen.append(tree)
        total += count_files(tree, enough=minimum - total)
    return tuple(chosen)


def count_files(tree: str, *, enough: int) -> int:
    """Return how many files (symlinks too) a tree has on its own file system; counting ends at ``enough``."""
    count = 0
    for _, _, names in walk(tree):
        count += len(names)
        if count >= enough:
            break
    return count


def walk(tree: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk like ``os.walk``, in the order of names and without entering other file systems."""
    try:
        device = os.lstat(tree).st_dev
    except FileNotFoundError:
        return
    for folder, folders, names in os.walk(tree):
        folders[:] = sorted(name for name in folders if _device(os.path.join(folder, name)) == device)
        yield folder, folders, sorted(names)


def _device(path: str) -> int | None:
    try:
        return os.lstat(path).st_dev
    except FileNotFoundError:
        return None


def _within(tree: str, other: str) -> bool:
    return os.path.commonpath([tree, other]) == other
