"""Connections to PostgreSQL: a pool, and how a transaction on one begins.

Rule of the file: no round trip that does nothing. A transaction begins by one statement, whatever is set for it, and a
connection is asked whether it lives only when nobody has used it for a second.
"""

from __future__ import annotations

import time
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InvalidatePoolError

_SESSION = (
    "-c statement_timeout=15s -c lock_timeout=10s -c idle_in_transaction_session_timeout=15s -c timezone=UTC -c jit=off"
)
"""Nothing the tower does takes so long; what does is stuck, and must not hold locks that others wait for.

Statements are short and many: compiling one takes longer than running it.
"""

_FRESH_SECONDS = 1.0
_RELAXED, _GIVEN_BACK = "skyharbor-relaxed", "skyharbor-given-back"


class Dialect(PGDialect_psycopg):
    """SQLAlchemy's, but that we begin transactions: the driver, in autocommit mode, does not."""

    supports_statement_cache = True

    def do_begin(self, dbapi_connection: Any) -> None:
        """Begin a transaction, relaxed when ``begin_relaxed`` says so."""
        relaxed = dbapi_connection.info.pop(_RELAXED, False)
        dbapi_connection.execute("BEGIN; SET LOCAL synchronous_commit = off" if relaxed else "BEGIN")


registry.register("postgresql.skyharbor", __name__, "Dialect")


def open_engine(url: str, *, connections: int = 8) -> Engine:
    """Return a pool of up to twice ``connections``; it connects lazily and lends no connection that died meanwhile."""
    engine = create_engine(
        make_url(url).set(drivername="postgresql+skyharbor"),
        pool_size=connections,
        max_overflow=connections,
        pool_timeout=10,
        connect_args={"connect_timeout": 10, "options": _SESSION, "autocommit": True},
    )
    event.listen(engine, "checkin", _note)
    event.listen(engine, "checkout", _ask)
    return engine


def begin_relaxed(connection: Connection) -> None:
    """Begin a transaction whose commit returns before it is on the disk. None may have begun."""
    connection.info[_RELAXED] = True
    connection.begin()


def _note(_driver: psycopg.Connection[Any] | None, record: Any) -> None:
    record.info[_GIVEN_BACK] = time.monotonic()


def _ask(driver: psycopg.Connection[Any], record: Any, _proxy: Any) -> None:
    if time.monotonic() - record.info.get(_GIVEN_BACK, time.monotonic()) > _FRESH_SECONDS:
        try:
            driver.execute("SELECT 1")
        except psycopg.Error as error:
            raise InvalidatePoolError from error
