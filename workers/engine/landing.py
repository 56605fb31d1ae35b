"""The shape of what a restore makes: directories and special nodes.

Entries arrive in order, a directory before its content. The directories that are open (in the sense of the walk) form
a stack; leaving one gives back an action that sets its attributes, to be run when everything below it is done. Until
then a directory that this run made has the mode ``01700``, by which a later run knows one that a killed run has left.

Rule of the file: one thread; every name in the target is used relative to a folder descriptor of ``Folders``.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from shared.errors import SkyharborError
from shared.model.backup import ConflictRule, RestoreStats
from shared.vault.entry import Entry, EntryKind
from workers.engine.attributes import dress
from workers.engine.file_writing import Written, raise_if_full
from workers.engine.folders import Folders
from workers.engine.node_flags import FIRST_OF_FOLDERS, LAST, set_flags
from workers.engine.notices import Notices, reason, shown
from workers.engine.placing import beside_name, place
from workers.engine.xattrs import path_node

_NOT_A_NAME = frozenset({b"", b".", b".."})
_TYPES = {
    EntryKind.FIFO: stat.S_IFIFO,
    EntryKind.SOCKET: stat.S_IFSOCK,
    EntryKind.CHAR_DEVICE: stat.S_IFCHR,
    EntryKind.BLOCK_DEVICE: stat.S_IFBLK,
}

_NO_TARGET = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""Reasons for which a directory right in the target cannot be made that hold for everything else as well."""

_PRIVATE = 0o700
_UNFINISHED = 0o1700
"""A mode that nobody gives to a directory: its attributes are still to come. It is given in the moment of making."""

Action = Callable[[], None]

Spot = tuple[bytes, bytes]
"""A folder relative to the target, and a name in it."""


def is_safe(path: bytes) -> bool:
    """Tell whether an entry's path stays inside: relative, no empty, ``.`` or ``..`` part, no zero byte."""
    return _NOT_A_NAME.isdisjoint(path.split(b"/")) and b"\0" not in path


class _Level:
    """A directory of the point on the way to the current entry; ``where`` is None when nothing below it can land."""

    __slots__ = ("entry", "path", "where")

    def __init__(self, path: bytes, where: bytes | None, entry: Entry | None) -> None:
        self.path = path
        self.where = where
        self.entry = entry  # to be applied on leaving


