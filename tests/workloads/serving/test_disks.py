"""QEMU and libnbd read a point as a disk, and it is the disk that was backed up."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.unit.serving.points import File, random_file
from tests.workloads.serving.certificates import authority
from tests.workloads.serving.glass import GlassOnDisk, need, run
from tests.workloads.serving.storage_daemon import storage_daemon

SIZE = 24 << 20
DISK = random_file(3, size=SIZE, holes=9, smallest=200_000, largest=1_500_000)
BLOCKS = File(DISK.content, cuts=(1 << 20,))
"""The same bytes without holes, in blocks of one size."""


@pytest.fixture
def original(tmp_path: Path) -> str:
    """The disk as a file."""
    path = tmp_path / "original.raw"
    path.write_bytes(DISK.content)
    return str(path)


@pytest.fixture
def disks(glass: GlassOnDisk) -> GlassOnDisk:
    """A point of two disks."""
    glass.bench.seal([], {b"disk0.raw": DISK, b"disk1.raw": BLOCKS})
    return glass


def test_nbdinfo_sees_two_readonly_disks_and_their_holes(disks: GlassOnDisk) -> None:
    need("nbdinfo")
    with disks.serve() as serving:
        socket = f"nbd+unix:///?socket={disks.folder}/nbd"
        listed = json.loads(run("nbdinfo", "--json", "--list", socket).stdout)["exports"]
        assert [(one["export-name"], one["export-size"]) for one in listed] == [("disk0", SIZE), ("disk1", SIZE)]
        first = listed[0]
        assert (first["is_read_only"], first["can_multi_conn"], first["can_df"]) == (True, True, True)
        assert first["contexts"] == ["base:allocation"]
        extents = json.loads(run("nbdinfo", "--json", "--map", serving.uri).stdout)
        holes = [(one["offset"], one["length"]) for one in extents if one["type"] == 3]
        whole = [(-(-begin // 4096) * 4096, (begin + length) // 4096 * 4096) for begin, length in DISK.holes]
        assert holes == [(begin, end - begin) for begin, end in whole if begin < end]


@pytest.mark.parametrize("number", [0, 1])
def test_qemu_compares_and_copies_a_disk_that_is_the_original(disks: GlassOnDisk, original: str, number: int) -> None:
    need("qemu-img")
    with disks.serve() as serving:
        uri = serving.document["disks"][number]["uri"]
        assert "identical" in run("qemu-img", "compare", "-f", "raw", "-F", "raw", uri, original).stdout
        copy = str(disks.folder / "copy.qcow2")
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", uri, copy)
        assert "identical" in run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", copy, original).stdout


def test_nbdcopy_reads_by_several_connections_at_once(disks: GlassOnDisk, original: str) -> None:
    need("nbdcopy")
    with disks.serve() as serving:
        copy = disks.folder / "copy.raw"
        run("nbdcopy", "--connections=4", "--threads=4", "--requests=16", serving.uri, str(copy))
        assert copy.read_bytes() == Path(original).read_bytes()


def test_nobody_can_write(disks: GlassOnDisk) -> None:
    need("qemu-io", "nbdcopy")
    with disks.serve() as serving:
        assert run("qemu-io", "-f", "raw", "-c", "write 0 4k", serving.uri, check=False).returncode != 0
        zeros = disks.folder / "zeros"
        zeros.write_bytes(bytes(SIZE))
        assert run("nbdcopy", str(zeros), serving.uri, check=False).returncode != 0
        assert run("qemu-io", "-r", "-f", "raw", "-c", "read 0 4k", serving.uri).returncode == 0


def test_any_file_of_any_point_can_be_a_disk(glass: GlassOnDisk, tmp_path: Path, original: str) -> None:
    need("qemu-img")
    tree = tmp_path / "images"
    tree.mkdir()
    image = str(tree / "vm one.img")
    run("qemu-img", "convert", "-f", "raw", "-O", "raw", original, image)
    os.link(image, tree / "a second name")
    glass.rig.backup(str(tree))
    with glass.serve("--path", image, "--path", f"{tree}/a second name") as serving:
        names = [disk["name"] for disk in serving.document["disks"]]
        assert names == [image[1:], f"{tree}/a second name"[1:]]
        for disk in serving.document["disks"]:
            assert "identical" in run("qemu-img", "compare", "-f", "raw", "-F", "raw", disk["uri"], original).stdout
    assert glass.refused("serve", "--nbd", f"unix:{tmp_path}/s")["code"] == "bad-request"  # no disks at its top
    assert glass.refused("serve", "--nbd", f"unix:{tmp_path}/s", "--path", "/no")["code"] == "path-not-in-point"
    assert glass.refused("serve", "--nbd", f"unix:{tmp_path}/s", "--path", str(tree))["code"] == "bad-request"


def test_a_port_of_this_machine_serves_and_one_of_others_needs_certificates(disks: GlassOnDisk) -> None:
    need("nbdinfo")
    with disks.running("serve", "--nbd", "127.0.0.1:0") as serving:
        assert serving.uri.startswith("nbd://127.0.0.1:")
        assert run("nbdinfo", "--size", serving.uri).stdout.strip() == str(SIZE)
    assert disks.refused("serve", "--nbd", "0.0.0.0:0")["code"] == "bad-request"


def test_with_certificates_only_their_holders_read(disks: GlassOnDisk, original: str, tmp_path: Path) -> None:
    need("nbdinfo", "qemu-img")
    ours, theirs = authority(tmp_path / "ours"), authority(tmp_path / "theirs")
    tls = ["--tls-cert", ours.server_cert, "--tls-key", ours.server_key, "--tls-ca", ours.ca]
    with disks.running("serve", "--nbd", "127.0.0.1:0", *tls) as serving:
        uri = serving.uri
        assert uri.startswith("nbds://")
        assert run("nbdinfo", "--size", f"{uri}?tls-certificates={ours.folder}").stdout.strip() == str(SIZE)
        nobody, foreign = tmp_path / "nobody", tmp_path / "foreign"
        for folder in (nobody, foreign):
            folder.mkdir()
            shutil.copy(ours.ca, folder)
        for name in ("client-cert.pem", "client-key.pem"):
            shutil.copy(f"{theirs.folder}/{name}", foreign)
        for wrong in (
            *(f"{uri}?tls-certificates={folder}" for folder in (nobody, foreign)),
            uri.replace("nbds:", "nbd:"),
        ):
            assert run("nbdinfo", "--size", wrong, check=False).returncode != 0
        port = uri.split(":")[2].split("/")[0]
        run(
            "qemu-img", "convert", "-O", "raw", "--image-opts",
            "--object", f"tls-creds-x509,id=t,dir={ours.folder},endpoint=client",
            f"driver=nbd,host=127.0.0.1,port={port},export=disk0,tls-creds=t", f"{tmp_path}/copy.raw",
        )  # fmt: skip
        assert (tmp_path / "copy.raw").read_bytes() == Path(original).read_bytes()


def test_a_signal_ends_it_in_good_order(disks: GlassOnDisk) -> None:
    with disks.serve() as serving:
        assert os.path.exists(f"{disks.folder}/nbd")
        assert serving.end(signal.SIGINT) == 0
        assert (serving.ended, serving.err) == ({"ended": "stopped"}, "")
        assert not os.path.exists(f"{disks.folder}/nbd")


def test_a_lease_ends_it_with_a_client_on_the_line(disks: GlassOnDisk) -> None:
    need("nbdcopy")
    with disks.serve("--for", "1s") as serving:
        slow = subprocess.Popen(["nbdcopy", "--requests=1", serving.uri, "-"], stdout=subprocess.PIPE)
        assert serving.end(None) == 0
        assert serving.ended == {"ended": "lease"}
        assert serving.err == "the lease of 1s has ended: the disks are not served any more\n"
        assert slow.stdout is not None
        slow.stdout.read()
        slow.wait(timeout=60)
        assert not os.path.exists(f"{disks.folder}/nbd")


def test_a_point_that_is_collected_beneath_its_readers_gives_errors_and_no_wrong_bytes(
    disks: GlassOnDisk, tmp_path: Path
) -> None:
    need("nbdcopy", "nbdinfo")
    with disks.serve() as serving:
        disks.spoil()
        copy = tmp_path / "copy.raw"
        assert run("nbdcopy", serving.uri, str(copy), check=False).returncode != 0
        assert run("nbdinfo", "--size", serving.uri).stdout.strip() == str(SIZE)
        assert serving.end() == 0
        assert "/disk0.raw: bytes " in serving.err
    if copy.exists():
        found = copy.read_bytes()
        assert all(byte in (0, DISK.content[at]) for at, byte in enumerate(found) if byte)


# ── instant recovery ─────────────────────────────────────────────────────────────────────────────────


def test_a_disk_runs_from_the_point_while_it_becomes_local_and_goes_on_without_it(
    disks: GlassOnDisk, tmp_path: Path
) -> None:
    need("qemu-img", "qemu-io", "qemu-storage-daemon")
    overlay = f"{tmp_path}/live.qcow2"
    with disks.serve() as serving:
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", serving.uri, overlay)
        with storage_daemon(tmp_path, overlay) as daemon:
            first, second = b"written before", b"written while it streams"
            daemon.write(1000, first)
            daemon.start_streaming()
            daemon.write(SIZE - 100, second)
            daemon.wait_for_the_stream()
            assert serving.end() == 0
            wanted = bytearray(DISK.content)
            wanted[1000 : 1000 + len(first)] = first
            wanted[SIZE - 100 : SIZE - 100 + len(second)] = second
            assert daemon.read(0, SIZE) == wanted
            daemon.write(0, b"and on")
            wanted[:6] = b"and on"
            assert daemon.read(0, SIZE) == wanted
    info = json.loads(run("qemu-img", "info", "--output=json", overlay).stdout)
    assert "backing-filename" not in info
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", overlay, f"{tmp_path}/end.raw")
    assert Path(f"{tmp_path}/end.raw").read_bytes() == wanted


def test_a_guest_waits_for_a_point_that_is_served_again_when_it_was_told_to(disks: GlassOnDisk, tmp_path: Path) -> None:
    need("qemu-img", "qemu-storage-daemon")
    overlay = f"{tmp_path}/live.qcow2"
    server = {"type": "unix", "path": f"{disks.folder}/nbd"}
    nbd = {"driver": "nbd", "server": server, "export": "disk0", "reconnect-delay": 3600}
    patient = json.dumps({"driver": "raw", "file": nbd})
    with disks.serve() as serving:
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", f"json:{patient}", overlay)
        with storage_daemon(tmp_path, overlay) as daemon:
            daemon.write(0, b"kept")
            assert serving.end() == 0
            daemon.ask_for(1 << 20, 4096)  # nobody is there to answer it
            with disks.serve():
                assert daemon.answer(1 << 20, 4096) == DISK.content[1 << 20 : (1 << 20) + 4096]
                daemon.start_streaming()
                daemon.wait_for_the_stream()
            assert daemon.read(0, SIZE) == b"kept" + DISK.content[4:]
