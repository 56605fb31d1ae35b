"""A damaged object takes its files with it, by name, and nothing else; wrong bytes are never written."""

import os

import pytest

from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from shared.storage.local import LocalStore
from tests.support.trees import Node, nasty, plant
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import Recorder, Rig
from workers.engine.restore import restore_point
from workers.engine.verify import verify_named, verify_point


@pytest.fixture
def rig(tmp_path):
    return Rig(LocalStore.create(str(tmp_path / "vault")))


@pytest.fixture
def tree(tmp_path):
    """Two generations: the second backup's file lies in a pack of its own."""
    return plant(tmp_path / "tree", [Node(b"early", data=b"e" * 1000), Node(b"early2", data=b"f" * 1000)])


def _packs(rig):
    return {info.name for info in rig.store.list("packs/d/")}


def _two_backups(rig, tree):
    rig.backup(tree)
    first = _packs(rig)
    with open(f"{tree}/late", "wb") as file:
        file.write(b"l" * 1000)
    rig.backup(tree)
    return (_packs(rig) - first).pop()


def _flip(tmp_path, name, at):
    path = tmp_path / "vault" / name
    os.chmod(path, 0o600)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_damaged_pack_loses_only_its_files_and_leaves_no_trace_of_them(rig, tree, tmp_path):
    pack = _two_backups(rig, tree)
    _flip(tmp_path, pack, 100)
    done = rig.restore(tmp_path / "out")
    assert [(notice.path, notice.code) for notice in done.warnings] == [(f"{tree}/late", "damaged")]
    assert sorted(os.listdir(f"{tmp_path}/out{tree}")) == ["early", "early2"]


def test_a_damaged_pack_does_not_touch_the_good_file_that_is_there(rig, tree, tmp_path):
    pack = _two_backups(rig, tree)
    rig.restore(tmp_path / "out")
    _flip(tmp_path, pack, 100)
    with open(f"{tmp_path}/out{tree}/late", "wb") as file:
        file.write(b"mine")
    rig.restore(tmp_path / "out", conflict=ConflictRule.OVERWRITE)
    with open(f"{tmp_path}/out{tree}/late", "rb") as file:
        assert file.read() == b"mine"


class _Crooked:
    """A reader in whose point one file's holes make no sense."""

    def __init__(self, inner, name):
        self._inner, self._name = inner, name

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def entries_or_errors(self, under=b""):
        for entry in self._inner.entries_or_errors(under):
            if entry.path.endswith(self._name):
                entry.holes = ((900, 999),)
            yield entry


def test_a_file_given_up_half_way_does_not_shift_the_content_of_the_next_ones(rig, tree, tmp_path):
    rig.backup(tree)
    done = restore_point(
        _Crooked(rig.reader(), b"early"),
        target=str(tmp_path / "out"),
        paths=(),
        conflict=ConflictRule.SKIP,
        control=Uncontrolled(),
    )
    assert [(notice.path, notice.code) for notice in done.warnings] == [(f"{tree}/early", "damaged")]
    with open(f"{tmp_path}/out{tree}/early2", "rb") as file:
        assert file.read() == b"f" * 1000


@pytest.mark.parametrize("full", [False, True])
def test_a_sound_point_has_no_problems(rig, tree, full):
    _two_backups(rig, tree)
    done = verify_point(rig.reader(), full=full, control=Uncontrolled())
    assert (done.stats.problems, done.stats.files_checked, done.stats.chunks_checked, done.full) == (0, 3, 3, full)


def test_a_nasty_point_passes_a_full_verify(rig, tmp_path):
    rig.backup(plant(tmp_path / "nasty", nasty()))
    done = verify_point(rig.reader(), full=True, control=Uncontrolled())
    assert (done.stats.problems, done.stats.files_checked) == (0, rig.reader().body.files)


def test_every_name_of_a_lost_file_is_a_problem(rig, tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"1", data=b"same"), Node(b"2", "link", target=b"1")])
    rig.backup(tree)
    _flip(tmp_path, _packs(rig).pop(), 100)
    done = verify_point(rig.reader(), full=True, control=Uncontrolled())
    assert (done.stats.problems, [notice.path for notice in done.warnings]) == (2, [f"{tree}/1", f"{tree}/2"])


def test_a_flipped_bit_is_found_by_a_full_verify_which_names_the_file(rig, tree, tmp_path):
    pack = _two_backups(rig, tree)
    _flip(tmp_path, pack, 100)
    done = verify_point(rig.reader(), full=True, control=Uncontrolled())
    assert (done.stats.problems, [notice.path for notice in done.warnings]) == (1, [f"{tree}/late"])


@pytest.mark.parametrize("harm", [os.unlink, lambda path: os.truncate(path, os.path.getsize(path) - 1)])
def test_a_missing_or_short_pack_is_found_without_reading_everything(rig, tree, tmp_path, harm):
    pack = _two_backups(rig, tree)
    os.chmod(tmp_path / "vault" / pack, 0o600)
    harm(tmp_path / "vault" / pack)
    done = verify_point(rig.reader(), full=False, control=Uncontrolled())
    assert (done.stats.problems, [notice.path for notice in done.warnings]) == (1, [f"{tree}/late"])


def test_a_damaged_page_of_entries_is_a_problem_and_not_a_crash(rig, tree, tmp_path):
    rig.backup(tree)
    reader = rig.reader()
    meta = next(iter(rig.store.list("packs/m/"))).name
    _flip(tmp_path, meta, 100)
    verified = verify_point(reader, full=True, control=Uncontrolled())
    restored = rig.restore(tmp_path / "out")
    assert verified.stats.problems == 1
    assert [notice.code for notice in restored.warnings] == ["damaged"]


def test_verify_reports_where_it_is(rig, tree):
    rig.backup(tree)
    recorder = Recorder()
    verify_point(rig.reader(), full=True, control=recorder)
    assert recorder.positions[-1].files_done == 2


@pytest.mark.parametrize("gone", [False, True])
def test_a_point_whose_manifest_is_damaged_or_gone_is_a_problem_so_that_nobody_goes_on_taking_it_for_sound(
    rig, tree, tmp_path, gone
):
    _two_backups(rig, tree)
    manifest = max(info.name for info in rig.store.list("points/"))
    if gone:
        os.unlink(tmp_path / "vault" / manifest)
    else:
        _flip(tmp_path, manifest, -5)
    point = os.path.basename(manifest)
    done = verify_named(lambda: rig.reader(point), full=False, control=Uncontrolled())
    assert (done.stats.problems, [(notice.path, notice.code) for notice in done.warnings]) == (1, [("", "damaged")])


def test_a_store_that_cannot_be_reached_says_nothing_about_the_point(rig, tree):
    rig.backup(tree)

    def away():
        raise SkyharborError("store-unreachable", "the network")

    with pytest.raises(SkyharborError) as error:
        verify_named(away, full=True, control=Uncontrolled())
    assert error.value.code == "store-unreachable"
    assert verify_named(rig.reader, full=True, control=Uncontrolled()).stats.problems == 0
