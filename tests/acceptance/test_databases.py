"""Databases from the command line to the started server, by the workers of a running stack."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.fleet import Fleet
from tests.support.mariadb import mariadb, needs_mariadb, started_on
from workers.sources.mysql.server import GRANTS

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


@needs_mariadb
def test_a_mariadb_server_comes_back_from_before_its_accident(shared_fleet: Fleet, tmp_path: Path) -> None:
    stack, credentials = shared_fleet.stack, tmp_path / "credentials"
    credentials.write_text("user=backup\npassword=secret-canary\n")
    credentials.chmod(0o600)
    # As the worker's own user, which has no rights here but those that mode bits give.
    with mariadb(as_root=os.geteuid() == 0) as db:
        db.ask(
            "CREATE USER backup@localhost IDENTIFIED BY 'secret-canary'", f"GRANT {GRANTS} ON *.* TO backup@localhost"
        )
        db.ask("CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)")
        stack.ask(
            "item", "add", "mysql", "shop", "--machine", "m1", "--vault", "v1",
            "--dsn", db.dsn(""), "--credentials-file", str(credentials),
        )  # fmt: skip
        first = stack.ask("backup", "shop", "--wait", timeout=300)
        assert (first["type"], first["state"]) == ("full", "completed")
        db.pass_a_second()
        db.pass_a_second()
        db.ask("INSERT INTO d.t VALUES (2)")
        good = datetime.fromtimestamp(db.pass_a_second(), UTC)
        db.ask("DROP DATABASE d")
        db.pass_a_second()
        second = stack.ask("backup", "shop", "--wait", timeout=300)
        assert second["type"] == "incremental"
        assert second["stats"]["bytes_read"] < first["stats"]["bytes_read"]
        shown = stack.ask("point", "show", second["point"])
        assert shown["moments_from"] <= good.strftime("%Y-%m-%dT%H:%M:%SZ") <= shown["moments_until"]
        back = tmp_path / "back"
        stack.ask(
            "restore", second["point"], "--to", str(back), "--until", good.isoformat(), "--wait", timeout=300
        )  # fmt: skip
        with started_on(back, as_root=os.geteuid() == 0) as restored:
            assert restored.ask("SELECT a FROM d.t ORDER BY a") == [(1,), (2,)]
        refused = stack.run(
            "restore", second["point"], "--to", str(tmp_path / "no"), "--until", "2020-01-01T00:00:00Z", "--wait"
        )
        assert refused.code == 1
        assert "outside of what the point can bring back" in refused.out + refused.err
        shown = stack.run("item", "show", "shop")
        assert "secret-canary" not in shown.out
    logs = [path for path in stack.home.rglob("*.log") if b"secret-canary" in path.read_bytes()]
    assert logs == []


def test_a_sqlite_database_comes_back_with_what_was_only_in_its_wal(shared_fleet: Fleet, tmp_path: Path) -> None:
    stack, path = shared_fleet.stack, tmp_path / "app.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as app:
        app.execute("PRAGMA journal_mode=WAL")
        app.execute("CREATE TABLE t (a)")
        app.execute("INSERT INTO t VALUES (42)")
        stack.ask("item", "add", "sqlite", "app", "--machine", "m1", "--vault", "v1", "--path", str(path))
        job = stack.ask("backup", "app", "--wait")
        assert (job["state"], job["stats"]["warnings"]) == ("completed", 0)
        stack.ask("restore", job["point"], "--to", str(tmp_path / "out"), "--wait")
    with closing(sqlite3.connect(f"{tmp_path}/out{path}")) as restored:
        assert restored.execute("SELECT a FROM t").fetchall() == [(42,)]
    assert "sqlite" in stack.run("item", "list").out


def test_a_password_in_a_dsn_is_refused_and_kept_nowhere(shared_fleet: Fleet) -> None:
    stack = shared_fleet.stack
    said = stack.run(
        "item", "add", "mysql", "bad", "--machine", "m1", "--vault", "v1", "--dsn", "mysql://me:secret-canary@db"
    )
    assert said.code == 2
    assert "secret-canary" not in said.out + said.err
