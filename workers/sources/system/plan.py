"""The plan by which a person makes the machine again on bare metal, written for this very machine.

Rule of the file: text from what the machine has said; each step has commands that can be typed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from workers.sources.system.asking import Answers, walked

FACTS = "/system-state"
"""Where the answers are in the point."""

_MAKES = {
    "ext2": "mkfs.ext2 -U {uuid}{label} {path}",
    "ext3": "mkfs.ext3 -U {uuid}{label} {path}",
    "ext4": "mkfs.ext4 -U {uuid}{label} {path}",
    "xfs": "mkfs.xfs -m uuid={uuid}{label} {path}",
    "btrfs": "mkfs.btrfs -U {uuid}{label} {path}",
    "swap": "mkswap -U {uuid}{label} {path}",
}
_LABELS = {"vfat": "-n", "swap": "-L"}


def plan(host: str, said: Answers) -> str:
    """Return the plan as Markdown, for a machine of that name."""
    return "\n".join([*_head(host, said), *_numbered(_steps(said)), *_tail(said)]) + "\n"


def _head(host: str, said: Answers) -> list[str]:
    disks = [
        f"- `{disk['path']}`: {_size(disk)}{_named(disk)}, {disk.get('pttype') or 'no partition table'}"
        for disk in said.disks
        if disk["type"] == "disk" and disk["size"]
    ]
    return [
        f"# How to make {host} again",
        "",
        f"Written by the backup itself. The machine started by {said.firmware}; start the rescue system the same way.",
        "`ITEM` is the item that this point is of, `OTHER` any that protects files of this machine;",
        "`skyharbor break-glass list` names them. It had these disks; new ones must not be smaller, and may have other",
        "names: use those below.",
        "",
        *(disks or ["- none that could be seen from where the worker ran"]),
        "",
    ]


def _steps(said: Answers) -> Iterator[tuple[str, list[str]]]:
    yield (
        "Start a rescue system (a live Debian will do) with network, and bring this point back with the vault and the"
        " passphrase alone",
        ["skyharbor break-glass restore --store URL --machine MACHINE --passphrase-file F --item ITEM --to /mnt/facts"],
    )
    every = list(walked(said.disks))
    yield from _tables(every, said)
    if "raid/mdadm.conf" in said.files:
        yield "Make the RAID arrays again, with the levels and members that this file names", [
            f"cat /mnt/facts{FACTS}/raid/mdadm.conf", "mdadm --create ...",
        ]  # fmt: skip
    yield from _encryption(every, said)
    yield from _volumes(every, said)
    yield from _file_systems(every)
    yield from _files(said)


def _tables(every: Sequence[dict[str, Any]], said: Answers) -> Iterator[tuple[str, list[str]]]:
    dumped = [device for device in every if f"disks/{device['kname']}.sfdisk" in said.files]
    if dumped:
        yield (
            "Make the partitions. **This destroys what is on these disks**",
            [f"sfdisk {device['path']} < /mnt/facts{FACTS}/disks/{device['kname']}.sfdisk" for device in dumped],
        )


def _encryption(every: Sequence[dict[str, Any]], said: Answers) -> Iterator[tuple[str, list[str]]]:
    for device in every:
        name = f"luks/{device['kname']}.header"
        if name in said.files:
            opened = [child["path"] for child in device.get("children", ())][:1] or ["/dev/mapper/NAME"]
            yield (
                f"Bring back the encryption of {device['path']}; its old passphrases open it",
                [
                    f"cryptsetup luksHeaderRestore {device['path']} --header-backup-file /mnt/facts{FACTS}/{name}",
                    f"cryptsetup open {device['path']} {opened[0].rpartition('/')[2]}",
                ],
            )


def _volumes(every: Sequence[dict[str, Any]], said: Answers) -> Iterator[tuple[str, list[str]]]:
    groups = [name for name in said.files if name.startswith("lvm/") and name.endswith(".vgcfg")]
    if not groups:
        return
    physical = [device for device in every if device.get("fstype") == "LVM2_member"]
    yield "Make the physical volumes with their old ids, and the volume groups on them (which volume belongs to which"\
        " group is in the files)", [
        *(
            f"pvcreate --uuid {device['uuid']} --restorefile /mnt/facts{FACTS}/lvm/GROUP.vgcfg {device['path']}"
            for device in physical
        ),
        *(f"vgcfgrestore -f /mnt/facts{FACTS}/{name} {name[4:-6]}" for name in groups),
        "vgchange -ay",
    ]  # fmt: skip


def _file_systems(every: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    made = [line for device in every if (line := _made(device)) is not None]
    if made:
        yield "Make the file systems with their old ids, so that `/etc/fstab` finds them", made
    mounted = sorted(
        (point, device["path"])
        for device in every
        for point in (device.get("mountpoints") or ())
        if point and point.startswith("/") and device.get("fstype") != "swap"
    )
    if mounted:
        yield (
            "Mount them, `/` first",
            [
                line
                for point, path in mounted
                for line in (f"mkdir -p /mnt/new{point}", f"mount {path} /mnt/new{point}")
            ],
        )


def _files(said: Answers) -> Iterator[tuple[str, list[str]]]:
    yield (
        "Bring back the files: those of the items that protect this machine, all of `/` if one does, and then `/etc`"
        " and `/boot` of this one",
        [
            "skyharbor restore latest --item OTHER --to /mnt/new --conflict overwrite --wait      # for each of them",
            "skyharbor restore latest /etc /boot --item ITEM --to /mnt/new --conflict overwrite --wait",
        ],
    )
    if "packages/dpkg-selections.txt" in said.files:
        yield (
            "Where no item has all of `/`: a new system, and the same packages",
            [
                "debootstrap RELEASE /mnt/new      # before the files; the release is in /mnt/facts/etc/os-release",
                f"chroot /mnt/new dpkg --set-selections < /mnt/facts{FACTS}/packages/dpkg-selections.txt",
                "chroot /mnt/new apt-get -y dselect-upgrade",
            ],
        )
    elif "packages/rpm.txt" in said.files:
        yield (
            "Where no item has all of `/`: install the packages named here into a new system",
            [f"cat /mnt/facts{FACTS}/packages/rpm.txt"],
        )
    boot = "grub-install --target=x86_64-efi" if said.firmware == "UEFI" else "grub-install DISK"
    yield (
        "Make it start",
        [
            "for at in dev proc sys run; do mount --rbind /$at /mnt/new/$at; done",
            "chroot /mnt/new update-initramfs -u -k all",
            f"chroot /mnt/new {boot}",
            "chroot /mnt/new update-grub",
        ],
    )
    yield "Look before starting it: ids in `/etc/fstab` and `/etc/crypttab`, and names of network cards", [
        f"cat /mnt/facts{FACTS}/network/addresses.json", "lsblk -f",
    ]  # fmt: skip


def _tail(said: Answers) -> list[str]:
    if not said.silent:
        return []
    return ["", "## What the machine would not say", "", *(f"- {line}" for line in said.silent)]


def _numbered(steps: Iterator[tuple[str, list[str]]]) -> Iterator[str]:
    for number, (text, commands) in enumerate(steps, 1):
        yield f"{number}. {text}:"
        yield ""
        yield from (f"       {command}" for command in commands)
        yield ""


def _made(device: dict[str, Any]) -> str | None:
    kind, uuid = device.get("fstype"), device.get("uuid")
    if kind == "vfat" and uuid:
        return f"mkfs.vfat -i {uuid.replace('-', '')}{_label(device, '-n')} {device['path']}"
    if kind not in _MAKES or not uuid:
        return None
    return _MAKES[kind].format(uuid=uuid, label=_label(device, _LABELS.get(kind, "-L")), path=device["path"])


def _label(device: dict[str, Any], option: str) -> str:
    return f" {option} '{device['label']}'" if device.get("label") else ""


def _size(device: dict[str, Any]) -> str:
    return f"{device['size'] / 2**30:.1f} GiB"


def _named(device: dict[str, Any]) -> str:
    words = " ".join(str(device[key]).strip() for key in ("model", "serial") if device.get(key))
    return f" ({words})" if words else ""
