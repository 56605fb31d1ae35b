"""What breaks between the hosts of a tower: silent lines, a host that is cut off, a fail-over that loses commits.

These take minutes: `make soak`. Two hosts would show the same; packets that the kernel loses
(instead of a box that swallows them) need a second network, which a test may not make.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from orchestrator.embedded.postgres import PrivatePostgres
from shared.model.ids import new_id
from tests.support import standby
from tests.support.brokers import Broker, Valkey, rabbit_or_skip
from tests.support.compare import differences
from tests.support.fleet import Fleet, make_tree
from tests.support.postgres import FAST
from tests.support.served import Served
from tests.support.silent_line import SilentLine
from tests.support.stack import TERMINAL, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.soak, pytest.mark.timeout(400)]


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[PrivatePostgres]:
    with PrivatePostgres(tmp_path / "pg", settings=FAST) as server:
        yield server


@pytest.fixture
def database(postgres: PrivatePostgres) -> Iterator[SilentLine]:
    """The line to the database; where it leads may be changed."""
    with SilentLine(socket_of(postgres)) as line:
        yield line


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """A Valkey, unless a test asks for a RabbitMQ."""
    if getattr(request, "param", "valkey") == "rabbit":
        rabbit = rabbit_or_skip(tmp_path / "rabbit")
        try:
            rabbit.start()
            yield rabbit
        finally:
            rabbit.close()
        return
    valkey = Valkey(tmp_path / "valkey")
    valkey.start()
    yield valkey
    valkey.client.close()
    valkey.kill()


@pytest.fixture
def served(tmp_path: Path, postgres: PrivatePostgres, database: SilentLine, broker: Broker) -> Iterator[Served]:
    parts = urlsplit(postgres.url.replace("+psycopg", ""))
    url = f"postgresql+psycopg://{parts.username}:{parts.password}@127.0.0.1:{database.port}{parts.path}"
    one = Served(tmp_path / "home", database_url=url, broker_url=broker.url)
    one.settle()
    try:
        yield one
    finally:
        one.stop_all()


def socket_of(server: PrivatePostgres) -> str:
    words = psycopg.conninfo.conninfo_to_dict(server.dsn)
    return f"{words['host']}/.s.PGSQL.{words['port']}"


def rows(server: PrivatePostgres, query: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        cursor = connection.execute(query, values)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


class Ghost:
    """A worker made of nothing but its words."""

    def __init__(self, served: Served) -> None:
        token = served.token("worker.token")
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=f"{served.url}/work/v1", headers=headers, timeout=20, trust_env=False)
        self.session = new_id()
        hello = {
            "worker": "ghost",
            "session": self.session,
            "version": "0",
            "concurrency": 1,
            "clock": "2026-01-01T00:00:00Z",
        }
        assert self.say("hello", hello).status_code == 200

    def say(self, verb: str, body: dict[str, Any]) -> httpx.Response:
        return self._http.post(f"/{verb}", json=body)

    def claim(self) -> Any:
        granted = self.say("claim", {"worker": "ghost", "session": self.session})
        return granted.json() if granted.status_code == 200 and granted.content else None

    def close(self) -> None:
        self._http.close()


def test_a_standby_that_lost_the_last_commits_takes_over_and_old_claims_are_worth_nothing(
    served: Served, postgres: PrivatePostgres, database: SilentLine, tmp_path: Path
) -> None:
    served.start("loops-1", "api-1")
    served.start("worker-1")
    fleet = Fleet.settle(served, tmp_path / "fleet")
    trees = {name: make_tree(tmp_path / name, seed=number) for number, name in enumerate(("a", "b", "c"))}
    for name, tree in trees.items():
        fleet.protect(name, tree)
    a = served.ask("backup", "a", "--wait")
    served.ask("slot", "pause", "global")
    b, c = fleet.request("b")["id"], fleet.request("c")["id"]
    second = standby.copied(postgres, tmp_path / "pg", tmp_path / "pg2")
    second.start()
    standby.wait_until_it_has_all(postgres, second)
    second.stop()

    # All of this is forgotten: b is done, c is claimed by somebody who lives on, and d was promised.
    served.ask("slot", "resume", "global")
    served.wait_job(b, *TERMINAL)
    served.wait_job(c, *TERMINAL)
    forgotten = served.api_job(c)
    assert (served.api_job(b)["state"], forgotten["state"]) == ("completed", "completed")
    # The end of an attempt raises the epoch once more.
    lost_fence = rows(
        postgres,
        "SELECT j.epoch - 1, u.completed_claim_id FROM unit u JOIN job j ON j.id = u.job_id WHERE u.job_id = %s",
        c,
    )
    d = fleet.request("a")["id"]
    served.wait_job(d, *TERMINAL)
    served.stop("worker-1")
    standby.kill(postgres)
    second.start()
    database.target = socket_of(second)
    database.cut()
    try:
        standby.promote(second)
        wait_for(lambda: served.is_ready("api-1"), "the API to be ready again", seconds=60)
        assert served.api_job(a["id"])["state"] == "completed"
        assert {served.api_job(job)["state"] for job in (b, c)} <= {"scheduled", "available"}
        with served.http() as http:
            assert http.get(f"/api/v1/jobs/{d}").status_code == 404, "what was promised last is forgotten"

        served.ask("slot", "resume", "global")
        ghost = Ghost(served)
        mine: dict[str, Any] = {}

        def claimed() -> bool:
            granted = ghost.claim()
            if granted is not None:
                mine[granted["fence"]["job_id"]] = granted["fence"]
            return c in mine

        wait_for(claimed, "the ghost to claim what was claimed before", seconds=60)
        ((lost_epoch, claim_id),) = lost_fence
        assert mine[c]["epoch"] == lost_epoch, "an epoch is handed out twice: that is what claim ids are for"
        old = {**mine[c], "claim_id": claim_id}
        assert mine[c]["claim_id"] != claim_id
        said = {verb: ghost.say(verb, {"fence": old}).status_code for verb in ("commit", "release")}
        said["complete"] = ghost.say("complete", {"fence": old, "outcome": {"outcome": "cancelled"}}).status_code
        renewed = ghost.say("renew", {"worker": "ghost", "session": ghost.session, "units": [{"fence": old}]}).json()
        assert said == {"commit": 409, "release": 409, "complete": 409}, "the epoch is right, the claim id is not"
        assert [unit["verdict"] for unit in renewed["units"]] == ["lost"]
        for fence in mine.values():
            assert ghost.say("release", {"fence": fence}).status_code in (200, 204)
        ghost.close()

        served.start("worker-1")
        ended = {job: served.wait_job(job, *TERMINAL, seconds=120) for job in (b, c)}
        assert {job["state"] for job in ended.values()} == {"completed"}
        points = rows(second, "SELECT job_id::text, count(*) FROM recovery_point GROUP BY 1")
        assert dict(points) == {a["id"]: 1, b: 1, c: 1}, "found where they had been sealed, and cataloged once"
        assert rows(second, "SELECT count(*) FROM slot_hold") == [(0,)]
        for name, tree in trees.items():
            served.ask("restore", "latest", "--item", name, "--to", str(tmp_path / f"{name}-out"), "--wait")
            assert differences(tree, tmp_path / f"{name}-out" / str(tree).lstrip("/")) == []
    finally:
        served.stop_all()
        second.stop()


@pytest.fixture
def lines(served: Served) -> Iterator[tuple[SilentLine, SilentLine]]:
    """The lines of one host, worker-1's: to the tower, and to the broker."""
    served.start("loops-1", "api-1")
    broker = urlsplit(served.broker_url)
    with (
        SilentLine(("127.0.0.1", served.ports["api-1"])) as tower,
        SilentLine(("127.0.0.1", broker.port or 0)) as doorbell,
    ):
        host = {
            **served._environment("worker-1", "worker", "1"),
            "SKYHARBOR_TOWER_URL": f"http://127.0.0.1:{tower.port}",
            "SKYHARBOR_BROKER_URL": served.broker_url.replace(f":{broker.port}/", f":{doorbell.port}/"),
        }
        served.processes["worker-1"] = served.popen("worker", name="worker-1", env=host)
        wait_for(lambda: served.is_ready("worker-1"), "worker-1 to be ready", seconds=40)
        yield tower, doorbell


