"""Further names of nodes that have several (hard links).

A name is only ever added to a node that this run made or that was proven to be the one of the point: a file that
merely looks like it would lend its bytes to all other names. Where there is no such node the name gets the content
itself, and the names after it are added to that.

Rule of the file: one thread, the landing's; every name is relative to a folder descriptor of ``Folders``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

import msgspec

from shared.model.backup import ConflictRule, RestoreStats
from shared.vault.entry import Entry, EntryKind, kind_of
from workers.engine.file_writing import FileWriting, Job, raise_if_full
from workers.engine.folders import Folders
from workers.engine.landing import Landing, Spot
from workers.engine.notices import Notices
from workers.engine.placing import place


class FurtherNames:
    """Makes further names; each is asked for after its first name was written.

    ``content`` returns the entry of a first name, None when the point does not hold it.
    """

    def __init__(
        self,
        *,
        folders: Folders,
        rule: ConflictRule,
        notices: Notices,
        stats: RestoreStats,
        landing: Landing,
        writing: FileWriting,
        content: Callable[[bytes], Entry | None],
    ) -> None:
        self._folders = folders
        self._rule = rule
        self._notices = notices
        self._stats = stats
        self._landing = landing
        self._writing = writing
        self._content = content
        # By first name: a node that this run made or proved. It grows with the number of nodes with several names.
        self._homes: dict[bytes, Spot] = {}

    def make(self, entry: Entry, folder: bytes, name: bytes) -> None:
        """Make one more name of a node."""
        if self._rule is ConflictRule.SKIP and self._is_there(folder, name):
            self._stats.files_skipped += 1
            return
        home = self._homes.get(entry.link)
        if home is not None and self._link(entry, home, folder, name):
            return
        first = self._content(entry.link)
        if first is None:
            self._notices.say(entry.path, "damaged", "the point does not hold the file that this is a name of")
            return
        if home is None:
            home = self._prove(first)
            if home is not None and self._link(entry, home, folder, name):
                return
        self._write(entry, first, folder, name)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _is_there(self, folder: bytes, name: bytes) -> bool:
        with suppress(OSError), self._folders.held(folder) as at:
            os.stat(name, dir_fd=at, follow_symlinks=False)
            return True
        return False

    def _prove(self, first: Entry) -> Spot | None:
        """Return where the first name is, if it is certain that what is there is the node of the point."""
        home = self._landing.renamed.get(first.path)
        if home is None:
            home = self._landing.where(first.path)
            if home is None or not self._is_node(home, first):
                return None
        self._homes[first.path] = home
        return home

    def _is_node(self, home: Spot, first: Entry) -> bool:
        with suppress(OSError), self._folders.held(home[0]) as at:
            if first.kind == EntryKind.FILE:
                return self._writing.holds(at, home[1], first)
            there = os.stat(home[1], dir_fd=at, follow_symlinks=False)
            if first.kind == EntryKind.SYMLINK and os.readlink(home[1], dir_fd=at) != first.target:
                return False
            return (
                kind_of(there.st_mode) == first.kind
                and there.st_mtime_ns == first.mtime_ns
                and (first.kind < EntryKind.CHAR_DEVICE or there.st_rdev == first.rdev)
            )
        return False

    def _link(self, entry: Entry, home: Spot, folder: bytes, name: bytes) -> bool:
        """Add a name to the node at ``home``; False when it cannot have one more."""
        try:
            with self._folders.held(home[0]) as there, self._folders.held(folder) as here:
                self._landing.count(self._link_to(home[1], there, name, here))
        except IsADirectoryError:
            self._notices.say(entry.path, "target-conflict", "a directory of this name is in the way")
        except OSError as error:
            raise_if_full(error)
            return False
        return True

    def _link_to(self, source: bytes, there: int, name: bytes, here: int) -> bytes | None:
        if self._rule is not ConflictRule.RENAME:
            with suppress(FileNotFoundError):
                now = os.stat(name, dir_fd=here, follow_symlinks=False)
                if os.path.samestat(now, os.stat(source, dir_fd=there, follow_symlinks=False)):
                    return None

        def make(own: bytes) -> None:
            os.link(source, own, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)

        return place(here, name, self._rule, make)

    def _write(self, entry: Entry, first: Entry, folder: bytes, name: bytes) -> None:
        """Give the name the content itself."""
        whole = msgspec.structs.replace(first, path=entry.path, mode=entry.mode, uid=entry.uid, gid=entry.gid, link=b"")
        if whole.kind != EntryKind.FILE:
            made = self._landing.special(whole, folder, name)
        else:
            written = self._writing.write([Job(whole, folder, name)])
            self._stats.files_restored += written.files
            self._stats.files_skipped += written.skipped
            self._stats.bytes_restored += written.size
            for notice in written.notices:
                self._notices.add(notice)
            self._landing.note(written)
            made = self._landing.renamed.get(whole.path, (folder, name))[1] if written.files else None
        if made is not None:
            self._homes[first.path] = (folder, made)
