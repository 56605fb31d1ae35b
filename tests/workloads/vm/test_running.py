"""A guest that runs is backed up while it writes, and nothing of the backup stays in it."""

import json
import os

import msgspec
import pytest

from shared.contracts.sources import VmSource
from shared.errors import SkyharborError
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import Recorder
from tests.workloads.vm.flights import Field
from tests.workloads.vm.guest import Guest, make_image, need, short_folder
from tests.workloads.vm.rig import Watch, body_of, order, pull, same
from workers.engine.ports import Stop
from workers.sources.vm.description import VmReading
from workers.sources.vm.nbd import NbdClient
from workers.sources.vm.qmp import Qmp, QmpFailed
from workers.sources.vm.running import RunningSession
from workers.sources.vm.wire import Address

SIZE = 256 << 20


@pytest.fixture
def folder():
    need("qemu-system-x86_64", "qemu-img")
    with short_folder() as folder:
        yield folder


@pytest.fixture
def guest(folder):
    made = Guest(folder, [(make_image(f"{folder}/d0.qcow2", SIZE), "qcow2")])
    made.oracle(0, SIZE)
    yield made
    made.kill()


def opened(guest, point, reference=None, guard=None, **more):
    return RunningSession(order(spec := VmSource(qmp=guest.socket, **more), point, reference, guard=guard), spec)


def sealed(session):
    """End a session as after a point; return what the next one is told of it."""
    session.confirm()
    body = body_of(session)
    session.sealed()
    session.close()
    return body


def test_what_the_guest_writes_during_the_backup_is_not_in_the_point(guest):
    guest.write(0, 0, 1, 1 << 20)
    guest.write(0, 100 << 20, 2, 1 << 20)
    then = guest.oracles[0].copy(f"{guest.folder}/then")
    session = opened(guest, "p1")
    guest.write(0, 0, 9, 1 << 20)
    guest.write(0, 100 << 20, 9, 1 << 20)
    assert pull(session, {"disk0.raw": f"{guest.folder}/copy"}) == 2 << 20
    sealed(session)
    assert same(then, f"{guest.folder}/copy")


def test_an_increment_reads_what_was_changed_and_makes_the_same_disk(guest):
    guest.write(0, 0, 1, 8 << 20)
    copy = {"disk0.raw": f"{guest.folder}/copy"}
    session = opened(guest, "p1")
    pull(session, copy)
    guest.write(0, 4 << 20, 7, 4096)  # during the backup: the next one must bring it
    first = sealed(session)
    guest.write(0, 33 << 20, 3, 100)
    guest.io(0, "discard 1M 1M")
    guest.oracles[0].write(1 << 20, 0, 1 << 20)
    then = guest.oracles[0].copy(f"{guest.folder}/then")
    session = opened(guest, "p2", first)
    guest.write(0, 0, 8, 4096)
    assert pull(session, copy) == 2 * 256 * 1024  # the discarded part is hole by now
    sealed(session)
    assert same(then, copy["disk0.raw"])
    assert session.notices() == ()


def test_a_backup_that_failed_loses_no_change(guest):
    guest.write(0, 0, 1, 8 << 20)
    copy = {"disk0.raw": f"{guest.folder}/copy"}
    session = opened(guest, "p1")
    pull(session, copy)
    first = sealed(session)
    guest.write(0, 1 << 20, 2, 4096)
    session = opened(guest, "p2", first)
    guest.write(0, 2 << 20, 3, 4096)
    session.close()  # without a point
    assert guest.bitmaps() == {"skyharbor-item-p1"}
    guest.write(0, 3 << 20, 4, 4096)
    session = opened(guest, "p3", first)
    assert pull(session, copy) == 3 * 256 * 1024
    sealed(session)
    assert same(guest.oracles[0].path, copy["disk0.raw"])


def test_nothing_stays_in_the_guest_but_the_bitmap_of_the_last_point_and_that_of_the_last_full_one(guest):
    bodies = [sealed(opened(guest, "p1"))]
    assert guest.bitmaps() == {"skyharbor-item-p1"}
    bodies.append(sealed(opened(guest, "p2", bodies[0])))
    bodies.append(sealed(opened(guest, "p3", bodies[1])))
    assert guest.bitmaps() == {"skyharbor-item-p1", "skyharbor-item-p3"}
    assert guest.leftovers() == []
    sealed(opened(guest, "p4"))  # a full one
    assert guest.bitmaps() == {"skyharbor-item-p4"}


