"""Whatever a tree looks like and whatever happens to it: every point brings back the tree as it was."""

import tempfile
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings

from shared.model.backup import BackupType
from tests.fidelity.trip import comes_back
from tests.support.clearing import clear
from tests.support.compare import differences
from tests.support.copying import copy_tree
from tests.support.trees import plant
from tests.support.wild_trees import edit, histories, wild_trees
from tests.unit.engine.rig import Rig

# The suite walks the same examples every time; the soak finds new ones and prints how to repeat a failure.
_SUITE = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
_SOAK = settings(_SUITE, derandomize=False, print_blob=True)


@contextmanager
def _folder():
    folder = tempfile.mkdtemp()
    try:
        yield folder
    finally:
        clear(folder)


def _check_tree(nodes):
    with _folder() as folder:
        assert comes_back(plant(f"{folder}/tree", nodes), f"{folder}/out") == []


def _check_history(history):
    """Back up between the batches of edits, by all types in turn; at the end every point is the tree of its time."""
    types = (BackupType.INCREMENTAL, BackupType.INCREMENTAL, BackupType.DIFFERENTIAL, BackupType.FULL)
    with _folder() as folder:
        tree = plant(f"{folder}/tree", history.nodes)
        rig = Rig()
        assert rig.backup(tree).warnings == ()
        kept = [copy_tree(tree, f"{folder}/0")]
        for number, edits in enumerate(history.batches, 1):
            edit(tree, edits)
            assert rig.backup(tree, type=types[number % 4]).warnings == ()
            kept.append(copy_tree(tree, f"{folder}/{number}"))
        for number, (point, copy) in enumerate(zip(rig.points(), kept, strict=True)):
            out = f"{folder}/out-{number}"
            assert rig.restore(out, point_id=point).warnings == ()
            assert differences(copy, out + tree) == [], f"point {number} of {len(kept)}"


@settings(_SUITE, max_examples=120)
@given(wild_trees())
def test_any_tree_with_any_attributes_comes_back_without_a_difference(nodes):
    _check_tree(nodes)


@settings(_SUITE, max_examples=100)
@given(histories())
def test_every_point_of_any_history_is_the_tree_as_it_was_then(history):
    _check_history(history)


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@settings(_SOAK, max_examples=3_000)
@given(wild_trees())
def test_thousands_of_trees_come_back_without_a_difference(nodes):
    _check_tree(nodes)


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@settings(_SOAK, max_examples=2_000)
@given(histories(batches=5))
def test_every_point_of_thousands_of_histories_is_the_tree_as_it_was_then(history):
    _check_history(history)
