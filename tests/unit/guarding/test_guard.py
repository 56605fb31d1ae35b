"""Whoever dies leaves a guard that undoes what was armed: real processes, real SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.errors import SkyharborError
from workers.guarding.client import GuardLine

PROGRAM = "tests.support.guard_program"


@pytest.fixture
def guard() -> Iterator[GuardLine]:
    line = GuardLine(os.environ, log_file=None, program=PROGRAM)
    yield line
    line.close()


def wait_for(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_what_is_armed_is_done_when_the_line_ends_the_last_one_first(guard: GuardLine, tmp_path: Path) -> None:
    trace = str(tmp_path / "trace")
    for word in "abc":
        guard.arm("touch", {"path": trace, "word": word})
    guard.close()
    assert Path(trace).read_text() == "cba"


def test_what_was_disarmed_is_never_done(guard: GuardLine, tmp_path: Path) -> None:
    number = guard.arm("touch", {"path": str(tmp_path / "no")})
    guard.arm("touch", {"path": str(tmp_path / "yes")})
    guard.disarm(number)
    guard.disarm(number)
    guard.close()
    assert os.listdir(tmp_path) == ["yes"]


def test_a_deadline_does_it_while_the_worker_lives_and_only_once(guard: GuardLine, tmp_path: Path) -> None:
    trace = tmp_path / "thawed"
    guard.arm("touch", {"path": str(trace)}, within=0.05)
    wait_for(trace.exists)
    guard.close()
    assert trace.read_text() == "x"


WORKER = """
import os, sys, time
from workers.guarding.client import GuardLine
line = GuardLine(os.environ, log_file=None, program=sys.argv[1])
line.arm("touch", {"path": sys.argv[2]})
print("armed", flush=True)
time.sleep(600)
"""


def test_a_worker_that_is_killed_has_its_deeds_done_for_it(tmp_path: Path) -> None:
    trace = tmp_path / "undone"
    worker = subprocess.Popen([sys.executable, "-c", WORKER, PROGRAM, str(trace)], stdout=subprocess.PIPE)
    with worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"armed\n"
        assert not trace.exists()
        # The whole family is told to end: the guard is the one that stays.
        os.kill(worker.pid, signal.SIGKILL)
    wait_for(trace.exists)


def test_a_guard_that_died_is_followed_by_one_that_knows_what_was_armed(guard: GuardLine, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    guard.arm("touch", {"path": str(first)})
    process = guard._process
    assert process is not None
    process.kill()
    process.wait()
    guard.arm("touch", {"path": str(second)})
    guard.close()
    assert first.exists()
    assert second.exists()


def test_a_deed_that_fails_is_tried_again(guard: GuardLine, tmp_path: Path) -> None:
    trace, tries = tmp_path / "trace", tmp_path / "tries"
    guard.arm("stumble", {"path": str(trace), "tries": str(tries), "until": "3"})
    guard.arm("nobody knows this", {})
    guard.close()
    wait_for(trace.exists)
    assert tries.read_text() == "xxx"


def test_without_a_guard_nothing_may_begin() -> None:
    line = GuardLine(os.environ, log_file=None, program="tests.support.no_such_program")
    with pytest.raises(SkyharborError, match="cannot be started"):
        line.arm("touch", {})
