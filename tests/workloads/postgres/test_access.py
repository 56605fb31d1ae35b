"""What is wrong with a server or the way to it is said with what to do; secrets are in their files and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.errors import SkyharborError
from tests.workloads.postgres.cluster import Cluster
from tests.workloads.postgres.conftest import Make
from tests.workloads.postgres.rig import PgRig
from workers.sources.postgres import binaries
from workers.sources.postgres.access import Access
from workers.sources.postgres.replication import Replication

SECRET = "c4n4ry-s3cr3t"


@pytest.fixture
def guarded(make: Make, place: str) -> Cluster:
    """A cluster that wants passwords of everybody but its superuser, and has a role that may replicate."""
    cluster = make(15, "guarded").create()
    lines = [
        "local all postgres trust",
        "local replication postgres trust",
        "local all all scram-sha-256",
        "local replication keeper,nobody_much scram-sha-256",
    ]
    Path(cluster.data, "pg_hba.conf").write_text("\n".join(lines) + "\n", encoding="ascii")
    cluster.start()
    cluster.sql(
        f"CREATE ROLE keeper LOGIN REPLICATION PASSWORD '{SECRET}'",
        f"CREATE ROLE nobody_much LOGIN PASSWORD '{SECRET}'",
        f"CREATE ROLE stranger LOGIN REPLICATION PASSWORD '{SECRET}'",
    )
    return cluster


def _credentials(folder: Path, text: str, mode: int = 0o600) -> str:
    file = folder / "credentials"
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return str(file)


def _refusal(rig: PgRig) -> SkyharborError:
    with pytest.raises(SkyharborError) as caught:
        rig.backup()
    assert SECRET not in str(caught.value)
    assert rig.vault.points("machine", "item") == []
    return caught.value


def _without_user(cluster: Cluster) -> str:
    return cluster.dsn.replace("user=postgres", "")


def test_a_role_that_may_only_replicate_is_enough_with_its_password_in_a_file(
    guarded: Cluster, make: Make, tmp_path: Path
) -> None:
    file = _credentials(tmp_path, f"# the keeper\nuser=keeper\npassword={SECRET}\n")
    rig = PgRig(_without_user(guarded), credentials_file=file)
    rig.backup()
    guarded.sql("CREATE TABLE t AS SELECT 1 AS n")
    rig.backup()
    restored = make(15, "restored")
    rig.restore(restored.data)
    assert restored.start().sql("SELECT n FROM t") == [(1,)]


@pytest.mark.parametrize(
    ("user", "password", "said", "hint"),
    [
        ("keeper", "wrong", "password authentication failed", "credentials file"),
        (
            "nobody_much",
            SECRET,
            "permission denied to start WAL sender|must be superuser or replication role",
            "ALTER ROLE",
        ),
        ("stranger", SECRET, "no pg_hba.conf entry", "host replication"),
    ],
)
def test_who_may_not_replicate_is_told_why(
    guarded: Cluster, tmp_path: Path, user: str, password: str, said: str, hint: str
) -> None:
    file = _credentials(tmp_path, f"user={user}\npassword={password}\n")
    error = _refusal(PgRig(_without_user(guarded), credentials_file=file))
    # Who is not let in is not tried again; a right that is missing may be given meanwhile.
    assert error.code == ("source-failed" if "ALTER ROLE" in hint else "source-denied")
    assert any(part in error.detail for part in said.split("|"))
    assert hint in str(error.fields["hint"])


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("user=keeper\n", 0o644, "open to other users"),
        (f"user=keeper\n{SECRET}\n", 0o600, "line 2 of the credentials file"),
        (None, 0o600, "No such file"),
    ],
)
def test_a_credentials_file_that_cannot_be_used_is_said_without_its_text(
    tmp_path: Path, text: str | None, mode: int, said: str
) -> None:
    file = _credentials(tmp_path, text, mode) if text is not None else str(tmp_path / "none")
    assert said in _refusal(PgRig("host=/nowhere", credentials_file=file)).detail


@pytest.mark.parametrize("dsn", [f"host=/x password={SECRET}", f"postgresql://me:{SECRET}@example/db"])
def test_a_password_in_the_dsn_is_refused_and_not_repeated(dsn: str) -> None:
    assert "password" in _refusal(PgRig(dsn)).detail


def test_a_server_that_is_away_is_said_with_where_it_should_be(tmp_path: Path) -> None:
    error = _refusal(PgRig(f"host={tmp_path} port=6543"))
    assert error.code == "source-failed"
    assert f"{tmp_path}:6543" in error.detail
    assert "runs" in str(error.fields["hint"])


def test_a_server_that_keeps_too_little_in_its_log_is_said_with_the_setting(make: Make) -> None:
    cluster = make(15, "minimal", wal_level="minimal", max_wal_senders="0").create().start()
    error = _refusal(PgRig(cluster.dsn))
    assert "wal_level = replica" in str(error.fields["hint"])


def test_a_server_without_a_free_sender_is_said_with_the_setting(make: Make) -> None:
    cluster = make(15, "few", max_wal_senders="1").create().start()
    with _held_sender(cluster):
        error = _refusal(PgRig(cluster.dsn))
    assert "max_wal_senders" in str(error.fields["hint"])


def test_a_server_without_a_free_slot_is_said_with_the_setting_and_nothing_is_left(make: Make) -> None:
    cluster = make(15, "none", max_replication_slots="0").create().start()
    rig = PgRig(cluster.dsn)
    error = _refusal(rig)
    assert "max_replication_slots" in str(error.fields["hint"])
    assert rig.guard.armed == {}


def test_the_password_is_in_no_argument_of_the_program_that_dumps_and_nowhere_in_the_point(
    guarded: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{guarded.programs}:/usr/bin:/bin")
    guarded.sql("ALTER ROLE keeper SUPERUSER")
    file = _credentials(tmp_path, f"user=keeper\npassword={SECRET}\n")
    rig = PgRig(_without_user(guarded), credentials_file=file, dumps=("postgres",))
    started: list[tuple[str, ...]] = []
    start = binaries.start

    def listened(argv: Sequence[str], environment: Mapping[str, str], **more: Any) -> Any:
        started.append(tuple(argv))
        return start(argv, environment, **more)

    monkeypatch.setattr(binaries, "start", listened)
    rig.backup()
    assert [os.path.basename(argv[0]) for argv in started] == ["pg_dump", "pg_dumpall"]
    assert SECRET not in repr(started)
    assert SECRET not in repr(rig.reader().body)


@contextmanager
def _held_sender(cluster: Cluster) -> Iterator[None]:
    connection = Replication(Access(cluster.dsn))
    yield
    connection.close()
