"""Both brokers, real: a restart and a purge in the middle lose no job, and Flower shows the workers on either."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest

from tests.storm.checker.canaries import Canaries
from tests.support.brokers import Broker, Rabbit, Valkey, rabbit_or_skip
from tests.support.fleet import PASSPHRASE, Fleet, make_tree
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


MARKER = "in clear only where it is protected"


def secrets_of(served: Served, broker: Broker) -> Canaries:
    """All that nobody may read who is not meant to."""
    database = urlsplit(served.database_url.replace("+psycopg", ""))
    return Canaries(
        {
            "the broker's password": (urlsplit(broker.url).password or "").encode(),
            "the database's password": unquote(database.password or "").encode(),
            "the operators' token": served.token("token").encode(),
            "the workers' token": served.token("worker.token").encode(),
            "the passphrase": PASSPHRASE.encode(),
            "what is in a file": MARKER.encode(),
        }
    )


def pages_of_flower(served: Served, broker: Broker, port: int, job: str) -> dict[str, bytes]:
    """Every page and document of Flower, once it knows the worker and what it has done."""
    environment = {"SKYHARBOR_BROKER_URL": broker.url, "FLOWER_UNAUTHENTICATED_API": "true"}
    served.processes["flower"] = served.popen("flower", "--port", str(port), name="flower", env=environment)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as http:

        def knows() -> bool:
            try:
                served.wait_job(served_fleet_request(served)["id"], *TERMINAL)
                return job in http.get("/api/tasks").text or bool(http.get("/api/tasks").json())
            except httpx.TransportError:
                return False

        wait_for(knows, f"Flower to know a task:\n{served.log('flower')}", seconds=60)
        tasks, workers = http.get("/api/tasks").json(), http.get("/api/workers").json()
        paths = [
            "/",
            "/workers",
            "/tasks",
            "/broker",
            "/metrics",
            "/healthcheck",
            "/nothing",
            "/api/tasks",
            "/api/workers",
        ]
        paths += ["/api/queues/length", "/api/task/types", "/workers?json=1", "/api/workers?refresh=1"]
        paths += [
            f"/{one}/{name}" for one in ("task", "api/task/info", "api/task/result") for name in [*tasks, "nothing"]
        ]
        paths += [f"/worker/{name}" for name in [*workers, "nothing"]]
        return {path: http.get(path).content for path in paths}


def served_fleet_request(served: Served) -> Any:
    """Ask for one more backup, so that there is news."""
    with served.http() as http:
        return http.post("/api/v1/jobs", json={"kind": "backup", "item": "data"}).json()


def answers_of_the_api(served: Served) -> dict[str, bytes]:
    """Pages that anybody may read, and refusals of every kind, of both APIs."""
    token, worker = served.token("token"), served.token("worker.token")
    operator, wrong = {"Authorization": f"Bearer {token}"}, {"Authorization": f"Bearer {token}x"}
    asked: list[tuple[str, str, dict[str, str], Any]] = [
        *(("GET", path, {}, None) for path in ("/healthz", "/readyz", "/metrics", "/api/openapi.json", "/nothing")),
        ("GET", "/api/v1/jobs", {}, None),
        ("GET", "/api/v1/jobs", wrong, None),
        ("GET", "/api/v1/jobs", {"Authorization": f"Bearer {worker}"}, None),
        ("GET", f"/api/v1/jobs/{token}", {}, None),
        ("GET", "/api/v1/jobs?limit=nonsense", operator, None),
        ("GET", "/api/v1/system", operator, None),
        ("GET", "/api/v1/audit", operator, None),
        ("GET", "/api/v1/machines", operator, None),
        ("GET", "/api/v1/vaults", operator, None),
        ("POST", "/api/v1/vaults", operator, {"name": "v", "url": "s3://bucket/x?secret=1"}),
        ("POST", "/api/v1/machines", operator, {"name": "m", "slots": [{"wrapped": "?"}]}),
        ("POST", "/api/v1/items", operator, {"name": 1}),
        ("POST", "/work/v1/claim", operator, {}),
        ("POST", "/work/v1/claim", {"Authorization": f"Bearer {worker}"}, {"worker": 1}),
        ("POST", "/work/v1/complete", {"Authorization": f"Bearer {worker}"}, {"fence": {}}),
    ]
    said = {}
    with httpx.Client(base_url=served.url, timeout=20, trust_env=False) as http:
        for number, (method, path, headers, body) in enumerate(asked):
            reply = http.request(method, path, headers=headers, json=body)
            shown = path.replace(token, "TOKEN")
            # What the asker put into the path himself may come back to him.
            said[f"{number} {method} {shown}"] = repr(reply.headers).encode() + reply.content.replace(
                token.encode() if token in path else b"\0none", b""
            )
    return said


def test_no_page_no_answer_and_no_log_tells_a_secret(fleet: Fleet, broker: Broker, tmp_path: Path) -> None:
    served = served_of(fleet)
    served.extra["SKYHARBOR_TASK_EVENTS"] = "1"  # Flower shall know all that it can
    for name in ("loops-1", "worker-1"):
        served.stop(name)
        served.start(name)
    tree = make_tree(tmp_path / "src", files=4)
    (tree / "secret.txt").write_text(MARKER)
    fleet.protect("data", tree)
    job = fleet.request("data")["id"]
    served.wait_job(job, *TERMINAL)
    canaries = secrets_of(served, broker)

    pages = pages_of_flower(served, broker, free_port(), job)
    said = answers_of_the_api(served)
    commands = {
        f"the command of {name}": Path(f"/proc/{process.pid}/cmdline").read_bytes()
        for name, process in served.processes.items()
    }
    served.stop_all()

    assert sum(b"<html" in page.lower() for page in pages.values()) >= 5, "Flower has shown its pages"
    found = [one for where, data in (pages | said | commands).items() for one in canaries.in_bytes(data, where)]
    found += canaries.in_files((served.home / "logs").rglob("*"), "log")
    assert found == []


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
