"""Where an NBD server listens, and what that address has to be protected with.

Rule of the file: whoever reaches the address reads the disk; so only a socket file of this user and the machine itself
are open without certificates.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

from shared.errors import SkyharborError

_BACKLOG = 64


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A socket file, made for this user only."""

    path: str

    def uri(self, export: str, *, tls: bool) -> str:
        """Return the address of an export as the tools of NBD want it."""
        scheme = "nbds+unix" if tls else "nbd+unix"
        return f"{scheme}:///{quote(export, safe='')}?socket={quote(self.path)}"

    def listen(self) -> socket.socket:
        """Make the socket. A file that a dead server has left is replaced; ``target-invalid`` for any other."""
        self._clear()
        listener = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            listener.bind(self.path)
        except OSError as error:
            listener.close()
            raise SkyharborError("target-invalid", f"{self.path}: {error.strerror or error}") from error
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
        return listener

    def forget(self) -> None:
        """Remove the socket file."""
        with suppress(OSError):
            os.unlink(self.path)

    def _clear(self) -> None:
        try:
            if not stat.S_ISSOCK(os.lstat(self.path).st_mode):
                raise SkyharborError("target-invalid", f"{self.path} is there already and is no socket")
        except FileNotFoundError:
            return
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            try:
                probe.connect(self.path)
            except ConnectionRefusedError:
                os.unlink(self.path)
            except OSError as error:
                raise SkyharborError("target-invalid", f"{self.path}: {error.strerror or error}") from error
            else:
                raise SkyharborError("target-invalid", f"{self.path}: somebody listens there already")


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host and a port; port 0 takes a free one."""

    host: str
    port: int

    def uri(self, export: str, *, tls: bool) -> str:
        """Return the address of an export as the tools of NBD want it."""
        return f"{'nbds' if tls else 'nbd'}://{self.authority}/{quote(export, safe='')}"

    @property
    def authority(self) -> str:
        """Host and port as they are written in URLs."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def resolved(self) -> TcpAddress:
        """Return the same address by number. Raises ``target-invalid``."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        except OSError as error:
            raise SkyharborError("target-invalid", f"{self.host}:{self.port}: {error.strerror or error}") from error
        return TcpAddress(str(found[4][0]), self.port)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def listen(self) -> socket.socket:
        """Make the socket. Raises ``port-busy`` and ``target-invalid``."""
        try:
            family, kind, proto, _, address = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind, proto)
        except OSError as error:
            raise SkyharborError("target-invalid", f"{self.host}:{self.port}: {error.strerror or error}") from error
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            code = "port-busy" if error.errno == errno.EADDRINUSE else "target-invalid"
            raise SkyharborError(code, f"{self.host}:{self.port}: {error.strerror or error}") from error
        return listener

    def forget(self) -> None:
        """Nothing stays of a port."""


Address = UnixAddress | TcpAddress


def parse_address(text: str) -> Address:
    """Return the address of ``unix:PATH``, ``HOST:PORT``, ``[HOST]:PORT`` or ``:PORT``. Raises ``bad-request``."""
    if text.startswith("unix:"):
        path = os.path.abspath(text.removeprefix("unix:"))
        if text == "unix:" or len(os.fsencode(path)) > 107:
            raise SkyharborError("bad-request", f"{text!r}: a socket needs a path of at most 107 bytes")
        return UnixAddress(path)
    host, colon, port = text.rpartition(":")
    bare = host.startswith("[") == host.endswith("]") and (":" not in host or host.startswith("["))
    if not colon or not bare or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise SkyharborError("bad-request", f"{text!r} is no address: write HOST:PORT or unix:PATH")
    return TcpAddress(host.strip("[]") or "127.0.0.1", int(port))


def parse_tcp(text: str) -> TcpAddress:
    """Return the address of ``HOST:PORT``, for what has no socket files. Raises ``bad-request``."""
    address = parse_address(text)
    if isinstance(address, UnixAddress):
        raise SkyharborError("bad-request", f"{text!r} is no address for iSCSI: write HOST:PORT")
    return address


def check_exposure(address: Address, *, client_certificates: bool, insecure: bool) -> None:
    """Raise ``bad-request`` for an address that others reach, unless they have to prove who they are."""
    if isinstance(address, UnixAddress) or address.is_loopback or client_certificates or insecure:
        return
    raise SkyharborError(
        "bad-request",
        f"{address.host} can be reached from other machines, and whoever reaches it reads the disk",
        hint="Give --tls-cert, --tls-key and --tls-ca, so that clients need a certificate; or --insecure.",
    )