def busy(served: Served, folder: Path) -> tuple[Fleet, str]:
    """Have worker-1 in the middle of a backup."""
    fleet = Fleet.settle(served, folder / "fleet")
    fleet.protect("data", make_tree(folder / "src", files=2_000, big=256 << 20))
    job = str(fleet.request("data")["id"])
    served.wait_job(job, "running")
    return fleet, job


def test_a_host_that_is_cut_off_loses_its_work_and_takes_part_again_when_it_is_back(
    served: Served, postgres: PrivatePostgres, lines: tuple[SilentLine, SilentLine], tmp_path: Path
) -> None:
    fleet, job = busy(served, tmp_path)
    fleet.protect("small", make_tree(tmp_path / "small"))

    for line in lines:
        line.fall_silent()
    served.start("worker-3")
    done = served.wait_job(job, *TERMINAL, seconds=200)
    assert done["state"] == "completed"
    assert rows(postgres, "SELECT losses FROM job WHERE id = %s", job) == [(1,)]
    assert rows(postgres, "SELECT count(*) FROM recovery_point WHERE job_id = %s", job) == [(1,)]

    for line in lines:
        line.speak()
    served.stop("worker-3")
    again = fleet.request("small")["id"]
    assert served.wait_job(again, *TERMINAL, seconds=120)["state"] == "completed", "the host takes part again"
    assert served.stop("worker-1") == 0
    assert rows(postgres, "SELECT count(*) FROM recovery_point WHERE job_id = %s", job) == [(1,)]
    assert rows(postgres, "SELECT count(*) FROM slot_hold") == [(0,)]


