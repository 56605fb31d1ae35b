"""A backup in shards is the backup that one worker would have made."""

import os
import random

import msgspec
import pytest

from shared.contracts.sources import ExcludeRules, FilesSource
from shared.contracts.work import Fence
from shared.errors import SkyharborError
from shared.model.backup import BackupType, Notice
from tests.support.compare import differences
from tests.support.trees import Node, nasty, plant, settle
from tests.support.wing import Wing
from tests.unit.engine.rig import Rig
from workers.engine.backup import BackupOptions
from workers.engine.shard_messages import ShardOrder, open_order, seal_order
from workers.engine.sharding import Sharding
from workers.engine.span import EVERYTHING, Span
from workers.sources.files import FilesAdapter

ABOVE = 0
SMALL = BackupOptions(sharding=Sharding(entries=8, survey_folders=12))


def _forest(path, seed=7, folders=40, files=400):
    """A tree of folders in folders, with files of all sizes and names that sort in odd ways."""
    rng = random.Random(seed)
    places = [b""]
    nodes = []
    for number in range(folders):
        place = rng.choice(places) + b"%s%d/" % (rng.choice([b"a", b"a!", b"b c", b"\xff"]), number)
        places.append(place)
        nodes.append(Node(place[:-1], "dir", mode=0o755))
    nodes += [
        Node(rng.choice(places) + b"f%d" % number, data=rng.randbytes(rng.choice([0, 9, 999])))
        for number in range(files)
    ]
    nodes += [Node(b"l%d" % number, "symlink", target=b"x") for number in range(3)]
    tree = plant(path, nodes)
    settle(tree)
    return tree


@pytest.fixture(autouse=True)
def above(tmp_path):
    global ABOVE
    ABOVE = str(tmp_path).count("/") - 1


@pytest.fixture
def tree(tmp_path):
    return _forest(tmp_path / "tree")


def _entries(rig, point_id=None):
    """The entries, but for those of folders above the test's, in which others work: they are there, and that is all."""
    entries = rig.reader(point_id).entries()
    return [entry if entry.path.count(b"/") > ABOVE else entry.path for entry in entries]


def _alone(*trees, **options):
    rig = Rig()
    rig.backup(*trees, **options)
    return _entries(rig)


def _same_stats(one, other):
    """Everything but what is stored: parts cannot know of each other's chunks."""
    stored = {"bytes_transferred": 0, "bytes_stored": 0, "chunks_new": 0, "chunks_reused": 0}
    return msgspec.structs.replace(one.stats, **stored) == msgspec.structs.replace(other.stats, **stored)


@pytest.mark.parametrize("helped", [lambda _: True, lambda _: False, lambda unit: unit % 2 == 0])
def test_the_point_is_the_same_entry_for_entry_whoever_flew_the_parts(tree, tmp_path, helped):
    rig, wing, alone = Rig(), Wing(helpers=2, helped=helped), Rig()
    done = rig.backup(tree, options=SMALL, wing=wing)
    assert len(wing.offered) == len(wing.flown_by_lead) + len(wing.flown_by_helpers) > 3
    assert _same_stats(done, alone.backup(tree))
    assert _entries(rig) == _entries(alone)
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == []


def test_everything_nasty_survives_being_cut(tmp_path):
    tree = plant(tmp_path / "tree", nasty())
    settle(tree)
    rig, wing = Rig(), Wing(helpers=2)
    rig.backup(tree, options=SMALL, wing=wing)
    assert wing.flown_by_helpers
    assert _entries(rig) == _alone(tree)
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == []


def test_with_no_helper_alive_nothing_is_cut(tree):
    wing = Wing(helpers=0)
    Rig().backup(tree, options=SMALL, wing=wing)
    assert wing.offered == []


def test_a_small_item_is_not_cut_and_costs_no_question(tree):
    wing = Wing(helpers=5)
    Rig().backup(tree, wing=wing)
    assert wing.offered == []


@pytest.mark.parametrize("first_in_shards", [True, False])
def test_an_incremental_after_it_takes_the_pages_as_they_are(tmp_path, first_in_shards):
    tree = _forest(tmp_path / "tree", files=3000)
    rig, wings = Rig(), [Wing(helpers=2), None]
    first, second = wings if first_in_shards else reversed(wings)
    options = BackupOptions(sharding=Sharding(entries=400, survey_folders=12))
    rig.backup(tree, options=options, wing=first)
    done = rig.backup(tree, options=options, wing=second)
    before, after = (set(rig.reader(point).pages) for point in rig.points())
    # The first one has the folders above, in which others work; pages come together again at the next cut.
    assert len(after - before) <= 3 < len(after & before)
    assert (first or second).flown_by_helpers
    assert (done.stats.files_unchanged, done.stats.bytes_read) == (done.stats.files, 0)


def test_changes_in_every_part_are_found_like_by_one_worker(tmp_path):
    tree = _forest(tmp_path / "tree", files=3000)
    rig, alone = Rig(), Rig()
    rig.backup(tree)
    alone.backup(tree)
    rng = random.Random(3)
    files = sorted(os.path.join(f, n) for f, _, names in os.walk(os.fsencode(tree)) for n in names)
    for path in rng.sample(files, 200):
        if not os.path.islink(path):
            os.unlink(path) if rng.random() < 0.5 else os.rename(path, path + b".moved")
    settle(tree)
    wing = Wing(helpers=3)
    done = rig.backup(tree, options=BackupOptions(sharding=Sharding(entries=400)), wing=wing)
    assert wing.flown_by_helpers
    assert _same_stats(done, alone.backup(tree))
    assert _entries(rig) == _entries(alone)


