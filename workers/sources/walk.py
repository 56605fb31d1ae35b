"""Walks the protected paths depth-first, in the order of a recovery point.

Names are sorted by their bytes within each directory, which gives exactly the order of ``sort_key``; memory grows with
depth and with the largest directory's list of names, not with the tree. Directories are opened from the one above them
and read through descriptors; in very deep trees those of the upper levels are closed and opened again on the way back.

Rule of the file: it looks and never reads content. The inner loop runs once per protected file, every time: what can be
done once per directory or per block is done there.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from operator import length_hint

from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.entry import sort_key
from workers.engine.notices import reason, shown, unreadable
from workers.engine.ports import Found, Unchanged, Unreadable
from workers.engine.seen import FIRST_TIME, LAST_TIME
from workers.engine.span import EVERYTHING, Span
from workers.sources.journal.changes import Changes
from workers.sources.mounts import PSEUDO, filesystem_type
from workers.sources.nodes import Nodes
from workers.sources.roots import is_below
from workers.sources.rules import Rules

_ENCODING = sys.getfilesystemencoding()
_ERRORS = sys.getfilesystemencodeerrors()
_OPEN_FOLDERS = 64
_BLOCK = 1024


Walking = Generator[Found | Notice | Unchanged, bool | None, None]


class _Folder:
    """A directory on the way: what is left of its names, and its descriptor unless that was closed to save some."""

    __slots__ = ("device", "fd", "fresh", "inode", "names", "path", "prefix")

    def __init__(self, path: bytes, device: int, inode: int, fd: int, rules: Rules, span: Span) -> None:
        self.path = path
        self.fresh = False
        self.prefix = path + b"/" if path else b""
        self.device = device
        self.inode = inode
        self.fd: int | None = fd
        names = _names(fd)
        kept = rules.kept(path, names, fd) if rules.judge_folders else names
        if not span.everything and not span.covers(path):
            # The rules judge the whole directory; what they left out of it counts where it would have been.
            gone = [] if kept is names else sorted(set(names).difference(kept))
            rules.excluded -= sum(not span.holds(self.prefix + name) for name in gone)
            kept = [name for name in kept if span.reaches(self.prefix + name)]
        self.names = iter(kept)

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def _names(fd: int) -> list[bytes]:
    # One call for all of them: a name holds anything but a zero byte.
    joined = "\0".join(os.listdir(fd)).encode(_ENCODING, _ERRORS)
    return sorted(joined.split(b"\0")) if joined else []


class Walk:
    """One scan of the given roots (absolute raw paths, none below another), without the folders to leave out.

    Of folders that a border of the ``span`` lies in, only the names that may lead into the span are looked at. With
    ``changes``, folders in which nothing has changed are offered as they are.
    """

    def __init__(
        self,
        roots: Sequence[bytes],
        rules: Rules,
        nodes: Nodes,
        *,
        leave_out: Sequence[bytes] = (),
        span: Span = EVERYTHING,
        changes: Changes | None = None,
        snapshots: Mapping[int, int] | None = None,
    ) -> None:
        self._span = span
        self._snapshots = snapshots or {}
        self._changes = changes if span.everything else None
        self._on_the_way = bool(span.begin)
        self._roots = sorted(roots, key=lambda root: sort_key(root[1:]))
        self._rules = rules
        self._nodes = nodes
        self._pseudo: dict[int, bool] = {}
        self._leave_out = leave_out
        self._left_out: set[tuple[int, int]] = set()  # device and inode: whatever path leads there
        self._paths: list[bytes] = []
        self._stats: list[os.stat_result] = []
        self._notices: list[Notice] = []
        self._offered = False

    def __iter__(self) -> Walking:
        for root in self._roots:
            _must_exist(root, self._nodes.places.of(root[1:]))
        for folder in self._leave_out:
            with suppress(OSError):  # not there, or nobody can enter it by this name
                info = os.stat(folder)
                self._left_out.add((info.st_dev, info.st_ino))
                self._left_out |= {(one, info.st_ino) for one, of in self._snapshots.items() if of == info.st_dev}
        told: set[bytes] = set()
        for root in self._roots:
            self._ancestors(root, told)
            if self._span.reaches(root[1:]):
                yield from self._root(root)
        yield from self._block()

    def _block(self) -> Iterator[Found | Notice]:
        """Hand over what was met so far."""
        if self._on_the_way:
            self._forget_the_way()
        if self._stats:
            times = [info.st_mtime_ns for info in self._stats]
            if min(times) <= FIRST_TIME or max(times) >= LAST_TIME:
                odd = (path for path, at in zip(self._paths, times, strict=True) if not FIRST_TIME < at < LAST_TIME)
                self._notices += map(_out_of_time, odd)
            yield Found(self._paths, self._stats)
        yield from self._notices
        self._paths, self._stats, self._notices = [], [], []

    def _forget_the_way(self) -> None:
        """Drop the folders that only lead into the span: they come first, and belong to an earlier part."""
        count = 0
        while count < len(self._paths) and not self._span.holds(self._paths[count]):
            count += 1
        self._on_the_way = count == len(self._paths)
        del self._paths[:count], self._stats[:count]

    def _ancestors(self, root: bytes, told: set[bytes]) -> None:
        """The directories above a root, so that a restore elsewhere can give them their attributes back."""
        at = root.find(b"/", 1)
        while at > 0:
            above = root[1:at]
            if above not in told and self._span.holds(above):
                told.add(above)
                try:
                    self._stats.append(os.stat(self._nodes.places.of(above)))
                    self._paths.append(above)
                except OSError as error:
                    self._notices.append(unreadable(above, error))
            at = root.find(b"/", at + 1)

    def _root(self, root: bytes) -> Walking:
        path = root[1:]
        try:
            info = self._nodes.look(path)
        except OSError as error:
            self._notices.append(unreadable(path, error))
            return
        if self._may_offer(path, info) and not self._is_inside_left_out(root):
            yield from self._block()
            if (yield self._offer(path, info)):
                return
        if path:
            self._paths.append(path)
            self._stats.append(info)
        if stat.S_ISLNK(info.st_mode):
            message = "only the symlink itself is protected, not what it points to"
            self._notices.append(Notice(shown(path), "root-is-symlink", message))
        if self._is_inside_left_out(root):
            self._notices.append(_left_out(path))
        elif stat.S_ISDIR(info.st_mode):
            yield from self._tree(path, info)

    def _tree(self, top: bytes, info: os.stat_result) -> Walking:
        stack: list[_Folder] = []
        try:
            self._enter(stack, top, info)
            while stack:
                below = self._level(stack[-1])
                if below is not None:
                    if self._offered:
                        yield from self._block()
                        if (yield self._offer(*below)):
                            continue
                        self._paths.append(below[0])
                        self._stats.append(below[1])
                    self._enter(stack, *below)
                elif not length_hint(stack[-1].names):
                    self._leave(stack)
                if len(self._paths) >= _BLOCK or self._notices:
                    yield from self._block()
        finally:
            for folder in stack:
                folder.close()

    def _level(self, folder: _Folder) -> tuple[bytes, os.stat_result] | None:
        """Go on with a directory's names: up to the next directory to enter, which is returned, or a block's worth.

        When that one is to be offered first, ``_offered`` says so, and it is not among what was met yet.
        """
        fd, prefix, look, places = self._descriptor(folder), folder.prefix, os.stat, self._nodes.places
        changes, self._offered = self._changes if not folder.fresh else None, False
        rules = self._rules if self._rules.judge_nodes else None
        add_path, add_stat = self._paths.append, self._stats.append
        for name in islice(folder.names, _BLOCK):
            path = prefix + name
            try:
                if places.none or not (path in places.hidden or path in places.borders):
                    info = look(name, dir_fd=fd, follow_symlinks=False)
                elif path in places.hidden:
                    continue
                else:
                    info = self._nodes.look(path)
            except OSError as error:
                self._missed(path, error)
                continue
            directory = (info.st_mode & 0o170000) == 0o040000
            if rules is not None and rules.leave_out(path, info, name, fd):
                if self._on_the_way:
                    self._count_once(path)
                continue
            if directory and changes is not None and info.st_dev == folder.device and self._may_offer(path, info):
                self._offered = True
                return path, info
            add_path(path)
            add_stat(info)
            if directory and self._may_enter(path, folder.device, info):
                return path, info
        return None

    def _missed(self, path: bytes, error: OSError) -> None:
        if not self._rules.leave_out_unseen(path):
            self._notices.append(unreadable(path, error))
        elif self._on_the_way:
            self._count_once(path)

    def _count_once(self, path: bytes) -> None:
        """Take back that something was left out, when it belongs to an earlier part, which counts it as well."""
        if not self._span.holds(path):
            self._rules.excluded -= 1

    def _enter(self, stack: list[_Folder], path: bytes, info: os.stat_result) -> None:
        try:
            if stack and path not in self._nodes.places.borders:
                fd = self._nodes.open_below(self._descriptor(stack[-1]), path[len(stack[-1].prefix) :])
            else:
                fd = self._nodes.open_folder(path, info.st_dev, info.st_ino)
        except OSError as error:
            self._notices.append(unreadable(path, error))
            return
        try:
            stack.append(_Folder(path, info.st_dev, info.st_ino, fd, self._rules, self._span))
        except OSError as error:
            os.close(fd)
            self._notices.append(unreadable(path, error))
            return
        except SkyharborError:
            os.close(fd)
            raise
        if self._changes is not None:
            stack[-1].fresh = (len(stack) > 1 and stack[-2].fresh) or self._changes.key(
                info.st_dev, info.st_ino
            ) in self._changes.fresh
        if len(stack) > _OPEN_FOLDERS:
            stack[-_OPEN_FOLDERS - 1].close()

    def _leave(self, stack: list[_Folder]) -> None:
        done = stack.pop()
        if stack and stack[-1].fd is None and done.fd is not None:
            stack[-1].fd = self._nodes.open_above(done.fd, stack[-1].device, stack[-1].inode)
        done.close()

    def _descriptor(self, folder: _Folder) -> int:
        if folder.fd is None:
            folder.fd = self._nodes.open_folder(folder.path, folder.device, folder.inode)
        return folder.fd

    def _may_offer(self, path: bytes, info: os.stat_result) -> bool:
        """Tell whether nothing has changed in a node and below it since the reference: then it is a directory."""
        changes = self._changes
        if changes is None or not path or not stat.S_ISDIR(info.st_mode):
            return False
        key = changes.key(info.st_dev, info.st_ino)
        return (
            key[0] in changes.devices
            and key not in changes.look
            and key not in changes.fresh
            and key not in self._left_out
        )

    def _offer(self, path: bytes, info: os.stat_result) -> Unchanged:
        return Unchanged(path, info, self._changes.doubtful if self._changes else frozenset(), self._look)

    def _look(self, path: bytes) -> os.stat_result:
        try:
            return self._nodes.look(path)
        except OSError as error:
            raise Unreadable(unreadable(path, error)) from error

    def _may_enter(self, path: bytes, device: int, info: os.stat_result) -> bool:
        """A directory on another device is crossed into, unless it shows the kernel's insides."""
        if self._left_out and (info.st_dev, info.st_ino) in self._left_out:
            self._notices.append(_left_out(path))
            return False
        if info.st_dev == device:
            return True
        if self._rules.stay_out(path):
            if self._on_the_way:
                self._count_once(path)
            return False
        if info.st_dev not in self._pseudo:
            try:
                kind = filesystem_type(info.st_dev)
            except OSError as error:
                self._notices.append(unreadable(path, error))
                return False
            self._pseudo[info.st_dev] = kind in PSEUDO
        if self._pseudo[info.st_dev]:
            message = "a pseudo file system is mounted here; its content is not kept"
            self._notices.append(Notice(shown(path), "skipped-filesystem", message))
            return False
        return True

    def _is_inside_left_out(self, root: bytes) -> bool:
        """Tell whether a root is one of the folders to leave out, or below one."""
        at = os.path.realpath(root)
        places = [os.path.realpath(folder) for folder in self._leave_out]
        return any(at == place or is_below(at, place) for place in places)


def _out_of_time(path: bytes) -> Notice:
    return Notice(shown(path), "metadata-not-kept", "its time is outside of the years 1677 to 2262")


def _left_out(path: bytes) -> Notice:
    return Notice(shown(path), "skipped-vault", "the vault of this backup is here; a vault does not hold itself")


def _must_exist(root: bytes, place: bytes) -> None:
    try:
        os.lstat(place)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SkyharborError("source-missing", f"{shown(root[1:])}: {reason(error)}") from error
    except OSError:
        return  # it exists; that it cannot be read is said when its turn comes
