"""Figure 9 of the design paper, block by block: what full, differential and incremental backups read and transfer.

The figure shows nine blocks, A1 to A9, and three backups. Before the second one A2, A3, A4 and A9 change, before the
third one A5. Full backups take every block every time. Differential ones take what has changed since the last *full*
backup, so the third takes A2, A3, A4 and A9 once more beside A5. Incremental ones take what has changed since the last
*backup*, so the third takes A5 alone.

Here that is what is read. Transferred is never more than what the vault does not hold: a full or differential backup
reads its blocks again and finds them there. And whatever its type, every point is all nine blocks.
"""

import os
import random

import pytest

from shared.model.backup import BackupType
from shared.storage.memory import MemoryStore
from shared.vault.layout import PointName, point_name
from tests.support.compare import differences
from tests.support.copying import copy_tree
from tests.support.trees import Node, plant, settle
from tests.unit.engine.rig import Rig

ALL = frozenset(range(1, 10))
CHANGED = (frozenset({2, 3, 4, 9}), frozenset({5}))
"""Before the second backup, and before the third."""

READ = {
    BackupType.FULL: [ALL, ALL, ALL],
    BackupType.DIFFERENTIAL: [ALL, {2, 3, 4, 9}, {2, 3, 4, 5, 9}],
    BackupType.INCREMENTAL: [ALL, {2, 3, 4, 9}, {5}],
}
TRANSFERRED = [ALL, {2, 3, 4, 9}, {5}]
"""By any type: what no backup before has brought into the vault."""

_UNIT = 32 * 1024


def _size(block):
    """Sizes are powers of two, so that a sum of bytes says which blocks it is of."""
    return _UNIT << (block - 1)


def _blocks_in(count):
    """Return the blocks whose sizes add up to so many bytes; what is less than a unit is the vault's own."""
    units = count // _UNIT
    assert units < 1 << 9
    return {block for block in ALL if units >> (block - 1) & 1}


def _content(block, version, size):
    return random.Random(f"{block}.{version}").randbytes(size)  # incompressible, and the same in every run


class Figure:
    """The blocks as files, and three backups of one type as in the figure."""

    def __init__(self, folder, type):
        nodes = [Node(b"A%d" % block, data=_content(block, 1, _size(block))) for block in sorted(ALL)]
        self.tree = plant(folder / "tree", nodes)
        self.rig = Rig()
        self.type = type
        self.folder = folder
        self.copies = []
        self.done = []
        self.new = []
        self.back_up()
        for version, changed in enumerate(CHANGED, 2):
            self.change(changed, version)
            self.back_up()

    def change(self, blocks, version):
        for block in blocks:
            with open(f"{self.tree}/A{block}", "wb") as file:
                file.write(_content(block, version, _size(block)))

    def back_up(self, type=None):
        settle(self.tree)
        known = self.rig.index()
        self.done.append(self.rig.backup(self.tree, type=type or self.type))
        self.copies.append(copy_tree(self.tree, f"{self.folder}/copy-{len(self.copies)}"))
        entries = {os.path.basename(entry.path): entry for entry in self.rig.reader().entries()}
        self.new.append({block for block in ALL if not known.contains_all(entries[b"A%d" % block].chunks)})

    @property
    def read(self):
        return [_blocks_in(done.stats.bytes_read) for done in self.done]

    @property
    def transferred(self):
        return [_blocks_in(done.stats.bytes_transferred) for done in self.done]


@pytest.fixture(params=list(BackupType))
def figure(request, tmp_path):
    return Figure(tmp_path, request.param)


def test_every_type_reads_the_blocks_that_the_figure_shows(figure):
    assert figure.read == READ[figure.type]
    assert [done.stats.bytes_read for done in figure.done] == [sum(map(_size, read)) for read in READ[figure.type]]


def test_every_type_transfers_only_blocks_that_the_vault_does_not_hold(figure):
    assert (figure.transferred, figure.new) == (TRANSFERRED, TRANSFERRED)


def test_every_point_says_its_type_and_what_it_was_compared_with(figure):
    first, second, _ = figure.rig.points()
    references = {
        BackupType.FULL: [None, None, None],
        BackupType.DIFFERENTIAL: [None, first, first],
        BackupType.INCREMENTAL: [None, first, second],
    }
    bodies = [figure.rig.reader(point).body for point in figure.rig.points()]
    assert [body.type for body in bodies] == [BackupType.FULL, figure.type, figure.type]
    assert [body.reference for body in bodies] == references[figure.type]


