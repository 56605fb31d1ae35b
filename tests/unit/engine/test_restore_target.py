"""A restore writes inside its target only, by the conflict rule, and leaves no half file."""

import os
import stat
import struct
import subprocess
import threading

import pytest

from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from shared.vault.entry import Entry, EntryKind
from tests.support.compare import differences
from tests.support.trees import IS_ROOT, Node, nasty, plant
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import Recorder, Rig
from workers.engine.landing import is_safe
from workers.engine.ports import Stop
from workers.engine.restore import restore_point


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _write(path, data):
    with open(path, "wb") as file:
        file.write(data)


@pytest.fixture
def tree(tmp_path):
    return plant(
        tmp_path / "tree",
        [Node(b"d", "dir", mode=0o755), Node(b"d/f", data=b"from the point"), Node(b"l", "symlink", target=b"d")],
    )


@pytest.fixture
def rig(tree):
    rig = Rig()
    rig.backup(tree)
    return rig


@pytest.fixture
def out(tmp_path, tree):
    """The place in the target where the tree will land, with a file of somebody else in the way."""
    there = f"{tmp_path}/out{tree}"
    os.makedirs(f"{there}/d")
    _write(f"{there}/d/f", b"theirs")
    _write(f"{there}/d/extra", b"untouched")
    return there


def test_skip_keeps_what_is_there_and_adds_what_is_not(rig, tmp_path, out):
    done = rig.restore(tmp_path / "out")
    assert (_read(f"{out}/d/f"), os.readlink(f"{out}/l"), _read(f"{out}/d/extra")) == (b"theirs", "d", b"untouched")
    assert (done.stats.files_skipped, done.stats.files_restored, done.warnings) == (1, 1, ())


def test_overwrite_replaces_files_and_merges_directories(rig, tmp_path, out):
    done = rig.restore(tmp_path / "out", conflict=ConflictRule.OVERWRITE)
    assert (_read(f"{out}/d/f"), _read(f"{out}/d/extra")) == (b"from the point", b"untouched")
    assert (done.stats.files_skipped, done.stats.files_restored) == (0, 2)


def test_rename_writes_beside(rig, tmp_path, out):
    rig.restore(tmp_path / "out", conflict=ConflictRule.RENAME)
    rig.restore(tmp_path / "out", conflict=ConflictRule.RENAME)
    assert sorted(os.listdir(f"{out}/d")) == ["extra", "f", "f.restored-1", "f.restored-2"]
    assert (_read(f"{out}/d/f"), _read(f"{out}/d/f.restored-1")) == (b"theirs", b"from the point")


def test_a_directory_in_the_place_of_a_file_is_never_removed(tmp_path, rig, tree):
    os.makedirs(f"{tmp_path}/out{tree}/d/f/precious")
    done = rig.restore(tmp_path / "out", conflict=ConflictRule.OVERWRITE)
    assert [(notice.path, notice.code) for notice in done.warnings] == [(f"{tree}/d/f", "target-conflict")]
    assert os.listdir(f"{tmp_path}/out{tree}/d/f") == ["precious"]


@pytest.mark.parametrize("rule", list(ConflictRule))
def test_a_symlink_in_the_target_leads_nowhere(tmp_path, rig, tree, rule):
    outside = tmp_path / "outside"
    outside.mkdir()
    os.makedirs(f"{tmp_path}/out{tree}")
    os.symlink(outside, f"{tmp_path}/out{tree}/d")
    rig.restore(tmp_path / "out", conflict=rule)
    assert os.listdir(outside) == []


def test_a_symlink_swapped_in_while_restoring_leads_nowhere(tmp_path):
    nodes = [Node(b"d", "dir", mode=0o755), *(Node(b"d/%04d" % n, data=b"x") for n in range(900))]
    tree = plant(tmp_path / "tree", nodes)
    rig = Rig()
    rig.backup(tree)
    outside = tmp_path / "outside"
    outside.mkdir()
    place = f"{tmp_path}/out{tree}/d"
    ended = threading.Event()

    def swap():
        while not ended.is_set():
            try:
                os.rename(place, place + "-was")
                os.symlink(outside, place)
                os.unlink(place)
                os.rename(place + "-was", place)
            except OSError:
                continue

    attacker = threading.Thread(target=swap)
    attacker.start()
    try:
        rig.restore(tmp_path / "out")
    finally:
        ended.set()
        attacker.join()
    assert os.listdir(outside) == []


