"""Names that shared a node share one again, whatever the node is and whichever of its names are asked for."""

import os

import pytest

from tests.fidelity.trip import comes_back
from tests.support.compare import differences
from tests.support.trees import IS_ROOT, Node, plant, settle
from tests.unit.engine.rig import Rig

_NODES = {
    "file": Node(b"a/first", data=b"shared", mode=0o640, xattrs=(("user.x", b"1"),)),
    "empty file": Node(b"a/first"),
    "large file": Node(b"a/first", data=b"0123456789abcdef" * 100_000),
    "sparse file": Node(b"a/first", size=5_000_000, pieces=((1_000_000, b"x" * 8192),)),
    "symlink": Node(b"a/first", "symlink", target=b"nowhere", mtime_ns=7),
    "fifo": Node(b"a/first", "fifo", mode=0o600),
    "socket": Node(b"a/first", "socket", mode=0o600),
}
if IS_ROOT:
    _NODES |= {
        "character device": Node(b"a/first", "device", mode=0o600, owner=(3, 4)),
        "block device": Node(b"a/first", "block", rdev=(7, 9), mode=0o600, owner=(3, 4)),
        "whiteout": Node(b"a/first", "device", rdev=(0, 0), mode=0o000),
        "owned symlink": Node(b"a/first", "symlink", target=b"x", owner=(5, 6), xattrs=(("trusted.t", b"1"),)),
        "setuid program": Node(b"a/first", data=b"#!", mode=0o6755, owner=(5, 6)),
    }


def _group(node):
    folders = [Node(name, "dir", mode=0o755) for name in (b"a", b"b", b"c")]
    return [*folders, node, *(Node(name, "link", target=b"a/first") for name in (b"a/second", b"b/third", b"c/fourth"))]


@pytest.fixture(params=_NODES)
def tree(request, tmp_path):
    """A node with four names in three directories."""
    return plant(tmp_path / "tree", _group(_NODES[request.param]))


def test_every_name_comes_back_as_a_name_of_one_node(tree, tmp_path):
    assert comes_back(tree, tmp_path / "out") == []


def test_without_its_first_name_the_others_still_share_a_node(tree, tmp_path):
    rig = Rig()
    rig.backup(tree, excludes=["first"])
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == ["missing: b'a/first'"]


def test_without_the_directory_of_the_first_names_the_others_still_share_a_node(tree, tmp_path):
    rig = Rig()
    rig.backup(tree, excludes=[f"{tree}/a"])
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == ["missing: b'a'"]


def _keep_only(tree, asked):
    """Take out of a tree what was not asked for, as if it had never been there."""
    for name in ("a/first", "a/second", "b/third", "c/fourth"):
        if not any(name == path or name.startswith(path + "/") for path in asked):
            os.unlink(f"{tree}/{name}")
    for folder in ("a", "b", "c"):
        if os.listdir(f"{tree}/{folder}"):
            os.utime(f"{tree}/{folder}", ns=(0, Node(b"").mtime_ns))
        else:
            os.rmdir(f"{tree}/{folder}")
    os.utime(tree, ns=(0, 1_500_000_000_000_000_001))


_PARTS = (["b/third"], ["b/third", "c/fourth"], ["a/second", "c"], ["a/first", "c"], ["b", "c"])


@pytest.mark.parametrize("asked", _PARTS, ids=str)
def test_a_part_of_a_group_comes_back_as_one_node(tree, tmp_path, asked):
    rig = Rig()
    rig.backup(tree)
    done = rig.restore(tmp_path / "out", *(f"{tree}/{path}" for path in asked))
    _keep_only(tree, asked)
    assert (done.warnings, differences(tree, f"{tmp_path}/out{tree}")) == ((), [])


def test_names_asked_for_later_join_the_first_one_that_is_there(tree, tmp_path):
    rig = Rig()
    rig.backup(tree)
    for part in ("a", "c", "b"):
        rig.restore(tmp_path / "out", f"{tree}/{part}")
    # Directories that were there get the time at which they got a name.
    assert differences(tree, f"{tmp_path}/out{tree}", ignore=["mtime"]) == []


@pytest.mark.parametrize("gone", ["a/first", "b/third", "c/fourth"])
def test_a_name_that_went_away_leaves_the_others_as_they_were(tree, tmp_path, gone):
    rig = Rig()
    rig.backup(tree)
    os.unlink(f"{tree}/{gone}")
    settle(tree)
    rig.backup(tree)
    rig.backup(tree)
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == []


def test_a_name_that_was_added_before_or_behind_the_others_joins_them(tree, tmp_path):
    rig = Rig()
    settle(tree)
    rig.backup(tree)
    for name in ("a/a-new-first", "z-new-last"):
        os.link(f"{tree}/a/first", f"{tree}/{name}", follow_symlinks=False)
    settle(tree)
    rig.backup(tree)
    rig.backup(tree)
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == []


def test_a_name_that_became_a_file_of_its_own_and_one_that_joined_are_told_apart(tmp_path):
    nodes = [
        Node(b"1", data=b"same"),
        Node(b"2", "link", target=b"1"),
        Node(b"3", data=b"same"),
        Node(b"4", data=b"same"),
    ]
    tree = plant(tmp_path / "tree", [*nodes, Node(b"5", "link", target=b"4")])
    rig = Rig()
    settle(tree)
    rig.backup(tree)
    os.unlink(f"{tree}/2")
    os.link(f"{tree}/3", f"{tree}/2")  # of the same content, size and time as before
    os.rename(f"{tree}/5", f"{tree}/0")
    rig.backup(tree)
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == []


def test_names_that_are_far_apart_share_a_node(tmp_path):
    many = [Node(b"m/%05d" % number) for number in range(3_000)]
    nodes = [Node(b"m", "dir", mode=0o755), Node(b"a", data=b"shared"), *many]
    links = [Node(b"m/%05d-link" % number, "link", target=b"a") for number in range(0, 3_000, 300)]
    tree = plant(tmp_path / "tree", [*nodes, *links, Node(b"z", "link", target=b"a")])
    assert comes_back(tree, tmp_path / "out") == []


def test_names_outside_of_what_is_protected_are_not_missed(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"inside", data=b"x")])
    os.link(f"{tree}/inside", tmp_path / "outside")
    assert comes_back(tree, tmp_path / "out") == []