def test_a_worker_that_is_cut_off_in_the_middle_of_its_work_ends_when_it_is_told_to(
    served: Served, lines: tuple[SilentLine, SilentLine], tmp_path: Path
) -> None:
    busy(served, tmp_path)

    for line in lines:
        line.fall_silent()

    assert served.stop("worker-1") == 0, "within the 45 s that a stop may take"


def test_a_worker_whose_tower_and_broker_are_gone_ends_when_it_is_told_to(
    served: Served, lines: tuple[SilentLine, SilentLine], tmp_path: Path
) -> None:
    busy(served, tmp_path)

    for line in lines:
        line.close()

    assert served.stop("worker-1") == 0, "within the 45 s that a stop may take"


@pytest.mark.parametrize("broker", ["valkey", "rabbit"], indirect=True)
def test_a_worker_whose_line_to_the_broker_fell_silent_works_meanwhile_and_hears_doorbells_again(
    served: Served, lines: tuple[SilentLine, SilentLine], tmp_path: Path
) -> None:
    fleet = Fleet.settle(served, tmp_path / "fleet")
    fleet.protect("data", make_tree(tmp_path / "src", files=4))
    _, doorbell = lines

    doorbell.fall_silent()
    job = fleet.request("data")["id"]
    assert served.wait_job(job, *TERMINAL, seconds=60)["state"] == "completed", "the worker asks by itself"
    doorbell.speak()
    heard = len(flown(served))

    def hears() -> bool:
        served.wait_job(fleet.request("data")["id"], *TERMINAL)
        return len(flown(served)) > heard

    wait_for(hears, "a doorbell to be answered", seconds=120)


def flown(served: Served) -> list[dict[str, Any]]:
    """The doorbells that worker-1 has answered."""
    return [one for one in served.events("worker-1") if one["event"] == "doorbell-answered" and one["flown"]]


def test_a_leader_whose_line_to_the_database_falls_silent_is_followed_and_comes_back(
    served: Served, postgres: PrivatePostgres, database: SilentLine, tmp_path: Path
) -> None:
    direct, through = postgres.url, served.database_url
    served.start("loops-1")
    wait_for(lambda: served.leader() == "loops-1", "a leader", seconds=30)
    served.database_url = direct
    served.start("loops-2", "api-1")
    served.start("worker-1")
    fleet = Fleet.settle(served, tmp_path / "fleet")
    fleet.protect("data", make_tree(tmp_path / "src"))

    database.fall_silent()
    job = fleet.request("data")["id"]
    assert served.wait_job(job, *TERMINAL, seconds=60)["state"] == "completed", "the other one leads"
    assert served.leader() == "loops-2"

    database.speak()
    served.kill("loops-2")
    job = fleet.request("data")["id"]
    assert served.wait_job(job, *TERMINAL, seconds=120)["state"] == "completed", "the first one leads again"
    assert through != direct
    assert served.leader() == "loops-1"