@pytest.mark.parametrize("path", [b"../up", b"a/../../up", b"/abs", b"a//b", b"a/./b", b"nul\0", b"", b"..", b"a/"])
def test_paths_that_lead_outside_are_refused(path):
    assert not is_safe(path)


class _Hostile:
    """A reader of a point that a stranger made: it inserts entries into a real one."""

    def __init__(self, inner, extra):
        self._inner, self._extra = inner, extra

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def entries_or_errors(self, under=b""):
        yield from self._inner.entries_or_errors(under)
        yield from self._extra


def test_a_hostile_point_cannot_write_outside_through_its_own_symlink(tmp_path, rig):
    outside = tmp_path / "outside"
    outside.mkdir()
    columns = (0, 0, 0, 0, 0, 0, 0)
    extra = [
        Entry(b"zz", EntryKind.SYMLINK, 0o777, *columns, target=os.fsencode(outside)),
        Entry(b"zz/file", EntryKind.FILE, 0o644, *columns),
        Entry(b"zz/../../up", EntryKind.FILE, 0o644, *columns),
        Entry(b"zz2", EntryKind.FILE, 0o644, *columns, link=b"../../../etc/passwd"),
    ]
    done = restore_point(
        _Hostile(rig.reader(), extra),
        target=str(tmp_path / "out"),
        paths=(),
        conflict=ConflictRule.SKIP,
        control=Uncontrolled(),
    )
    assert os.listdir(outside) == []
    assert [notice.code for notice in done.warnings] == ["target-conflict", "refused-path", "damaged"]


def test_an_unknown_path_is_refused_before_anything_is_written(rig, tmp_path, tree):
    with pytest.raises(SkyharborError) as caught:
        rig.restore(tmp_path / "out", f"{tree}/d/f", f"{tree}/nothing")
    assert (caught.value.code, (tmp_path / "out").exists()) == ("path-not-in-point", False)


@pytest.mark.parametrize("target", ["relative/place", "/proc/version/below", "/dev/null"])
def test_a_target_that_cannot_be_a_folder_is_refused(rig, target):
    with pytest.raises(SkyharborError) as caught:
        rig.restore(target)
    assert caught.value.code == "target-invalid"


def test_a_stopped_restore_leaves_whole_files_only_and_the_next_run_completes_it(tmp_path):
    tree = plant(tmp_path / "tree", nasty())
    rig = Rig()
    rig.backup(tree)
    with pytest.raises(Stop):
        rig.restore(tmp_path / "out", control=Recorder(stop_after=0))
    for folder, _, files in os.walk(tmp_path / "out"):
        for name in files:
            path = os.path.join(folder, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                assert _read(path) == _read(path.removeprefix(str(tmp_path / "out")))
    rig.restore(tmp_path / "out", conflict=ConflictRule.OVERWRITE)
    assert differences(tree, f"{tmp_path}/out{tree}") == []


def test_an_inherited_acl_does_not_stay_on_restored_files(tmp_path, rig, tree):
    os.mkdir(tmp_path / "out")
    no_id = b"\xff\xff\xff\xff"
    tags = [(1, 6, no_id), (2, 7, b"\1\0\0\0"), (4, 5, no_id), (16, 7, no_id), (32, 5, no_id)]
    acl = b"\2\0\0\0" + b"".join(struct.pack("<HH", tag, rights) + who for tag, rights, who in tags)
    try:
        os.setxattr(tmp_path / "out", "system.posix_acl_default", acl)
    except OSError:
        pytest.skip("this file system has no ACLs")
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == []


@pytest.mark.skipif(not IS_ROOT, reason="needs root to mount a small file system")
def test_a_full_disk_is_target_full(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"%d" % n, data=os.urandom(400_000)) for n in range(5)])
    rig = Rig()
    rig.backup(tree)
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(SkyharborError) as caught:
            rig.restore(small)
        assert caught.value.code == "target-full"
        assert all(_read(path) for path in small.rglob("[0-9]") if path.is_file())
    finally:
        subprocess.run(["umount", str(small)], check=True)
