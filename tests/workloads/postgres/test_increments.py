"""Increments of PostgreSQL 17 and later: put together here, they are what pg_combinebackup makes of them."""

from __future__ import annotations

import filecmp
import os
import shutil
import time
from dataclasses import replace

import pytest

from shared.model.backup import BackupType
from tests.workloads.postgres.cluster import Cluster, run
from tests.workloads.postgres.conftest import Make
from tests.workloads.postgres.rig import PgRig
from workers.sources.postgres.planning import Limits

OFTEN = Limits(increment_share=0, increment_floor=-(16 << 20))
_OURS = frozenset({"postgresql.auto.conf", "backup_manifest", "recovery.signal"})


@pytest.fixture
def major() -> int:
    return 18


def _changes(cluster: Cluster, round: int) -> None:
    """Relations grow, shrink to nothing, come and go, and are rewritten."""
    cluster.pgbench("-n", "-t", "200")
    cluster.sql(
        f"CREATE TABLE made{round} AS SELECT g, repeat('x', 500) t FROM generate_series(1, 2000) g",  # noqa: S608
        f"INSERT INTO grows SELECT g, repeat('y', 700) FROM generate_series(1, {1000 * round}) g",  # noqa: S608
        f"DELETE FROM shrinks WHERE n > {8000 // round}",  # noqa: S608
        "VACUUM (TRUNCATE) shrinks",
        f"DROP TABLE IF EXISTS made{round - 1}",
        "TRUNCATE pgbench_history" if round == 2 else "SELECT 1",
        "VACUUM FULL pgbench_tellers",
        "CHECKPOINT",
    )


def _chain(cluster: Cluster) -> PgRig:
    rig = PgRig(cluster.dsn)
    cluster.sql(
        "CREATE TABLE grows (n int, t text)",
        "CREATE TABLE shrinks AS SELECT n, repeat('z', 600) t FROM generate_series(1, 9000) n",
        "CREATE TABLE made0 (n int)",
    )
    rig.backup()
    rig.limits = OFTEN
    for round in (1, 2, 3):
        _changes(cluster, round)
        with cluster.under_load():
            rig.backup()
    return rig


def test_three_increments_give_file_by_file_what_pg_combinebackup_gives_and_a_cluster_that_starts(
    cluster: Cluster, restored: Cluster, place: str
) -> None:
    rig = _chain(cluster)
    backups = rig.window().backups
    assert [(one.name, one.parent) for one in backups] == [("1", ""), ("2", "1"), ("3", "2"), ("4", "3")]
    assert all(one.size < backups[0].size for one in backups[1:])  # how much smaller is the load's to say
    rig.restore(restored.data, until="latest")
    restored.verify()
    theirs = _by_pg_combinebackup(rig, cluster, place)
    assert _differences(theirs, restored.data) == []
    restored.start()
    restored.check()
    assert restored.sql("SELECT max(n), count(*) FROM shrinks") == [(2666, 2666)]
    assert restored.sql("SELECT count(*) FROM grows") == [(6000,)]
    assert restored.sql("SELECT to_regclass('made2'), count(*) FROM made3") == [(None, 2000)]


def test_a_moment_before_the_last_increment_is_replayed_from_an_earlier_one(
    cluster: Cluster, restored: Cluster
) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    rig.limits = OFTEN
    for _ in range(2):
        cluster.pgbench("-n", "-t", "100")
        rig.backup()
    cluster.pgbench("-n", "-t", "100")
    sums, moment = cluster.sums(), cluster.now()
    cluster.pgbench("-n", "-t", "100")
    rig.backup()
    rig.restore(restored.data, until=moment)
    restored.verify()
    assert restored.start().sums() == sums


