"""The plan for bare metal says, for this very machine, what to type and in which order."""

from __future__ import annotations

import re
from typing import Any

from workers.sources.system.asking import Answers, walked
from workers.sources.system.plan import plan

GIB = 2**30


def device(path: str, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "path": path, "kname": path.rpartition("/")[2], "type": kind, "size": GIB, "fstype": None, "label": None,
        "uuid": None, "pttype": None, "mountpoints": [None], "model": None, "serial": None, **more,
    }  # fmt: skip


def server() -> Answers:
    """A server that starts by UEFI, with LVM in LUKS on its second partition."""
    root = device("/dev/mapper/vg0-root", "lvm", fstype="ext4", uuid="r-uuid", label="root", mountpoints=["/"])
    data = device("/dev/mapper/vg0-data", "lvm", fstype="xfs", uuid="d-uuid", mountpoints=["/srv/data"])
    swap = device("/dev/mapper/vg0-swap", "lvm", fstype="swap", uuid="s-uuid", mountpoints=["[SWAP]"])
    crypt = device("/dev/mapper/crypt", "crypt", fstype="LVM2_member", uuid="p-uuid", children=[root, data, swap])
    esp = device("/dev/sda1", "part", fstype="vfat", uuid="AB12-CD34", mountpoints=["/boot/efi"])
    locked = device("/dev/sda2", "part", fstype="crypto_LUKS", uuid="l-uuid", children=[crypt])
    disk = device("/dev/sda", "disk", size=64 * GIB, pttype="gpt", model="FAST ", serial="S1", children=[esp, locked])
    names = ("disks/sda.sfdisk", "luks/sda2.header", "lvm/vg0.vgcfg", "packages/dpkg-selections.txt")
    return Answers(files=dict.fromkeys(names, b""), disks=[disk], firmware="UEFI", silent=["raid: nobody knows"])


def commands(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.startswith("       ")]


def test_every_layer_is_made_before_what_stands_on_it() -> None:
    wanted = [
        "break-glass restore", "sfdisk /dev/sda <", "luksHeaderRestore /dev/sda2", "cryptsetup open /dev/sda2 crypt",
        "pvcreate --uuid p-uuid", "vgcfgrestore -f /mnt/facts/system-state/lvm/vg0.vgcfg vg0", "vgchange -ay",
        "mkfs.vfat -i AB12CD34 /dev/sda1", "mkfs.ext4 -U r-uuid -L 'root' /dev/mapper/vg0-root",
        "mkfs.xfs -m uuid=d-uuid /dev/mapper/vg0-data", "mkswap -U s-uuid /dev/mapper/vg0-swap",
        "mount /dev/mapper/vg0-root /mnt/new/", "mount /dev/sda1 /mnt/new/boot/efi",
        "mount /dev/mapper/vg0-data /mnt/new/srv/data", "restore latest --item OTHER", "restore latest /etc /boot",
        "dpkg --set-selections", "grub-install --target=x86_64-efi",
    ]  # fmt: skip
    said = commands(plan("atlas", server()))
    at = [next(number for number, line in enumerate(said) if words in line) for words in wanted]
    assert at == sorted(at)


def test_disks_are_described_and_what_was_not_said_is_listed() -> None:
    text = plan("atlas", server())
    assert "- `/dev/sda`: 64.0 GiB (FAST S1), gpt" in text
    assert text.startswith("# How to make atlas again\n")
    assert text.rstrip().endswith("## What the machine would not say\n\n- raid: nobody knows")


def test_steps_are_numbered_without_gaps_and_have_commands() -> None:
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", plan("atlas", server()), re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 10


def test_a_machine_that_told_of_no_disks_has_a_plan_without_them() -> None:
    text = plan("box", Answers(files={"packages/rpm.txt": b""}))
    assert "none that could be seen" in text
    assert not any(words in text for words in ("sfdisk", "mkfs", "vgcfgrestore", "dpkg", "luks"))
    assert "packages/rpm.txt" in text


def test_a_device_that_stands_on_several_is_met_once() -> None:
    array = device("/dev/md0", "raid1")
    disks = [device(f"/dev/sd{name}", "disk", children=[array]) for name in "ab"]
    assert [one["path"] for one in walked(disks)] == ["/dev/sda", "/dev/md0", "/dev/sdb"]
