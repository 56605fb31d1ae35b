"""Where a server is and as whom to speak to it: the item's DSN and the file with the password.

Rule of the file: a password comes from the credentials file only, and goes nowhere but into an ``Endpoint``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from shared.contracts.sources import MysqlSource
from shared.errors import SkyharborError
from workers.sources.credentials import read_credentials
from workers.sources.mysql.child import OptionFile

_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PORT: Final = 3306
_KNOWN: Final = frozenset({"user", "password"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server and an account. With ``socket`` host and port mean nothing."""

    user: str
    password: str = field(repr=False)
    host: str = "localhost"
    port: int = _PORT
    socket: str = ""

    @property
    def is_local(self) -> bool:
        """Whether the address is one of this machine."""
        return bool(self.socket) or self.host in _LOCAL

    @property
    def place(self) -> str:
        """The server's address, for people."""
        return self.socket or f"{self.host}:{self.port}"

    def option_file(self) -> OptionFile:
        """Return the options by which programs of MariaDB find and enter the server."""
        options = {"user": self.user, "password": self.password}
        options |= {"socket": self.socket} if self.socket else {"host": self.host, "port": str(self.port)}
        return OptionFile(options)


def endpoint_of(source: MysqlSource) -> Endpoint:
    """Read DSN and credentials. Raises ``bad-request`` for a DSN that is none, ``source-denied`` for the file."""
    url = urlsplit(source.dsn)
    query = parse_qs(url.query, keep_blank_values=True)
    try:
        port = url.port or _PORT
    except ValueError as error:
        raise _no_dsn("the port is no number") from error
    if url.scheme not in ("mysql", "mariadb"):
        raise _no_dsn("it begins with mysql://")
    if url.password is not None:
        raise _no_dsn("a password belongs into the credentials file")
    if url.path not in ("", "/") or set(query) - {"socket"}:
        raise _no_dsn("behind the host there may only be ?socket=/path")
    told = read_credentials(source.credentials_file, known=_KNOWN)
    user = told.get("user") or unquote(url.username or "")
    if not user:
        raise _no_dsn("neither the DSN nor the credentials file names a user")
    socket = query.get("socket", [""])[-1]
    if socket and not socket.startswith("/"):
        raise _no_dsn("the socket is an absolute path")
    return Endpoint(user, told.get("password", ""), url.hostname or "localhost", port, socket)


def _no_dsn(why: str) -> SkyharborError:
    return SkyharborError(
        "bad-request",
        f"the DSN cannot be used: {why}",
        hint="Write mysql://user@host:port or mysql://user@localhost?socket=/path.",
    )
