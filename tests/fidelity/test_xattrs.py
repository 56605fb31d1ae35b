"""Extended attributes come back whole: ACLs and capabilities among them, and none that the original did not have."""

import os

import pytest

from tests.fidelity.acls import ACCESS, ACL, DEFAULT, set_acl
from tests.fidelity.trip import comes_back, needs_root
from tests.support.compare import differences
from tests.support.mounts import image, mounted
from tests.support.trees import IS_ROOT, Node, plant, settle
from tests.unit.engine.rig import Rig

_OWNER = (1234, 5678) if IS_ROOT else None
_CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")

VALUES = {
    "empty": b"",
    "a zero byte": b"\0",
    "binary": bytes(range(256)),
    "not UTF-8": b"\xff\xfe",
    "about a block": b"v" * 3_900,
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("kind", ["file", "dir"])
def test_a_value_comes_back_byte_for_byte(tmp_path, kind, value):
    nodes = [Node(b"x", kind, mode=0o700, xattrs=(("user.value", value),))]
    assert comes_back(plant(tmp_path / "tree", nodes), tmp_path / "out") == []


def test_names_come_back_whatever_their_bytes_and_length(tmp_path):
    names = ["user." + "n" * 250, "user. ", "user.\udcff\udcfe", "user.a\nb", "user.user.user", "user.é"]
    nodes = [Node(b"x%d" % number, xattrs=((name, b"1"),)) for number, name in enumerate(names)]
    assert comes_back(plant(tmp_path / "tree", nodes), tmp_path / "out") == []


def test_a_value_of_64_kib_comes_back(tmp_path):
    with image("ext4", tmp_path / "disk", make=["-q", "-I", "256", "-O", "ea_inode"]) as disk:
        nodes = [
            Node(b"file", data=b"x", xattrs=(("user.large", os.urandom(65_536)), ("user.b", b"1"))),
            Node(b"dir", "dir", mode=0o755, xattrs=(("user.large", os.urandom(65_536)),)),
        ]
        assert comes_back(plant(f"{disk}/tree", nodes), f"{disk}/out") == []


def test_many_xattrs_of_one_node_come_back(tmp_path):
    with mounted("tmpfs", tmp_path / "memory") as there:
        many = tuple((f"user.{number:03}{'n' * 90}", os.urandom(512)) for number in range(150))
        nodes = [Node(b"f", data=b"x", xattrs=many), Node(b"d", "dir", mode=0o700, xattrs=many)]
        assert comes_back(plant(f"{there}/tree", nodes), f"{there}/out") == []


@needs_root
@pytest.mark.parametrize("kind", ["symlink", "fifo", "socket", "device", "block"])
def test_xattrs_of_nodes_that_cannot_be_opened_come_back(tmp_path, kind):
    nodes = [
        Node(b"x", kind, target=b"nowhere", owner=_OWNER, xattrs=(("trusted.a", b"1"), ("trusted.b", b"\0" * 500)))
    ]
    assert comes_back(plant(tmp_path / "tree", nodes), tmp_path / "out") == []


@needs_root
def test_every_namespace_comes_back_unknown_names_in_it_as_well(tmp_path):
    names = ("user.x", "trusted.x", "security.unheard-of", "trusted.overlay.whatever", "security.ima.note")
    nodes = [Node(b"f", data=b"f", xattrs=tuple((name, name.encode()) for name in names))]
    assert comes_back(plant(tmp_path / "tree", nodes), tmp_path / "out") == []


@needs_root
def test_capabilities_survive_the_owner_and_the_content_that_come_before_them(tmp_path):
    capable = (("security.capability", _CAPABILITY),)
    nodes = [
        Node(b"program", data=b"#!" * 10_000, mode=0o755, owner=_OWNER, xattrs=capable),
        Node(b"setuid too", data=b"#!", mode=0o6755, owner=_OWNER, xattrs=capable),
    ]
    assert comes_back(plant(tmp_path / "tree", nodes), tmp_path / "out") == []


def test_an_acl_comes_back_and_the_mode_that_shows_its_mask(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"f", data=b"f", owner=_OWNER), Node(b"d", "dir", owner=_OWNER)])
    set_acl(f"{tree}/f", ACCESS, ACL)
    set_acl(f"{tree}/d", ACCESS, ACL)
    assert os.stat(f"{tree}/f").st_mode & 0o777 == 0o650
    assert comes_back(tree, tmp_path / "out") == []


