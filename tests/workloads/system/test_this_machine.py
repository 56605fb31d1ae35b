"""The state of the machine that the tests run on: told, backed up, brought back; nothing stays behind."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from shared.contracts.sources import SystemSource
from shared.model.backup import ConflictRule
from tests.exam.desk import Desk, Watched, stop_at
from tests.support.uncontrolled import Uncontrolled
from workers.engine.ports import Stop
from workers.engine.restore import restore_point
from workers.sources.system import asking
from workers.sources.system.asking import Asking

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root is told what the machine is")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    home = tmp_path / "home"
    home.mkdir()
    return Desk(home)


def kept(desk: Desk) -> list[str]:
    return os.listdir(desk.home / "kept")


def test_what_the_machine_is_comes_back_with_a_plan(desk: Desk, tmp_path: Path) -> None:
    done = desk.backup(SystemSource())
    out = tmp_path / "out"
    restore_point(desk.reader(), target=str(out), paths=(), conflict=ConflictRule.SKIP, control=Uncontrolled())
    state = out / "system-state"
    assert (state / "RESTORE.md").read_text().startswith("# How to make ")
    assert json.loads((state / "disks" / "lsblk.json").read_text())["blockdevices"]
    assert {notice.code for notice in done.warnings} <= {"not-told", "unreadable", "changed-while-read"}
    assert filecmp.cmp("/etc/passwd", out / "etc" / "passwd", shallow=False)
    assert (out / "etc" / "shadow").stat().st_mode == os.stat("/etc/shadow").st_mode
    if shutil.which("dpkg"):
        told = subprocess.run(["dpkg", "--get-selections"], capture_output=True, check=True).stdout
        assert (state / "packages" / "dpkg-selections.txt").read_bytes() == told
    assert kept(desk) == []


def test_a_backup_that_is_cancelled_leaves_nothing_of_what_was_told(desk: Desk) -> None:
    with pytest.raises(Stop):
        desk.backup(SystemSource(), Watched(stop_at(5)))
    assert (kept(desk), desk.points()) == ([], [])


def test_what_a_killed_worker_has_written_down_goes_with_the_next_backup(desk: Desk) -> None:
    assert desk.killed_backup(SystemSource(), at=5)
    assert [name.partition("-")[0] for name in kept(desk)] == ["facts"]
    desk.backup(SystemSource())
    assert kept(desk) == []


def test_a_second_backup_moves_hardly_anything(desk: Desk) -> None:
    first = desk.backup(SystemSource())
    second = desk.backup(SystemSource())
    assert second.point.reference == first.point.point_id
    assert second.stats.bytes_transferred < first.stats.bytes_transferred / 4


def test_what_a_program_would_not_say_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        asking,
        "_PROGRAMS",
        {"a.txt": ("no-such-program-here",), "b.txt": ("false",), "c.txt": ("sh", "-c", "echo why >&2; exit 3")},
    )
    monkeypatch.setattr(asking, "_FILES", {"d.txt": "/nowhere/at/all"})
    said = Asking(str(tmp_path), lambda: None).ask()
    assert said.silent[:4] == [
        "d.txt: /nowhere/at/all: No such file or directory",
        "a.txt: there is no program no-such-program-here",
        "b.txt: false ended with 1: ",
        "c.txt: sh ended with 3: why",
    ]
    assert not {"a.txt", "b.txt", "c.txt", "d.txt"} & set(said.files)


@pytest.fixture
def loop(tmp_path: Path) -> Path:
    """An image with a GPT, two partitions and a file system in the second, as a device of this machine."""
    for name in ("sfdisk", "losetup", "mkfs.ext4"):
        if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None:
            pytest.skip(f"{name} is not here")
    image = tmp_path / "disk"
    image.touch()
    os.truncate(image, 64 << 20)
    table = 'label: gpt\nstart=2048,size=16384,type=swap,name="first"\nstart=18432,size=65536\n'
    subprocess.run(["sfdisk", "-q", image], input=table, text=True, check=True)
    return image


def test_a_dumped_partition_table_makes_the_same_one_again(loop: Path, tmp_path: Path) -> None:
    """The command of the plan, on an empty disk of the same size."""
    dumped = subprocess.run(["sfdisk", "--dump", loop], capture_output=True, text=True, check=True).stdout
    empty = tmp_path / "empty"
    empty.touch()
    os.truncate(empty, 64 << 20)
    subprocess.run(["sfdisk", "-q", empty], input=dumped, text=True, check=True)
    again = subprocess.run(["sfdisk", "--dump", empty], capture_output=True, text=True, check=True).stdout
    assert again.replace(str(empty), str(loop)) == dumped
