"""Images of a machine that is off come back as the same disk, whatever their format."""

import os
import random
import subprocess

import pytest

from shared.contracts.sources import VmSource
from shared.errors import SkyharborError
from shared.model.backup import BackupType
from tests.workloads.vm.flights import Field
from tests.workloads.vm.guest import Guest, make_image, need, short_folder
from tests.workloads.vm.rig import Watch, order, same
from workers.sources.vm.images import ImagesSession

SIZE = 40 << 20
FORMATS = {
    "raw": ("raw", ""),
    "qcow2": ("qcow2", ""),
    "vmdk": ("vmdk", ""),
    "streamed.vmdk": ("vmdk", "subformat=streamOptimized"),
    "flat.vmdk": ("vmdk", "subformat=monolithicFlat"),
    "vdi": ("vdi", ""),
    "vhd": ("vpc", ""),
    "fixed.vhd": ("vpc", "subformat=fixed,force_size=on"),
    "vhdx": ("vhdx", ""),
}


@pytest.fixture
def folder():
    need("qemu-img", "qemu-nbd", "qemu-io")
    with short_folder() as folder:
        yield folder


@pytest.fixture
def raw(folder):
    """A disk with data here and there, some of it zeros."""
    path, rng = f"{folder}/plain.raw", random.Random(3)
    with open(path, "wb") as disk:
        disk.truncate(SIZE)
        for offset in range(0, SIZE, 3 << 20):
            os.pwrite(disk.fileno(), rng.randbytes(70_000), offset + rng.randrange(100) * 512)
        os.pwrite(disk.fileno(), bytes(1 << 20), 10 << 20)
    return path


def _converted(raw, kind):
    image_format, options = FORMATS[kind]
    image = f"{os.path.dirname(raw)}/image.{kind}"
    command = [
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        image_format,
        *(["-o", options] if options else []),
        raw,
        image,
    ]
    subprocess.run(command, check=True, timeout=60)
    return image


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_comes_back_as_the_same_disk(raw, folder, kind):
    item = Field(VmSource(disks=(_converted(raw, kind),)))
    done = item.backup()
    assert (done.stats.warnings, done.stats.files) == (0, 2)
    item.restore(f"{folder}/plain")
    item.restore(f"{folder}/image", format="qcow2")
    with open(f"{folder}/plain/disk0.raw", "r+b") as disk:
        assert os.fstat(disk.fileno()).st_size >= SIZE
        disk.truncate(SIZE)  # some formats know only of whole cylinders
    assert same(raw, f"{folder}/plain/disk0.raw")
    compare = ["qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, f"{folder}/image/disk0.qcow2"]
    assert subprocess.run(compare, capture_output=True, timeout=60).returncode == 0
    assert os.stat(f"{folder}/plain/disk0.raw").st_blocks * 512 < SIZE // 4


def test_an_image_that_was_not_touched_is_not_read_again(raw, folder):
    item = Field(VmSource(disks=(_converted(raw, "qcow2"), raw)))
    first = item.backup()
    assert first.stats.bytes_read > 2 << 20
    again = item.backup()
    assert (again.stats.bytes_read, again.stats.files_unchanged) == (0, 3)
    subprocess.run(["qemu-io", "-f", "raw", "-c", "write -P 9 1M 4k", raw], check=True, capture_output=True, timeout=60)
    third = item.backup()
    assert third.stats.bytes_read > 1 << 20
    assert third.stats.bytes_transferred < 1 << 20
    item.restore(f"{folder}/back")
    assert same(raw, f"{folder}/back/disk1.raw")


def test_an_image_on_a_backing_image_is_read_as_the_guest_would_see_it(raw, folder):
    base = _converted(raw, "qcow2")
    top = f"{folder}/top.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", top], check=True, timeout=60)
    subprocess.run(["qemu-io", "-c", "write -P 9 5M 64k", top], check=True, capture_output=True, timeout=60)
    with open(raw, "r+b") as disk:
        os.pwrite(disk.fileno(), b"\x09" * 65536, 5 << 20)
    item = Field(VmSource(disks=(top,)))
    item.backup()
    item.restore(f"{folder}/back")
    assert same(raw, f"{folder}/back/disk0.raw")
    os.utime(base)  # whoever touches what it stands on touches the disk
    assert item.backup().stats.bytes_read > 0


def test_a_raw_image_with_the_header_of_another_format_is_raw(folder):
    secret = f"{folder}/secret"
    with open(secret, "wb") as made:
        made.write(b"root:secret" * 1000)
    disk = f"{folder}/guest.raw"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", disk], check=True, timeout=60)
    item = Field(VmSource(disks=(disk,)))
    item.backup()
    item.restore(f"{folder}/back")
    assert same(disk, f"{folder}/back/disk0.raw")


def test_an_image_of_a_guest_that_runs_is_refused(folder):
    need("qemu-system-x86_64")
    for image_format in ("qcow2", "raw"):
        image = make_image(f"{folder}/disk.{image_format}", SIZE, image_format)
        guest = Guest(folder, [(image, image_format)])
        try:
            with pytest.raises(SkyharborError, match="in use"):
                Field(VmSource(disks=(image,))).backup()
        finally:
            guest.kill()


def test_an_image_that_is_written_to_while_it_is_read_has_no_point(raw, folder):
    session = ImagesSession(order(VmSource(disks=(raw,)), "p1"), [raw])
    session.confirm()
    with open(raw, "r+b") as disk:
        os.pwrite(disk.fileno(), b"x", 0)
    with pytest.raises(SkyharborError, match="changed while"):
        session.confirm()
    session.close()


def test_an_image_that_is_missing_or_none_is_said(folder):
    with pytest.raises(SkyharborError) as raised:
        Field(VmSource(disks=(f"{folder}/nothing.qcow2",))).backup()
    assert raised.value.code == "source-missing"
    with pytest.raises(SkyharborError, match="is no file and no disk") as raised:
        Field(VmSource(disks=(str(folder),))).backup()
    assert raised.value.code == "source-missing"
    with open(f"{folder}/broken.qcow2", "wb") as made:
        made.write(b"QFI\xfb" + b"\xff" * 600)
    with pytest.raises(SkyharborError) as raised:
        Field(VmSource(disks=(f"{folder}/broken.qcow2",))).backup()
    assert raised.value.code == "source-failed"


def test_the_folder_of_a_dead_worker_is_removed_by_the_guard(raw):
    guard = Watch()
    session = ImagesSession(order(VmSource(disks=(raw,)), "p1", guard=guard), [raw])
    assert os.path.isdir(session._folder)
    guard.strike()
    assert not os.path.exists(session._folder)
    session.close()


def test_servers_of_images_end_with_the_session(raw):
    image = _converted(raw, "qcow2")
    session = ImagesSession(order(VmSource(disks=(image, image)), "p1"), [image, image])
    servers = [server._server for server in session._servers]
    assert [server.poll() for server in servers] == [None, None]
    session.close()
    assert all(server.poll() is not None for server in servers)


def test_a_full_reads_everything_and_stores_nothing_again(raw):
    item = Field(VmSource(disks=(_converted(raw, "qcow2"),)))
    first = item.backup()
    full = item.backup(BackupType.FULL)
    assert full.stats.bytes_read == first.stats.bytes_read
    assert full.stats.chunks_new <= 2
