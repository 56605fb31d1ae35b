"""A job's events: every change once, in order, and an end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from orchestrator.cli.client import Tower
from orchestrator.cli.waiting import wait_for
from shared.clock import SystemClock
from tests.integration.test_api_operators import application_of
from tests.support.control import ControlPlane
from tests.support.postgres import database_url, postgres_server  # noqa: F401
from tests.unit.api.served import TOKEN, clients


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    control.one_item()
    yield control
    control.close()


@pytest.fixture
def api(plane: ControlPlane) -> Iterator[httpx.Client]:
    with clients(application_of(plane)) as (operator, _):
        yield operator


def events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The jobs in a stream's lines."""
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_a_stream_shows_every_state_and_ends_after_the_last(api: httpx.Client, plane: ControlPlane) -> None:
    job = plane.backup()
    states = []
    with api.stream("GET", f"/api/v1/jobs/{job.id}/events") as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        stream = events(reply.iter_lines())
        states.append(next(stream)["state"])
        plane.admit()
        granted = plane.claim()
        assert granted is not None
        states += [next(event["state"] for event in stream if event["state"] != "available")]
        plane.complete(granted)
        states += [event["state"] for event in stream]
    assert states == ["available", "running", "completed"]


def test_the_stream_of_an_ended_job_is_one_event(api: httpx.Client, plane: ControlPlane) -> None:
    job = plane.run()
    reply = api.get(f"/api/v1/jobs/{job.id}/events")
    assert [event["state"] for event in events(iter(reply.text.splitlines()))] == ["completed"]


def test_the_stream_of_no_job_is_a_problem(api: httpx.Client) -> None:
    reply = api.get("/api/v1/jobs/01940000-0000-7000-8000-000000000001/events")
    assert (reply.status_code, reply.json()["code"]) == (404, "not-found")


def test_the_command_line_waits_on_this_stream(api: httpx.Client, plane: ControlPlane) -> None:
    job = plane.backup()
    clock = SystemClock()
    tower = Tower(url=str(api.base_url), token=TOKEN, clock=clock)
    shown: list[str] = []
    began = threading.Event()

    def show(current: Any) -> None:
        shown.append(current["state"])
        began.set()

    def work() -> None:
        began.wait(10)
        plane.admit()
        granted = plane.claim()
        assert granted is not None
        plane.complete(granted)

    thread = threading.Thread(target=work)
    thread.start()
    ended = wait_for(tower, tower.get(f"/jobs/{job.id}"), clock=clock, show=show)
    thread.join()
    tower.close()
    assert (ended["state"], shown[0], shown[-1]) == ("completed", "available", "completed")
