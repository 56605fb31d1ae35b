"""The main job through the command line and the API, with everything that is asked of it on an ordinary day."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.compare import differences
from tests.support.fleet import Fleet, make_tree
from tests.support.stack import TERMINAL, Stack, wait_for

pytestmark = pytest.mark.stack

EVERY_MINUTE = """
name: every-minute
schedules:
  - cron: "* * * * *"
    zone: Europe/Berlin
retention:
  last: 10
"""


@pytest.fixture(scope="module")
def scheduled(shared_fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An item under a policy of every minute, applied before the other tests so that its fires come meanwhile."""
    folder = tmp_path_factory.mktemp("scheduled")
    (folder / "policy.yaml").write_text(EVERY_MINUTE)
    shared_fleet.stack.ask("policy", "apply", str(folder / "policy.yaml"))
    shared_fleet.protect("clockwork", make_tree(folder / "src"), policy="every-minute")
    return "clockwork"


@pytest.fixture(autouse=True, scope="module")
def _clock_runs(scheduled: str) -> None:
    """Let the scheduled item wait beside every other test of the module."""


def test_back_up_change_back_up_again_and_restore_both(shared_fleet: Fleet, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "src", files=300)
    shared_fleet.protect("tree", tree)
    first = shared_fleet.stack.ask("backup", "tree", "--wait")
    original = tmp_path / "original"
    subprocess.run(["cp", "-a", str(tree), str(original)], check=True)
    (tree / "dir1" / "file1.txt").write_text("changed")
    (tree / "new.txt").write_text("new")
    (tree / "dir2" / "file2.txt").unlink()
    second = shared_fleet.stack.ask("backup", "tree", "--type", "incremental", "--wait")
    assert (first["type"], second["type"], second["wait_reason"]) == ("full", "incremental", None)
    stats = second["stats"]
    assert (stats["files_new"], stats["files_changed"], stats["files_removed"]) == (1, 1, 1)
    assert stats["bytes_read"] == len("changed") + len("new")
    assert stats["bytes_transferred"] < first["stats"]["bytes_transferred"] / 4
    for job, expected in ((first, original), (second, tree)):
        target = tmp_path / f"out-{job['type']}"
        restored = shared_fleet.stack.ask("restore", job["point"], "--to", str(target), "--wait")
        assert restored["stats"]["warnings"] == 0
        assert differences(expected, target / str(tree).lstrip("/")) == []
    one = shared_fleet.stack.ask(
        "restore", "latest", str(tree / "new.txt"), "--item", "tree", "--to", str(tmp_path / "one"), "--wait"
    )
    assert one["stats"]["files_restored"] == 1
    assert (tmp_path / "one" / str(tree / "new.txt").lstrip("/")).read_text() == "new"
    verified = shared_fleet.stack.ask("verify", "latest", "--item", "tree", "--full", "--wait")
    assert (verified["state"], verified["stats"]["problems"]) == ("completed", 0)
    assert shared_fleet.stack.ask("point", "show", second["point"])["verified_at"] is not None


def test_an_unreadable_file_is_a_warning_and_everything_else_is_saved(shared_fleet: Fleet, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "src", files=20)
    secret = tree / "dir3" / "secret"
    secret.write_text("nobody may read this")
    secret.chmod(0)
    if os.geteuid() == 0:
        os.chown(secret, 65534, 65534)
    shared_fleet.protect("partly", tree)
    job = shared_fleet.stack.ask("backup", "partly", "--wait", code=3)
    assert (job["state"], job["stats"]["warnings"], job["stats"]["files"]) == ("completed", 1, 21)
    assert [(w["path"], w["code"]) for w in job["warnings"]] == [(str(secret), "unreadable")]
    shared_fleet.stack.ask("restore", job["point"], "--to", str(tmp_path / "out"), "--wait")
    secret.unlink()
    out = tmp_path / "out" / str(tree).lstrip("/")
    assert sorted(p.name for p in out.rglob("*")) == sorted(p.name for p in tree.rglob("*"))


def test_a_vault_inside_what_it_protects_does_not_protect_itself(shared_fleet: Fleet, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "src", files=10)
    shared_fleet.stack.ask("vault", "create", "inside", "--store", f"file://{tree}/vault")
    shared_fleet.protect("around", tree, vault="inside")
    jobs = [shared_fleet.stack.ask("backup", "around", "--wait", code=3) for _ in range(2)]
    assert [[w["code"] for w in job["warnings"]] for job in jobs] == [["skipped-vault"]] * 2
    assert jobs[1]["stats"]["bytes_read"] == 0


def test_one_idempotency_key_is_one_job(shared_fleet: Fleet, tmp_path: Path) -> None:
    shared_fleet.protect("once", make_tree(tmp_path / "src"))
    body = {"kind": "backup", "item": "once", "type": "incremental"}
    with shared_fleet.stack.http() as http:
        replies = [http.post("/api/v1/jobs", json=body, headers={"Idempotency-Key": "k1"}) for _ in range(2)]
        other = http.post("/api/v1/jobs", json={**body, "type": "full"}, headers={"Idempotency-Key": "k1"})
    assert [reply.status_code for reply in replies] == [202, 200]
    assert replies[0].json()["id"] == replies[1].json()["id"]
    assert (other.status_code, other.json()["code"]) == (409, "idempotency-mismatch")
    shared_fleet.stack.wait_job(replies[0].json()["id"], "completed")
    assert len(shared_fleet.points("once")) == 1


