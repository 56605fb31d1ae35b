"""Logical dumps of single databases, beside or instead of the physical backup: ``dumps/<database>.dump``.

Made by ``pg_dump -Fc``, uncompressed (the vault compresses), each of a moment of its own. ``dumps/globals.sql`` has
roles and tablespaces, without passwords.

Rule of the file: programs and their output; a program that fails, or says nothing for too long, fails the backup.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import psycopg

from shared.model.backup import Notice
from shared.vault.reader import PointReader
from shared.waiting import readable
from workers.engine.ports import Kept, Pushed
from workers.sources.postgres import binaries
from workers.sources.postgres.access import Access
from workers.sources.postgres.nodes import Folder, Pieces
from workers.sources.postgres.trouble import failed

FOLDER: Final = b"dumps"
EVERY: Final = "*"

_SILENCE = 900.0
_PATIENCE = 0.5
_PIECE = 1 << 20
_DATABASES = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname"


def dump_nodes(access: Access, databases: Sequence[str], check: Callable[[], None]) -> Iterator[Pushed]:
    """Yield the dumps of these databases, or of all (``*``), and of what belongs to none."""
    with _connected(access) as connection:
        major = connection.info.server_version // 10000
        names = [row[0] for row in connection.execute(_DATABASES)] if EVERY in databases else list(databases)
    pg_dump, pg_dumpall = binaries.find("pg_dump", at_least=major), binaries.find("pg_dumpall", at_least=major)
    yield Folder(FOLDER)
    for name in names:
        conninfo, secret = access.for_program(name)
        argv = [pg_dump, "-Fc", "-Z0", "--no-password", "--lock-wait-timeout=600000", f"--dbname={conninfo}"]
        yield Pieces(FOLDER + b"/" + file_name(name), output(argv, secret, check))
    conninfo, secret = access.for_program("postgres")
    argv = [pg_dumpall, "--globals-only", "--no-role-passwords", "--no-password", f"--dbname={conninfo}"]
    yield Pieces(FOLDER + b"/globals.sql", output(argv, secret, check))


class DumpStream:
    """Dumps alone, as a stream: every point has them whole."""

    def __init__(self, access: Access, databases: Sequence[str], check: Callable[[], None]) -> None:
        self._access, self._databases, self._check = access, databases, check

    def stream(self, reference: PointReader | None) -> Iterator[Pushed | Kept | Notice]:  # noqa: ARG002
        """See the port."""
        yield from dump_nodes(self._access, self._databases, self._check)


def file_name(database: str) -> bytes:
    """Return the name of a database's dump: what a file name cannot have is written as in URLs."""
    safe = database.replace("%", "%25").replace("/", "%2F")
    return (f"%2E{safe[1:]}" if safe.startswith(".") else safe).encode() + b".dump"


def output(argv: Sequence[str], environment: dict[str, str], check: Callable[[], None]) -> Iterator[bytes]:
    """Yield what a program writes. Raises ``source-failed`` unless it ends well; ends it when it is not read on."""
    name = os.path.basename(argv[0])
    with tempfile.TemporaryFile() as said:
        process = binaries.start(argv, environment, errors=said)
        try:
            yield from _read(process, name, check)
            if process.wait(timeout=_SILENCE) != 0:
                said.seek(0)
                raise failed(f"{name} failed", said.read(4000).decode("utf-8", "replace"))
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _read(process: subprocess.Popen[bytes], name: str, check: Callable[[], None]) -> Iterator[bytes]:
    if process.stdout is None:
        raise ValueError("the program's output is not read")
    source = process.stdout.fileno()
    heard = time.monotonic()
    while True:
        if readable(source, seconds=_PATIENCE):
            piece = os.read(source, _PIECE)
            if not piece:
                return
            heard = time.monotonic()
            yield piece
        elif time.monotonic() - heard > _SILENCE:
            raise failed(f"{name} has written nothing for {_SILENCE:.0f} seconds")
        check()


def _connected(access: Access) -> psycopg.Connection[tuple[str, ...]]:
    try:
        return psycopg.connect(access.database(), autocommit=True)
    except psycopg.Error as error:
        raise failed(f"{access.place} refuses a connection", str(error)) from error
