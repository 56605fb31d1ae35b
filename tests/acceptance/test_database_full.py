"""The disk under the database is full: nothing that was promised is lost, and with room again everything goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from orchestrator.embedded.postgres import PrivatePostgres
from tests.storm.checker import catalog, chain, lives
from tests.storm.checker.database import look
from tests.support.brokers import Valkey
from tests.support.fleet import Fleet, make_tree
from tests.support.served import Served
from tests.support.small_disk import NoDisk, SmallDisk, small_disk
from tests.support.stack import TERMINAL, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.soak, pytest.mark.timeout(400)]

MIB = 1 << 20
SETTINGS = {"max_wal_size": "48MB", "min_wal_size": "32MB"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    try:
        with small_disk(str(tmp_path / "disk"), 256 * MIB) as made:
            yield made
    except NoDisk as error:
        pytest.skip(f"no file system can be mounted here: {error}")


@pytest.fixture
def postgres(disk: SmallDisk) -> Iterator[PrivatePostgres]:
    with PrivatePostgres(Path(disk.path) / "pg", settings=SETTINGS) as server:
        yield server


@pytest.fixture
def served(tmp_path: Path, postgres: PrivatePostgres) -> Iterator[Served]:
    broker = Valkey(tmp_path / "valkey")
    broker.start()
    one = Served(tmp_path / "home", database_url=postgres.url, broker_url=broker.url)
    one.settle()
    try:
        yield one
    finally:
        one.stop_all()
        broker.client.close()
        broker.kill()


def fill(disk: SmallDisk) -> Path:
    """Leave not one page."""
    ballast = Path(disk.path) / "ballast"
    with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return ballast


def test_a_full_disk_under_the_database_costs_time_and_no_promise(
    served: Served, postgres: PrivatePostgres, disk: SmallDisk, tmp_path: Path
) -> None:
    served.start("loops-1", "api-1")
    served.start("worker-1")
    fleet = Fleet.settle(served, tmp_path / "fleet")
    names = [f"item{number}" for number in range(4)]
    for number, name in enumerate(names):
        fleet.protect(name, make_tree(tmp_path / name, files=10, seed=number))
    accepted = [str(fleet.request(name)["id"]) for name in names]

    ballast = fill(disk)
    refused: list[int] = []

    def says_no() -> bool:
        with served.http() as http, contextlib.suppress(httpx.TimeoutException):
            for name in names:
                reply = http.post("/api/v1/jobs", json={"kind": "backup", "item": name})
                if reply.status_code in (200, 202):
                    accepted.append(str(reply.json()["id"]))
                else:
                    refused.append(reply.status_code)
        return bool(refused)

    wait_for(says_no, "the tower to refuse what it cannot keep", seconds=120)
    assert set(refused) == {503}, refused

    ballast.unlink()
    if not postgres.is_ready():  # a log that cannot be written ends the server: that is PostgreSQL's way
        wait_for(lambda: revived(postgres), "PostgreSQL to be there again", seconds=60)
    accepted.append(str(requested(served, names[0])))
    for job in accepted:
        wait_for(lambda job=job: ended(served, job), f"job {job} to end", seconds=120)  # type: ignore[misc]
    with look(postgres.dsn) as db:
        found = lives.unended_jobs(db, accepted) + lives.several_ends(db) + chain.broken_links(db)
        found += catalog.points_of_jobs(db) + catalog.disagreements(db, {"v1": tmp_path / "fleet" / "vault"})
    assert found == []


def revived(postgres: PrivatePostgres) -> bool:
    """Whether it answers; one that has ended is started again, as its supervisor would."""
    with contextlib.suppress(Exception):
        if not postgres.is_ready():
            postgres.stop()
            postgres.start()
    return postgres.is_ready()


def requested(served: Served, item: str) -> object:
    """Ask until it is taken."""
    taken: list[object] = []

    def ask() -> bool:
        with served.http() as http, contextlib.suppress(httpx.TransportError):
            reply = http.post("/api/v1/jobs", json={"kind": "backup", "item": item})
            if reply.status_code in (200, 202):
                taken.append(reply.json()["id"])
        return bool(taken)

    wait_for(ask, "the tower to take a job again", seconds=120)
    return taken[0]


def ended(served: Served, job: str) -> bool:
    with contextlib.suppress(AssertionError, httpx.TransportError):
        return served.api_job(job)["state"] in TERMINAL
    return False
