"""What happens when processes die, the broker forgets or stammers, and old workers come back."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from shared.model.ids import new_id
from tests.support.compare import differences
from tests.support.fleet import Fleet, make_tree
from tests.support.stack import TERMINAL, wait_for

pytestmark = pytest.mark.stack


def broker_socket(fleet: Fleet) -> str:
    """The path of the private broker's socket."""
    return next(str(path) for path in fleet.stack.home.rglob("valkey.sock"))


def ring(fleet: Fleet, job: Any, *, times: int) -> None:
    """Put the doorbell of an admitted job into the broker ``times`` more times."""
    app = Celery(broker=f"redis+socket://{broker_socket(fleet)}", set_as_current=False)
    for _ in range(times):
        app.send_task("skyharbor.unit", args=[job["id"], job["epoch"], 0], queue="skyharbor.units")
    app.close()


def claims(fleet: Fleet, job_id: str) -> int:
    """How often the audit log saw the job claimed."""
    with fleet.stack.http() as http:
        rows = http.get("/api/v1/audit", params={"limit": 200}).json()["items"]
    return sum(1 for row in rows if row["action"] == "job.claim" and job_id in str(row["target"]))


def waits_for_worker(fleet: Fleet, job_id: str) -> bool:
    return bool(fleet.stack.api_job(job_id)["wait_reason"] == "worker")


def test_a_worker_killed_in_mid_backup_costs_an_attempt_and_nothing_else(fleet: Fleet, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "src", files=2_000, big=256 << 20)
    fleet.protect("data", tree)
    job = fleet.request("data")
    fleet.stack.wait_job(job["id"], "running")
    fleet.stack.signal("worker", signal.SIGKILL)
    died_at = time.monotonic()
    done = fleet.stack.wait_job(job["id"], *TERMINAL, seconds=90)
    assert (done["state"], done["attempt"]) == ("completed", 2), done
    assert time.monotonic() - died_at < 90
    assert [point["id"] for point in fleet.points("data")] == [done["point"]]
    fleet.stack.ask("restore", done["point"], "--to", str(tmp_path / "out"), "--wait")
    assert differences(tree, tmp_path / "out" / str(tree).lstrip("/")) == []


def test_a_worker_told_to_stop_gives_its_unit_back_and_burns_no_attempt(fleet: Fleet, tmp_path: Path) -> None:
    fleet.protect("data", make_tree(tmp_path / "src", files=2_000, big=256 << 20))
    fleet.protect("other", make_tree(tmp_path / "other"))
    job = fleet.request("data")
    fleet.stack.wait_job(job["id"], "running")
    other = fleet.request("other")
    fleet.stack.signal("worker", signal.SIGTERM)
    ends = [fleet.stack.wait_job(one["id"], *TERMINAL) for one in (job, other)]
    assert [(end["state"], end["attempt"]) for end in ends] == [("completed", 1)] * 2
    assert len(fleet.points("data")) == 1


def test_a_flushed_broker_with_twenty_jobs_queued_loses_none(fleet: Fleet, tmp_path: Path) -> None:
    items = [f"item{number}" for number in range(20)]
    for number, item in enumerate(items):
        fleet.protect(item, make_tree(tmp_path / item, files=5, seed=number))
    fleet.stack.signal("worker", signal.SIGSTOP)
    jobs = [fleet.request(item) for item in items]
    wait_for(lambda: any(waits_for_worker(fleet, job["id"]) for job in jobs), "a doorbell to be rung", seconds=20)
    assert all(fleet.stack.api_job(job["id"])["wait_reason"] for job in jobs), "every waiting job says why"
    assert redis.Redis(unix_socket_path=broker_socket(fleet)).flushall()
    fleet.stack.signal("worker", signal.SIGCONT)
    states = [fleet.stack.wait_job(job["id"], *TERMINAL, seconds=120)["state"] for job in jobs]
    assert states == ["completed"] * 20


