"""One nfs-ganesha for all tests, and what a test does with a folder of it."""

from __future__ import annotations

import pytest

from shared.contracts.work import ItemRef, MachineRef, PointRef, RestoreInstruction, VaultRef
from shared.model.backup import ConflictRule
from tests.support.ganesha import Ganesha, need_ganesha
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import Rig
from workers.sources.nfs import source as nfs_source
from workers.sources.nfs.lander import land
from workers.sources.nfs.reading import NfsReading
from workers.sources.nfs.source import NfsAdapter

_POINT = PointRef(
    point_id="p",
    machine=MachineRef(id="m", name="m"),
    item=ItemRef(id="i", name="i"),
    vault=VaultRef(id="v", name="v", url="file:///v"),
)


class Scene:
    """A folder of an export, and the points of an item that protects it."""

    def __init__(self, server: Ganesha, name: str, version: int = 3) -> None:
        self.server = server
        self.name = name
        self.version = version
        self.tree = server.tree / name
        self.tree.mkdir()
        self.rig = Rig()

    def spec(self, **changes):
        return self.server.spec(f"/{self.name}", version=self.version, **changes)

    def adapter(self, **changes):
        return NfsAdapter(NfsReading(spec=self.spec(**changes)))

    def backup(self, **options):
        options.setdefault("source", self.adapter())
        return self.rig.backup("/", **options)

    def land(self, target: str, *paths: str, rule=ConflictRule.SKIP, control=None):
        instruction = RestoreInstruction(point=_POINT, target=target, paths=paths, conflict=rule, source=self.spec())
        return land(self.rig.reader(), instruction, control=control or Uncontrolled(), folder="/nowhere")

    def beside(self):
        """A folder beside the tree: where it is, and its URL."""
        name = f"{self.name}-back"
        return self.server.tree / name, self.server.url(f"/{name}")

    def entries(self):
        """What the last point has, by path."""
        return {entry.path: entry for entry in self.rig.reader().entries()}


@pytest.fixture(scope="session")
def ganesha(tmp_path_factory):
    need_ganesha()
    server = Ganesha(tmp_path_factory.mktemp("ganesha"))
    yield server
    server.stop()


@pytest.fixture(params=[3, 4])
def version(request):
    return request.param


@pytest.fixture
def _not_young(monkeypatch):
    monkeypatch.setattr(nfs_source, "_YOUNG_NS", -(10**12))  # files of tests are young


@pytest.fixture
def scene(ganesha, request, _not_young):
    """By NFS 3."""
    return Scene(ganesha, f"{request.node.name.partition('[')[0][-40:]}-{id(request)}")


@pytest.fixture
def either(ganesha, request, version, _not_young):
    """By either version."""
    return Scene(ganesha, f"{request.node.name.partition('[')[0][-40:]}-{id(request)}", version)


@pytest.fixture
def own(tmp_path, version, _not_young):
    """On a server that nobody else uses, by either version."""
    need_ganesha()
    server = Ganesha(tmp_path / "ganesha")
    yield Scene(server, "tree", version)
    server.stop()
