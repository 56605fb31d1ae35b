"""Any moment of the window comes back: the cluster is started, checked, and has what it had then."""

from __future__ import annotations

import os

import pytest

from shared.errors import SkyharborError
from shared.model.backup import BackupType
from tests.workloads.postgres.cluster import Cluster
from tests.workloads.postgres.rig import PgRig
from workers.sources.postgres.lsn import parse_lsn
from workers.sources.postgres.planning import Limits
from workers.sources.postgres.window import show_time

SEGMENT = 16 << 20


def _started(restored: Cluster) -> Cluster:
    restored.verify()
    restored.start()
    restored.check()
    return restored


def test_a_table_that_was_dropped_between_two_points_comes_back_as_it_was_a_moment_before(
    cluster: Cluster, restored: Cluster
) -> None:
    rig = PgRig(cluster.dsn)
    with cluster.under_load():
        rig.backup()
    cluster.sql("CREATE TABLE precious AS SELECT g FROM generate_series(1, 1000) g")
    sums, before = cluster.sums(), cluster.now()
    cluster.sql("DROP TABLE precious")
    with cluster.under_load():
        rig.backup()
    rig.restore(restored.data, until=before)
    _started(restored)
    assert restored.sql("SELECT count(*) FROM precious") == [(1000,)]
    assert restored.sums() == sums


def test_a_table_whose_dropping_is_the_last_thing_in_the_log_comes_back(cluster: Cluster, restored: Cluster) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    cluster.sql("CREATE TABLE precious AS SELECT g FROM generate_series(1, 1000) g")
    before = cluster.now()
    cluster.sql("DROP TABLE precious")
    rig.backup()
    rig.restore(restored.data, until=before)
    assert _started(restored).sql("SELECT count(*) FROM precious") == [(1000,)]


def test_a_schema_whose_dropping_is_one_very_long_record_comes_back(cluster: Cluster, restored: Cluster) -> None:
    rig = PgRig(cluster.dsn)
    cluster.sql("CREATE SCHEMA large", *[f"CREATE TABLE large.t{number} (n int PRIMARY KEY)" for number in range(60)])
    rig.backup()
    before = cluster.now()
    cluster.sql("DROP SCHEMA large CASCADE")
    rig.backup()
    rig.restore(restored.data, until=before)
    assert _started(restored).sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'large'") == [(60,)]


def test_a_restore_point_comes_back_by_its_name_from_whichever_point_has_it(
    cluster: Cluster, restored: Cluster
) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    cluster.pgbench("-n", "-t", "50")
    sums = cluster.sums()
    cluster.sql("SELECT pg_create_restore_point('before the release')")
    cluster.pgbench("-n", "-t", "50")
    rig.backup()
    rig.backup()
    assert [one.name for one in rig.window().restore_points] == ["before the release"]
    rig.restore(restored.data, until="before the release")
    assert _started(restored).sums() == sums


def test_latest_is_everything_up_to_the_moment_of_the_backup(cluster: Cluster, restored: Cluster) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    cluster.pgbench("-n", "-t", "100")
    sums = cluster.sums()
    rig.backup()
    cluster.pgbench("-n", "-t", "10")
    rig.restore(restored.data, until="latest")
    assert _started(restored).sums() == sums
    restored.pgbench("-n", "-t", "10")  # it is open for writing


def test_immediate_is_the_backup_without_what_came_after_it(cluster: Cluster, restored: Cluster) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    sums = cluster.sums()
    cluster.pgbench("-n", "-t", "10")
    rig.backup()
    rig.restore(restored.data, until="immediate")
    assert _started(restored).sums() == sums


def test_a_time_after_the_last_change_is_the_end_of_the_log(cluster: Cluster, restored: Cluster) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    cluster.pgbench("-n", "-t", "10")
    sums = cluster.sums()
    quiet = cluster.now()
    rig.backup()
    window = rig.window()
    assert window.last_change < window.ends
    rig.restore(restored.data, until=quiet)
    assert _started(restored).sums() == sums


@pytest.mark.parametrize("until", ["2001-01-01", "2999-12-31T23:59", "no such name"])
def test_a_target_outside_of_the_window_is_refused_with_the_window_before_anything_is_written(
    cluster: Cluster, restored: Cluster, until: str
) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    with pytest.raises(SkyharborError) as caught:
        rig.restore(restored.data, until=until)
    window = rig.window()
    assert caught.value.code == "bad-request"
    assert f"{window.begins} to {window.ends}" in caught.value.detail
    assert not os.path.exists(restored.data)


def test_every_point_restores_alone_though_later_ones_carry_only_the_log(cluster: Cluster, restored: Cluster) -> None:
    rig = PgRig(cluster.dsn)
    sums = []
    for _ in range(3):
        cluster.pgbench("-n", "-t", "20")
        sums.append(cluster.sums())
        done = rig.backup()
    assert done.stats.bytes_read < 40 << 20  # segments of the log and little else
    rig.restore(restored.data, point=rig.points[1])
    assert _started(restored).sums() == sums[1]


def test_a_new_base_that_the_log_made_necessary_leaves_no_hole_in_the_window(
    cluster: Cluster, restored: Cluster
) -> None:
    rig = PgRig(cluster.dsn)
    rig.limits = Limits(increments=0, base_share=0, base_floor=-SEGMENT)
    rig.backup()
    begins = rig.window().begins
    cluster.pgbench("-n", "-t", "50")
    sums, moment = cluster.sums(), cluster.now()
    cluster.pgbench("-n", "-t", "50")
    rig.backup()
    assert [one.name for one in rig.window().backups] == ["1", "2"]
    assert rig.window().begins == begins
    rig.restore(restored.data, until=moment)
    assert _started(restored).sums() == sums
    restored.stop()
    rig.limits = None
    rig.backup()
    assert [one.name for one in rig.window().backups] == ["2"]
    names = {entry.path.split(b"/")[1] for entry in rig.reader().entries(b"base") if b"/" in entry.path}
    assert names == {b"2"}


def test_a_full_backup_begins_a_new_window(cluster: Cluster, restored: Cluster) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    cluster.pgbench("-n", "-t", "20")
    sums = cluster.sums()
    rig.backup(BackupType.FULL)
    assert rig.window().begins == rig.window().ends
    assert rig.codes() == []
    rig.restore(restored.data)
    assert _started(restored).sums() == sums


def test_every_restore_point_is_found_wherever_in_the_log_it_lies_and_nothing_else_is(cluster: Cluster) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    told = {}
    with cluster.under_load():
        for number in range(200):
            # Of other lengths, so that they lie across pages in every possible way.
            cluster.sql(f"INSERT INTO pgbench_history (filler) VALUES (repeat('x', {number % 21}))")  # noqa: S608
            told[f"point {number}"] = cluster.sql(f"SELECT pg_create_restore_point('point {number}')::text")[0][0]
    last = cluster.sql("SELECT max(pg_xact_commit_timestamp(xmin)) FROM pgbench_history")[0][0]
    # A restore point alone is not written out, a commit is with all that is before it: only then must a backup have it.
    cluster.sql("INSERT INTO pgbench_history (filler) VALUES ('written out')")
    rig.backup()
    window = rig.window()
    found = {one.name: parse_lsn(one.position) for one in window.restore_points}
    assert found.keys() == told.keys()
    assert all(0 < parse_lsn(end) - found[name] < 200 for name, end in told.items())
    assert show_time(last) <= window.last_change <= window.ends  # a session that was killed ended after it
