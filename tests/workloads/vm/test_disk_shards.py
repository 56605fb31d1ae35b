"""Disks of a machine are read by several worker processes, or left to the lead by those that do not have the same."""

import os
import random
import shutil
import subprocess

import pytest
from msgspec.structs import replace

from shared.contracts.sources import VmSource
from shared.contracts.work import Fence
from shared.decoders import msgpack_decoder
from shared.errors import SkyharborError
from shared.model.backup import BackupType
from shared.storage.local import LocalStore
from tests.support.squadron import Squadron
from tests.unit.engine.rig import Rig
from tests.workloads.vm.flights import Field
from tests.workloads.vm.guest import Guest, make_image, need, short_folder
from tests.workloads.vm.rig import Watch, entries_of, order, same
from workers.engine.backup import BackupOptions
from workers.engine.ports import Elsewhere, Stop, StopReason
from workers.engine.shard_messages import open_order
from workers.engine.sharding import Sharding
from workers.sources.opening import borrow, open_session, open_source
from workers.sources.vm.borrowing import borrowed
from workers.sources.vm.description import VmReading, encode

SIZE = 256 << 20
SMALL = BackupOptions(sharding=Sharding(entries=100))


@pytest.fixture
def folder():
    need("qemu-img", "qemu-nbd", "qemu-system-x86_64")
    with short_folder() as folder:
        yield folder


@pytest.fixture
def squadrons(folder):
    """Make formations over the vault of an item; none of their processes outlives the test."""
    made = []

    def make(**options):
        made.append(Squadron(f"{folder}/vault", **options))
        return made[-1]

    yield make
    for one in made:
        one.end()


def _item(folder, spec):
    return Field(spec, rig=Rig(LocalStore.create(f"{folder}/vault")))


def _filled(path, seed=3, size=SIZE):
    """A raw disk with 40 MiB of data here and there."""
    rng = random.Random(seed)
    with open(path, "wb") as disk:
        disk.truncate(size)
        for _ in range(40):
            os.pwrite(disk.fileno(), rng.randbytes(1 << 20), rng.randrange(size >> 20) << 20)
    return path


def _based(folder):
    """A raw disk, and a qcow2 one that stands on another one."""
    raw, base, top = f"{folder}/a.raw", f"{folder}/base.qcow2", f"{folder}/top.qcow2"
    _filled(raw)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", _filled(f"{folder}/b.raw", 4), base], check=True, timeout=60)
    backing = ["-b", base, "-F", "qcow2"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, top], check=True, timeout=60)
    subprocess.run(["qemu-io", "-c", "write -P 7 5M 3M", top], check=True, timeout=60, stdout=subprocess.DEVNULL)
    return raw, top


def _session(reading_of, *images):
    session = open_session(order(VmSource(disks=images), "p1"))
    try:
        return reading_of(session)
    finally:
        session.close()


def _told(session):
    return msgpack_decoder(VmReading).decode(session.reading)


def test_images_are_read_by_several_processes_and_the_point_is_that_of_one(folder, squadrons):
    spec = VmSource(disks=_based(folder))
    alone, item, squadron = Field(spec), _item(folder, spec), squadrons()
    one, done = alone.backup(), item.backup(options=SMALL, formation=squadron)
    assert (squadron.failed, squadron.declined) == ([], [])
    assert len(squadron.flown_by_helpers) > 3
    assert list(item.rig.reader().entries()) == list(alone.rig.reader().entries())
    assert (done.stats.bytes_read, done.stats.files) == (one.stats.bytes_read, one.stats.files)
    item.restore(f"{folder}/out")
    assert same(spec.disks[0], f"{folder}/out/disk0.raw")
    again = squadrons()
    assert item.backup(options=SMALL, formation=again).stats.bytes_read == 0
    assert again.flown_by_helpers == []
    assert item.guard.armed == {}


