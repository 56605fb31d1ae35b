"""One supervisor per home; the kernel tells which process it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.embedded.lock import hold, holder, signal_holder

HOLDER = """
import sys, time
from orchestrator.embedded.lock import hold
with hold(sys.argv[1]) as held:
    print("held" if held else "refused", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path: Path) -> str:
    return str(tmp_path / "lock")


@pytest.fixture
def other(lock: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with process:
        yield process
        process.kill()


def test_a_lock_held_by_another_process_is_refused_and_its_holder_named(
    lock: str, other: subprocess.Popen[str]
) -> None:
    with hold(lock) as held:
        assert held is False
    assert holder(lock) == other.pid


def test_a_killed_holder_holds_no_more(lock: str, other: subprocess.Popen[str]) -> None:
    other.kill()
    other.wait()

    assert holder(lock) is None
    assert signal_holder(lock, signal.SIGTERM) is False


def test_a_signal_reaches_the_holder(lock: str, other: subprocess.Popen[str]) -> None:
    assert signal_holder(lock, signal.SIGTERM) is True
    assert other.wait(10) == -signal.SIGTERM


def test_a_child_of_the_holder_does_not_hold_the_lock(lock: str) -> None:
    with hold(lock) as held:
        assert held is True
        child = os.fork()
        if child == 0:
            os._exit(0 if holder(lock) == os.getppid() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_nobody_holds_a_lock_that_was_never_taken(lock: str) -> None:
    assert holder(lock) is None
