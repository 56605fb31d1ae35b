"""Tablespaces, configuration outside of the data directory, owners, dumps, and targets that must not be touched."""

from __future__ import annotations

import os
import stat

import pytest

from shared.errors import SkyharborError
from tests.workloads.postgres.cluster import NOBODY, Cluster, run
from tests.workloads.postgres.conftest import Make
from tests.workloads.postgres.rig import PgRig
from workers.sources.postgres import lander
from workers.sources.postgres.lander import UNFINISHED


def with_tablespaces(cluster: Cluster, place: str) -> list[str]:
    places = [os.path.join(place, name) for name in ("fast", "slow")]
    for number, folder in enumerate(places):
        os.mkdir(folder)
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        cluster.sql(
            f"CREATE TABLESPACE space{number} LOCATION '{folder}'",
            f"CREATE TABLE in{number} TABLESPACE space{number} AS SELECT g FROM generate_series(1, 5000) g",  # noqa: S608
        )
    return places


def test_tablespaces_go_where_they_are_told_and_otherwise_beside_the_data_directory(
    cluster: Cluster, restored: Cluster, place: str
) -> None:
    old = with_tablespaces(cluster, place)
    rig = PgRig(cluster.dsn)
    rig.backup()
    cluster.sql("INSERT INTO in1 SELECT g FROM generate_series(1, 100) g", "UPDATE in0 SET g = g + 1")
    rig.backup()
    told = os.path.join(place, "moved")
    rig.restore(restored.data, tablespaces=f"{old[0]}={told}")
    cluster.stop()
    for folder in old:
        os.rename(folder, folder + ".gone")
    restored.verify()
    restored.start()
    assert restored.sql("SELECT (SELECT count(*) FROM in0), (SELECT sum(g) FROM in0), (SELECT count(*) FROM in1)") == [
        (5000, 12507500, 5100)
    ]
    restored.check()
    found = {row[0] for row in restored.sql("SELECT pg_tablespace_location(oid) FROM pg_tablespace") if row[0]}
    number = restored.sql("SELECT oid::text FROM pg_tablespace WHERE spcname = 'space1'")[0][0]
    assert found == {told, f"{restored.data}.tablespaces/{number}"}


def test_increments_reach_into_tablespaces(make: Make, place: str) -> None:
    from tests.workloads.postgres.test_increments import OFTEN

    cluster = make(18, "spaces", summarize_wal="on").create().start()
    with_tablespaces(cluster, place)
    rig = PgRig(cluster.dsn)
    rig.backup()
    rig.limits = OFTEN
    cluster.sql("UPDATE in0 SET g = g + 1 WHERE g < 10", "CHECKPOINT")
    rig.backup()
    names = [entry.path for entry in rig.reader().entries(b"base/2/tablespaces")]
    assert any(b"INCREMENTAL." in name for name in names)
    restored = make(18, "restored")
    rig.restore(restored.data)
    restored.verify()
    restored.start()
    assert restored.sql("SELECT sum(g) FROM in0") == [(12502509,)]


def test_a_tablespace_that_the_point_does_not_have_is_refused(cluster: Cluster, restored: Cluster) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    with pytest.raises(SkyharborError, match="no tablespace"):
        rig.restore(restored.data, tablespaces="/no/such=/new")
    assert not os.path.exists(restored.data)


def test_a_cluster_whose_configuration_lies_elsewhere_starts_with_what_its_log_needs(
    make: Make, major: int, place: str, restored: Cluster
) -> None:
    settings = {"max_connections": "177", "hba_file": f"{place}/hba", "ident_file": f"{place}/ident"}
    cluster = make(major, "elsewhere", config_file=f"{place}/conf", **settings).create()
    for name, away in (("postgresql.conf", "conf"), ("pg_hba.conf", "hba"), ("pg_ident.conf", "ident")):
        os.rename(os.path.join(cluster.data, name), os.path.join(place, away))
    cluster.start()
    rig = PgRig(cluster.dsn)
    rig.backup()
    cluster.sql("CREATE TABLE t AS SELECT 1 AS n")
    rig.backup()
    rig.restore(restored.data)
    with open(os.path.join(restored.data, "pg_hba.conf"), "w", encoding="ascii") as file:
        file.write("local all all trust\n")
    restored.start()
    assert restored.sql("SHOW max_connections") == [("177",)]
    assert restored.sql("SELECT n FROM t") == [(1,)]


