"""A folder of an nfs-ganesha of the test's own, by either version of the protocol."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from shared.contracts.sources import NfsSource, SourceSpec
from shared.contracts.work import RestoreInstruction
from shared.vault.reader import PointReader
from tests.exam.seat import Seat
from tests.exam.seats.smb import POINT, content
from tests.support.ganesha import Ganesha, need_ganesha
from tests.support.samba import free_port
from tests.support.uncontrolled import Uncontrolled
from workers.sources.opening import LANDERS


class NfsSeat:
    """Some hundred files, restored over NFS 3 to another folder of the export; a file is of one moment for itself."""

    def __init__(self, folder: Path, *, version: int) -> None:
        need_ganesha()
        self.name = f"nfs {version}"
        self._version = version
        self._server = Ganesha(folder / "ganesha")
        self._tree = self._server.tree / "tree"
        self._rng = random.Random(13)
        self._times = 0
        for number in range(1000):
            place = self._tree / str(number % 20) / f"file{number}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(self._rng.randbytes(self._rng.randrange(6_000)))
        (self._tree / "large").write_bytes(self._rng.randbytes(48 << 20))
        (self._tree / "large").chmod(0o640)
        os.chown(self._tree / "large", 1234, 4321)
        (self._tree / "journal").write_bytes(b"0" * 64)
        self.spec: SourceSpec = self._server.spec("/tree", version=version)

    def truth(self) -> object:
        return _truth(self._tree)

    def change(self) -> None:
        (self._tree / "3" / "file3").write_bytes(self._rng.randbytes(5000))

    def restored(self, reader: PointReader, target: Path) -> object:
        name = f"back-{target.name}"
        told = RestoreInstruction(point=POINT, target=self._server.url(f"/{name}"), source=self.spec)
        LANDERS["nfs"](reader, told, control=Uncontrolled(), folder=str(target))
        return _truth(self._server.tree / name)

    def left_behind(self) -> Sequence[str]:
        return []

    def wrong(self) -> Sequence[tuple[SourceSpec, str]]:
        how = "?version=4" if self._version == 4 else f"?mountport={free_port()}"
        nowhere = self._server.url(version=self._version, tree=Path("/nowhere"))
        return [
            (self._server.spec("/nowhere", version=self._version), "/nowhere"),
            (NfsSource(url=nowhere), "/nowhere"),
            (NfsSource(url=f"nfs://127.0.0.1:{free_port()}/x{how}"), "Check host, port and network"),
            (NfsSource(url=f"nfs://host.invalid/x{how}"), "host.invalid"),
        ]

    def write_on(self) -> None:
        self._times += 1
        (self._tree / "journal").write_bytes(b"%d" % (self._times % 10) * 64)

    def is_of_one_moment(self, truth: object) -> bool:
        assert isinstance(truth, Mapping)
        return len(set(truth["journal"][0])) == 1

    def die(self) -> bool:
        self._server.stop()
        return True

    def close(self) -> None:
        self._server.stop()


def _truth(tree: Path) -> Mapping[str, tuple[bytes, int, int, int]]:
    looks = {path: (tree / path).stat() for path in content(tree)}
    return {
        path: (data, looks[path].st_mode, looks[path].st_uid, looks[path].st_gid)
        for path, data in content(tree).items()
    }


def seats() -> Mapping[str, Callable[[Path], Seat]]:
    program = ""
    if shutil.which("ganesha.nfsd") is not None:
        told = subprocess.run(["ganesha.nfsd", "-v"], capture_output=True, text=True, check=False, timeout=10)
        program = f" (ganesha {told.stdout.split()[-1].removeprefix('V')})" if told.stdout.split() else ""
    return {f"nfs {version}{program}": partial(NfsSeat, version=version) for version in (3, 4)}
