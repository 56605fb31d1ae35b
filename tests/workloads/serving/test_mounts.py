"""A mounted point is the tree that was backed up, to every program that looks at it."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import random
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.compare import differences
from tests.support.trees import Node, nasty, plant
from tests.unit.serving.points import node, random_file
from tests.workloads.serving.glass import GlassOnDisk, Serving, need, need_fuse, run

KERNELS = ["flags"]
"""What FUSE has no way to show: the attributes of ``chattr``."""


@pytest.fixture(autouse=True)
def _fuse() -> None:
    need_fuse()


@contextmanager
def mounted(glass: GlassOnDisk, *options: str, at: str = "mnt") -> Iterator[tuple[str, Serving]]:
    """Have the last point mounted until the block ends."""
    folder = f"{glass.folder}/{at}"
    with glass.running("mount", *options, folder) as serving:
        yield folder, serving
    assert not os.path.ismount(folder)


def protected(glass: GlassOnDisk, nodes: list[Node]) -> str:
    """Plant a tree, back it up, and return its path."""
    tree = plant(glass.folder / "tree", nodes)
    glass.rig.backup(tree)
    return tree


def test_a_mount_shows_the_tree_as_it_was_with_all_its_attributes(glass: GlassOnDisk) -> None:
    tree = protected(glass, nasty())
    with mounted(glass) as (folder, _):
        assert differences(tree, folder + tree, ignore=KERNELS) == []


def test_a_copy_out_of_a_mount_is_what_a_restore_gives(glass: GlassOnDisk) -> None:
    tree = protected(glass, nasty())
    glass.rig.restore(glass.folder / "restored")
    with mounted(glass) as (folder, _):
        run("cp", "-a", folder + tree, f"{glass.folder}/copy")
    assert differences(f"{glass.folder}/restored{tree}", f"{glass.folder}/copy", ignore=KERNELS) == []


def test_a_disk_copied_out_of_a_mount_stays_sparse(glass: GlassOnDisk) -> None:
    piece = random.Random(1).randbytes(1 << 20)
    size = 64 << 20
    tree = protected(glass, [Node(b"disk0.raw", size=size, pieces=((5 << 20, piece), (40 << 20, piece)))])
    with mounted(glass) as (folder, _):
        run("cp", "-a", f"{folder}{tree}/disk0.raw", f"{glass.folder}/copy.raw")
        blocks = os.stat(f"{folder}{tree}/disk0.raw").st_blocks
    assert (blocks, os.stat(f"{glass.folder}/copy.raw").st_size) == (2 * len(piece) // 512, size)
    assert os.stat(f"{glass.folder}/copy.raw").st_blocks <= 4 * len(piece) // 512


def test_any_stretch_of_a_large_file_reads_as_it_was(glass: GlassOnDisk) -> None:
    file = random_file(4, size=12 << 20, holes=5, smallest=100_000, largest=900_000)
    glass.bench.seal([], {b"disk0.raw": file})
    rng = random.Random(1)
    with mounted(glass) as (folder, _), open(f"{folder}/disk0.raw", "rb", buffering=0) as disk:
        for _ in range(300):
            at, length = rng.randrange(12 << 20), rng.choice((1, 511, 4096, 70_000, 1 << 20))
            assert os.pread(disk.fileno(), length, at) == file.content[at : at + length]
        begin, length = file.holes[0]
        assert os.lseek(disk.fileno(), begin, os.SEEK_DATA) == begin + length
        assert os.lseek(disk.fileno(), 0, os.SEEK_HOLE) == begin


def test_nothing_can_be_changed_not_even_by_root(glass: GlassOnDisk) -> None:
    tree = protected(
        glass, [Node(b"d", "dir", mode=0o755), Node(b"d/f", data=b"x"), Node(b"l", "symlink", target=b"d")]
    )
    with mounted(glass) as (folder, _):
        at = folder + tree
        attempts: list[Callable[[], object]] = [
            lambda: os.open(f"{at}/d/f", os.O_WRONLY),
            lambda: os.open(f"{at}/d/new", os.O_CREAT | os.O_WRONLY),
            lambda: os.truncate(f"{at}/d/f", 0),
            lambda: os.unlink(f"{at}/d/f"),
            lambda: os.mkdir(f"{at}/new"),
            lambda: os.rename(f"{at}/d/f", f"{at}/d/g"),
            lambda: os.link(f"{at}/d/f", f"{at}/d/g"),
            lambda: os.symlink("x", f"{at}/new"),
            lambda: os.chmod(f"{at}/d/f", 0o600),
            lambda: os.chown(f"{at}/d/f", 1, 1),
            lambda: os.utime(f"{at}/d/f", (1, 1)),
            lambda: os.setxattr(f"{at}/d/f", "user.x", b"1"),
            lambda: os.mkfifo(f"{at}/new"),
        ]
        assert [refusal(act) for act in attempts] == [errno.EROFS] * len(attempts)
        assert differences(tree, at, ignore=KERNELS) == []


def test_names_of_one_node_are_one_node(glass: GlassOnDisk) -> None:
    tree = protected(glass, [Node(b"a", data=b"x"), Node(b"z", "link", target=b"a"), Node(b"b", data=b"x")])
    with mounted(glass) as (folder, _):
        first, second, other = (os.stat(f"{folder}{tree}/{name}") for name in "azb")
        assert (first.st_ino, first.st_nlink) == (second.st_ino, 2)
        assert (other.st_ino != first.st_ino, other.st_nlink) == (True, 1)


def test_a_folder_of_many_names_lists_each_once(glass: GlassOnDisk) -> None:
    names = [b"%06d-%s" % (number, b"x" * (number % 60)) for number in range(20_000)]
    glass.bench.seal([node(b"many/" + name) for name in names])
    with mounted(glass) as (folder, _):
        assert sorted(os.listdir(os.fsencode(folder) + b"/many")) == sorted(names)
        found = run("find", folder, "-type", "f", "-size", "0", "-mtime", "+100").stdout.splitlines()
        assert len(found) == len(names)
        with os.scandir(f"{folder}/many") as listing:
            assert sum(1 for one in listing if one.stat().st_nlink == 1) == len(names)


def test_names_of_any_bytes_are_reached(glass: GlassOnDisk) -> None:
    names = [b"\xff\xfe", "ü".encode(), b"a\nb", b" ", b"\\", b"-", b"x" * 255]
    tree = protected(glass, [Node(name, data=name) for name in names])
    with mounted(glass) as (folder, _):
        at = os.fsencode(folder + tree)
        assert {name: Path(os.fsdecode(at + b"/" + name)).read_bytes() for name in os.listdir(at)} == {
            name: name for name in names
        }


LOOK = 'for name in all mine group acl; do cat "$0/$name" >/dev/null 2>&1 && echo $name; done; true'
NOT_THE_GROUP = bytes.fromhex(
    "02000000 01000600ffffffff 02000400e8030000 04000000ffffffff 10000400ffffffff 20000000ffffffff"
)
"""An ACL: user 1000 may read, the owning group may not, though the mode looks as if it could."""


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users takes root")
def test_others_get_in_only_when_they_are_let_and_as_far_as_modes_and_acls_allow(glass: GlassOnDisk) -> None:
    nodes = [
        node(b"all", mode=0o644, uid=0, gid=0),
        node(b"mine", mode=0o600, uid=0, gid=0),
        node(b"group", mode=0o640, uid=0, gid=2000),
        node(b"acl", mode=0o640, uid=0, gid=2000, xattrs=((b"system.posix_acl_access", NOT_THE_GROUP),)),
    ]
    glass.bench.seal(nodes)

    def seen_by(uid: int, gid: int) -> list[str]:
        looking = ["sh", "-c", LOOK, folder]
        more: dict[str, object] = {"user": uid, "group": gid, "extra_groups": []}
        return run(*looking, cwd="/", **more).stdout.split()

    # Others must be able to get at it: not in the folder of the test, which is for this user only.
    with tempfile.TemporaryDirectory() as reachable:
        os.chmod(reachable, 0o755)  # noqa: S103
        folder = f"{reachable}/mnt"
        with glass.running("mount", folder):
            assert (seen_by(0, 0), seen_by(1000, 1000)) == (["all", "mine", "group", "acl"], [])
        with glass.running("mount", "--allow-other", folder):
            assert seen_by(0, 0) == ["all", "mine", "group", "acl"]
            assert seen_by(3000, 3000) == ["all"]
            assert seen_by(3000, 2000) == ["all", "group"]
            assert seen_by(1000, 1000) == ["all", "acl"]


def test_several_mounts_of_one_point_stand_beside_each_other(glass: GlassOnDisk) -> None:
    tree = protected(glass, nasty())
    with mounted(glass, at="one") as (one, _), mounted(glass, at="two") as (two, _):
        assert differences(one + tree, two + tree) == []
        assert os.stat(one + tree).st_ino == os.stat(two + tree).st_ino


def test_many_readers_at_once_read_what_is_there(glass: GlassOnDisk) -> None:
    rng = random.Random(5)
    files = {b"f%d" % number: rng.randbytes(rng.choice((10, 5000, 3 << 20))) for number in range(30)}
    tree = protected(glass, [Node(name, data=data) for name, data in files.items()])
    with mounted(glass) as (folder, _):
        summing = ["sh", "-c", f"cd '{folder}{tree}' && cat * * * | sha256sum"]
        readers = [subprocess.Popen(summing, stdout=subprocess.PIPE, text=True) for _ in range(6)]
        sums = {reader.communicate(timeout=90)[0].split()[0] for reader in readers}
    content = b"".join(files[name] for name in sorted(files))
    assert sums == {hashlib.sha256(content * 3).hexdigest()}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_unmounts(glass: GlassOnDisk, number: int) -> None:
    protected(glass, [Node(b"f")])
    with mounted(glass) as (folder, serving):
        assert os.path.ismount(folder)
        assert (serving.end(number), serving.ended) == (0, {"ended": "stopped"})
        assert os.listdir(folder) == []


def test_unmounting_ends_the_program(glass: GlassOnDisk) -> None:
    protected(glass, [Node(b"f")])
    with mounted(glass) as (folder, serving):
        run("fusermount3", "-u", folder)
        assert (serving.end(None), serving.ended) == (0, {"ended": "stopped"})


def test_a_lease_unmounts_though_a_file_is_open(glass: GlassOnDisk) -> None:
    tree = protected(glass, [Node(b"f", data=b"x")])
    with mounted(glass, "--for", "1s") as (folder, serving):
        try:
            held = os.open(f"{folder}{tree}/f", os.O_RDONLY)
        except OSError:
            held = None  # the lease was quicker
        assert (serving.end(None), serving.ended) == (0, {"ended": "lease"})
        assert serving.err == f"the lease of 1s has ended: {folder} is not mounted any more\n"
        assert os.listdir(folder) == []
        if held is not None:
            refusal(lambda: os.close(held))


def test_lost_chunks_are_errors_about_their_bytes_only(glass: GlassOnDisk) -> None:
    file = random_file(6, size=8 << 20, holes=0, smallest=1 << 20, largest=1 << 20)
    glass.bench.seal([], {b"first.raw": file})
    kept = {path.name for path in (glass.folder / "vault" / "packs" / "d").rglob("*")}
    chunks = file.data()
    mixed = b"".join([*chunks[:3], random.Random(7).randbytes(1 << 20), *chunks[4:]])
    glass.bench.seal([], {b"disk0.raw": type(file)(mixed, cuts=(1 << 20,)), b"small": type(file)(b"s" * 100)})
    new = {path.name for path in (glass.folder / "vault" / "packs" / "d").rglob("*")} - kept
    glass.spoil(packs=sorted(new))
    with mounted(glass) as (folder, serving):
        with open(f"{folder}/disk0.raw", "rb", buffering=0) as disk:
            for at in range(0, 8 << 20, 1 << 18):
                if 3 << 20 <= at < 4 << 20:
                    assert refusal(lambda at=at: os.pread(disk.fileno(), 4096, at)) == errno.EIO  # type: ignore[misc]
                else:
                    assert os.pread(disk.fileno(), 4096, at) == mixed[at : at + 4096]
            assert os.pread(disk.fileno(), 4096, (3 << 20) - 4096) == mixed[(3 << 20) - 4096 : 3 << 20]
        assert refusal(lambda: Path(f"{folder}/small").read_bytes()) == errno.EIO
        assert os.path.getsize(f"{folder}/small") == 100
        assert serving.end() == 0
    assert [line for line in serving.err.splitlines() if "/disk0.raw: bytes 3145728 to " in line]
    assert [line for line in serving.err.splitlines() if "/small: bytes 0 to 99: " in line]


def test_a_list_of_which_names_are_lost_has_the_others_and_does_not_look_complete(glass: GlassOnDisk) -> None:
    names = [b"%05d" % number for number in range(3000)]
    glass.bench.seal([node(name) for name in names])
    packs = glass.folder / "vault" / "packs" / "m"
    kept = {path.name for path in packs.rglob("*")}
    reader = glass.bench.seal([node(name, uid=7 if name == b"01500" else 12) for name in names])
    glass.spoil("m", sorted({path.name for path in packs.rglob("*")} - kept))
    starts = [page.first for page in reader.pages] + [b"~"]
    lost = next({n for n in names if a <= n < b} for a, b in itertools.pairwise(starts) if a <= b"01500" < b)
    found: list[bytes] = []
    with mounted(glass) as (folder, serving):
        with os.scandir(os.fsencode(folder)) as listing:
            assert refusal(lambda: found.extend(one.name for one in listing)) == errno.EIO
        assert (len(lost) > 50, found) == (True, [name for name in names if name not in lost])
        assert refusal(lambda: os.stat(f"{folder}/01500")) == errno.EIO
        assert os.stat(f"{folder}/00000").st_uid == 12
        assert serving.end() == 0
    assert "what is here cannot be read as a whole" in serving.err


def test_a_folder_that_is_not_empty_or_none_is_refused(glass: GlassOnDisk) -> None:
    protected(glass, [Node(b"f")])
    (glass.folder / "full").mkdir()
    (glass.folder / "full" / "x").write_text("x")
    for target in ("full", "full/x"):
        error = glass.refused("mount", str(glass.folder / target))
        assert error["code"] == "target-invalid"
    assert glass.refused("mount", "--for", "never", str(glass.folder / "new"))["code"] == "bad-request"
    assert not (glass.folder / "new").exists()


def test_the_partition_of_a_mounted_disk_can_be_looked_at_by_tools_for_images(glass: GlassOnDisk) -> None:
    need("mkfs.ext4", "debugfs")
    tree = glass.folder / "tree"
    tree.mkdir()
    run("truncate", "-s", "16M", str(tree / "disk0.raw"))
    run("mkfs.ext4", "-q", str(tree / "disk0.raw"))
    (glass.folder / "hello").write_text("hello")
    run("debugfs", "-w", "-R", f"write {glass.folder}/hello hello", str(tree / "disk0.raw"))
    glass.rig.backup(str(tree))
    with mounted(glass) as (folder, _):
        assert run("debugfs", "-R", "cat hello", f"{folder}{tree}/disk0.raw").stdout == "hello"


def refusal(act: Callable[[], object]) -> int | None:
    """Return the number of the ``OSError`` that a call ends with, None when it ends well."""
    try:
        act()
    except OSError as error:
        return error.errno
    return None
