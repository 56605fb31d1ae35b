"""What was backed up comes back the same, in content and in every attribute."""

import os
import tempfile

import pytest
from hypothesis import HealthCheck, given, settings

from shared.model.backup import ConflictRule
from shared.vault.entry import sort_key
from tests.support.compare import differences
from tests.support.trees import Node, nasty, plant, trees
from tests.unit.engine.rig import Rig


def test_a_nasty_tree_comes_back_without_a_difference(tmp_path):
    tree = plant(tmp_path / "tree", nasty())
    rig = Rig()
    done = rig.backup(tree)
    restored = rig.restore(tmp_path / "out")
    assert (done.warnings, restored.warnings, differences(tree, f"{tmp_path}/out{tree}")) == ((), (), [])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trees())
def test_any_tree_comes_back_without_a_difference(nodes):
    with tempfile.TemporaryDirectory() as folder:
        tree = plant(os.path.join(folder, "tree"), nodes)
        rig = Rig()
        rig.backup(tree)
        rig.restore(os.path.join(folder, "out"))
        assert differences(tree, f"{folder}/out{tree}") == []


def test_entries_of_a_point_are_in_sort_key_order_with_the_directories_above(tmp_path):
    tree = plant(tmp_path / "tree", nasty())
    rig = Rig()
    rig.backup(tree)
    paths = [entry.path for entry in rig.reader().entries()]
    assert paths == sorted(paths, key=sort_key)
    assert paths[: tree.count("/")] == [
        os.fsencode("/".join(tree.split("/")[1 : n + 2])) for n in range(tree.count("/"))
    ]


def test_restoring_twice_with_overwrite_changes_nothing(tmp_path):
    tree = plant(tmp_path / "tree", nasty())
    rig = Rig()
    rig.backup(tree)
    rig.restore(tmp_path / "out", conflict=ConflictRule.OVERWRITE)
    again = rig.restore(tmp_path / "out", conflict=ConflictRule.OVERWRITE)
    assert (again.warnings, differences(tree, f"{tmp_path}/out{tree}")) == ((), [])
    assert again.stats.bytes_restored == 0


def test_several_roots_and_roots_below_each_other_come_back_once(tmp_path):
    one = plant(tmp_path / "one", [Node(b"x", data=b"1"), Node(b"sub", "dir"), Node(b"sub/y", data=b"2")])
    two = plant(tmp_path / "two", [Node(b"z", data=b"3")])
    rig = Rig()
    done = rig.backup(two, f"{one}/sub", one)
    rig.restore(tmp_path / "out")
    assert differences(one, f"{tmp_path}/out{one}") + differences(two, f"{tmp_path}/out{two}") == []
    assert done.stats.files == 3


def test_a_single_file_is_an_item_too(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"only", data=b"me"), Node(b"not", data=b"me")])
    rig = Rig()
    rig.backup(f"{tree}/only")
    rig.restore(tmp_path / "out")
    assert os.listdir(f"{tmp_path}/out{tree}") == ["only"]


@pytest.mark.parametrize("part", ["/a/deep", "/a!", "/two", "/sparse"])
def test_a_part_comes_back_alone_below_its_parents(tmp_path, part):
    tree = plant(tmp_path / "tree", nasty())
    rig = Rig()
    rig.backup(tree)
    rig.restore(tmp_path / "out", tree + part)
    top = os.listdir(f"{tmp_path}/out{tree}")
    assert top == [part.split("/")[1]]
    assert os.lstat(f"{tmp_path}/out{tree}").st_mtime_ns == os.lstat(tree).st_mtime_ns
    if os.path.isdir(tree + part):
        assert differences(tree + part, f"{tmp_path}/out{tree}{part}") == []
    else:
        with open(tree + part, "rb") as a, open(f"{tmp_path}/out{tree}{part}", "rb") as b:
            assert a.read() == b.read()


def test_a_tree_deeper_than_path_max_comes_back(tmp_path):
    name = "d" * 200
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        os.mkdir("tree", dir_fd=fd)
        at = os.open("tree", os.O_RDONLY, dir_fd=fd)
        for _ in range(100):
            os.mkdir(name, dir_fd=at)
            below = os.open(name, os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = below
        with open(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=at), "wb") as leaf:
            leaf.write(b"at the bottom")
        os.symlink("leaf", "link", dir_fd=at)
        os.close(at)
    finally:
        os.close(fd)
    rig = Rig()
    done = rig.backup(f"{tmp_path}/tree")
    restored = rig.restore(tmp_path / "out")
    assert (done.warnings, restored.warnings, done.stats.files, restored.stats.files_restored) == ((), (), 2, 2)
