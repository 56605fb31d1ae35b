"""What is read out of an image of ext or XFS is what the kernel shows, byte for byte and attribute for attribute."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.workloads.disks.conftest import Mount, blank, run
from tests.workloads.disks.reading import read_states, reader_of
from tests.workloads.disks.trees import crowd, differences, dress_tree, fragments, junk, preallocated, states, unix_tree
from workers.disks.browser import Browser

MIB = 1024 * 1024
EXT = {
    "ext4": ("mkfs.ext4",),
    "ext4 with blocks of 1 KiB": ("mkfs.ext4", "-b", "1024"),
    "ext4 with inline data": ("mkfs.ext4", "-O", "inline_data", "-I", "512"),
    "ext4 with large xattrs": ("mkfs.ext4", "-O", "ea_inode"),
    "ext4 with groups of descriptors": ("mkfs.ext4", "-b", "1024", "-O", "meta_bg,^resize_inode", "-g", "1024"),
    "ext4 without 64 bits and flexible groups": ("mkfs.ext4", "-O", "^64bit,^flex_bg,^metadata_csum,sparse_super2"),
    "ext4 with clusters": ("mkfs.ext4", "-O", "bigalloc", "-C", "16384"),
    "ext4 with large directories and projects": ("mkfs.ext4", "-O", "large_dir,project,quota,metadata_csum_seed"),
    "ext3": ("mkfs.ext3", "-I", "128"),
    "ext2": ("mkfs.ext2", "-b", "1024"),
}
XFS = {
    "XFS": (),
    "XFS with blocks of 1 KiB": ("-b", "size=1024"),
    "XFS with large directory blocks": ("-n", "size=16384", "-i", "size=1024"),
    "XFS of version 4": ("-m", "crc=0", "-n", "ftype=0"),
    "XFS of version 4 with types": ("-m", "crc=0", "-n", "ftype=1"),
    "XFS with times up to 2038 only": ("-m", "bigtime=0"),
    "XFS with more groups": ("-d", "agcount=6"),
}


def fill(point: Path, folder: Path, *, stale: int = 40 * MIB) -> None:
    junk(point, stale)
    unix_tree(folder, privileged=True)
    subprocess.run(["cp", "-a", f"{folder}/.", str(point)], check=True)
    dress_tree(point)
    crowd(point, 3000)
    fragments(point, 60)
    preallocated(point, 20 * MIB)


def compared(image: Path, mounted: Mount, *options: str) -> list[str]:
    with Browser(reader_of(image)) as browser:
        notes = [text for area in browser.areas for text in browser.notes(area)]
        got = read_states(browser, b"disk0/fs")
    with mounted(image, "ro", *options) as point:  # type: ignore[attr-defined]
        return notes + differences(got, states(point))


@pytest.mark.parametrize("name", EXT)
def test_ext_is_read_as_the_kernel_reads_it(tmp_path: Path, mounted: Mount, name: str) -> None:
    maker, *options = EXT[name]
    image = blank(tmp_path / "image", 96 * MIB)
    run("mkfs.ext4", "-t", maker.removeprefix("mkfs."), "-q", "-F", *options, image)
    with mounted(image) as point:  # type: ignore[attr-defined]
        fill(point, tmp_path / "tree")
    assert compared(image, mounted) == []


@pytest.mark.parametrize("name", XFS)
def test_xfs_is_read_as_the_kernel_reads_it(tmp_path: Path, mounted: Mount, name: str) -> None:
    image = blank(tmp_path / "image", 400 * MIB)
    run("mkfs.xfs", "-q", "-f", *XFS[name], image)
    with mounted(image) as point:  # type: ignore[attr-defined]
        fill(point, tmp_path / "tree", stale=300 * MIB if name == "XFS" else 1 * MIB)
    assert compared(image, mounted) == []


def test_the_journal_of_a_running_guest_is_applied(tmp_path: Path, mounted: Mount) -> None:
    image, taken = blank(tmp_path / "image", 96 * MIB), tmp_path / "taken"
    run("mkfs.ext4", "-q", "-F", image)
    with mounted(image, "commit=300") as point:  # type: ignore[attr-defined]
        unix_tree(point, privileged=True)
        subprocess.run(["sync", "-f", str(point)], check=True)
        shutil.rmtree(point / "many")
        (point / "many").write_text("a file now")
        (point / "new folder").mkdir()
        for number in range(50):
            (point / "new folder" / f"{number}").write_text(f"{number}\n" * 50)
        for path in ("many", *(f"new folder/{number}" for number in range(49))):
            synced(point / path)
        # A journal that was committed, and nothing of it written to its place.
        synced(point / "new folder" / "49")
        shutil.copyfile(image, taken)
        assert "needs_recovery" in run("dumpe2fs", "-h", taken)
        wanted = states(point)
    with Browser(reader_of(taken)) as browser:
        assert differences(read_states(browser, b"disk0/fs"), wanted) == []


def test_what_the_journal_has_revoked_is_not_applied(tmp_path: Path, mounted: Mount) -> None:
    """Blocks of a directory that is gone are a file's now: an old copy in the journal must not show in it."""
    image, taken = blank(tmp_path / "image", 16 * MIB), tmp_path / "taken"
    run("mkfs.ext4", "-q", "-F", "-b", "1024", "-J", "size=4", image)
    with mounted(image, "commit=300") as point:  # type: ignore[attr-defined]
        crowd(point, 1500)
        (point / "word").write_text("x")
        synced(point / "word")
        shutil.rmtree(point / "crowd")
        synced(point / "word")
        with suppress(OSError), (point / "full").open("wb") as file:
            while file.write(b"full" * 16384):
                file.flush()
        synced(point / "full")
        shutil.copyfile(image, taken)
        wanted = states(point)
    with Browser(reader_of(taken)) as browser:
        assert differences(read_states(browser, b"disk0/fs"), wanted) == []


def synced(path: Path) -> None:
    """Have everything so far committed; what only the journal has yet stays there."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def test_xfs_that_was_brought_to_rest_is_read_without_a_word(tmp_path: Path, mounted: Mount) -> None:
    image, taken = blank(tmp_path / "image", 400 * MIB), tmp_path / "taken"
    run("mkfs.xfs", "-q", "-f", image)
    with mounted(image) as point:  # type: ignore[attr-defined]
        unix_tree(point, privileged=True)
        run("fsfreeze", "-f", point)
        try:
            shutil.copyfile(image, taken)
            wanted = states(point)
        finally:
            run("fsfreeze", "-u", point)
    with Browser(reader_of(taken)) as browser:
        notes = browser.notes(browser.areas[0])
        assert (notes, differences(read_states(browser, b"disk0/fs"), wanted)) == ([], [])


def test_xfs_that_was_in_use_says_so(tmp_path: Path, mounted: Mount) -> None:
    image, taken = blank(tmp_path / "image", 400 * MIB), tmp_path / "taken"
    run("mkfs.xfs", "-q", "-f", image)
    with mounted(image) as point:  # type: ignore[attr-defined]
        for number in range(2000):
            (point / f"{number}").write_text("x")
        subprocess.run(["sync", "-f", str(point)], check=True)
        shutil.copyfile(image, taken)
    with Browser(reader_of(taken)) as browser:
        notes = browser.notes(browser.areas[0])
    assert ["in use" in note for note in notes] == [True]
