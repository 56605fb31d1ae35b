"""What a source says is unchanged is taken from the reference, and only what the reference really has."""

import os
import time

import msgspec
import pytest

from shared.contracts.sources import FilesSource
from shared.errors import SkyharborError
from tests.unit.engine.rig import Rig
from workers.engine import part, reading
from workers.sources.files import FilesAdapter
from workers.sources.journal.changes import Changes, write_changes


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    for folder in ("a/b", "c/d", "e"):
        (root / folder).mkdir(parents=True)
        for number in range(150):
            (root / folder / f"file{number:03}").write_text(f"{folder} {number}")
    newest = os.stat(root / "e/file149").st_ctime_ns
    while time.time_ns() < newest + 50_000_000:
        time.sleep(0.01)
    return root


@pytest.fixture
def offering(tree, tmp_path):
    """Make a source that says that only these folders, and those that lead there, have changed."""

    def make(*look, doubtful=()):
        changed = {(os.stat(tree / one).st_dev, os.stat(tree / one).st_ino) for one in look}
        changes = Changes(
            look=frozenset(changed), devices=frozenset({os.stat(tree).st_dev}), doubtful=frozenset(doubtful)
        )
        write_changes(str(tmp_path / "changes"), changes)
        return FilesAdapter(FilesSource(paths=(str(tree),)), changes=str(tmp_path / "changes"))

    return make


def _below(rig, tree):
    top = os.fsencode(tree)[1:] + b"/"
    return {entry.path[len(top) :].decode(): entry for entry in rig.reader().entries() if entry.path.startswith(top)}


def test_what_is_said_to_be_unchanged_is_taken_without_a_look(tree, offering):
    rig = Rig()
    rig.backup(str(tree))
    before = _below(rig, tree)
    (tree / "a/b/file001").write_text("nobody was told")
    done = rig.backup(str(tree), source=offering())
    assert _below(rig, tree) == before
    assert (done.stats.files, done.stats.files_unchanged, done.stats.bytes_read) == (450, 450, 0)
    assert done.stats.bytes_scanned == sum(entry.size for entry in before.values())


def test_the_counts_are_those_of_a_scan(tree, offering):
    rig, other = Rig(), Rig()
    for one in (rig, other):
        one.backup(str(tree))
    (tree / "c/d/file001").write_text("changed")
    (tree / "c/d/file002").unlink()
    (tree / "c/d/new").write_text("new")
    kept = rig.backup(str(tree), source=offering(".", "c", "c/d"))
    scanned = other.backup(str(tree))
    names = ("files", "directories", "files_new", "files_changed", "files_unchanged", "files_removed", "bytes_scanned")
    counts = [{name: getattr(done.stats, name) for name in names} for done in (kept, scanned)]
    assert counts[0] == counts[1]
    assert list(_below(rig, tree)) == list(_below(other, tree))


def test_a_folder_that_is_not_the_one_of_the_reference_is_scanned_whatever_is_said(tree, offering):
    rig = Rig()
    rig.backup(str(tree))
    (tree / "a").rename(tree.parent / "away")
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/only").write_text("x")
    rig.backup(str(tree), source=offering("."))
    assert {path for path in _below(rig, tree) if path.startswith("a/")} == {"a/b", "a/b/only"}


def test_a_folder_that_the_reference_does_not_have_is_scanned_whatever_is_said(tree, offering):
    rig = Rig()
    rig.backup(str(tree))
    (tree / "a").rename(tree / "z")
    rig.backup(str(tree), source=offering("."))
    assert "z/b/file149" in _below(rig, tree)
    assert "a" not in _below(rig, tree)


def test_doubtful_nodes_are_looked_at(tree, offering):
    rig = Rig()
    rig.backup(str(tree))
    (tree / "a/b/file001").write_text("changed by another name")
    (tree / "e/file001").unlink()
    doubtful = {os.stat(tree / "a/b/file001").st_ino, _below(rig, tree)["e/file001"].inode}
    done = rig.backup(str(tree), source=offering(doubtful=doubtful))
    assert (done.stats.files_changed, done.stats.files_removed) == (1, 1)
    assert [notice.code for notice in done.warnings] == ["vanished"]
    assert _below(rig, tree)["a/b/file001"].size == len("changed by another name")


