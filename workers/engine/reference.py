"""The reference point beside the scan: both are sorted, so one pass finds what is the same, new and gone.

Rule of the file: a reference can only save work. When it cannot be read any further, everything from there on is
treated as new, and that is said once.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.errors import SkyharborError
from shared.vault.entry import Entry, EntryKind, sort_key


class Reference:
    """A cursor over the entries of the point to compare with."""

    def __init__(self, entries: Iterator[Entry]) -> None:
        self._entries = entries
        self._head: Entry | None = None
        self.problem: SkyharborError | None = None
        self.removed = 0
        """Nodes other than directories that the cursor has passed and the source no longer has."""
        self._advance()

    def find(self, path: bytes) -> Entry | None:
        """Return the reference's entry for ``path``, if any. Paths must come in order; every entry is given once."""
        head = self._head
        if head is None:
            return None
        if head.path != path:
            head = self._skip_to(sort_key(path))
            if head is None or head.path != path:
                return None
        self._advance()
        return head

    def finish(self) -> None:
        """Count what is left as removed."""
        while self._head is not None:
            self._pass(self._head)

    def _skip_to(self, key: bytes) -> Entry | None:
        while self._head is not None and sort_key(self._head.path) < key:
            self._pass(self._head)
        return self._head

    def _pass(self, entry: Entry) -> None:
        if entry.kind != EntryKind.DIRECTORY:
            self.removed += 1
        self._advance()

    def _advance(self) -> None:
        try:
            self._head = next(self._entries, None)
        except SkyharborError as error:
            self.problem = error
            self._head = None


def same(found: Entry, then: Entry) -> bool:
    """Tell whether a node is unchanged as far as its columns say.

    The change time covers owner, mode, xattrs and content; nobody can set it back. The device number is left out:
    it may differ after a reboot.
    """
    return (
        found.ctime_ns == then.ctime_ns
        and found.mtime_ns == then.mtime_ns
        and found.size == then.size
        and found.inode == then.inode
        and found.kind == then.kind
    )


def equal(now: Entry, then: Entry) -> bool:
    """Tell whether a node that was read turned out to be what the reference has: only its change time moved."""
    return (
        now.chunks == then.chunks
        and now.mtime_ns == then.mtime_ns
        and now.size == then.size
        and now.kind == then.kind
        and (now.mode, now.uid, now.gid, now.rdev) == (then.mode, then.uid, then.gid, then.rdev)
        and (now.target, now.link, now.xattrs, now.holes) == (then.target, then.link, then.xattrs, then.holes)
    )
