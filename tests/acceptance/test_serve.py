"""``serve``: one process after the other, as a person or a container starts them."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from orchestrator.store import schema
from tests.support.brokers import Valkey
from tests.support.fleet import Fleet, make_tree
from tests.support.postgres import database_url, postgres_server  # noqa: F401 - fixtures
from tests.support.served import READ_ONLY, Served
from tests.support.stack import TERMINAL, Ran, wait_for

pytestmark = pytest.mark.stack


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path / "valkey")
    server.start()
    yield server
    server.client.close()
    server.kill()


@pytest.fixture
def served(tmp_path: Path, database_url: str, valkey: Valkey) -> Iterator[Served]:  # noqa: F811
    one = Served(tmp_path / "home", database_url=database_url, broker_url=valkey.url)
    one.settle()
    yield one
    one.stop_all()


def tables(url: str) -> int:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert row is not None
    return int(row[0])


# ── bringing the schema up ───────────────────────────────────────────────────────────────────────


def test_three_that_bring_the_schema_up_at_once_wait_for_each_other(served: Served) -> None:
    env = {"SKYHARBOR_HOME": str(served.home), "SKYHARBOR_DATABASE_URL": served.database_url}
    ends: list[Ran] = []
    threads = [threading.Thread(target=lambda: ends.append(served.serve("migrate", env=env))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [(end.code, end.err.count('"schema-ready"')) for end in ends] == [(0, 1)] * 3, [end.err for end in ends]
    assert tables(served.database_url) > 10


def test_a_migration_that_is_told_to_end_has_not_succeeded(served: Served) -> None:
    env = {"SKYHARBOR_HOME": str(served.home), "SKYHARBOR_DATABASE_URL": served.database_url}
    with psycopg.connect(served.database_url.replace("+psycopg", ""), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [schema.LOCK])
        served.processes["migrate"] = served.popen("migrate", name="migrate", env=env)
        wait_for(lambda: waits_for_a_lock(other), "it to wait", seconds=20)

        code = served.stop("migrate")

    assert (code, tables(served.database_url)) == (143, 0)


def waits_for_a_lock(connection: psycopg.Connection[Any]) -> bool:
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    row = connection.execute(query).fetchone()
    return row is not None and row[0] > 0


def test_an_api_may_bring_the_schema_up_itself(served: Served) -> None:
    env = {
        "SKYHARBOR_HOME": str(served.home),
        "SKYHARBOR_DATABASE_URL": served.database_url,
        "SKYHARBOR_BIND": f"127.0.0.1:{served.ports['api-1']}",
    }
    served.processes["api-1"] = served.popen("api", "--migrate", name="api-1", env=env)

    wait_for(lambda: served.is_ready("api-1"), "the API to be ready", seconds=30)

    assert served.stop("api-1") == 0


# ── starting wrongly ─────────────────────────────────────────────────────────────────────────────

WRONG: list[tuple[str, dict[str, str], int, str]] = [
    ("api", {}, 2, "SKYHARBOR_DATABASE_URL is not set (bad-request)"),
    ("migrate", {}, 2, "SKYHARBOR_DATABASE_URL is not set (bad-request)"),
    ("loops", {"SKYHARBOR_DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}, 2, "SKYHARBOR_BROKER_URL is not set"),
    ("auditor", {}, 2, "SKYHARBOR_DATABASE_URL is not set (bad-request)"),
    ("worker", {}, 2, "SKYHARBOR_TOWER_URL is not set (bad-request)"),
    ("flower", {}, 2, "SKYHARBOR_BROKER_URL is not set (bad-request)"),
    ("migrate", {"SKYHARBOR_DATABASE_URL": "postgresql://x:secret@127.0.0.1:1/x"}, 6, "(server-unreachable)"),
    ("migrate", {"SKYHARBOR_DATABASE_URL": "postgresql://x:secret@127.0.0.1:port/x"}, 2, "(bad-request)"),
    ("migrate", {"SKYHARBOR_DATABASE_URL_FILE": "/no/such/file"}, 2, "SKYHARBOR_DATABASE_URL_FILE: No such file"),
]


@pytest.mark.parametrize(("role", "env", "code", "said"), WRONG)
def test_what_is_wrong_is_told_in_words_with_its_code(
    role: str, env: dict[str, str], code: int, said: str, tmp_path: Path
) -> None:
    ran = Served(tmp_path).serve(role, env={"SKYHARBOR_HOME": str(tmp_path), **env})

    assert (ran.code, said in ran.err, "hint: " in ran.err) == (code, True, True), ran.err
    assert "Traceback" not in ran.err
    assert "secret" not in ran.err


def test_a_worker_whose_tower_is_away_can_be_told_to_end(served: Served) -> None:
    served.processes["worker-1"] = served.popen(
        "worker",
        name="worker-1",
        env={
            "SKYHARBOR_HOME": str(served.home),
            "SKYHARBOR_BROKER_URL": served.broker_url,
            "SKYHARBOR_TOWER_URL": served.url,
        },
    )
    wait_for(lambda: "tower-away" in served.log("worker-1"), "the worker to ask in vain", seconds=20)

    assert served.stop("worker-1") == 0


# ── running and ending ───────────────────────────────────────────────────────────────────────────


def test_every_process_logs_json_on_stderr_and_ends_with_zero(served: Served) -> None:
    names = ["loops-1", "api-1", "worker-1"]
    served.start(*names)

    codes = {name: served.stop(name) for name in reversed(names)}

    assert codes == dict.fromkeys(names, 0)
    events: dict[str, list[dict[str, Any]]] = {name: served.events(name) for name in names}
    assert {name: {event["process"] for event in events[name]} for name in ("loops-1", "worker-1")} == {
        "loops-1": {"loops"},
        "worker-1": {"worker"},
    }


def test_a_worker_that_is_told_to_end_gives_its_unit_back_and_burns_no_attempt(served: Served, tmp_path: Path) -> None:
    served.start("loops-1", "api-1")
    served.start("worker-1")
    fleet = Fleet.settle(served, tmp_path / "fleet")
    fleet.protect("data", make_tree(tmp_path / "src", files=2_000, big=128 << 20))
    job = fleet.request("data")
    served.wait_job(job["id"], "running")

    code = served.stop("worker-1")
    given_back = served.api_job(job["id"])
    served.start("worker-1")
    done = served.wait_job(job["id"], *TERMINAL)

    assert (code, given_back["state"]) == (0, "available"), given_back
    assert (done["state"], done["attempt"], len(fleet.points("data"))) == ("completed", 1, 1)


def test_a_worker_that_ends_while_the_api_is_away_gives_its_unit_back_when_it_returns(
    served: Served, tmp_path: Path
) -> None:
    served.start("loops-1", "api-1")
    served.start("worker-1")
    fleet = Fleet.settle(served, tmp_path / "fleet")
    fleet.protect("data", make_tree(tmp_path / "src", files=2_000, big=128 << 20))
    job = fleet.request("data")
    served.wait_job(job["id"], "running")

    served.kill("api-1")
    served.processes["worker-1"].terminate()
    wait_for(lambda: "word-unanswered" in served.log("worker-1"), "the worker to ask in vain", seconds=20)
    served.start("api-1")
    code = served.processes.pop("worker-1").wait(timeout=45)
    given_back = served.api_job(job["id"])

    assert (code, given_back["state"], given_back["attempt"]) == (0, "available", 0), given_back


# ── health ───────────────────────────────────────────────────────────────────────────────────────


def health(served: Served, name: str) -> tuple[int, str]:
    """What an engine would be told by the health check of a process."""
    ran = served.serve("health", env=served._environment(name, *name.split("-")))
    return ran.code, ran.out.strip()


def test_a_frozen_process_is_not_healthy_and_is_again_when_it_goes_on(served: Served) -> None:
    served.extra = {"SKYHARBOR_HANG_SECONDS": "2", "SKYHARBOR_AUDIT_SECONDS": "1"}
    names = ["loops-1", "auditor-1", "worker-1"]
    served.start("loops-1", "api-1")
    served.start("auditor-1", "worker-1")
    for name in names:
        wait_for(lambda name=name: health(served, name) == (0, "healthy"), f"{name} to be healthy", seconds=40)  # type: ignore[misc]

    hung = {
        "loops-1": "hangs: dispatcher, expirer, leader, planner, relay, rescuer, sealer, sweeper",
        "auditor-1": "hangs: auditor",
        "worker-1": "hangs: idle poll, lease keeper",
    }
    for name in names:
        served.freeze(name)
    for name in names:  # a loop that rests longer is missed later
        wait_for(lambda name=name: health(served, name) == (1, hung[name]), f"{name} to be found frozen", seconds=60)  # type: ignore[misc]

    for name in names:
        served.freeze(name, thaw=True)
    for name in names:
        wait_for(lambda name=name: health(served, name) == (0, "healthy"), f"{name} to be healthy again", seconds=40)  # type: ignore[misc]


def test_one_loop_that_waits_for_what_does_not_come_is_named(served: Served) -> None:
    served.extra = {"SKYHARBOR_HANG_SECONDS": "2"}
    served.start("loops-1")
    wait_for(lambda: health(served, "loops-1") == (0, "healthy"), "it to be healthy", seconds=40)

    with psycopg.connect(served.database_url.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
        wait_for(lambda: "relay" in health(served, "loops-1")[1], "the relay to hang", seconds=40)
        assert "leader" not in health(served, "loops-1")[1]

    wait_for(lambda: health(served, "loops-1") == (0, "healthy"), "it to be healthy again", seconds=60)


def test_a_process_that_is_not_there_is_not_healthy(served: Served) -> None:
    ran = served.serve("health", env=served._environment("loops-1", "loops", "1"))

    assert (ran.code, ran.err.strip()) == (1, "not ready")


def test_all_that_is_written_lies_under_the_home(served: Served, tmp_path: Path) -> None:
    """The whole file system but the home, the vault and the target is read-only, as in a container."""
    probe = subprocess.run(["unshare", "--mount", "sh", "-c", READ_ONLY], check=False, capture_output=True)
    if probe.returncode:
        pytest.skip("this machine gives us no mount namespace")
    served.writable = [str(served.home), str(tmp_path / "fleet")]
    (tmp_path / "fleet").mkdir()
    tree = make_tree(tmp_path / "src")

    served.start("loops-1", "api-1")
    served.start("worker-1")
    fleet = Fleet.settle(served, tmp_path / "fleet")
    fleet.protect("data", tree)
    done = served.ask("backup", "data", "--wait")
    served.ask("restore", done["point"], "--to", str(tmp_path / "fleet" / "out"), "--wait")

    assert done["state"] == "completed"
