"""The doctor: says what is wrong and what to do, and changes nothing."""

from __future__ import annotations

import os
import subprocess
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.survey import survey
from shared.crypto.domain_keys import new_dek
from shared.crypto.keyring import Keyring
from shared.errors import SkyharborError
from shared.storage.open import create_store
from shared.vault.vault import create_vault
from tests.support.trees import IS_ROOT, Node, plant
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
    world.server.on("GET /items", Answer(body={"items": [], "next": None}))
    world.server.on("GET /alarms", Answer(body={"items": [], "next": None}))
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


def test_open_alarms_are_counted_by_kind(healthy: World) -> None:
    alarms = [{"kind": kind} for kind in ("rpo-missed", "no-worker", "rpo-missed")]
    healthy.server.on("GET /alarms", Answer(body={"items": alarms, "next": None}))
    assert bad_checks(healthy) == (1, ["alarms"])
    assert "open: no-worker 1, rpo-missed 2" in healthy.run("doctor").out


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


# ── what could not be restored today ─────────────────────────────────────────────────────────────────


def at_risk(name: str, **changes: Any) -> dict[str, Any]:
    """An item of a database that has a point and whose last backup failed."""
    risk = {
        "id": "i", "name": name, "workload": "mysql", "last_point_at": "2026-11-01T10:00:00Z", "job": "0194-job",
        "ended_at": "2026-11-02T10:00:00Z", "failed": {"code": "source-denied", "message": "who are you"},
    }  # fmt: skip
    return {**risk, **changes}


def test_items_that_could_not_be_restored_are_named_with_what_to_do(healthy: World) -> None:
    items = [
        at_risk("failing"),
        at_risk("hopeless", last_point_at=None),
        at_risk("unsound", last_point_at=None, failed=None),
        at_risk("young", last_point_at=None, failed=None, job=None, ended_at=None),
    ]
    healthy.server.on("GET /at-risk", Answer(body={"items": items, "next": None}))
    assert bad_checks(healthy) == (1, ["item failing", "item hopeless", "item unsound"])
    checks = {check["check"]: check for check in healthy.run("--json", "doctor").json["checks"]}
    assert "the newest point is of" in checks["item failing"]["detail"]
    assert "who are you" in checks["item failing"]["detail"]
    assert "0194-job" in checks["item failing"]["hint"]
    assert "nothing of it could be restored" in checks["item hopeless"]["detail"]
    assert "--type full" in checks["item unsound"]["hint"]
    assert (checks["item young"]["ok"], "no backup of it has ended" in checks["item young"]["detail"]) == (True, True)


def test_of_very_many_items_the_first_are_named(healthy: World) -> None:
    items = [at_risk(f"i{number:03}") for number in range(60)]
    healthy.server.on("GET /at-risk", Answer(body={"items": items, "next": None}))
    code, wrong = bad_checks(healthy)
    assert (code, wrong) == (1, [*(f"item i{number:03}" for number in range(50)), "items"])


@pytest.mark.parametrize(("code", "wrong"), [("slot-lag", ["item shop"]), ("slot-unbounded", [])])
def test_what_a_replication_slot_costs_or_may_cost_is_said(healthy: World, code: str, wrong: list[str]) -> None:
    item = {"id": "i", "name": "shop", "workload": "postgres", "last_point": {"id": "p"}}
    warning = {"path": "/wal", "code": code, "message": "the slot keeps so much"}
    healthy.server.on("GET /items", Answer(body={"items": [item], "next": None}))
    job = {"warnings": [{"path": "", "code": "other", "message": "x"}, warning]}
    healthy.server.on("GET /jobs", Answer(body={"items": [job], "next": None}))
    assert bad_checks(healthy) == (int(bool(wrong)), wrong)
    assert "the slot keeps so much" in healthy.run("doctor").out
    assert healthy.server.seen("GET /jobs")[0].query == "item=i&kind=backup&state=completed&limit=1"


# ── what a first backup will add ─────────────────────────────────────────────────────────────────────


def an_item(name: str, path: str, *, points: bool = False, **source: object) -> dict[str, Any]:
    """An item of one path, as the API shows it."""
    last = {"id": "p", "sealed_at": "2026-01-01T00:00:00Z", "type": "full"} if points else None
    vault = {"id": "v", "name": "inside"}
    return {
        "name": name,
        "workload": "files",
        "source": {"paths": [path], "excludes": [], **source},
        "vault": vault,
        "last_point": last,
    }


def protect(world: World, *items: dict[str, Any]) -> None:
    """Tell of these items."""
    world.server.on("GET /items", Answer(body={"items": items, "next": None}))