def test_a_huge_folder_is_cut_once_a_point_tells_its_size(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"f%05d" % number) for number in range(3000)])
    settle(tree)
    rig, wings = Rig(), [Wing(helpers=3), Wing(helpers=3)]
    options = BackupOptions(sharding=Sharding(entries=400))
    for wing in wings:
        rig.backup(tree, type=BackupType.FULL, options=options, wing=wing)
    assert (len(wings[0].offered), len(wings[1].offered) > 3) == (0, True)
    assert _entries(rig) == _entries(rig, rig.points()[0])


def test_excludes_hold_in_every_part(tree):
    excludes = ["a!*/", "f1*"]
    rig, wing = Rig(), Wing(helpers=2)
    rig.backup(tree, excludes=excludes, options=SMALL, wing=wing)
    assert wing.flown_by_helpers
    assert _entries(rig) == _alone(tree, excludes=excludes)


def test_rules_leave_out_and_count_the_same_in_parts(tmp_path):
    tree = _forest(tmp_path / "tree", files=3000)
    for folder, _, names in list(os.walk(os.fsencode(tree)))[1::3]:
        if len(names) > 4:
            with open(folder + b"/.nobackup", "w") as tag:
                tag.write("!")
    settle(tree)
    options = {"excludes": ["f1*", "a!*/"], "rules": ExcludeRules(if_present=(".nobackup",), larger_than=900)}
    plain, rig, alone = Rig(), Rig(), Rig()
    plain.backup(tree)  # its pages are where the parts begin, also inside of what is left out
    rig.store, rig.vault = plain.store, plain.vault
    wing = Wing(helpers=5)
    sharding = Sharding(entries=100)
    done = rig.backup(tree, options=BackupOptions(sharding=sharding), wing=wing, **options)
    expected = alone.backup(tree, **options)
    assert wing.flown_by_helpers
    assert done.stats.excluded == expected.stats.excluded > 100
    assert _entries(rig) == _entries(alone)


def test_several_roots_and_the_folders_above_them_are_in_exactly_one_part(tmp_path):
    trees = [_forest(tmp_path / "deep" / name, seed=number, files=60) for number, name in enumerate(("x", "y", "z"))]
    alone = _alone(*trees)
    for folders in range(1, 12):
        rig, wing = Rig(), Wing(helpers=5)
        rig.backup(*trees, options=BackupOptions(sharding=Sharding(entries=1, survey_folders=folders)), wing=wing)
        assert (_entries(rig), bool(wing.flown_by_helpers)) == (alone, True)


def test_what_the_tower_sees_of_a_shard_holds_no_name(tree):
    wing = Wing(helpers=2)
    Rig().backup(tree, options=SMALL, wing=wing)
    seen = b"".join(wing.offered) + b"".join(wing._results.values())
    assert not any(word in seen for word in (os.fsencode(tree), b"the item", b"a!1"))


def test_a_shard_that_took_three_workers_ends_the_attempt_without_a_point(tree):
    rig, wing = Rig(), Wing(helpers=2)
    wing.lost = (2,)
    with pytest.raises(SkyharborError) as error:
        rig.backup(tree, options=SMALL, wing=wing)
    assert (error.value.code, rig.points()) == ("worker-lost", [])


def test_what_finished_parts_stored_is_found_by_the_next_attempt(tmp_path):
    tree = _forest(tmp_path / "tree")
    rig, wing = Rig(), Wing(helpers=2)
    flown = wing.ask

    def ask(have):
        told = flown(have)
        if told.done == told.total:
            raise SkyharborError("server-unreachable", "the lead dies here")
        return told

    wing.ask = ask
    with pytest.raises(SkyharborError):
        rig.backup(tree, options=SMALL, wing=wing)
    assert rig.backup(tree).stats.chunks_new < 20  # of 400: pages, which end elsewhere now


def test_what_several_parts_say_of_the_same_folder_is_said_once(tree):
    class Complaining(FilesAdapter):
        """Every part has to pass the same unreadable folder, and each has a complaint of its own."""

        def scan(self, span=EVERYTHING):
            yield from super().scan(span)
            yield Notice("/above", "unreadable", "Permission denied")
            yield Notice("/" + repr(span.begin), "vanished", "gone")

    rig, wing = Rig(), Wing(helpers=2, helped=lambda _: False)
    source = Complaining(FilesSource(paths=(tree,)))
    done = rig.backup(tree, source=source, options=SMALL, wing=wing)
    codes = [notice.code for notice in done.warnings]
    assert (codes.count("unreadable"), codes.count("vanished")) == (1, len(wing.offered) + 1)
    assert done.stats.warnings == len(codes)


def test_words_about_one_shard_are_never_taken_for_those_of_another():
    keys, fence = Rig().keys, Fence(job_id="job", unit=1, epoch=4, claim_id="c")
    order = ShardOrder(backup=Rig().instruction("/x"), reading=b"r", span=Span(b"a", b"b"))
    sealed = seal_order(order, keys=keys, fence=fence)
    assert open_order(sealed, keys=keys, fence=msgspec.structs.replace(fence, claim_id="another")) == order
    for other in ({"unit": 2}, {"epoch": 5}, {"job_id": "other"}):
        with pytest.raises(SkyharborError) as error:
            open_order(sealed, keys=keys, fence=msgspec.structs.replace(fence, **other))
        assert error.value.code == "object-damaged"
