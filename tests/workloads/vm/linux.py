"""A small Linux that really boots: Debian's kernel, busybox, the guest's agent, on an ext4 disk of its own.

Made without root from packages; under TCG, because a machine that tests may have no KVM.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence

from tests.support.debian_kernel import unpacked_kernel
from tests.workloads.vm.guest import need
from workers.sources.children import tied

PROGRAMS = ("qemu-system-x86_64", "qemu-img", "busybox", "qemu-ga", "mkfs.ext4", "cpio", "dpkg", "apt-get")
_MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk")
_DISK = 256 << 20

_FIRST = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc; /bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod /modules/$module.ko; done
/bin/busybox mount -t ext4 /dev/vda /new && exec /bin/busybox switch_root /new /init
"""
_SECOND = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /run
insmod /modules/virtio_console.ko
for port in /sys/class/virtio-ports/*; do [ -e $port/name ] && ln -s /dev/$(basename $port) /dev/agent; done
[ -e /dev/agent ] && qemu-ga -d -m virtio-serial -p /dev/agent -t /run -f /run/qga.pid -F/bin/true
exec setsid cttyhack sh -c 'stty -echo; echo READY; while read -r line; do eval "$line"; echo "DONE $?"; done'
"""


class Kit:
    """What guests are made of. ``folder`` is kept for a whole run of tests."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        kernel = unpacked_kernel(
            folder, "*/drivers/virtio/*", "*/drivers/block/virtio_blk.ko", "*/drivers/char/virtio_*"
        )
        modules, self.kernel = kernel.modules, kernel.image
        self.initrd = f"{folder}/initrd"
        self._make_initrd(modules)
        self._make_disk(modules)

    def new_disk(self, path: str) -> str:
        """Return a fresh copy of the system's disk, as qcow2."""
        command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", f"{self.folder}/disk.raw", path]
        subprocess.run(command, check=True, timeout=60)
        return path

    def _make_initrd(self, modules: dict[str, str]) -> None:
        root = _root(f"{self.folder}/first", _FIRST.format(modules=" ".join(_MODULES)))
        os.makedirs(f"{root}/new")
        for name in _MODULES:
            shutil.copy(modules[name], f"{root}/modules/{name}.ko")
        with open(self.initrd, "wb") as made:
            names = subprocess.run(["find", "."], cwd=root, check=True, capture_output=True, timeout=60).stdout
            pack = ["cpio", "-o", "-H", "newc", "--quiet"]
            subprocess.run(pack, cwd=root, input=names, stdout=made, check=True, timeout=60)

    def _make_disk(self, modules: dict[str, str]) -> None:
        root = _root(f"{self.folder}/second", _SECOND)
        shutil.copy(modules["virtio_console"], f"{root}/modules/virtio_console.ko")
        agent = shutil.which("qemu-ga")
        assert agent
        shutil.copy(agent, f"{root}/bin/qemu-ga")
        told = subprocess.run(["ldd", agent], check=True, capture_output=True, text=True, timeout=60).stdout
        for library in re.findall(r"(/\S+)", told):
            os.makedirs(f"{root}{os.path.dirname(library)}", exist_ok=True)
            shutil.copy(library, f"{root}{library}")
        command = ["mkfs.ext4", "-q", "-F", "-d", root, f"{self.folder}/disk.raw", str(_DISK // 1024)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


class Linux:
    """One guest, with a shell at its serial line."""

    def __init__(self, kit: Kit, folder: str, disk: str, *, more: Sequence[str] = ()) -> None:
        self.folder = folder
        self.socket, self.agent, self._line = f"{folder}/qmp", f"{folder}/agent", f"{folder}/line"
        for path in (self.socket, self.agent, self._line):
            if os.path.exists(path):
                os.unlink(path)
        command = ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max", "-m", "256", "-nodefaults"]
        command += ["-display", "none", "-no-reboot", "-kernel", kit.kernel, "-initrd", kit.initrd]
        command += ["-append", "console=ttyS0 quiet panic=-1", "-serial", f"unix:{self._line},server=on,wait=off"]
        command += ["-device", "virtio-serial", "-chardev", f"socket,id=ga,path={self.agent},server=on,wait=off"]
        command += ["-device", "virtserialport,chardev=ga,name=org.qemu.guest_agent.0"]
        command += ["-blockdev", f"driver=qcow2,node-name=n0,discard=unmap,file.driver=file,file.filename={disk}"]
        command += [
            "-device",
            "virtio-blk-pci,drive=n0,id=vd0",
            "-qmp",
            f"unix:{self.socket},server=on,wait=off",
            *more,
        ]
        with open(f"{folder}/linux.said", "wb") as said:
            self.process = subprocess.Popen(tied([*command]), stdout=said, stderr=said)
        self._console = self._connect()
        self._said = b""
        self._until(b"READY")

    def run(self, command: str) -> str:
        """Run a command in the guest and return what it printed; it must succeed."""
        self._console.sendall(command.encode() + b"\n")
        said = self._until(b"DONE ").removesuffix(b"DONE ").decode(errors="replace").replace("\r\n", "\n")
        status = self._until(b"\n").strip()
        assert status == b"0", f"{command}: {said}"
        return said.lstrip("\n")

    def kill(self) -> None:
        self._console.close()
        self.process.kill()
        self.process.wait(30)

    def _connect(self) -> socket.socket:
        while True:
            line = socket.socket(socket.AF_UNIX)
            try:
                line.connect(self._line)
            except OSError:
                line.close()
                assert self.process.poll() is None, "the guest did not start"
                time.sleep(0.01)
                continue
            line.settimeout(120)
            return line

    def _until(self, what: bytes) -> bytes:
        while what not in self._said:
            got = self._console.recv(65536)
            assert got, f"the guest has ended: {self._said!r}"
            self._said += got
        end = self._said.index(what) + len(what)
        said, self._said = self._said[:end], self._said[end:]
        return said


def make_kit(folder: str) -> Kit:
    """Return what guests are made of; skip, by name, where something is missing."""
    need(*PROGRAMS)
    return Kit(folder)


def _root(root: str, init: str) -> str:
    for name in ("bin", "proc", "sys", "dev", "run", "modules", "var", "tmp", "data"):
        os.makedirs(f"{root}/{name}")
    busybox = shutil.which("busybox")
    assert busybox
    shutil.copy(busybox, f"{root}/bin/busybox")
    with open(f"{root}/init", "w") as made:
        made.write(init)
    os.chmod(f"{root}/init", 0o700)
    return root
