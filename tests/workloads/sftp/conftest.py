"""One sshd for all tests, and what a test does with a folder of it."""

from __future__ import annotations

import os

import pytest

from shared.contracts.sources import SftpSource
from shared.contracts.work import ItemRef, MachineRef, PointRef, RestoreInstruction, VaultRef
from shared.model.backup import ConflictRule
from tests.support.ssh_server import SshServer, need_sshd
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import Rig
from workers.sources.sftp import source as sftp_source
from workers.sources.sftp.lander import land
from workers.sources.sftp.reading import SftpReading
from workers.sources.sftp.source import SftpAdapter

_POINT = PointRef(
    point_id="p",
    machine=MachineRef(id="m", name="m"),
    item=ItemRef(id="i", name="i"),
    vault=VaultRef(id="v", name="v", url="file:///v"),
)


class Scene:
    """A folder of a server, and the points of an item that protects it."""

    def __init__(self, server: SshServer, name: str) -> None:
        self.server = server
        self.name = name
        self.tree = server.tree / name
        self.tree.mkdir()
        self.path = os.fsencode(self.tree)[1:]
        self.rig = Rig()

    def spec(self, **changes: object) -> SftpSource:
        fields = {
            "url": self.server.url(f"/{self.name}"),
            "credentials_file": str(self.server.credentials),
            "known_hosts": str(self.server.known),
        }
        return SftpSource(**{**fields, **changes})

    def adapter(self, **changes: object) -> SftpAdapter:
        return SftpAdapter(SftpReading(spec=self.spec(**changes)))

    def backup(self, **options: object):
        options.setdefault("source", self.adapter())
        return self.rig.backup("/", **options)

    def land(self, target: str, *paths: str, rule=ConflictRule.SKIP, control=None):
        instruction = RestoreInstruction(point=_POINT, target=target, paths=paths, conflict=rule, source=self.spec())
        return land(self.rig.reader(), instruction, control=control or Uncontrolled(), folder="/nowhere")

    def to(self, folder: str) -> str:
        """The URL of a folder beside the tree."""
        return self.server.url(f"/{folder}")

    def entries(self):
        """What the last point has, by path below the protected folder."""
        prefix = self.path + b"/"
        reader = self.rig.reader()
        return {entry.path.removeprefix(prefix): entry for entry in reader.entries() if entry.path.startswith(prefix)}


@pytest.fixture(scope="session")
def sshd(tmp_path_factory):
    need_sshd()
    server = SshServer(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


@pytest.fixture
def scene(sshd, request, monkeypatch):
    monkeypatch.setattr(sftp_source, "_YOUNG_NS", -(10**12))  # files of tests are young
    return Scene(sshd, request.node.name.partition("[")[0][-40:] + f"-{id(request)}")


@pytest.fixture
def own_scene(tmp_path, monkeypatch):
    need_sshd()
    monkeypatch.setattr(sftp_source, "_YOUNG_NS", -(10**12))
    server = SshServer(tmp_path / "sshd")
    yield Scene(server, "tree")
    server.stop()