def test_names_and_keys_never_reach_the_tower(shared_fleet: Fleet, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "src", files=3)
    (tree / "canary-7f3a.txt").write_text("canary-content-91b2")
    shared_fleet.protect("blind", tree)
    job = shared_fleet.stack.ask("backup", "blind", "--wait")
    listed = shared_fleet.stack.run("--json", "point", "ls", job["point"], str(tree))
    assert "canary-7f3a.txt" in listed.out
    dump = b"".join(
        path.read_bytes()
        for folder in (shared_fleet.stack.home, shared_fleet.folder / "vault")
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    )
    assert b"canary-content-91b2" not in dump
    assert b"canary-7f3a" not in dump
    assert b"correct horse battery" not in dump


def test_a_wrong_passphrase_is_refused_and_writes_nothing(shared_fleet: Fleet, tmp_path: Path) -> None:
    shared_fleet.protect("locked", make_tree(tmp_path / "src", files=3))
    shared_fleet.stack.ask("backup", "locked", "--wait")
    wrong = tmp_path / "wrong"
    wrong.write_text("another sixteen characters")
    ran = shared_fleet.stack.run(
        "break-glass", "restore", "--store", shared_fleet.store, "--machine", "m1",
        "--passphrase-file", str(wrong), "--item", "locked", "--to", str(tmp_path / "out"),
    )  # fmt: skip
    assert (ran.code, "wrong-passphrase" in ran.err, (tmp_path / "out").exists()) == (5, True, False)
    short = tmp_path / "short"
    short.write_text("fifteen chars..")
    refused = shared_fleet.stack.run("--json", "machine", "add", "m2", "--passphrase-file", str(short))
    assert (refused.code, refused.json["error"]["code"]) == (2, "passphrase-too-short")
    assert [machine["name"] for machine in shared_fleet.stack.ask("machine", "list")["items"]] == ["m1"]


def test_a_store_that_is_a_file_or_is_gone_is_a_clear_error(shared_fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    refused = shared_fleet.stack.run("--json", "vault", "create", "bad", "--store", f"file://{tmp_path}/file")
    assert (refused.code, refused.json["error"]["code"]) == (1, "store-not-a-folder")
    assert (tmp_path / "file").read_text() == "not a folder"
    shared_fleet.stack.ask("vault", "create", "lost", "--store", f"file://{tmp_path}/lost")
    shared_fleet.protect("homeless", make_tree(tmp_path / "src", files=3), vault="lost")
    shutil.rmtree(tmp_path / "lost")
    job = shared_fleet.stack.ask("backup", "homeless", "--wait", code=4)
    assert (job["state"], job["error"]["code"]) == ("discarded", "vault-missing")
    assert not (tmp_path / "lost").exists()
    ran = shared_fleet.stack.run(
        "break-glass", "list", "--store", f"file://{tmp_path}/lost", "--machine", "m1",
        "--passphrase-file", shared_fleet.passphrase_file,
    )  # fmt: skip
    assert (ran.code, "vault-missing" in ran.err) == (4, True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system needs the right to mount tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_fails_cleanly_and_the_next_run_succeeds(
    shared_fleet: Fleet, tmp_path: Path, small_disk: Path
) -> None:
    shared_fleet.stack.ask("vault", "create", "small", "--store", f"file://{small_disk}/vault")
    tree = make_tree(tmp_path / "src", files=3)
    shared_fleet.protect("growing", tree, vault="small")
    good = shared_fleet.stack.ask("backup", "growing", "--wait")
    (tree / "big").write_bytes(os.urandom(40 << 20))
    job = shared_fleet.stack.ask("backup", "growing", "--wait", code=1)
    assert (job["state"], job["error"]["code"]) == ("discarded", "store-full")
    assert [point["id"] for point in shared_fleet.points("growing")] == [good["point"]]
    assert [path for path in small_disk.rglob("*") if path.is_file() and "tmp" in path.parent.name] == []
    (tree / "big").unlink()
    again = shared_fleet.stack.ask("restore", good["point"], "--to", str(tmp_path / "out"), "--wait")
    assert again["state"] == "completed"


def test_the_schedule_makes_points_with_nobody_asking(shared_fleet: Fleet, scheduled: str) -> None:
    wait_for(lambda: len(shared_fleet.points(scheduled)) >= 2, "two points made by the clock", seconds=140)
    with shared_fleet.stack.http() as http:
        jobs = http.get("/api/v1/jobs", params={"item": scheduled}).json()["items"]
    assert {job["requested_by"] for job in jobs} == {"policy:every-minute"}
    assert all(job["state"] in TERMINAL or job["wait_reason"] or job["started_at"] for job in jobs)
    assert {point["type"] for point in shared_fleet.points(scheduled)} == {"full", "incremental"}


def test_break_glass_restores_with_the_vault_and_the_passphrase_alone(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "home")
    stack.up()
    try:
        fleet = Fleet.settle(stack, tmp_path / "fleet")
        tree = make_tree(tmp_path / "src", files=100)
        fleet.protect("data", tree)
        fleet.stack.ask("backup", "data", "--wait")
    finally:
        stack.down()
    stack.home.rename(tmp_path / "gone")
    glass = [sys.executable, "-m", "workers.break_glass"]
    where = ["--store", fleet.store, "--machine", "m1", "--passphrase-file", fleet.passphrase_file]
    listed = subprocess.run([*glass, "list", *where, "--json"], capture_output=True, text=True, check=True)
    assert '"data"' in listed.stdout
    restored = stack.run("break-glass", "restore", *where, "--item", "data", "--to", str(tmp_path / "out"))
    assert restored.code == 0, restored.err
    assert differences(tree, tmp_path / "out" / str(tree).lstrip("/")) == []
    assert not stack.home.exists()
