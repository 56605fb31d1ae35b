"""The loops on a real PostgreSQL and a real broker: woken at once, one leader, and a dead broker costs only time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from orchestrator.dispatch.celery_bell import CeleryBell
from orchestrator.domain.job_states import JobState
from orchestrator.embedded import binaries
from orchestrator.loops.looper import Looper
from orchestrator.loops.runner import Loops
from orchestrator.store.notify import Listener
from shared.clock import SystemClock
from shared.contracts.doorbell import QUEUE, TASK
from shared.contracts.work import Doorbell
from shared.errors import SkyharborError
from tests.support.control import ControlPlane, RecordingBell
from tests.support.postgres import database_url, postgres_server  # noqa: F401


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    yield control
    control.close()


class Broker:
    """A private Valkey on a unix socket that can be killed and started again."""

    def __init__(self, folder: str) -> None:
        self.socket = os.path.join(folder, "v.sock")
        self.url = f"redis+socket://{self.socket}?virtual_host=0"
        self.client = redis.Redis(unix_socket_path=self.socket)
        self.start()

    def start(self) -> None:
        arguments = ["--port", "0", "--unixsocket", self.socket, "--save", "", "--dir", os.path.dirname(self.socket)]
        self.process = subprocess.Popen([binaries.valkey_server(), *arguments], stdout=subprocess.DEVNULL)
        until(lambda: self._answers())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


@pytest.fixture
def broker() -> Iterator[Broker]:
    folder = tempfile.mkdtemp(prefix="skyh-", dir="/tmp")
    server = Broker(folder)
    yield server
    server.client.close()
    server.kill()
    shutil.rmtree(folder)


def until(true: Callable[[], bool], seconds: float = 20.0) -> float:
    """Wait for a condition and return how long it took; fail when it does not come."""
    begun = time.monotonic()
    while not true():
        if time.monotonic() - begun > seconds:
            raise AssertionError("it did not happen in time")
        threading.Event().wait(0.002)
    return time.monotonic() - begun


def loops(plane: ControlPlane, bell: RecordingBell | CeleryBell) -> Loops:
    return Loops(plane.uow, bell=bell, wakeups=Listener(plane.url), clock=SystemClock())


def test_a_request_rings_its_doorbell_at_once(plane: ControlPlane) -> None:
    plane.one_item()
    bell = RecordingBell()
    tower = loops(plane, bell)
    tower.start()
    try:
        until(tower.leading)
        waits = []
        for _ in range(5):
            until(lambda: plane.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'") == [(1,)])
            bell.rings.clear()
            job = plane.backup()
            waits.append(until(lambda: bell.rings != []))
            granted = plane.claim(bell.rings[-1])
            assert granted is not None
            assert granted.fence.job_id == job.id
            plane.complete(granted)
    finally:
        assert tower.stop()
    assert sorted(waits)[2] < 0.5, waits  # polling alone would take up to 2 s


def test_a_standby_takes_over_when_the_leader_resigns(plane: ControlPlane) -> None:
    first, second = loops(plane, RecordingBell()), loops(plane, RecordingBell())
    first.start()
    until(first.leading)
    second.start()
    assert not second.leading()
    assert first.stop()
    until(second.leading)
    assert second.stop()
    assert plane.sql("SELECT term FROM leader") == [(2,)]


def test_a_leader_whose_term_was_taken_changes_nothing(plane: ControlPlane) -> None:
    plane.one_item()
    bell = RecordingBell()
    tower = loops(plane, bell)
    tower.start()
    try:
        until(tower.leading)
        plane.sql("UPDATE leader SET holder = 'another', term = term + 1, expires_at = now() + interval '1 hour'")
        taken = plane.sql("SELECT clock_timestamp()")[0][0]
        # What was begun under the term may end under it.
        until(
            lambda: (
                plane.sql(
                    "SELECT pid FROM pg_stat_activity"
                    " WHERE xact_start < :taken AND datname = current_database() AND pid <> pg_backend_pid()",
                    taken=taken,
                )
                == []
            )
        )
        job = plane.backup()
        until(lambda: not tower.leading())
        assert (plane.job(job.id).admitted_at, bell.rings) == (None, [])
    finally:
        tower.stop()


def test_the_doorbell_is_a_json_message_of_ids_on_our_queue(broker: Broker) -> None:
    bell = CeleryBell(broker.url)
    bell.ring(Doorbell(job_id="j", epoch=3, unit=0))
    message = json.loads(broker.client.lrange(QUEUE, 0, -1)[0])
    bell.close()
    assert (message["headers"]["task"], message["content-type"]) == (TASK, "application/json")
    assert "j" in message["headers"]["argsrepr"]


def test_a_dead_broker_costs_a_ring_less_than_half_a_minute_and_is_used_again_when_it_is_back(broker: Broker) -> None:
    bell = CeleryBell(broker.url)
    bell.ring(Doorbell(job_id="one", epoch=1, unit=0))
    broker.kill()
    begun = time.monotonic()
    with pytest.raises(SkyharborError) as error:
        bell.ring(Doorbell(job_id="two", epoch=1, unit=0))
    took = time.monotonic() - begun
    broker.start()
    bell.ring(Doorbell(job_id="three", epoch=1, unit=0))
    bell.close()
    assert (error.value.code, took < 30, broker.client.llen(QUEUE)) == ("server-unreachable", True, 1)


def test_a_stopped_broker_costs_a_ring_less_than_half_a_minute(broker: Broker) -> None:
    bell = CeleryBell(broker.url)
    bell.ring(Doorbell(job_id="one", epoch=1, unit=0))
    broker.process.send_signal(19)
    begun = time.monotonic()
    try:
        with pytest.raises(SkyharborError) as error:
            bell.ring(Doorbell(job_id="two", epoch=1, unit=0))
        took = time.monotonic() - begun
    finally:
        broker.process.send_signal(18)
    bell.close()
    assert (error.value.code, took < 30) == ("server-unreachable", True)


def test_jobs_accepted_while_the_broker_is_dead_are_rung_when_it_is_back(plane: ControlPlane, broker: Broker) -> None:
    plane.one_item()
    broker.kill()
    tower = loops(plane, CeleryBell(broker.url))
    tower.start()
    try:
        job = plane.backup()
        until(lambda: plane.job(job.id).wait_reason == "worker")
        broker.start()
        until(lambda: broker.client.llen(QUEUE) == 1)
    finally:
        assert tower.stop()
    assert plane.job(job.id).state is JobState.AVAILABLE


def test_a_loop_goes_on_after_any_error() -> None:
    calls: list[int] = []
    again = threading.Event()

    def step() -> bool:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("a defect")
        again.set()
        return False

    looper = Looper("test", interval=0.01, step=step)
    looper.start()
    assert again.wait(10)
    assert looper.stop()
