"""An incremental reads and stores what changed, and nothing else."""

import os
import random
from datetime import UTC, datetime

import pytest

from shared.clock import SystemClock
from shared.model.backup import BackupType
from shared.vault.entry import EntryKind
from tests.support.compare import differences
from tests.support.trees import Node, nasty, plant, settle
from tests.unit.engine.rig import Rig


@pytest.fixture
def tree(tmp_path):
    return plant(tmp_path / "tree", nasty())


def test_an_unchanged_source_is_not_read_and_costs_next_to_nothing(tree):
    rig = Rig()
    settle(tree)
    first = rig.backup(tree)
    second = rig.backup(tree)
    assert second.stats.files_unchanged == first.stats.files
    assert (second.stats.bytes_read, second.stats.files_removed) == (0, 0)
    # The manifest, and perhaps the first page of entries: the directories above may have changed.
    assert (second.stats.chunks_new <= 1, second.stats.bytes_transferred < 10_000) == (True, True)


def test_only_the_changed_file_is_read(tree, tmp_path):
    rig = Rig()
    settle(tree)
    rig.backup(tree)
    with open(f"{tree}/a/b", "ab") as file:
        file.write(b" and more")
    settle(tree)
    done = rig.backup(tree)
    stats = done.stats
    assert (stats.bytes_read, stats.files_changed, stats.files_new, stats.files_removed) == (10, 1, 0, 0)
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == []


def test_new_and_removed_files_are_counted_and_older_points_keep_them(tree, tmp_path):
    rig = Rig()
    settle(tree)
    rig.backup(tree)
    os.rename(f"{tree}/read-only", f"{tree}/read-only-2")
    os.unlink(f"{tree}/empty-file")
    done = rig.backup(tree)
    assert (done.stats.files_new, done.stats.files_removed, done.stats.chunks_new <= 3) == (1, 2, True)
    rig.restore(tmp_path / "old", f"{tree}/empty-file", point_id=rig.points()[0])
    assert os.path.getsize(f"{tmp_path}/old{tree}/empty-file") == 0


FILES = 900  # several pages, so that additions and removals fall inside of some and at the ends of others


@pytest.mark.parametrize("seed", range(8))
def test_what_surrounds_additions_and_removals_is_neither_read_nor_lost(tmp_path, seed):
    rng, rig, tree = random.Random(seed), Rig(), tmp_path / "tree"
    tree.mkdir()
    names = [f"{number:04}" for number in range(FILES)]
    for name in names:
        (tree / name).write_bytes(name.encode() * 5)
    pairs = rng.sample(range(1, FILES), 3) if seed % 2 else []
    for number in pairs:
        os.unlink(tree / names[number])
        os.link(tree / names[number - 1], tree / names[number])
    settle(str(tree))
    rig.backup(str(tree))
    whole = [number for number in range(FILES) if number not in pairs and number + 1 not in pairs]
    rewritten, removed = set(rng.sample(whole, rng.choice([1, 5, 60]))), set(rng.sample(whole, rng.choice([1, 5, 60])))
    added = {f"{names[number]}-new" for number in rng.sample(range(FILES), rng.choice([1, 5, 60]))} | {"!"}
    for number in rewritten:
        (tree / names[number]).write_bytes(b"changed " + names[number].encode())
    for number in removed:
        os.unlink(tree / names[number])
    for name in added:
        (tree / name).write_bytes(name.encode())
    settle(str(tree))
    stats = rig.backup(str(tree)).stats
    rewritten -= removed
    counts = (stats.files_changed, stats.files_removed, stats.files_new, stats.files_unchanged)
    assert counts == (len(rewritten), len(removed), len(added), FILES - len(rewritten) - len(removed))
    assert stats.bytes_read == 12 * len(rewritten) + sum(map(len, added))
    rig.restore(tmp_path / "out")
    assert differences(str(tree), f"{tmp_path}/out{tree}") == []


def test_a_metadata_change_alone_reaches_the_next_point(tree, tmp_path):
    rig = Rig()
    settle(tree)
    rig.backup(tree)
    os.chmod(f"{tree}/a!", 0o600)
    os.setxattr(f"{tree}/a", "user.new", b"1")
    rig.backup(tree)
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == []


