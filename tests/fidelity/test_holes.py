"""Holes come back as holes, zeros as zeros, and what is not there costs nothing."""

import ctypes
import os
import time

import pytest

from shared.model.backup import ConflictRule
from tests.fidelity.trip import comes_back
from tests.support.compare import differences
from tests.support.mounts import image, mounted
from tests.support.trees import Node, plant
from tests.unit.engine.rig import Rig

_BLOCK = 4096
_MIB = 2**20
_GIB = 2**30


def _data(count, seed=1):
    return bytes((seed * number) % 251 + 1 for number in range(251)) * (count // 251 + 1)


def _piece(offset, count=_BLOCK, seed=1):
    return offset, _data(count, seed)[:count]


def _blocks(path):
    return os.stat(path).st_blocks * 512


SHAPES = {
    "leading hole": Node(b"f", size=_MIB, pieces=(_piece(_MIB - _BLOCK),)),
    "trailing hole": Node(b"f", size=_MIB, pieces=(_piece(0),)),
    "hole in the middle": Node(b"f", size=_MIB, pieces=(_piece(0), _piece(_MIB - _BLOCK, seed=2))),
    "one block of hole": Node(b"f", size=3 * _BLOCK, pieces=(_piece(0), _piece(2 * _BLOCK))),
    "nothing but hole, small": Node(b"f", size=1),
    "nothing but hole, a block": Node(b"f", size=_BLOCK),
    "nothing but hole, large": Node(b"f", size=3 * _MIB + 1),
    "nothing but hole, very large": Node(b"f", size=5 * _GIB),
    "data in an odd place": Node(b"f", size=5_000_001, pieces=(_piece(1_234_567, 77_777),)),
    "a last byte behind a hole": Node(b"f", size=2 * _MIB + 1, pieces=(_piece(2 * _MIB, 1),)),
    "many holes": Node(
        b"f", size=400 * 2 * _BLOCK, pieces=tuple(_piece(2 * _BLOCK * n, seed=n + 1) for n in range(400))
    ),
    "holes around large data": Node(
        b"f", size=40 * _MIB, pieces=(_piece(3 * _MIB, 9 * _MIB), _piece(30 * _MIB, 5 * _MIB))
    ),
    "data over the edge of a range": Node(b"f", size=200 * _MIB, pieces=(_piece(63 * _MIB, 2 * _MIB),)),
    "data at both edges of a range": Node(
        b"f", size=300 * _MIB, pieces=(_piece(64 * _MIB), _piece(128 * _MIB - _BLOCK))
    ),
    "data in the last range only": Node(b"f", size=300 * _MIB, pieces=(_piece(300 * _MIB - 5, 5),)),
}


@pytest.mark.parametrize("node", SHAPES.values(), ids=SHAPES)
def test_holes_come_back_where_they_were(tmp_path, node):
    assert comes_back(plant(tmp_path / "tree", [node]), tmp_path / "out") == []


@pytest.mark.parametrize("size", [1, 4095, 4096, 100_000, 3 * _MIB, 70 * _MIB])
def test_zeros_that_were_written_come_back_as_data(tmp_path, size):
    tree = plant(tmp_path / "tree", [Node(b"zeros", data=bytes(size))])
    assert (comes_back(tree, tmp_path / "out"), _blocks(f"{tmp_path}/out{tree}/zeros") >= size) == ([], True)


def test_zeros_beside_a_hole_come_back_as_data_and_the_hole_as_a_hole(tmp_path):
    node = Node(b"f", size=4 * _MIB, pieces=((0, bytes(_MIB)), (2 * _MIB, bytes(_MIB))))
    assert comes_back(plant(tmp_path / "tree", [node]), tmp_path / "out") == []


@pytest.mark.parametrize("size", [3 * _BLOCK, 3 * _MIB])
def test_a_hole_that_xattrs_or_reserved_blocks_make_up_for_is_still_a_hole(tmp_path, size):
    """The number of blocks alone would say that nothing is missing."""
    holes = (_piece(0, size - 2 * _BLOCK), _piece(size - _BLOCK))
    nodes = [
        Node(b"noted", size=size, pieces=holes, xattrs=(("user.large", _data(3_000)),)),
        Node(b"reserved", size=size, pieces=holes),
    ]
    tree = plant(tmp_path / "tree", nodes)
    _reserve(f"{tree}/reserved", size, _MIB)
    os.utime(f"{tree}/reserved", ns=(7, 7))
    if min(_blocks(f"{tree}/noted"), _blocks(f"{tree}/reserved")) < size:
        pytest.skip("this file system counts other blocks than ext4")
    assert comes_back(tree, tmp_path / "out") == []


def _reserve(path, offset, count, mode=1):
    """Have the file system reserve blocks: ``fallocate(1)``, by default beyond the end of the file."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, os.O_RDWR)
    try:
        result = libc.fallocate(fd, mode, ctypes.c_longlong(offset), ctypes.c_longlong(count))
        if result:
            pytest.skip(f"fallocate: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(fd)


def test_blocks_that_are_only_reserved_come_back_as_a_hole_and_are_not_read(tmp_path):
    """What ``fallocate`` reserves reads as zeros; the reservation itself is not kept, and we say so."""
    tree = plant(tmp_path / "tree", [Node(b"f", data=_data(_MIB))])
    _reserve(f"{tree}/f", _MIB, 64 * _MIB, mode=0)
    os.utime(f"{tree}/f", ns=(7, 7))
    rig = Rig()
    done = rig.backup(tree)
    rig.restore(tmp_path / "out")
    assert (differences(tree, f"{tmp_path}/out{tree}"), done.stats.bytes_read <= 2 * _MIB) == ([], True)
    assert _blocks(f"{tmp_path}/out{tree}/f") < 2 * _MIB


def test_a_hundred_gibibytes_with_ten_mebibytes_in_them_cost_seconds_and_few_bytes(tmp_path):
    pieces = tuple(_piece(number * 10 * _GIB + 12_345 * _BLOCK, _MIB, number + 1) for number in range(10))
    tree = plant(tmp_path / "tree", [Node(b"huge", size=100 * _GIB, pieces=pieces)])
    rig = Rig()
    begin = time.process_time()
    first = rig.backup(tree)
    rig.restore(tmp_path / "out")
    seconds = time.process_time() - begin
    assert differences(tree, f"{tmp_path}/out{tree}") == []
    assert (first.stats.bytes_scanned, first.stats.bytes_read) == (100 * _GIB, 10 * _MIB)
    assert _blocks(f"{tmp_path}/out{tree}/huge") < 11 * _MIB
    assert seconds < 20, "measured: 1 s"


def test_a_hole_that_was_filled_or_punched_is_so_in_the_next_point(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"f", size=8 * _MIB, pieces=(_piece(_MIB, 4 * _MIB),))])
    rig = Rig()
    rig.backup(tree)
    with open(f"{tree}/f", "r+b") as file:
        file.seek(7 * _MIB)
        file.write(_data(_BLOCK))
    _reserve(f"{tree}/f", 2 * _MIB, _MIB, mode=3)  # punches a hole, keeps the size
    rig.backup(tree)
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == []


def test_restoring_a_sparse_file_over_a_full_one_leaves_holes(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"f", size=8 * _MIB, pieces=(_piece(_MIB),))])
    rig = Rig()
    rig.backup(tree)
    rig.restore(tmp_path / "out")
    with open(f"{tmp_path}/out{tree}/f", "wb") as file:
        file.write(bytes(8 * _MIB))
    rig.restore(tmp_path / "out", conflict=ConflictRule.OVERWRITE)
    assert differences(tree, f"{tmp_path}/out{tree}") == []


def test_on_a_file_system_without_holes_the_content_comes_back_all_the_same(tmp_path):
    tree = plant(tmp_path / "tree", [SHAPES["hole in the middle"]])
    rig = Rig()
    rig.backup(tree)
    with mounted("ramfs", tmp_path / "ramfs") as there:
        rig.restore(f"{there}/out")
        assert differences(tree, f"{there}/out{tree}", ignore=["holes"]) == []


def test_holes_smaller_than_a_block_of_the_target_are_filled_with_zeros(tmp_path):
    with image("ext4", tmp_path / "small", make=["-q", "-b", "1024"]) as small:
        tree = plant(
            f"{small}/tree", [Node(b"f", size=64 * 1024, pieces=(_piece(3 * 1024, 1024), _piece(9 * 1024, 1024)))]
        )
        rig = Rig()
        rig.backup(tree)
        rig.restore(tmp_path / "out")
        assert differences(tree, f"{tmp_path}/out{tree}", ignore=["holes"]) == []
        rig.restore(f"{small}/out")
        assert differences(tree, f"{small}/out{tree}") == []
