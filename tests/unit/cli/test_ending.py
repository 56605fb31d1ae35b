"""How commands end: exit codes, one JSON document, one error line."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from orchestrator.cli.main import hoist_json
from orchestrator.cli.ports import Endpoint
from shared.errors import REGISTRY
from tests.unit.cli.jobs import a_done_job, a_job, an_error
from tests.unit.cli.world import Answer, World, frame, problem


def test_every_code_of_the_registry_exits_as_the_registry_says(world: World) -> None:
    world.server.on("POST /items/i/pause", *(problem(code) for code in REGISTRY))  # a request that is not repeated
    exits = {code: world.run("item", "pause", "i").code for code in REGISTRY}
    assert exits == {code: kind.exit_code for code, kind in REGISTRY.items()}


@pytest.mark.parametrize(
    "argv", [("--json", "vault", "list"), ("vault", "--json", "list"), ("vault", "list", "--json")]
)
def test_json_is_taken_in_any_position(world: World, argv: tuple[str, ...]) -> None:
    world.server.on("GET /vaults", Answer(body={"items": [], "next": None}))
    assert world.run(*argv).json == {"items": []}


def test_json_after_two_dashes_is_somebody_elses_word() -> None:
    assert hoist_json(["point", "ls", "p", "--", "--json"]) == (["point", "ls", "p", "--", "--json"], False)


def test_a_failure_with_json_is_one_document_on_stdout_and_a_line_for_people_on_stderr(world: World) -> None:
    world.server.on("GET /vaults/v", problem("not-found", "there is no vault 'v'", hint="Look again."))
    ran = world.run("--json", "vault", "show", "v")
    kind = REGISTRY["not-found"]
    assert (ran.code, ran.json) == (
        4,
        {
            "error": {
                "code": "not-found",
                "title": kind.title,
                "message": "there is no vault 'v'",
                "hint": "Look again.",
            }
        },
    )
    assert ran.err == f"error: {kind.title}: there is no vault 'v' (not-found)\nhint: Look again.\n"


def test_a_failure_that_says_all_has_no_hint_beside_it(world: World) -> None:
    world.server.on("GET /vaults/v", problem("bad-request", "write it so"))
    ran = world.run("vault", "show", "v")
    assert ran.err == f"error: {REGISTRY['bad-request'].title}: write it so (bad-request)\n"


def test_fields_that_the_message_names_already_are_not_said_twice(world: World) -> None:
    fields = [{"field": "source.excludes.0", "message": "no set"}, {"field": "name", "message": "too long"}]
    world.server.on("GET /vaults/v", problem("bad-request", "source.excludes.0: no set", errors=fields))
    lines = world.run("vault", "show", "v").err.splitlines()
    assert lines[1:] == ["  name: too long"]


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (a_job(state="running", attempt=2, progress={"phase": "reading"}), "reading; attempt 1 failed: source-failed"),
        (a_job(state="retryable", attempt=1, wait_reason="backoff"), "for the next attempt; attempt 1 failed"),
    ],
)
def test_an_error_is_of_an_earlier_attempt_while_another_runs_or_waits(
    world: World, job: dict[str, Any], said: str
) -> None:
    job = {**job, "error": an_error("source-failed")}
    world.server.on("GET /jobs", Answer(body={"items": [job], "next": None}))
    world.server.on(f"GET /jobs/{job['id']}", Answer(body=job))
    assert said in world.run("job", "list").out
    shown = world.run("job", "show", job["id"]).out
    assert "error    (of attempt 1) T: M (source-failed)\nhint     H\n" in shown
    ended = {**job, "state": "discarded", "wait_reason": None}
    world.server.on(f"GET /jobs/{job['id']}", Answer(body=ended))
    assert "error    T: M (source-failed)\n" in world.run("job", "show", job["id"]).out


@pytest.mark.parametrize(
    "argv",
    [
        ("nonsense",),
        ("vault",),
        ("restore", "p"),
        ("backup", "etc", "--type", "partial"),
        ("restore", "p", "relative/path", "--to", "/t"),
        ("restore", "latest", "--to", "/t"),
        ("verify", "latest"),
        ("point", "ls", "latest"),
        ("machine", "add", "m"),
        ("machine", "add", "m", "--generate-passphrase", "--passphrase-file", "f"),
        ("policy", "apply", "/nowhere.yaml"),
        ("up", "--port", "70000"),
        ("up", "--port", "65535", "--flower"),
        ("up", "--workers", "65"),
        ("--home", "", "status"),
        ("--server", "", "item", "list"),
        ("--token", "", "item", "list"),
        ("--context", "", "item", "list"),
        ("--server", "notaurl", "item", "list"),
        ("--server", "ftp://tower", "item", "list"),
        ("--server", "http://tower:port", "item", "list"),
        ("--server", "http://[::1", "item", "list"),
        ("--token", "schlüssel", "item", "list"),
        ("restore", "p", "--to", ""),
        ("restore", "p", "--to", "", "--plan"),
        ("item", "show", ""),
        ("item", "remove", ""),
        ("job", "cancel", ""),
        ("point", "list", ""),
        ("verify", ""),
        ("backup", ""),
    ],
)
def test_what_cannot_be_meant_exits_2_with_one_document(world: World, argv: tuple[str, ...]) -> None:
    ran = world.run("--json", *argv)
    assert (ran.code, ran.json["error"]["code"]) == (2, "bad-request")
    assert world.server.requests == []


def test_an_empty_variable_of_the_environment_counts_as_unset(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "SERVER", "TOKEN", "CONTEXT"):
        monkeypatch.setenv(f"SKYHARBOR_{name}", "")
    world.server.on("GET /items", Answer(body={"items": [], "next": None}))
    assert world.run("item", "list").code == 0
    assert world.server.requests[0].headers["Authorization"] == "Bearer operator-token"


@pytest.mark.parametrize("name", [".", ".."])
def test_a_dot_is_no_name_and_never_another_path(world: World, name: str) -> None:
    assert world.run("vault", "show", name).code == 4
    assert world.server.requests == []


def test_a_bad_token_is_not_repeated_to_whoever_reads_the_terminal(world: World) -> None:
    ran = world.run("--json", "--token", "schlüssel", "item", "list")
    assert "schl" not in ran.out + ran.err


def test_no_arguments_are_a_call_for_help(world: World) -> None:
    ran = world.run()
    assert ran.code == 0
    assert ran.out.startswith("Usage: skyharbor")


def test_without_a_stack_or_a_server_the_tower_is_unreachable(world: World) -> None:
    world.stack.running = None
    assert world.run("--json", "item", "list").json["error"]["code"] == "server-unreachable"


def test_a_refused_connection_exits_6_without_a_traceback(world: World) -> None:
    world.stack.running = Endpoint("http://127.0.0.1:1", "t")
    ran = world.run("item", "list")
    assert ran.code == 6
    assert "Traceback" not in ran.err


def test_a_server_that_is_not_ours_is_unreachable(world: World) -> None:
    world.server.on("GET /items", Answer(502, "<html>Bad gateway</html>", "text/html"))
    assert world.run("item", "list").code == 6


def test_a_code_that_this_client_does_not_know_is_still_told(world: World) -> None:
    document = {"title": "Moon is full", "status": 409, "detail": "howl", "code": "full-moon"}
    world.server.on("GET /items", Answer(409, document, "application/problem+json"))
    ran = world.run("item", "list")
    assert ran.code == 1
    assert "Moon is full: howl (full-moon)" in ran.err


def test_a_defect_is_an_internal_error_and_no_traceback(world: World) -> None:
    world.server.on("GET /items", Answer(body={"unexpected": []}))
    ran = world.run("--json", "item", "list")
    assert (ran.code, ran.json["error"]["code"]) == (1, "internal")
    assert "Traceback" not in ran.err


def test_the_lines_of_a_bad_policy_are_named(world: World, tmp_path: object) -> None:
    file = f"{tmp_path}/p.yaml"
    with open(file, "w", encoding="utf-8") as stream:
        stream.write("name: x\n")
    world.server.on("POST /policies", problem("policy-invalid", errors=[{"line": 3, "message": "write a cron"}]))
    ran = world.run("policy", "apply", file)
    assert ran.code == 2
    assert "  line 3: write a cron\n" in ran.err


@pytest.mark.parametrize(
    ("job", "code"),
    [
        (a_done_job(), 0),
        (a_done_job(stats={"warnings": 2}), 3),
        (a_done_job(warnings=[{"path": "/p", "code": "vanished", "message": "m"}]), 3),
        (a_done_job(kind="verify", stats={"problems": 1, "warnings": 1}), 1),
        (a_job(state="cancelled"), 5),
        (a_job(state="expired"), 1),
        (a_job(state="discarded"), 1),
        (a_job(state="discarded", error=an_error("source-missing")), 1),
        (a_job(state="discarded", error=an_error("path-not-in-point")), 4),
        (a_job(state="discarded", error=an_error("stale-claim")), 5),
        (a_job(state="discarded", error=an_error("from-the-future")), 1),
    ],
)
def test_a_waited_for_job_exits_as_it_ended_and_is_the_one_document(
    world: World, job: dict[str, object], code: int
) -> None:
    world.server.on("POST /jobs", Answer(202, a_job(kind=job["kind"])))
    world.server.on(f"GET /jobs/{job['id']}/events", Answer(frames=(frame(job),)))
    ran = world.run("--json", "backup", "etc", "--wait")
    assert (ran.code, ran.json) == (code, job)


@pytest.mark.parametrize(("running", "healthy", "code"), [(True, True, 0), (True, False, 1), (False, False, 6)])
def test_status_exits_by_how_the_stack_is(world: World, running: bool, healthy: bool, code: int) -> None:
    if not running:
        world.stack.running = None
    world.stack.healthy = healthy
    ran = world.run("--json", "status")
    assert (ran.code, ran.json["running"]) == (code, running)


@pytest.mark.parametrize("argv", [("status",), ("up", "--detach"), ("--json", "status"), ("--json", "up")])
def test_what_the_stack_warns_of_is_said_to_people(world: World, argv: tuple[str, ...]) -> None:
    world.stack.warnings = ["worker has not reported yet; see /h/logs/worker.log"]
    assert "warning: worker has not reported yet; see /h/logs/worker.log\n" in world.run(*argv).err


def test_starting_up_imports_nothing_heavy() -> None:
    heavy = "httpx rich.console rich.table cryptography numpy fastapi sqlalchemy celery blake3 zstandard"
    look = f"print(*(name for name in {heavy.split()!r} if name in sys.modules))"
    program = f"import sys, orchestrator.cli.main as m; m.build_app(); {look}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
