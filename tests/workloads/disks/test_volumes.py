"""Partitions and logical volumes, made by the real tools, are found where they are."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.errors import SkyharborError
from tests.workloads.disks.conftest import blank, program, run
from tests.workloads.disks.reading import read_states, reader_of
from tests.workloads.disks.trees import plain_tree
from workers.disks.browser import Browser

MIB = 1024 * 1024
EXTENT = 4 * MIB


def small_ext(path: Path, word: str, size: int = 4 * MIB) -> Path:
    """A file system with one file that has one word."""
    tree = path.with_suffix(".tree")
    tree.mkdir()
    (tree / "word").write_text(word)
    blank(path, size)
    run("mkfs.ext4", "-q", "-F", "-d", tree, path)
    return path


def put(disk: Path, offset: int, image: Path) -> None:
    with disk.open("r+b") as file:
        file.seek(offset)
        file.write(image.read_bytes())


def words(*disks: Path) -> dict[str, str]:
    """The word of every area, or what it holds and why it has none."""
    found = {}
    with Browser(reader_of(*disks)) as browser:
        for area in browser.areas:
            name = area.path.decode()
            if area.info.trouble:
                found[name] = area.info.holds
            else:
                node = browser.find(area.path + b"/word")[-1]
                found[name] = b"".join(part.data or b"" for part in browser.content(node)).decode()
    return found


@pytest.fixture
def gpt(tmp_path: Path) -> Path:
    disk = blank(tmp_path / "disk", 40 * MIB)
    run(
        "sfdisk",
        "-q",
        disk,
        data="label: gpt\nstart=2048,size=8192\nstart=10240,size=8192\nstart=20480,size=8192,type=S\n",
    )
    put(disk, 1 * MIB, small_ext(tmp_path / "one", "one"))
    put(disk, 5 * MIB, small_ext(tmp_path / "two", "two"))
    return disk


WANTED = {"disk0/p1": "one", "disk0/p2": "two", "disk0/p3": "empty"}


def test_partitions_of_gpt(gpt: Path) -> None:
    assert words(gpt) == WANTED


def test_the_copy_of_a_gpt_serves_where_the_first_is_damaged(gpt: Path) -> None:
    found = []
    for damaged in (512, 512 + 20, 1024 + 32):  # its signature, its checksum's range, its rows
        with gpt.open("r+b") as file:
            file.seek(damaged)
            byte = file.read(1)
            file.seek(damaged)
            file.write(bytes([byte[0] ^ 0xFF]))
        found.append(words(gpt))
    assert found == [WANTED] * 3


def test_a_header_with_a_wrong_checksum_does_not_count(gpt: Path) -> None:
    """One that says that there are no rows, with the right checksum of none."""
    with gpt.open("r+b") as file:
        file.seek(512 + 80)
        file.write(bytes(4))
        file.seek(512 + 88)
        file.write(bytes(4))
    assert words(gpt) == WANTED


def test_two_damaged_tables_are_said_to_be_damaged(gpt: Path) -> None:
    with gpt.open("r+b") as file:
        for at in (600, 40 * MIB - 500):
            file.seek(at - 60)
            file.write(b"\xff\xff")
    with Browser(reader_of(gpt)) as browser:
        told = [(area.path, area.info.holds, "damaged" in area.info.trouble) for area in browser.areas]
    assert told == [(b"disk0/fs", "damaged", True)]


def test_primary_and_logical_partitions(tmp_path: Path) -> None:
    disk = blank(tmp_path / "disk", 60 * MIB)
    script = (
        "label: dos\nstart=2048,size=8192,type=83,bootable\nstart=12288,size=90000,type=5\n"
        "start=14336,size=8192,type=83\nstart=24576,size=8192,type=83\nstart=34816,size=8192,type=82\n"
    )
    run("sfdisk", "-q", disk, data=script)
    for number, start in enumerate((2048, 14336, 24576)):
        put(disk, start * 512, small_ext(tmp_path / f"{number}", f"word {number}"))
    assert words(disk) == {"disk0/p1": "word 0", "disk0/p5": "word 1", "disk0/p6": "word 2", "disk0/p7": "empty"}


def test_a_disk_without_partitions(tmp_path: Path) -> None:
    assert words(small_ext(tmp_path / "disk", "alone")) == {"disk0/fs": "alone"}


def lvm(tool: str, devices: list[str], *arguments: str | Path) -> str:
    filters = ",".join(f'"a|^{device}$|"' for device in devices)
    config = (
        f'devices{{use_devicesfile=0 filter=[{filters},"r|.*|"]}} '
        "backup{backup=0 archive=0} activation{udev_sync=0 udev_rules=0 monitoring=0}"
    )
    return run(tool, "--config", config, *arguments)


@contextmanager
def looped(*parts: tuple[Path, int, int]) -> Iterator[list[str]]:
    """Loop devices over parts of images; skipped without root."""
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        pytest.skip("the tools of LVM need root and loop devices")
    devices: list[str] = []
    try:
        for image, offset, size in parts:
            told = run("losetup", "-f", "--show", "-o", str(offset), "--sizelimit", str(size), image)
            devices.append(told.strip())
        yield devices
    finally:
        for device in devices:
            subprocess.run([program("losetup"), "-d", device], check=True)


SEGMENT = """segment{number} {{
 start_extent = {start}
 extent_count = {count}
 type = "{kind}"
 stripe_count = {legs_count}
 {stripe}
 stripes = [ {legs} ]
}}"""


def segment(number: int, start: int, count: int, *legs: tuple[str, int], stripe: int = 0) -> str:
    return SEGMENT.format(
        number=number, start=start, count=count, kind="striped", legs_count=len(legs),
        stripe=f"stripe_size = {stripe // 512}" if stripe else "", legs=", ".join(f'"{pv}", {at}' for pv, at in legs),
    )  # fmt: skip


def logical(name: str, uuid: str, *segments: str) -> str:
    return (
        f'{name} {{ id = "{uuid}" status = ["READ", "WRITE", "VISIBLE"] flags = [] '
        f"segment_count = {len(segments)}\n" + "\n".join(segments) + "\n}\n"
    )


def uuid(letter: str) -> str:
    return "-".join([letter * 6, *[letter * 4] * 5, letter * 6])


def describe(devices: list[str], folder: Path, volumes: str) -> None:
    """Write logical volumes into a group the way of ``vgcfgrestore``: ``lvcreate`` itself needs a device mapper."""
    text_file = folder / "vg.txt"
    lvm("vgcfgbackup", devices, "-f", text_file, "my-vg")
    text = text_file.read_text()
    end = text.rstrip().rindex("}")
    text_file.write_text(text[:end] + "logical_volumes {\n" + volumes + "}\n}\n")
    lvm("vgcfgrestore", devices, "-f", text_file, "my-vg")


def test_logical_volumes_over_several_disks(tmp_path: Path) -> None:
    first, second = blank(tmp_path / "disk0", 101 * MIB), blank(tmp_path / "disk1", 100 * MIB)
    run("sfdisk", "-q", first, data="label: dos\nstart=2048,type=5\nstart=4096,type=8e\n")
    begin = 4096 * 512
    with looped((first, begin, 98 * MIB), (second, 0, 100 * MIB)) as devices:
        lvm("pvcreate", devices, "-y", "--metadatasize", "20k", "--dataalignment", "256k", *devices)
        lvm("vgcreate", devices, "my-vg", *devices)
        for number in range(16):  # the ring of descriptions goes round
            lvm("vgchange", devices, "--addtag", f"tag-{number}-{'x' * 60}", "my-vg")
        describe(
            devices,
            tmp_path,
            logical(
                "root",
                uuid("r"),
                segment(1, 0, 3, ("pv0", 2)),
                segment(2, 3, 2, ("pv1", 7)),
                segment(3, 5, 1, ("pv0", 0)),
            )
            + logical("two-legs", uuid("s"), segment(1, 0, 4, ("pv0", 8), ("pv1", 1), stripe=65536)),
        )
    data0, data1 = begin + 256 * 1024, 256 * 1024
    tree = tmp_path / "tree"
    tree.mkdir()
    plain_tree(tree)
    image = blank(tmp_path / "root", 6 * EXTENT)
    run("mkfs.ext4", "-q", "-F", "-d", tree, image)
    data = image.read_bytes()
    homes = [(first, data0 + 2 * EXTENT), (first, data0 + 3 * EXTENT), (first, data0 + 4 * EXTENT),
             (second, data1 + 7 * EXTENT), (second, data1 + 8 * EXTENT), (first, data0)]  # fmt: skip
    for number, (disk, at) in enumerate(homes):
        with disk.open("r+b") as file:
            file.seek(at)
            file.write(data[number * EXTENT : (number + 1) * EXTENT])
    striped = small_ext(tmp_path / "striped", "striped", 4 * EXTENT).read_bytes()
    with first.open("r+b") as odd, second.open("r+b") as even:
        for number in range(len(striped) // 65536):
            file, base = ((odd, data0 + 8 * EXTENT), (even, data1 + 1 * EXTENT))[number % 2]
            file.seek(base + number // 2 * 65536)
            file.write(striped[number * 65536 : (number + 1) * 65536])

    with Browser(reader_of(first, second)) as browser:
        areas = {area.path.decode(): area.info.holds for area in browser.areas}
        got = {path: state["content"] for path, state in read_states(browser, b"disk0/my--vg-root").items()}
        word = browser.find(b"disk0/my--vg-two--legs/word")[-1]
        said = [part.data for part in browser.content(word)]
    assert areas == {
        "disk0/p5": "LVM2",
        "disk0/my--vg-root": "ext",
        "disk0/my--vg-two--legs": "ext",
        "disk1/fs": "LVM2",
    }
    wanted = {os.fsencode(path.relative_to(tree)): path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    assert {path: got[path] for path in wanted} == wanted
    assert said == [b"striped"]
    # Without the second disk the volumes say what is missing.
    with Browser(reader_of(first)) as browser:
        troubles = {area.info.name: area.info.trouble for area in browser.areas if area.info.name != "p5"}
    assert set(troubles) == {"my--vg-root", "my--vg-two--legs"}
    assert all("a part is on a disk that the point does not have" in text for text in troubles.values())


MAKERS = {
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
    "swap": ("mkswap",),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_what_cannot_be_browsed_is_named(tmp_path: Path, kind: str) -> None:
    disk = blank(tmp_path / "disk", 200 * MIB)
    run(*MAKERS[kind], disk)
    reader = reader_of(disk)
    with Browser(reader) as browser:
        info = browser.areas[0].info
        with pytest.raises(SkyharborError) as caught:
            browser.find(b"disk0/fs/etc")
    assert (info.holds, caught.value.code, caught.value.detail) == (kind, "disk-unreadable", info.trouble)


def test_encrypted_volumes_are_named(tmp_path: Path) -> None:
    disk, key = blank(tmp_path / "disk", 40 * MIB), tmp_path / "key"
    key.write_text("secret")
    run(
        "cryptsetup",
        "-q",
        "luksFormat",
        "--type",
        "luks2",
        "--pbkdf",
        "pbkdf2",
        "--pbkdf-force-iterations",
        "1000",
        disk,
        key,
    )
    with Browser(reader_of(disk)) as browser:
        info = browser.areas[0].info
    assert (info.holds, info.trouble) == (
        "LUKS",
        "LUKS is encrypted, and its key is not in the point: restore the whole disk",
    )


def test_members_of_md_are_named(tmp_path: Path) -> None:
    """This needs a kernel with md to be made by mdadm: only its mark is put where mdadm puts it."""
    disk = small_ext(tmp_path / "disk", "a stale file system below")
    put(disk, 4096, _written(tmp_path / "mark", b"\xfc\x4e\x2b\xa9\1\0\0\0"))
    assert words(disk) == {"disk0/fs": "md raid"}


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