def test_content_changed_behind_a_kept_mtime_is_noticed_by_its_change_time(tree, tmp_path):
    rig = Rig()
    settle(tree)
    rig.backup(tree)
    before = os.stat(f"{tree}/a/b")
    with open(f"{tree}/a/b", "wb") as file:
        file.write(b"2")
    os.utime(f"{tree}/a/b", ns=(before.st_atime_ns, before.st_mtime_ns))
    rig.backup(tree)
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == []


class _After(SystemClock):
    """Stands so many milliseconds after a file changed, however long the backup is on its way to it."""

    def __init__(self, path, milliseconds):
        changed = os.stat(path).st_ctime_ns + milliseconds * 1_000_000
        self._now = datetime.fromtimestamp(changed / 1e9, UTC)

    def now(self):
        return self._now


def test_a_file_that_changed_right_before_it_was_read_is_read_again_next_time(tmp_path):
    tree = plant(tmp_path / "tree", [])
    rig = Rig()
    with open(f"{tree}/young", "wb") as file:
        file.write(b"young")
    rig.clock = _After(f"{tree}/young", 10)
    rig.backup(tree)
    assert [entry.ctime_ns for entry in rig.reader().entries() if entry.kind == EntryKind.FILE] == [0]
    rig.clock = _After(f"{tree}/young", 30)
    again = rig.backup(tree).stats
    assert (again.bytes_read, again.files_unchanged, again.files_changed) == (5, 1, 0)
    assert rig.backup(tree).stats.bytes_read == 0


def test_a_full_reads_everything_and_stores_nothing_twice(tree):
    rig = Rig()
    settle(tree)
    first = rig.backup(tree)
    full = rig.backup(tree, type=BackupType.FULL)
    # But perhaps the first page of entries: the directories above the tree are everybody's.
    assert (full.stats.bytes_read, full.stats.chunks_new <= 1) == (first.stats.bytes_read, True)
    assert (full.point.type, full.point.reference) == (BackupType.FULL, None)


def test_a_change_in_the_middle_of_a_large_file_stores_a_few_chunks_only(tree, tmp_path):
    rig = Rig()
    settle(tree)
    rig.backup(tree)
    with open(f"{tree}/large", "r+b") as file:
        rest = file.read()
        file.seek(0)
        file.write(b"inserted" + rest)
    done = rig.backup(tree)
    assert done.stats.bytes_transferred < 7_000_000
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == []


def test_a_chunk_that_the_vault_lost_is_stored_again_by_the_next_incremental(tree, tmp_path):
    rig = Rig()
    settle(tree)
    rig.backup(tree)
    for info in list(rig.store.list("packs/d/")) + list(rig.store.list("index/")):
        rig.store.delete(info.name)
    healed = rig.backup(tree)
    assert healed.stats.bytes_read > 9_000_000
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == []


def test_a_lost_reference_makes_it_a_full_and_says_so(tree):
    rig = Rig()
    settle(tree)
    rig.backup(tree)
    gone = rig.points()[0]

    rig.store.delete(f"points/machine/item/{gone}")
    rig.points = lambda: [gone]
    done = rig.backup(tree)
    assert (done.point.type, done.point.reference) == (BackupType.FULL, None)
    assert [notice.code for notice in done.warnings] == ["reference-unusable"]


def test_hard_links_survive_the_loss_of_their_first_name(tmp_path):
    tree = plant(
        tmp_path / "tree", [Node(b"1", data=b"same"), Node(b"2", "link", target=b"1"), Node(b"3", "link", target=b"1")]
    )
    rig = Rig()
    settle(tree)
    rig.backup(tree)
    os.unlink(f"{tree}/1")
    rig.backup(tree)
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == []


def test_a_point_sealed_by_an_earlier_attempt_is_reported_without_touching_the_source(tree):
    rig = Rig()
    first = rig.backup(tree, point_id="0190-point")

    class Untouchable:
        def scan(self, _span):
            raise AssertionError("the source was touched")

    again = rig.backup(tree, point_id="0190-point", source=Untouchable())
    assert again == first