@needs_root
def test_an_acl_comes_back_on_a_fifo_a_socket_and_a_device_with_a_setgid_bit(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"fifo", "fifo"), Node(b"socket", "socket"), Node(b"device", "device")])
    for name in os.listdir(tree):
        set_acl(f"{tree}/{name}", ACCESS, ACL)
        os.chmod(f"{tree}/{name}", 0o2650)  # noqa: S103
    assert comes_back(tree, tmp_path / "out") == []


def test_a_default_acl_comes_back_and_nothing_below_inherits_it(tmp_path):
    nodes = [Node(b"d", "dir", mode=0o770)]
    nodes += [Node(b"d/before", data=b"f"), Node(b"d/sub", "dir", mode=0o711), Node(b"d/fifo", "fifo", mode=0o600)]
    tree = plant(tmp_path / "tree", nodes)
    set_acl(f"{tree}/d", DEFAULT, ACL)
    assert comes_back(tree, tmp_path / "out") == []


def test_what_was_inherited_in_the_original_comes_back_as_it_was(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"d", "dir", mode=0o770)])
    set_acl(f"{tree}/d", DEFAULT, ACL)
    os.mkdir(f"{tree}/d/sub")
    with open(f"{tree}/d/sub/f", "wb") as file:
        file.write(b"f")
    os.mkfifo(f"{tree}/d/fifo")
    assert ACCESS in os.listxattr(f"{tree}/d/sub/f")
    assert comes_back(tree, tmp_path / "out") == []


def test_an_acl_that_the_target_gives_to_new_nodes_is_removed(tmp_path):
    nodes = [Node(b"f", data=b"f", mode=0o640), Node(b"d", "dir", mode=0o2755 if IS_ROOT else 0o755)]
    nodes += [Node(b"d/g", data=b"g", mode=0o666), Node(b"p", "fifo", mode=0o620), Node(b"s", "socket", mode=0o755)]
    tree = plant(tmp_path / "tree", nodes)
    os.mkdir(tmp_path / "out")
    set_acl(tmp_path / "out", DEFAULT, ACL)
    assert comes_back(tree, tmp_path / "out") == []


@needs_root
def test_a_group_that_the_target_gives_to_new_nodes_is_replaced(tmp_path):
    nodes = [Node(b"f", data=b"f"), Node(b"d", "dir", mode=0o755), Node(b"d/g"), Node(b"l", "symlink", target=b"x")]
    tree = plant(tmp_path / "tree", nodes)
    os.mkdir(tmp_path / "out")
    os.chown(tmp_path / "out", 0, 4321)
    os.chmod(tmp_path / "out", 0o2777)  # noqa: S103
    assert comes_back(tree, tmp_path / "out") == []


@pytest.mark.parametrize("change", ["set", "remove", "replace"])
def test_a_change_of_an_xattr_alone_is_in_the_next_point_and_the_last_one_keeps_the_old(tmp_path, change):
    first = plant(tmp_path / "first", [Node(b"f", data=b"f", xattrs=(("user.a", b"1"),))])
    tree = plant(tmp_path / "tree", [Node(b"f", data=b"f", xattrs=(("user.a", b"1"),))])
    rig = Rig()
    settle(tree)
    rig.backup(tree)
    if change == "remove":
        os.removexattr(f"{tree}/f", "user.a")
    else:
        os.setxattr(f"{tree}/f", "user.b" if change == "set" else "user.a", b"2")
    done = rig.backup(tree)
    old, _ = rig.points()
    rig.restore(tmp_path / "new")
    rig.restore(tmp_path / "old", point_id=old)
    assert done.stats.files_changed == 1
    assert differences(tree, f"{tmp_path}/new{tree}") + differences(first, f"{tmp_path}/old{tree}") == []


def test_a_node_with_more_xattrs_than_the_kernel_lists_is_told_by_name(tmp_path):
    """``listxattr`` fails beyond 64 KiB of names. Such a node is not kept without its xattrs in silence."""
    names = [f"user.{number:04}{'n' * 240}" for number in range(280)]
    with mounted("tmpfs", tmp_path / "tmpfs") as there:
        tree = plant(f"{there}/tree", [Node(b"f", data=b"content"), Node(b"other")])
        for name in names:
            try:
                os.setxattr(f"{tree}/f", name, b"")
            except OSError as error:
                pytest.skip(f"tmpfs does not take so many: {error}")
        with pytest.raises(OSError, match="too"):
            os.listxattr(f"{tree}/f")
        done = Rig().backup(tree)
        assert [(notice.path, notice.code) for notice in done.warnings] == [(f"{tree}/f", "unreadable")]
