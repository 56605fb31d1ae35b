"""The same restore again: what is right stays, what is not is replaced, and what was begun is finished."""

import os
import signal
import subprocess
import sys

import pytest

from shared.model.backup import ConflictRule
from shared.storage.local import LocalStore
from tests.support.compare import differences
from tests.support.trees import IS_ROOT, Node, nasty, plant
from tests.unit.engine.rig import Recorder, Rig
from workers.engine.ports import Stop


def _write(path, data):
    with open(path, "wb") as file:
        file.write(data)


_HOLES = Node(b"holes", size=3_000_000, pieces=((1_048_576, b"m" * 8192),))


@pytest.mark.parametrize("size", [7, 3_000_000])
def test_overwrite_replaces_a_file_of_the_same_size_and_time_but_other_bytes(tmp_path, size):
    tree = plant(tmp_path / "tree", [Node(b"f", data=b"x" * size)])
    rig = Rig()
    rig.backup(tree)
    rig.restore(tmp_path / "out")
    there = f"{tmp_path}/out{tree}/f"
    info = os.stat(there)
    _write(there, b"x" * (size - 1) + b"!")
    os.utime(there, ns=(info.st_atime_ns, info.st_mtime_ns))
    done = rig.restore(tmp_path / "out", conflict=ConflictRule.OVERWRITE)
    assert (done.stats.files_restored, differences(tree, f"{tmp_path}/out{tree}")) == (1, [])


def test_overwrite_replaces_a_file_with_data_where_the_point_has_a_hole(tmp_path):
    tree = plant(tmp_path / "tree", [_HOLES])
    rig = Rig()
    rig.backup(tree)
    rig.restore(tmp_path / "out")
    there = f"{tmp_path}/out{tree}/holes"
    info = os.stat(there)
    with open(there, "r+b") as file:
        file.seek(2_500_000)
        file.write(b"stray")
    os.utime(there, ns=(info.st_atime_ns, info.st_mtime_ns))
    rig.restore(tmp_path / "out", conflict=ConflictRule.OVERWRITE)
    assert differences(tree, f"{tmp_path}/out{tree}") == []


def test_overwrite_replaces_a_file_with_other_xattrs_and_leaves_a_right_one_alone(tmp_path):
    xattrs = (("user.note", b"1"),)
    tree = plant(
        tmp_path / "tree", [Node(b"f", data=b"x", xattrs=xattrs), Node(b"g", data=b"x", xattrs=xattrs), _HOLES]
    )
    rig = Rig()
    rig.backup(tree)
    rig.restore(tmp_path / "out")
    os.setxattr(f"{tmp_path}/out{tree}/f", "user.note", b"2")
    done = rig.restore(tmp_path / "out", conflict=ConflictRule.OVERWRITE)
    assert (done.stats.files_restored, done.stats.files_skipped) == (1, 2)
    assert differences(tree, f"{tmp_path}/out{tree}") == []


@pytest.mark.parametrize("rule", [ConflictRule.SKIP, ConflictRule.OVERWRITE])
def test_directories_that_a_stopped_restore_left_unfinished_are_finished_by_the_next(tmp_path, rule):
    tree = plant(tmp_path / "tree", nasty())
    rig = Rig()
    rig.backup(tree)
    with pytest.raises(Stop):
        rig.restore(tmp_path / "out", control=Recorder(stop_after=0), conflict=rule)
    rig.restore(tmp_path / "out", conflict=rule)
    assert differences(tree, f"{tmp_path}/out{tree}") == []


_KILLED = """
import os, signal, sys
from shared.storage.local import LocalStore
from tests.unit.engine.rig import Recorder, Rig
rig = Rig.__new__(Rig)
from shared.vault.vault import open_vault
from shared.crypto.domain_keys import DomainKeys
rig.store = LocalStore(sys.argv[1])
rig.vault, rig.keys = open_vault(rig.store), DomainKeys.derive(b"k" * 32)
class Killer(Recorder):
    def check(self):
        os.kill(os.getpid(), signal.SIGKILL)
rig.restore(sys.argv[2], control=Killer())
"""


def test_a_killed_restore_is_completed_by_the_same_restore_again(tmp_path):
    tree = plant(tmp_path / "tree", nasty())
    rig = Rig(LocalStore.create(str(tmp_path / "vault")))
    rig.backup(tree)
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path / "vault"), str(tmp_path / "out")], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "out").is_dir()
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == []


