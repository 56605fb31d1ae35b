"""Which mounted file systems an item's paths are on, and which of them a journal can be trusted with.

Rule of the file: text of ``/proc/self/mountinfo``; nothing is opened.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from workers.sources.journal.messages import Place
from workers.sources.mounts import PSEUDO

TRUSTED = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs"})
"""Local file systems on which every change of a node goes through this machine's kernel and is told by fanotify."""

_MOUNTINFO = "/proc/self/mountinfo"


class Mount(NamedTuple):
    """A line of the table."""

    id: int
    parent: int
    device: int
    root: str
    path: str
    kind: str


class Layout(NamedTuple):
    """The mounts that a scan of some paths can meet, in the order of the table, and a text that changes with them."""

    mounts: tuple[Mount, ...]
    digest: str
    trusted: tuple[str, ...]
    """Folders on what a journal is trusted with: where such file systems are mounted, and paths that are on them."""

    @property
    def places(self) -> tuple[Place, ...]:
        """One place of each file system that a journal is trusted with."""
        found: dict[int, Place] = {}
        for mount in sorted(self.mounts, key=lambda one: len(one.root)):
            if mount.kind in TRUSTED:
                found.setdefault(mount.device, Place(mount.path, mount.device))
        return tuple(found.values())


def read_mounts() -> list[Mount]:
    """Return the mounts that this process sees. OSError when that cannot be told."""
    with open(_MOUNTINFO, encoding="utf-8", errors="surrogateescape") as lines:
        return [_mount(line) for line in lines]


def layout_of(roots: Sequence[str], mounts: Sequence[Mount]) -> Layout:
    """Return the mounts at, below and right above the given absolute paths.

    What is mounted below a pseudo file system is left out, unless a path begins inside of that: no scan goes there.
    """
    found = [(root, home) for root in roots if (home := home_of(root, mounts)) is not None]
    homes = {home.id for _, home in found}
    by_id = {mount.id: mount for mount in mounts}
    met: list[Mount] = []
    for mount in mounts:
        below = any(_is_below(mount.path, root) for root in roots)
        if mount.id in homes or (below and _is_reached(mount, by_id, homes)):
            met.append(mount)
    text = "\n".join(f"{os.major(m.device)}:{os.minor(m.device)} {m.root} {m.path} {m.kind}" for m in met)
    trusted = [mount.path for mount in met if mount.kind in TRUSTED]
    trusted += [root for root, home in found if home.kind in TRUSTED]  # maybe in a subvolume, with a device of its own
    return Layout(tuple(met), hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest(), tuple(trusted))


def _is_reached(mount: Mount, by_id: dict[int, Mount], homes: Iterable[int]) -> bool:
    above = by_id.get(mount.parent)
    while above is not None and above.id not in homes:
        if above.kind.encode() in PSEUDO:
            return False
        above = by_id.get(above.parent) if above.parent != above.id else None
    return True


def home_of(path: str, mounts: Sequence[Mount]) -> Mount | None:
    """Return the mount that a path is on; of several at one place the last one covers the others."""
    best = None
    for mount in mounts:
        if (path == mount.path or _is_below(path, mount.path)) and (best is None or len(mount.path) >= len(best.path)):
            best = mount
    return best


def _is_below(path: str, other: str) -> bool:
    return path != other and path.startswith(other.rstrip("/") + "/")


def _mount(line: str) -> Mount:
    before, _, after = line.partition(" - ")
    fields = before.split(" ")
    major, minor = fields[2].split(":")
    return Mount(
        id=int(fields[0]),
        parent=int(fields[1]),
        device=os.makedev(int(major), int(minor)),
        root=_plain(fields[3]),
        path=_plain(fields[4]),
        kind=after.split(" ", 1)[0],
    )


def _plain(text: str) -> str:
    r"""Return a path in which the kernel's ``\040`` and its like are what they stand for."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
