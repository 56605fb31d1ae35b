"""Names of one node find together again, whatever parts of a backup in shards they were in."""

import os

import msgspec
import pytest

from tests.support.compare import differences
from tests.support.trees import Node, plant, settle
from tests.support.uncontrolled import Uncontrolled
from tests.support.wing import Wing
from tests.unit.engine.rig import Rig
from workers.engine.backup import BackupOptions
from workers.engine.joining import Joining
from workers.engine.links import LinkLog
from workers.engine.notices import Notices
from workers.engine.shard import fly_part
from workers.engine.sharding import Sharding
from workers.engine.span import Span

FINE = BackupOptions(sharding=Sharding(entries=8))
FOLDERS = 8


def _folders(count=FOLDERS, files=150):
    """Folders of some files each, so that every one is a part of its own, or nearly."""
    nodes = []
    for folder in range(count):
        nodes.append(Node(b"d%d" % folder, "dir", mode=0o755))
        nodes += [Node(b"d%d/f%03d" % (folder, n), data=b"%d %d" % (folder, n)) for n in range(files)]
    return nodes


@pytest.fixture
def tree(tmp_path):
    """Files with names in one folder, in two, and in all; a symlink and a FIFO with two names."""
    nodes = _folders()
    nodes += [Node(b"d0/here", data=b"here"), Node(b"d0/here-too", "link", target=b"d0/here")]
    nodes += [Node(b"d1/x", data=b"x" * 5000, xattrs=(("user.a", b"b"),)), Node(b"d6/x", "link", target=b"d1/x")]
    nodes += [Node(b"d6/x-again", "link", target=b"d1/x")]
    nodes += [Node(b"d2/all", data=b"all")]
    nodes += [Node(b"d%d/all" % n, "link", target=b"d2/all") for n in (0, 1, 3, 4, 5, 6, 7)]
    nodes += [Node(b"d3/s", "symlink", target=b"t"), Node(b"d5/s", "link", target=b"d3/s")]
    nodes += [Node(b"d3/p", "fifo"), Node(b"d7/p", "link", target=b"d3/p")]
    path = plant(tmp_path / "tree", nodes)
    settle(path)
    return path


def _entries(rig, tree):
    return list(rig.reader().entries(os.fsencode(tree)[1:]))  # others work in the folders above


def _in_shards(rig, tree, **options):
    wing = Wing(helpers=7, helped=lambda unit: unit % 3 != 0)
    done = rig.backup(tree, options=FINE, wing=wing, **options)
    assert wing.offered
    return done


def _counts(done):
    stored = {"bytes_transferred": 0, "bytes_stored": 0, "chunks_new": 0, "chunks_reused": 0}
    return msgspec.structs.replace(done.stats, **stored)


def test_a_first_backup_links_names_of_different_parts(tree, tmp_path):
    rig, alone = Rig(), Rig()
    done, expected = _in_shards(rig, tree), alone.backup(tree)
    assert _entries(rig, tree) == _entries(alone, tree)
    assert done.point.bytes == expected.point.bytes
    assert done.stats.bytes_scanned == expected.stats.bytes_scanned
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == []


@pytest.mark.parametrize("first_in_shards", [True, False])
def test_an_incremental_reads_nothing_again_for_names_whose_first_one_is_elsewhere(tree, first_in_shards):
    rig = Rig()
    if first_in_shards:
        _in_shards(rig, tree)
    else:
        rig.backup(tree)
    before = _entries(rig, tree)
    done = _in_shards(rig, tree)
    assert _entries(rig, tree) == before
    assert (done.stats.bytes_read, done.stats.files_changed, done.stats.files_new) == (0, 0, 0)


def _change_first_name_is_gone(tree):
    os.unlink(f"{tree}/d1/x")


def _change_first_name_is_another_file(tree):
    os.unlink(f"{tree}/d1/x")
    with open(f"{tree}/d1/x", "w") as file:
        file.write("another")


def _change_content(tree):
    with open(f"{tree}/d6/x", "w") as file:
        file.write("changed by its second name")


def _change_one_more_name_before(tree):
    os.link(f"{tree}/d1/x", f"{tree}/d0/a-name-before")


def _change_name_moves_to_another_part(tree):
    os.rename(f"{tree}/d6/x", f"{tree}/d4/x")


def _change_links_part(tree):
    os.unlink(f"{tree}/d6/x")
    with open(f"{tree}/d6/x", "wb") as file:
        file.write(b"x" * 5000)


@pytest.mark.parametrize(
    "change",
    [
        _change_first_name_is_gone,
        _change_first_name_is_another_file,
        _change_content,
        _change_one_more_name_before,
        _change_name_moves_to_another_part,
        _change_links_part,
    ],
)
def test_after_a_change_the_parts_agree_like_one_worker(tree, tmp_path, change):
    rig, alone = Rig(), Rig()
    _in_shards(rig, tree)
    alone.backup(tree)
    change(tree)
    settle(tree)
    _in_shards(rig, tree)
    alone.backup(tree)
    assert _entries(rig, tree) == _entries(alone, tree)
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == []


def test_a_first_name_that_is_left_out_now_leaves_its_content_with_the_next_name(tree, tmp_path):
    rig, alone = Rig(), Rig()
    _in_shards(rig, tree)
    alone.backup(tree)
    excludes = [f"{tree}/d1/x"]
    _in_shards(rig, tree, excludes=excludes)
    alone.backup(tree, excludes=excludes)
    assert _entries(rig, tree) == _entries(alone, tree)
    rig.restore(tmp_path / "out", f"{tree}/d6")
    assert (tmp_path / f"out{tree}/d6/x").read_bytes() == b"x" * 5000
    assert (tmp_path / f"out{tree}/d6/x-again").samefile(tmp_path / f"out{tree}/d6/x")


def test_entries_that_say_different_things_are_never_linked(tree):
    """Workers on different machines may number the nodes of different file systems alike."""
    rig = Rig()
    rig.backup(tree)
    gear, instruction = rig.gear(tree), rig.instruction(tree)
    border = os.fsencode(f"{tree}/d4")[1:]
    reports = [
        fly_part(gear, instruction, span, reader=None, control=Uncontrolled(), notices=Notices())
        for span in (Span(b"", border), Span(border, b""))
    ]
    forged = LinkLog()
    forged.note(5, (1, 1), names=2)  # whatever is there, it has other bytes in the other part
    joining = Joining(rig.vault, rig.keys, gear.index, writer := gear.writer(instruction), lambda _: None, lambda: None)
    for report in reports:
        joining.add(msgspec.structs.replace(report, links=forged.incomplete()))
    assert writer.finish_part().pages == (*reports[0].part.pages, *reports[1].part.pages)


def test_only_nodes_with_names_elsewhere_are_told_of():
    log = LinkLog()
    log.note(3, (1, 10), names=2)
    log.note(4, (1, 11), names=2)
    log.note(70000, (1, 10), names=2)
    log.note(70001, (1, 12), names=3, trusted=True)
    rows = [tuple(row) for row in log.incomplete().rows()]
    assert rows == [(4, (1, 11), False), (70001, (1, 12), True)]
