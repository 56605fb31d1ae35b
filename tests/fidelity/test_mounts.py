"""Mount points, bind mounts and overlays: what is mounted is data or is told, and inode numbers are not mixed up."""

import os

from tests.fidelity.trip import comes_back, needs_root
from tests.support.compare import differences
from tests.support.mounts import bound, image, mounted
from tests.support.trees import Node, plant
from tests.unit.engine.rig import Rig

pytestmark = needs_root


def _tree(tmp_path):
    return plant(tmp_path / "tree", [Node(b"m", "dir", mode=0o755), Node(b"m/below", data=b"b"), Node(b"f", data=b"f")])


def test_a_mounted_file_system_is_protected_with_what_is_in_it(tmp_path):
    tree = _tree(tmp_path)
    with image("ext4", f"{tmp_path}/disk", make=["-q"]), bound(f"{tmp_path}/disk", f"{tree}/m"):
        plant(f"{tree}/m/in", [Node(b"x", data=b"x"), Node(b"y", "link", target=b"x"), Node(b"z", "fifo")])
        assert comes_back(tree, tmp_path / "out") == []


def test_memory_and_kernel_file_systems_come_back_as_empty_directories_and_are_told(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"proc", "dir"), Node(b"memory", "dir"), Node(b"f", data=b"f")])
    rig = Rig()
    with mounted("tmpfs", f"{tree}/memory"), mounted("proc", f"{tree}/proc"):
        with open(f"{tree}/memory/gone", "wb"):
            pass
        done = rig.backup(tree)
        rig.restore(tmp_path / "out")
        out = f"{tmp_path}/out{tree}"
        assert [(notice.path, notice.code) for notice in done.warnings] == [
            (f"{tree}/memory", "skipped-filesystem"),
            (f"{tree}/proc", "skipped-filesystem"),
        ]
        assert (os.listdir(f"{out}/memory"), os.listdir(f"{out}/proc")) == ([], [])
        lines = differences(tree, out)
    assert all(line.startswith("missing: b'proc/") or line == "missing: b'memory/gone'" for line in lines)


def test_a_memory_file_system_that_was_asked_for_by_its_path_is_protected(tmp_path):
    with mounted("tmpfs", tmp_path / "memory") as there:
        plant(f"{there}/tree", [Node(b"f", data=b"f")])
        assert comes_back(there, tmp_path / "out") == []


def test_the_same_inode_numbers_on_two_file_systems_are_not_one_node(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"a", "dir"), Node(b"b", "dir")])
    with image("ext4", f"{tree}/a", make=["-q"]), image("ext4", f"{tree}/b", make=["-q"]):
        for name in ("a", "b"):
            plant(f"{tree}/{name}/in", [Node(b"1", data=name.encode()), Node(b"2", "link", target=b"1")])
        one, other = os.stat(f"{tree}/a/in/1"), os.stat(f"{tree}/b/in/1")
        assert (one.st_ino, one.st_dev != other.st_dev) == (other.st_ino, True)
        rig = Rig()
        rig.backup(tree, excludes=["*.img"])
        rig.restore(tmp_path / "out")
        assert differences(f"{tree}/a/in", f"{tmp_path}/out{tree}/a/in") == []
        assert differences(f"{tree}/b/in", f"{tmp_path}/out{tree}/b/in") == []


def test_what_is_shown_at_a_second_place_is_there_too(tmp_path):
    nodes = [Node(b"a", "dir", mode=0o755), Node(b"a/f", data=b"f"), Node(b"a/g", "link", target=b"a/f")]
    tree = plant(tmp_path / "tree", [*nodes, Node(b"b", "dir")])
    with bound(f"{tree}/a", f"{tree}/b"):
        assert comes_back(tree, tmp_path / "out") == []


def test_a_directory_shown_below_itself_ends(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"a", "dir", mode=0o755), Node(b"a/f", data=b"f")])
    os.mkdir(f"{tree}/a/again")
    with bound(tree, f"{tree}/a/again"):
        assert comes_back(tree, tmp_path / "out") == []


def test_a_file_that_is_a_mount_point_is_kept_as_what_it_shows(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"shown", data=b"over"), Node(b"f", data=b"under")])
    with bound(f"{tree}/shown", f"{tree}/f"):
        assert comes_back(tree, tmp_path / "out") == []


def test_an_overlay_comes_back_as_it_looks_and_its_upper_directory_as_it_is(tmp_path):
    lower = [
        Node(b"kept", data=b"k"),
        Node(b"gone", data=b"g"),
        Node(b"d", "dir", mode=0o755),
        Node(b"d/old", data=b"o"),
    ]
    plant(tmp_path / "lower", lower)
    for name in ("upper", "work"):
        os.mkdir(tmp_path / name)
    places = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    with mounted("overlay", tmp_path / "merged", options=places) as merged:
        os.unlink(f"{merged}/gone")
        os.unlink(f"{merged}/d/old")
        os.rmdir(f"{merged}/d")
        os.mkdir(f"{merged}/d")
        os.chmod(f"{merged}/kept", 0o600)
        assert comes_back(merged, tmp_path / "out") == []
    upper = f"{tmp_path}/upper"
    assert os.lstat(f"{upper}/gone").st_rdev == 0
    assert os.getxattr(f"{upper}/d", "trusted.overlay.opaque") == b"y"
    assert comes_back(upper, tmp_path / "out") == []
