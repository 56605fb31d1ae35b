"""A libvirt domain is backed up with libvirt's own backup jobs and checkpoints, and left as it was."""

import json
import subprocess

import pytest

from shared.contracts.sources import VmSource
from shared.errors import SkyharborError
from shared.model.backup import BackupType
from shared.storage.local import LocalStore
from tests.support.squadron import Squadron
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import Recorder, Rig
from tests.workloads.vm.flights import Field
from tests.workloads.vm.guest import BLOCK, short_folder
from tests.workloads.vm.libvirtd import Domain
from tests.workloads.vm.rig import same
from workers.engine.backup import BackupOptions
from workers.engine.ports import Stop
from workers.engine.sharding import Sharding

SIZE = 256 << 20


@pytest.fixture
def folder():
    with short_folder() as folder:
        yield folder


@pytest.fixture
def domain(folder):
    made = Domain(folder, ["qcow2", "raw"], SIZE)
    made.start()
    yield made
    made.close()


@pytest.fixture
def item(domain):
    return Field(VmSource(libvirt=domain.uri, domain="lab"))


def _said(done):
    """Return the codes of what was said, but for what is said of every guest without an operating system."""
    return {notice.code for notice in done.warnings} - {"guest-not-frozen"}


def _is_as(domain, item, folder):
    item.restore(folder)
    return all(same(oracle.path, f"{folder}/disk{n}.raw") for n, oracle in enumerate(domain.oracles))


def test_increments_read_what_was_changed_and_every_point_is_the_disk_as_it_was(domain, item, folder):
    domain.write(0, 0, 1, 8 << 20)
    domain.write(1, 10 << 20, 2, 1 << 20)
    first = item.backup()
    assert _said(first) == set()
    assert _is_as(domain, item, f"{folder}/one")
    domain.write(0, 100 << 20, 3, 4096)
    second = item.backup()
    assert _said(second) == set()
    # A raw disk has no checkpoint: all of it is read, with the block that qemu-img writes when it makes one.
    assert second.stats.bytes_read - 5 * BLOCK - BLOCK < 8000
    assert _is_as(domain, item, f"{folder}/two")
    domain.write(0, 0, 4, 4096)
    third = item.backup(BackupType.DIFFERENTIAL)
    assert third.stats.bytes_read - 5 * BLOCK - 2 * BLOCK < 8000
    assert _is_as(domain, item, f"{folder}/three")
    points = item.rig.points()
    assert domain.checkpoints() == {f"skyharbor-item-{points[0]}", f"skyharbor-item-{points[2]}"}
    assert (domain.left_behind(), item.guard.armed) == ([], {})


def test_its_disks_are_read_by_several_processes_at_one_moment(domain, folder):
    rig = Rig(LocalStore.create(f"{folder}/vault"))
    item = Field(VmSource(libvirt=domain.uri, domain="lab"), rig=rig)
    options = BackupOptions(sharding=Sharding(entries=100))
    for number, blocks in enumerate((range(0, 64, 2), range(100, 132, 2))):
        for at in blocks:
            domain.write(number, at << 20, at + 1, 1 << 20)
    for point in ("one", "two"):
        squadron = Squadron(f"{folder}/vault")
        try:
            assert _said(item.backup(options=options, formation=squadron)) == set()
        finally:
            squadron.end()
        assert (squadron.failed, squadron.declined) == ([], [])
        assert len(squadron.flown_by_helpers) > 1
        assert _is_as(domain, item, f"{folder}/{point}")
        for at in range(200, 216):
            domain.write(0, at << 20, at + 1, 1 << 20)
    assert len(domain.checkpoints()) == 2
    assert (domain.left_behind(), item.guard.armed) == ([], {})


