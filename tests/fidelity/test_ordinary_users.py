"""What an ordinary user can keep is kept, and the rest is told, node by node."""

import os

import pytest

from shared.storage.local import LocalStore
from tests.fidelity import nobody
from tests.fidelity.nobody import NOBODY
from tests.fidelity.trip import needs_root
from tests.support.compare import differences
from tests.support.trees import Node, plant
from tests.unit.engine.rig import Rig

pytestmark = needs_root  # to make what an ordinary user cannot
_CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


@pytest.fixture
def folder():
    with nobody.open_folder() as folder:
        yield folder


def _backup_as_root(folder, nodes):
    tree = plant(f"{folder}/tree", nodes)
    assert Rig(LocalStore(f"{folder}/vault")).backup(tree).warnings == ()
    return tree


def _told(notices, tree):
    """By path relative to the tree; the directories above it belong to root and are left out."""
    return {path[len(tree) + 1 :]: (code, message) for path, code, message in notices if path.startswith(f"{tree}/")}


def test_an_ordinary_users_own_tree_comes_back_without_a_difference(folder):
    nodes = [
        Node(b"d", "dir", mode=0o755, xattrs=(("user.x", b"1"),)),
        Node(b"d/f", data=b"f", mode=0o6755, xattrs=(("user.x", b"1"),), flags="dA"),
        Node(b"d/sticky", "dir", mode=0o1777),
        Node(b"d/closed", "dir", mode=0o500),
        Node(b"d/closed/f", data=b"f", mode=0o400),
        Node(b"d/fifo", "fifo", mode=0o4600),
        Node(b"d/socket", "socket", mode=0o700),
        Node(b"d/symlink", "symlink", target=b"/root/secret"),
        Node(b"d/hole", size=5_000_000, pieces=((1_000_000, b"x" * 4096),)),
        Node(b"d/link", "link", target=b"d/f"),
        Node(b"d/whiteout", "device", rdev=(0, 0), mode=0o000),
    ]
    nodes = [Node(**{**_fields(node), "owner": (NOBODY, NOBODY)}) if node.kind != "link" else node for node in nodes]
    tree = plant(f"{folder}/tree", nodes)
    os.chown(tree, NOBODY, NOBODY)
    assert nobody.backup(folder, tree) == []
    told = _told(nobody.restore(folder), tree)
    assert (told, differences(tree, f"{folder}/out{tree}")) == ({}, [])


def _fields(node):
    return {name: getattr(node, name) for name in node.__dataclass_fields__}


def test_what_only_root_can_give_is_told_for_every_node_and_nothing_else_is_missing(folder):
    nodes = [
        Node(b"f", data=b"f", owner=(1, 2), mode=0o640),
        Node(b"setuid", data=b"s", owner=(0, 0), mode=0o6755),
        Node(b"d", "dir", owner=(0, 0), mode=0o2755),
        Node(b"d/own", data=b"o", owner=(NOBODY, NOBODY), mode=0o4711),
        Node(b"l", "symlink", target=b"x", owner=(3, 4), xattrs=(("trusted.t", b"1"),)),
        Node(b"trusted", data=b"t", owner=(NOBODY, NOBODY), xattrs=(("trusted.t", b"1"), ("user.u", b"2"))),
        Node(b"capable", data=b"c", owner=(NOBODY, NOBODY), xattrs=(("security.capability", _CAPABILITY),)),
        Node(b"closed", data=b"i", owner=(NOBODY, NOBODY), flags="i"),
        Node(b"device", "device"),
        Node(b"disk", "block", rdev=(7, 0)),
    ]
    tree = _backup_as_root(folder, nodes)
    told = _told(nobody.restore(folder), tree)
    denied = "Operation not permitted"
    kept = "metadata-not-kept"
    assert told == {
        "f": (kept, f"owner ({denied}), group ({denied})"),
        "setuid": (kept, f"owner ({denied}), group ({denied}), setuid and setgid bits"),
        "d": (kept, f"owner ({denied}), group ({denied}), setuid and setgid bits"),
        "l": (kept, f"owner ({denied}), group ({denied}), trusted.t"),
        "trusted": (kept, "trusted.t"),
        "capable": (kept, "security.capability"),
        "closed": (kept, "immutable flag"),
        "device": ("special-not-created", denied),
        "disk": ("special-not-created", denied),
    }
    lines = differences(tree, f"{folder}/out{tree}", ignore=["owner"])
    assert lines == [
        "missing: b'device'",
        "missing: b'disk'",
        "b'capable': xattr security.capability is missing",
        "b'closed': flags i became none",
        "b'd': mode 2755 became 0755",
        "b'l': xattr trusted.t is missing",
        "b'setuid': mode 6755 became 0755",
        "b'trusted': xattr trusted.t is missing",
    ]


