"""Waiting for a job: it ends once, whatever happens to the stream; the job never depends on who waits."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.cli.client import Tower
from orchestrator.cli.waiting import wait_for
from shared.errors import SkyharborError
from tests.unit.cli.jobs import JOB_ID, a_done_job, a_job
from tests.unit.cli.world import Answer, World, frame, serving

EVENTS = f"GET /jobs/{JOB_ID}/events"


class QuickClock:
    """Time that passes only by sleeping, at no cost."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 22, 10, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def test_a_stream_that_ends_early_is_taken_up_again(world: World) -> None:
    world.server.on("POST /jobs", Answer(202, a_job()))
    world.server.on(EVENTS, Answer(frames=(frame(a_job()),)), Answer(frames=(frame(a_done_job()),)))
    world.server.on(f"GET /jobs/{JOB_ID}", Answer(body=a_job()))
    assert world.run("--json", "backup", "etc", "--wait").json["state"] == "completed"
    assert len(world.server.seen(EVENTS)) == 2


def test_a_job_that_ended_while_the_stream_was_down_is_found_ended(world: World) -> None:
    world.server.on("POST /jobs", Answer(202, a_job()))
    world.server.on(EVENTS, Answer(drop=True), Answer(frames=()))
    world.server.on(f"GET /jobs/{JOB_ID}", Answer(body=a_done_job()))
    assert world.run("--json", "backup", "etc", "--wait").code == 0


def test_comments_and_unknown_events_are_passed_over(world: World) -> None:
    noise = (": still here\n\n", "event: news\ndata: {}\n\n")
    world.server.on(f"GET /jobs/{JOB_ID}", Answer(body=a_job()))
    world.server.on(EVENTS, Answer(frames=(*noise, frame(a_done_job()))))
    ran = world.run("--json", "job", "watch", JOB_ID)
    assert [json.loads(line)["state"] for line in ran.out.splitlines()] == ["running", "completed"]


def test_one_invocation_sends_one_key_however_often_it_must_ask(world: World) -> None:
    world.server.on("POST /jobs", Answer(drop=True), Answer(200, a_job()))
    assert world.run("backup", "etc").code == 0
    first, second = (request.headers["Idempotency-Key"] for request in world.server.seen("POST /jobs"))
    assert first == second


def test_two_invocations_send_two_keys_unless_told_otherwise(world: World) -> None:
    world.server.on("POST /jobs", Answer(202, a_job()))
    for argv in ((), (), ("--idempotency-key", "mine")):
        world.run("backup", "etc", *argv)
    first, second, third = (request.headers["Idempotency-Key"] for request in world.server.seen("POST /jobs"))
    assert (first != second, third) == (True, "mine")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Whoever runs the suite in the background of a shell has made its processes deaf to Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_leaves_the_job_alone_and_says_so(world: World, interruptible: None) -> None:
    world.server.on("POST /jobs", Answer(202, a_job()))
    interrupt = Answer(frames=(": still here\n\n",), before=lambda: os.kill(os.getpid(), signal.SIGINT))
    world.server.on(EVENTS, interrupt)
    world.server.on(f"GET /jobs/{JOB_ID}", Answer(body=a_job()))
    ran = world.run("--json", "backup", "etc", "--wait")
    assert (ran.code, ran.json["state"]) == (130, "running")
    assert f"skyharbor job watch {JOB_ID}" in ran.err
    assert world.server.seen(f"POST /jobs/{JOB_ID}/cancel") == []


def test_a_tower_that_stays_away_is_given_up_after_two_minutes() -> None:
    clock = QuickClock()
    tower = Tower(url="http://127.0.0.1:1", token="t", clock=clock)
    with pytest.raises(SkyharborError) as caught:
        wait_for(tower, a_job(), clock=clock, show=lambda _: None)
    assert (caught.value.code, clock.seconds > 120) == ("server-unreachable", True)


