"""Which trees an item's paths are: each node is protected once, whatever the paths have in common.

Rule of the file: a point holds every path once, so what lies behind a symlink of another protected tree is protected
where it really is, and that is said.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

from shared.errors import SkyharborError
from shared.model.backup import Notice
from workers.engine.notices import shown


class Roots(NamedTuple):
    """The trees to walk, where all the given paths really are, and what has to be said. Absolute raw paths, sorted."""

    walked: list[bytes]
    """None is below another."""
    given: list[bytes]
    """Those, and the given ones that belong to the tree of another."""
    notices: list[Notice]


def roots_of(paths: Sequence[str]) -> Roots:
    """Return which trees the given paths are.

    A path below another one belongs to that one's tree, unless there is a symlink between them: a tree ends there.
    Raises ``source-missing`` for no path at all and for relative ones.
    """
    given = sorted({b"/" + os.fsencode(path).strip(b"/") for path in paths if path.startswith("/")})
    if not given or not all(path.startswith("/") for path in paths):
        raise SkyharborError("source-missing", "an item needs absolute paths")
    places = {path: _place(path, given) for path in given}
    notices = [
        Notice(shown(path[1:]), "behind-symlink", f"a symlink leads to it, so it is protected as {shown(place[1:])}")
        for path, place in places.items()
        if place != path
    ]
    every = sorted(set(places.values()))
    walked = [path for path in every if not any(is_below(path, other) for other in every)]
    return Roots(walked, every, notices)


def real_place(root: str) -> str:
    """Return where a protected path is, without symlinks above it: one at its end is the protected thing itself."""
    parent, _, name = root.rpartition("/")
    return os.path.realpath(parent or "/").rstrip("/") + "/" + name


def is_below(path: bytes, other: bytes) -> bool:
    """Tell by the text of two absolute paths whether the first is inside of the second."""
    return path != other and path.startswith(other.rstrip(b"/") + b"/")


def _place(path: bytes, given: Sequence[bytes]) -> bytes:
    """Return the path under which a tree is walked: its own, or the real one when another tree does not reach it."""
    parent, _, name = path.rpartition(b"/")
    for other in given:
        if is_below(path, other) and _has_symlink(other, parent):
            return os.path.realpath(parent).rstrip(b"/") + b"/" + name
    return path


def _has_symlink(top: bytes, folder: bytes) -> bool:
    """Tell whether ``top`` or a directory between it and ``folder``, or that one, is a symlink."""
    at = top.rstrip(b"/")
    for part in [b"", *folder[len(at) :].strip(b"/").split(b"/")]:
        at = at + b"/" + part if part else at
        try:
            if stat.S_ISLNK(os.lstat(at or b"/").st_mode):
                return True
        except OSError:
            return False  # nothing there now: if it comes, the tree above has it
    return False
