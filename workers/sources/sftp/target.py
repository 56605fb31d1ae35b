"""A folder of an SSH server as the target of a restore.

A file is written under a hidden name and gets its own when it is complete. SFTP deletes nothing by itself: a restore
that is killed may leave a hidden file ``.skyharbor-…``.

Rule of the file: what is lost on the way is done once more over a new line; the rest is said in words.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

import asyncssh

from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from shared.vault.entry import Entry
from workers.engine.placing import beside_name
from workers.sources.sftp.line import Act, SshLine
from workers.sources.sftp.server import SftpServer
from workers.sources.shares.filling import placed
from workers.sources.shares.lines import LineLost
from workers.sources.shares.target import Landed, NotDone, OpenChunks, as_target

_T = TypeVar("_T")
_PIECE = 261_120
_WINDOW = 32
_NO_ROOM = 64 * 1024
_SETUID_SETGID = 0o6000


class SftpTarget:
    """The landing's ``FarTarget`` on a server."""

    def __init__(self, server: SftpServer) -> None:
        self._server = server

    def make_folder(self, path: bytes) -> bool:
        """Make a folder unless it is there."""

        async def made(sftp: asyncssh.SFTPClient) -> bool:
            if await sftp.isdir(b"/" + path):
                return False
            await sftp.mkdir(b"/" + path)
            return True

        return self._do(made)

    def dress_folder(self, path: bytes, entry: Entry) -> list[str]:
        """Give a folder owner, mode and time."""
        return self._do(lambda sftp: _dress(sftp, b"/" + path, entry))

    def exists(self, path: bytes) -> bool:
        """Tell whether there is a node of this name."""

        async def there(sftp: asyncssh.SFTPClient) -> bool:
            try:
                await sftp.lstat(b"/" + path)
            except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
                return False
            return True

        return self._do(there)

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
        for last in (False, True):
            try:
                line = self._server.line()
                return self._written(line, folder, name, entry, chunks, rule, check)
            except LineLost as error:
                if last:
                    raise as_target(self._server.gone(error)) from error
            except asyncssh.SFTPError as error:
                raise self._refused(error, folder) from error
            except SkyharborError as error:
                raise as_target(error) from error
        raise AssertionError

    def link(self, folder: bytes, name: bytes, entry: Entry, rule: ConflictRule) -> Landed:
        """Make a symlink; it keeps neither owner nor time, which SFTP cannot give to one."""
        hidden = _at(folder, _hidden_name())

        async def made(sftp: asyncssh.SFTPClient) -> Landed:
            await sftp.symlink(entry.target, hidden)
            return Landed(await _publish(sftp, hidden, folder, name, rule), [])

        return self._do(made)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _written(
        self,
        line: SshLine,
        folder: bytes,
        name: bytes,
        entry: Entry,
        chunks: OpenChunks,
        rule: ConflictRule,
        check: Callable[[], None],
    ) -> Landed:
        hidden = _at(folder, _hidden_name())

        async def opened(sftp: asyncssh.SFTPClient) -> asyncssh.SFTPClientFile:
            return await sftp.open(hidden, "xb", asyncssh.SFTPAttrs(permissions=0o600), block_size=0)

        file = line.call(opened)
        try:
            _fill(line, file, entry, chunks, check)

            async def finished(sftp: asyncssh.SFTPClient) -> Landed:
                await file.close()
                lost = await _dress(sftp, hidden, entry)
                return Landed(await _publish(sftp, hidden, folder, name, rule), lost)

            return line.call(finished)
        except BaseException:
            with suppress(LineLost, asyncssh.SFTPError):
                line.call(lambda sftp: sftp.unlink(hidden))
            raise

    def _do(self, act: Act[_T]) -> _T:
        try:
            return self._server.over(act)
        except asyncssh.SFTPError as error:
            raise self._refused(error, b"") from error
        except SkyharborError as error:
            raise as_target(error) from error

    def _refused(self, error: asyncssh.SFTPError, folder: bytes) -> Exception:
        """Return what is to be said: OpenSSH has one word for a full disk and for much else, so we look."""
        if isinstance(error, asyncssh.SFTPNoSpaceOnFilesystem | asyncssh.SFTPQuotaExceeded) or (
            isinstance(error, asyncssh.SFTPFailure) and self._is_full(folder)
        ):
            return SkyharborError("target-full", f"{self._server.address.text}: the disk is full")
        words = {
            asyncssh.SFTPPermissionDenied: "access denied",
            asyncssh.SFTPNoSuchFile: "its folder is not there",
            asyncssh.SFTPFailure: "the server refused, and does not say why (a node in the way?)",
        }
        return NotDone(words.get(type(error)) or error.reason or type(error).__name__)

    def _is_full(self, folder: bytes) -> bool:
        try:
            told = self._server.over(lambda sftp: sftp.statvfs(b"/" + folder))
        except (asyncssh.SFTPError, SkyharborError):
            return False
        return told.bavail * told.frsize < _NO_ROOM


