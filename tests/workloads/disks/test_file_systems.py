"""Images made without a mount: FAT, exFAT, NTFS, ext by its own tool, XFS of version 4; and second opinions."""

from __future__ import annotations

import os
import random
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.workloads.disks.conftest import blank, ntfs_mounted, run
from tests.workloads.disks.exfat_images import ExFatImage
from tests.workloads.disks.reading import read_states, reader_of
from tests.workloads.disks.trees import differences, plain_tree, states
from workers.disks.browser import Browser

MIB = 1024 * 1024
SECOND = 1_000_000_000


def read(image: Path) -> dict[bytes, dict[str, object]]:
    with Browser(reader_of(image)) as browser:
        assert [text for area in browser.areas for text in browser.notes(area)] == []
        return read_states(browser, b"disk0/fs")


def contents(tree: dict[bytes, dict[str, object]]) -> dict[bytes, dict[str, object]]:
    """Only what every file system has: types, sizes and bytes."""
    return {
        path: {"type": int(str(one["mode"])) >> 12, "content": one["content"]} for path, one in tree.items() if path
    }


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    plain_tree(folder)
    for path in (*folder.rglob("*"), folder):
        os.utime(path, ns=(0, 1_700_000_000 * SECOND))
    return folder


def second_opinion(image: Path) -> dict[bytes, bytes]:
    """What the Sleuth Kit reads: files and their content, by path."""
    pytsk3 = pytest.importorskip("pytsk3", reason="pytsk3 is not installed (dev)")
    system = pytsk3.FS_Info(pytsk3.Img_Info(str(image)))
    found: dict[bytes, bytes] = {}
    waiting: list[tuple[bytes, Any]] = [(b"", system.open_dir("/"))]
    while waiting:
        at, folder = waiting.pop()
        for one in folder:
            name, meta = one.info.name.name, one.info.meta
            if name in (b".", b"..") or name.startswith(b"$") or meta is None or one.info.name.flags & 2:
                continue
            if meta.type == pytsk3.TSK_FS_META_TYPE_DIR:
                if name != b"lost+found" or at:
                    waiting.append((at + name + b"/", one.as_directory()))
            elif meta.type == pytsk3.TSK_FS_META_TYPE_REG:
                found[at + name] = one.read_random(0, meta.size) if meta.size else b""
    return found


def our_files(tree: dict[bytes, dict[str, object]]) -> dict[bytes, object]:
    return {path: one["content"] for path, one in tree.items() if int(str(one["mode"])) >> 12 == 8}


