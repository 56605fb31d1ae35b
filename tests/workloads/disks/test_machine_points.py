"""A machine's image backed up by the product, and files out of it by the worker's own restore."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.contracts.sources import VmSource
from shared.contracts.work import ItemRef, MachineRef, PointRef, RestoreInstruction, VaultRef
from shared.errors import SkyharborError
from shared.vault.reader import PointReader
from tests.exam.desk import Desk
from tests.support.uncontrolled import Uncontrolled
from tests.workloads.disks.conftest import blank, run
from workers.sources.opening import LANDERS

MIB = 1024 * 1024


@pytest.fixture
def reader(tmp_path: Path) -> PointReader:
    """Back up a qcow2 image with an ext4 file system in its first partition."""
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    (tree / "big").write_bytes(bytes(range(256)) * 4096 * 3)
    disk, root = blank(tmp_path / "disk", 80 * MIB), blank(tmp_path / "root", 64 * MIB)
    run("sfdisk", "-q", disk, data="label: gpt\nstart=2048,size=131072\n")
    run("mkfs.ext4", "-q", "-F", "-d", tree, root)
    with disk.open("r+b") as file:
        file.seek(MIB)
        file.write(root.read_bytes())
    image = tmp_path / "guest.qcow2"
    run("qemu-img", "convert", "-O", "qcow2", disk, image)
    home = tmp_path / "home"
    home.mkdir()
    desk = Desk(home)
    desk.backup(VmSource(disks=(str(image),)))
    desk.close()
    return desk.reader()


def restore(reader: PointReader, target: Path, *paths: str) -> None:
    nobody = PointRef(
        point_id="p", machine=MachineRef(id="m", name="m"), item=ItemRef(id="i", name="i"),
        vault=VaultRef(id="v", name="v", url="file:///"),
    )  # fmt: skip
    instruction = RestoreInstruction(point=nobody, target=str(target), paths=paths)
    LANDERS["vm"](reader, instruction, control=Uncontrolled(), folder=str(target))


def test_files_come_out_of_the_disk_of_a_machine_that_the_product_has_backed_up(
    reader: PointReader, tmp_path: Path
) -> None:
    restore(reader, tmp_path / "out", "/disk0/p1/etc", "/disk0/p1/big", "/vm.json")
    out = tmp_path / "out"
    assert (out / "disk0" / "p1" / "etc" / "hosts").read_text() == "127.0.0.1 localhost\n"
    assert (out / "disk0" / "p1" / "big").read_bytes() == (tmp_path / "tree" / "big").read_bytes()
    assert (out / "vm.json").exists()
    assert not (out / "disk0.raw").exists()


def test_a_path_that_no_disk_has_is_said_before_anything_is_written(reader: PointReader, tmp_path: Path) -> None:
    with pytest.raises(SkyharborError) as refused:
        restore(reader, tmp_path / "out", "/disk0/p1/etc/nothing")
    assert refused.value.code == "path-not-in-point"
    assert not (tmp_path / "out").exists()