def _hidden_name() -> bytes:
    return b".skyharbor-" + secrets.token_hex(8).encode()


def _at(folder: bytes, name: bytes) -> bytes:
    return b"/" + folder + b"/" + name if folder else b"/" + name


def _fill(
    line: SshLine, file: asyncssh.SFTPClientFile, entry: Entry, chunks: OpenChunks, check: Callable[[], None]
) -> None:
    """Write a file's data between its holes, many requests at once."""
    under_way: deque[Future[int]] = deque()
    for at, piece in placed(entry, chunks(), most=_PIECE):
        check()
        under_way.append(line.begin(_writing(file, bytes(piece), at)))
        if len(under_way) >= _WINDOW:
            line.result(under_way.popleft())
    while under_way:
        line.result(under_way.popleft())
    if entry.holes:
        line.call(lambda _: file.truncate(entry.size))


def _writing(file: asyncssh.SFTPClientFile, data: bytes, at: int) -> Act[int]:
    async def write(_: asyncssh.SFTPClient) -> int:
        return await file.write(data, at)

    return write


async def _dress(sftp: asyncssh.SFTPClient, path: bytes, entry: Entry) -> list[str]:
    """Give owner, mode and time, in this order; return what could not be given, in words."""
    lost = []
    mode = entry.mode
    try:
        await sftp.setstat(path, asyncssh.SFTPAttrs(uid=entry.uid, gid=entry.gid))
    except asyncssh.SFTPError:
        there = await sftp.stat(path)
        if (there.uid, there.gid) != (entry.uid, entry.gid):
            lost.append("owner")
            mode &= ~_SETUID_SETGID  # they would serve the wrong user
    seconds = max(0, entry.mtime_ns // 1_000_000_000)
    for what, attrs in (
        ("mode", asyncssh.SFTPAttrs(permissions=mode)),
        ("times", asyncssh.SFTPAttrs(atime=seconds, mtime=seconds)),
    ):
        try:
            await sftp.setstat(path, attrs)
        except asyncssh.SFTPError:
            lost.append(what)
    return lost


async def _publish(
    sftp: asyncssh.SFTPClient, hidden: bytes, folder: bytes, name: bytes, rule: ConflictRule
) -> bytes | None:
    """Give a finished node its name by the rule; None, and nothing is left of it, when an existing one was kept."""
    try:
        if rule is ConflictRule.OVERWRITE:
            await sftp.posix_rename(hidden, _at(folder, name))
            return name
        number = 0
        wanted = name
        while True:
            if not await _is_there(sftp, _at(folder, wanted)):
                await sftp.rename(hidden, _at(folder, wanted))  # which fails when somebody was faster
                return wanted
            if rule is ConflictRule.SKIP:
                await sftp.unlink(hidden)
                return None
            number += 1
            wanted = beside_name(name, number)
    except asyncssh.SFTPError:
        with suppress(asyncssh.SFTPError):
            await sftp.unlink(hidden)
        raise


async def _is_there(sftp: asyncssh.SFTPClient, path: bytes) -> bool:
    try:
        await sftp.lstat(path)
    except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
        return False
    return True