def test_what_is_restored_is_its_owners_alone(cluster: Cluster, restored: Cluster) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    rig.restore(restored.data)
    assert stat.S_IMODE(os.stat(restored.data).st_mode) == 0o700
    modes, owners = set(), set()
    for folder, folders, files in os.walk(restored.data):
        for name in folders:
            found = os.lstat(os.path.join(folder, name))
            assert stat.S_IMODE(found.st_mode) == 0o700
            owners.add(found.st_uid)
        for name in files:
            found = os.lstat(os.path.join(folder, name))
            modes.add(stat.S_IMODE(found.st_mode))
            owners.add(found.st_uid)
    assert modes == {0o600}
    assert owners == ({NOBODY} if os.geteuid() == 0 else {os.geteuid()})
    assert not os.path.exists(os.fsencode(restored.data) + b"/" + UNFINISHED)


def test_a_folder_with_something_in_it_is_left_alone(cluster: Cluster, restored: Cluster) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    os.mkdir(restored.data)
    with open(os.path.join(restored.data, "mine"), "w", encoding="ascii") as file:
        file.write("precious")
    with pytest.raises(SkyharborError) as caught:
        rig.restore(restored.data)
    assert caught.value.code == "target-invalid"
    assert os.listdir(restored.data) == ["mine"]


def test_a_restore_that_was_cut_short_cannot_be_started_and_is_done_again(
    cluster: Cluster, restored: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    sums = cluster.sums()
    with monkeypatch.context() as patch:
        patch.setattr(lander.recovery, "recovery_settings", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            rig.restore(restored.data)
    assert not os.path.exists(os.path.join(restored.data, "global", "pg_control"))
    with pytest.raises(AssertionError):
        restored.start()
    restored.stop()
    rig.restore(restored.data)
    restored.verify()
    assert restored.start().sums() == sums


@pytest.fixture
def client_programs(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker finds programs of the server's version in its PATH."""
    monkeypatch.setenv("PATH", f"{cluster.programs}:/usr/bin:/bin")


@pytest.mark.usefixtures("client_programs")
def test_several_databases_come_back_together_and_dumps_restore_each_alone(
    cluster: Cluster, restored: Cluster, place: str, make: Make, major: int
) -> None:
    cluster.sql("CREATE DATABASE shop", 'CREATE DATABASE "odd/name"', "CREATE ROLE clerk LOGIN PASSWORD 'geheim'")
    cluster.sql("CREATE TABLE orders AS SELECT g FROM generate_series(1, 300) g", database="shop")
    rig = PgRig(cluster.dsn, dumps=("*",))
    rig.backup()
    names = {entry.path for entry in rig.reader().entries(b"dumps")}
    assert names == {
        b"dumps",
        b"dumps/globals.sql",
        b"dumps/postgres.dump",
        b"dumps/shop.dump",
        b"dumps/odd%2Fname.dump",
    }
    rig.restore(restored.data)
    restored.start()
    assert restored.sql("SELECT count(*) FROM orders", database="shop") == [(300,)]
    out = os.path.join(place, "out")
    rig.restore(out, "/dumps")
    with open(os.path.join(out, "dumps/globals.sql"), encoding="utf-8") as file:
        text = file.read()
    assert "CREATE ROLE clerk" in text
    assert "SCRAM" not in text
    os.chmod(os.path.join(out, "dumps"), 0o755)  # noqa: S103
    os.chmod(os.path.join(out, "dumps/shop.dump"), 0o644)
    empty = make(major, "empty").create().start()
    empty.sql("CREATE DATABASE shop")
    dump = os.path.join(out, "dumps/shop.dump")
    run(empty.program("pg_restore"), "-h", empty.sockets, "-p", str(empty.port), "-U", "postgres", "-d", "shop", dump)
    assert empty.sql("SELECT count(*) FROM orders", database="shop") == [(300,)]


@pytest.mark.usefixtures("client_programs")
def test_dumps_alone_need_no_replication_and_leave_no_slot(cluster: Cluster, place: str) -> None:
    rig = PgRig(cluster.dsn, dumps=("postgres",), physical=False)
    rig.backup()
    assert {entry.path for entry in rig.reader().entries()} == {b"dumps", b"dumps/globals.sql", b"dumps/postgres.dump"}
    assert cluster.sql("SELECT count(*) FROM pg_replication_slots") == [(0,)]
    rig.restore(os.path.join(place, "dumps-only"))
    assert sorted(os.listdir(os.path.join(place, "dumps-only", "dumps"))) == ["globals.sql", "postgres.dump"]
    with pytest.raises(SkyharborError, match="no physical backup"):
        rig.restore(os.path.join(place, "nothing"), until="latest")


@pytest.mark.usefixtures("client_programs")
def test_a_dump_of_a_database_that_is_not_there_fails_the_backup(cluster: Cluster) -> None:
    rig = PgRig(cluster.dsn, dumps=("nowhere",))
    with pytest.raises(SkyharborError, match="nowhere") as caught:
        rig.backup()
    assert caught.value.code == "source-failed"
    assert rig.vault.points("machine", "item") == []
