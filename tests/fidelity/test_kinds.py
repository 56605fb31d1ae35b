"""Every type of node comes back as what it was, with its attributes."""

import os
import socket
import stat

import pytest

from tests.fidelity.trip import comes_back, needs_root
from tests.support.compare import differences
from tests.support.trees import IS_ROOT, Node, plant
from tests.unit.engine.rig import Rig

_OWNER = (1234, 5678) if IS_ROOT else None


def test_fifos_sockets_and_symlinks_come_back_with_mode_owner_and_time(tmp_path):
    nodes = [
        Node(b"fifo", "fifo", mode=0o4617, owner=_OWNER, mtime_ns=1),
        Node(b"socket", "socket", mode=0o1711, owner=_OWNER, mtime_ns=-1),
        Node(b"symlink", "symlink", target=b"nowhere", owner=_OWNER, mtime_ns=3_000_000_000_000_000_001),
    ]
    assert comes_back(plant(tmp_path / "tree", nodes), tmp_path / "out") == []


def test_a_fifo_that_nobody_writes_to_and_a_live_socket_do_not_hold_up_the_backup(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"fifo", "fifo")])
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(f"{tree}/socket")
        end.listen()
        assert comes_back(tree, tmp_path / "out") == []


@needs_root
@pytest.mark.parametrize("kind", ["device", "block"])
@pytest.mark.parametrize("numbers", [(1, 3), (8, 255), (259, 256), (4095, 1_048_575), (0, 1)], ids=str)
def test_a_device_comes_back_with_its_numbers_mode_and_owner(tmp_path, kind, numbers):
    try:
        tree = plant(tmp_path / "tree", [Node(b"d", kind, rdev=numbers, mode=0o6641, owner=_OWNER)])
    except OSError as error:
        pytest.skip(f"this file system has no such device numbers: {error}")
    assert comes_back(tree, tmp_path / "out") == []


@needs_root
def test_a_device_is_kept_as_a_node_and_never_read(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"zero", "device", rdev=(1, 5)), Node(b"loop", "block", rdev=(7, 0))])
    rig = Rig()
    assert (rig.backup(tree).stats.bytes_read, rig.reader().body.bytes) == (0, 0)


@needs_root
def test_whiteouts_and_opaque_directories_of_overlays_come_back(tmp_path):
    nodes = [
        Node(b"gone", "device", rdev=(0, 0), mode=0o000),
        Node(b"opaque", "dir", mode=0o755, xattrs=(("trusted.overlay.opaque", b"y"),)),
        Node(b"opaque/new", data=b"n", xattrs=(("trusted.overlay.origin", b"\x00\xfb!"),)),
        Node(b"renamed", "dir", mode=0o755, xattrs=(("trusted.overlay.redirect", b"/old"),)),
        Node(b"user opaque", "dir", mode=0o755, xattrs=(("user.overlay.opaque", b"y"),)),
    ]
    assert comes_back(plant(tmp_path / "tree", nodes), tmp_path / "out") == []


def test_empty_directories_come_back_with_every_attribute(tmp_path):
    nodes = [
        Node(b"plain", "dir", mode=0o755),
        Node(b"shared", "dir", mode=0o1777, owner=_OWNER),
        Node(b"noted", "dir", mode=0o700, xattrs=(("user.a", b"1"),), mtime_ns=-1),
        Node(b"nest", "dir", mode=0o500),
        Node(b"nest/ling", "dir", mode=0o100),
    ]
    assert comes_back(plant(tmp_path / "tree", nodes), tmp_path / "out") == []


def test_an_empty_root_comes_back(tmp_path):
    assert comes_back(plant(tmp_path / "tree", []), tmp_path / "out") == []


def test_empty_files_come_back_and_cost_no_chunk(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"%d" % n, mode=0o600, mtime_ns=n) for n in range(5)])
    rig = Rig()
    rig.backup(tree)
    rig.restore(tmp_path / "out")
    assert (differences(tree, f"{tmp_path}/out{tree}"), [e.chunks for e in rig.reader().entries() if e.chunks]) == (
        [],
        [],
    )


@pytest.mark.parametrize(
    ("before", "after"), [("fifo", "file"), ("file", "dir"), ("dir", "symlink"), ("symlink", "dir")]
)
def test_a_node_that_became_another_type_is_another_type_in_the_next_point_and_the_old_one_in_the_last(
    tmp_path, before, after
):
    extra = {"symlink": {"target": b"t"}, "file": {"data": b"f"}}
    first = plant(tmp_path / "first" / "tree", [Node(b"x", before, **extra.get(before, {}))])
    rig = Rig()
    os.rename(first, tmp_path / "tree")
    rig.backup(str(tmp_path / "tree"))
    os.rename(tmp_path / "tree", first)
    second = plant(tmp_path / "tree", [Node(b"x", after, **extra.get(after, {}))])
    rig.backup(second)
    old, new = rig.points()
    rig.restore(tmp_path / "old", point_id=old)
    rig.restore(tmp_path / "new", point_id=new)
    assert differences(first, f"{tmp_path}/old{second}") + differences(second, f"{tmp_path}/new{second}") == []


def test_sockets_are_restored_as_sockets_that_nobody_listens_on(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"s", "socket")])
    rig = Rig()
    rig.backup(tree)
    rig.restore(tmp_path / "out")
    assert stat.S_ISSOCK(os.lstat(f"{tmp_path}/out{tree}/s").st_mode)
