"""A point that was made through the journal is the one that a scan of everything makes."""

import mmap
import os
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from shared.contracts.sources import ExcludeRules, FilesSource
from shared.model.backup import BackupType
from tests.support.mounts import bound, image, mounted_image
from tests.support.trees import IS_ROOT
from workers.sources.journal import journaling
from workers.sources.journal.fanotify import Watch, inode_of
from workers.sources.walk import Walk


def _spec(*paths, **fields):
    return FilesSource(paths=paths, journal=True, **fields)


@pytest.fixture
def tree(disk):
    root = Path(disk) / "tree"
    for folder in ("a/b/c", "a/d", "e/f", "g"):
        (root / folder).mkdir(parents=True)
        for number in range(5):
            (root / folder / f"file{number}").write_text(f"{folder} {number}")
    # What is read right after it was changed is looked at again by the next backup: here that is not what is asked.
    newest = os.stat(root / "g/file4").st_ctime_ns
    while time.time_ns() < newest + 50_000_000:
        time.sleep(0.01)
    return root


@pytest.fixture
def looks(monkeypatch):
    """How many nodes the scans met."""
    seen = []
    original = Walk._block

    def counting(self):
        seen.extend(self._paths)
        return original(self)

    monkeypatch.setattr(Walk, "_block", counting)
    return seen


def _is_as_scanned(holding, *paths):
    """Compare with a scan. Change times that were too young to be trusted are 0 in either, and mean nothing."""
    # The folders above the paths are the whole machine's, and change while we look.
    made, scanned = (
        [entry for entry in entries if os.fsdecode(b"/" + entry.path).startswith(paths)]
        for entries in (holding.entries(), holding.scanned(*paths))
    )
    for one, other in zip(made, scanned, strict=False):
        if not one.ctime_ns or not other.ctime_ns:
            one.ctime_ns = other.ctime_ns = 0
    assert [_told(one) for one in made] == [_told(one) for one in scanned]


def _told(entry):
    return msgspec.structs.asdict(entry) | {"chunks": len(entry.chunks), "path": os.fsdecode(entry.path)}


def _relied(done):
    return not any(notice.code == "everything-scanned" for notice in done.warnings)


def test_nothing_is_looked_at_where_nothing_has_changed(holding, tree, looks):
    holding.backup(_spec(str(tree)))
    looks.clear()
    done = holding.backup(_spec(str(tree)))
    assert [path for path in looks if b"/tree/" in path] == []
    assert done.warnings == ()
    assert done.stats.files_unchanged == done.stats.files == 20
    _is_as_scanned(holding, str(tree))


def test_only_the_way_to_a_change_is_looked_at(holding, tree, looks):
    holding.backup(_spec(str(tree)))
    (tree / "a/b/c/file1").write_text("changed")
    looks.clear()
    done = holding.backup(_spec(str(tree)))
    top = os.fsencode(tree)[1:]
    met = {path[len(top) + 1 :] for path in looks if path.startswith(top + b"/")}
    assert met == {b"a", b"a/b", b"a/b/c", *(b"a/b/c/file%d" % number for number in range(5))}
    assert (done.stats.files_changed, done.stats.files_unchanged) == (1, 19)
    _is_as_scanned(holding, str(tree))


def _write_through_an_older_descriptor(tree, held):
    os.pwrite(held, b"Z", 0)


def _change_the_mode(tree, held):
    (tree / "a/d/file1").chmod(0o600)


def _change_the_owner(tree, held):
    os.chown(tree / "a/d/file1", 3, 4)


def _set_an_attribute(tree, held):
    os.setxattr(tree / "a/d/file1", "user.word", b"1")


def _set_an_acl(tree, held):
    subprocess.run(["setfacl", "-m", "u:65534:r", str(tree / "a/d/file1")], check=True)


def _set_the_times(tree, held):
    os.utime(tree / "a/d/file1", ns=(1, 1))


def _set_the_times_of_a_folder(tree, held):
    os.utime(tree / "a/d", ns=(1, 1))


def _truncate(tree, held):
    os.truncate(tree / "e/f/file2", 1)


def _punch_a_hole(tree, held):
    with open(tree / "e/f/file2", "r+b") as file:
        file.truncate(1 << 20)


def _remove(tree, held):
    (tree / "e/f/file2").unlink()


def _remove_a_folder(tree, held):
    subprocess.run(["rm", "-r", str(tree / "a/b")], check=True)


def _move_a_folder(tree, held):
    (tree / "a/b").rename(tree / "e/b")


def _move_a_folder_away_and_another_there(tree, held):
    (tree / "a/d").rename(tree / "x")
    (tree / "e/f").rename(tree / "a/d")
    (tree / "x").rename(tree / "e/f")


def _exchange_folders(tree, held):
    (tree / "g").rename(tree / "h")
    (tree / "a").rename(tree / "g")


def _move_a_folder_there_and_back(tree, held):
    (tree / "a/b").rename(tree / "b")
    (tree / "b/c/file9").write_text("new")
    (tree / "b").rename(tree / "a/b")


