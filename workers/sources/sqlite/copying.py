"""Copies one database, as its last commit left it, into a private file, and proves the copy.

A read transaction is opened first: in WAL mode writers go on meanwhile and the copy never begins again (without it
``backup`` starts over whenever another connection commits between two of its steps). In the other modes writers wait
until the copy is done; that is how SQLite keeps still.

The copy has no name while it is written: a killed worker leaves nothing behind. Locks are the kernel's and end with the
process.

Rule of the file: the database is only read. What SQLite itself does when any reader opens a database after a crash
(rolling back what was half written) is all that ever changes it.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final
from urllib.parse import quote

from shared.errors import SkyharborError
from workers.engine.notices import reason
from workers.sources.sqlite.fingerprint import fingerprint

_STEP: Final = 2048
"""Pages copied between two questions whether to go on."""
_OPERATIONS: Final = 1_000_000
"""Of SQLite's virtual machine, between two such questions while the copy is checked."""
_LOOK: Final = "SELECT count(*) FROM sqlite_schema"
_PATIENCE: Final = 60.0
"""Seconds that somebody else may keep the database locked."""
_NEEDS_WRITING: Final = frozenset({"SQLITE_READONLY_ROLLBACK", "SQLITE_READONLY_RECOVERY", "SQLITE_READONLY_CANTINIT"})

_VERSIONS: Final = slice(18, 20)
_COUNTER: Final = slice(24, 28)
_WAL: Final = b"\2\2"
_NO_WAL: Final = b"\1\1"
"""Of the header that every database begins with (https://www.sqlite.org/fileformat.html)."""

Check = Callable[[], None]


class NotCopied(Exception):
    """The database could not be copied; the message says why, for people."""


class Copy:
    """A private copy, without a name.

    ``looks`` is the fingerprint of a state of the database that the copy has all of, ``trouble`` what is wrong inside
    of the copy, empty when it is sound.
    """

    def __init__(self, fd: int, looks: str, trouble: str) -> None:
        self.fd = fd
        self.looks = looks
        self.trouble = trouble

    def close(self) -> None:
        """Let the copy vanish. Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def copy_database(path: str, *, folder: str, check: Check) -> Copy:
    """Copy the database into ``folder`` and look the copy over.

    Raises ``NotCopied``, ``source-failed`` when ``folder`` cannot take the copy, and what ``check`` raises.
    """
    stopped: list[BaseException] = []

    def go_on(*_: object) -> int:
        try:
            check()
        except BaseException as error:  # noqa: BLE001 - it has to pass through SQLite, and is raised behind it
            stopped.append(error)
            return 1
        return 0

    try:
        return _copied(path, folder, go_on)
    except (sqlite3.Error, _Stopped) as error:
        if stopped:
            raise stopped[0] from None
        raise NotCopied(explained(error)) from error


def explained(error: BaseException) -> str:
    """Return in plain words why SQLite refused."""
    name = getattr(error, "sqlite_errorname", None) or ""
    if name == "SQLITE_NOTADB":
        return "it is no SQLite database, or an encrypted one"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"another program kept it locked for {_PATIENCE:.0f} seconds"
    if name.startswith("SQLITE_CORRUPT"):
        return f"it is damaged: {error}"
    return str(error) or name


class _Stopped(Exception):
    """The question whether to go on was answered with no."""


def _copied(path: str, folder: str, go_on: Callable[..., int]) -> Copy:
    opened, looks = _opened(path)
    with closing(opened) as source:
        fd, target = _nameless(folder)
        try:
            with closing(target):
                _fill(source, target, go_on)
                with _without_wal(fd):
                    trouble = _trouble(target, go_on)
            return Copy(fd, looks, trouble)
        except BaseException:
            os.close(fd)
            raise


def _opened(path: str) -> tuple[sqlite3.Connection, str]:
    """Open the database for reading and begin a read transaction; return the fingerprint from right before that.

    Read-only wherever that is enough. After a crash of its application the first reader has to repair it, which a
    read-only connection may not.
    """
    if _is_empty(path):
        raise NotCopied("it is empty: SQLite has not written anything into it yet")
    try:
        return _reading(path, "ro")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname not in _NEEDS_WRITING:
            raise
        return _reading(path, "rw")


def _is_empty(path: str) -> bool:
    return os.stat(path).st_size == 0 and not os.path.exists(path + "-wal")


def _reading(path: str, mode: str) -> tuple[sqlite3.Connection, str]:
    uri = f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_PATIENCE)
    try:
        # Whoever owns the database may not be who we are: nothing in its schema is run for them.
        connection.execute("PRAGMA trusted_schema=OFF")
        # The first look opens the WAL, which touches its attributes when root does it: it must be behind us.
        connection.execute(_LOOK).fetchone()
        looks = fingerprint(path, now_ns=time.time_ns())
        connection.execute("BEGIN")
        connection.execute(_LOOK).fetchone()
        return connection, looks
    except BaseException:
        connection.close()
        raise


def _nameless(folder: str) -> tuple[int, sqlite3.Connection]:
    """Make the file of the copy: SQLite has it open, we have it open, and no folder knows it."""
    try:
        named, path = tempfile.mkstemp(prefix=COPY_PREFIX, dir=folder)
    except OSError as error:
        raise SkyharborError("source-failed", f"{folder}: no room for a copy: {reason(error)}") from error
    try:
        target = sqlite3.connect(path, isolation_level=None)
        try:
            # All of it is rebuilt when it is lost: no journal, no syncing.
            target.execute("PRAGMA journal_mode=OFF")
            target.execute("PRAGMA synchronous=OFF")
        except BaseException:
            target.close()
            raise
    except BaseException:
        os.close(named)
        raise
    finally:
        with suppress(OSError):
            os.unlink(path)
    return named, target


COPY_PREFIX: Final = "sqlite-copy-"
"""A copy has such a name for some microseconds; what a kill in them leaves, the item's next session sweeps."""


def _fill(source: sqlite3.Connection, target: sqlite3.Connection, go_on: Callable[..., int]) -> None:
    begun = time.monotonic()

    def progress(status: int, _remaining: int, _total: int) -> None:
        if go_on():
            raise _Stopped
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() - begun > _PATIENCE:
            raise NotCopied(f"another program kept it locked for {_PATIENCE:.0f} seconds")

    source.backup(target, pages=_STEP, progress=progress, sleep=0.05)


@contextmanager
def _without_wal(fd: int) -> Iterator[None]:
    """Have the copy look like a database without a WAL for a while: one without a name cannot have a file beside it.

    The change counter is changed with it, so that SQLite looks at the header again.
    """
    header = os.pread(fd, _COUNTER.stop, 0)
    if header[_VERSIONS] != _WAL:
        yield
        return
    os.pwrite(fd, _NO_WAL, _VERSIONS.start)
    os.pwrite(fd, bytes(byte ^ 0xFF for byte in header[_COUNTER]), _COUNTER.start)
    try:
        yield
    finally:
        os.pwrite(fd, header, 0)


def _trouble(target: sqlite3.Connection, go_on: Callable[..., int]) -> str:
    """Return the first thing that SQLite finds wrong with the copy, empty when nothing is."""
    target.set_progress_handler(go_on, _OPERATIONS)
    try:
        rows = target.execute("PRAGMA integrity_check(1)").fetchall()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorname == "SQLITE_INTERRUPT":
            raise
        return f"it could not be checked: {error}"
    finally:
        target.set_progress_handler(None, 0)
    return "" if rows == [("ok",)] else f"it is damaged: {rows[0][0] if rows else 'nothing was checked'}"