def predictions(world: World, *argv: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and what is predicted by the name of the check."""
    ran = world.run("--json", "doctor", *argv)
    return ran.code, {check["check"]: check["prediction"] for check in ran.json["checks"] if "prediction" in check}


def test_items_without_a_point_are_counted_under_their_rules_and_predicted(healthy: World, tmp_path: Path) -> None:
    tree = plant(tmp_path / "tree", [Node(b"f", data=b"x" * 50_000), Node(b"x.tmp"), Node(b"big", size=200_000)])
    rules = {"caches": False, "if_present": [], "nodump": False, "larger_than": 100_000, "one_file_system": False}
    protect(healthy, an_item("new", tree, excludes=["*.tmp"], rules=rules), an_item("old", tree, points=True))
    above = str(tmp_path).count("/")
    code, found = predictions(healthy)
    assert (code, list(found)) == (0, ["item new"])
    counted = {key: found["item new"][key] for key in ("files", "directories", "bytes", "excluded", "complete")}
    assert counted == {"files": 1, "directories": above + 1, "bytes": 50_000, "excluded": 2, "complete": True}
    assert found["item new"]["metadata_bytes"] > 0


def test_paths_that_no_item_protects_are_predicted_in_place_of_items(healthy: World, tmp_path: Path) -> None:
    trees = [plant(tmp_path / name, [Node(b"f", data=b"x" * 3000)]) for name in ("one", "two")]
    protect(healthy, an_item("new", trees[0]))
    code, found = predictions(healthy, "--path", *trees)
    assert (code, list(found), found["paths"]["bytes"]) == (0, ["paths"], 6000)
    said = healthy.run("doctor", "--path", *trees).out
    assert "2 files, 5.9 KiB; a first backup adds about" in said


def test_paths_are_predicted_without_a_stack(world: World, tmp_path: Path) -> None:
    world.stack.running = None
    tree = plant(tmp_path / "tree", [Node(b"f", data=b"x")])
    assert list(predictions(world, "--path", tree)[1]) == ["paths"]


def test_the_vault_of_an_item_is_not_counted(healthy: World, tmp_path: Path) -> None:
    tree = plant(tmp_path / "tree", [Node(b"f", data=b"x"), Node(b"vault", "dir", mode=0o755), Node(b"vault/pack")])
    vault = {"id": "v", "name": "inside", "url": f"file://{tree}/vault"}
    healthy.server.on("GET /vaults", Answer(body={"items": [vault], "next": None}))
    protect(healthy, an_item("around", tree))
    found = predictions(healthy)[1]["item around"]
    assert (found["files"], found["warnings"]) == (1, 1)  # skipped-vault


def test_a_cache_disk_with_too_little_room_is_found(healthy: World, tmp_path: Path) -> None:
    trees = [
        plant(tmp_path / name, [Node(b"%d" % number, data=b"x" * 8000) for number in range(70)])
        for name in ("one", "two")
    ]
    cache = healthy.stack.cache_folder(healthy.home)
    os.makedirs(cache)
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", cache]
    if not IS_ROOT or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        protect(healthy, *(an_item(os.path.basename(tree), tree) for tree in trees))
        wrong = bad_checks(healthy)
        said = healthy.run("doctor").out
    finally:
        subprocess.run(["umount", cache], check=True)
    assert wrong == (1, ["item two"])  # each of them would fit, but not both
    assert f"4.0 KiB are free for it under {cache}" in said


def test_an_item_whose_path_is_missing_is_found(healthy: World, tmp_path: Path) -> None:
    protect(healthy, an_item("gone", f"{tmp_path}/no"))
    assert bad_checks(healthy) == (1, ["item gone"])


def test_when_the_time_to_count_is_up_it_is_said(healthy: World, tmp_path: Path) -> None:
    tree = plant(tmp_path / "tree", [Node(b"%04d" % number) for number in range(3000)])
    said = healthy.run("doctor", "--seconds", "0", "--path", tree).out
    assert "at least (the time to count is up; see --seconds)" in said


def test_items_of_another_machines_worker_are_not_looked_for_here(healthy: World, tmp_path: Path) -> None:
    protect(healthy, an_item("far", f"{tmp_path}/no"))
    healthy.stack.running = None
    ran = healthy.run("--json", "--server", healthy.server.url, "doctor")
    assert not any(check["check"].startswith("item") for check in ran.json["checks"])


def test_a_file_system_that_does_not_answer_ends_the_counting(tmp_path: Path) -> None:
    with pytest.raises(SkyharborError) as caught:
        survey({"paths": [str(tmp_path)]}, seconds=0.0, patience=0.0)
    assert caught.value.code == "source-failed"


def test_further_paths_without_path_are_a_mistake(healthy: World) -> None:
    assert healthy.run("doctor", "somewhere").code == 2