def _replace_by_rename(tree, held):
    (tree / "a/d/new").write_text("new content")
    (tree / "a/d/new").rename(tree / "a/d/file1")


def _make_a_link(tree, held):
    os.link(tree / "a/b/c/file1", tree / "g/link")


def _link_that_comes_first(tree, held):
    os.link(tree / "g/file1", tree / "a/link")


def _bring_in_a_folder_from_outside(tree, held):
    outside = tree.parent / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep/file").write_text("x")
    outside.rename(tree / "a/outside")


CHANGES = [
    change
    for name, change in sorted(globals().items())
    if name.startswith("_")
    and callable(change)
    and getattr(change, "__code__", None) is not None
    and change.__code__.co_varnames[:2] == ("tree", "held")
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
def test_a_change_is_in_the_next_point(holding, tree, change):
    held = os.open(tree / "a/b/c/file3", os.O_RDWR)
    try:
        holding.backup(_spec(str(tree)))
        change(tree, held)
        done = holding.backup(_spec(str(tree)))
        assert _relied(done)
        _is_as_scanned(holding, str(tree))
    finally:
        os.close(held)


def test_a_write_through_a_mapping_is_in_the_next_point_while_it_lasts_and_after(holding, tree):
    (tree / "e/f/mapped").write_bytes(b"x" * 8192)
    holding.backup(_spec(str(tree)))
    with open(tree / "e/f/mapped", "r+b") as file:
        room = mmap.mmap(file.fileno(), 8192)
    room[0] = ord("A")
    assert _relied(holding.backup(_spec(str(tree))))
    _is_as_scanned(holding, str(tree))
    room[1] = ord("B")
    room.flush()
    assert _relied(holding.backup(_spec(str(tree))))
    _is_as_scanned(holding, str(tree))
    room[2] = ord("C")
    room.close()
    assert _relied(holding.backup(_spec(str(tree))))
    _is_as_scanned(holding, str(tree))
    assert holding.rig.restore(tree.parent / "back").stats.files_restored
    assert (tree.parent / "back" / str(tree)[1:] / "e/f/mapped").read_bytes()[:4] == b"ABCx"


@pytest.mark.parametrize("how", ["w", "chmod", "unlink"])
def test_a_change_by_a_name_outside_of_the_paths_is_in_the_next_point(holding, tree, how):
    outside = tree.parent / "outside"
    outside.mkdir()
    os.link(tree / "a/b/c/file1", outside / "name")
    holding.backup(_spec(str(tree)))
    if how == "w":
        (outside / "name").write_text("written by its other name")
    elif how == "chmod":
        (outside / "name").chmod(0o640)
    else:
        (outside / "name").unlink()
    done = holding.backup(_spec(str(tree)))
    assert _relied(done)
    _is_as_scanned(holding, str(tree))


def test_a_link_that_was_made_outside_and_written_through_later_is_not_forgotten(holding, tree):
    holding.backup(_spec(str(tree)))
    (tree / "a/b/c/file1").write_text("once")
    holding.backup(_spec(str(tree)))  # so that the journal has seen it with one name
    os.link(tree / "a/b/c/file1", tree.parent / "name")
    holding.backup(_spec(str(tree)))
    (tree.parent / "name").write_text("written by its other name")
    assert _relied(holding.backup(_spec(str(tree))))
    _is_as_scanned(holding, str(tree))


@pytest.mark.parametrize("moved", ["a", "g"])
def test_files_with_several_names_stay_one_when_a_folder_of_theirs_moves(holding, tree, moved):
    os.link(tree / "a/b/c/file1", tree / "g/also")
    os.link(tree / "e/f/file1", tree / "g/more")
    holding.backup(_spec(str(tree)))
    (tree / moved).rename(tree / ("zz" if moved == "a" else "0"))
    holding.backup(_spec(str(tree)))
    _is_as_scanned(holding, str(tree))


def test_a_moved_folder_with_a_name_of_a_file_that_was_kept_scans_everything(holding, tree):
    outside = tree.parent / "outside"
    outside.mkdir()
    os.link(tree / "a/b/c/file1", outside / "name")
    holding.backup(_spec(str(tree)))
    outside.rename(tree / "g/outside")
    done = holding.backup(_spec(str(tree)))
    assert [notice.message for notice in done.warnings] == ["a file with several names has moved"]
    _is_as_scanned(holding, str(tree))


def test_a_change_seen_through_a_bind_mount_is_in_the_next_point(holding, tree):
    (tree / "shown").mkdir()
    elsewhere = tree.parent / "elsewhere/deep"
    elsewhere.mkdir(parents=True)
    (elsewhere / "file").write_text("x")
    with bound(str(tree.parent / "elsewhere"), str(tree / "shown")):
        holding.backup(_spec(str(tree)))
        (elsewhere / "file").write_text("changed outside of the paths")
        assert _relied(holding.backup(_spec(str(tree))))
        _is_as_scanned(holding, str(tree))
        (tree / "shown/deep/new").write_text("and inside")
        assert _relied(holding.backup(_spec(str(tree))))
        _is_as_scanned(holding, str(tree))
    done = holding.backup(_spec(str(tree)))
    assert not _relied(done)
    _is_as_scanned(holding, str(tree))


def test_what_could_not_be_read_is_said_again(holding, tree):
    (tree / "a/proc").mkdir()
    with bound("/proc", str(tree / "a/proc")):
        first = holding.backup(_spec(str(tree)))
        again = holding.backup(_spec(str(tree)))
    assert [notice.code for notice in first.warnings] == ["skipped-filesystem"]
    assert [notice.code for notice in again.warnings] == ["skipped-filesystem"]


def test_another_description_scans_everything(holding, tree):
    holding.backup(_spec(str(tree)))
    done = holding.backup(_spec(str(tree), excludes=("file1",)))
    assert not _relied(done)
    assert not any(entry.path.endswith(b"file1") for entry in holding.entries())


def test_a_journal_that_was_started_anew_scans_everything(holding, tree):
    holding.backup(_spec(str(tree)))
    holding.line.close()
    (tree / "g/file1").write_text("changed while nobody watched")
    done = holding.backup(_spec(str(tree)))
    assert not _relied(done)
    _is_as_scanned(holding, str(tree))
    assert _relied(holding.backup(_spec(str(tree))))


def test_a_differential_point_has_all_since_its_reference(holding, tree):
    holding.backup(_spec(str(tree)))
    (tree / "a/d/file1").write_text("first")
    holding.backup(_spec(str(tree)))
    (tree / "e/f/file1").write_text("second")
    assert _relied(holding.backup(_spec(str(tree)), type=BackupType.DIFFERENTIAL))
    _is_as_scanned(holding, str(tree))


def test_rules_that_nobody_is_told_about_scan_everything(holding, tree):
    spec = _spec(str(tree), rules=ExcludeRules(nodump=True))
    holding.backup(spec)
    assert not _relied(holding.backup(spec))


def test_a_worker_without_a_journal_scans_and_says_so(tmp_path, holding, tree):
    holding.line.close()
    holding.line = None
    done = holding.backup(_spec(str(tree)))
    assert [notice.message for notice in done.warnings] == [
        "the journal of changes could not be used: this worker keeps no journal"
    ]


def test_a_file_system_that_was_away_meanwhile_is_scanned(tmp_path, holding):
    if not IS_ROOT:
        pytest.skip("a file system in an image: needs root to mount")
    place = tmp_path / "disk"
    with image("ext4", place, size=64 * 2**20, make=("-q", "-F")):
        (place / "tree").mkdir()
        (place / "tree/file").write_text("x")
        holding.backup(_spec(str(place / "tree")))
    with mounted_image(f"{place}.img", place):
        done = holding.backup(_spec(str(place / "tree")))
        assert not _relied(done)
        assert "was not watched all the time" in done.warnings[0].message
        assert _relied(holding.backup(_spec(str(place / "tree"))))


def test_the_journal_does_not_keep_a_file_system_mounted(tmp_path, holding):
    if not IS_ROOT:
        pytest.skip("a file system in an image: needs root to mount")
    with image("ext4", tmp_path / "disk", size=64 * 2**20, make=("-q", "-F")) as place:
        (Path(place) / "file").write_text("x")
        holding.backup(_spec(place))
        (Path(place) / "file").write_text("y")
        holding.backup(_spec(place))
        subprocess.run(["umount", place], check=True)  # not lazily
        subprocess.run(["mount", "-o", "loop", f"{place}.img", place], check=True)


def test_everything_is_scanned_every_so_many_points(tree, holding, monkeypatch):
    monkeypatch.setattr(journaling, "SCAN_EVERY", 3)
    relied = [_relied(holding.backup(_spec(str(tree)))) for _ in range(7)]
    # The first one has nothing to rely on, and nothing to say.
    assert relied == [True, True, True, False, True, True, False]


def test_a_warning_about_a_name_that_is_no_text_scans_everything(tree, holding):
    os.makedirs(os.fsencode(tree) + b"/a/\xff")
    with bound("/proc", os.fsdecode(os.fsencode(tree) + b"/a/\xff")):
        holding.backup(_spec(str(tree)))
        assert not _relied(holding.backup(_spec(str(tree))))


def test_the_inode_is_in_the_handle_where_we_say(disk):
    watch = Watch()
    try:
        watch.mark(disk)
        (Path(disk) / "file").write_text("x")
        handles = {event.node.handle for event in watch.events() if event.node is not None}
        assert {inode_of(handle) for handle in handles} == {os.stat(f"{disk}/file").st_ino}
    finally:
        watch.close()


def test_a_warning_of_the_reference_is_said_again(tree, holding):
    far = 40_000_000_000  # seconds: the year 3237
    os.utime(tree / "a/b/c/file1", (far, far))
    if os.stat(tree / "a/b/c/file1").st_mtime != far:
        pytest.skip("this file system holds no such times")
    first = holding.backup(_spec(str(tree)))
    again = holding.backup(_spec(str(tree)))
    assert [(one.code, one.path) for one in first.warnings] == [("metadata-not-kept", str(tree / "a/b/c/file1"))]
    assert again.warnings == first.warnings