def test_a_differential_is_one_increment_to_the_last_full(cluster: Cluster, restored: Cluster) -> None:
    rig = PgRig(cluster.dsn)
    full = rig.backup().point.point_id
    for _ in range(2):
        cluster.sql("SELECT pg_switch_wal()")
        cluster.pgbench("-n", "-t", "50")
        rig.backup()
    cluster.sql("CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT")  # the log since the full is gone
    sums = cluster.sums()
    rig.backup(BackupType.DIFFERENTIAL, against=full)
    assert [(one.name, one.parent) for one in rig.window().backups] == [("1", ""), ("2", "1")]
    assert rig.codes() == []
    rig.restore(restored.data)
    restored.verify()
    assert restored.start().sums() == sums


def test_after_the_last_increment_of_a_chain_comes_the_log_and_then_a_new_base(cluster: Cluster) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    rig.limits = replace(OFTEN, increments=1, base_share=0, base_floor=-(16 << 20))
    for _ in range(2):
        cluster.pgbench("-n", "-t", "10")
        rig.backup()
    assert [(one.name, one.parent) for one in rig.window().backups] == [("1", ""), ("2", "1"), ("3", "")]


def test_a_server_whose_summaries_are_gone_gives_a_new_base_and_that_is_said(cluster: Cluster) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    cluster.pgbench("-n", "-t", "50")
    [[written]] = cluster.sql("SELECT pg_current_wal_insert_lsn()")
    cluster.sql("CHECKPOINT")
    # What is not summed up yet would be summed up after the others are gone.
    until = time.monotonic() + 60
    while not cluster.sql(f"SELECT 1 FROM pg_available_wal_summaries() WHERE end_lsn >= '{written}'"):  # noqa: S608
        assert time.monotonic() < until
        time.sleep(0.05)
    summaries = os.path.join(cluster.data, "pg_wal", "summaries")
    for name in os.listdir(summaries):
        os.unlink(os.path.join(summaries, name))
    rig.limits = OFTEN
    rig.backup()
    assert rig.codes() == ["increment-refused"]
    assert [(one.name, one.parent) for one in rig.window().backups] == [("1", ""), ("2", "")]


def test_without_summaries_there_are_no_increments(make: Make) -> None:
    cluster = make(18, "plain").create().start()
    cluster.pgbench("-i", "-q", "-s", "1")
    rig = PgRig(cluster.dsn)
    rig.backup()
    rig.limits = OFTEN
    cluster.pgbench("-n", "-t", "10")
    rig.backup()
    assert [one.name for one in rig.window().backups] == ["1"]


def _by_pg_combinebackup(rig: PgRig, cluster: Cluster, place: str) -> str:
    """Put the point's chain together as a person would who has the tree and PostgreSQL's own programs."""
    tree = os.path.join(place, "tree")
    rig.tree(tree)
    if os.geteuid() == 0:
        for folder, _, files in os.walk(tree):
            for name in (".", *files):
                shutil.chown(os.path.join(folder, name), 65534, 65534)
    inputs = []
    for name in ("1", "2", "3", "4"):
        data = os.path.join(tree, "base", name, "pgdata")
        shutil.copy2(os.path.join(tree, "base", name, "backup_manifest"), data)
        shutil.chown(os.path.join(data, "backup_manifest"), 65534, 65534)
        os.chmod(data, 0o700)
        inputs.append(data)
    out = os.path.join(place, "theirs")
    run(cluster.program("pg_combinebackup"), *inputs, "-o", out)
    return out


def _differences(theirs: str, ours: str) -> list[str]:
    """Return paths of files that one of them lacks, or that differ; but for those that a restore writes itself."""
    found = []
    for left, right in ((theirs, ours), (ours, theirs)):
        for folder, _, files in os.walk(left):
            for name in files:
                path = os.path.relpath(os.path.join(folder, name), left)
                other = os.path.join(right, path)
                if name in _OURS or path.startswith("pg_wal"):
                    continue
                if not os.path.exists(other) or not filecmp.cmp(os.path.join(left, path), other, shallow=False):
                    found.append(path)
    return sorted(set(found))
