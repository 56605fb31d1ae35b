"""Databases as SQL: each is of one moment, and a fresh server takes them back with accounts and all."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import SkyharborError
from tests.support.mariadb import MariaDb, mariadb, needs_mariadb
from tests.workloads.mysql.rig import ServerRig
from tests.workloads.mysql.test_faults import is_free
from tests.workloads.mysql.test_physical import ROWS, fill, load
from workers.sources.mysql.dumping import GRANTS

pytestmark = [needs_mariadb, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def db() -> Iterator[MariaDb]:
    with mariadb() as server:
        fill(server)
        server.ask(
            "CREATE DATABASE `a/b %`",
            "CREATE TABLE `a/b %`.`t` (x VARBINARY(10), y VARCHAR(10) CHARACTER SET utf8mb4)",
            "INSERT INTO `a/b %`.`t` VALUES (0x00FF0A0D1A27, 'ü€😀')",
            "CREATE EVENT d.never ON SCHEDULE EVERY 1 YEAR DO SELECT 1",
            "CREATE TRIGGER d.keeps BEFORE INSERT ON d.told FOR EACH ROW SET NEW.id = NEW.id + 0",
            "CREATE USER reader@localhost IDENTIFIED BY 'x'",
            "GRANT SELECT ON d.* TO reader@localhost",
        )
        yield server


@pytest.fixture
def item(db: MariaDb, tmp_path: Path) -> ServerRig:
    item = ServerRig(db, tmp_path / "own", dump=True)
    item.grant(GRANTS)
    return item


def take_back(db: MariaDb, folder: Path) -> None:
    for path in [*sorted((folder / "dump").iterdir()), folder / "users.sql"]:
        with open(path, "rb") as file:
            subprocess.run(
                ["mariadb", "--no-defaults", f"--socket={db.socket}", "-uroot", "--binary-mode"],
                stdin=file,
                check=True,
                timeout=120,
            )


def test_a_fresh_server_takes_everything_back(item: ServerRig, db: MariaDb, tmp_path: Path) -> None:
    with load(db):
        done = item.backup()
    assert [notice.code for notice in done.warnings] == ["not-one-moment"]
    item.restore(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "dump").iterdir()) == ["a%2Fb %25.sql", "d.sql"]
    with mariadb() as fresh:
        take_back(fresh, tmp_path / "out")
        assert fresh.ask("SELECT SUM(n), COUNT(*) FROM d.pairs") == [(0, ROWS)]
        other = {name: value for name, value in db.checksums().items() if "pairs" not in name}
        assert {name: value for name, value in fresh.checksums().items() if "pairs" not in name} == other
        assert fresh.ask("SELECT x, y FROM `a/b %`.t") == [(b"\x00\xff\n\r\x1a'", "ü€😀")]
        assert fresh.ask("SELECT EVENT_NAME FROM information_schema.EVENTS") == [("never",)]
        assert fresh.ask("SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA='d'") == [
            ("keeps",)
        ]
        assert fresh.ask("CALL d.done()") == [(1,)]
        assert "GRANT SELECT ON `d`.*" in str(fresh.ask("SHOW GRANTS FOR reader@localhost"))


def test_what_did_not_change_is_not_stored_again(item: ServerRig) -> None:
    first = item.backup()
    second = item.backup()
    assert second.stats.bytes_transferred < first.stats.bytes_transferred / 20


def test_a_dump_that_its_program_could_not_end_makes_no_point(item: ServerRig, db: MariaDb) -> None:
    item.grant("SELECT, LOCK TABLES, PROCESS")  # no SHOW VIEW: it fails in the midst
    with pytest.raises(SkyharborError, match="could not be dumped") as caught:
        item.backup()
    assert caught.value.code == "source-failed"
    assert GRANTS in str(caught.value.fields["hint"])
    assert (item.rig.points(), item.left_behind()) == ([], [])
    assert is_free(db)


def test_a_dump_has_no_moments_to_come_back_to(item: ServerRig, tmp_path: Path) -> None:
    item.backup()
    with pytest.raises(SkyharborError, match="there are no options for that"):
        item.restore(tmp_path / "out", until="2026-01-01T00:00:00Z")
    assert not (tmp_path / "out").exists()
