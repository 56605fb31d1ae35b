"""One replication connection: commands, copies, and no call that waits for ever.

Message formats: PostgreSQL's documentation, "Streaming Replication Protocol"; the framing of base backups is that of
version 15 and later.

Rule of the file: libpq is used here and nowhere else; what a message means is decided by those who ask for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGresult

from shared.errors import SkyharborError
from shared.waiting import readable
from workers.sources.postgres.access import Access
from workers.sources.postgres.lsn import parse_lsn
from workers.sources.postgres.trouble import failed

OLDEST: Final = 15
SILENCE: Final = 900.0
"""Seconds in which a server must say something: a checkpoint before a backup takes its time."""

_PATIENCE = 0.5
_PIECE = 1 << 20
_GOOD = frozenset({pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK})
_COPIES = frozenset({pq.ExecStatus.COPY_BOTH, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_IN})

Row = tuple[str | None, ...]


class Identity(NamedTuple):
    """Who the server is, on which timeline, and up to where its log is on disk."""

    system_id: str
    timeline: int
    flushed: int


class Replication:
    """A connection to a server's WAL sender. Used by one thread. ``check`` raises to end whatever waits."""

    def __init__(self, access: Access, check: Callable[[], None] = lambda: None, *, silence: float = SILENCE) -> None:
        """Connect. Raises ``source-failed``, also for a server that is too old."""
        self._check, self._silence = check, silence
        self._copying = False
        self.place = access.place
        self._connection = pq.PGconn.connect(access.replication().encode())
        if self._connection.status != pq.ConnStatus.OK:
            message = self._connection.get_error_message()
            self._connection.finish()
            raise failed(f"{self.place} refuses a replication connection", message)
        self.version = self._connection.server_version
        if self.version // 10000 < OLDEST:
            self.close()
            hint = f"PostgreSQL {OLDEST} and later are protected; older ones by files or dumps."
            raise SkyharborError("source-failed", f"the server is PostgreSQL {self.version // 10000}", hint=hint)

    @property
    def major(self) -> int:
        """The server's major version."""
        return self.version // 10000

    def close(self) -> None:
        """Hang up. Idempotent."""
        self._connection.finish()

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────

    def rows(self, command: str) -> list[Row]:
        """Run a command and return its rows. Raises ``Refusal`` with what the server said."""
        return [tuple(None if value is None else value.decode() for value in row) for row in self.rows_raw(command)]

    def rows_raw(self, command: str) -> list[tuple[bytes | None, ...]]:
        """Run a command and return its rows as bytes. Raises ``Refusal``."""
        self.send(command)
        found: list[tuple[bytes | None, ...]] = []
        while (result := self.result()) is not None:
            self._must(result, _GOOD)
            found += [
                tuple(result.get_value(at, column) for column in range(result.nfields)) for at in range(result.ntuples)
            ]
        return found

    def show(self, setting: str) -> str:
        """Return the value of a setting, empty when there is none of this name or it may not be seen."""
        try:
            return self.rows(f"SHOW {setting}")[0][0] or ""
        except Refusal:
            return ""

    def identify(self) -> Identity:
        """Ask the server who it is."""
        system_id, timeline, flushed, *_ = self.rows("IDENTIFY_SYSTEM")[0]
        return Identity(system_id or "", int(timeline or 0), parse_lsn(flushed or "0/0"))

    def send(self, command: str) -> None:
        """Send a command whose results are then taken with ``result``."""
        try:
            self._connection.send_query(command.encode())
        except psycopg.Error as error:
            raise self._gone() from error

    def result(self) -> PGresult | None:
        """Return the next result of what was sent, None when there are no more. Errors are results."""
        while self._connection.is_busy():
            self._wait()
        return self._connection.get_result()

    def expect(self, status: pq.ExecStatus) -> PGresult:
        """Return the next result, which must be of this kind. Raises ``Refusal``."""
        result = self.result()
        if result is None:
            raise failed(f"{self.place} ended its answer too early")
        self._must(result, frozenset({status}))
        self._copying = status in _COPIES
        return result

    # ── copies ───────────────────────────────────────────────────────────────────────────────────────

    def messages(self) -> Iterator[memoryview]:
        """Yield the messages of a copy that has begun, until the server ends it. Each is valid until the next."""
        connection, waited = self._connection, False
        while True:
            size, message = connection.get_copy_data(1)
            if size > 0:
                waited = False
                yield memoryview(message)
            elif size == 0:
                waited = not waited
                if waited:
                    self._consume()  # most of the time there is more already
                else:
                    self._wait()
                continue
            elif size == -1:
                self._copying = False
                return
            else:
                raise self._gone()

    def put(self, message: bytes) -> None:
        """Send a message inside of a copy."""
        try:
            self._connection.put_copy_data(message)
            self._connection.flush()
        except psycopg.Error as error:
            raise self._gone() from error

    def end_copy(self) -> None:
        """Say that nothing more is to come from here, and read the other side to its end. Raises ``Refusal``."""
        try:
            if self._copying:
                self._connection.put_copy_end()
                self._connection.flush()
        except psycopg.Error as error:
            raise self._gone() from error
        self._copying = False
        while (result := self.result()) is not None:
            if result.status in _COPIES:
                for _ in self.messages():
                    pass
            else:
                self._must(result, _GOOD)

    def upload(self, command: str, data: Iterator[bytes | memoryview]) -> None:
        """Run a command that takes a copy of data. Raises ``Refusal``."""
        self.send(command)
        self.expect(pq.ExecStatus.COPY_IN)
        for piece in data:
            for at in range(0, len(piece), _PIECE):
                self.put(bytes(piece[at : at + _PIECE]))
        self.end_copy()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _wait(self) -> None:
        """Wait until the server has sent something, and take it in."""
        until = time.monotonic() + self._silence
        while not readable(self._connection.socket, seconds=_PATIENCE):
            self._check()
            if time.monotonic() > until:
                raise failed(f"{self.place} has said nothing for {self._silence:.0f} seconds")
        self._consume()

    def _consume(self) -> None:
        try:
            self._connection.consume_input()
        except psycopg.Error as error:
            raise self._gone() from error

    def _must(self, result: PGresult, statuses: frozenset[pq.ExecStatus]) -> PGresult:
        if result.status in statuses:
            return result
        message = result.get_error_message()
        state = result.error_field(pq.DiagnosticField.SQLSTATE)
        # Whatever else belongs to this answer is of no use any more; the connection is, when the server lives.
        while self._connection.status == pq.ConnStatus.OK and self.result() is not None:
            pass
        raise Refusal(message, state.decode() if state else "")

    def _gone(self) -> SkyharborError:
        return failed(f"the connection to {self.place} broke off", self._connection.get_error_message())


class Refusal(SkyharborError):
    """The server said no to a command: ``source-failed`` unless somebody knows what to do about it."""

    def __init__(self, message: str, state: str) -> None:
        kind = failed("the server refused", message)
        super().__init__("source-failed", kind.detail, **kind.fields)
        self.state = state
        self.message = message


def quoted(text: str) -> str:
    """Return a text as a literal of the replication grammar."""
    return "'" + text.replace("'", "''") + "'"
