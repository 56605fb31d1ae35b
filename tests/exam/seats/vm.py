"""Virtual machines: a QEMU that runs, and images of one that is off."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from shared.contracts.sources import SourceSpec, VmSource
from shared.contracts.work import ItemRef, MachineRef, PointRef, RestoreInstruction, VaultRef
from shared.vault.reader import PointReader
from tests.exam.seat import Seat
from tests.support.uncontrolled import Uncontrolled
from tests.workloads.vm.guest import Guest, Oracle, need
from workers.sources.vm.lander import restore_machine

_SIZE = 64 << 20
_JOURNAL = ((50 << 20), (60 << 20))
_LENGTH = 4096


class _Seat:
    """What both have in common: a disk of random data, and the oracle copy of it."""

    def __init__(self, folder: Path) -> None:
        need("qemu-system-x86_64", "qemu-img", "qemu-nbd", "qemu-io")
        self._folder = tempfile.mkdtemp(prefix="vm-")  # sockets' paths are short
        self._rng = random.Random(7)
        self._times = 0
        self._oracle = Oracle(f"{folder}/oracle", _SIZE)
        with open(self._oracle.path, "r+b") as disk:
            for offset in range(0, 48 << 20, 3 << 20):
                os.pwrite(disk.fileno(), self._rng.randbytes(1 << 20), offset)
        self._image = f"{self._folder}/disk.qcow2"
        convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", self._oracle.path, self._image]
        subprocess.run(convert, check=True, timeout=60)

    def truth(self) -> object:
        return _truth(self._oracle.path)

    def restored(self, reader: PointReader, target: Path) -> object:
        instruction = RestoreInstruction(
            point=PointRef(
                point_id=reader.point.point_id,
                machine=MachineRef(id=reader.point.machine_id, name="m"),
                item=ItemRef(id=reader.point.item_id, name="i"),
                vault=VaultRef(id="v", name="v", url="file:///v"),
            ),
            target=str(target),
            options={"format": "qcow2"},
        )
        restore_machine(reader, instruction, control=Uncontrolled(), folder=str(target))
        image, raw = f"{target}/disk0.qcow2", f"{target}/as.raw"
        subprocess.run(["qemu-img", "check", "-q", image], check=True, timeout=60)
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw], check=True, timeout=60)
        return _truth(raw)

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


class RunningSeat(_Seat):
    """A QEMU without an operating system: the test writes through its device."""

    name = "vm"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._guest = Guest(self._folder, [(self._image, "qcow2")])
        self._guest.oracles[0] = self._oracle
        self.spec: SourceSpec = VmSource(qmp=self._guest.socket)

    def change(self) -> None:
        self._guest.write(0, self._rng.randrange(40) << 20, self._rng.randrange(1, 255), 128 * 1024)

    def left_behind(self) -> Sequence[str]:
        if not self._guest.is_alive:
            return []
        bitmaps = sorted(self._guest.bitmaps())
        # One for a point, one for its full; the others are nobody's.
        return [*self._guest.leftovers(), *(name for name in bitmaps if name.endswith("-frozen")), *bitmaps[2:]]

    def wrong(self) -> Sequence[tuple[SourceSpec, str]]:
        return [(VmSource(qmp="/nowhere/qmp"), "/nowhere/qmp"), (VmSource(qmp=self._image), self._image)]

    def write_on(self) -> None:
        self._times += 1
        for offset in _JOURNAL:
            self._guest.write(0, offset, self._times % 200 + 1, _LENGTH)

    def is_of_one_moment(self, truth: object) -> bool:
        assert isinstance(truth, tuple)
        first, second = truth[1:]
        return first in (second, second % 200 + 1) and len(truth) == 3

    def die(self) -> bool:
        self._guest.kill()
        return True

    def close(self) -> None:
        self._guest.kill()
        super().close()


class ImagesSeat(_Seat):
    """An image that nobody uses."""

    name = "vm (images)"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.spec: SourceSpec = VmSource(disks=(self._image,))

    def change(self) -> None:
        offset, pattern = self._rng.randrange(40) << 20, self._rng.randrange(1, 255)
        write = ["qemu-io", "-c", f"write -P {pattern} {offset} 128k", self._image]
        subprocess.run(write, check=True, capture_output=True, timeout=60)
        self._oracle.write(offset, pattern, 128 * 1024)

    def left_behind(self) -> Sequence[str]:
        return []

    def wrong(self) -> Sequence[tuple[SourceSpec, str]]:
        return [(VmSource(disks=("/nowhere/disk.qcow2",)), "/nowhere/disk.qcow2")]

    def write_on(self) -> None:
        """Whoever writes to an image while it is read gets no point."""

    def is_of_one_moment(self, truth: object) -> bool:
        return truth == self.truth()

    def die(self) -> bool:
        return False


def _truth(path: str) -> object:
    """Return the sum of the disk without its journal, and the first byte of both halves of that."""
    with open(path, "rb") as disk:
        content = bytearray(disk.read())
    halves = [content[offset] for offset in _JOURNAL]
    for offset in _JOURNAL:
        content[offset : offset + _LENGTH] = bytes(_LENGTH)
    return (hashlib.sha256(content).hexdigest(), *halves)


def seats() -> Mapping[str, Callable[[Path], Seat]]:
    return {"vm": RunningSeat, "vm (images)": ImagesSeat}
