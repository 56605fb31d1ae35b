"""Protected by a running stack, and used where it lies: as a folder and as a disk, held for as long."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.compare import differences
from tests.support.fleet import Fleet, make_tree
from tests.support.stack import Stack, without_root_sight
from tests.unit.serving.points import random_file
from tests.workloads.serving.glass import WAIT, Serving, need, need_fuse, run
from tests.workloads.serving.initiators import compared, need_iscsi

pytestmark = pytest.mark.stack

DISK = random_file(8, size=6 << 20, holes=4, smallest=1000, largest=2000).content


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A stack with one item that has a tree and a disk, backed up once."""
    folder = tmp_path_factory.mktemp("served")
    stack = Stack(folder / "home")
    stack.up()
    try:
        one = Fleet.settle(stack, folder / "fleet")
        tree = make_tree(folder / "src", files=200)
        (tree / "vm.img").write_bytes(DISK)
        one.protect("tree", tree)
        one.stack.ask("backup", "tree", "--wait")
        yield one
    finally:
        stack.down()


@contextmanager
def running(fleet: Fleet, *arguments: str) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """Have a command of the CLI running once it has said its first document."""
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.bootstrap", "--home", str(fleet.stack.home), "--json", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=without_root_sight,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline() or "{}")
        assert "until" in first, (first, process.stderr.read() if process.stderr else "")
        yield first, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=WAIT)


def held(fleet: Fleet) -> bool:
    return bool(fleet.stack.ask("point", "show", "latest", "--item", "tree")["held_at"])


def test_a_mounted_point_is_the_tree_and_is_held_meanwhile(fleet: Fleet, tmp_path: Path) -> None:
    need_fuse()
    tree, folder = str(fleet.folder.parent / "src"), f"{tmp_path}/mnt"
    with running(fleet, "mount", "latest", folder, "--item", "tree") as (_, process):
        assert differences(tree, folder + tree, ignore=["flags"]) == []
        assert held(fleet)
        run("fusermount3", "-u", folder)
        process.communicate(timeout=WAIT)
        assert process.returncode == 0
    assert (held(fleet), os.listdir(folder)) == (False, [])


def test_a_file_of_a_point_is_served_as_a_disk_and_held_meanwhile(fleet: Fleet, tmp_path: Path) -> None:
    need("nbdcopy")
    image = str(fleet.folder.parent / "src" / "vm.img")
    point = fleet.stack.ask("point", "list", "tree")["items"][0]["id"]
    with running(fleet, "serve", point, "--nbd", f"unix:{tmp_path}/s", "--path", image) as (said, process):
        assert held(fleet)
        run("nbdcopy", said["disks"][0]["uri"], f"{tmp_path}/copy")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=WAIT)
        assert process.returncode == 0
    assert Path(f"{tmp_path}/copy").read_bytes() == DISK
    assert not held(fleet)


def test_a_file_of_a_point_is_served_by_iscsi_and_held_meanwhile(fleet: Fleet, tmp_path: Path) -> None:
    need_iscsi("qemu-img")
    image, original = str(fleet.folder.parent / "src" / "vm.img"), tmp_path / "original"
    original.write_bytes(DISK)
    options = ["--iscsi", "127.0.0.1:0", "--path", image]
    with running(fleet, "serve", "latest", "--item", "tree", *options) as (said, process):
        assert held(fleet)
        assert "identical" in compared(Serving(process, said), str(original))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=WAIT)
        assert process.returncode == 0
    assert (held(fleet), os.path.exists(said["secret_file"])) == (False, False)


def test_without_the_stack_the_passphrase_serves_it_as_well(fleet: Fleet, tmp_path: Path) -> None:
    need("nbdcopy")
    image = str(fleet.folder.parent / "src" / "vm.img")
    proof = ["--store", fleet.store, "--machine", "m1", "--passphrase-file", fleet.passphrase_file]
    arguments = ["break-glass", "serve", *proof, "--item", "tree", "--path", image, "--nbd", f"unix:{tmp_path}/s"]
    with running(fleet, *arguments) as (said, _):
        run("nbdcopy", said["disks"][0]["uri"], f"{tmp_path}/copy")
    assert Path(f"{tmp_path}/copy").read_bytes() == DISK
