"""How fast a virtual machine is backed up and restored: ``python -m tests.benchmarks.workloads.vm [MIB] [RUNS]``.

A QEMU that runs (no operating system in it) with one qcow2 disk that holds so many MiB, some of it compressible; the
vault is a local folder, two processes read. The floor beside it reads the same bytes from a raw file in the page cache
and compresses them with two threads of zstd, level 1: no NBD, no encryption, no deduplication.

Rule of the file: medians of interleaved runs; seconds of waiting, what they mean in MiB/s of data on the disk, and of
CPU, QEMU's included: on a machine with other work, that is what tells.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable

import zstandard

from shared.clock import SystemClock
from shared.contracts.sources import VmSource
from shared.contracts.work import BackupDone, BackupInstruction, Fence, VaultRef
from shared.crypto.domain_keys import DomainKeys
from shared.model.backup import BackupType
from shared.model.bandwidth import BandwidthPlan
from shared.model.ids import new_id
from shared.storage.local import LocalStore
from shared.vault.writer import PointWriter
from tests.benchmarks.processes import cpu_of_tree
from tests.support.crews import DEK, running_chief
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import Rig
from tests.workloads.vm.flights import ITEM, MACHINE, Field
from tests.workloads.vm.guest import Guest
from tests.workloads.vm.rig import order
from workers.crew.chief import Chief
from workers.crew.messages import BackupWork
from workers.crew.processes import ReadingProcesses
from workers.engine.backup import run_backup
from workers.engine.doors import Doors
from workers.sources.opening import open_session, open_source

_HANDS = 2
_BLOCK = 256 * 1024
_CHANGED = 20


def main(mib: int, runs: int) -> None:
    """Measure and print."""
    taken: dict[str, list[tuple[float, float]]] = defaultdict(list)
    folder = tempfile.mkdtemp(prefix="vmb-")
    try:
        raw, image = f"{folder}/disk.raw", f"{folder}/disk.qcow2"
        _fill(raw, mib)
        convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image]
        subprocess.run(convert, check=True)
        guest = Guest(folder, [(image, "qcow2")])
        try:
            with running_chief() as chief:
                for run in range(runs):
                    _round(f"{folder}/{run}", guest, raw, chief, taken)
        finally:
            guest.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for what, costs in taken.items():
        wall, cpu = (statistics.median(column) for column in zip(*costs, strict=True))
        size = _CHANGED if "changed" in what else mib
        sys.stdout.write(f"{what:32} {wall:8.2f} s {size / wall:8.0f} MiB/s {cpu:8.2f} s of CPU\n")


def _round(folder: str, guest: Guest, raw: str, chief: Chief, taken: dict[str, list[tuple[float, float]]]) -> None:
    os.mkdir(folder)
    rig = Rig(LocalStore.create(f"{folder}/vault"))
    item = Field(VmSource(qmp=guest.socket), rig=rig)
    _time(taken, "floor: read and zstd -1", lambda: _floor(raw, f"{folder}/floor"))
    _time(taken, "full", lambda: _backup(item, f"file://{folder}/vault", chief, folder))
    guest.io_all(0, [f"write -P {n + 1} {n * 7 * (1 << 20)} 1M" for n in range(_CHANGED)])
    _time(taken, "incremental, 20 MiB changed", lambda: _backup(item, f"file://{folder}/vault", chief, folder))
    _time(taken, "restore as raw", lambda: item.restore(f"{folder}/raw", "/disk0.raw"))
    _time(taken, "restore as qcow2", lambda: item.restore(f"{folder}/qcow2", "/disk0.raw", format="qcow2"))
    shutil.rmtree(folder)


def _time(taken: dict[str, list[tuple[float, float]]], what: str, act: Callable[[], object]) -> None:
    before, began = cpu_of_tree(os.getpid()), time.perf_counter()
    act()
    wall = time.perf_counter() - began
    taken[what].append((wall, cpu_of_tree(os.getpid()) - before))


def _fill(path: str, mib: int) -> None:
    rng = random.Random(1)
    with open(path, "wb") as disk:
        for _ in range(mib * (1 << 20) // _BLOCK):
            part = rng.randbytes(_BLOCK // 2)
            disk.write(
                part * 2 if rng.random() < 0.2 else part.hex().encode() if rng.random() < 0.5 else part + part[::-1]
            )


def _floor(raw: str, target: str) -> None:
    compressor = zstandard.ZstdCompressor(level=1, threads=2)
    with open(raw, "rb") as source, open(target, "wb") as made:
        compressor.copy_stream(source, made, read_size=1 << 20, write_size=1 << 20)


def _backup(item: Field, url: str, chief: Chief, folder: str) -> BackupDone:
    rig, points = item.rig, item.rig.points()
    instruction = BackupInstruction(
        point_id=new_id(),
        machine=MACHINE,
        item=ITEM,
        vault=VaultRef(id=rig.vault.id, name="test", url=url),
        source=item.spec,
        type=BackupType.INCREMENTAL if points else BackupType.FULL,
        reference=points[-1] if points else None,
    )

    def muster(reading: bytes, writer: PointWriter) -> ReadingProcesses:
        work = BackupWork(
            vault_url=url,
            throttle=f"{folder}/throttle",
            bandwidth=BandwidthPlan(),
            vault=rig.vault.header,
            dek=DEK,
            reading=reading,
            zstd_level=1,
        )
        return ReadingProcesses(chief, work, writer, count=_HANDS)

    asked = order(item.spec, instruction.point_id, guard=item.guard)
    return run_backup(
        doors=Doors(lambda body: open_session(asked._replace(reference=body)), open_source),
        vault=rig.vault,
        keys=DomainKeys.derive(DEK),
        index=rig.index(),
        instruction=instruction,
        fence=Fence(job_id="job", unit=0, epoch=1, claim_id="claim"),
        control=Uncontrolled(),
        clock=SystemClock(),
        muster=muster,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024, int(sys.argv[2]) if len(sys.argv) > 2 else 3)
