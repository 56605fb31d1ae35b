"""``serve`` becomes a process of the tower; one that does not want to start says so as every command does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import REGISTRY

BAD = REGISTRY["bad-request"]
UNSET = "Set it in the environment; see 'skyharbor serve --help'."


@pytest.mark.parametrize(
    ("role", "variables", "detail", "hint"),
    [
        ("api", {}, "SKYHARBOR_DATABASE_URL is not set", UNSET),
        ("api", {"SKYHARBOR_BIND": "here"}, "SKYHARBOR_BIND must be address:port, not 'here'", ""),
        ("loops", {"SKYHARBOR_DATABASE_URL": "postgresql://h/d"}, "SKYHARBOR_BROKER_URL is not set", UNSET),
        ("worker", {}, "SKYHARBOR_TOWER_URL is not set", UNSET),
    ],
)
def test_a_refusal_is_a_line_and_a_hint_and_no_raw_json(
    tmp_path: Path, role: str, variables: dict[str, str], detail: str, hint: str
) -> None:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("SKYHARBOR_")}
    ran = subprocess.run(
        [sys.executable, "-m", "orchestrator", "--home", str(tmp_path), "serve", role],
        env={**ours, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == f"error: {BAD.title}: {detail} (bad-request)\n" + (f"hint: {hint}\n" if hint else "")
