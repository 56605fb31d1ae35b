"""One backup in several worker processes at once, and the loss of one of them in the middle."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.compare import differences
from tests.support.fleet import Fleet, make_tree
from tests.support.stack import TERMINAL, Stack, wait_for

pytestmark = pytest.mark.stack

OWN, SECOND = "worker:local", "worker:second"


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[tuple[Fleet, subprocess.Popen[bytes]]]:
    """A stack in which even small backups are shared, and a second worker process."""
    stack = Stack(tmp_path / "home", env={"SKYHARBOR_SHARD_ENTRIES": "100"})
    stack.up()
    second: subprocess.Popen[bytes] | None = None
    try:
        fleet = Fleet.settle(stack, tmp_path / "fleet")
        socket = next(str(path) for path in stack.home.rglob("valkey.sock"))
        second = stack.second_worker("second", broker_url=f"redis+socket://{socket}")
        yield fleet, second
    finally:
        if second is not None:
            second.kill()
            second.wait()
        stack.down()


def lead_by_second(fleet: Fleet, second: subprocess.Popen[bytes], item: str) -> Any:
    """Start a backup that the second worker leads, and stop that one's clock until the stack's own worker helps."""
    fleet.stack.signal("worker", signal.SIGSTOP)
    job = fleet.request(item)
    wait_for(lambda: bool(told(fleet, job, "job.offer")), "shards to be offered", seconds=30)
    second.send_signal(signal.SIGSTOP)
    fleet.stack.signal("worker", signal.SIGCONT)
    return job


def told(fleet: Fleet, job: Any, action: str) -> list[tuple[int, str, int]]:
    """The audit log's lines of an action on a job: when (by their order), who, which unit."""
    with fleet.stack.http() as http:
        rows = http.get("/api/v1/audit", params={"limit": 500}).json()["items"]
    return [
        (row["seq"], row["actor"], row["detail"].get("unit", 0))
        for row in rows
        if row["action"] == action and row["target"] == job["id"]
    ]


def leads(fleet: Fleet, job: Any) -> list[str]:
    """Who led the attempts, in order."""
    return [actor for _, actor, _ in told(fleet, job, "job.claim")]


def in_flight(fleet: Fleet, job: Any, worker: str) -> set[int]:
    """The shards that a worker has claimed and not ended."""
    claimed = {unit for _, actor, unit in told(fleet, job, "shard.claim") if actor == worker}
    return claimed - {unit for _, _, unit in told(fleet, job, "shard.end")}


def restored(fleet: Fleet, job: Any, tree: Path, out: Path) -> list[str]:
    fleet.stack.ask("restore", job["point"], "--to", str(out), "--wait")
    return differences(str(tree), str(out / str(tree).lstrip("/")))


def test_two_processes_fly_units_of_one_backup_at_the_same_time(
    shared: tuple[Fleet, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    fleet, second = shared
    tree = make_tree(tmp_path / "src", files=1_000, bytes_each=400_000)
    fleet.protect("data", tree)
    job = lead_by_second(fleet, second, "data")
    wait_for(lambda: bool(in_flight(fleet, job, OWN)), "the stack's worker to help", seconds=30)
    second.send_signal(signal.SIGCONT)
    done = fleet.stack.wait_job(job["id"], *TERMINAL)
    assert (done["state"], done["attempt"], leads(fleet, job)) == ("completed", 1, [SECOND])
    ends = {unit: seq for seq, _, unit in told(fleet, job, "shard.end")}
    flights = {(actor, seq, ends[unit]) for seq, actor, unit in told(fleet, job, "shard.claim")}
    assert len(flights) == len(ends)
    assert any(
        mine == OWN and other == SECOND and begin < until and since < end
        for mine, begin, end in flights
        for other, since, until in flights
    ), flights
    assert len(fleet.points("data")) == 1
    assert (done["stats"]["files"], done["stats"]["files_new"]) == (1_001, 1_001)
    assert restored(fleet, done, tree, tmp_path / "out") == []


def test_a_helper_killed_in_the_middle_costs_the_backup_nothing_but_time(
    shared: tuple[Fleet, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    fleet, second = shared
    tree = make_tree(tmp_path / "src", files=1_000, bytes_each=400_000)
    fleet.protect("data", tree)
    job = lead_by_second(fleet, second, "data")

    def caught() -> bool:
        if not in_flight(fleet, job, OWN):
            return False
        fleet.stack.signal("worker", signal.SIGSTOP)
        if in_flight(fleet, job, OWN):
            return True
        fleet.stack.signal("worker", signal.SIGCONT)
        return False

    wait_for(caught, "the stack's worker to be caught with a shard in its hands", seconds=30)
    lost = in_flight(fleet, job, OWN)
    fleet.stack.signal("worker", signal.SIGKILL)
    second.send_signal(signal.SIGCONT)
    done = fleet.stack.wait_job(job["id"], *TERMINAL, seconds=120)
    assert (done["state"], done["attempt"], leads(fleet, job)) == ("completed", 1, [SECOND])
    assert {unit for _, _, unit in told(fleet, job, "shard.orphaned")} == lost
    assert [point["id"] for point in fleet.points("data")] == [done["point"]]
    assert restored(fleet, done, tree, tmp_path / "out") == []


def test_a_lead_killed_in_the_middle_ends_the_attempt_for_all(
    shared: tuple[Fleet, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    fleet, second = shared
    tree = make_tree(tmp_path / "src", files=1_000, bytes_each=400_000)
    fleet.protect("data", tree)
    job = lead_by_second(fleet, second, "data")
    wait_for(lambda: bool(in_flight(fleet, job, OWN)), "the stack's worker to help", seconds=30)
    second.kill()
    done = fleet.stack.wait_job(job["id"], *TERMINAL, seconds=150)
    assert (done["state"], done["attempt"], leads(fleet, job)) == ("completed", 2, [SECOND, OWN])
    assert [point["id"] for point in fleet.points("data")] == [done["point"]]
    assert restored(fleet, done, tree, tmp_path / "out") == []