def test_what_is_written_during_the_backup_is_in_the_next_point_and_not_in_this_one(domain, item, folder):
    domain.write(0, 0, 1, 8 << 20)
    then = domain.oracles[0].copy(f"{folder}/then")

    class Writing(Uncontrolled):
        written = False

        def check(self):
            if domain.left_behind()[1:] and not self.written:
                self.written = True
                domain.write(0, 1 << 20, 9, 1 << 20)

    control = Writing()
    item.backup(control=control)
    assert control.written
    item.restore(f"{folder}/one", "/disk0.raw")
    assert same(then, f"{folder}/one/disk0.raw")
    item.backup()
    assert _is_as(domain, item, f"{folder}/two")


def test_the_definition_comes_along(domain, item, folder):
    item.backup()
    item.restore(f"{folder}/one")
    with open(f"{folder}/one/definition.xml") as said:
        assert "<name>lab</name>" in said.read()
    with open(f"{folder}/one/vm.json") as said:
        assert [disk["device"] for disk in json.load(said)["disks"]] == ["vda", "vdb"]


def test_a_backup_that_is_cancelled_leaves_nothing_and_loses_no_change(domain, item, folder):
    domain.write(0, 0, 1, 8 << 20)
    item.backup()
    before = domain.checkpoints()
    domain.write(0, 1 << 20, 2, 4096)
    with pytest.raises(Stop):
        item.backup(control=Recorder(stop_after=3))
    assert (domain.left_behind(), domain.checkpoints(), item.guard.armed) == ([], before, {})
    domain.write(0, 5 << 20, 2, 4096)
    assert _said(item.backup()) == set()
    assert _is_as(domain, item, f"{folder}/one")


def test_the_guard_ends_what_a_dead_worker_has_begun(domain, item):
    class Dying(Uncontrolled):
        def check(self):
            if domain.left_behind()[1:]:
                item.guard.strike()
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        item.backup(control=Dying())
    assert (domain.left_behind(), domain.checkpoints()) == ([], set())
    item.backup()


def test_a_guest_that_did_not_stop_cleanly_is_read_as_a_whole_and_that_is_said(domain, item, folder):
    domain.write(0, 0, 1, 8 << 20)
    item.backup()
    domain.virsh("shutdown", "lab", "--mode", "acpi")
    domain.virsh("destroy", "lab", "--graceful")
    domain.start()
    item.backup()
    domain.kill_guest()
    domain.start()
    domain.write(0, 1 << 20, 2, 4096)
    done = item.backup()
    assert _said(done) == {"read-whole"}
    assert domain.checkpoints() == {f"skyharbor-item-{item.rig.points()[-1]}"}
    assert item.guard.armed == {}
    assert _is_as(domain, item, f"{folder}/one")


def test_a_guest_whose_agent_does_not_answer_is_backed_up_and_that_is_said(domain, item):
    assert [notice.code for notice in item.backup().warnings] == ["guest-not-frozen"]
    assert item.guard.armed == {}


def test_a_backup_of_somebody_else_is_let_be(domain, item, folder):
    with open(f"{folder}/other.xml", "w") as made:
        made.write(f"<domainbackup mode='pull'><server transport='unix' socket='{folder}/other'/></domainbackup>")
    domain.virsh("backup-begin", "lab", f"{folder}/other.xml")
    with pytest.raises(SkyharborError, match="another backup"):
        item.backup()
    assert "other" in domain.virsh("backup-dumpxml", "lab")


def test_a_domain_that_is_off_is_read_by_its_images(domain, item, folder):
    domain.write(0, 0, 1, 8 << 20)
    item.backup()
    domain.virsh("destroy", "lab", "--graceful")
    assert item.backup().stats.files == 4
    assert _is_as(domain, item, f"{folder}/one")


def test_a_domain_that_does_not_exist_is_said(domain):
    with pytest.raises(SkyharborError, match="nobody") as raised:
        Field(VmSource(libvirt=domain.uri, domain="nobody")).backup()
    assert raised.value.code == "source-failed"


def test_what_libvirt_runs_goes_on(domain, item):
    item.backup()
    listed = subprocess.run(["virsh", "-q", "-c", domain.uri, "domstate", "lab"], capture_output=True, text=True)
    assert listed.stdout.strip() == "running"
