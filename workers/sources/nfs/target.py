"""A folder of an NFS server as the target of a restore.

A file is written under a hidden name and gets its own when it is complete and on the server's disk. NFS deletes nothing
by itself: a restore that is killed may leave a hidden file ``.skyharbor-…``.

Rule of the file: what is lost on the way is done once more over a new line; the rest is said in words.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from shared.vault.entry import Entry, EntryKind
from workers.engine.placing import beside_name, temporary_name
from workers.sources.nfs.context import Context
from workers.sources.nfs.line import NfsLine
from workers.sources.nfs.server import NfsServer, words
from workers.sources.shares.filling import placed
from workers.sources.shares.lines import LineLost
from workers.sources.shares.target import Landed, NotDone, OpenChunks, as_target

_T = TypeVar("_T")
_PIECE = 1024 * 1024
_UNSETTLED = 64 * 1024 * 1024
"""Bytes that a server may have to put on its disk at once: it has to be done within the time of one answer."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ERANGE})
"""libnfs says ERANGE for a quota that is used up."""
_NO_LINKS = frozenset({errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV})
_SETUID_SETGID = 0o6000
_TYPES = {
    EntryKind.FIFO: stat.S_IFIFO,
    EntryKind.SOCKET: stat.S_IFSOCK,
    EntryKind.CHAR_DEVICE: stat.S_IFCHR,
    EntryKind.BLOCK_DEVICE: stat.S_IFBLK,
}

Make = Callable[[bytes], None]
"""Makes a complete node under a path; ``FileExistsError`` when something is there."""


class NfsTarget:
    """The landing's ``FarTarget``, and its ``FarMaker``, on a server. Paths are those below the mounted export."""

    def __init__(self, server: NfsServer) -> None:
        self._server = server

    def make_folder(self, path: bytes) -> bool:
        """Make a folder unless it is there."""
        return self._do(lambda context: _make_folder(context, b"/" + path))

    def dress_folder(self, path: bytes, entry: Entry) -> list[str]:
        """Give a folder owner, mode and time."""
        return self._do(lambda context: _dress(context, b"/" + path, entry))

    def exists(self, path: bytes) -> bool:
        """Tell whether there is a node of this name."""
        return self._do(lambda context: _exists(context, b"/" + path))

    def write(
        self,
        folder: bytes,
        name: bytes,
        entry: Entry,
        chunks: OpenChunks,
        rule: ConflictRule,
        check: Callable[[], None],
    ) -> Landed:
        """Write a file under a hidden name and give it its own when it is complete."""
        hidden, tries = _at(folder, temporary_name()), 0

        def written(context: Context) -> Landed:
            nonlocal tries
            tries += 1
            if tries > 1:  # what was there when the line was lost can only be removed over another one
                with suppress(FileNotFoundError):
                    context.unlink(hidden)
            try:
                _write(context, hidden, entry, chunks, check)
                lost = _dress(context, hidden, entry)
                return Landed(_publish(context, hidden, folder, name, rule), lost)
            except LineLost:
                raise
            except BaseException:
                with suppress(OSError):
                    context.unlink(hidden)
                raise

        return self._do(written)

    def link(self, folder: bytes, name: bytes, entry: Entry, rule: ConflictRule) -> Landed:
        """Make a symlink."""
        return self._make(folder, name, entry, rule, lambda context, path: context.symlink(entry.target, path))

    def special(self, folder: bytes, name: bytes, entry: Entry, rule: ConflictRule) -> Landed:
        """Make a FIFO, a socket or a device."""
        mode = _TYPES[EntryKind(entry.kind)] | 0o600
        return self._make(folder, name, entry, rule, lambda context, path: context.mknod(path, mode, entry.rdev))

    def further_name(self, first: bytes, folder: bytes, name: bytes, rule: ConflictRule) -> Landed:
        """Give a node that this restore made a further name."""
        return self._do(
            lambda context: Landed(
                _placed(context, folder, name, rule, lambda path: context.link(b"/" + first, path)), []
            )
        )

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _make(
        self, folder: bytes, name: bytes, entry: Entry, rule: ConflictRule, make: Callable[[Context, bytes], None]
    ) -> Landed:
        def made(context: Context) -> Landed:
            lost: list[str] = []

            def make_dressed(path: bytes) -> None:
                make(context, path)
                lost[:] = _dress(context, path, entry)

            return Landed(_placed(context, folder, name, rule, make_dressed), lost)

        return self._do(made)

    def _do(self, act: Callable[[Context], _T]) -> _T:
        def done(line: NfsLine) -> _T:
            return line.call(act)

        try:
            return self._server.ask(done)
        except OSError as error:
            if error.errno in _FULL:
                raise SkyharborError("target-full", f"{self._server.address.text}: {words(error)}") from error
            raise NotDone(words(error)) from error
        except SkyharborError as error:
            raise as_target(error) from error


