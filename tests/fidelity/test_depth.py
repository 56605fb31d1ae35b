"""Trees deeper than any path come back, and cost time by their size and not by its square."""

import os
import resource
import time

import pytest

from tests.fidelity.trip import comes_back
from tests.support.compare import differences
from tests.support.trees import IS_ROOT, settle
from tests.unit.engine.rig import Rig


class Digger:
    """Makes nodes level by level below what a path can name."""

    def __init__(self, root):
        os.mkdir(root)
        self.fd = os.open(root, os.O_RDONLY)

    def down(self, name, mode=0o755):
        os.mkdir(name, mode, dir_fd=self.fd)
        below = os.open(name, os.O_RDONLY, dir_fd=self.fd)
        os.close(self.fd)
        self.fd = below

    def write(self, name, data):
        with open(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=self.fd), "wb") as file:
            file.write(data)


@pytest.mark.parametrize(("depth", "width"), [(30, 255), (1_100, 10), (2_200, 1)])
def test_a_tree_deeper_than_path_max_comes_back_with_everything_at_its_bottom(tmp_path, depth, width):
    digger = Digger(f"{tmp_path}/tree")
    for level in range(depth):
        digger.down(b"d" * width)
        if level % 50 == 0:
            digger.write(b"file", b"%d" % level)
    digger.write(b"small", b"at the bottom")
    digger.write(b"large", b"0123456789abcdef" * 100_000)
    os.symlink("small", "symlink", dir_fd=digger.fd)
    os.mkfifo("fifo", dir_fd=digger.fd)
    os.link("small", "link", src_dir_fd=digger.fd, dst_dir_fd=digger.fd)
    os.setxattr(f"/proc/self/fd/{digger.fd}/small", "user.x", b"1")
    os.mkdir("empty", 0o700, dir_fd=digger.fd)
    os.truncate(os.open("hole", os.O_CREAT | os.O_WRONLY, dir_fd=digger.fd), 5_000_000)
    if IS_ROOT:
        os.mknod("device", 0o20644, os.makedev(1, 3), dir_fd=digger.fd)
        os.setxattr(f"/proc/self/fd/{digger.fd}/symlink", "trusted.x", b"1", follow_symlinks=False)
    assert comes_back(f"{tmp_path}/tree", tmp_path / "out") == []


def test_a_change_at_the_bottom_of_a_deep_tree_is_in_the_next_point(tmp_path):
    digger = Digger(f"{tmp_path}/tree")
    for _ in range(1_100):
        digger.down(b"directory")
    digger.write(b"file", b"before")
    rig = Rig()
    rig.backup(f"{tmp_path}/tree")
    digger.write(b"file", b"behind it")
    done = rig.backup(f"{tmp_path}/tree")
    rig.restore(tmp_path / "out")
    assert (done.stats.files_changed, differences(f"{tmp_path}/tree", f"{tmp_path}/out{tmp_path}/tree")) == (1, [])


def test_no_backup_hangs_in_a_tree_of_five_thousand_levels(tmp_path):
    """A walk from the top for every level took 36 s of the processor, this takes a few;

    anybody can make such a tree, and no backup may hang in it.
    """
    digger = Digger(f"{tmp_path}/tree")
    for _ in range(5_000):
        digger.down(b"d")
    digger.write(b"file", b"x")
    begin = time.process_time()
    done = Rig().backup(f"{tmp_path}/tree")
    assert (done.warnings, done.stats.directories >= 5_000, time.process_time() - begin < 20) == ((), True, True)


def test_deep_and_wide_at_once_needs_few_descriptors(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    digger = Digger(f"{tmp_path}/tree")
    for level in range(400):
        digger.write(b"a", b"%d" % level)
        digger.write(b"z", b"%d" % level)
        os.mkdir(b"side", dir_fd=digger.fd)
        digger.down(b"deeper")
    settle(f"{tmp_path}/tree")
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 220, hard))
    try:
        assert comes_back(f"{tmp_path}/tree", tmp_path / "out") == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