class Landing:
    """Places everything but the content of regular files, and says where that goes."""

    def __init__(self, folders: Folders, rule: ConflictRule, notices: Notices, stats: RestoreStats) -> None:
        self._folders = folders
        self._rule = rule
        self._notices = notices
        self._stats = stats
        self._levels = [_Level(b"", b"", None)]
        # Where directories went that did not keep their name.
        self._moved: dict[bytes, bytes | None] = {}
        self.renamed: dict[bytes, Spot] = {}
        """By path: the nodes that this run made under another name, for theirs was taken."""
        # Path, spot and flags of nodes to close to changes in the end: nearly always few.
        self._closing: list[tuple[bytes, Spot, int]] = []

    def leave_for(self, path: bytes) -> Iterator[Action]:
        """Leave the directories that ``path`` is not below; yield what has to be done once their content is there."""
        while len(self._levels) > 1 and not path.startswith(self._levels[-1].path + b"/"):
            level = self._levels.pop()
            if level.entry is not None and level.where is not None:
                yield self._finisher(level.entry, level.where)

    def leave_all(self) -> Iterator[Action]:
        """Leave every directory."""
        return self.leave_for(b"")

    def spot(self, path: bytes) -> Spot | None:
        """Return folder and name where the node lands, None when something above it cannot be there.

        Directories that the point does not describe are made on the way, for the owner only.
        """
        parent, _, name = path.rpartition(b"/")
        top = self._levels[-1]
        if top.path != parent:
            for part in parent[len(top.path) :].strip(b"/").split(b"/"):
                above = self._levels[-1]
                self._step_into(_joined(above.path, part), above.where, part, None, only_above=True)
            top = self._levels[-1]
        return None if top.where is None else (top.where, name)

    def where(self, path: bytes) -> Spot | None:
        """Return where a node of the point has landed if everything above it is there and it kept its own name."""
        parent, _, name = path.rpartition(b"/")
        if not is_safe(path):
            return None
        parts, where = parent.split(b"/") if parent else [], b""
        for count, part in enumerate(parts, 1):
            source = b"/".join(parts[:count])
            moved = self._moved.get(source, _joined(where, part))
            if moved is None:
                return None
            where = moved
        return where, name

    def directory(self, entry: Entry, *, only_above: bool) -> None:
        """Enter a directory, making it when it is not there. An existing one is shared with what it holds.

        One that is ``only_above`` what was asked for never takes the place of anything.
        """
        spot = self.spot(entry.path)
        folder, name = spot or (None, entry.path.rpartition(b"/")[2])
        made = self._step_into(entry.path, folder, name, entry, only_above=only_above)
        level = self._levels[-1]
        if level.where is None:
            return
        self._stats.directories_restored += 1
        if not made and (only_above or self._rule is not ConflictRule.OVERWRITE):
            level.entry = None  # it was there: it keeps its attributes

    def note(self, written: Written) -> None:
        """Take note of where files of a batch went, and of those to close in the end."""
        for path, folder, name in written.renamed:
            self.renamed[path] = folder, name
        for path, folder, name, flags in written.closing:
            self._closing.append((path, (folder, name), flags))

    def close_to_changes(self) -> None:
        """Set the flags that forbid changes, once nothing has to be changed any more. The last thing of a restore."""
        for path, (folder, name), flags in reversed(self._closing):
            lost = ["flags"]
            with suppress(OSError), self._folders.held(folder) as at:
                node = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
                try:
                    lost = set_flags(node, flags)
                finally:
                    os.close(node)
            if lost:
                self._notices.say(path, "metadata-not-kept", ", ".join(lost))

    def count(self, name: bytes | None) -> None:
        """Count a node that got this name; None is one that was there and stays."""
        if name is None:
            self._stats.files_skipped += 1
        else:
            self._stats.files_restored += 1

    def special(self, entry: Entry, folder: bytes, name: bytes) -> bytes | None:
        """Make a symlink, FIFO, socket or device and return the name it got, None when it was not made."""
        made: bytes | None = None
        lost: list[str] = []

        def make(own: bytes) -> None:
            lost[:] = self._create(at, own, entry)

        with self._telling(entry), self._folders.held(folder) as at:
            made = place(at, name, self._rule, make)
            self.count(made)
            if made is not None and made != name:
                self.renamed[entry.path] = (folder, made)
            if lost:
                self._notices.say(entry.path, "metadata-not-kept", ", ".join(lost))
        return made

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _telling(self, entry: Entry) -> Iterator[None]:
        """Turn what the operating system refuses into a notice about the entry."""
        try:
            yield
        except IsADirectoryError:
            self._notices.say(entry.path, "target-conflict", "a directory of this name is in the way")
        except OSError as error:
            raise_if_full(error)
            privileged = error.errno == errno.EPERM and entry.kind >= EntryKind.CHAR_DEVICE
            self._notices.say(entry.path, "special-not-created" if privileged else "not-restored", reason(error))

    def _step_into(
        self, path: bytes, folder: bytes | None, name: bytes, entry: Entry | None, *, only_above: bool
    ) -> bool:
        """Push the level of a directory; return whether this run, or a killed one before it, made the directory."""
        made, where = False, None
        if folder is not None:
            try:
                made, where = self._make_folder(folder, name, entry, only_above=only_above)
            except OSError as error:
                raise_if_full(error)
                if not folder and error.errno in _NO_TARGET:
                    raise SkyharborError("target-invalid", f"{shown(path)} cannot be made: {reason(error)}") from error
                self._notices.say(path, "not-restored", f"{reason(error)}; neither is anything below it")
            else:
                if where is None:
                    self._notices.say(path, "target-conflict", "something else is in the way of this directory")
        if where != (None if folder is None else _joined(folder, name)):
            self._moved[path] = where
        self._levels.append(_Level(path, where, entry))
        return made

    def _make_folder(
        self, folder: bytes, name: bytes, entry: Entry | None, *, only_above: bool
    ) -> tuple[bool, bytes | None]:
        """Return whether the directory was made, and where it is; None when something else keeps its place."""
        mode = _PRIVATE if entry is None else _UNFINISHED
        with self._folders.held(folder) as at:
            try:
                _make_directory(at, name, mode, entry)
                return True, _joined(folder, name)
            except FileExistsError:
                there = os.stat(name, dir_fd=at, follow_symlinks=False)
                if stat.S_ISDIR(there.st_mode):
                    return entry is not None and _is_unfinished(there, entry), _joined(folder, name)
            if only_above:
                return False, self._folders.behind(folder, name)
            if self._rule is ConflictRule.SKIP:
                return False, None
            if self._rule is ConflictRule.OVERWRITE:
                os.unlink(name, dir_fd=at)
                _make_directory(at, name, mode, entry)
                return True, _joined(folder, name)
            number = 1
            while True:
                other = beside_name(name, number)
                with suppress(FileExistsError):
                    _make_directory(at, other, mode, entry)
                    return True, _joined(folder, other)
                number += 1

    def _finisher(self, entry: Entry, where: bytes) -> Action:
        def finish() -> None:
            with self._telling(entry), self._folders.held(where) as at:
                # A descriptor of its own: the mode may lock us out half-way.
                folder = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
                try:
                    lost = dress(folder, entry, os.fstat(folder))
                finally:
                    os.close(folder)
                if entry.flags & LAST:
                    self._closing.append((entry.path, (where, b"."), entry.flags & LAST))
                if lost:
                    self._notices.say(entry.path, "metadata-not-kept", ", ".join(lost))

        return finish

    def _create(self, at: int, name: bytes, entry: Entry) -> list[str]:
        if entry.kind == EntryKind.SYMLINK:
            os.symlink(entry.target, name, dir_fd=at)
        else:
            os.mknod(name, 0o600 | _TYPES[EntryKind(entry.kind)], entry.rdev, dir_fd=at)
        node = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
        try:
            return dress(path_node(node), entry, os.fstat(node))
        finally:
            os.close(node)


def _make_directory(at: int, name: bytes, mode: int, entry: Entry | None) -> None:
    os.mkdir(name, mode, dir_fd=at)
    if entry is not None and entry.flags & FIRST_OF_FOLDERS:
        with suppress(OSError):  # its finishing tries once more, and tells
            folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            try:
                set_flags(folder, entry.flags & FIRST_OF_FOLDERS)
            finally:
                os.close(folder)


def _is_unfinished(there: os.stat_result, entry: Entry) -> bool:
    """Tell whether a killed run made this directory for the entry: nobody else's directory is ever taken for one."""
    mode = stat.S_IMODE(there.st_mode) & ~stat.S_ISGID  # which it may have from the directory above
    return mode == _UNFINISHED and there.st_uid in (os.geteuid(), entry.uid)


def _joined(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
