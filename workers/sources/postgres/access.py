"""How a worker gets at a server: the item's DSN, with what its credentials file adds.

The password goes into the connection only: not into descriptions, logs, messages or the arguments of a program.

Rule of the file: reading descriptions and files; nothing connects here.
"""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from shared.errors import SkyharborError
from workers.sources.credentials import read_credentials

CONNECT_SECONDS: Final = 15

_KNOWN = frozenset({"user", "password"})
_ALIVE = {
    "connect_timeout": str(CONNECT_SECONDS),
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "6",
    "tcp_user_timeout": "300000",
    "application_name": "skyharbor",
}
_SESSION = "-c wal_sender_timeout=1h -c idle_session_timeout=0 -c statement_timeout=0 -c lock_timeout=60s"
"""A vault may be slower than a server has patience; a connection that is gone is noticed by its keepalives."""


class Access:
    """The way to one server. ``repr`` hides everything."""

    def __init__(self, dsn: str, credentials_file: str = "") -> None:
        """Raises ``bad-request`` for a DSN that is none, ``source-denied`` for a file that cannot be used."""
        self._told = parse_dsn(dsn)
        self._secret = read_credentials(credentials_file, known=_KNOWN)

    def __repr__(self) -> str:
        return "Access(…)"

    @property
    def place(self) -> str:
        """Where the server is, for messages: no user, no password."""
        return f"{self._told.get('host') or 'the local socket'}:{self._told.get('port') or 5432}"

    def replication(self) -> str:
        """Return the conninfo of a replication connection, password included."""
        return self._conninfo(replication="true", options=f"{self._told.get('options', '')} {_SESSION}".strip())

    def database(self, name: str = "") -> str:
        """Return the conninfo of a connection for SQL, password included; to the DSN's database if none is named."""
        return self._conninfo(dbname=name or self._told.get("dbname") or "postgres")

    def for_program(self, database: str) -> tuple[str, dict[str, str]]:
        """Return the conninfo for a program's arguments, and what its environment must have besides."""
        public = {**self._told, **_ALIVE, **{k: v for k, v in self._secret.items() if k != "password"}}
        password = self._secret.get("password")
        return make_conninfo("", **{**public, "dbname": database}), {"PGPASSWORD": password} if password else {}

    def _conninfo(self, **more: str) -> str:
        return make_conninfo("", **{**_ALIVE, **self._told, **self._secret, **more})


def parse_dsn(dsn: str) -> dict[str, str]:
    """Return a DSN's parameters. Raises ``bad-request`` when it is none, or has a password in it."""
    try:
        told = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value is not None}
    except psycopg.ProgrammingError as error:
        raise SkyharborError("bad-request", f"the DSN cannot be read: {' '.join(str(error).split())}") from error
    if told.get("password"):
        hint = (
            "Put it into a file of the worker's machine (password=…, mode 0600) and name that with --credentials-file."
        )
        raise SkyharborError("bad-request", "a DSN must not have a password in it", hint=hint)
    return told