def test_what_was_read_right_after_it_had_changed_is_looked_at(tree, offering, monkeypatch):
    rig = Rig()
    with monkeypatch.context() as patched:
        patched.setattr(reading, "_YOUNG_NS", 3600 * 10**9)
        rig.backup(str(tree))
    assert not any(entry.ctime_ns for entry in _below(rig, tree).values())
    (tree / "a/b/file001").write_text("later")
    # The folders are not trusted either: what is offered is refused for as long as they are as young.
    monkeypatch.setattr(reading, "_YOUNG_NS", 0)
    rig.backup(str(tree), source=offering("e"))
    assert _below(rig, tree)["a/b/file001"].size == len("later")
    assert all(entry.ctime_ns for entry in _below(rig, tree).values())


def test_a_young_file_in_a_folder_that_is_none_is_looked_at(tree, offering, monkeypatch):
    newest = os.stat(tree / "e/file149").st_ctime_ns
    (tree / "a/b/file001").write_text("young")
    rig = Rig()
    with monkeypatch.context() as patched:
        # Only what was changed behind the other files is young.
        patched.setattr(reading.FileReading, "_young_since", lambda _: newest + 1)
        rig.backup(str(tree))
    assert [path for path, entry in _below(rig, tree).items() if not entry.ctime_ns] == ["a/b/file001"]
    (tree / "a/b/file001").write_text("later")
    rig.backup(str(tree), source=offering())
    assert _below(rig, tree)["a/b/file001"].size == len("later")


def test_chunks_that_the_vault_has_lost_are_read_again_of_what_is_unchanged(tree, offering):
    rig = Rig()
    rig.backup(str(tree))
    before = {path: entry.chunks for path, entry in _below(rig, tree).items()}
    for pack in list(rig.store.list("packs/d/")):
        rig.store.delete(pack.name)
    done = rig.backup(str(tree), source=offering())
    assert (done.stats.files, done.stats.bytes_read) == (450, done.stats.bytes_scanned)
    assert {path: entry.chunks for path, entry in _below(rig, tree).items()} == before
    assert rig.restore(tree.parent / "back").stats.files_restored == 450


def test_a_reference_that_ends_early_has_everything_scanned(tree, offering, monkeypatch):
    rig = Rig()
    rig.backup(str(tree))
    before = _below(rig, tree)
    original, used = part.Reference.page_below, []

    def breaking(self, path):
        if not used:  # whether the cursor is before a page or inside of one depends on the folder's name
            used.append(True)
            self.problem = SkyharborError("object-damaged", "on purpose")
            self.page = self._columns = None
        return original(self, path)

    monkeypatch.setattr(part.Reference, "page_below", breaking)
    done = rig.backup(str(tree), source=offering())
    assert used
    assert [notice.code for notice in done.warnings] == ["everything-scanned"]
    assert _below(rig, tree).keys() == before.keys()


def test_a_file_whose_other_name_was_kept_is_one_with_it(tree, offering):
    os.link(tree / "a/b/file001", tree / "c/also")
    os.link(tree / "a/b/file001", tree / "e/also")
    newest = os.stat(tree / "e").st_ctime_ns
    while time.time_ns() < newest + 50_000_000:
        time.sleep(0.01)
    rig = Rig()
    rig.backup(str(tree))
    before = {path: msgspec.structs.replace(entry, ctime_ns=0) for path, entry in _below(rig, tree).items()}
    for look in ((".", "c"), (".", "e"), (".", "a", "a/b"), (".", "c", "e")):
        rig.backup(str(tree), source=offering(*look))
        after = {path: msgspec.structs.replace(entry, ctime_ns=0) for path, entry in _below(rig, tree).items()}
        assert after == before
