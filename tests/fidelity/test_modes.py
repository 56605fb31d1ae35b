"""Modes and owners come back, special bits and closed directories as well."""

import os

import pytest

from tests.fidelity.trip import comes_back, needs_root
from tests.support.trees import IS_ROOT, Node, plant

_OWNERS = [(0, 0), (1, 1), (65_534, 65_534), (65_535, 65_536), (2**31, 2**31 - 1), (4_294_967_294, 4_294_967_294)]


@pytest.mark.parametrize("special", [0o0000, 0o1000, 0o2000, 0o3000, 0o4000, 0o5000, 0o6000, 0o7000], ids=oct)
def test_special_bits_come_back_with_every_owner_and_every_permission(tmp_path, special):
    owner = (1234, 5678) if IS_ROOT else None
    nodes = []
    for bits in (0o000, 0o111, 0o222, 0o444, 0o640, 0o755, 0o777, 0o070, 0o007):
        nodes.append(Node(b"f%03o" % bits, data=b"x" * 5_000, mode=special | bits, owner=owner))
        nodes.append(Node(b"e%03o" % bits, mode=special | bits, owner=owner))
        nodes.append(Node(b"d%03o" % bits, "dir", mode=special | bits, owner=owner))
    tree = plant(tmp_path / "tree", nodes)
    for node in nodes:
        if os.lstat(f"{tree}/{os.fsdecode(node.path)}").st_mode & 0o7777 != node.mode:
            pytest.skip("this user may not give such modes")
    assert comes_back(tree, tmp_path / "out") == []


@needs_root
@pytest.mark.parametrize("owner", _OWNERS, ids=str)
def test_owners_are_numbers_of_32_bits(tmp_path, owner):
    nodes = [
        Node(b"file", data=b"x", owner=owner, mode=0o6711),
        Node(b"dir", "dir", owner=owner, mode=0o7711),
        Node(b"symlink", "symlink", target=b"x", owner=owner),
        Node(b"fifo", "fifo", owner=owner),
        Node(b"device", "device", owner=owner),
    ]
    assert comes_back(plant(tmp_path / "tree", nodes), tmp_path / "out") == []


@needs_root
@pytest.mark.parametrize("mode", [0o000, 0o111, 0o200, 0o300, 0o500, 0o1700, 0o1000], ids=oct)
def test_directories_that_lock_everybody_out_come_back_with_what_is_in_them(tmp_path, mode):
    nodes = [Node(b"d", "dir", mode=mode, owner=(33, 33))]
    nodes += [
        Node(b"d/f", data=b"f", owner=(33, 33)),
        Node(b"d/e", "dir", mode=mode),
        Node(b"d/e/g", data=b"g", mode=0),
    ]
    nodes += [Node(b"d/e/link", "link", target=b"d/f"), Node(b"d/e/fifo", "fifo", mode=0)]
    assert comes_back(plant(tmp_path / "tree", nodes), tmp_path / "out") == []


@needs_root
def test_the_umask_of_the_restore_changes_nothing(tmp_path):
    nodes = [Node(b"d", "dir", mode=0o777), Node(b"d/f", mode=0o666), Node(b"p", "fifo", mode=0o777)]
    tree = plant(tmp_path / "tree", nodes)
    before = os.umask(0o777)
    try:
        assert comes_back(tree, tmp_path / "out") == []
    finally:
        os.umask(before)
