"""A start that cannot succeed says why, whatever part of the stack it is; and a start that was stopped says that."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

import shared
from orchestrator.embedded import programs
from orchestrator.embedded.home import Home, make_home
from orchestrator.embedded.part import Part, rotate, spawn
from orchestrator.embedded.plan import Plan
from orchestrator.embedded.programs import Program, Wiring
from orchestrator.embedded.record import StackRecord
from orchestrator.embedded.supervisor import Supervisor
from shared.clock import SystemClock
from shared.errors import REGISTRY, SkyharborError

REFUSE = (
    "import sys; sys.stderr.write("
    f"'error: {REGISTRY['bad-request'].title}: 65 is too many (bad-request)\\nhint: Compare.\\n'); sys.exit(2)"
)
CRASH = "raise SystemExit(1)"
SAY_READY_AND_STAY = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(600)"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(str(tmp_path / "home"), now=SystemClock().now(), version=shared.VERSION)


def program(home: Home, code: str, *, needed: bool, ready_file: str | None = None) -> Program:
    return Program(
        name="part",
        log=home.log("part"),
        arguments=["-c", code, ready_file or ""],
        environment={},
        answers=lambda: needed,  # what is not needed is waited for; what is needed was once taken for ready too early
        needed=needed,
        ready_file=ready_file,
    )


def run(home: Home, parts: Sequence[Part]) -> list[StackRecord]:
    """Run a stack of these parts; it is told to end as soon as it is announced."""
    announced: list[StackRecord] = []

    def announce(record: StackRecord) -> None:
        announced.append(record)
        os.kill(os.getpid(), signal.SIGTERM)

    def describe() -> StackRecord:
        return StackRecord(pid=1, url="", port=1, started_at="", version="", versions={}, processes=())

    Supervisor(home, Plan(stages=(lambda: parts,), describe=describe), clock=SystemClock()).run(announce=announce)
    return announced


def test_a_worker_that_refuses_makes_up_fail_with_its_own_error(home: Home) -> None:
    with pytest.raises(SkyharborError) as caught:
        run(home, [program(home, REFUSE, needed=False)])
    assert (caught.value.code, caught.value.detail) == ("bad-request", "part: 65 is too many")


def test_loops_that_end_again_and_again_are_no_success(home: Home) -> None:
    with pytest.raises(SkyharborError) as caught:
        run(home, [program(home, CRASH, needed=True, ready_file=f"{home.run}/part.ready")])
    assert (caught.value.code, "again and again" in caught.value.detail) == ("stack-start-failed", True)


def test_a_part_is_ready_when_it_says_so_and_not_by_the_word_of_its_predecessor(home: Home) -> None:
    ready = f"{home.run}/part.ready"
    Path(ready).touch()
    with pytest.raises(SkyharborError):
        run(home, [program(home, CRASH, needed=True, ready_file=ready)])
    assert len(run(home, [program(home, SAY_READY_AND_STAY, needed=True, ready_file=ready)])) == 1


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, SkyharborError), (signal.SIGINT, KeyboardInterrupt)])
def test_a_stack_that_is_stopped_while_starting_says_so(
    home: Home, number: signal.Signals, raised: type[BaseException]
) -> None:
    code = f"import os, time; os.kill({os.getpid()}, {int(number)}); time.sleep(600)"
    with pytest.raises(raised) as caught:
        run(home, [program(home, code, needed=False)])
    if raised is SkyharborError:
        assert "it was stopped while starting" in str(caught.value)


def test_no_program_carries_a_secret_where_everybody_can_read_it(home: Home) -> None:
    with socket.socket() as listener:
        wiring = Wiring(
            home=home,
            database_url="postgresql+psycopg://u:hunter2@h/d",
            broker_url="redis://:hunter2@h/0",
            port=1,
            listener=listener.fileno(),
            concurrency=2,
            started_at="",
            flower=True,
            environment={
                "BROKER_URL": "redis://elsewhere",
                "CELERY_BROKER_READ_URL": "redis://elsewhere",
                "SKYHARBOR_ALARM_URLS": "json://pager/hunter3",
                "SKYHARBOR_DEADMAN_URL": "https://ping/hunter3",
            },
        )
        parts = [programs.api(wiring), programs.loops(wiring), programs.worker(wiring), programs.flower(wiring)]
        auditor = programs.auditor(wiring)
    assert [part.name for part in parts if "hunter2" in " ".join(part.command().argv)] == []
    assert [part.name for part in [*parts, auditor] if "hunter3" in str(part.environment)] == ["auditor"]
    assert "hunter" not in " ".join(auditor.command().argv)
    assert [part.name for part in parts if part.environment.get("SKYHARBOR_TASK_EVENTS")] == ["loops", "worker"]
    flower = parts[3].environment
    assert (flower["CELERY_BROKER_URL"], "elsewhere" in " ".join(flower.values())) == (wiring.broker_url, False)


def test_a_log_is_shifted_under_a_program_that_goes_on_writing_it(home: Home, tmp_path: Path) -> None:
    log, go = home.log("part"), tmp_path / "go"
    os.mkfifo(go)
    code = f"import os; os.write(1, b'x' * (11 << 20)); open({str(go)!r}).read(); os.write(1, b'after\\n')"
    process = spawn(
        Program(name="part", log=log, arguments=["-c", code], environment={}, answers=bool).command(), log=log
    )
    with open(go, "w"):  # opens when the program has written the first part
        assert (rotate(log), rotate(log)) == (True, False)
    assert process.wait(10) == 0
    assert (Path(log).read_bytes(), Path(f"{log}.1").stat().st_size) == (b"after\n", 11 << 20)
    assert Path(f"{log}.1").stat().st_mode & 0o777 == 0o600
