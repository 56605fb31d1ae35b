"""Asks the machine what it is, by its own programs.

Rule of the file: every question has a place for its answer; one that is not answered is a line for people.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from workers.sources.children import tied
from workers.sources.settings import inherited, search_path

_PATIENCE = 60.0
_LSBLK = "PATH,KNAME,TYPE,SIZE,FSTYPE,LABEL,UUID,PARTUUID,PTTYPE,MOUNTPOINTS,MODEL,SERIAL"
_FILES = {
    "boot/cmdline.txt": "/proc/cmdline",
    "disks/mountinfo.txt": "/proc/self/mountinfo",
    "disks/swaps.txt": "/proc/swaps",
    "hardware/cpuinfo.txt": "/proc/cpuinfo",
    "hardware/meminfo.txt": "/proc/meminfo",
    "network/resolv.conf": "/etc/resolv.conf",
}
_PROGRAMS: dict[str, tuple[str, ...]] = {
    "boot/kernel.txt": ("uname", "-a"),
    "network/addresses.json": ("ip", "-j", "-d", "address"),
    "network/routes.json": ("ip", "-j", "route", "show", "table", "all"),
    "units/enabled.txt": ("systemctl", "list-unit-files", "--state=enabled", "--no-legend", "--plain", "--no-pager"),
}
_PACKAGES: dict[str, dict[str, tuple[str, ...]]] = {
    "dpkg": {
        "packages/dpkg-selections.txt": ("dpkg", "--get-selections"),
        "packages/dpkg-versions.txt": ("dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture}\\n"),
        "packages/apt-manual.txt": ("apt-mark", "showmanual"),
    },
    "rpm": {"packages/rpm.txt": ("rpm", "-qa", "--qf", "%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE} %{ARCH}\\n")},
}


@dataclass(slots=True)
class Answers:
    """What the machine has said: contents by the path they get in the point, and what it would not say."""

    files: dict[str, bytes] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    disks: list[dict[str, Any]] = field(default_factory=list)
    """The tree of block devices, as ``lsblk --json`` tells it."""
    firmware: str = "BIOS"


class Asking:
    """One round of questions. ``folder`` is private, for programs that write their answer into a file."""

    def __init__(self, folder: str, check: Callable[[], None]) -> None:
        self._folder = folder
        self._check = check
        self._said = Answers()

    def ask(self) -> Answers:
        """Ask everything, and return what was said. Raises what ``check`` raises."""
        for name, path in _FILES.items():
            self._file(name, path)
        for name, command in _PROGRAMS.items():
            self._program(name, command)
        self._packages()
        self._firmware()
        self._block_devices()
        return self._said

    # ── questions ────────────────────────────────────────────────────────────────────────────────────

    def _packages(self) -> None:
        managers = [name for name in _PACKAGES if shutil.which(name, path=search_path())]
        if not managers:
            self._said.silent.append("which packages are installed: neither dpkg nor rpm is here")
        for manager in managers:
            for name, command in _PACKAGES[manager].items():
                self._program(name, command)

    def _firmware(self) -> None:
        if os.path.isdir("/sys/firmware/efi"):
            self._said.firmware = "UEFI"
            self._program("boot/efi.txt", ("efibootmgr", "-v"))
        for name in ("sys_vendor", "product_name", "product_serial", "board_name", "bios_version"):
            path = f"/sys/class/dmi/id/{name}"
            if os.path.exists(path):
                self._file(f"hardware/{name}.txt", path)

    def _block_devices(self) -> None:
        told = self._program("disks/lsblk.json", ("lsblk", "--json", "--bytes", "--tree", "--output", _LSBLK))
        if told is None:
            return
        self._said.disks = [one for one in json.loads(told)["blockdevices"] if one["type"] not in ("loop", "rom")]
        every = list(walked(self._said.disks))
        for device in every:
            if not device.get("fstype") and not device.get("pttype"):
                self._probe(device)
            name = device["kname"]
            if device["type"] == "disk" and device.get("pttype"):
                self._program(f"disks/{name}.sfdisk", ("sfdisk", "--dump", device["path"]))
            if device.get("fstype") == "crypto_LUKS":
                self._program(f"luks/{name}.txt", ("cryptsetup", "luksDump", device["path"]))
                backup = ("cryptsetup", "luksHeaderBackup", device["path"], "--header-backup-file")
                self._to_file(f"luks/{name}.header", backup)
        if os.path.exists("/proc/mdstat"):
            self._file("raid/mdstat.txt", "/proc/mdstat")
        if any(device.get("fstype") == "linux_raid_member" for device in every):
            self._program("raid/mdadm.conf", ("mdadm", "--detail", "--scan"))
        if any(device.get("fstype") == "LVM2_member" for device in every):
            self._volume_groups()

    def _probe(self, device: dict[str, Any]) -> None:
        """Look at the device itself: without udev, as in a container, lsblk knows of nothing on it."""
        command = ("blkid", "--probe", "--output", "export", device["path"])
        if shutil.which(command[0], path=search_path()) is None:
            return
        try:
            done = subprocess.run(tied(command), capture_output=True, timeout=_PATIENCE, check=False, env=inherited())
        except subprocess.TimeoutExpired:
            return
        found = dict(line.partition("=")[::2] for line in done.stdout.decode(errors="replace").splitlines())
        for key, name in (("fstype", "TYPE"), ("uuid", "UUID"), ("label", "LABEL"), ("pttype", "PTTYPE")):
            device[key] = found.get(name) or device.get(key)

    def _volume_groups(self) -> None:
        told = self._program("lvm/groups.txt", ("vgs", "--noheadings", "-o", "vg_name"))
        for group in (told or b"").decode().split():
            self._to_file(f"lvm/{group}.vgcfg", ("vgcfgbackup", "-f"), group)

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────

    def _file(self, name: str, path: str) -> None:
        try:
            with open(path, "rb") as file:
                self._said.files[name] = file.read()
        except OSError as error:
            self._said.silent.append(f"{name}: {path}: {error.strerror}")

    def _program(self, name: str, command: Sequence[str]) -> bytes | None:
        done = self._run(name, command)
        if done is not None:
            self._said.files[name] = done
        return done

    def _to_file(self, name: str, command: Sequence[str], *more: str) -> None:
        """Ask a program that writes its answer into a file, which it is told the name of."""
        file = os.path.join(self._folder, "answer")
        try:
            if self._run(name, (*command, file, *more)) is not None:
                with open(file, "rb") as answer:
                    self._said.files[name] = answer.read()
        except OSError as error:
            self._said.silent.append(f"{name}: {error.strerror}")
        finally:
            if os.path.exists(file):
                os.unlink(file)

    def _run(self, name: str, command: Sequence[str]) -> bytes | None:
        self._check()
        if shutil.which(command[0], path=search_path()) is None:
            self._said.silent.append(f"{name}: there is no program {command[0]}")
            return None
        try:
            done = subprocess.run(
                tied(command),
                env={**inherited(), "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            self._said.silent.append(f"{name}: {command[0]} did not answer within {_PATIENCE:.0f} s")
            return None
        if done.returncode:
            words = done.stderr.decode(errors="backslashreplace").strip().splitlines()[-1:]
            self._said.silent.append(f"{name}: {command[0]} ended with {done.returncode}: {' '.join(words)}")
            return None
        return done.stdout


def walked(devices: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield every device of a tree once, those above before those on them: a RAID stands on several disks."""
    seen: set[str] = set()

    def below(some: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for device in some:
            if device["path"] not in seen:
                seen.add(device["path"])
                yield device
                yield from below(device.get("children", ()))

    yield from below(devices)
