"""A MariaDB server comes back: whole, from every point alone, to any second of the window; started, to see that."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pymysql
import pytest

from shared.errors import SkyharborError
from shared.model.backup import BackupType
from tests.support.mariadb import MariaDb, mariadb, needs_mariadb, started_on
from tests.workloads.mysql.rig import ServerRig
from workers.sources.mysql import chain

pytestmark = [needs_mariadb, pytest.mark.timeout(600)]

ROWS = 20_000


@pytest.fixture
def db() -> Iterator[MariaDb]:
    with mariadb() as server:
        yield server


def fill(db: MariaDb) -> None:
    """Pairs that sum up to nothing, a table under lock, and what else a schema has."""
    db.ask(
        "CREATE DATABASE d",
        "USE d",
        "CREATE TABLE pairs (id INT PRIMARY KEY AUTO_INCREMENT, n INT NOT NULL, pad VARCHAR(200), KEY (n))",
        f"INSERT INTO pairs (n, pad) SELECT 0, REPEAT(MD5(seq), 5) FROM seq_1_to_{ROWS}",  # noqa: S608
        "CREATE TABLE old (id INT) ENGINE=MyISAM",
        "INSERT INTO old VALUES (1)",
        "CREATE TABLE told (id INT) ENGINE=Aria",
        "INSERT INTO told VALUES (1)",
        "CREATE TABLE packed (b BLOB) PAGE_COMPRESSED=1",
        "INSERT INTO packed SELECT REPEAT(seq, 100) FROM seq_1_to_2000",
        "CREATE VIEW seen AS SELECT COUNT(*) FROM pairs",
        "CREATE PROCEDURE done() SELECT 1",
    )


@pytest.fixture
def item(db: MariaDb) -> ServerRig:
    item = ServerRig(db, db.folder / "own")
    item.grant()
    fill(db)
    return item


def at(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()


@contextmanager
def load(db: MariaDb) -> Iterator[list[int]]:
    """Transactions that move something from one row to another, without a pause; yields a list that grows with each."""
    done: list[int] = []
    stop = threading.Event()

    def run() -> None:
        connection = db.connect()
        connection.autocommit(False)
        with connection.cursor() as cursor:
            while not stop.is_set():
                one = len(done) * 7919 % ROWS + 1
                cursor.execute("UPDATE d.pairs SET n = n + 1, pad = REPEAT(MD5(RAND()), 5) WHERE id = %s", (one,))
                cursor.execute("UPDATE d.pairs SET n = n - 1 WHERE id = %s", (ROWS + 1 - one,))
                connection.commit()
                done.append(1)
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while len(done) < 10 and thread.is_alive():
            thread.join(0.01)
        yield done
    finally:
        stop.set()
        thread.join()


@contextmanager
def changing(db: MariaDb, *engines: str) -> Iterator[list[int]]:
    """Tables that come, get another name, make room for others, and go; yields the number of rounds so far."""
    stop, rounds = threading.Event(), [0]

    def run() -> None:
        connection = db.connect()
        with connection.cursor() as cursor:
            while not stop.is_set():
                n = rounds[0] = rounds[0] + 1
                for engine in engines:
                    name = f"d.{engine}_{n}"
                    cursor.execute(f"CREATE TABLE {name} (a INT PRIMARY KEY) ENGINE={engine}")
                    cursor.execute(f"INSERT INTO {name} VALUES ({n})")  # noqa: S608
                    cursor.execute(f"RENAME TABLE {name} TO {name}_b")
                    cursor.execute(f"CREATE TABLE {name} (a INT) ENGINE={engine}")
                    cursor.execute(f"ALTER TABLE {name} ADD b INT, ENGINE=InnoDB")
                    cursor.execute(f"DROP TABLE {name}")
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while not rounds[0] and thread.is_alive():
            thread.join(0.01)
        yield rounds
    finally:
        stop.set()
        thread.join()


def check(back: MariaDb) -> None:
    """A server that was restored: sound, and of one moment."""
    tables = back.ask(
        "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES WHERE ENGINE IS NOT NULL"
    )
    for (name,) in tables:
        if not str(name).startswith(("information_schema.", "performance_schema.", "sys.")):
            assert back.ask(f"CHECK TABLE {name} EXTENDED")[-1][3] in ("OK", "Table is already up to date"), name
    assert back.ask("SELECT SUM(n), COUNT(*) FROM d.pairs") == [(0, ROWS)]
    assert back.ask("SELECT * FROM d.seen") == [(ROWS,)]


def test_a_full_and_increments_under_load_come_back_sound_and_of_one_moment(item: ServerRig) -> None:
    db = item.server
    with load(db) as done:
        full = item.backup()
        between = len(done)
        item.backup()
        third = item.backup()
        assert len(done) > between, "there was no load"
    assert [step.is_full for step in item.info().steps] == [True, False, False]
    assert (full.point.type, third.point.type) == (BackupType.FULL, BackupType.INCREMENTAL)
    assert third.stats.bytes_read < full.stats.bytes_read
    target = db.folder / "back"
    item.restore(target)
    with started_on(target) as back:
        check(back)


def test_the_last_point_is_the_server_as_it_was(item: ServerRig) -> None:
    db = item.server
    item.backup()
    db.ask("UPDATE d.pairs SET n = 0, pad = 'x' WHERE id % 100 = 0", "INSERT INTO d.old VALUES (2)")
    db.ask("CREATE TABLE d.more AS SELECT 1 AS x", "DROP TABLE d.told", "CREATE USER late@localhost")
    item.backup()
    sums = db.checksums()
    target = db.folder / "back"
    item.restore(target)
    with started_on(target) as back:
        assert back.checksums() == sums
        check(back)
        assert back.ask("SELECT COUNT(*) FROM mysql.global_priv WHERE User = 'late'") == [(1,)]


def test_a_database_comes_back_from_the_second_before_it_was_dropped(item: ServerRig) -> None:
    db = item.server
    item.backup()
    db.pass_a_second()
    db.pass_a_second()
    db.ask("UPDATE d.pairs SET pad = 'after' WHERE id < 500", "INSERT INTO d.old VALUES (2)", "FLUSH BINARY LOGS")
    db.ask(
        "CREATE TABLE d.after AS SELECT 'ü' AS x", "CREATE USER late@localhost", "GRANT SELECT ON d.* TO late@localhost"
    )
    sums = db.checksums()
    good = db.pass_a_second()
    db.ask("DROP DATABASE d")
    db.pass_a_second()
    item.backup()
    target = db.folder / "back"
    item.restore(target, until=at(good))
    with started_on(target) as back:
        assert back.checksums() == sums
        check(back)
        assert "GRANT SELECT ON `d`.*" in str(back.ask("SHOW GRANTS FOR late@localhost"))


def test_between_two_increments_a_moment_is_reached_from_the_nearer_one(item: ServerRig) -> None:
    db = item.server
    item.backup()
    db.ask("INSERT INTO d.told VALUES (2)")
    item.backup()
    db.pass_a_second()
    db.pass_a_second()
    db.ask("INSERT INTO d.told VALUES (3)")
    good = db.pass_a_second()
    db.ask("INSERT INTO d.told VALUES (4)")
    db.pass_a_second()
    item.backup()
    # Not even the log of the first increment is needed: without it the moment is still reached.
    info = item.info()
    assert chain.number_for(info, good) == 1
    target = db.folder / "back"
    item.restore(target, until=at(good))
    with started_on(target) as back:
        assert back.ask("SELECT id FROM d.told ORDER BY id") == [(1,), (2,), (3,)]


def test_every_point_restores_alone(item: ServerRig) -> None:
    db = item.server
    sums = []
    for _ in range(3):
        db.ask("INSERT INTO d.told SELECT MAX(id) + 10 FROM d.told")
        item.backup()
        sums.append(db.checksums())
    for number, point in enumerate(item.rig.points()):
        target = db.folder / f"back-{number}"
        item.restore(target, point_id=point)
        with started_on(target) as back:
            assert back.checksums() == sums[number]
        shutil.rmtree(target)


def test_tables_that_are_made_renamed_and_dropped_during_the_backup_are_as_they_were_in_the_end(
    item: ServerRig,
) -> None:
    """Of InnoDB: with others mariabackup 10.11 itself sends tables that are not whole, whoever unpacks them."""
    db = item.server
    with changing(db, "InnoDB") as rounds:
        item.backup()
        item.backup()
        assert rounds[0] > 3
    target = db.folder / "back"
    item.restore(target)
    with started_on(target) as back:
        check(back)
        kept = [str(name) for (name,) in back.ask("SHOW TABLES FROM d LIKE '%\\_b'")]
        assert len(kept) > 3
        for name in kept:
            assert back.ask(f"SELECT a FROM d.{name}") in ([(int(name.split("_")[1]),)], [])  # noqa: S608


def test_a_moment_outside_of_the_window_is_refused_before_anything_is_written(item: ServerRig) -> None:
    db = item.server
    item.backup()
    item.backup()
    info = item.info()
    for until in (at(info.steps[0].not_after - 1), at(info.last.not_before + 1), "2020-01-01T00:00:00Z"):
        with pytest.raises(SkyharborError, match="outside of what the point can bring back: ") as caught:
            item.restore(db.folder / "back", until=until)
        assert caught.value.code == "bad-request"
    with pytest.raises(SkyharborError, match="no moment with a time zone"):
        item.restore(db.folder / "back", until="2026-01-01T00:00:00")
    assert not (db.folder / "back").exists()


def test_a_server_that_was_put_back_to_an_earlier_state_is_read_in_full(item: ServerRig) -> None:
    db = item.server
    db.stop()
    shutil.copytree(db.data, db.folder / "earlier")
    db.start()
    db.ask("INSERT INTO d.told VALUES (2)")
    item.backup()
    db.stop()
    # The same files, at the same places: all that a rolled-back disk would leave to be seen.
    for name in sorted((db.folder / "earlier").rglob("*")):
        if name.is_file():
            shutil.copyfile(name, db.data / name.relative_to(db.folder / "earlier"))
    shutil.rmtree(db.data / "performance_schema", ignore_errors=True)
    for path in (db.folder / "log").iterdir():
        path.unlink()
    db.start()
    while db.ask("SHOW GLOBAL STATUS LIKE 'Innodb_lsn_current'") and item.info().last.to_lsn >= int(
        db.ask("SHOW GLOBAL STATUS LIKE 'Innodb_lsn_current'")[0][1]
    ):
        db.ask("UPDATE d.pairs SET pad = REPEAT(MD5(RAND()), 5) WHERE id < 5000")
    done = item.backup()
    assert [notice.code for notice in done.warnings if notice.code != "locked-tables"] == ["full-instead"]
    sums = db.checksums()
    item.restore(db.folder / "back")
    with started_on(db.folder / "back") as back:
        assert back.checksums() == sums


def test_a_server_that_was_only_started_again_is_gone_on_with(item: ServerRig) -> None:
    db = item.server
    item.backup()
    db.stop()
    db.start()
    db.ask("INSERT INTO d.told VALUES (2)")
    done = item.backup()
    assert done.warnings == ()
    assert [step.is_full for step in item.info().steps] == [True, False]
    assert item.info().replay_from == 0


def test_a_log_that_was_purged_begins_the_window_again_and_says_so(item: ServerRig) -> None:
    db = item.server
    item.backup()
    db.ask("FLUSH BINARY LOGS", "INSERT INTO d.told VALUES (2)", "FLUSH BINARY LOGS")
    db.ask(f"PURGE BINARY LOGS TO '{db.ask('SHOW MASTER STATUS')[0][0]}'")
    done = item.backup()
    assert [notice.code for notice in done.warnings] == ["window-begins-again"]
    info = item.info()
    assert (len(info.steps), info.replay_from) == (2, 1)
    with pytest.raises(SkyharborError, match="outside"):
        item.restore(db.folder / "back", until=at(info.steps[0].not_after))
    db.pass_a_second()
    db.pass_a_second()
    db.ask("INSERT INTO d.told VALUES (3)")
    good = db.pass_a_second()
    db.ask("INSERT INTO d.told VALUES (4)")
    db.pass_a_second()
    assert item.backup().warnings == ()
    item.restore(db.folder / "back", until=at(good))
    with started_on(db.folder / "back") as back:
        assert back.ask("SELECT id FROM d.told ORDER BY id") == [(1,), (2,), (3,)]


def test_a_server_without_a_log_has_only_the_moments_of_its_points_and_that_is_said() -> None:
    with mariadb(binlog=False) as db:
        item = ServerRig(db, db.folder / "own")
        item.grant()
        fill(db)
        for _ in range(3):  # how long it runs is told in whole seconds: a point before that is as if before its start
            db.pass_a_second()
        assert "no-window" in [notice.code for notice in item.backup().warnings]
        db.ask("INSERT INTO d.told VALUES (2)")
        assert item.backup().warnings == ()
        assert len(item.info().steps) == 2
        sums = db.checksums()
        with pytest.raises(SkyharborError, match="only its own moment"):
            item.restore(db.folder / "back", until=at(db.now()))
        item.restore(db.folder / "back")
        with started_on(db.folder / "back") as back:
            assert back.checksums() == sums
        db.stop()
        db.start()
        assert "full-instead" in [notice.code for notice in item.backup().warnings]


def test_a_new_full_after_many_increments_still_reaches_the_moments_before_it(
    item: ServerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "MOST_INCREMENTS", 1)
    db = item.server
    item.backup()
    item.backup()
    db.pass_a_second()
    db.pass_a_second()
    db.ask("INSERT INTO d.told VALUES (2)")
    good = db.pass_a_second()
    db.ask("DROP TABLE d.told")
    db.pass_a_second()
    done = item.backup()
    assert [step.name for step in item.info().steps] == ["full/0001", "incr/0002", "full/0003"]
    assert done.point.type is BackupType.INCREMENTAL
    item.restore(db.folder / "back", until=at(good))
    with started_on(db.folder / "back") as back:
        assert back.ask("SELECT id FROM d.told ORDER BY id") == [(1,), (2,)]
    item.backup()
    assert [step.name for step in item.info().steps] == ["full/0003", "incr/0004"]


def test_a_differential_backup_goes_on_from_the_full(item: ServerRig) -> None:
    db = item.server
    item.backup()
    db.ask("INSERT INTO d.told VALUES (2)")
    item.backup()
    db.ask("INSERT INTO d.told VALUES (3)")
    item.backup(type=BackupType.DIFFERENTIAL)
    info = item.info()
    assert [(step.name, step.from_lsn) for step in info.steps] == [
        ("full/0001", 0),
        ("incr/0002", info.steps[0].to_lsn),
    ]
    sums = db.checksums()
    item.restore(db.folder / "back")
    with started_on(db.folder / "back") as back:
        assert back.checksums() == sums


def test_a_table_that_lies_elsewhere_comes_back_into_the_data_folder(item: ServerRig) -> None:
    db = item.server
    elsewhere = db.folder / "elsewhere"
    elsewhere.mkdir()
    shutil.chown(elsewhere, *_owner(db.data))
    db.ask(f"CREATE TABLE d.far (id INT) DATA DIRECTORY='{elsewhere}'", "INSERT INTO d.far VALUES (1)")
    assert "moved-tables" in [notice.code for notice in item.backup().warnings]
    target = db.folder / "back"
    item.restore(target)
    assert list(target.rglob("*.isl")) == []
    with started_on(target) as back:
        back.ask("INSERT INTO d.far VALUES (2)")
        assert back.ask("SELECT id FROM d.far ORDER BY id") == [(1,), (2,)]
    assert db.ask("SELECT id FROM d.far") == [(1,)]


def test_what_is_restored_belongs_to_the_server_s_user_and_to_nobody_else(item: ServerRig) -> None:
    item.backup()
    target = item.server.folder / "back"
    item.restore(target)
    nodes = [target, *target.rglob("*")]
    assert {(node.stat().st_uid, node.stat().st_gid) for node in nodes} == {_owner(item.server.data)}
    assert {node.stat().st_mode & 0o7777 for node in nodes if node.is_dir()} == {0o700}
    assert {node.stat().st_mode & 0o7777 for node in nodes if node.is_file()} == {0o660}


def test_parts_of_the_tree_come_back_as_the_files_that_they_are(item: ServerRig) -> None:
    item.backup()
    target = item.server.folder / "parts"
    item.restore(target, "/binlog", "/info.json")
    assert sorted(os.listdir(target)) == ["binlog", "info.json"]
    shipped = item.info().binlogs[0]
    whole = (item.server.folder / "log" / shipped.file).read_bytes()
    (part,) = (target / "binlog" / shipped.file).iterdir()
    assert part.read_bytes()[23:] == whole[23 : shipped.end]


def _owner(path: Path) -> tuple[int, int]:
    info = path.stat()
    return info.st_uid, info.st_gid


def test_a_full_that_was_asked_for_begins_anew(item: ServerRig) -> None:
    item.backup()
    item.backup()
    item.backup(type=BackupType.FULL)
    assert [step.name for step in item.info().steps] == ["full/0001"]


def test_the_account_needs_no_more_than_the_guide_says(item: ServerRig) -> None:
    """Not even to see the data: what it may not read it copies all the same."""
    connection = item.server.connect("backup", "p w#\"\\'$ö".encode())  # type: ignore[arg-type]
    with connection.cursor() as cursor, pytest.raises(pymysql.err.OperationalError, match="denied"):
        cursor.execute("SELECT * FROM d.pairs")
    connection.close()
    item.backup()