def test_a_differential_backup_reads_what_was_changed_since_the_full_one(guest):
    full, differential = f"{guest.folder}/full", {"disk0.raw": f"{guest.folder}/full"}
    guest.write(0, 0, 1, 1 << 20)
    session = opened(guest, "p1")
    pull(session, differential)
    first = sealed(session)
    guest.write(0, 10 << 20, 2, 4096)
    second = sealed(opened(guest, "p2", first))
    guest.write(0, 20 << 20, 2, 4096)
    session = opened(guest, "p3", first)
    assert pull(session, differential) == 2 * 256 * 1024
    third = sealed(session)
    assert same(guest.oracles[0].path, full)
    assert (second.state, third.state) != (first.state, first.state)
    assert guest.bitmaps() == {"skyharbor-item-p1", "skyharbor-item-p3"}


def test_a_bitmap_that_is_missing_makes_a_full_of_that_disk_and_is_said(guest):
    guest.write(0, 0, 1, 1 << 20)
    first = sealed(opened(guest, "p1"))
    with guest.qmp() as qmp:
        qmp.execute("block-dirty-bitmap-remove", {"node": "n0", "name": "skyharbor-item-p1"})
    session = opened(guest, "p2", first)
    assert pull(session, {"disk0.raw": f"{guest.folder}/copy"}) == 1 << 20
    assert [(said.path, said.code) for said in session.notices()] == [("/disk0.raw", "read-whole")]
    sealed(session)
    assert same(guest.oracles[0].path, f"{guest.folder}/copy")


def test_a_disk_that_has_grown_is_read_as_a_whole_and_that_is_said(guest):
    guest.write(0, 0, 1, 1 << 20)
    copy = {"disk0.raw": f"{guest.folder}/copy"}
    session = opened(guest, "p1")
    pull(session, copy)
    first = sealed(session)
    with guest.qmp() as qmp:
        qmp.execute("block_resize", {"node-name": "n0", "size": 2 * SIZE})
    os.truncate(guest.oracles[0].path, 2 * SIZE)
    guest.write(0, SIZE + (1 << 20), 2, 1 << 20)
    session = opened(guest, "p2", first)
    assert [said.code for said in session.notices()] == ["read-whole"]
    assert pull(session, copy) == 2 << 20
    sealed(session)
    assert same(guest.oracles[0].path, copy["disk0.raw"])


def test_bitmaps_outlive_a_guest_that_stops_and_are_not_trusted_after_one_that_was_killed(guest):
    guest.write(0, 0, 1, 1 << 20)
    copy = {"disk0.raw": f"{guest.folder}/copy"}
    session = opened(guest, "p1")
    pull(session, copy)
    first = sealed(session)
    guest.stop()
    images = [(f"{guest.folder}/d0.qcow2", "qcow2")]
    again = Guest(guest.folder, images)
    try:
        again.oracles = guest.oracles
        again.write(0, 5 << 20, 5, 4096)
        session = opened(again, "p2", first)
        assert pull(session, copy) == 256 * 1024
        second = sealed(session)
        assert same(again.oracles[0].path, copy["disk0.raw"])
        again.stop()
        again = Guest(guest.folder, images)
        again.oracles = guest.oracles
        again.write(0, 6 << 20, 6, 4096)
        again.io(0, "flush")
        again.kill()
        again = Guest(guest.folder, images)
        again.oracles = guest.oracles
        session = opened(again, "p3", second)
        assert "inconsistent" in session.notices()[0].message
        pull(session, copy)
        sealed(session)
        assert same(again.oracles[0].path, copy["disk0.raw"])
        assert again.bitmaps() == {"skyharbor-item-p3"} | ({"skyharbor-item-p1"} & again.bitmaps())
    finally:
        again.kill()


def test_a_full_scratch_disk_breaks_the_backup_and_never_the_guests_writes(guest, small_disk):
    for at in range(0, 64, 4):
        guest.write(0, at << 20, 1, 4 << 20)
    session = opened(guest, "p1", scratch=small_disk)
    for at in range(0, 64, 4):
        guest.write(0, at << 20, 2, 4 << 20)
    with pytest.raises(SkyharborError) as raised:
        pull(session, {"disk0.raw": f"{guest.folder}/copy"})
    assert raised.value.code == "source-failed"
    with pytest.raises(SkyharborError) as raised:
        session.confirm()
    assert "--scratch" in str(raised.value.fields["hint"])
    session.close()
    assert (guest.leftovers(), guest.bitmaps(), os.listdir(small_disk)) == ([], set(), [])
    assert guest.is_as_written(0)


