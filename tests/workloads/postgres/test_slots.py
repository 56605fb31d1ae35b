"""The slot keeps the log exactly as long as no point has it, whatever dies; what cannot be kept is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from shared.errors import SkyharborError
from shared.vault.entry import Entry
from tests.workloads.postgres.cluster import Cluster
from tests.workloads.postgres.conftest import Make
from tests.workloads.postgres.rig import PgRig
from workers.guard import DEEDS
from workers.sources.postgres import wal_stream
from workers.sources.postgres.lsn import parse_lsn
from workers.sources.postgres.slot import DEED

_SLOT = "skyharbor_item"
_KILLED = """
import os, sys
sys.path.insert(0, {root!r})
from tests.workloads.postgres.rig import PgRig
from workers.guarding.client import GuardLine

rig = PgRig({dsn!r})
rig.guard = GuardLine(os.environ, log_file=None)

def look(entry):
    if entry.path.startswith({until!r}):
        print("there", flush=True)
        sys.stdin.read()

rig.backup(on_node=look)
"""


def _kept(cluster: Cluster) -> int | None:
    rows = cluster.sql(f"SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = '{_SLOT}'")  # noqa: S608
    return parse_lsn(rows[0][0]) if rows else None


def _kill_at(cluster: Cluster, until: bytes) -> None:
    """Have another process begin a backup, and kill it when the stream has got so far."""
    code = _KILLED.format(root=os.getcwd(), dsn=cluster.dsn, until=until)
    worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"there\n"
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert worker.stdin is not None
    worker.stdin.close()
    worker.stdout.close()


def test_a_sealed_point_moves_the_slot_to_its_end_and_nothing_before_does(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_stream, "_TELL_EVERY", 0.0)
    rig = PgRig(cluster.dsn)
    rig.backup()
    assert _kept(cluster) == parse_lsn(rig.window().log_ends)
    before = _kept(cluster)
    for _ in range(3):
        cluster.sql("SELECT pg_switch_wal()")
        cluster.pgbench("-n", "-t", "10")
    rig.backup(on_node=lambda entry: None if _kept(cluster) == before else pytest.fail(f"moved at {entry.path!r}"))
    assert _kept(cluster) == parse_lsn(rig.window().log_ends) > (before or 0)


def test_a_killed_backup_leaves_no_backup_mode_and_loses_no_log(cluster: Cluster, restored: Cluster) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    before = _kept(cluster)
    _kill_at(cluster, b"wal/0")
    cluster.pgbench("-n", "-t", "10")
    assert _kept(cluster) == before
    sums = cluster.sums()
    rig.backup()
    assert rig.codes() == []
    assert cluster.sql("SELECT count(*) FROM pg_stat_progress_basebackup") == [(0,)]
    assert cluster.sql("SELECT count(*) FROM pg_stat_replication") == [(0,)]
    rig.restore(restored.data)
    assert restored.start().sums() == sums


def test_a_first_backup_that_is_killed_leaves_neither_backup_mode_nor_slot(cluster: Cluster) -> None:
    _kill_at(cluster, b"base/1/pgdata/base")
    cluster.until(lambda: _kept(cluster) is None)
    cluster.until(lambda: cluster.sql("SELECT count(*) FROM pg_stat_progress_basebackup") == [(0,)])
    rig = PgRig(cluster.dsn)
    rig.backup()
    assert _kept(cluster) == parse_lsn(rig.window().log_ends)


def test_the_slot_that_a_first_backup_made_goes_when_it_fails_and_the_guard_has_nothing_left_to_do(
    cluster: Cluster,
) -> None:
    rig = PgRig(cluster.dsn)

    def fail(entry: Entry) -> None:
        if entry.path.startswith(b"base/1/pgdata/base/"):
            assert [kind for kind, _ in rig.guard.armed.values()] == [DEED]
            assert _kept(cluster) is not None
            raise SkyharborError("store-unreachable", "as the test wants it")

    with pytest.raises(SkyharborError, match="as the test wants it"):
        rig.backup(on_node=fail)
    assert _kept(cluster) is None
    assert rig.guard.armed == {}


def test_the_slot_of_a_later_backup_that_fails_stays_with_its_log(cluster: Cluster) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    before = _kept(cluster)

    def fail(entry: Entry) -> None:
        raise SkyharborError("store-unreachable", "as the test wants it")

    with pytest.raises(SkyharborError):
        rig.backup(on_node=fail)
    assert _kept(cluster) == before is not None


def test_the_guard_drops_the_slot_of_a_worker_that_died_in_its_first_backup_and_may_do_it_twice(
    cluster: Cluster,
) -> None:
    rig = PgRig(cluster.dsn)
    armed: list[tuple[str, dict[str, str]]] = []
    rig.backup(on_node=lambda _: armed.extend(rig.guard.armed.values()))
    assert rig.guard.armed == {}
    assert _kept(cluster) is not None
    kind, details = armed[0]
    for _ in range(2):
        DEEDS[kind](details)
        assert _kept(cluster) is None


def test_a_lost_slot_is_a_gap_that_begins_a_new_window_and_is_said(cluster: Cluster, restored: Cluster) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    ended = rig.window().ends
    cluster.sql(f"SELECT pg_drop_replication_slot('{_SLOT}')")
    cluster.pgbench("-n", "-t", "10")
    sums = cluster.sums()
    rig.backup()
    window = rig.window()
    assert rig.codes() == ["window-gap"]
    assert f"ends at {ended} and begins again at {window.begins}" in rig.notices[0].message
    assert len(window.backups) == 1
    assert window.begins > ended
    rig.restore(restored.data)
    assert restored.start().sums() == sums


def test_a_slot_that_lost_its_log_to_a_limit_is_replaced_and_the_gap_is_said(make: Make, major: int) -> None:
    limited = {"max_slot_wal_keep_size": "16MB", "min_wal_size": "32MB", "max_wal_size": "32MB"}
    cluster = make(major, "limited", **limited).create().start()
    cluster.pgbench("-i", "-q", "-s", "1")
    rig = PgRig(cluster.dsn)
    rig.backup()
    for _ in range(6):
        cluster.sql("SELECT pg_switch_wal()", "INSERT INTO pgbench_history VALUES (1, 1, 1, 1, now(), '')")
    cluster.sql("CHECKPOINT", "CHECKPOINT")
    assert cluster.sql("SELECT wal_status FROM pg_replication_slots") == [("lost",)]
    rig.backup()
    assert rig.codes() == ["window-gap"]
    assert _kept(cluster) == parse_lsn(rig.window().log_ends)


def test_a_cluster_on_another_timeline_begins_a_new_window_with_its_history(
    cluster: Cluster, restored: Cluster, make: Make, major: int
) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    rig.restore(restored.data)
    cluster.stop()
    restored.start()
    rig.spec = PgRig(restored.dsn).spec
    restored.pgbench("-n", "-t", "10")
    rig.backup()
    assert rig.codes() == ["slot-unbounded", "window-gap"][1:]
    assert "timeline 1 to 2" in rig.notices[-1].message
    assert rig.window().timeline == 2
    sums = restored.sums()
    again = make(major, "again")
    rig.restore(again.data)
    assert again.start().sums() == sums


def test_a_slot_without_a_limit_is_said_by_every_backup_until_it_has_one(make: Make) -> None:
    cluster = make(15, "unlimited", max_slot_wal_keep_size="-1").create().start()
    rig = PgRig(cluster.dsn)
    rig.backup()
    assert rig.codes() == ["slot-unbounded"]
    assert "max_slot_wal_keep_size" in rig.notices[0].message
    rig.backup()
    assert rig.codes() == ["slot-unbounded"]
    cluster.stop()
    limited = make(15, "unlimited", max_slot_wal_keep_size="1GB").start()
    rig.spec = PgRig(limited.dsn).spec
    rig.backup()
    assert rig.codes() == []


def test_a_slot_that_keeps_much_is_said_with_numbers(make: Make) -> None:
    cluster = make(15, "lagging", max_slot_wal_keep_size="64MB").create().start()
    rig = PgRig(cluster.dsn)
    rig.backup()
    cluster.sql("CREATE TABLE t (n int)", *["INSERT INTO t VALUES (1)", "SELECT pg_switch_wal()"] * 3)
    rig.backup()
    assert rig.codes() == ["slot-lag"]
    assert "MiB of the server's log, with a limit of 64MB" in rig.notices[0].message


def test_a_server_that_dies_half_way_fails_the_backup_and_no_point_is_there(cluster: Cluster) -> None:
    rig = PgRig(cluster.dsn)

    def kill(entry: Entry) -> None:
        if entry.path.startswith(b"base/1/pgdata/base/") and cluster.process is not None:
            cluster.stop(signal.SIGQUIT)

    with pytest.raises(SkyharborError) as caught:
        rig.backup(on_node=kill)
    assert caught.value.code == "source-failed"
    assert rig.vault.points("machine", "item") == []
    cluster.start()
    rig.backup()
    assert [point.point_id for point in rig.vault.points("machine", "item")] == ["point1"]
