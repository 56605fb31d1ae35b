"""A server of MariaDB, physically and by dumps."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from shared.contracts.sources import MysqlSource, SourceSpec
from shared.contracts.work import ItemRef, MachineRef, PointRef, RestoreInstruction, VaultRef
from shared.vault.reader import PointReader
from tests.exam.seat import Seat
from tests.support.mariadb import MISSING, MariaDb, mariadb, place, started_on
from tests.support.uncontrolled import Uncontrolled
from workers.sources.mysql.dumping import GRANTS as DUMP_GRANTS
from workers.sources.mysql.landing import land_mysql
from workers.sources.mysql.server import GRANTS

_ROWS = 12_000
_PASSWORD = "a 'word' to pass"


class MysqlSeat:
    """Pairs of rows always sum up to nothing."""

    def __init__(self, folder: Path, *, dump: bool) -> None:
        if MISSING:
            pytest.skip(f"needs mariadb-server and mariadb-backup; missing: {', '.join(MISSING)}")
        self.name = "mysql (dump)" if dump else "mysql"
        self._dump = dump
        self._rng = random.Random(11)
        self._stack = ExitStack()
        self._db = self._stack.enter_context(mariadb())
        self._db.ask(
            "CREATE DATABASE d",
            "USE d",
            "CREATE TABLE pairs (id INT PRIMARY KEY AUTO_INCREMENT, n INT NOT NULL, pad BLOB, KEY (n))",
            f"INSERT INTO pairs (n, pad) SELECT 0, RANDOM_BYTES(1000) FROM seq_1_to_{_ROWS}",  # noqa: S608
            f'CREATE USER backup@localhost IDENTIFIED BY "{_PASSWORD}"',
            f"GRANT {DUMP_GRANTS if dump else GRANTS} ON *.* TO backup@localhost",
        )
        self._write_out()
        self._writer = self._db.connect()
        self._credentials = folder / "credentials"
        self.spec: SourceSpec = self._spec(_PASSWORD)

    def _write_out(self) -> None:
        """Have the server write its pages: an increment has all that were not when its full was begun."""
        self._db.ask("SET GLOBAL innodb_max_dirty_pages_pct = 0, innodb_max_dirty_pages_pct_lwm = 0")
        deadline = time.monotonic() + 60
        while int(self._db.ask("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'")[0][1]):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _spec(self, password: str) -> MysqlSource:
        path = self._credentials.with_name(f"credentials-{len(password)}")
        path.write_text(f"password={password}\n")
        path.chmod(0o600)
        return MysqlSource(dsn=self._db.dsn("backup"), credentials_file=str(path), dump=self._dump)

    def truth(self) -> object:
        return _content(self._db)

    def change(self) -> None:
        self._run("UPDATE d.pairs SET pad = RANDOM_BYTES(1000) WHERE id = 77")

    def restored(self, reader: PointReader, target: Path) -> object:
        with ExitStack() as stack:
            out = target if self._dump else stack.enter_context(place()) / "data"
            machine, item = MachineRef(id="m", name="m"), ItemRef(id="i", name="i")
            vault = VaultRef(id="v", name="v", url="file:///v")
            point = PointRef(point_id=reader.point.point_id, machine=machine, item=item, vault=vault)
            instruction = RestoreInstruction(point=point, target=str(out))
            land_mysql(reader, instruction, control=Uncontrolled(), folder=str(target.parent))
            if not self._dump:
                return _content(stack.enter_context(started_on(out)))
            fresh = stack.enter_context(mariadb())
            with open(out / "dump" / "d.sql", "rb") as file:
                client = ["mariadb", "--no-defaults", f"--socket={fresh.socket}", "-uroot", "--binary-mode"]
                subprocess.run(client, stdin=file, check=True, timeout=120)
            return _content(fresh)

    def left_behind(self) -> Sequence[str]:
        if self._db.process is None:
            return []
        rows = self._db.ask("SELECT INFO FROM information_schema.PROCESSLIST WHERE USER = 'backup'")
        return [f"a session of the backup: {row[0]}" for row in rows]

    def wrong(self) -> Sequence[tuple[SourceSpec, str]]:
        return [
            (self._spec("wrong"), "Check user and password"),
            (MysqlSource(dsn="mysql://backup@localhost?socket=/nowhere/s", dump=self._dump), "that it runs"),
            (MysqlSource(dsn="http://localhost"), "mysql://user@host:port"),
        ]

    def write_on(self) -> None:
        one, other = self._rng.sample(range(1, _ROWS), 2)
        self._run("UPDATE d.pairs SET n = n + IF(id = %s, 1, -1) WHERE id IN (%s, %s)", (one, one, other))

    def is_of_one_moment(self, truth: object) -> bool:
        assert isinstance(truth, Sequence)
        return len(truth) == _ROWS and sum(row[1] for row in truth) == 0

    def die(self) -> bool:
        self._db.kill()
        return True

    def close(self) -> None:
        self._writer.close()
        self._stack.close()

    def _run(self, question: str, values: Sequence[Any] = ()) -> None:
        with self._writer.cursor() as cursor:
            cursor.execute(question, values)


def _content(db: MariaDb) -> list[tuple[Any, ...]]:
    assert db.ask("CHECK TABLE d.pairs EXTENDED")[-1][3] == "OK"
    return db.ask("SELECT id, n, MD5(pad) FROM d.pairs ORDER BY id")


def seats() -> Mapping[str, Callable[[Path], Seat]]:
    return {
        "mysql": lambda folder: MysqlSeat(folder, dump=False),
        "mysql (dump)": lambda folder: MysqlSeat(folder, dump=True),
    }
