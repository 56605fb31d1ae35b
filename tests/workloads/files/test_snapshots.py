"""Files on btrfs are read as of one moment, under their own names, and nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.contracts.sources import FilesSource, Hooks, SnapshotWay
from shared.errors import SkyharborError
from tests.support.compare import differences
from tests.support.holding import Holding
from tests.support.mounts import image
from tests.support.trees import IS_ROOT
from workers.engine import reading
from workers.sources.snapshots.btrfs import delete_for_the_dead
from workers.sources.walk import Walk


@pytest.fixture
def top(tmp_path):
    """A subvolume of its own, that is not the file system's top."""
    if not IS_ROOT:
        pytest.skip("a btrfs image: needs root to mount")
    with image("btrfs", tmp_path / "disk", size=400 * 2**20, make=("-q", "-f")) as place:
        subprocess.run(["btrfs", "-q", "subvolume", "create", f"{place}/vol"], check=True)
        yield Path(place) / "vol"


@pytest.fixture
def tree(top):
    root = top / "tree"
    for folder in ("a/b", "c"):
        (root / folder).mkdir(parents=True)
        for number in range(5):
            (root / folder / f"file{number}").write_text(f"{folder} {number}")
    os.link(root / "a/b/file1", root / "c/also")
    os.symlink("a", root / "alias")
    newest = os.stat(root / "alias", follow_symlinks=False).st_ctime_ns
    while time.time_ns() < newest + 50_000_000:
        time.sleep(0.01)
    return root


@pytest.fixture
def holding(tmp_path):
    held = Holding(tmp_path / "worker")
    yield held
    held.close()


def _spec(*paths, snapshot=SnapshotWay.BTRFS, **fields):
    return FilesSource(paths=tuple(map(str, paths)), snapshot=snapshot, **fields)


def _left(top):
    folder = top / ".skyharbor"
    return sorted(os.listdir(folder)) if folder.exists() else []


def _change_at_first_look(monkeypatch, deed):
    """Do something once the scan has begun: what is read afterwards must not show it."""
    original, done = Walk.__iter__, []

    def changing(self):
        if not done:
            done.append(True)
            deed()
        return original(self)

    monkeypatch.setattr(Walk, "__iter__", changing)


def test_what_changes_while_it_is_read_is_not_in_the_point(holding, top, tree, tmp_path, monkeypatch):
    subprocess.run(["cp", "-a", str(tree), str(tmp_path / "oracle")], check=True)

    def deed():
        (tree / "a/b/file2").write_text("too late")
        (tree / "c/file3").unlink()
        (tree / "c").rename(tree / "d")

    _change_at_first_look(monkeypatch, deed)
    done = holding.backup(_spec(tree))
    assert done.warnings == ()
    holding.rig.restore(tmp_path / "back")
    assert differences(tmp_path / "oracle", f"{tmp_path}/back{tree}") == []
    assert _left(top) == []
    assert holding.guard.armed == {}


def test_the_paths_of_a_point_are_those_of_the_files(holding, top, tree):
    holding.backup(_spec(tree))
    plain = Holding(Path(holding.folder) / "other", journal=False)
    plain.backup(FilesSource(paths=(str(tree),)))
    assert [entry.path for entry in holding.entries()] == [entry.path for entry in plain.entries()]


def test_another_snapshot_makes_nothing_look_changed(holding, tree, monkeypatch):
    monkeypatch.setattr(reading, "_YOUNG_NS", 0)  # what was written right before it is read is read again otherwise
    holding.backup(_spec(tree))
    (tree / "c/file3").write_text("changed")
    stats = holding.backup(_spec(tree)).stats
    assert (stats.files_changed, stats.files_new, stats.files_removed) == (1, 0, 0)
    stats = holding.backup(_spec(tree)).stats
    assert (stats.files_changed, stats.files_unchanged, stats.bytes_read) == (0, stats.files, 0)


def test_a_whole_subvolume_is_protected_without_our_own_folder(holding, top, tree, tmp_path):
    holding.backup(_spec(top))
    holding.backup(_spec(top))
    assert not any(b".skyharbor" in entry.path for entry in holding.entries())
    holding.rig.restore(tmp_path / "back")
    assert differences(tree, f"{tmp_path}/back{tree}") == []


def test_a_vault_in_the_tree_is_no_part_of_it(holding, top, tree):
    (tree / "vault").mkdir()
    (tree / "vault/pack").write_text("what grows with every backup")
    holding.leave_out = (f"{tree}/vault",)
    done = holding.backup(_spec(tree))
    assert [(one.path, one.code) for one in done.warnings] == [(f"{tree}/vault", "skipped-vault")]
    assert not any(b"pack" in entry.path for entry in holding.entries())


def test_the_journal_and_a_snapshot_go_together(holding, tree, monkeypatch):
    holding.backup(_spec(tree, journal=True))
    (tree / "c/file3").write_text("changed")
    met = []
    original = Walk._block

    def block(self):
        met.extend(self._paths)
        return original(self)

    monkeypatch.setattr(Walk, "_block", block)
    done = holding.backup(_spec(tree, journal=True))
    assert done.warnings == ()
    assert (done.stats.files_changed, done.stats.files_unchanged) == (1, 11)
    assert not any(path.endswith(b"a/b/file2") for path in met)
    assert any(path.endswith(b"c/file3") for path in met)


