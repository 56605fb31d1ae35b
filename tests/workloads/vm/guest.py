"""A real QEMU with disks and no operating system: what its guest would write comes through its own devices.

Every write goes into a raw copy as well, the oracle: what a disk must be at any moment.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from workers.sources.children import tied
from workers.sources.vm.qmp import Qmp, QmpFailed

PROGRAMS = ("qemu-system-x86_64", "qemu-img", "qemu-nbd", "qemu-storage-daemon", "qemu-io")
BLOCK = 256 * 1024


def need(*programs: str) -> None:
    """Skip, by name, where a program is missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} missing: apt-get install qemu-system-x86 qemu-utils")


@contextmanager
def short_folder() -> Iterator[str]:
    """A folder whose path leaves room for the names of sockets."""
    folder = tempfile.mkdtemp(prefix="vm-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_image(path: str, size: int, image_format: str = "qcow2") -> str:
    subprocess.run(["qemu-img", "create", "-q", "-f", image_format, path, str(size)], check=True, timeout=60)
    return path


class Oracle:
    """What a disk must be."""

    def __init__(self, path: str, size: int) -> None:
        self.path = path
        with open(path, "wb") as made:
            made.truncate(size)

    def write(self, offset: int, pattern: int, length: int) -> None:
        with open(self.path, "r+b") as there:
            there.seek(offset)
            there.write(bytes([pattern]) * length)

    def copy(self, path: str) -> str:
        subprocess.run(["cp", "--sparse=always", self.path, path], check=True, timeout=60)
        return path


class Guest:
    """One QEMU. ``images`` are (path, format); ``running``: its processors run, though they have nothing to do."""

    def __init__(
        self,
        folder: str,
        images: Sequence[tuple[str, str]],
        *,
        running: bool = False,
        iothread: bool = False,
        devices: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.socket = f"{folder}/qmp"
        self.agent = f"{folder}/agent"
        command = ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-m", "64", "-nodefaults", "-display", "none"]
        command += [] if running else ["-S"]
        command += ["-object", "iothread,id=io0"] if iothread else []
        for number, (path, image_format) in enumerate(images):
            drive = {"driver": image_format, "node-name": f"n{number}", "discard": "unmap"}
            drive["file"] = {"driver": "file", "filename": path, "discard": "unmap"}
            command += ["-blockdev", json.dumps(drive)]
            extra = ",iothread=io0" if iothread else ""
            command += [] if devices else ["-device", f"virtio-blk-pci,drive=n{number},id=vd{number}{extra}"]
        for device in devices:
            command += ["-device", device]
        command += ["-qmp", f"unix:{self.socket},server=on,wait=off", *options]
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        with open(f"{folder}/qemu.said", "wb") as said:
            self.process = subprocess.Popen(tied([*command]), stdout=said, stderr=said)
        self.oracles: dict[int, Oracle] = {}
        self._await()
        with self.qmp() as qmp:
            there = [one for one in qmp.execute("query-block") if one.get("inserted") and one.get("qdev")]
        paths = {one["inserted"]["node-name"]: one["qdev"] for one in there}
        self._devices = {
            node: path if path.startswith("/") else f"/machine/peripheral/{path}" for node, path in paths.items()
        }

    def _await(self) -> None:
        while True:
            if self.process.poll() is not None:
                with open(f"{self.folder}/qemu.said") as said:
                    raise AssertionError(said.read())
            try:
                with Qmp.connect(self.socket):
                    return
            except QmpFailed:
                continue

    def oracle(self, number: int, size: int) -> Oracle:
        return self.oracles.setdefault(number, Oracle(f"{self.folder}/oracle{number}", size))

    def write(self, number: int, offset: int, pattern: int, length: int) -> None:
        """Write what the guest would write, on its disk and into the oracle."""
        self.io(number, f"write -P {pattern} {offset} {length}")
        self.oracles[number].write(offset, pattern, length)

    def io(self, number: int, command: str) -> None:
        self.io_all(number, [command])

    def io_all(self, number: int, commands: Sequence[str]) -> None:
        with Qmp.connect(self.socket) as qmp:
            io = f"qemu-io -d {self._devices[f'n{number}']}"
            lines = [("human-monitor-command", {"command-line": f'{io} "{one}"'}) for one in commands]
            for said in qmp.execute_all(lines):
                assert not said.strip(), said  # what became of the write itself is told on QEMU's own output

    def qmp(self) -> Qmp:
        return Qmp.connect(self.socket)

    def bitmaps(self) -> set[str]:
        with self.qmp() as qmp:
            nodes = qmp.execute("query-named-block-nodes", {"flat": True})
        return {bitmap["name"] for node in nodes for bitmap in node.get("dirty-bitmaps", ()) if "name" in bitmap}

    def leftovers(self) -> list[str]:
        """Return whatever of ours is in there, but for bitmaps; and scratch folders."""
        with self.qmp() as qmp:
            nodes = [node["node-name"] for node in qmp.execute("query-named-block-nodes", {"flat": True})]
            exports = [export["id"] for export in qmp.execute("query-block-exports")]
            jobs = [job["device"] for job in qmp.execute("query-block-jobs")]
        folders = [name for name in os.listdir(self.folder) if name.startswith(".sky-")]
        return [name for name in [*nodes, *exports, *jobs] if name.startswith("sky-")] + folders

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def is_as_written(self, number: int) -> bool:
        """End it, and tell whether every write has come to the disk."""
        self.stop()
        oracle = self.oracles[number].path
        command = ["qemu-img", "compare", "-f", "raw", "-F", "qcow2", oracle, f"{self.folder}/d{number}.qcow2"]
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0

    def stop(self) -> None:
        """End it as an operator would: what is to be stored is stored."""
        if self.is_alive:
            with self.qmp() as qmp:
                qmp.execute("quit")
            self.process.wait(30)

    def kill(self) -> None:
        if self.is_alive:
            self.process.kill()
            self.process.wait(30)
