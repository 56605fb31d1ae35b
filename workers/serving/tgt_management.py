"""The management protocol of tgtd: what ``tgtadm`` says to it, without ``tgtadm``.

That program takes the secret of an account in its arguments, where every user of the machine can read it. The protocol
itself is one request per connection of a socket file: ``struct tgtadm_req`` of ``usr/tgtadm.h`` and a line of
parameters, answered by ``struct tgtadm_rsp`` and text (``usr/mgmt.c``). It is
the same from 1.0.30 to 1.0.97.

Rule of the file: bytes in, bytes out; every wait has an end, and what tgtd refuses is an error with its reason.
"""

from __future__ import annotations

import secrets
import socket
import struct
from enum import IntEnum

_REQUEST = struct.Struct("=ii64sIiQQIIIIII")  # nothing is padded on any machine: all is aligned by itself
_RESPONSE = struct.Struct("=II")
_PATIENCE = 30.0  # opening a disk looks it up in the vault
_MOST = 16 * 1024 * 1024
_EVERYWHERE = -1  # the "target" whose accounts let people list the others
_DISK = 0
_TARGETS = (1 << 28) - 1  # what is above that is lost in the number
_REASONS = (
    "success", "an error that it does not explain", "it has no memory left", "it has no such driver",
    "it has no such target", "it has no such unit", "it has no such session", "it has no such connection",
    "nothing is bound there", "the target exists", "the unit exists", "it is bound already", "the rule exists",
    "there is no such rule", "the account exists", "it has no such account", "it has too many accounts",
    "the request is invalid",
)  # fmt: skip


class Mode(IntEnum):
    """What a request is about."""

    TARGET = 1
    DEVICE = 2
    PORTAL = 3
    ACCOUNT = 7


class Op(IntEnum):
    """What is to be done with it."""

    NEW = 0
    SHOW = 2
    BIND = 3
    UPDATE = 5


class ManagementError(Exception):
    """tgtd has refused a request, or does not answer; the text is for people."""


class Management:
    """Asks the tgtd behind a socket file, of which the caller must be the very user."""

    def __init__(self, path: str) -> None:
        self._path = path
        # Initiators know a disk by a number that tgtd makes of the target's and the unit's. With target 1 everywhere
        # they would take the first disks of two points for two ways to one disk.
        self._target = 1 + secrets.randbelow(_TARGETS)

    def portals(self) -> list[str]:
        """Return where it listens, as HOST:PORT."""
        lines = self._ask(Mode.PORTAL, Op.SHOW).splitlines()
        return [line.removeprefix("Portal: ").rpartition(",")[0] for line in lines if line.startswith("Portal: ")]

    def add_target(self, name: str, *, user: str, secret: str) -> None:
        """Make the target, which knows one account and lets nobody in yet; the account is asked for by listing too."""
        self._ask(Mode.TARGET, Op.NEW, f"targetname={name}", target=self._target)
        self._ask(Mode.ACCOUNT, Op.NEW, f"user={user},password={secret}")
        for target in (self._target, _EVERYWHERE):
            self._ask(Mode.ACCOUNT, Op.BIND, f"user={user}", target=target)

    def add_disk(self, unit: int, path: str, *, shown_as: str) -> None:
        """Make a file a unit of the target that nobody can write; ``shown_as`` are more of its parameters."""
        self._ask(Mode.DEVICE, Op.NEW, f"path={path}", target=self._target, unit=unit)
        self._ask(Mode.DEVICE, Op.UPDATE, f"readonly=1,{shown_as}", target=self._target, unit=unit)

    def read_only_units(self) -> int:
        """Return how many units of all targets cannot be written."""
        return self._ask(Mode.TARGET, Op.SHOW, target=_EVERYWHERE).count("Readonly: Yes")

    def let_in(self) -> None:
        """Let everybody try to log in: whoever knows the secret is in."""
        self._ask(Mode.TARGET, Op.BIND, "initiator-address=ALL", target=self._target)

    def _ask(self, mode: Mode, op: Op, parameters: str = "", *, target: int = 0, unit: int = 0) -> str:
        body = parameters.encode() + b"\0" if parameters else b""
        length = _REQUEST.size + len(body)
        request = _REQUEST.pack(mode, op, b"iscsi", length, target, 0, unit, 0, 0, _DISK, 0, 0, 0)
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(_PATIENCE)
                line.connect(self._path)
                line.sendall(request + body)
                answer = _all_of(line)
        except OSError as error:
            raise ManagementError(f"tgtd does not answer: {error}") from error
        if len(answer) < _RESPONSE.size:
            raise ManagementError("tgtd has hung up")
        code, _ = _RESPONSE.unpack_from(answer)
        if code:
            reason = _REASONS[code] if code < len(_REASONS) else f"error {code}"
            raise ManagementError(f"tgtd refuses ({mode.name.lower()}, {op.name.lower()}): {reason}")
        return answer[_RESPONSE.size :].rstrip(b"\0").decode("utf-8", "replace")


def _all_of(line: socket.socket) -> bytes:
    """Return everything up to the end: tgtd hangs up after its answer."""
    answer = bytearray()
    while part := line.recv(65536):
        answer += part
        if len(answer) > _MOST:
            raise ManagementError("tgtd says too much")
    return bytes(answer)