@pytest.mark.parametrize(
    "options", [(), ("-b", "1024"), ("-O", "^extents,^64bit,^metadata_csum"), ("-O", "inline_data")]
)
def test_ext_agrees_with_what_was_put_in_and_with_the_sleuth_kit(
    tree: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    image = blank(tmp_path / "image", 64 * MIB)
    run("mkfs.ext4", "-q", "-F", *options, "-d", tree, image)
    got = read(image)
    assert differences(contents(got), contents(states(tree))) == []
    if "inline_data" not in options:
        assert our_files(got) == second_opinion(image)


def test_large_directories_of_ext(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    for number in range(2500):
        (folder / f"{number:05}-{'y' * 60}").touch()
    image = blank(tmp_path / "image", 64 * MIB)
    run("mkfs.ext4", "-q", "-F", "-b", "1024", "-O", "large_dir,casefold", "-d", folder, image)
    assert set(read(image)) - {b""} == {os.fsencode(name) for name in os.listdir(folder)}


@pytest.mark.parametrize("types", [0, 1])
def test_xfs_of_version_4(tree: Path, tmp_path: Path, types: int) -> None:
    lines = ["none", "0 0", "d--755 7 8"]
    lines += [f"f{number} ---640 {number} 5 {tree / 'large.bin'}" for number in range(30)]
    lines += [
        "sub d--750 1 2",
        f"deep -u-711 3 4 {tree / 'docs/hello world ü.txt'}".replace("hello world ü.txt", "deep/deeper/x"),
    ]
    lines += ["$", "link l--777 0 0 sub/deep", "tty c--620 0 5 5 1", "$"]
    (tmp_path / "proto").write_text("\n".join(lines) + "\n")
    image = blank(tmp_path / "image", 400 * MIB)
    run("mkfs.xfs", "-q", "-f", "-m", "crc=0", "-n", f"ftype={types}", "-p", tmp_path / "proto", image)
    got = read(image)
    large, deep = (tree / "large.bin").read_bytes(), (tree / "docs/deep/deeper/x").read_bytes()
    assert [got[b"f%d" % number]["content"] == large for number in range(30)] == [True] * 30
    assert (got[b"sub/deep"]["content"], got[b"sub/deep"]["mode"], got[b"sub/deep"]["owner"]) == (
        deep,
        0o104711,
        (3, 4),
    )
    assert (got[b"link"]["target"], got[b"tty"]["rdev"], len(got)) == (b"sub/deep", os.makedev(5, 1), 35)


@pytest.mark.parametrize(("bits", "size"), [(12, 12 * MIB), (16, 60 * MIB), (32, 80 * MIB)])
def test_fat_agrees_with_what_was_put_in_and_with_the_sleuth_kit(
    tree: Path, tmp_path: Path, bits: int, size: int
) -> None:
    image = blank(tmp_path / "image", size)
    run("mkfs.vfat", "-F", str(bits), "-s", {12: "8", 16: "2", 32: "1"}[bits], image)
    os.environ["TZ"], before = "UTC", os.environ.get("TZ")
    try:
        run("mcopy", "-s", "-m", "-i", image, *sorted(tree.iterdir()), "::/")
        run("mattrib", "+r", "-i", image, "::/large.bin")
    finally:
        os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
    got, wanted = read(image), states(tree)
    assert differences(contents(got), contents(wanted)) == []
    assert our_files(got) == second_opinion(image)
    assert (got[b"large.bin"]["mode"], got[b"large.bin"]["owner"]) == (0o100444, (os.geteuid(), os.getegid()))
    assert got[b"empty"]["mtime"] == wanted[b"empty"]["mtime"]


def test_a_long_name_of_another_short_one_does_not_count(tree: Path, tmp_path: Path) -> None:
    """Old systems rename by the short name only; what stands before it is stale then."""
    image = blank(tmp_path / "image", 60 * MIB)
    run("mkfs.vfat", "-F", "16", image)
    run("mcopy", "-i", image, tree / "docs" / "hello world ü.txt", "::/")
    before = set(read(image))
    data = image.read_bytes()
    assert data.count(b"HELLOW~1TXT") == 1
    image.write_bytes(data.replace(b"HELLOW~1TXT", b"RENAMED TXT"))
    assert (before, set(read(image))) == ({b"", "hello world ü.txt".encode()}, {b"", b"RENAMED.TXT"})


def test_exfat_as_its_own_checker_and_the_sleuth_kit_see_it(tmp_path: Path) -> None:
    image = blank(tmp_path / "image", 32 * MIB)
    run("mkfs.exfat", "-c", "4096", image)
    random_ = random.Random(3)
    wanted = {
        b"straight": random_.randbytes(50_000), b"chained": random_.randbytes(30_001),
        b"in pieces": random_.randbytes(20_000),
        b"folder/a name that needs more than one entry \xc3\xbc": b"inside", b"empty": b"",
        b"short of valid": random_.randbytes(5000) + bytes(15_000),
    }  # fmt: skip
    made = ExFatImage(image)
    folder = made.folder("folder")
    made.file("straight", wanted[b"straight"], straight=True)
    made.file("chained", wanted[b"chained"])
    made.file("in pieces", wanted[b"in pieces"], gap=2)
    made.file("a name that needs more than one entry ü", b"inside", within=folder)
    made.file("empty", b"")
    made.file("short of valid", wanted[b"short of valid"][:5000] + b"old garbage" * 1363 + b"1234567", valid=5000)
    made.save()
    assert "clean" in run("fsck.exfat", "-n", image)
    got = read(image)
    assert our_files(got) == wanted
    theirs = second_opinion(image)
    # The Sleuth Kit shows what lies behind the valid length; the specification has zeros there.
    theirs[b"short of valid"] = theirs[b"short of valid"][:5000] + bytes(15_000)
    assert theirs == wanted
    assert got[b"straight"]["mtime"] == 1_614_830_768_500_000_000  # 2021-03-04 05:06:08.5 in a zone one hour ahead


def test_ntfs_agrees_with_what_was_put_in_and_with_the_sleuth_kit(tree: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyfsntfs", reason="libfsntfs-python is not installed (the extra disks)")
    image = blank(tmp_path / "image", 200 * MIB)
    run("mkntfs", "-q", "-F", "-f", image)
    with ntfs_mounted(image, tmp_path / "mounted", "streams_interface=xattr", "compression") as point:
        subprocess.run(["cp", "-r", "--preserve=timestamps", f"{tree}/.", str(point)], check=True)
        os.setxattr(point / "empty", "user.a stream", b"of its own")
        os.link(point / "large.bin", point / "second name")
        os.symlink("docs/deep", point / "link")
        packed = point / "packed"
        packed.mkdir()
        os.setxattr(packed, "system.ntfs_attrib_be", (0x10 | 0x800).to_bytes(4, "big"))
        (packed / "zeros").write_bytes(b"easy to pack " * 40_000)
        with (point / "sparse").open("wb") as file:
            file.truncate(9 * MIB)
            file.seek(8 * MIB)
            file.write(b"the end")
        wanted = contents(states(point))
        moment = os.stat(point / "many").st_mtime_ns
    with ntfs_mounted(image, tmp_path / "again", "streams_interface=windows") as point:
        (point / "empty:large").write_bytes(bytes(70_000))
    got = read(image)
    lost = [path for path in got if b"TROUBLE" in path]
    plain = {path: one for path, one in got.items() if path not in lost}
    assert differences(contents(plain), wanted) == []
    assert lost == [b"disk0/fs/empty TROUBLE stream large of 70000 bytes"]
    assert (dict(plain[b"empty"]["xattrs"])[b"user.a stream"], plain[b"large.bin"]["links"]) == (b"of its own", 2)  # type: ignore[call-overload]
    assert (plain[b"link"]["target"], plain[b"many"]["mtime"]) == (b"docs/deep", moment)
    theirs = second_opinion(image)
    theirs.pop(b"link", None)
    assert our_files(plain) == theirs


def test_ntfs_that_was_in_use_says_so(tmp_path: Path) -> None:
    pytest.importorskip("pyfsntfs", reason="libfsntfs-python is not installed (the extra disks)")
    image = blank(tmp_path / "image", 20 * MIB)
    run("mkntfs", "-q", "-F", "-f", image)
    data = bytearray(image.read_bytes())
    begin = data.index(b"\xff" * 65536)  # where the empty log is
    notes = []
    for client, flags in ((0xFFFF, 0), (0, 2), (0, 0)):
        for page, lsn in ((0, 7), (4096, 9)):
            area = struct.pack("<QHHHH", lsn, 1, 0xFFFF, client if page else 0xFFFF, flags)
            head = struct.pack("<4sHHQIIH", b"RSTR", 30, 9, 0, 4096, 4096, 48)
            data[begin + page : begin + page + 64] = head.ljust(48, b"\0") + area
        image.write_bytes(data)
        with Browser(reader_of(image)) as browser:
            notes.append(["in use" in text for text in browser.notes(browser.areas[0])])
    assert notes == [[], [], [True]]
