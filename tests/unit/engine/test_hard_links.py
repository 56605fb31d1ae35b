"""Names of one file share its bytes, and a name never gets the bytes of another file."""

import os

import pytest

from shared.contracts.sources import FilesSource
from shared.model.backup import ConflictRule
from tests.support.compare import differences
from tests.support.trees import Node, plant, settle
from tests.unit.engine.rig import Rig
from workers.sources.files import FilesAdapter


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _write(path, data, mtime_ns=None):
    with open(path, "wb") as file:
        file.write(data)
    if mtime_ns is not None:
        os.utime(path, ns=(mtime_ns, mtime_ns))


@pytest.fixture
def tree(tmp_path):
    names = [Node(b"b", "link", target=b"a"), Node(b"c", "link", target=b"a")]
    return plant(tmp_path / "tree", [Node(b"a", data=b"content"), *names])


@pytest.fixture
def rig(tree):
    rig = Rig()
    rig.backup(tree)
    return rig


class _Replaced(FilesAdapter):
    """The files source, with a program that saves the file ``a`` anew right before it is read, once."""

    def __init__(self, tree, replace):
        super().__init__(FilesSource(paths=(tree,)))
        self._acts = [replace]

    def _act(self):
        if self._acts:
            self._acts.pop()()

    def open(self, entry):
        if entry.path.endswith(b"/a"):
            self._act()
        return super().open(entry)

    def read_whole(self, entry, room):
        if entry.path.endswith(b"/a"):
            self._act()
        return super().read_whole(entry, room)

    def complete(self, entry):
        if entry.path.endswith(b"/a"):
            self._act()
        return super().complete(entry)


def test_a_name_replaced_during_the_backup_does_not_lend_its_new_bytes_to_the_others(tree, tmp_path):
    def replace():
        _write(f"{tree}/.new", b"saved anew")
        os.rename(f"{tree}/.new", f"{tree}/a")

    rig = Rig()
    rig.backup(tree, source=_Replaced(tree, replace))
    rig.restore(tmp_path / "out")
    out = f"{tmp_path}/out{tree}"
    assert [_read(f"{out}/{name}") for name in "abc"] == [b"saved anew", b"content", b"content"]
    assert os.path.samefile(f"{out}/b", f"{out}/c")


def test_a_symlink_replaced_during_the_backup_does_not_lend_its_new_target_to_the_others(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"a", "symlink", target=b"old"), Node(b"b", "link", target=b"a")])

    def replace():
        os.symlink("newer", f"{tree}/.new")
        os.rename(f"{tree}/.new", f"{tree}/a")

    rig = Rig()
    rig.backup(tree, source=_Replaced(tree, replace))
    rig.restore(tmp_path / "out")
    assert [os.readlink(f"{tmp_path}/out{tree}/{name}") for name in "ab"] == ["newer", "old"]


def test_unchanged_names_stay_names_of_one_file_in_an_incremental(tree, tmp_path):
    rig = Rig()
    settle(tree)
    rig.backup(tree)
    assert rig.backup(tree).stats.files_unchanged == 3
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == []


@pytest.mark.parametrize("rule", [ConflictRule.SKIP, ConflictRule.RENAME])
def test_a_foreign_file_of_the_same_size_and_time_never_gets_further_names(rig, tree, tmp_path, rule):
    out = f"{tmp_path}/out{tree}"
    os.makedirs(out)
    _write(f"{out}/a", b"FOREIGN", os.stat(f"{tree}/a").st_mtime_ns)
    rig.restore(tmp_path / "out", conflict=rule)
    assert [_read(f"{out}/{name}") for name in "abc"] == [b"FOREIGN", b"content", b"content"]
    assert os.path.samefile(f"{out}/b", f"{out}/c")


def test_a_proven_first_name_gets_the_missing_ones(rig, tree, tmp_path):
    rig.restore(tmp_path / "out")
    os.unlink(f"{tmp_path}/out{tree}/b")
    rig.restore(tmp_path / "out")
    assert differences(f"{tree}", f"{tmp_path}/out{tree}") in ([], [_only_mtime(tree, tmp_path)])


def _only_mtime(tree, tmp_path):
    was, now = os.lstat(tree).st_mtime_ns, os.lstat(f"{tmp_path}/out{tree}").st_mtime_ns
    return f"b'.': mtime {was} became {now}"


def test_rename_brings_every_name_beside_those_that_are_there(rig, tree, tmp_path):
    rig.restore(tmp_path / "out")
    rig.restore(tmp_path / "out", conflict=ConflictRule.RENAME)
    out = f"{tmp_path}/out{tree}"
    assert sorted(os.listdir(out)) == ["a", "a.restored-1", "b", "b.restored-1", "c", "c.restored-1"]
    assert os.path.samefile(f"{out}/a.restored-1", f"{out}/c.restored-1")
    assert not os.path.samefile(f"{out}/a", f"{out}/a.restored-1")


def test_overwrite_joins_names_that_were_torn_apart(rig, tree, tmp_path):
    rig.restore(tmp_path / "out")
    out = f"{tmp_path}/out{tree}"
    os.unlink(f"{out}/b")
    _write(f"{out}/b", b"content", os.stat(f"{out}/a").st_mtime_ns)
    rig.restore(tmp_path / "out", conflict=ConflictRule.OVERWRITE)
    assert differences(tree, out) == []
