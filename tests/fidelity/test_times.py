"""Times come back to the nanosecond, of every node, whatever the year; what cannot be held is told."""

import os

import pytest

from tests.fidelity.trip import comes_back
from tests.support.compare import differences
from tests.support.mounts import image, mounted
from tests.support.trees import Node, plant
from tests.unit.engine.rig import Rig

_SECOND = 10**9
TIMES = {
    "a nanosecond before 1970": -1,
    "the epoch": 0,
    "a nanosecond behind it": 1,
    "1969": -31_536_000 * _SECOND + 5,
    "1901": -(2**31) * _SECOND,
    "2038 less a nanosecond": 2**31 * _SECOND - 1,
    "2038": 2**31 * _SECOND + 999_999_999,
    "2106": 2**32 * _SECOND + 1,
    "2200": 7_258_118_400 * _SECOND + 123_456_789,
}


@pytest.mark.parametrize("mtime_ns", TIMES.values(), ids=TIMES)
def test_a_time_comes_back_to_the_nanosecond_on_every_kind_of_node(tmp_path, mtime_ns):
    nodes = [
        Node(b"file", data=b"x", mtime_ns=mtime_ns),
        Node(b"dir", "dir", mode=0o755, mtime_ns=mtime_ns),
        Node(b"symlink", "symlink", target=b"x", mtime_ns=mtime_ns),
        Node(b"fifo", "fifo", mtime_ns=mtime_ns),
        Node(b"socket", "socket", mtime_ns=mtime_ns),
    ]
    tree = plant(tmp_path / "tree", nodes)
    assert {os.lstat(f"{tree}/{name}").st_mtime_ns for name in os.listdir(tree)} == {mtime_ns}
    assert comes_back(tree, tmp_path / "out") == []


def test_directories_get_their_times_behind_everything_that_is_made_in_them(tmp_path):
    nodes = [Node(b"a", "dir", mode=0o755, mtime_ns=1), Node(b"a/b", "dir", mode=0o755, mtime_ns=2)]
    nodes += [Node(b"a/b/%03d" % number, data=b"x" * number) for number in range(600)]
    nodes += [Node(b"a/b/c", "dir", mode=0o755, mtime_ns=3), Node(b"a/b/c/fifo", "fifo"), Node(b"a/z", data=b"z")]
    nodes += [Node(b"a/b/zz", "link", target=b"a/z"), Node(b"a/zzz", "link", target=b"a/b/001")]
    assert comes_back(plant(tmp_path / "tree", nodes), tmp_path / "out") == []


def test_the_directories_above_what_is_protected_get_their_times_back_too(tmp_path):
    tree = plant(tmp_path / "above" / "tree", [Node(b"f")])
    os.utime(tmp_path / "above", ns=(0, -5))
    rig = Rig()
    rig.backup(tree)
    rig.restore(tmp_path / "out")
    assert os.stat(f"{tmp_path}/out{tmp_path}/above").st_mtime_ns == -5


def test_a_backup_leaves_access_times_alone(tmp_path):
    tree = plant(
        tmp_path / "tree", [Node(b"f", data=b"x" * 10), Node(b"large", data=b"x" * 3_000_000), Node(b"d", "dir")]
    )
    with open(f"{tree}/d/in", "wb"):
        pass
    # As old as relatime would renew.
    for name in ("f", "large", "d", "."):
        os.utime(f"{tree}/{name}", ns=(1, 7))
    Rig().backup(tree)
    assert [os.stat(f"{tree}/{name}").st_atime_ns for name in ("f", "large", "d", ".")] == [1, 1, 1, 1]


@pytest.mark.parametrize("year", [2300, 2400])
def test_a_time_beyond_2262_is_told_at_the_backup_and_everything_else_is_kept(tmp_path, year):
    tree = plant(tmp_path / "tree", [Node(b"f", data=b"f"), Node(b"other", data=b"o")])
    at = (year - 1970) * 31_556_952
    os.utime(f"{tree}/f", (at, at))
    if os.stat(f"{tree}/f").st_mtime_ns != at * _SECOND:
        pytest.skip("this file system has no such years")
    rig = Rig()
    done = rig.backup(tree)
    rig.restore(tmp_path / "out")
    assert [(notice.path, notice.code) for notice in done.warnings] == [(f"{tree}/f", "metadata-not-kept")]
    assert differences(tree, f"{tmp_path}/out{tree}") == [f"b'f': mtime {at * _SECOND} became {2**63 - 1}"]


def _told(rig, target, tree):
    done = rig.restore(target)
    return sorted((os.path.relpath(notice.path, tree), notice.code, notice.message) for notice in done.warnings)


def test_times_that_the_target_cannot_hold_are_told(tmp_path):
    """ext2 with small inodes counts whole seconds from 1901 to 2038, and says nothing about what it drops."""
    nodes = [
        Node(b"nanoseconds", data=b"x", mtime_ns=1_600_000_000_123_456_789),
        Node(b"too late", data=b"x", mtime_ns=TIMES["2106"] - 1),
        Node(b"whole", data=b"x", mtime_ns=1_600_000_000 * _SECOND),
        Node(b"dir", "dir", mode=0o755, mtime_ns=5),
        Node(b"symlink", "symlink", target=b"x", mtime_ns=5),
        Node(b"fifo", "fifo", mtime_ns=0),
    ]
    tree = plant(tmp_path / "tree", nodes)
    os.utime(tree, ns=(0, 0))
    rig = Rig()
    rig.backup(tree)
    with image("ext2", tmp_path / "old", make=["-q", "-I", "128"]) as old:
        os.utime(tmp_path, ns=(0, 0))
        lost = [line for line in _told(rig, f"{old}/out", tree) if not line[0].startswith("..")]
        assert [line.split("'")[1] for line in differences(tree, f"{old}/out{tree}")] == [line[0] for line in lost]
        assert {(code, message.split(" (")[0]) for _, code, message in lost} == {("metadata-not-kept", "times")}
        assert len(lost) == 4


def test_ramfs_and_tmpfs_keep_nanoseconds(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"f%d" % at, data=b"x", mtime_ns=at) for at in TIMES.values()])
    rig = Rig()
    rig.backup(tree)
    for kind in ("ramfs", "tmpfs"):
        with mounted(kind, tmp_path / kind) as there:
            rig.restore(f"{there}/out")
            assert differences(tree, f"{there}/out{tree}", ignore=["flags"]) == []