def test_a_machine_that_runs_is_read_by_several_processes_at_one_moment(folder, squadrons):
    guest = Guest(folder, [(make_image(f"{folder}/d{n}.qcow2", SIZE), "qcow2") for n in range(2)])
    try:
        for number in range(2):
            guest.oracle(number, SIZE)
            for at in range(0, 64, 2):
                guest.write(number, at << 20, at + number + 1, 1 << 20)
        item, first, second = _item(folder, VmSource(qmp=guest.socket)), squadrons(), squadrons()
        then = [guest.oracles[n].copy(f"{folder}/then{n}") for n in range(2)]
        offer = first.offer

        def offered(payloads):
            guest.write(0, 0, 99, 1 << 20)  # everything is of the moment before
            offer(payloads)

        first.offer = offered
        item.backup(options=SMALL, formation=first)
        item.restore(f"{folder}/one")
        assert all(same(then[n], f"{folder}/one/disk{n}.raw") for n in range(2))
        for at in range(0, 60, 2):
            guest.write(1, (100 + at) << 20, at + 100, 1 << 20)
        done = item.backup(options=SMALL, formation=second)
        assert done.stats.bytes_read - 31 * (1 << 20) < 2000
        assert done.point.type is BackupType.INCREMENTAL
        item.restore(f"{folder}/two")
        assert all(same(guest.oracles[n].path, f"{folder}/two/disk{n}.raw") for n in range(2))
        for squadron in (first, second):
            assert (squadron.failed, squadron.declined) == ([], [])
            assert len(squadron.flown_by_helpers) > 1
        assert guest.leftovers() == []
        assert guest.bitmaps() == {f"skyharbor-item-{point}" for point in item.rig.points()}
        assert item.guard.armed == {}
    finally:
        guest.kill()


def test_helpers_of_a_backup_that_was_stopped_cannot_read_on_and_the_machine_is_as_it_was(folder):
    guest = Guest(folder, [(make_image(f"{folder}/d0.qcow2", SIZE), "qcow2")])
    try:
        guest.oracle(0, SIZE)
        guest.write(0, 0, 1, 64 << 20)
        item = Field(VmSource(qmp=guest.socket))
        item.backup()
        guest.write(0, 100 << 20, 2, 64 << 20)
        readings = []

        class Stopped(Squadron):
            def offer(self, payloads):
                [payload, *_] = payloads
                fence = Fence(job_id="job", unit=1, epoch=1, claim_id="c")
                readings.append(open_order(payload, keys=item.rig.keys, fence=fence).reading)

            def ask(self, have):
                with borrow(readings[0], Watch()) as reading:
                    self.source = open_source(reading)
                    self.disk = self.source.open(entries_of(self.source)["disk0.raw"])
                    assert self.disk.read(4096, 100 << 20) == bytes([2]) * 4096
                raise Stop(StopReason.CANCELLED)

        helper = Stopped("")
        with pytest.raises(Stop):
            item.backup(options=SMALL, formation=helper)
        with pytest.raises(SkyharborError) as error:
            helper.disk.read(4096, 101 << 20)
        helper.disk.close()
        assert error.value.code == "source-failed"
        with pytest.raises(Elsewhere), borrow(readings[0], Watch()):
            pass
        assert guest.leftovers() == []
        assert guest.bitmaps() == {f"skyharbor-item-{item.rig.points()[0]}"}
        done = item.backup()
        assert done.stats.bytes_read - (64 << 20) < 2000
    finally:
        guest.kill()


def test_a_helper_that_has_another_file_at_the_path_leaves_it_to_the_lead(folder, squadrons):
    """The helper sees another file system there, as a worker on another machine would."""
    need("unshare", "mount")
    if os.geteuid() != 0:
        pytest.skip("another view of the files is for root to make")
    raw = _filled(f"{folder}/a.raw")
    other = _filled(f"{folder}/other.raw", seed=9)
    hidden = f'mount --bind {other} {raw} && exec "$0" "$@"'
    squadron = squadrons(helpers=1, before=["unshare", "--mount", "--propagation=private", "sh", "-c", hidden])
    item = _item(folder, VmSource(disks=(raw,)))
    done = item.backup(options=SMALL, formation=squadron)
    assert (squadron.flown_by_helpers, squadron.failed) == ([], [])
    assert squadron.declined == squadron.flown_by_lead
    assert len(squadron.declined) > 2
    assert done.stats.warnings == 0
    item.restore(f"{folder}/out")
    assert same(raw, f"{folder}/out/disk0.raw")


