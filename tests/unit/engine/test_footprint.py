"""What is predicted before a first backup is what it then adds, within a factor of two; and the cache is small."""

import os
import random
import sysconfig

import pytest

from shared.clock import SystemClock
from shared.contracts.sources import ExcludeRules, FilesSource
from shared.contracts.survey import SurveyQuestion
from shared.errors import SkyharborError
from tests.support.trees import Node, plant
from tests.unit.engine.rig import Rig
from workers.survey import look

SEED = random.Random(11)


def _source_tree(folder):
    """Small files of many sizes, like a project's, with names and links."""
    nodes = []
    for number in range(40):
        nodes.append(Node(b"module-%02d" % number, "dir", mode=0o755))
        for file in range(50):
            data = SEED.randbytes(int(SEED.lognormvariate(8.5, 1.3)))
            name = b"module-%02d/%s-%d.py" % (number, SEED.randbytes(4).hex().encode(), file)
            nodes.append(Node(name, data=data, mtime_ns=SEED.randrange(10**18, 2 * 10**18)))
        nodes.append(Node(b"module-%02d/latest" % number, "symlink", target=b"../module-00"))
        nodes.append(Node(b"module-%02d/twin" % number, "link", target=nodes[1].path))
        nodes.append(Node(b"module-%02d/empty" % number))
    return plant(folder, nodes)


def _media(folder):
    """A few large files, one of them mostly holes."""
    nodes = [Node(b"video-%d" % number, data=SEED.randbytes(9_000_000)) for number in range(8)]
    nodes.append(Node(b"disk", size=2_000_000_000, pieces=((200_000_000, SEED.randbytes(3_000_000)),)))
    return plant(folder, [*nodes, *(Node(b"%03d.jpg" % number, data=SEED.randbytes(90_000)) for number in range(200))])


def _real_tree(_folder):
    """The standard library that this interpreter runs from, as it was installed."""
    return sysconfig.get_path("stdlib")


_ELSE = ("site-packages", "__pycache__", "config-*")


def _look(*paths, rules=ExcludeRules(), seconds=600.0):
    source = FilesSource(paths=paths, excludes=_ELSE, rules=rules)
    return look(SurveyQuestion(source=source, seconds=seconds), SystemClock())


@pytest.mark.parametrize("make", [_source_tree, _media, _real_tree], ids=["source tree", "media", "real tree"])
def test_a_first_backup_adds_what_was_predicted_and_its_cache_is_below_a_hundredth_of_the_data(tmp_path, make):
    tree = make(tmp_path / "tree")
    cache = tmp_path / "cache"
    predicted = _look(tree)
    rig = Rig(cache=str(cache))
    stats = rig.backup(tree, excludes=_ELSE).stats
    rig.index()
    kept = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    listed = [info for prefix in ("index/", "packs/m/", "points/") for info in rig.store.list(prefix)]
    metadata = sum(info.size for info in listed)
    assert 0 < kept <= stats.bytes_scanned / 100
    assert 0.5 <= predicted.cache_bytes / kept <= 2
    assert 0.5 <= predicted.metadata_bytes / metadata <= 2
    assert (predicted.files, predicted.directories, predicted.bytes, predicted.complete) == (
        stats.files,
        stats.directories,
        stats.bytes_scanned - _targets(rig),
        True,
    )


def _targets(rig):
    """The lengths of symlinks' targets, which a point counts."""
    return sum(len(entry.target) for entry in rig.reader().entries())


def test_files_too_small_for_a_cache_are_predicted_to_have_none(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"%d" % number, data=SEED.randbytes(500)) for number in range(300)])
    rig = Rig(cache=str(tmp_path / "cache"))
    assert _look(tree).cache_bytes == 0
    rig.backup(tree)
    rig.index()
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_what_a_rule_leaves_out_is_not_predicted_for(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"big", data=SEED.randbytes(5_000_000)), Node(b"small", data=b"s" * 9000)])
    found = _look(tree, rules=ExcludeRules(larger_than=10_000))
    assert (found.files, found.bytes, found.excluded, found.chunks) == (1, 9000, 1, 1)


def test_when_the_time_is_up_everything_is_a_lower_bound(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"%04d" % number) for number in range(3000)])
    found = _look(tree, seconds=0.0)
    assert (found.complete, 0 < found.files < 3000) == (False, True)


def test_time_that_is_just_enough_is_complete(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"f")])
    assert _look(tree, seconds=0.0).complete  # one block is all there is


def test_what_cannot_be_looked_at_is_counted_as_a_warning(tmp_path):
    os.symlink("nowhere", tmp_path / "l")
    assert _look(str(tmp_path / "l")).warnings == 1  # root-is-symlink


def test_a_path_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(SkyharborError) as caught:
        _look(str(tmp_path / "no"))
    assert caught.value.code == "source-missing"
