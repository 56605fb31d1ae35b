"""An SSH server as a process uses it: one line for all threads, dialled again once when it is lost.

Rule of the file: what is done over a line must be safe to do twice. A server that is gone for good is
``source-failed``: then there is no point, rather than one in which everything is unreadable.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from shared.errors import SkyharborError
from shared.model.backup import Notice
from workers.engine.notices import shown
from workers.engine.ports import Unreadable
from workers.sources.sftp.address import SftpAddress
from workers.sources.sftp.login import Login, refused
from workers.sources.shares.lines import LineLost, gone

if TYPE_CHECKING:
    from workers.sources.sftp.line import Act, SshLine

_T = TypeVar("_T")


class SftpServer:
    """Any thread."""

    def __init__(self, address: SftpAddress, login: Login) -> None:
        self.address = address
        self._login = login
        self._line: SshLine | None = None
        self._lock = threading.Lock()

    def line(self) -> SshLine:
        """Return the line, dialled when there is none. Raises ``source-failed``."""
        try:
            from workers.sources.sftp.line import SshLine  # its library is optional, and takes its time
        except ImportError as error:
            raise refused(
                self.address, f"this worker lacks {error.name}", "Install Skyharbor there with the extra 'shares'."
            ) from error
        with self._lock:
            if self._line is None or self._line.lost:
                try:
                    self._line = SshLine(self.address, self._login)
                except LineLost as error:
                    raise SkyharborError(
                        "source-failed", str(error), hint="Check host, port and network, and the server's log."
                    ) from error
            return self._line

    def over(self, act: Act[_T]) -> _T:
        """Do something over the line, once more over a new one when it is lost. Raises ``source-failed``."""
        try:
            return self.line().call(act)
        except LineLost:
            pass
        try:
            return self.line().call(act)
        except LineLost as error:
            raise self.gone(error) from error

    def begin(self, act: Act[_T]) -> tuple[SshLine, Future[_T]]:
        """Begin something over the line; whoever waits for it meets ``LineLost``."""
        line = self.line()
        return line, line.begin(act)

    def gone(self, error: LineLost) -> SkyharborError:
        """Return what is to be said when the line is lost for the second time."""
        return gone(self.address.text, error)

    def part(self) -> None:
        """Hang up for good."""
        with self._lock:
            if self._line is not None:
                self._line.close()


def unreadable(path: bytes, error: Exception) -> Unreadable:
    """Return what is to be said of a node that the server says no to (``asyncssh.SFTPError``)."""
    gone = type(error).__name__ in ("SFTPNoSuchFile", "SFTPNoSuchPath", "SFTPNotADirectory")
    words = {"SFTPPermissionDenied": "access denied", "SFTPNoSuchFile": "it is not there"}
    text = words.get(type(error).__name__) or str(error) or type(error).__name__
    return Unreadable(Notice(shown(path), "vanished" if gone else "unreadable", text))
