"""Two of each process: a dead leader is followed, and a rolling restart under load loses and doubles nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from shared.model.ids import new_id
from tests.support.brokers import Valkey
from tests.support.compare import differences
from tests.support.fleet import Fleet, make_tree
from tests.support.postgres import database_url, postgres_server  # noqa: F401 - fixtures
from tests.support.served import Served, seconds_until
from tests.support.stack import TERMINAL, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

ALL = ("loops-1", "loops-2", "api-1", "api-2", "worker-1", "worker-2")


@pytest.fixture
def served(tmp_path: Path, database_url: str) -> Iterator[Served]:  # noqa: F811
    broker = Valkey(tmp_path / "valkey")
    broker.start()
    one = Served(tmp_path / "home", database_url=database_url, broker_url=broker.url)
    one.settle()
    try:
        one.start("loops-1", "loops-2", "api-1", "api-2")
        one.start("worker-1", "worker-2")
        yield one
    finally:
        one.stop_all()
        broker.client.close()
        broker.kill()


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        return connection.execute(query).fetchall()  # type: ignore[call-overload, no-any-return]


def test_a_killed_leader_is_followed_within_twenty_seconds(
    served: Served, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    fleet = Fleet.settle(served, tmp_path / "fleet")
    fleet.protect("data", make_tree(tmp_path / "src"))
    wait_for(lambda: served.leader() is not None, "a leader", seconds=20)
    first = served.leader()
    assert first is not None

    served.kill(first)
    died = time.monotonic()
    job = fleet.request("data")
    took = seconds_until(
        lambda: served.api_job(job["id"])["state"] in TERMINAL, "the next leader to act", since=died, seconds=40
    )

    record_property("seconds from the kill of the leader to a finished job", round(took, 1))
    second = served.leader()
    assert (second in ("loops-1", "loops-2"), second != first) == (True, True)
    assert took < 20
    served.start(first)
    assert served.leader() == second, "who comes back does not take the lease away"


@dataclass
class Client:
    """Asks for backups of one item, one after the other, through whichever API answers."""

    served: Served
    item: str
    ended: threading.Event
    accepted: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Go on until told to end; a request under way is seen to its end."""
        try:
            while not self.ended.is_set():
                job = self._answer("POST", "/api/v1/jobs", json={"kind": "backup", "item": self.item})
                self.accepted.append(str(job["id"]))
                while self._answer("GET", f"/api/v1/jobs/{job['id']}")["state"] not in TERMINAL:
                    time.sleep(0.05)
        except Exception as error:
            self.refusals.append(f"{self.item}: {error!r}")

    def _answer(self, method: str, path: str, **body: Any) -> Any:
        """Ask one API after the other, with the same key, until one answers: what a program does that must not fail."""
        headers = {"Authorization": f"Bearer {self.served.token('token')}", "Idempotency-Key": new_id()}
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for api in ("api-1", "api-2"):
                try:
                    reply = httpx.request(
                        method, self.served.address(api) + path, headers=headers, timeout=10, trust_env=False, **body
                    )
                except httpx.TransportError:
                    continue
                if reply.status_code < 500:
                    assert reply.is_success, reply.text
                    return reply.json()
            time.sleep(0.05)
        raise AssertionError(f"no API answered {method} {path}")


def test_a_rolling_restart_under_load_loses_nothing_and_doubles_nothing(
    served: Served, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    fleet = Fleet.settle(served, tmp_path / "fleet")
    names = [f"item{number}" for number in range(3)]
    trees = {name: make_tree(tmp_path / name, files=20, seed=number) for number, name in enumerate(names)}
    trees["large"] = make_tree(tmp_path / "large", files=200, big=48 << 20)
    for name, tree in trees.items():
        fleet.protect(name, tree)
    ended = threading.Event()
    clients = [Client(served, name, ended) for name in trees]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()

    codes: dict[str, int] = {}
    for name in ALL:
        before = sum(len(client.accepted) for client in clients)
        codes[name] = served.stop(name)
        served.start(name)
        wait_for(
            lambda before=before: sum(len(client.accepted) for client in clients) >= before + 4,  # type: ignore[misc]
            f"work to go on after the restart of {name}",
            seconds=40,
        )
    ended.set()
    for thread in threads:
        thread.join(90)

    accepted = [job for client in clients for job in client.accepted]
    record_property("backups through the rolling restart", len(accepted))
    assert [refusal for client in clients for refusal in client.refusals] == []
    assert codes == dict.fromkeys(ALL, 0)
    jobs = rows(served.database_url, "SELECT id::text, state, attempt FROM job WHERE kind = 'backup'")
    assert sorted(str(job[0]) for job in jobs) == sorted(accepted), "what was accepted is what there is, once"
    assert {(state, attempt) for _, state, attempt in jobs} == {("completed", 1)}
    points = rows(
        served.database_url,
        "SELECT item.name, count(*) FROM recovery_point JOIN item ON item.id = item_id"
        " WHERE state = 'sealed' GROUP BY item.name",
    )
    assert dict(points) == {client.item: len(client.accepted) for client in clients}
    assert rows(served.database_url, "SELECT count(*) FROM slot_hold") == [(0,)]
    for name, tree in trees.items():
        served.ask("restore", "latest", "--item", name, "--to", str(tmp_path / f"{name}-out"), "--wait")
        assert differences(tree, tmp_path / f"{name}-out" / str(tree).lstrip("/")) == []