def test_every_point_is_all_nine_blocks_and_restores_alone_whatever_its_type(figure):
    for number, (point, copy) in enumerate(zip(figure.rig.points(), figure.copies, strict=True)):
        out = f"{figure.folder}/out-{number}"
        done = figure.rig.restore(out, point_id=point)
        assert (done.warnings, differences(copy, out + figure.tree)) == ((), [])


def test_every_point_restores_from_nothing_but_the_objects_that_its_manifest_names(figure):
    """No other point, no index: what is collected, lost or never replicated of others does not matter."""
    for number, (point, copy) in enumerate(zip(figure.rig.points(), figure.copies, strict=True)):
        alone = MemoryStore()
        manifest = point_name(PointName("machine", "item", point))
        for name in ("vault.json", manifest, *(pack.name for pack in figure.rig.reader(point).packs)):
            alone.put(name, [figure.rig.store.get(name)])
        out = f"{figure.folder}/alone-{number}"
        done = Rig(alone, made=True).restore(out, point_id=point)
        assert (done.warnings, differences(copy, out + figure.tree)) == ((), [])


def test_only_after_another_full_backup_are_changed_blocks_no_longer_included(tmp_path):
    figure = Figure(tmp_path, BackupType.DIFFERENTIAL)
    figure.back_up(BackupType.FULL)
    figure.change({7}, version=4)
    figure.back_up()
    assert (figure.read[3:], figure.transferred[3:]) == ([ALL, {7}], [set(), {7}])


def test_what_changes_back_is_read_and_not_transferred(tmp_path):
    figure = Figure(tmp_path, BackupType.INCREMENTAL)
    figure.change({4, 5}, version=1)
    figure.back_up()
    assert (figure.read[3], figure.transferred[3], figure.new[3]) == ({4, 5}, set(), set())


# ── the blocks in one large file ─────────────────────────────────────────────────────────────────────

_BLOCK = 4 * 2**20
_SLACK = 6 * 2**20
"""Cuts depend on content, so around every run of changed blocks some bytes more are new: about three chunks."""


@pytest.mark.parametrize("type", list(BackupType))
def test_of_one_large_file_the_changed_blocks_are_transferred_and_little_around_them(tmp_path, type):
    content = b"".join(_content(block, 1, _BLOCK) for block in sorted(ALL))
    tree = plant(tmp_path / "tree", [Node(b"A", data=content), Node(b"other", data=b"o")])
    rig = Rig()
    settle(tree)
    rig.backup(tree)
    spans = _spans(rig)
    for version, (changed, runs) in enumerate(zip(CHANGED, (2, 1), strict=True), 2):
        with open(f"{tree}/A", "r+b") as file:
            for block in changed:
                file.seek((block - 1) * _BLOCK)
                file.write(_content(block, version, _BLOCK))
        settle(tree)
        copy = copy_tree(tree, f"{tmp_path}/copy-{version}")
        done = rig.backup(tree, type=type)
        now = _spans(rig)
        new = {chunk: span for chunk, span in now.items() if chunk not in spans}
        touched = {block for block in ALL if any(_overlaps(span, block) for span in new.values())}
        assert touched >= changed
        assert done.stats.bytes_transferred <= len(changed) * _BLOCK + runs * _SLACK
        assert done.stats.chunks_reused >= len(now) - len(new)
        # A file is read as a whole: which of its blocks changed, only a disk's own bitmap could say.
        assert done.stats.bytes_read == len(content) + (1 if type is BackupType.FULL else 0)
        rig.restore(f"{tmp_path}/out-{version}")
        assert differences(copy, f"{tmp_path}/out-{version}{tree}") == []
        spans = now


def _spans(rig):
    """Return where the chunks of the large file are in it, by their ids."""
    reader = rig.reader()
    [entry] = [entry for entry in reader.entries() if entry.path.endswith(b"/A")]
    spans, at = {}, 0
    for number, place in enumerate(reader.finder.find(entry.chunks)):
        spans[entry.chunks[32 * number : 32 * number + 32]] = at, at + place.raw_length
        at += place.raw_length
    assert at == entry.size
    return spans


def _overlaps(span, block):
    return span[0] < block * _BLOCK and span[1] > (block - 1) * _BLOCK
