"""Files on btrfs, read from a snapshot: the tree is of one moment as a whole."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from shared.contracts.sources import FilesSource, SnapshotWay, SourceSpec
from tests.exam.seat import Seat
from tests.exam.seats.files import FilesSeat
from tests.support.mounts import image
from tests.support.trees import IS_ROOT


class BtrfsSeat(FilesSeat):
    """The same tree in a subvolume. The first and the last file of it are written in turns, the first one first."""

    name = "files, btrfs"

    def __init__(self, folder: Path) -> None:
        if not IS_ROOT:
            pytest.skip("a btrfs image: needs root to mount")
        self._mounts = ExitStack()
        disk = self._mounts.enter_context(image("btrfs", folder / "disk", size=512 * 2**20, make=("-q", "-f")))
        self._top = Path(disk) / "volume"
        subprocess.run(["btrfs", "-q", "subvolume", "create", str(self._top)], check=True)
        super().__init__(self._top)
        for name in ("0", "zz"):
            (self._tree / name).mkdir(exist_ok=True)
            (self._tree / name / "turn").write_bytes(b"0")
        assert isinstance(self.spec, FilesSource)
        self.spec: SourceSpec = msgspec.structs.replace(self.spec, snapshot=SnapshotWay.BTRFS)

    def left_behind(self) -> Sequence[str]:
        folder = self._top / ".skyharbor"
        return sorted(os.listdir(folder)) if folder.exists() else []

    def wrong(self) -> Sequence[tuple[SourceSpec, str]]:
        return [(FilesSource(paths=("/proc",), snapshot=SnapshotWay.BTRFS), "in no btrfs subvolume")]

    def write_on(self) -> None:
        self._times += 1
        for name in ("0", "zz"):
            (self._tree / name / "turn").write_bytes(b"%d" % self._times)

    def is_of_one_moment(self, truth: object) -> bool:
        assert isinstance(truth, Mapping)
        first, last = (int(truth[f"{name}/turn"] or b"-1") for name in ("0", "zz"))
        # A file is cut to nothing before it is written: that is a moment as well.
        return last in (first, first - 1) or -1 in (first, last)

    def close(self) -> None:
        self._mounts.close()


def seats() -> Mapping[str, Callable[[Path], Seat]]:
    return {"files, btrfs": BtrfsSeat}
