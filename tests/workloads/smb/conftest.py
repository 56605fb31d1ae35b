"""One Samba for all tests, and what a test does with a folder of it."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from shared.contracts.sources import SmbSource
from shared.contracts.work import ItemRef, MachineRef, PointRef, RestoreInstruction, VaultRef
from shared.model.backup import ConflictRule
from tests.support.samba import Samba, need_samba
from tests.support.trees import settle
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import Rig
from workers.sources.smb import source as smb_source
from workers.sources.smb.lander import land_on_share
from workers.sources.smb.reading import SmbReading
from workers.sources.smb.source import SmbAdapter

POINT = PointRef(
    point_id="p",
    machine=MachineRef(id="m", name="m"),
    item=ItemRef(id="i", name="i"),
    vault=VaultRef(id="v", name="v", url="file:///v"),
)


class Scene:
    """A folder of a share, and the points of an item that protects it."""

    def __init__(self, server: Samba, name: str) -> None:
        self.server = server
        self.name = name
        self.tree = server.share / name
        self.tree.mkdir()
        self.rig = Rig()

    def spec(self, **changes: object) -> SmbSource:
        fields = {"url": self.server.url(f"data/{self.name}"), "credentials_file": str(self.server.credentials)}
        return SmbSource(**{**fields, **changes})

    def adapter(self, *, moment: int = 0, **changes: object) -> SmbAdapter:
        return SmbAdapter(SmbReading(spec=self.spec(**changes), moment=moment))

    def backup(self, **options: object):
        settle(str(self.tree))
        options.setdefault("source", self.adapter())
        return self.rig.backup("/", **options)

    def land(self, folder: str, *paths: str, rule=ConflictRule.SKIP, target=None, control=None, **changes):
        """Restore to a folder of the share."""
        instruction = RestoreInstruction(
            point=POINT, target=target or self.server.url(f"data/{folder}"), paths=paths, conflict=rule, **changes
        )
        if "source" not in changes:
            instruction = RestoreInstruction(
                point=POINT,
                target=instruction.target,
                paths=paths,
                conflict=rule,
                source=self.spec(),
                options=changes.get("options", {}),
            )
        return land_on_share(self.rig.reader(), instruction, control or Uncontrolled())

    def entries(self, rig=None, under: str = ""):
        """What a point has, by path below the protected folder."""
        prefix = os.fsencode(under or self.name) + b"/"
        reader = (rig or self.rig).reader()
        return {entry.path.removeprefix(prefix): entry for entry in reader.entries() if entry.path.startswith(prefix)}

    def seen_at(self, folder: str):
        """What a folder of the share has now, read by a backup of it."""
        rig = Rig()
        rig.backup("/", source=self.adapter(url=self.server.url(f"data/{folder}")))
        return self.entries(rig, folder)


@contextmanager
def _running(more: str = ""):
    need_samba()
    with tempfile.TemporaryDirectory(prefix="skyharbor-samba-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # noqa: S103 - ordinary users come here as well
        server = Samba(Path(folder), more=more)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def samba():
    with _running() as server:
        yield server


@pytest.fixture
def own_samba():
    """A server that the test may do anything to."""
    with _running() as server:
        yield server


@pytest.fixture
def any_samba():
    """Starts servers with a line of their own in the configuration."""
    with ExitStack() as stack:
        yield lambda more: stack.enter_context(_running(more))


@pytest.fixture
def scene(samba, request, monkeypatch):
    monkeypatch.setattr(smb_source, "_YOUNG_NS", 0)  # files of tests are young
    return Scene(samba, request.node.name.partition("[")[0][-40:] + f"-{os.getpid()}-{id(request)}")


@pytest.fixture
def own_scene(own_samba, monkeypatch):
    monkeypatch.setattr(smb_source, "_YOUNG_NS", 0)
    return Scene(own_samba, "tree")