def _at(folder: bytes, name: bytes) -> bytes:
    return b"/" + folder + b"/" + name if folder else b"/" + name


def _exists(context: Context, path: bytes) -> bool:
    try:
        context.lstat(path)
    except FileNotFoundError:
        return False
    return True


def _make_folder(context: Context, path: bytes) -> bool:
    """Make a folder, for its owner only; a symlink in its place is none, whatever it leads to."""
    try:
        context.mkdir(path, 0o700)
        return True
    except OSError as error:
        try:
            there = context.lstat(path)[2]
        except OSError:
            raise error from None
        if not stat.S_ISDIR(there):
            raise NotDone("something else is in the way of this folder") from error
        return False


def _write(context: Context, path: bytes, entry: Entry, chunks: OpenChunks, check: Callable[[], None]) -> None:
    handle, unsettled = context.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), 0
    try:
        for at, piece in placed(entry, chunks(), most=_PIECE):
            check()
            context.pwrite(handle, bytes(piece), at)
            unsettled += len(piece)
            if unsettled >= _UNSETTLED:
                context.fsync(handle)
                unsettled = 0
        if entry.holes:
            context.ftruncate(handle, entry.size)
        context.fsync(handle)
    finally:
        context.release(handle)
    if context.was_redialled():  # a server that was started again has forgotten what it had not put on its disk
        raise LineLost("the connection was lost while a file was written")


def _dress(context: Context, path: bytes, entry: Entry) -> list[str]:
    """Give owner, mode and time, in this order; return what could not be given, in words."""
    lost = []
    mode = entry.mode
    try:
        context.chown(path, entry.uid, entry.gid)
    except OSError:
        there = context.lstat(path)
        if there[4:6] != (entry.uid, entry.gid):
            lost.append("owner")
            mode &= ~_SETUID_SETGID  # they would serve the wrong user
    if entry.kind != EntryKind.SYMLINK:
        try:
            context.chmod(path, mode)
        except OSError:
            lost.append("mode")
    try:
        context.utimes(path, entry.mtime_ns)
    except OSError:
        lost.append("times")
    return lost


def _publish(context: Context, hidden: bytes, folder: bytes, name: bytes, rule: ConflictRule) -> bytes | None:
    """Give a finished file its name by the rule; None, and nothing is left of it, when an existing one was kept."""
    if rule is ConflictRule.OVERWRITE:
        context.rename(hidden, _at(folder, name))
        return name

    def make(path: bytes) -> None:
        try:
            context.link(hidden, path)
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if _exists(context, path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
            context.rename(hidden, path)

    made = _placed(context, folder, name, rule, make)
    with suppress(FileNotFoundError):
        context.unlink(hidden)
    return made


def _placed(context: Context, folder: bytes, name: bytes, rule: ConflictRule, make: Make) -> bytes | None:
    """Make a node under a name by the rule and return the name it got, None when an existing one was kept."""
    if rule is ConflictRule.OVERWRITE:
        hidden = _at(folder, temporary_name())
        make(hidden)
        try:
            context.rename(hidden, _at(folder, name))
        except BaseException:
            with suppress(OSError):
                context.unlink(hidden)
            raise
        return name
    number, wanted = 0, name
    while True:
        try:
            make(_at(folder, wanted))
            return wanted
        except FileExistsError:
            if rule is ConflictRule.SKIP:
                return None
        number += 1
        wanted = beside_name(name, number)
