"""The shape of what a restore makes: directories, special nodes, further names of hard-linked nodes.

Entries arrive in order, a directory before its content. The directories that are open (in the sense of the walk) form
a stack; leaving one gives back an action that sets its attributes, to be run when everything below it is done.

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
from shared.vault.entry import Entry, EntryKind, kind_of
from workers.engine.attributes import dress
from workers.engine.file_writing import FileWriting, Job, raise_if_full
from workers.engine.folders import Folders
from workers.engine.notices import Notices, reason
from workers.engine.placing import beside_name, place
from workers.engine.xattrs import path_node

_NOT_A_NAME = frozenset({b"", b".", b".."})
_TYPES = {
    EntryKind.FIFO: stat.S_IFIFO,
    EntryKind.SOCKET: stat.S_IFSOCK,
    EntryKind.CHAR_DEVICE: stat.S_IFCHR,
    EntryKind.BLOCK_DEVICE: stat.S_IFBLK,
}

Action = Callable[[], None]


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
        # Where directories went that did not keep their name, and first names that this run made itself.
        self._moved: dict[bytes, bytes | None] = {}
        self._homes: dict[bytes, tuple[bytes, bytes]] = {}

    def leave_for(self, path: bytes) -> Iterator[Action]:
        """Leave the directories that ``path`` is not below; yield what has to be done once their content is there."""
        while len(self._levels) > 1 and not path.startswith(self._levels[-1].path + b"/"):
            level = self._levels.pop()
            if level.entry is not None and level.where is not None:
                yield self._finisher(level.entry, level.where)

    def leave_all(self) -> Iterator[Action]:
        """Leave every directory."""
        return self.leave_for(b"")

    def spot(self, path: bytes) -> tuple[bytes, bytes] | None:
        """Return folder and name where the node lands, None when something above it cannot be there.

        Directories that the point does not describe are made on the way, for the owner only.
        """
        parent, _, name = path.rpartition(b"/")
        top = self._levels[-1]
        if top.path != parent:
            for part in parent[len(top.path) :].strip(b"/").split(b"/"):
                above = self._levels[-1]
                self._step_into(_joined(above.path, part), above.where, part, None)
            top = self._levels[-1]
        return None if top.where is None else (top.where, name)

    def directory(self, entry: Entry, *, only_above: bool) -> None:
        """Enter a directory, making it when it is not there. An existing one is shared with what it holds."""
        spot = self.spot(entry.path)
        folder, name = spot or (None, entry.path.rpartition(b"/")[2])
        made = self._step_into(entry.path, folder, name, entry)
        level = self._levels[-1]
        if level.where is None:
            return
        self._stats.directories_restored += 1
        if not made and (only_above or self._rule is not ConflictRule.OVERWRITE):
            level.entry = None  # it was there: it keeps its attributes

    def special(self, entry: Entry, folder: bytes, name: bytes) -> None:
        """Make a symlink, FIFO, socket or device."""
        lost: list[str] = []

        def make(own: bytes) -> None:
            lost[:] = self._create(at, own, entry)

        with self._telling(entry), self._folders.held(folder) as at:
            self._count(place(at, name, self._rule, make))
            if lost:
                self._notices.say(entry.path, "metadata-not-kept", ", ".join(lost))

    def further_name(
        self, entry: Entry, folder: bytes, name: bytes, content: Callable[[bytes], Entry | None], writing: FileWriting
    ) -> None:
        """Make one more name of a node that was restored before; with its content when its first name was not."""
        home = self._homes.get(entry.link) or self._home_of(entry.link)
        if home is not None and self._link(entry, home, folder, name):
            return
        first = content(entry.link)
        if first is None:
            self._notices.say(entry.path, "damaged", "the point does not hold the file that this is a name of")
            return
        whole = Entry(
            entry.path,
            first.kind,
            entry.mode,
            entry.uid,
            entry.gid,
            first.size,
            first.mtime_ns,
            first.ctime_ns,
            first.device,
            first.inode,
            first.chunks,
            first.target,
            first.rdev,
            b"",
            first.xattrs,
            first.holes,
        )
        self._homes[entry.link] = (folder, name)
        if whole.kind != EntryKind.FILE:
            self.special(whole, folder, name)
            return
        written = writing.write([Job(whole, folder, name)])
        self._stats.files_restored += written.files
        self._stats.files_skipped += written.skipped
        self._stats.bytes_restored += written.bytes

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _count(self, name: bytes | None) -> None:
        if name is None:
            self._stats.files_skipped += 1
        else:
            self._stats.files_restored += 1

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

    def _step_into(self, path: bytes, folder: bytes | None, name: bytes, entry: Entry | None) -> bool:
        """Push the level of a directory; return whether this call made the directory."""
        made, own = False, None
        if folder is not None:
            try:
                with self._folders.held(folder) as at:
                    made, own = self._make_folder(at, name)
            except OSError as error:
                raise_if_full(error)
                if not folder:
                    raise SkyharborError("target-invalid", f"{name!r} cannot be made: {reason(error)}") from error
                self._notices.say(path, "not-restored", f"{reason(error)}; neither is anything below it")
            else:
                if own is None:
                    self._notices.say(path, "target-conflict", "something else is in the way of this directory")
        where = None if folder is None or own is None else _joined(folder, own)
        if where != (None if folder is None else _joined(folder, name)):
            self._moved[path] = where
        self._levels.append(_Level(path, where, entry))
        return made

    def _make_folder(self, at: int, name: bytes) -> tuple[bool, bytes | None]:
        """Return whether a directory was made, and the name it has; None when something else keeps its place."""
        try:
            os.mkdir(name, 0o700, dir_fd=at)
            return True, name
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
                return False, name
        if self._rule is ConflictRule.SKIP:
            return False, None
        if self._rule is ConflictRule.OVERWRITE:
            os.unlink(name, dir_fd=at)
            os.mkdir(name, 0o700, dir_fd=at)
            return True, name
        number = 1
        while True:
            other = beside_name(name, number)
            with suppress(FileExistsError):
                os.mkdir(other, 0o700, dir_fd=at)
                return True, other
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

    def _home_of(self, first: bytes) -> tuple[bytes, bytes] | None:
        """Return where the first name landed if everything above it kept its name."""
        parent, _, name = first.rpartition(b"/")
        if not is_safe(first):
            return None
        parts, where = parent.split(b"/") if parent else [], b""
        for count, part in enumerate(parts, 1):
            source = b"/".join(parts[:count])
            moved = self._moved.get(source, _joined(where, part))
            if moved is None:
                return None
            where = moved
        return where, name

    def _link(self, entry: Entry, home: tuple[bytes, bytes], folder: bytes, name: bytes) -> bool:
        """Add a name to the node at ``home``; False when it is not the right node or cannot have one more name."""
        try:
            with self._folders.held(home[0]) as there, self._folders.held(folder) as here:
                node = os.stat(home[1], dir_fd=there, follow_symlinks=False)
                if kind_of(node.st_mode) != entry.kind or node.st_mtime_ns != entry.mtime_ns:
                    return False
                if entry.kind == EntryKind.FILE and node.st_size != entry.size:
                    return False
                self._count(self._link_to(node, home[1], there, name, here))
        except IsADirectoryError:
            self._notices.say(entry.path, "target-conflict", "a directory of this name is in the way")
        except OSError as error:
            raise_if_full(error)
            return False
        return True

    def _link_to(self, node: os.stat_result, source: bytes, there: int, name: bytes, here: int) -> bytes | None:
        with suppress(FileNotFoundError):
            now = os.stat(name, dir_fd=here, follow_symlinks=False)
            if (now.st_dev, now.st_ino) == (node.st_dev, node.st_ino):
                return None

        def make(own: bytes) -> None:
            os.link(source, own, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)

        return place(here, name, self._rule, make)


def _joined(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
