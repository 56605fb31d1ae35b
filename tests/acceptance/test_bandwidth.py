"""A limit holds for jobs that run, on real processes, and so does its end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.fleet import Fleet, make_tree
from tests.support.stack import TERMINAL, wait_for

pytestmark = pytest.mark.stack

MIB = 1 << 20


def written(vault: Path) -> int:
    """Bytes in the vault, those of unfinished objects too."""
    return sum(path.stat().st_size for path in vault.rglob("*") if path.is_file())


def test_a_running_backup_keeps_to_its_limit_and_hears_within_a_renewal_that_it_was_lifted(
    shared_fleet: Fleet, tmp_path: Path
) -> None:
    fleet = shared_fleet
    vault = fleet.folder / "vault"
    fleet.stack.ask("vault", "limit", "v1", "--upload", "2MiB/s")
    fleet.protect("limited", make_tree(tmp_path / "src", big=96 * MIB))
    at_first = written(vault)
    job = fleet.request("limited")
    fleet.stack.wait_job(job["id"], "running")
    began = time.monotonic()
    wait_for(lambda: written(vault) > at_first + 8 * MIB, "8 MiB in the vault", seconds=30)
    seconds = time.monotonic() - began
    assert 2.5 < seconds < 10, f"8 MiB at 2 MiB/s took {seconds:.1f} s"
    fleet.stack.ask("vault", "limit", "v1", "--none")
    # At the old limit it would take 40 s more.
    done = fleet.stack.wait_job(job["id"], *TERMINAL, seconds=15 + 5)
    assert done["state"] == "completed"


def test_a_restore_keeps_to_the_limit_for_downloads(shared_fleet: Fleet, tmp_path: Path) -> None:
    fleet = shared_fleet
    fleet.protect("fetched", make_tree(tmp_path / "src", big=48 * MIB))
    point = fleet.stack.ask("backup", "fetched", "--wait")["point"]
    fleet.stack.ask("vault", "limit", "v1", "--download", "8MiB/s")
    restored = fleet.stack.ask("restore", point, "--to", str(tmp_path / "back"), "--wait")
    fleet.stack.ask("vault", "limit", "v1", "--none")
    assert (restored["stats"]["bytes_restored"] > 48 * MIB, 3.5 < restored["seconds"] < 12) == (True, True), restored


def test_a_backup_that_waits_for_bandwidth_is_cancelled_at_once(shared_fleet: Fleet, tmp_path: Path) -> None:
    fleet = shared_fleet
    fleet.stack.ask("vault", "limit", "v1", "--upload", "16KiB/s")
    fleet.protect("slow", make_tree(tmp_path / "src", big=16 * MIB))
    job = fleet.request("slow")
    fleet.stack.wait_job(job["id"], "running")
    wait_for(lambda: bool(list((fleet.folder / "vault" / "tmp").iterdir())), "the first put", seconds=30)
    fleet.stack.ask("job", "cancel", job["id"])
    done = fleet.stack.wait_job(job["id"], *TERMINAL, seconds=10)
    fleet.stack.ask("vault", "limit", "v1", "--none")
    assert (done["state"], list((fleet.folder / "vault" / "tmp").iterdir())) == ("cancelled", [])