def test_several_disks_are_of_one_moment_while_the_guest_runs(folder):
    images = [(make_image(f"{folder}/d{n}.qcow2", SIZE), "qcow2") for n in range(3)]
    watch = f"{folder}/watch"
    guest = Guest(folder, images, running=True, options=["-qmp", f"unix:{watch},server=on,wait=off"])
    watcher = Qmp.connect(watch)
    try:
        for number in range(3):
            guest.oracle(number, SIZE)
            guest.write(number, number << 20, 1 + number, 1 << 20)
        guard = Watch()
        session = opened(guest, "p1", guard=guard)
        assert [kind for kind, _, _ in guard.armed.values()] == ["vm-release"]
        # Halted for the moment in which filters are put in, and running again.
        watcher.execute("query-status")
        assert [event["event"] for event in watcher.events if event["event"] in ("STOP", "RESUME")] == [
            "STOP",
            "RESUME",
        ]
        assert watcher.execute("query-status")["running"]
        copies = {f"disk{n}.raw": f"{folder}/copy{n}" for n in range(3)}
        pull(session, copies)
        sealed(session)
        assert all(same(guest.oracles[n].path, f"{folder}/copy{n}") for n in range(3))
        assert guard.armed == {}
    finally:
        watcher.close()
        guest.kill()


def test_what_a_dead_worker_has_left_is_taken_out_by_the_guard(guest):
    guest.write(0, 0, 1, 1 << 20)
    first = sealed(opened(guest, "p1"))
    guard = Watch()
    session = opened(guest, "p2", first, guard=guard)
    guest.write(0, 0, 2, 1 << 20)
    assert guest.leftovers() != []
    guard.strike()
    assert (guest.leftovers(), guest.bitmaps()) == ([], {"skyharbor-item-p1"})
    guest.write(0, 5 << 20, 2, 1 << 20)
    session.close()  # that is too late, and harmless
    assert guest.bitmaps() == {"skyharbor-item-p1"}


def test_what_a_dead_worker_has_left_without_a_guard_is_taken_out_by_the_next_session(guest):
    guest.write(0, 0, 1, 1 << 20)
    copy = {"disk0.raw": f"{guest.folder}/copy"}
    session = opened(guest, "p1")
    pull(session, copy)
    first = sealed(session)
    opened(guest, "p2", first)  # nobody ever closes it
    guest.write(0, 3 << 20, 2, 4096)
    session = opened(guest, "p2", first)  # the next attempt for the same point
    assert pull(session, copy) == 256 * 1024
    sealed(session)
    assert same(guest.oracles[0].path, copy["disk0.raw"])
    assert guest.leftovers() == []


def test_a_point_that_was_sealed_right_before_the_worker_died_keeps_its_bitmap(guest):
    guard = Watch()
    session = opened(guest, "p1", guard=guard)
    session.confirm()
    guard.strike()  # between the seal and ``sealed``
    assert (guest.leftovers(), guest.bitmaps()) == ([], {"skyharbor-item-p1"})


def test_what_cannot_be_taken_out_at_the_end_is_the_guards_in_a_while(guest, monkeypatch):
    guard = Watch()
    session = opened(guest, "p1", guard=guard)
    with monkeypatch.context() as busy:
        busy.setattr(Qmp, "connect", lambda *_, **__: (_ for _ in ()).throw(QmpFailed("somebody else is connected")))
        session.close()
    assert [(kind, within) for kind, _, within in guard.armed.values()] == [("vm-release", 60.0)]
    guard.strike()
    assert (guest.leftovers(), guest.bitmaps()) == ([], set())


def test_a_disk_in_an_io_thread_of_an_old_qemu_is_refused_and_the_guest_lives(folder):
    guest = Guest(folder, [(make_image(f"{folder}/d0.qcow2", SIZE), "qcow2")], iothread=True)
    try:
        with guest.qmp() as qmp:
            if qmp.version >= (9, 0, 0):
                pytest.skip("this QEMU is new enough")
        with pytest.raises(SkyharborError, match="I/O thread"):
            opened(guest, "p1")
        assert guest.is_alive
        assert (guest.leftovers(), guest.bitmaps()) == ([], set())
    finally:
        guest.kill()


def test_a_raw_disk_has_its_bitmap_for_as_long_as_the_guest_runs(folder):
    guest = Guest(folder, [(make_image(f"{folder}/d0.raw", SIZE, "raw"), "raw")])
    try:
        guest.oracle(0, SIZE)
        guest.write(0, 0, 1, 1 << 20)
        copy = {"disk0.raw": f"{folder}/copy"}
        session = opened(guest, "p1")
        pull(session, copy)
        first = sealed(session)
        guest.write(0, 9 << 20, 1, 512)
        session = opened(guest, "p2", first)
        assert pull(session, copy) == 256 * 1024
        sealed(session)
        assert same(guest.oracles[0].path, copy["disk0.raw"])
    finally:
        guest.kill()


