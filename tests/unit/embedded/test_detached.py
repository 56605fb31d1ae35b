"""A detached stack and whoever started it: the one may be gone before the other is ready."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import shared
from orchestrator.embedded import start
from orchestrator.embedded.home import make_home
from orchestrator.embedded.plan import Surroundings, UpRequest
from orchestrator.embedded.report import Document
from shared.clock import SystemClock
from shared.errors import SkyharborError

NOWHERE = Surroundings(environment={}, database_url=None, broker_url=None, postgres_programs=None, runtime_folder=None)


def supervise(home: Path, run: Callable[[Callable[[Document], None]], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Supervise a stack that does as told, for somebody who is gone."""
    monkeypatch.setattr(start, "run_stack", lambda *_, announce, **__: run(announce))
    reader, writer = os.pipe()
    os.close(reader)
    request = UpRequest(home=str(home), port=0, seats=None, flower=False)
    start.supervise_detached(request, NOWHERE, clock=SystemClock(), report_to=writer)


def test_a_stack_goes_on_when_nobody_waits_any_more_to_hear_that_it_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    went_on: list[bool] = []

    def run(announce: Callable[[Document], None]) -> None:
        announce({"running": True})
        went_on.append(True)

    supervise(tmp_path, run, monkeypatch)
    assert went_on == [True]


def test_why_a_stack_does_not_start_is_raised_though_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_: Callable[[Document], None]) -> None:
        raise SkyharborError("stack-start-failed", "there is no PostgreSQL")

    with pytest.raises(SkyharborError, match="there is no PostgreSQL"):
        supervise(tmp_path, run, monkeypatch)


HOLD = """
import fcntl, sys
held = open(sys.argv[1], "r+")
fcntl.lockf(held, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


def test_an_up_in_the_middle_of_a_down_waits_for_its_end_and_starts_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home(str(tmp_path / "home"), now=SystemClock().now(), version=shared.VERSION)
    Path(home.lock).touch()
    ending = subprocess.Popen([sys.executable, "-c", HOLD, home.lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert ending.stdout is not None
    assert ending.stdin is not None
    ending.stdout.readline()
    ending.stdout.close()
    supervised = threading.Event()
    monkeypatch.setattr(start, "_supervise", lambda *_: supervised.set())
    waited = threading.Event()
    monkeypatch.setattr(start.time, "sleep", lambda _: (waited.set(), threading.Event().wait(0.01)))
    request = UpRequest(home=home.path, port=0, seats=None, flower=False)
    up = threading.Thread(
        target=start.run_stack,
        args=(request, NOWHERE),
        kwargs={"clock": SystemClock(), "announce": lambda _: None},
        daemon=True,
    )
    up.start()

    assert waited.wait(20), "it waits"
    assert not supervised.is_set()
    ending.stdin.close()
    ending.wait()
    assert supervised.wait(20)
    up.join(20)
