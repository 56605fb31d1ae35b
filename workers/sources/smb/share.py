"""A share as a process uses it: wires that are borrowed, dialled again once when they are lost.

Rule of the file: what is done over a wire must be safe to do twice. A server that is gone for good is
``source-failed``: then there is no point, rather than one in which everything is unreadable.
"""

from __future__ import annotations

from shared.clock import Clock
from shared.errors import SkyharborError
from shared.model.backup import Notice
from workers.engine.notices import shown
from workers.engine.ports import Unreadable
from workers.sources.shares.lines import Lines
from workers.sources.smb import status
from workers.sources.smb.address import SmbAddress
from workers.sources.smb.login import Login, Unreachable, refused
from workers.sources.smb.setting import Setting
from workers.sources.smb.status import Refused
from workers.sources.smb.wire import Wire


class Share(Lines[Wire]):
    """Wires to one share. Any thread; each wire is one thread's for as long as it is borrowed."""

    def __init__(self, address: SmbAddress, login: Login, clock: Clock, setting: Setting = Setting()) -> None:
        super().__init__(address.text, self.dial, harmless=(Refused, Unreadable))
        self.address = address
        self.setting = setting
        self._login = login
        self._clock = clock
        self.ahead = 0.0
        """Seconds by which the server's clock is ahead of ours."""

    def now_ns(self) -> int:
        """Return the time on the server's clock."""
        return int((self._clock.now().timestamp() + self.ahead) * 1e9)

    def dial(self) -> Wire:
        """Return a new wire. Raises ``source-failed`` when the server cannot be reached."""
        try:
            from workers.sources.smb.dialing import dial  # its library is optional, and takes its time
        except ImportError as error:
            raise refused(
                self.address, f"this worker lacks {error.name}", "Install Skyharbor there with the extra 'shares'."
            ) from error
        try:
            wire, self.ahead = dial(self.address, self._login, clock=self._clock)
        except Unreachable as error:
            raise SkyharborError(
                "source-failed", str(error), hint="Check host, port and network; an SMB server listens on port 445."
            ) from error
        return wire


def unreadable(path: bytes, error: Refused) -> Unreadable:
    """Return what is to be said of a node; raises ``source-failed`` when it is the server that is in trouble."""
    if error.status in status.STARVED:
        raise SkyharborError("source-failed", f"{shown(path)}: {error}") from error
    code = "vanished" if error.status in status.VANISHED else "unreadable"
    return Unreadable(Notice(shown(path), code, str(error)))
