"""``break-glass ls`` and ``restore`` reach into disks with the vault and a key alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.crypto.domain_keys import DomainKeys
from tests.support.disk_points import seal_disks
from tests.unit.break_glass.conftest import Glass, glass, machine
from tests.workloads.disks.conftest import blank, run
from tests.workloads.disks.trees import plain_tree

__all__ = ["glass", "machine"]

MIB = 1024 * 1024


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    plain_tree(folder)
    return folder


@pytest.fixture
def guest(glass: Glass, tree: Path, tmp_path: Path) -> Glass:
    """A vault with a point of a machine: one disk with ext4 and swap, and one without partitions."""
    disk, other = blank(tmp_path / "disk", 80 * MIB), blank(tmp_path / "other", 24 * MIB)
    run("sfdisk", "-q", disk, data="label: gpt\nstart=2048,size=131072\nsize=16384\n")
    root = blank(tmp_path / "root", 64 * MIB)
    run("mkfs.ext4", "-q", "-F", "-d", tree, root)
    run("mkfs.ext4", "-q", "-F", other)
    swap = blank(tmp_path / "swap", 8 * MIB)
    run("mkswap", swap)
    with disk.open("r+b") as file:
        for at, image in ((1 * MIB, root), (65 * MIB, swap)):
            file.seek(at)
            file.write(image.read_bytes())
    seal_disks(
        glass.vault, {"disk0.raw": disk, "disk1.raw": other}, keys=DomainKeys.derive(glass.dek),
        machine_id=glass.machine_id, slots=glass.slots,
    )  # fmt: skip
    return glass


def test_a_list_of_everything_ends_with_the_parts_of_disks(guest: Glass) -> None:
    ran = guest.run("ls", "--json")
    listed = [(one["path"], one.get("holds"), one.get("note")) for one in ran.documents]
    assert (ran.code, listed) == (0, [
        ("/disk0.raw", None, None), ("/disk1.raw", None, None), ("/machine.json", None, None),
        ("/disk0/p1", "ext", None), ("/disk0/p2", "swap", "swap space holds no files"), ("/disk1/fs", "ext", None),
    ])  # fmt: skip


def test_a_list_below_a_path_in_a_disk(guest: Glass) -> None:
    ran = guest.run("ls", "--json", "/disk0/p1/docs")
    assert (ran.code, [(one["path"], one["type"], one["size"]) for one in ran.documents]) == (0, [
        ("/disk0/p1/docs", "directory", 0), ("/disk0/p1/docs/deep", "directory", 0),
        ("/disk0/p1/docs/deep/deeper", "directory", 0), ("/disk0/p1/docs/deep/deeper/x", "file", 70_000),
        ("/disk0/p1/docs/hello world ü.txt", "file", 7),
    ])  # fmt: skip


def test_people_see_what_a_part_holds_and_why_it_cannot_be_browsed(guest: Glass) -> None:
    ran = guest.run("ls", "/disk0")
    assert [line.split("/", 1)[1] for line in ran.out.splitlines()] == [
        "disk0/p1  (ext)", "disk0/p2  (swap: swap space holds no files)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("/disk0/p1/nothing", 4, "/disk0/p1/nothing"),
        ("/disk0/p9", 4, "/disk0/p9"),
        ("/disk5/p1", 4, "/disk5/p1"),
        ("/disk0/p2/etc", 1, "swap space holds no files"),
    ],
)
def test_paths_that_cannot_be_listed_have_their_error(guest: Glass, path: str, code: int, words: str) -> None:
    ran = guest.run("ls", path)
    assert (ran.code, words in ran.err) == (code, True)


def test_files_of_a_disk_and_the_description_of_the_machine_in_one_restore(
    guest: Glass, tree: Path, tmp_path: Path
) -> None:
    ran = guest.run("restore", "--json", "/disk0/p1/docs", "/machine.json", "--to", str(tmp_path / "t"))
    there = sorted(str(path.relative_to(tmp_path / "t")) for path in (tmp_path / "t").rglob("*") if path.is_file())
    stats = ran.documents[0]["stats"]
    assert (ran.code, there) == (0, ["disk0/p1/docs/deep/deeper/x", "disk0/p1/docs/hello world ü.txt", "machine.json"])
    assert stats["files_restored"] == 3  # type: ignore[index]
    assert (tmp_path / "t/disk0/p1/docs/deep/deeper/x").read_bytes() == (tree / "docs/deep/deeper/x").read_bytes()
    assert not [one for one in (tmp_path / "t").rglob("*") if one.name == "disk0.raw"]


def test_a_point_of_files_with_a_folder_of_such_a_name_is_just_files(glass: Glass) -> None:
    glass.seal("item-a", "files", {b"a.txt": b"x"})
    ran = glass.run("ls", "/disk0/p1")
    assert (ran.code, "path-not-in-point" in ran.err) == (4, True)
