"""A world per test: a private home and a private server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.cli.ports import Endpoint
from tests.unit.cli.world import DescribedStack, ListedPoint, World, serving


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A stack that runs under a home, with a server that answers for it."""
    for name in ("HOME", "SERVER", "TOKEN", "CONTEXT"):
        monkeypatch.delenv(f"SKYHARBOR_{name}", raising=False)
    home = str(tmp_path / "home")
    with serving() as server:
        stack = DescribedStack(home, Endpoint(server.url, "operator-token"))
        yield World(home, server, stack, ListedPoint(), capsys, str(tmp_path / "config.toml"))
