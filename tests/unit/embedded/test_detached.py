"""A detached stack and whoever started it: the one may be gone before the other is ready."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.embedded import start
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