def test_the_papers_say_what_the_disks_were(guest):
    session = opened(guest, "p1")
    papers = json.loads(msgspec.msgpack.decode(session.reading, type=VmReading).files[0].content)
    session.close()
    assert papers["disks"] == [
        {
            "device": "/machine/peripheral/vd0/virtio-backend",
            "file": "disk0.raw",
            "format": "qcow2",
            "image": f"{guest.folder}/d0.qcow2",
            "size": SIZE,
        }
    ]


def test_a_reader_that_goes_away_leaves_the_guest_alone(guest):
    session = opened(guest, "p1")
    socket = f"{guest.folder}/{next(name for name in os.listdir(guest.folder) if name.startswith('.sky-'))}/nbd"
    for _ in range(20):
        NbdClient.connect(Address(unix=socket), "disk0").close()
    guest.write(0, 0, 1, 4096)
    session.close()
    assert guest.is_alive


@pytest.fixture
def small_disk(folder):
    """A file system of 8 MiB."""
    import subprocess

    path = f"{folder}/small"
    os.mkdir(path)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", path], capture_output=True).returncode:
        pytest.skip("only root can mount a small file system")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_of_a_huge_disk_only_what_was_changed_is_read(folder):
    guest = Guest(folder, [(make_image(f"{folder}/huge.qcow2", 64 << 30), "qcow2")])
    try:
        guest.oracle(0, 64 << 30)
        guest.write(0, 0, 1, 64 << 20)
        item = Field(VmSource(qmp=guest.socket))
        first = item.backup()
        for number in range(20):
            guest.write(0, (number * 3 << 30) + (1 << 20), 2 + number, 1 << 20)
        second = item.backup()
        assert first.stats.bytes_read - (64 << 20) < 1000  # the papers
        assert second.stats.bytes_read - (20 << 20) < 1000
        assert second.stats.bytes_scanned > 64 << 30
        item.restore(f"{folder}/back", "/disk0.raw")
        assert same(guest.oracles[0].path, f"{folder}/back/disk0.raw")
    finally:
        guest.kill()


def test_a_backup_that_is_cancelled_leaves_nothing(guest):
    guest.write(0, 0, 1, 64 << 20)
    item = Field(VmSource(qmp=guest.socket))
    item.backup()
    before = guest.bitmaps()
    guest.write(0, 0, 2, 64 << 20)
    with pytest.raises(Stop):
        item.backup(control=Recorder(stop_after=3))
    assert (guest.leftovers(), guest.bitmaps(), item.guard.armed) == ([], before, {})
    item.backup()
    item.restore(f"{guest.folder}/back")
    assert same(guest.oracles[0].path, f"{guest.folder}/back/disk0.raw")


def test_a_guest_that_ends_during_the_backup_gives_no_point(guest):
    guest.write(0, 0, 1, 8 << 20)
    item = Field(VmSource(qmp=guest.socket))

    class Killing(Uncontrolled):
        def commit(self):
            raise AssertionError("it must not come to that")

        def check(self):
            if any(name.startswith(".sky-") for name in os.listdir(guest.folder)):
                guest.kill()

    with pytest.raises(SkyharborError) as raised:
        item.backup(control=Killing())
    assert raised.value.code == "source-failed"
    assert item.rig.points() == []


@pytest.mark.parametrize(
    "devices",
    [
        ("virtio-blk-pci,drive=n0",),
        ("virtio-scsi-pci,id=scsi", "scsi-hd,bus=scsi.0,drive=n0,id=sd0"),
        ("virtio-scsi-pci,id=scsi", "scsi-hd,bus=scsi.0,drive=n0"),
        ("ide-hd,drive=n0",),
        ("nvme,serial=x,drive=n0,id=nv",),
        ("qemu-xhci", "usb-storage,drive=n0,id=stick"),
    ],
    ids=["anonymous", "scsi", "scsi anonymous", "ide", "nvme", "usb"],
)
def test_a_disk_is_held_still_whatever_device_it_is(folder, devices):
    guest = Guest(folder, [(make_image(f"{folder}/d0.qcow2", SIZE), "qcow2")], devices=devices)
    try:
        guest.oracle(0, SIZE)
        guest.write(0, 0, 1, 1 << 20)
        then = guest.oracles[0].copy(f"{folder}/then")
        copy = {"disk0.raw": f"{folder}/copy"}
        session = opened(guest, "p1")
        guest.write(0, 0, 2, 1 << 20)
        pull(session, copy)
        assert same(then, copy["disk0.raw"])
        first = sealed(session)
        session = opened(guest, "p2", first)
        assert pull(session, copy) == 1 << 20
        sealed(session)
        assert same(guest.oracles[0].path, copy["disk0.raw"])
        assert guest.leftovers() == []
        assert guest.is_as_written(0)
    finally:
        guest.kill()
