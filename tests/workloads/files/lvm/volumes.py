"""Volumes and file systems in the guest, and somebody who writes to them all the time.

Rule of the file: it runs in the guest only, where the disks are ours.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from workers.sources.snapshots.mounting import HOME

DISK, OTHER = "/dev/vdb", "/dev/vdc"
GROUP = "the-group"


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def make_volumes() -> None:
    """Make the group: ``data`` with ext4, ``thin`` with XFS in a pool. A third file system is on no volume."""
    run("pvcreate", "-q", DISK)
    run("vgcreate", "-q", GROUP, DISK)
    run("lvcreate", "-q", "-y", "-L", "200M", "-n", "data", GROUP)
    run("lvcreate", "-q", "-y", "-L", "200M", "-T", f"{GROUP}/pool")
    run("lvcreate", "-q", "-y", "-V", "400M", "-T", f"{GROUP}/pool", "-n", "thin")
    make_file_system("ext4", "data")
    make_file_system("xfs", "thin")
    run("mkfs.ext4", "-q", OTHER)


def make_file_system(kind: str, name: str) -> None:
    run(f"mkfs.{kind}", "-q", f"/dev/{GROUP}/{name}")


def mount(device: str, place: Path, *options: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    run("mount", *options, device, str(place))
    return place


def mount_volume(name: str, place: Path, *options: str) -> Path:
    return mount(f"/dev/{GROUP}/{name}", place, *options)


def volumes() -> dict[str, str]:
    """Return the names of all volumes, with what each is a snapshot of."""
    told = json.loads(run("lvs", "--reportformat", "json", "-o", "lv_name,origin", GROUP))
    return {row["lv_name"]: row["origin"] for row in told["report"][0]["lv"]}


def snapshots() -> list[str]:
    """Return the names of all that are snapshots, whosever."""
    return sorted(name for name, origin in volumes().items() if origin)


def percent_of(pool: str) -> float:
    """Return how much of a thin pool is used."""
    return float(run("lvs", "--noheadings", "-o", "data_percent", f"{GROUP}/{pool}"))


def kernel() -> list[str]:
    """Return what the kernel has said of file systems that had something to do when they were mounted."""
    return [line for line in run("dmesg").splitlines() if "orphan" in line or "recovery" in line]


def left() -> list[str]:
    """Return what there is of ours: snapshots, mounts, folders of mounts."""
    with open("/proc/self/mounts", encoding="utf-8") as lines:
        mounts = [line.split()[1] for line in lines if line.split()[1].startswith(HOME)]
    folders = os.listdir(HOME) if os.path.exists(HOME) else []
    return [*(name for name in volumes() if name.startswith("skyharbor_")), *mounts, *folders]


class Tree:
    """A tree of some files, and a process that writes into the first one, the last one and some between in turns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        draw = random.Random(7)
        for number in range(60):
            place = folder / str(number % 6) / f"file{number:02}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(draw.randbytes(draw.randrange(50_000)))
        (folder / "large").write_bytes(draw.randbytes(3 << 20))
        self.turns = [folder / name / "turn" for name in ("0", "2", "4", "zz")]
        self.turns[-1].parent.mkdir()
        program = str(Path(__file__).with_name("writer.py"))
        self._writer = subprocess.Popen([sys.executable, "-I", "-S", program, *map(str, self.turns)])
        self.wait_for_turns(1)

    def wait_for_turns(self, more: int) -> None:
        """Return when the writer has come so many turns further."""
        until = self._turn() + more
        while self._turn() < until:
            assert self._writer.poll() is None
            time.sleep(0.005)

    def still(self, folder: Path | None = None) -> Mapping[str, bytes]:
        """Return what is in the files that nobody writes to, here or in a copy."""
        top = folder or self.folder
        found = {str(path.relative_to(top)): path for path in sorted(top.rglob("*")) if path.is_file()}
        return {name: path.read_bytes() for name, path in found.items() if path.name != "turn"}

    def turns_in(self, copy: Path) -> list[int]:
        return [int((copy / turn.relative_to(self.folder)).read_bytes() or b"0") for turn in self.turns]

    def close(self) -> None:
        self._writer.kill()
        self._writer.wait()

    def _turn(self) -> int:
        """The last one is written last."""
        return int(self.turns[-1].read_bytes() or b"0") if self.turns[-1].exists() else 0


def of_one_moment(turns: list[int]) -> bool:
    """Tell whether files that are written in this order were so at any one moment."""
    return turns == sorted(turns, reverse=True) and turns[0] - turns[-1] <= 1 and turns[-1] > 0
