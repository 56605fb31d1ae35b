"""Virtual machines through the command line of a running stack: protected, backed up by its worker, brought back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import Fleet
from tests.workloads.vm.guest import Guest, make_image, need, short_folder
from tests.workloads.vm.rig import same

pytestmark = pytest.mark.stack

SIZE = 1 << 30


@pytest.fixture
def guest() -> Iterator[Guest]:
    need("qemu-system-x86_64", "qemu-img", "qemu-nbd")
    with short_folder() as folder:
        made = Guest(folder, [(make_image(f"{folder}/d{n}.qcow2", SIZE), "qcow2") for n in range(2)])
        for number in range(2):
            made.oracle(number, SIZE)
        yield made
        made.kill()


def test_a_machine_that_runs_is_backed_up_and_restored(shared_fleet: Fleet, guest: Guest, tmp_path: Path) -> None:
    stack = shared_fleet.stack
    guest.write(0, 0, 1, 100 << 20)
    guest.write(1, 500 << 20, 2, 30 << 20)
    stack.ask("item", "add", "vm", "web", "--machine", "m1", "--vault", "v1", "--qmp", guest.socket)
    shown = stack.ask("item", "show", "web")
    assert (shown["workload"], shown["source"]["qmp"]) == ("vm", guest.socket)
    first = stack.ask("backup", "web", "--wait")
    guest.write(1, 200 << 20, 3, 1 << 20)
    second = stack.ask("backup", "web", "--wait")
    assert (second["type"], second["stats"]["warnings"]) == ("incremental", 0)
    assert first["stats"]["bytes_read"] - (130 << 20) < 2000
    assert second["stats"]["bytes_read"] - (1 << 20) < 2000
    listed = stack.run("point", "ls", second["point"]).out
    assert all(name in listed for name in ("disk0.raw", "disk1.raw", "vm.json"))
    stack.ask("restore", second["point"], "--to", str(tmp_path / "raw"), "--wait")
    stack.ask("restore", second["point"], "/disk1.raw", "--to", str(tmp_path / "q"), "--format", "qcow2", "--wait")
    assert all(same(guest.oracles[n].path, str(tmp_path / "raw" / f"disk{n}.raw")) for n in range(2))
    compare = ["qemu-img", "compare", "-f", "raw", "-F", "qcow2", guest.oracles[1].path, f"{tmp_path}/q/disk1.qcow2"]
    assert subprocess.run(compare, capture_output=True, timeout=60).returncode == 0
    assert guest.leftovers() == []
    checked = stack.ask("verify", second["point"], "--full", "--wait")
    assert checked["stats"]["problems"] == 0


def test_the_tree_comes_back_with_nothing_but_the_vault(shared_fleet: Fleet, guest: Guest, tmp_path: Path) -> None:
    guest.write(0, 7 << 20, 1, 3 << 20)
    stack = shared_fleet.stack
    stack.ask("item", "add", "vm", "alone", "--machine", "m1", "--vault", "v1", "--qmp", guest.socket)
    point = stack.ask("backup", "alone", "--wait")["point"]
    stack.run(
        "break-glass", "restore", "--store", shared_fleet.store, "--machine", "m1", "--passphrase-file",
        shared_fleet.passphrase_file, "--point", point, "--to", str(tmp_path / "out"),
    )  # fmt: skip
    assert same(guest.oracles[0].path, str(tmp_path / "out" / "disk0.raw"))


def test_a_machine_that_is_not_there_fails_in_words_that_help(shared_fleet: Fleet, tmp_path: Path) -> None:
    stack = shared_fleet.stack
    added = stack.run(
        "item", "add", "vm", "gone", "--machine", "m1", "--vault", "v1", "--qmp", str(tmp_path / "no.qmp")
    )
    assert "warning" in added.err
    failed = stack.run("backup", "gone", "--wait")
    assert failed.code == 1
    assert "no.qmp" in failed.out + failed.err


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--disk", "/a.raw", "--qmp", "/b"),
        ("--disk", "/a.raw", "--scratch", "/tmp"),
        ("--libvirt", "qemu:///system"),
        ("--libvirt", "qemu+ssh://elsewhere/system", "--domain", "d"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(shared_fleet: Fleet, options: tuple[str, ...]) -> None:
    ran = shared_fleet.stack.run("item", "add", "vm", "wrong", "--machine", "m1", "--vault", "v1", *options)
    assert ran.code == 2
