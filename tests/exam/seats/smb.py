"""A share of a Samba of the test's own."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from shared.contracts.sources import SmbSource, SourceSpec
from shared.contracts.work import ItemRef, MachineRef, PointRef, RestoreInstruction, VaultRef
from shared.vault.reader import PointReader
from tests.exam.seat import Seat
from tests.support.samba import Samba, free_port, need_samba
from tests.support.uncontrolled import Uncontrolled
from workers.sources.opening import LANDERS

_FOREIGN = "S-1-5-21-1111111111-2222222222-3333333333-1234"
POINT = PointRef(
    point_id="p",
    machine=MachineRef(id="m", name="m"),
    item=ItemRef(id="i", name="i"),
    vault=VaultRef(id="v", name="v", url="file:///v"),
)


class SmbSeat:
    """Some hundred files, one with an ACL of its own; restored to another folder of the same share."""

    name = "smb"

    def __init__(self, folder: Path) -> None:
        need_samba()
        self._server = Samba(folder)
        self._tree = self._server.share / "tree"
        self._rng = random.Random(11)
        self._times = 0
        for number in range(1000):
            place = self._tree / str(number % 20) / f"file{number}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(self._rng.randbytes(self._rng.randrange(6_000)))
        (self._tree / "large").write_bytes(self._rng.randbytes(48 << 20))
        (self._tree / "journal").write_bytes(b"0" * 64)
        self._server.acl("tree/large", "-a", f"ACL:{_FOREIGN}:ALLOWED/0/READ")
        self.spec: SourceSpec = self._spec("data/tree")

    def _spec(self, path: str) -> SmbSource:
        return SmbSource(url=self._server.url(path), credentials_file=str(self._server.credentials))

    def truth(self) -> object:
        return {**content(self._tree), "ACL of large": self._server.acl("tree/large")}

    def change(self) -> None:
        (self._tree / "3" / "file3").write_bytes(self._rng.randbytes(5000))

    def restored(self, reader: PointReader, target: Path) -> object:
        name = f"back-{target.name}"
        told = RestoreInstruction(point=POINT, target=self._server.url(f"data/{name}"), source=self.spec)
        LANDERS["smb"](reader, told, control=Uncontrolled(), folder=str(target))
        back = f"{name}/tree"
        return {**content(self._server.share / back), "ACL of large": self._server.acl(f"{back}/large")}

    def left_behind(self) -> Sequence[str]:
        return [line for line in self._server.status().splitlines() if "tree" in line]

    def wrong(self) -> Sequence[tuple[SourceSpec, str]]:
        wrong = self._server.folder / "wrong"
        wrong.write_text("user=harbor\npassword=wrong\n")
        wrong.chmod(0o600)
        return [
            (SmbSource(url=self._server.url("data"), credentials_file=str(wrong)), "does not accept user harbor"),
            (self._spec("nothere"), "no share nothere"),
            (self._spec("data/no/where"), "no/where"),
            (
                SmbSource(url=f"smb://127.0.0.1:{free_port()}/data", credentials_file=str(self._server.credentials)),
                "Check host, port and network",
            ),
        ]

    def write_on(self) -> None:
        self._times += 1
        (self._tree / "journal").write_bytes(b"%d" % (self._times % 10) * 64)

    def is_of_one_moment(self, truth: object) -> bool:
        assert isinstance(truth, Mapping)
        return len(set(truth["journal"])) == 1

    def die(self) -> bool:
        self._server.stop()
        return True

    def close(self) -> None:
        self._server.stop()


def content(tree: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(tree)): path.read_bytes() for path in sorted(tree.rglob("*")) if path.is_file()}


def seats() -> Mapping[str, Callable[[Path], Seat]]:
    if shutil.which("smbd") is None:
        return {"smb": SmbSeat}
    told = subprocess.run(["smbd", "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    return {f"smb (samba {told.split()[1].partition('-')[0]})": SmbSeat}
