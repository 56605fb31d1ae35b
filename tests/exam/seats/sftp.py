"""A folder of an sshd of the test's own."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from shared.contracts.sources import SftpSource, SourceSpec
from shared.contracts.work import RestoreInstruction
from shared.vault.reader import PointReader
from tests.exam.seat import Seat
from tests.exam.seats.smb import POINT, content
from tests.support.samba import free_port
from tests.support.ssh_server import SshServer, need_sshd
from tests.support.uncontrolled import Uncontrolled
from workers.sources.opening import LANDERS


class SftpSeat:
    """Some hundred files, restored to another folder of the same server; a file is of one moment for itself."""

    name = "sftp"

    def __init__(self, folder: Path) -> None:
        need_sshd()
        self._server = SshServer(folder / "sshd")
        self._tree = self._server.tree / "tree"
        self._rng = random.Random(11)
        self._times = 0
        for number in range(1000):
            place = self._tree / str(number % 20) / f"file{number}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(self._rng.randbytes(self._rng.randrange(6_000)))
        (self._tree / "large").write_bytes(self._rng.randbytes(48 << 20))
        (self._tree / "large").chmod(0o640)
        (self._tree / "journal").write_bytes(b"0" * 64)
        self.spec: SourceSpec = self._spec(self._server.url("/tree"))

    def _spec(self, url: str) -> SftpSource:
        server = self._server
        return SftpSource(url=url, credentials_file=str(server.credentials), known_hosts=str(server.known))

    def truth(self) -> object:
        return _truth(self._tree)

    def change(self) -> None:
        (self._tree / "3" / "file3").write_bytes(self._rng.randbytes(5000))

    def restored(self, reader: PointReader, target: Path) -> object:
        name = f"back-{target.name}"
        told = RestoreInstruction(point=POINT, target=self._server.url(f"/{name}"), source=self.spec)
        LANDERS["sftp"](reader, told, control=Uncontrolled(), folder=str(target))
        return _truth(Path(f"{self._server.tree}/{name}{self._tree}"))

    def left_behind(self) -> Sequence[str]:
        return []

    def wrong(self) -> Sequence[tuple[SourceSpec, str]]:
        server = self._server
        wrong, unknown = server.folder / "wrong", server.folder / "unknown"
        wrong.write_text(f"user={server.user}\nkey={server.folder}/other\n")
        wrong.chmod(0o600)
        unknown.write_text("")
        return [
            (
                SftpSource(url=server.url("/tree"), credentials_file=str(wrong), known_hosts=str(server.known)),
                "does not accept user",
            ),
            (
                SftpSource(url=server.url(), credentials_file=str(server.credentials), known_hosts=str(unknown)),
                "ssh-keyscan",
            ),
            (self._spec(server.url("/nowhere")), "/nowhere"),
            (self._spec(f"sftp://127.0.0.1:{free_port()}/x"), "Check host, port and network"),
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


def _truth(tree: Path) -> Mapping[str, tuple[bytes, int]]:
    return {path: (data, (tree / path).stat().st_mode) for path, data in content(tree).items()}


def seats() -> Mapping[str, Callable[[Path], Seat]]:
    if shutil.which("ssh") is None:
        return {"sftp": SftpSeat}
    told = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False, timeout=10).stderr
    return {f"sftp (openssh {told.split()[0].partition('_')[2].rstrip(',')})": SftpSeat}
