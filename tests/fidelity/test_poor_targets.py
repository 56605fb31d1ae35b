"""What a target cannot hold is counted and listed, and costs nothing else."""

from tests.fidelity.acls import ACCESS, ACL, DEFAULT, set_acl
from tests.fidelity.trip import needs_root
from tests.support.compare import differences
from tests.support.mounts import image, mounted
from tests.support.trees import Node, nasty, plant
from tests.unit.engine.rig import Rig

pytestmark = needs_root


def _messages(done, tree):
    return {notice.path[len(tree) + 1 :]: (notice.code, notice.message) for notice in done.warnings}


def test_without_xattrs_in_the_target_every_node_that_had_some_is_told(tmp_path):
    nodes = [
        Node(b"acl", data=b"a"),
        Node(b"default", "dir", mode=0o755),
        Node(b"file", data=b"f", mode=0o6755, owner=(1, 2), xattrs=(("user.a", b"1"), ("trusted.b", b"2"))),
        Node(b"plain", data=b"p"),
        Node(b"symlink", "symlink", target=b"x", xattrs=(("trusted.l", b"3"),)),
    ]
    tree = plant(tmp_path / "tree", nodes)
    set_acl(f"{tree}/acl", ACCESS, ACL)
    set_acl(f"{tree}/default", DEFAULT, ACL)
    rig = Rig()
    rig.backup(tree)
    with mounted("ramfs", tmp_path / "ramfs") as there:
        done = rig.restore(f"{there}/out")
        assert done.stats.warnings == len(done.warnings) == 4
        assert _messages(done, tree) == {
            "acl": ("metadata-not-kept", "system.posix_acl_access"),
            "default": ("metadata-not-kept", "system.posix_acl_default"),
            "file": ("metadata-not-kept", "trusted.b, user.a"),
            "symlink": ("metadata-not-kept", "trusted.l"),
        }
        assert differences(tree, f"{there}/out{tree}", ignore=["xattrs"]) == []


def test_everything_nasty_but_xattrs_and_holes_survives_ramfs(tmp_path):
    tree = plant(tmp_path / "tree", nasty())
    rig = Rig()
    rig.backup(tree)
    with mounted("ramfs", tmp_path / "ramfs") as there:
        done = rig.restore(f"{there}/out")
        assert {notice.code for notice in done.warnings} == {"metadata-not-kept"}
        assert differences(tree, f"{there}/out{tree}", ignore=["xattrs", "holes"]) == []


def test_everything_nasty_survives_tmpfs(tmp_path):
    tree = plant(tmp_path / "tree", nasty())
    rig = Rig()
    rig.backup(tree)
    with mounted("tmpfs", tmp_path / "tmpfs") as there:
        assert (rig.restore(f"{there}/out").warnings, differences(tree, f"{there}/out{tree}")) == ((), [])


def test_a_value_too_large_for_the_target_is_told_and_is_no_full_disk(tmp_path):
    with image("ext4", tmp_path / "large", make=["-q", "-I", "256", "-O", "ea_inode"]) as disk:
        nodes = [
            Node(b"f", data=b"f", xattrs=(("user.large", b"x" * 60_000), ("user.small", b"1"))),
            Node(b"g", data=b"g"),
        ]
        tree = plant(f"{disk}/tree", nodes)
        rig = Rig()
        rig.backup(tree)
        with image("ext4", tmp_path / "small", make=["-q", "-I", "256"]) as small:
            done = rig.restore(f"{small}/out")
            assert _messages(done, tree) == {"f": ("metadata-not-kept", "user.large")}
            assert differences(tree, f"{small}/out{tree}") == ["b'f': xattr user.large is missing"]