def test_a_path_through_a_symlink_is_read_in_the_snapshot(holding, top, tree, tmp_path, monkeypatch):
    os.symlink(top, tmp_path / "alias")
    _change_at_first_look(monkeypatch, lambda: (tree / "c/file3").write_text("too late"))
    holding.backup(_spec(f"{tmp_path}/alias/tree"))
    holding.rig.restore(tmp_path / "back")
    assert Path(f"{tmp_path}/back{tmp_path}/alias/tree/c/file3").read_text() == "c 3"


def test_a_nested_subvolume_and_a_mount_are_read_as_they_are_and_said(holding, tree, tmp_path):
    subprocess.run(["btrfs", "-q", "subvolume", "create", f"{tree}/c/nested"], check=True)
    (tree / "c/nested/file").write_text("nested")
    (tree / "c/mounted").mkdir()
    with image("ext4", tmp_path / "other", size=64 * 2**20, make=("-q", "-F")) as other:
        subprocess.run(["mount", "--bind", other, f"{tree}/c/mounted"], check=True)
        try:
            (tree / "c/mounted/file").write_text("mounted")
            done = holding.backup(_spec(tree))
        finally:
            subprocess.run(["umount", f"{tree}/c/mounted"], check=True)
    assert [(one.path, one.code) for one in done.warnings] == [
        (f"{tree}/c/mounted", "not-in-snapshot"),
        (f"{tree}/c/nested", "not-in-snapshot"),
    ]
    holding.rig.restore(tmp_path / "back")
    assert Path(f"{tmp_path}/back{tree}/c/nested/file").read_text() == "nested"
    assert Path(f"{tmp_path}/back{tree}/c/mounted/file").read_text() == "mounted"


def test_the_command_after_runs_as_soon_as_the_snapshot_is_there(tmp_path, holding, tree, monkeypatch):
    programs = tmp_path / "hooks.d"
    programs.mkdir(mode=0o700)
    said = tmp_path / "said"
    (programs / "hook").write_text(f'#!/bin/sh\necho "$1 $SKYHARBOR_OUTCOME" >> {said}\n')
    (programs / "hook").chmod(0o700)
    holding.programs = str(programs)
    order = []
    _change_at_first_look(monkeypatch, lambda: order.extend(said.read_text().splitlines()))
    holding.backup(_spec(tree, hooks=Hooks(before=("hook", "before"), after=("hook", "after"))))
    assert order == ["before ", "after snapshot"]
    assert said.read_text().splitlines() == order


def test_a_backup_that_fails_leaves_no_snapshot(holding, top, tree, monkeypatch):
    def deed():
        raise SkyharborError("source-failed", "on purpose")

    _change_at_first_look(monkeypatch, deed)
    with pytest.raises(SkyharborError, match="on purpose"):
        holding.backup(_spec(tree))
    assert _left(top) == []
    assert holding.guard.armed == {}


def test_what_a_dead_machine_left_is_swept_by_the_next_backup_of_the_item(holding, top, tree):
    (top / ".skyharbor").mkdir()
    for name in ("item.left", "other.left"):
        subprocess.run(["btrfs", "-q", "subvolume", "snapshot", "-r", str(top), f"{top}/.skyharbor/{name}"], check=True)
    holding.backup(_spec(tree))
    assert _left(top) == ["other.left"]


def test_the_guard_deletes_snapshots_only(top, tree):
    (top / ".skyharbor").mkdir()
    place = f"{top}/.skyharbor/item.point"
    subprocess.run(["btrfs", "-q", "subvolume", "snapshot", "-r", str(top), place], check=True)
    delete_for_the_dead({"place": place})
    delete_for_the_dead({"place": place})
    delete_for_the_dead({"place": str(tree)})
    assert _left(top) == []
    assert tree.exists()


def test_files_elsewhere_are_refused_with_btrfs_and_read_with_auto(holding, tmp_path):
    (tmp_path / "plain").mkdir()
    with pytest.raises(SkyharborError, match="in no btrfs subvolume") as caught:
        holding.backup(_spec(tmp_path / "plain"))
    assert "is mounted" in caught.value.hint
    assert holding.backup(_spec(tmp_path / "plain", snapshot=SnapshotWay.AUTO)).warnings == ()


def test_a_killed_worker_leaves_no_snapshot_and_no_hold(top, tree, tmp_path):
    programs = tmp_path / "hooks.d"
    programs.mkdir(mode=0o700)
    said = tmp_path / "said"
    (programs / "thaw").write_text(f"#!/bin/sh\necho $SKYHARBOR_OUTCOME >> {said}\n")
    (programs / "thaw").chmod(0o700)
    for snapshot in ("none", "btrfs"):
        command = [sys.executable, "-m", "tests.support.killed_holder", str(tree), snapshot, str(programs)]
        worker = subprocess.Popen([*command, str(tmp_path / "worker")], stdout=subprocess.PIPE, text=True)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "held\n"
        assert len(_left(top)) == (snapshot == "btrfs")
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker.stdout.close()
        until = time.monotonic() + 60
        while _left(top) or not said.exists():
            assert time.monotonic() < until
            time.sleep(0.02)
    lines = said.read_text().split()
    assert lines == ["lost", "snapshot"]