@pytest.mark.parametrize(("silent_for", "given_up"), [(600, True), (1, False)])
def test_waiting_for_a_worker_ends_only_when_no_worker_lives(silent_for: int, given_up: bool) -> None:
    clock = QuickClock()
    with serving() as server:
        waits = a_job(state="available", wait_reason="worker")
        seen = (clock.now() - timedelta(seconds=silent_for)).isoformat()
        server.on("GET /system", Answer(body={"workers": [{"name": "w", "last_seen_at": seen}]}))
        server.on(f"GET /jobs/{JOB_ID}", Answer(body=waits))
        server.on(EVENTS, *[Answer(frames=(frame(waits),))] * 80, Answer(frames=(frame(a_done_job()),)))
        tower = Tower(url=server.url, token="t", clock=clock)
        try:
            ended = str(wait_for(tower, waits, clock=clock, show=lambda _: None)["state"])
        except SkyharborError as error:
            ended = error.code
        finally:
            tower.close()
    assert ended == ("worker-unavailable" if given_up else "completed")


class HurryingClock(QuickClock):
    """Time that passes by five seconds whenever somebody looks."""

    def monotonic(self) -> float:
        self.seconds += 5
        return self.seconds


@pytest.mark.parametrize("reason", ["worker", "dependency", "slot:vault"])
def test_a_tower_that_only_says_still_here_cannot_make_waiting_without_a_worker_endless(reason: str) -> None:
    clock = HurryingClock()
    with serving() as server:
        waits = a_job(state="available", wait_reason=reason)
        server.on("GET /system", Answer(body={"workers": []}))
        server.on(f"GET /jobs/{JOB_ID}", Answer(body=waits))
        server.on(EVENTS, Answer(frames=(": still here\n\n",) * 40), Answer(frames=(frame(a_done_job()),)))
        tower = Tower(url=server.url, token="t", clock=clock)
        with pytest.raises(SkyharborError) as caught:
            wait_for(tower, waits, clock=clock, show=lambda _: None)
        tower.close()
    assert caught.value.code == "worker-unavailable"


def test_waiting_for_a_window_needs_no_worker() -> None:
    clock = HurryingClock()
    with serving() as server:
        waits = a_job(state="available", wait_reason="window")
        quiet = (": still here\n\n",) * 40
        server.on(EVENTS, Answer(frames=(*quiet, frame(a_done_job()))))
        tower = Tower(url=server.url, token="t", clock=clock)
        ended = wait_for(tower, waits, clock=clock, show=lambda _: None)
        tower.close()
    assert ended["state"] == "completed"


def test_ctrl_c_while_a_cancelled_job_lets_go_exits_130(world: World, interruptible: None) -> None:
    world.server.on(f"POST /jobs/{JOB_ID}/cancel", Answer(body=a_job()))
    interrupt = Answer(frames=(": still here\n\n",), before=lambda: os.kill(os.getpid(), signal.SIGINT))
    world.server.on(EVENTS, interrupt)
    world.server.on(f"GET /jobs/{JOB_ID}", Answer(body=a_job()))
    assert world.run("job", "cancel", JOB_ID, "--wait").code == 130


def test_verify_waits_unless_told_not_to(world: World) -> None:
    world.server.on("POST /jobs", Answer(202, a_job(kind="verify")))
    world.server.on(EVENTS, Answer(frames=(frame(a_done_job(kind="verify")),)))
    states = [world.run("--json", "verify", "p", *argv).json["state"] for argv in ((), ("--no-wait",))]
    assert states == ["completed", "running"]


def test_people_are_told_why_a_job_waits_and_what_it_warned_of(world: World) -> None:
    world.server.on("POST /jobs", Answer(202, a_job(state="available", wait_reason="slot:vault", queue_position=4)))
    assert "waiting for a slot of the vault (place 4)" in world.run("backup", "etc").out
    warned = a_done_job(warnings=[{"path": "/etc/shadow", "code": "unreadable", "message": "Permission denied"}])
    world.server.on(EVENTS, Answer(frames=(frame(warned),)))
    ran = world.run("backup", "etc", "--wait")
    assert (ran.code, ran.err) == (3, "warning: /etc/shadow: Permission denied (unreadable)\n")
