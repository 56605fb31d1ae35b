"""Both brokers, real: a restart and a purge in the middle lose no job, and Flower shows the workers on either."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.brokers import Broker, Rabbit, Valkey, rabbit_or_skip
from tests.support.fleet import Fleet, make_tree
from tests.support.postgres import database_url, postgres_server  # noqa: F401 - fixtures
from tests.support.served import Served, free_port
from tests.support.stack import TERMINAL, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

JOBS = 12


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """One for each test: they change its settings."""
    server = Valkey(tmp_path / "valkey")
    server.start()
    yield server
    server.client.close()
    server.kill()


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    """One for the module, for it takes long to start: what an earlier test left in its queue rings for nothing."""
    server = rabbit_or_skip(tmp_path_factory.mktemp("rabbit"))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(params=["valkey", "rabbit"])
def broker(request: pytest.FixtureRequest) -> Broker:
    found: Broker = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def fleet(tmp_path: Path, database_url: str, broker: Broker) -> Iterator[Fleet]:  # noqa: F811
    served = Served(tmp_path / "home", database_url=database_url, broker_url=broker.url)
    served.settle()
    try:
        served.start("loops-1", "api-1")
        served.start("worker-1")
        yield Fleet.settle(served, tmp_path / "fleet")
    finally:
        served.stop_all()


def served_of(fleet: Fleet) -> Served:
    assert isinstance(fleet.stack, Served)
    return fleet.stack


def jobs_that_ring(fleet: Fleet, folder: Path) -> list[Any]:
    """Jobs of as many items, admitted while there is no worker, so that doorbells lie in the broker."""
    for number in range(JOBS):
        fleet.protect(f"item{number}", make_tree(folder / f"item{number}", files=4, seed=number))
    served_of(fleet).stop("worker-1")
    return [fleet.request(f"item{number}") for number in range(JOBS)]


def all_done(fleet: Fleet, jobs: list[Any]) -> list[tuple[str, int, int]]:
    """How every job ended: its state, its attempts, and its item's points."""
    ends = [fleet.stack.wait_job(job["id"], *TERMINAL, seconds=120) for job in jobs]
    return [(end["state"], end["attempt"], len(fleet.points(f"item{number}"))) for number, end in enumerate(ends)]


def test_a_purged_broker_loses_no_job(fleet: Fleet, broker: Broker, tmp_path: Path) -> None:
    jobs = jobs_that_ring(fleet, tmp_path)
    wait_for(lambda: broker.waiting() > 0, "doorbells in the broker", seconds=20)

    broker.purge()
    served_of(fleet).start("worker-1")

    assert all_done(fleet, jobs) == [("completed", 1, 1)] * JOBS


def test_a_broker_killed_and_started_again_loses_no_job(fleet: Fleet, broker: Broker, tmp_path: Path) -> None:
    jobs = jobs_that_ring(fleet, tmp_path)
    wait_for(lambda: broker.waiting() > 0, "doorbells in the broker", seconds=20)

    broker.kill()
    late = fleet.request("item0")
    broker.start()
    served_of(fleet).start("worker-1")

    assert all_done(fleet, jobs)[1:] == [("completed", 1, 1)] * (JOBS - 1)
    assert fleet.stack.wait_job(late["id"], *TERMINAL, seconds=60)["state"] == "completed"
    assert len(fleet.points("item0")) == 2


def test_doorbells_arrive_again_after_a_restart_of_the_broker(fleet: Fleet, broker: Broker, tmp_path: Path) -> None:
    """The worker's poll would find the work too; here it is the broker that must be spoken to again by both ends."""
    fleet.protect("data", make_tree(tmp_path / "src", files=4))
    broker.kill()
    broker.start()

    def answered() -> bool:
        fleet.stack.wait_job(fleet.request("data")["id"], *TERMINAL)
        return any(
            event["event"] == "doorbell-answered" and event["flown"] for event in served_of(fleet).events("worker-1")
        )

    wait_for(answered, "a doorbell to be answered", seconds=90)


def test_the_queue_of_rabbitmq_is_a_quorum_queue(rabbit: Rabbit, tmp_path: Path, database_url: str) -> None:  # noqa: F811
    served = Served(tmp_path / "home", database_url=database_url, broker_url=rabbit.url)
    served.settle()
    try:
        served.start("loops-1", "api-1")
        served.start("worker-1")
        wait_for(rabbit.is_quorum, "the queue", seconds=20)
        warnings = [event for event in served.events("worker-1") if event.get("level") in ("error", "critical")]
    finally:
        served.stop_all()
    assert warnings == []


def test_flower_shows_the_workers(fleet: Fleet, broker: Broker) -> None:
    served = served_of(fleet)
    port = free_port()
    served.processes["flower"] = served.popen(
        "flower",
        "--port",
        str(port),
        name="flower",
        env={"SKYHARBOR_BROKER_URL": broker.url, "FLOWER_UNAUTHENTICATED_API": "true"},
    )
    flower = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False)
    seen: dict[str, bool] = {}

    def shows() -> bool:
        try:
            seen.update(flower.get("/api/workers", params={"status": "true"}).json())
        except httpx.TransportError:
            return False
        return any(seen.values())

    wait_for(shows, f"Flower to show a worker:\n{served.log('flower')}", seconds=60)
    order = flower.post(f"/api/worker/shutdown/{next(iter(seen))}")
    flower.close()
    command = Path(f"/proc/{served.processes['flower'].pid}/cmdline").read_bytes()

    assert [name.partition("@")[0] for name, alive in seen.items() if alive] == ["worker-1"]
    assert (order.status_code, served.is_ready("worker-1")) == (403, True)
    assert broker.url.encode() not in command


@pytest.mark.parametrize("role", ["loops", "worker"])
def test_a_broker_that_evicts_is_refused(role: str, valkey: Valkey, tmp_path: Path, database_url: str) -> None:  # noqa: F811
    valkey.client.config_set("maxmemory-policy", "allkeys-lru")
    served = Served(tmp_path / "home", database_url=database_url, broker_url=valkey.url)
    served.settle()

    ran = served.serve(
        role,
        env={
            "SKYHARBOR_HOME": str(served.home),
            "SKYHARBOR_DATABASE_URL": database_url,
            "SKYHARBOR_BROKER_URL": valkey.url,
            "SKYHARBOR_TOWER_URL": served.url,
        },
    )

    assert ran.code == 1
    assert "maxmemory-policy is allkeys-lru, and must be noeviction (broker-unsafe)\nhint: " in ran.err
    assert valkey.password not in ran.err


def test_a_broker_that_refuses_the_password_is_told_without_it(valkey: Valkey, tmp_path: Path) -> None:
    served = Served(tmp_path / "home")
    served.settle()
    wrong = valkey.url.replace(valkey.password, "not-the-password")

    ran = served.serve(
        "worker",
        env={
            "SKYHARBOR_HOME": str(served.home),
            "SKYHARBOR_BROKER_URL": wrong,
            "SKYHARBOR_TOWER_URL": served.url,
        },
    )

    assert (ran.code, "refuses the credentials" in ran.err, "(broker-unsafe)" in ran.err) == (1, True, True)
    assert "not-the-password" not in ran.err
