"""What the journal remembers: which directories and nodes something happened to, and how lately.

Time is counted in marks: everything that happens between two of them counts as behind the first. For each directory
only its last time is kept, so memory grows with what changes, up to a limit behind which everything is forgotten and
all earlier marks are worth nothing.

Rule of the file: an event that is not understood makes a gap.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from workers.sources.journal.fanotify import CREATE, MOVED_TO, ONDIR, OVERFLOW, Event, Node, inode_of, open_node
from workers.sources.journal.messages import Happened

MOST = 1_000_000
"""How many directories and nodes are remembered."""

_KNOWN_SINGLE = 65_536


class Record:
    """Takes events, and tells what happened since a mark. One thread.

    ``mounts`` says where a file system is mounted, by ``f_fsid``; its owner keeps it up to date.
    """

    def __init__(self, mounts: dict[int, str]) -> None:
        self._mounts = mounts
        self._folders: dict[Node, int] = {}
        self._fresh: dict[Node, int] = {}
        self._inodes: dict[int, int] = {}
        # Nodes that were seen to have one name. Another one cannot come without an event that has no directory.
        self._single: set[Node] = set()
        self._floor = 0
        self._why = ""
        self.now = 1
        """The mark behind which whatever happens next is."""

    def mark(self) -> int:
        """Begin a new time, and return its mark."""
        self.now += 1
        return self.now

    def take(self, events: Iterable[Event]) -> None:
        """Take what has happened since the last time."""
        opened: dict[int, int] = {}
        try:
            for event in events:
                self._take(event, opened)
        finally:
            for fd in opened.values():
                os.close(fd)
        if len(self._folders) + len(self._fresh) + len(self._inodes) > MOST:
            self.forget("more has changed than the journal remembers")

    def forget(self, why: str) -> None:
        """Begin anew: every mark given so far is worth nothing."""
        self._folders, self._fresh, self._inodes, self._single = {}, {}, {}, set()
        self._floor, self._why = self.now, why

    def since(self, mark: int) -> Happened:
        """Return what happened behind a mark."""
        if mark <= self._floor:
            return Happened(gap=self._why or "it is of another time")
        return Happened(
            folders=tuple(node for node, at in self._folders.items() if at >= mark),
            fresh=tuple(node for node, at in self._fresh.items() if at >= mark),
            inodes=tuple(inode for inode, at in self._inodes.items() if at >= mark),
        )

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _take(self, event: Event, opened: dict[int, int]) -> None:
        if event.mask & OVERFLOW:
            self.forget("the kernel's queue of events overflowed")
            return
        folder, node = event.folder, event.node
        if folder is not None:
            self._folders[folder] = self.now
        if event.mask & ONDIR:
            if folder is None:
                self.forget("an event of the kernel was not understood")
            elif node is not None and event.mask & (CREATE | MOVED_TO):
                self._fresh[node] = self.now
            return
        if node is None:
            if folder is None:
                self.forget("an event of the kernel was not understood")
            return
        if folder is None:
            self._single.discard(node)  # names come and go like that, and writes by file handle
        elif node in self._single:
            return
        self._look(node, opened, named=folder is not None)

    def _look(self, node: Node, opened: dict[int, int], *, named: bool) -> None:
        """Note the inode of a node that has several names, or of which no name was told."""
        try:
            fd = open_node(self._mount(node.filesystem, opened), node.handle)
        except OSError as error:
            if error.errno == errno.ESTALE:
                return  # gone, under every name: each of them had an event of its own
            inode = inode_of(node.handle)
            if inode is None:
                self.forget(f"a changed file could not be found: {error.strerror}")
            else:
                self._inodes[inode] = self.now  # to be looked at if in doubt
            return
        try:
            info = os.fstat(fd)
        finally:
            os.close(fd)
        if info.st_nlink == 0:
            return  # in use without a name; a new one would be an event
        if info.st_nlink > 1 or not named:
            self._inodes[info.st_ino] = self.now
            return
        if len(self._single) >= _KNOWN_SINGLE:
            self._single.clear()
        self._single.add(node)

    def _mount(self, filesystem: int, opened: dict[int, int]) -> int:
        if filesystem not in opened:
            path = self._mounts.get(filesystem)
            if path is None:
                raise OSError(errno.ENODEV, "its file system is not known")
            opened[filesystem] = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if os.fstatvfs(opened[filesystem]).f_fsid != filesystem:  # another one would take every handle for stale
                raise OSError(errno.ENODEV, "its file system is mounted elsewhere by now")
        return opened[filesystem]