def test_the_same_doorbell_five_times_is_one_attempt(fleet: Fleet, tmp_path: Path) -> None:
    fleet.protect("data", make_tree(tmp_path / "src"))
    fleet.stack.signal("worker", signal.SIGSTOP)
    job = fleet.request("data")
    wait_for(lambda: waits_for_worker(fleet, job["id"]), "the job to be admitted", seconds=20)
    ring(fleet, fleet.stack.api_job(job["id"]), times=5)
    fleet.stack.signal("worker", signal.SIGCONT)
    done = fleet.stack.wait_job(job["id"], *TERMINAL)
    second = fleet.stack.ask("backup", "data", "--wait")  # everything rung before it has been answered by now
    assert (done["state"], done["attempt"], claims(fleet, job["id"])) == ("completed", 1, 1)
    assert (second["state"], second["attempt"]) == ("completed", 1)
    assert len(fleet.points("data")) == 2


def test_after_a_power_cut_every_accepted_job_reaches_its_end(fleet: Fleet, tmp_path: Path) -> None:
    items = [f"item{number}" for number in range(6)]
    for number, item in enumerate(items):
        fleet.protect(item, make_tree(tmp_path / item, files=50, big=32 << 20, seed=number))
    jobs = [fleet.request(item) for item in items]
    fleet.stack.wait_job(jobs[0]["id"], "running", "completed")
    fleet.stack.kill_everything()
    fleet.stack.up()
    states = [fleet.stack.wait_job(job["id"], *TERMINAL, seconds=120)["state"] for job in jobs]
    assert states == ["completed"] * 6
    assert [len(fleet.points(item)) for item in items] == [1] * 6
    with fleet.stack.http() as http:
        slots = http.get("/api/v1/system").json()["slots"]
    assert {slot["in_use"] for slot in slots} == {0}


def test_a_stale_worker_cannot_complete_what_somebody_else_owns(fleet: Fleet, tmp_path: Path) -> None:
    fleet.protect("data", make_tree(tmp_path / "src"))
    fleet.stack.signal("worker", signal.SIGSTOP)
    job = fleet.request("data")
    wait_for(lambda: waits_for_worker(fleet, job["id"]), "the job to be admitted", seconds=20)
    hello = {"worker": "ghost", "version": "0", "concurrency": 1, "clock": "2026-01-01T00:00:00Z"}
    with fleet.stack.http(token="worker.token") as work:
        first, second = new_id(), new_id()
        assert work.post("/work/v1/hello", json={**hello, "session": first}).status_code == 200
        granted = work.post("/work/v1/claim", json={"worker": "ghost", "session": first}).json()
        assert granted["fence"]["job_id"] == job["id"]
        # A new session of the same worker proves that the first is dead; its lease is given up.
        assert work.post("/work/v1/hello", json={**hello, "session": second}).json()["released"] == 1
        fleet.stack.signal("worker", signal.SIGCONT)
        done = fleet.stack.wait_job(job["id"], *TERMINAL)
        late = {"fence": granted["fence"], "outcome": {"outcome": "failed", "code": "internal", "message": "late"}}
        refusals = [work.post(f"/work/v1/{verb}", json=late) for verb in ("commit", "complete", "release")]
    assert [(reply.status_code, reply.json()["code"]) for reply in refusals] == [(409, "stale-claim")] * 3
    assert fleet.stack.api_job(job["id"]) == done
    assert (done["state"], done["attempt"], len(fleet.points("data"))) == ("completed", 2, 1)


def test_a_worker_frozen_past_its_trust_stops_by_itself(fleet: Fleet, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "src", files=500, big=512 << 20)
    fleet.protect("data", tree)
    job = fleet.request("data")
    fleet.stack.wait_job(job["id"], "running")
    fleet.stack.signal("worker", signal.SIGSTOP)
    wait_for(lambda: fleet.stack.api_job(job["id"])["state"] != "running", "the lease to be taken back", seconds=80)
    fleet.stack.signal("worker", signal.SIGCONT)
    done = fleet.stack.wait_job(job["id"], *TERMINAL, seconds=60)
    assert (done["state"], done["attempt"], len(fleet.points("data"))) == ("completed", 2, 1)