def test_a_group_that_the_user_is_in_is_kept_with_its_setgid_bit_gone_because_the_owner_is_another(folder):
    tree = _backup_as_root(folder, [Node(b"f", data=b"f", owner=(1, 4321), mode=0o2755)])
    told = _told(nobody.restore(folder, groups=[4321]), tree)
    assert told == {"f": ("metadata-not-kept", "owner (Operation not permitted), setuid and setgid bits")}
    assert os.stat(f"{folder}/out{tree}/f").st_gid == 4321


def test_an_own_file_of_a_group_that_the_user_is_in_comes_back_whole(folder):
    tree = _backup_as_root(folder, [Node(b"f", data=b"f", owner=(NOBODY, 4321), mode=0o6755)])
    os.chown(tree, NOBODY, NOBODY)
    told = _told(nobody.restore(folder, groups=[4321]), tree)
    assert (told, differences(f"{tree}/", f"{folder}/out{tree}", ignore=["owner"])) == ({}, [])
    assert os.stat(f"{folder}/out{tree}/f").st_gid == 4321


def test_directories_that_cannot_be_read_are_told_and_come_back_themselves(folder):
    nodes = [Node(b"open", data=b"o")]
    for mode in (0o000, 0o111, 0o333, 0o444):
        name = b"%03o" % mode
        nodes += [Node(name, "dir", mode=mode, owner=(1, 1), mtime_ns=5), Node(name + b"/f", data=b"f")]
    tree = plant(f"{folder}/tree", nodes)
    told = _told(nobody.backup(folder, tree), tree)
    nobody.restore(folder)
    # A directory that can be listed and not entered shows names and nothing more.
    assert told == dict.fromkeys(["000", "111", "333", "444/f"], ("unreadable", "Permission denied"))
    missing = [f"missing: b'{name}/f'" for name in ("000", "111", "333", "444")]
    assert differences(tree, f"{folder}/out{tree}", ignore=["owner"]) == missing


def test_closed_directories_of_a_point_come_back_for_their_owner_and_again(folder):
    mine = (NOBODY, NOBODY)
    nodes = []
    for mode in (0o000, 0o111, 0o300, 0o500, 0o1700):
        name = b"%04o" % mode
        nodes += [Node(name, "dir", mode=mode, owner=mine), Node(name + b"/e", "dir", mode=mode, owner=mine)]
        nodes += [Node(name + b"/e/f", data=b"f", mode=0, owner=mine), Node(name + b"/e/p", "fifo", owner=mine, mode=0)]
    tree = _backup_as_root(folder, nodes)
    os.chown(tree, NOBODY, NOBODY)
    assert _told(nobody.restore(folder), tree) == {}
    assert differences(tree, f"{folder}/out{tree}", ignore=["owner"]) == []
    # The second time their owner cannot look into some of them: that is said, and nothing is harmed.
    again = _told(nobody.restore(folder), tree)
    assert {code for code, _ in again.values()} == {"not-restored"}
    assert differences(tree, f"{folder}/out{tree}", ignore=["owner"]) == []


def test_a_file_that_cannot_be_read_is_told_and_the_rest_is_kept(folder):
    nodes = [Node(b"closed", data=b"c", mode=0o600), Node(b"open", data=b"o"), Node(b"fifo", "fifo", mode=0)]
    tree = plant(f"{folder}/tree", [*nodes, Node(b"zero", "device", mode=0)])
    told = _told(nobody.backup(folder, tree), tree)
    notices = _told(nobody.restore(folder), tree)
    assert told == {"closed": ("unreadable", "Permission denied")}
    assert notices["zero"][0] == "special-not-created"
    assert differences(tree, f"{folder}/out{tree}", ignore=["owner"]) == ["missing: b'closed'", "missing: b'zero'"]
