"""A loop that hangs is seen by its broken promise; one that fails, or whose process is young, is not."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.loops.looper import LONGEST_BACKOFF, Looper
from shared.errors import SkyharborError
from shared.pulse import Pulse, broken_promises

LATE = 1000.0


class Now:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "ready")


def test_nothing_is_said_before_the_process_is_ready(file: str) -> None:
    Pulse(file, now=Now()).promise("planner", within=5)

    assert broken_promises(file, now=LATE) is None
    Path(file).touch()
    assert broken_promises(file, now=LATE) is None, "it is just being written"


def test_what_a_predecessor_has_promised_is_forgotten(file: str) -> None:
    Pulse(file, now=Now()).open()

    Pulse(file, now=Now())

    assert broken_promises(file, now=LATE) is None


def test_who_has_ended_says_nothing_any_more(file: str) -> None:
    pulse = Pulse(file, now=(now := Now()))
    pulse.open()
    pulse.close()
    now.seconds += 10
    pulse.promise("planner", within=5)

    assert broken_promises(file, now=now.seconds) is None


def test_the_loop_that_is_late_is_named_and_the_others_are_not(file: str) -> None:
    pulse = Pulse(file, now=(now := Now()))
    pulse.open()
    pulse.promise("planner", within=5)
    pulse.promise("relay", within=5)
    now.seconds += 4
    pulse.promise("relay", within=5)

    assert broken_promises(file, now=now.seconds) == {}
    assert broken_promises(file, now=now.seconds + 4) == {"planner": 3.0}


def test_a_file_that_says_nothing_speaks_against_its_process(file: str) -> None:
    for text in (" ", "{}", '{"promises": {"planner": "soon"}}', "[]"):
        Path(file).write_text(text)
        assert broken_promises(file, now=0.0) == {"pulse": float("inf")}


def test_a_busy_process_writes_once_a_second(file: str) -> None:
    pulse = Pulse(file, now=(now := Now()))
    pulse.open()
    pulse.promise("relay", within=5)
    written = Path(file).read_text()
    for _ in range(99):
        now.seconds += 0.01
        pulse.promise("relay", within=5)

    assert Path(file).read_text() == written
    now.seconds += 0.02
    pulse.promise("relay", within=5)
    assert json.loads(Path(file).read_text())["promises"] == {"relay": now.seconds + 5}


def test_a_full_disk_ends_no_loop(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pulse = Pulse(file, now=Now())
    pulse.open()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "pwrite", full)
    pulse.promise("relay", within=5)


def looped(file: str, step: Callable[[], bool]) -> tuple[Looper, Pulse]:
    pulse = Pulse(file, now=Now())
    pulse.open()
    return Looper("planner", interval=0.01, step=step, pulse=pulse, hangs_after=5.0), pulse


def test_a_step_that_never_ends_breaks_the_promise_made_before_it(file: str) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def step() -> bool:
        begun.set()
        return may_end.wait(60)

    looper, _ = looped(file, step)
    looper.start()
    assert begun.wait(20)

    assert broken_promises(file, now=106.0) == {}
    assert broken_promises(file, now=LATE) == {"planner": LATE - 105.0}
    may_end.set()
    assert looper.stop()


def test_a_step_that_fails_keeps_the_promise_for_its_longer_pause(file: str) -> None:
    failed = threading.Event()

    def step() -> bool:
        failed.set()
        raise SkyharborError("server-unreachable", "the database does not answer")

    looper, _ = looped(file, step)
    looper._failures = 9
    looper.start()
    assert failed.wait(20)
    looper.stop()

    until = 100.0 + LONGEST_BACKOFF + 5.0
    promises = json.loads(Path(file).read_text())["promises"]
    assert promises == {"planner": pytest.approx(105.0)}, "the pulse is not written twice in a second"
    assert looper._pulse is not None
    assert looper._pulse._promises == {"planner": until}
