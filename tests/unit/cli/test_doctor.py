"""The doctor: says what is wrong and what to do, and changes nothing."""

from __future__ import annotations

import os
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from shared.crypto.domain_keys import new_dek
from shared.crypto.keyring import Keyring
from shared.storage.open import create_store
from shared.vault.vault import create_vault
from tests.unit.cli.world import Answer, World

MACHINE = "01940000-0000-7000-8000-00000000beef"


@pytest.fixture
def healthy(world: World, tmp_path: Path) -> World:
    """A world in which nothing is wrong."""
    Path(world.home).mkdir(mode=0o700)
    Keyring(world.stack.keyring_folder(world.home)).put(MACHINE, new_dek())
    url = f"file://{tmp_path}/vault"
    store = create_store(url)
    header = create_vault(store, name="main")
    store.close()
    system = {"version": "0.1", "schema": "0001", "workers": [{"name": "local"}]}
    world.server.on("GET /system", Answer(body=system))
    world.server.on("GET /machines", Answer(body={"items": [{"id": MACHINE, "name": "web"}], "next": None}))
    vault = {"id": str(header.id), "name": "main", "url": url}
    world.server.on("GET /vaults", Answer(body={"items": [vault], "next": None}))
    return world


def bad_checks(world: World) -> tuple[int, list[str]]:
    """The exit code and what the doctor finds wrong; every finding has a hint."""
    ran = world.run("--json", "doctor")
    wrong: list[dict[str, Any]] = [check for check in ran.json["checks"] if not check["ok"]]
    assert all(check["hint"] for check in wrong)
    return ran.code, [check["check"] for check in wrong]


def test_a_healthy_installation_is_said_to_be_so(healthy: World) -> None:
    assert bad_checks(healthy) == (0, [])


def test_a_stack_that_is_down_is_found(healthy: World) -> None:
    healthy.stack.running = None
    assert bad_checks(healthy) == (1, ["stack", "tower"])


def test_a_home_that_is_open_to_others_is_found(healthy: World) -> None:
    os.chmod(healthy.home, 0o740)
    assert bad_checks(healthy) == (1, ["home"])


def test_a_missing_key_is_found_with_the_machines_name(healthy: World) -> None:
    os.unlink(Keyring(healthy.stack.keyring_folder(healthy.home)).path(MACHINE))
    assert bad_checks(healthy) == (1, ["keyring"])
    assert "web" in healthy.run("doctor").out


def test_a_vault_that_is_not_there_is_found(healthy: World, tmp_path: Path) -> None:
    os.rename(tmp_path / "vault", tmp_path / "elsewhere")
    assert bad_checks(healthy) == (1, ["vault main"])


def test_a_vault_that_is_another_one_is_found(healthy: World, tmp_path: Path) -> None:
    vault = {"id": "somebody-elses", "name": "main", "url": f"file://{tmp_path}/vault"}
    healthy.server.on("GET /vaults", Answer(body={"items": [vault], "next": None}))
    assert bad_checks(healthy) == (1, ["vault main"])


def test_a_clock_that_is_off_is_found(healthy: World) -> None:
    system = {"version": "0.1", "schema": "0001", "workers": [{"name": "local"}]}
    healthy.server.dates = formatdate(0, usegmt=True)
    healthy.server.on("GET /system", Answer(body=system))
    assert bad_checks(healthy) == (1, ["clock"])


def test_a_tower_without_workers_is_found(healthy: World) -> None:
    healthy.server.on("GET /system", Answer(body={"version": "0.1", "schema": "0001", "workers": []}))
    assert bad_checks(healthy) == (1, ["workers"])
