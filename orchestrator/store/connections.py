"""Connections to PostgreSQL: a pool, and how a transaction on one begins and ends.

Rule of the file: no round trip that does nothing. What is set for a transaction travels with its beginning, what is to
be heard of it with its end, and a connection is asked whether it lives only when nobody has used it for a second.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from typing import Any, LiteralString

import psycopg
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.rows import dict_row
from sqlalchemy import Connection, Engine, TextClause, create_engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InvalidatePoolError

from orchestrator.store.patience import KEEPALIVES, SILENCE_SECONDS, PatientConnection

_SESSION = (
    "-c statement_timeout=15s -c lock_timeout=10s -c idle_in_transaction_session_timeout=15s -c timezone=UTC"
    " -c jit=off -c random_page_cost=1.1"
)
"""Nothing the tower does takes so long; what does is stuck, and must not hold locks that others wait for.

Statements are short and many: compiling one takes longer than running it. What they touch is in memory, so an index is
worth while even for a small table, and a plan is still good when the table has grown.
"""

_FRESH_SECONDS = 1.0
_IN_TRANSACTION = (TransactionStatus.INTRANS, TransactionStatus.INERROR)


class Line(PatientConnection):
    """The driver's connection, and what its next BEGIN and COMMIT are to say."""

    relaxed = False
    woken = False
    given_back_at: float | None = None


class Dialect(PGDialect_psycopg):
    """SQLAlchemy's, but that we begin and end transactions: the driver, in autocommit mode, does not."""

    supports_statement_cache = True

    def connect(self, *arguments: Any, silence: float, **options: Any) -> Any:
        """Return a new connection that is given up when nothing is heard on it for ``silence`` seconds."""
        line = Line.connect(*arguments, **options)
        line.silence = silence
        return line

    def do_begin(self, dbapi_connection: Any) -> None:
        """Begin a transaction, relaxed when ``begin_relaxed`` says so."""
        line: Line = dbapi_connection.driver_connection
        _say(line, b"BEGIN; SET LOCAL synchronous_commit = off" if line.relaxed else b"BEGIN")
        line.relaxed = False

    def do_commit(self, dbapi_connection: Any) -> None:
        """Commit, and then have the loops hear of it when ``wake`` says so, in the same trip.

        Not within the transaction: PostgreSQL lets those that notify commit one after the other, each to the disk.
        """
        line: Line = dbapi_connection.driver_connection
        if line.pgconn.transaction_status == TransactionStatus.IDLE:
            return
        _say(line, b"COMMIT; NOTIFY skyharbor_tower" if line.woken else b"COMMIT")
        line.woken = False

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Undo, and keep what the connection has prepared.

        The driver would throw it away, for the case that a table was changed and that was undone: nobody changes tables
        here. As it is, every reader ends so.
        """
        line: Line = dbapi_connection.driver_connection
        line.relaxed = line.woken = False
        if line.pgconn.transaction_status in _IN_TRANSACTION:
            _say(line, b"ROLLBACK")
        else:
            line.rollback()


_DIALECT = Dialect()  # type: ignore[no-untyped-call]
registry.register("postgresql.skyharbor", __name__, "Dialect")


def open_engine(url: str, *, connections: int = 16, silence: float = SILENCE_SECONDS) -> Engine:
    """Return a pool of ``connections``; it connects lazily and lends no connection that died meanwhile.

    A connection on which nothing is heard for ``silence`` seconds is given up: ``server-unreachable``.

    None is closed for being one too many: making a connection costs more than all that a job asks of the database. The
    one that was used last is lent first, so that few of them work when there is little to do.
    """
    engine = create_engine(
        make_url(url).set(drivername="postgresql+skyharbor"),
        pool_size=connections,
        max_overflow=0,
        pool_use_lifo=True,
        pool_timeout=10,
        connect_args={
            "connect_timeout": 10,
            "options": _SESSION,
            "autocommit": True,
            "silence": silence,
            **KEEPALIVES,
        },
    )
    event.listen(engine, "checkin", _note)
    event.listen(engine, "checkout", _ask)
    return engine


def run(connection: Connection, sql: TextClause, parameters: Mapping[str, Any]) -> psycopg.Cursor[dict[str, Any]]:
    """Run a statement on the driver itself, in the connection's transaction, and return its cursor.

    What SQLAlchemy adds to a statement of plain text costs twice what the driver needs for it. Its errors stay: they
    are translated as it does it, and a connection that broke is given up as it does it.
    """
    if not connection.in_transaction():
        connection.begin()
    cursor = _line(connection).cursor(row_factory=dict_row)
    try:
        cursor.execute(_plain(sql), parameters)
    except psycopg.Error as error:
        connection._handle_dbapi_exception(error, sql.text, dict(parameters), None, None)
    return cursor


@cache
def _plain(sql: TextClause) -> LiteralString:
    """Return a statement as the driver takes it, with its parameters named in its way."""
    return str(sql.compile(dialect=_DIALECT))


def _say(line: Line, command: bytes) -> None:
    """Send a command that has no parameters and no rows, and wait for its end no longer than for a statement's."""
    line.pgconn.send_query(command)
    *_, result = line.wait(execute(line.pgconn))
    if result.status != ExecStatus.COMMAND_OK:
        raise error_from_result(result)


def begin_relaxed(connection: Connection) -> None:
    """Begin a transaction whose commit returns before it is on the disk. None may have begun."""
    _line(connection).relaxed = True
    connection.begin()


def wake(connection: Connection) -> None:
    """Have the loops hear, at the commit, that there is something to do."""
    if not connection.in_transaction():  # the commit of none would say nothing
        connection.begin()
    _line(connection).woken = True


def _line(connection: Connection) -> Line:
    line = connection.connection.driver_connection
    if not isinstance(line, Line):
        raise TypeError("the connection is not one of our engine's")
    return line


def _note(line: Line | None, _record: Any) -> None:
    if line is not None:
        line.given_back_at = time.monotonic()


def _ask(line: Line, _record: Any, _proxy: Any) -> None:
    if line.given_back_at is not None and time.monotonic() - line.given_back_at > _FRESH_SECONDS:
        try:
            line.execute("SELECT 1")
        except psycopg.Error as error:
            raise InvalidatePoolError from error