def test_a_directory_that_was_there_keeps_its_attributes(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"d", "dir", mode=0o755), Node(b"d/f", data=b"x")])
    rig = Rig()
    rig.backup(tree)
    os.makedirs(f"{tmp_path}/out{tree}/d", mode=0o700)
    os.chmod(f"{tmp_path}/out{tree}/d", 0o700)
    rig.restore(tmp_path / "out")
    assert os.stat(f"{tmp_path}/out{tree}/d").st_mode & 0o7777 == 0o700


@pytest.mark.skipif(not IS_ROOT, reason="needs root to give a folder away")
def test_a_folder_that_a_stranger_made_to_look_unfinished_stays_theirs(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"d", "dir", mode=0o755), Node(b"d/f", data=b"x")])
    rig = Rig()
    rig.backup(tree)
    there = f"{tmp_path}/out{tree}/d"
    os.makedirs(there)
    os.chown(there, 1234, 1234)
    os.chmod(there, 0o1700)
    rig.restore(tmp_path / "out")
    assert (os.stat(there).st_uid, os.stat(there).st_mode & 0o7777) == (1234, 0o1700)


# ── the original place, behind a symlink of the machine ──────────────────────────────────────────────


@pytest.fixture
def moved(tmp_path):
    """A tree that is reached through a symlink above it, as /home often is; returns (its path, where it really is)."""
    plant(tmp_path / "disk", [Node(b"data", "dir", mode=0o755), Node(b"data/f", data=b"from the point")])
    os.symlink("disk", tmp_path / "alias")
    return f"{tmp_path}/alias/data", f"{tmp_path}/disk/data"


@pytest.mark.parametrize("rule", list(ConflictRule))
def test_a_restore_to_the_original_place_goes_through_the_symlink_above_and_keeps_it(tmp_path, moved, rule):
    rig = Rig()
    rig.backup(moved[0])
    os.unlink(f"{moved[1]}/f")
    done = rig.restore("/", conflict=rule)
    assert (done.warnings, os.readlink(tmp_path / "alias"), os.listdir(moved[1])) == ((), "disk", ["f"])


@pytest.mark.parametrize("rule", list(ConflictRule))
@pytest.mark.parametrize("there", ["symlink", "file"])
def test_nothing_elsewhere_is_replaced_by_a_directory_that_is_only_above(tmp_path, moved, rule, there):
    rig = Rig()
    rig.backup(moved[0])
    above = f"{tmp_path}/out{tmp_path}"
    os.makedirs(above)
    os.mkdir(tmp_path / "outside")
    if there == "symlink":
        os.symlink(tmp_path / "outside", f"{above}/alias")
    else:
        _write(f"{above}/alias", b"precious")
    done = rig.restore(tmp_path / "out", conflict=rule)
    assert [(notice.path, notice.code) for notice in done.warnings] == [(f"{tmp_path}/alias", "target-conflict")]
    assert (os.listdir(above), os.listdir(tmp_path / "outside")) == (["alias"], [])
    assert os.path.islink(f"{above}/alias") == (there == "symlink")


@pytest.mark.skipif(not IS_ROOT, reason="needs root to be two users")
@pytest.mark.parametrize("whose", ["symlink", "folder"])
def test_a_symlink_that_another_user_could_have_put_there_is_not_followed(tmp_path, moved, whose):
    rig = Rig()
    rig.backup(moved[0])
    os.unlink(f"{moved[1]}/f")
    os.chown(tmp_path / "alias" if whose == "symlink" else tmp_path, 1234, 1234, follow_symlinks=False)
    done = rig.restore("/", conflict=ConflictRule.OVERWRITE)
    assert [notice.code for notice in done.warnings] == ["target-conflict"]
    assert (os.readlink(tmp_path / "alias"), os.listdir(moved[1])) == ("disk", [])


def test_a_directory_between_two_given_paths_is_restored_with_its_attributes(tmp_path):
    nodes = [Node(b"mid", "dir", mode=0o750), Node(b"mid/low", "dir", mode=0o755), Node(b"mid/low/f", data=b"x")]
    tree = plant(tmp_path / "tree", nodes)
    rig = Rig()
    rig.backup(tree, f"{tree}/mid/low")
    os.makedirs(f"{tmp_path}/out{tree}/mid")
    rig.restore(tmp_path / "out", conflict=ConflictRule.OVERWRITE)
    assert differences(tree, f"{tmp_path}/out{tree}") == []
