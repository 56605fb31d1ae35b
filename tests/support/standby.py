"""A second PostgreSQL that follows the first one's log, and can be made the one: a fail-over of one machine.

Rule of the file: real streaming, asynchronous as it is in a cluster that must not stop for its standby. Stopping the
standby before the first one dies is how the last commits get lost.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import psycopg

from orchestrator.embedded.postgres import PrivatePostgres
from tests.support.stack import wait_for


def copied(primary: PrivatePostgres, source: Path, folder: Path) -> PrivatePostgres:
    """Return a standby of a running server, not started yet: a copy taken in the middle of its work."""
    folder.mkdir(mode=0o700)
    with psycopg.connect(primary.dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_backup_start('standby', true)")
        data = folder / "data"
        shutil.copytree(source / "data", data, ignore=shutil.ignore_patterns("postmaster.*", "pg_wal"))
        row = connection.execute("SELECT labelfile FROM pg_backup_stop(false)").fetchone()
        assert row is not None
        (data / "backup_label").write_text(row[0])
        shutil.copytree(source / "data" / "pg_wal", data / "pg_wal")
    (data / "standby.signal").touch()
    for path in (data, data / "pg_wal"):
        path.chmod(0o700)
    shutil.copy(source / "password", folder / "password")
    return PrivatePostgres(folder, settings={"primary_conninfo": primary.dsn, "fsync": "off"})


def wait_until_it_has_all(primary: PrivatePostgres, standby: PrivatePostgres) -> None:
    """Wait until the standby has replayed what the first one has written by now."""
    with (
        psycopg.connect(primary.dsn, autocommit=True) as first,
        psycopg.connect(standby.dsn, autocommit=True) as second,
    ):
        (written,) = first.execute("SELECT pg_current_wal_lsn()").fetchone() or ("",)

        def replayed() -> bool:
            row = second.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [written]).fetchone()
            return bool(row and row[0])

        wait_for(replayed, "the standby to have it all", seconds=30)


def kill(server: PrivatePostgres) -> None:
    """kill -9 a server; what it started ends by itself."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    server.stop()


def promote(standby: PrivatePostgres) -> None:
    """Make a standby the one that may be written to."""
    with psycopg.connect(standby.dsn, autocommit=True) as connection:
        assert connection.execute("SELECT pg_promote(true, 30)").fetchone() == (True,)
