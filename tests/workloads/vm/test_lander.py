"""What a restore of a machine leaves in the target, and what it never leaves."""

import os
import random
import signal

import pytest

from shared.contracts.sources import VmSource
from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from shared.storage.memory import MemoryStore
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import Recorder, Rig
from tests.workloads.vm.flights import Field
from tests.workloads.vm.rig import same
from workers.engine.ports import Stop

SIZE = 96 << 20


@pytest.fixture
def disk(tmp_path):
    path, rng = str(tmp_path / "disk.raw"), random.Random(5)
    with open(path, "wb") as made:
        made.truncate(SIZE)
        for offset in (0, 20 << 20, 40 << 20, 60 << 20, SIZE - 4096):
            os.pwrite(made.fileno(), rng.randbytes(min(12 << 20, SIZE - offset)), offset)
    return path


@pytest.fixture
def item(disk):
    made = Field(VmSource(disks=(disk,)), rig=Rig(MemoryStore()))
    made.backup()
    return made


def test_disks_and_papers_lie_in_the_folder_and_belong_to_their_restorer_alone(item, tmp_path):
    done = item.restore(str(tmp_path / "a" / "b"))
    assert sorted(os.listdir(tmp_path / "a" / "b")) == ["disk0.raw", "vm.json"]
    assert (done.stats.files_restored, done.stats.files_skipped, done.warnings) == (2, 0, ())
    assert os.stat(tmp_path / "a" / "b" / "disk0.raw").st_mode & 0o777 == 0o600


def test_one_disk_may_be_asked_for(item, tmp_path):
    item.restore(str(tmp_path / "to"), "/disk0.raw", format="qcow2")
    assert os.listdir(tmp_path / "to") == ["disk0.qcow2"]


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_what_is_there_stays_is_replaced_or_stands_beside_as_asked(item, disk, tmp_path, image_format):
    target, name = tmp_path / "to", f"disk0.{image_format}"
    os.mkdir(target)
    (target / name).write_bytes(b"mine")
    done = item.restore(str(target), format=image_format)
    assert (done.stats.files_restored, done.stats.files_skipped) == (1, 1)
    assert (target / name).read_bytes() == b"mine"
    item.restore(str(target), conflict=ConflictRule.RENAME, format=image_format)
    assert (target / name).read_bytes() == b"mine"
    assert sorted(os.listdir(target)) == [name, f"{name}.restored-1", "vm.json", "vm.json.restored-1"]
    item.restore(str(target), "/disk0.raw", conflict=ConflictRule.OVERWRITE, format=image_format)
    assert (target / name).read_bytes() == (target / f"{name}.restored-1").read_bytes()


def test_a_directory_in_the_way_is_said_and_stays(item, tmp_path):
    os.makedirs(tmp_path / "to" / "disk0.raw")
    done = item.restore(str(tmp_path / "to"), conflict=ConflictRule.OVERWRITE)
    assert [notice.code for notice in done.warnings] == ["target-conflict"]
    assert os.path.isdir(tmp_path / "to" / "disk0.raw")


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_a_restore_that_is_stopped_leaves_nothing(item, tmp_path, image_format):
    with pytest.raises(Stop):
        item.restore(str(tmp_path / "to"), control=Recorder(stop_after=3), format=image_format)
    assert os.listdir(tmp_path / "to") == []


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_a_restore_that_is_killed_leaves_nothing_that_looks_like_a_disk_and_can_be_repeated(
    item, disk, tmp_path, image_format
):
    target = str(tmp_path / "to")

    class Deadly(Uncontrolled):
        checks = 0

        def check(self):
            self.checks += 1
            if self.checks == 3:  # in the middle of the disk
                os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            item.restore(target, control=Deadly(), format=image_format)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert [name for name in os.listdir(target) if not name.startswith(".skyharbor-")] == []
    item.restore(target)
    assert same(disk, f"{target}/disk0.raw")


def test_a_disk_whose_data_is_damaged_is_said_and_leaves_nothing(item, tmp_path):
    reader = item.rig.reader()
    place = reader.locate(next(reader.entries()).chunks[:32])[0]
    data = bytearray(item.rig.store.get(place.pack))
    data[place.offset + 100] ^= 1
    item.rig.store.tamper(place.pack, bytes(data))
    done = item.restore(str(tmp_path / "to"))
    assert [notice.code for notice in done.warnings] == ["damaged"]
    assert os.listdir(tmp_path / "to") == ["vm.json"]


def test_an_unknown_format_is_refused_before_anything_is_made(item, tmp_path):
    with pytest.raises(SkyharborError) as raised:
        item.restore(str(tmp_path / "to"), format="vmdk")
    assert raised.value.code == "bad-request"
    assert not os.path.exists(tmp_path / "to")


def test_a_path_that_the_point_does_not_have_is_refused(item, tmp_path):
    with pytest.raises(SkyharborError) as raised:
        item.restore(str(tmp_path / "to"), "/disk7.raw")
    assert raised.value.code == "path-not-in-point"