# ── what is the same ─────────────────────────────────────────────────────────────────────────────────


def _declined(told):
    guard = Watch()
    with pytest.raises(Elsewhere) as reason, borrowed(told, guard):
        pass
    assert guard.armed == {}
    return str(reason.value)


@pytest.mark.parametrize("how", ["replaced", "touched", "gone", "another device"])
def test_an_image_that_is_not_the_very_same_is_not_read(folder, how):
    raw = _filled(f"{folder}/a.raw")
    told = _session(_told, raw)
    if how == "replaced":
        subprocess.run(["cp", "-p", raw, f"{folder}/copy"], check=True, timeout=60)
        os.rename(f"{folder}/copy", raw)
    elif how == "touched":
        os.utime(raw, ns=(os.stat(raw).st_atime_ns, os.stat(raw).st_mtime_ns))  # what it looks like is as before
    elif how == "gone":
        os.unlink(raw)
    else:
        [disk] = told.disks
        look = replace(disk.image[0], device=disk.image[0].device + 1)
        told = replace(told, disks=(replace(disk, image=(look,)),))
    assert raw in _declined(told)


def test_a_file_that_takes_an_images_place_meanwhile_is_not_read(folder):
    raw = _filled(f"{folder}/a.raw")
    told = _session(_told, raw)
    with borrowed(told, Watch()) as own:
        os.rename(_filled(f"{folder}/other.raw", seed=9), raw)
        source = open_source(encode(own))
        with pytest.raises(SkyharborError) as error:
            source.open(entries_of(source)["disk0.raw"])
    assert (error.value.code, raw in error.value.detail) == ("source-failed", True)


def test_on_another_machine_an_image_is_the_same_by_all_but_the_number_of_its_device(folder):
    raw = _filled(f"{folder}/a.raw")
    told = _session(_told, raw)
    [disk] = told.disks
    look = replace(disk.image[0], device=disk.image[0].device + 1)
    afar = replace(told, boot="another machine", disks=(replace(disk, image=(look,)),))
    with borrowed(afar, Watch()) as own:
        source = open_source(encode(own))
        opened = source.open(entries_of(source)["disk0.raw"])
        with open(raw, "rb") as there:
            assert opened.read(SIZE, 0) == there.read()
        opened.close()


def test_an_image_with_a_chain_is_served_anew_where_the_leads_server_is_out_of_reach(folder):
    raw, top = _based(folder)
    told = _session(_told, raw, top)  # its server has ended
    assert [len(disk.image) for disk in told.disks] == [1, 2]
    guard = Watch()
    with borrowed(replace(told, boot="another machine"), guard) as own:
        assert len(guard.armed) == 1
        source = open_source(encode(own))
        opened = source.open(entries_of(source)["disk1.raw"])
        assert opened.read(1 << 20, 6 << 20) == bytes([7]) * (1 << 20)
        opened.close()
        del source
    assert guard.armed == {}
    assert own.disks[1].address != told.disks[1].address
    assert not os.path.exists(own.disks[1].address.unix)


@pytest.mark.parametrize("which", ["base.qcow2", "top.qcow2"])
def test_a_chain_of_which_one_file_is_another_is_not_read(folder, which):
    raw, top = _based(folder)
    told = _session(_told, raw, top)
    shutil.copy(f"{folder}/{which}", f"{folder}/copy")
    os.rename(f"{folder}/copy", f"{folder}/{which}")
    assert top in _declined(replace(told, boot="another machine"))


def test_a_machine_that_runs_is_out_of_reach_for_other_machines(folder):
    guest = Guest(folder, [(make_image(f"{folder}/d0.qcow2", SIZE), "qcow2")])
    try:
        session = open_session(order(VmSource(qmp=guest.socket), "p1"))
        try:
            told = _told(session)
            with borrowed(told, Watch()) as own:
                assert own.disks == told.disks
            for stranger in (replace(told, boot="another machine"), replace(told, boot="")):
                assert "disk0.raw" in _declined(stranger)
        finally:
            session.close()
        assert "disk0.raw" in _declined(told)
    finally:
        guest.kill()
