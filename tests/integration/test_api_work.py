"""The work API over the real use cases: the whole life of a claim, byte for byte of the contract."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import msgspec
import pytest

from shared.contracts.work import Claim, Commit, Complete, Granted, Heartbeat, Hello, Release, Renew, Renewed, Welcome
from tests.integration.test_api_operators import application_of
from tests.support.control import ControlPlane, sealed
from tests.support.postgres import database_url, postgres_server  # noqa: F401
from tests.unit.api.served import clients


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    control.one_item()
    yield control
    control.close()


@pytest.fixture
def worker(plane: ControlPlane) -> Iterator[httpx.Client]:
    with clients(application_of(plane)) as (_, client):
        yield client


def say(worker: httpx.Client, message: msgspec.Struct) -> httpx.Response:
    """Send a message to the verb of its name."""
    return worker.post(f"/work/v1/{type(message).__name__.lower()}", content=msgspec.json.encode(message))


def hello(*, session: str = "s1", clock: str | None = None) -> Hello:
    now = clock or datetime.now(UTC).isoformat()
    return Hello(worker="w1", session=session, version="0.1", concurrency=2, clock=now)


def granted(worker: httpx.Client, plane: ControlPlane) -> Granted:
    """A backup, admitted and claimed over HTTP."""
    plane.backup()
    plane.admit()
    reply = say(worker, Claim(worker="w1", session="s1"))
    assert reply.status_code == 200, reply.text
    return msgspec.json.decode(reply.content, type=Granted)


def test_a_worker_lives_its_whole_life(worker: httpx.Client, plane: ControlPlane) -> None:
    welcome = msgspec.json.decode(say(worker, hello()).content, type=Welcome)
    assert (welcome.lease, welcome.released) == (60.0, 0)
    grant = granted(worker, plane)
    renewed = say(worker, Renew(worker="w1", session="s1", units=(Heartbeat(fence=grant.fence),)))
    assert [unit.verdict for unit in msgspec.json.decode(renewed.content, type=Renewed).units] == ["keep"]
    assert say(worker, Commit(fence=grant.fence)).status_code == 200
    done = Complete(fence=grant.fence, outcome=sealed(grant))
    assert [say(worker, done).status_code for _ in range(2)] == [200, 200]
    assert str(plane.job(grant.fence.job_id).state) == "completed"


def test_nothing_to_do_is_204_without_a_word(worker: httpx.Client) -> None:
    reply = say(worker, Claim(worker="w1", session="s1"))
    assert (reply.status_code, reply.content) == (204, b"")


def test_a_stale_fence_is_409_and_changes_nothing(worker: httpx.Client, plane: ControlPlane) -> None:
    grant = granted(worker, plane)
    stale = msgspec.structs.replace(grant.fence, epoch=grant.fence.epoch - 1)
    for message in (
        Commit(fence=stale),
        Complete(fence=stale, outcome=sealed(grant)),
        Release(fence=stale),
    ):
        reply = say(worker, message)
        assert (reply.status_code, reply.json()["code"]) == (409, "stale-claim")
    assert str(plane.job(grant.fence.job_id).state) == "running"


def test_a_released_unit_is_there_for_the_next(worker: httpx.Client, plane: ControlPlane) -> None:
    grant = granted(worker, plane)
    assert say(worker, Release(fence=grant.fence)).status_code == 200
    assert str(plane.job(grant.fence.job_id).state) == "available"


def test_a_new_session_frees_what_the_old_one_held(worker: httpx.Client, plane: ControlPlane) -> None:
    say(worker, hello())
    granted(worker, plane)
    assert msgspec.json.decode(say(worker, hello(session="s2")).content, type=Welcome).released == 1


def test_a_clock_that_is_no_time_is_a_bad_request(worker: httpx.Client) -> None:
    assert [say(worker, hello(clock=text)).status_code for text in ("noon", "2026-11-22T12:00:00")] == [422, 422]


def test_a_clock_that_is_off_is_let_in(worker: httpx.Client) -> None:
    assert say(worker, hello(clock="2020-01-01T00:00:00Z")).status_code == 200
