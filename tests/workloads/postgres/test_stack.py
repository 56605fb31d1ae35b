"""The whole of it through the command line: a cluster that has lost a table comes back as it was before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import Fleet
from tests.support.stack import Stack
from tests.workloads.postgres.cluster import Cluster
from tests.workloads.postgres.conftest import Make

pytestmark = pytest.mark.stack


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    stack = Stack(tmp_path / "home")
    stack.up()
    try:
        yield Fleet.settle(stack, tmp_path / "fleet")
    finally:
        stack.down()


@pytest.fixture
def major() -> int:
    return 18


def test_a_cluster_is_protected_and_a_moment_of_it_restored_by_commands(
    fleet: Fleet, cluster: Cluster, tmp_path: Path, make: Make
) -> None:
    ask = fleet.stack.ask
    restored = make(18, "../restored")  # where the worker may write
    (tmp_path / "credentials").write_text("user=postgres\n", encoding="ascii")
    (tmp_path / "credentials").chmod(0o600)
    dsn, file = cluster.dsn.replace("user=postgres ", ""), str(tmp_path / "credentials")
    ask("item", "add", "postgres", "db", "--machine", "m1", "--vault", "v1", "--dsn", dsn, "--credentials-file", file)
    shown = ask("item", "show", "db")
    assert (shown["workload"], shown["source"]["dsn"]) == ("postgres", dsn)
    assert fleet.stack.run("item", "show", "db").code == 0
    first = ask("backup", "db", "--wait")
    cluster.sql("CREATE TABLE precious AS SELECT g FROM generate_series(1, 1000) g")
    moment = cluster.now()
    cluster.sql("DROP TABLE precious")
    second = ask("backup", "db", "--wait")
    assert (first["type"], second["type"], first["stats"]["warnings"]) == ("full", "incremental", 0)
    assert second["stats"]["bytes_read"] < first["stats"]["bytes_read"]
    refused = ask(
        *("restore", "latest", "--item", "db", "--to", restored.data, "--until", "2001-01-01", "--wait"), code=1
    )
    assert "It can bring back" in refused["error"]["message"]
    done = ask(
        *("restore", "latest", "--item", "db", "--to", restored.data, "--until", moment, "--owner", "nobody", "--wait")
    )
    assert done["state"] == "completed"
    restored.verify()
    restored.start()
    restored.check()
    assert restored.sql("SELECT count(*) FROM precious") == [(1000,)]
    shown = ask("item", "show", "db")["last_point"]
    assert shown["moments_from"] < moment.replace(" ", "T") < shown["moments_until"]
    verified = ask("verify", "latest", "--item", "db", "--full", "--wait")
    assert verified["stats"]["problems"] == 0
