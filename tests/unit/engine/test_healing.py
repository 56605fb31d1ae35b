"""A vault that has lost something: no point is sealed on top of the loss, and backups bring back what can be."""

import os

import pytest

from shared.contracts.sources import FilesSource
from shared.contracts.work import BackupInstruction, ItemRef, MachineRef, VaultRef
from shared.errors import SkyharborError
from shared.model.backup import BackupType
from shared.model.ids import new_id
from shared.storage.faulty import FaultyStore
from shared.storage.local import LocalStore
from shared.vault import layout
from shared.vault.vault import open_vault
from tests.support.trees import Node, plant
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import SLOTS, Recorder, Rig
from workers.engine.healing import restore_header
from workers.engine.notices import Notices
from workers.engine.verify import verify_point


@pytest.fixture
def rig(tmp_path):
    return Rig(LocalStore.create(str(tmp_path / "vault")))


@pytest.fixture
def tree(tmp_path):
    return plant(tmp_path / "tree", [Node(b"a", data=b"a" * 1000), Node(b"b", data=b"b" * 1000)])


def _packs(rig, folder="packs/d/"):
    return [info.name for info in rig.store.list(folder)]


def _lose(rig, folder="packs/d/"):
    gone = _packs(rig, folder)
    for name in gone:
        rig.store.delete(name)
    return set(gone)


def _flip(tmp_path, name, at):
    path = tmp_path / "vault" / name
    os.chmod(path, 0o600)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def _verify(rig, point=None, *, full=True):
    return verify_point(rig.reader(point), full=full, control=Uncontrolled())


def _codes(done):
    return [notice.code for notice in done.warnings]


def _named(rig, point=None):
    return {pack.name for pack in rig.reader(point).packs}


def _touch(tree, name="new"):
    with open(f"{tree}/{name}", "wb") as file:
        file.write(name.encode() * 300)


def test_an_incremental_is_never_sealed_on_top_of_packs_that_are_gone(rig, tree):
    rig.backup(tree)
    gone = _lose(rig)
    _touch(tree)
    done = rig.backup(tree)
    assert (done.point.type, _codes(done)) == (BackupType.INCREMENTAL, ["pack-missing"])
    assert not gone & _named(rig)
    assert _verify(rig).stats.problems == 0


def test_the_incremental_after_a_healing_full_does_not_point_back_at_the_lost_pack(rig, tree):
    rig.backup(tree)
    gone = set()
    for number in range(5):  # which of several copies is found first is a matter of hashes
        gone |= _lose(rig)
        healed = rig.backup(tree, type=BackupType.FULL)
        _touch(tree, f"new{number}")
        after = rig.backup(tree)
        assert not gone & _named(rig)
        assert (_codes(healed), _codes(after)) == (["pack-missing"], [])
    assert _verify(rig).stats.problems == 0


def test_a_full_made_because_the_reference_is_unusable_relies_on_no_lost_pack(rig, tree, tmp_path):
    first = rig.backup(tree).point
    gone = _lose(rig)
    _flip(tmp_path, first.manifest, 100)
    done = rig.backup(tree)
    assert (done.point.type, gone & _named(rig), _verify(rig).stats.problems) == (BackupType.FULL, set(), 0)


def test_a_reference_whose_pages_are_lost_makes_a_full_that_stands_alone(rig, tree):
    rig.backup(tree)
    gone = _lose(rig, "packs/")
    done = rig.backup(tree)
    assert (gone & _named(rig), _verify(rig).stats.problems, done.point.files) == (set(), 0, 2)
    assert {"pack-missing", "reference-unusable"} <= set(_codes(done))


class _LosesOnCommit(Recorder):
    """A control in whose time the vault loses a pack: after the backup began, before it seals."""

    def __init__(self, lose):
        super().__init__()
        self._lose = lose

    def progress(self, position):
        super().progress(position)
        if position.phase == "sealing":
            self._lose()


def test_a_pack_that_vanishes_while_a_backup_runs_stops_it_from_sealing(rig, tree):
    rig.backup(tree)
    before = rig.points()
    _touch(tree)
    with pytest.raises(SkyharborError) as caught:
        rig.backup(tree, control=_LosesOnCommit(lambda: _lose(rig)))
    assert (caught.value.code, rig.points()) == ("object-missing", before)
    rig.backup(tree)
    assert _verify(rig).stats.problems == 0


def test_old_points_get_back_what_a_later_backup_has_stored_again(rig, tree, tmp_path):
    old = rig.backup(tree).point.point_id
    _lose(rig)
    assert _verify(rig, old, full=False).stats.problems == 2
    rig.backup(tree)
    structure, full = _verify(rig, old, full=False), _verify(rig, old)
    restored = rig.restore(tmp_path / "out", point_id=old)
    assert [(done.stats.problems, _codes(done)) for done in (structure, full)] == [(0, ["pack-damaged"])] * 2
    assert (restored.warnings, sorted(os.listdir(f"{tmp_path}/out{tree}"))) == ((), ["a", "b"])


def test_bit_rot_that_a_verify_has_found_is_healed_by_the_next_backup(rig, tree, tmp_path):
    old = rig.backup(tree).point.point_id
    (rotten,) = _packs(rig)
    _flip(tmp_path, rotten, 100)
    assert _verify(rig).stats.problems == 2
    done = rig.backup(tree)
    assert (_codes(done), rotten in _named(rig)) == (["pack-missing"], False)
    assert [_verify(rig, point).stats.problems for point in (None, old)] == [0, 0]
    assert _codes(rig.backup(tree)) == []


def test_a_verify_of_the_structure_does_not_call_sound_what_a_full_one_has_found_damaged(rig, tree, tmp_path):
    rig.backup(tree)
    (rotten,) = _packs(rig)
    _flip(tmp_path, rotten, 100)
    assert _codes(_verify(rig, full=False)) == []  # sizes are right, and nothing is read
    assert _verify(rig).stats.problems == 2
    done = _verify(rig, full=False)
    assert (done.stats.problems, done.stats.warnings, _codes(done)) == (0, 1, ["pack-damaged"])
    rig.backup(tree)
    assert _codes(_verify(rig, full=False)) == []


# ── what a full verify proves ────────────────────────────────────────────────────────────────────────


def _every_part(rig, name):
    size = rig.store.size(name)
    return {"header": 30, "frame": 70, "segment": 100, "directory": size - 30, "trailer": size - 10}


@pytest.mark.parametrize("part", ["header", "frame", "segment", "directory", "trailer"])
@pytest.mark.parametrize("folder", ["packs/d/", "packs/m/"])
def test_a_full_verify_finds_a_flipped_bit_in_every_part_of_a_pack(rig, tree, tmp_path, part, folder):
    rig.backup(tree)
    (name,) = _packs(rig, folder)
    _flip(tmp_path, name, _every_part(rig, name)[part])
    done = _verify(rig)
    assert done.stats.warnings > 0
    assert any(name in notice.message for notice in done.warnings)
    assert [info.name for info in rig.store.list(layout.DAMAGED)] == [layout.damaged_name(name)]


def test_a_sound_point_leaves_no_mark_and_is_read_once(rig, tree):
    rig.backup(tree)
    done = _verify(rig)
    pages = sum(info.size for info in rig.store.list("packs/m/"))
    everything = sum(info.size for info in rig.store.list("packs/"))
    assert (done.stats.warnings, list(rig.store.list(layout.DAMAGED))) == (0, [])
    assert everything <= done.stats.bytes_read <= everything + pages


class _ReadOnly(FaultyStore):
    def put(self, name, parts):
        raise SkyharborError("store-denied", name)


def test_a_verify_that_may_not_write_says_that_nothing_will_heal(rig, tree, tmp_path):
    rig.backup(tree)
    _flip(tmp_path, _packs(rig)[0], 100)
    rig.vault = open_vault(_ReadOnly(rig.store))
    done = _verify(rig)
    assert (done.stats.problems, _codes(done)[0]) == (2, "mark-failed")


# ── the vault's header ───────────────────────────────────────────────────────────────────────────────


def test_a_backup_puts_a_lost_header_again_and_says_so(rig, tree):
    rig.backup(tree)
    before = rig.vault.header
    rig.store.delete(layout.VAULT)
    rig.vault = open_vault(rig.store)
    assert _codes(rig.backup(tree)) == ["vault-header"]
    again = open_vault(rig.store)
    assert (again.problems, again.header.id, again.header.name) == ((), before.id, before.name)
    rig.vault = again
    assert _codes(rig.backup(tree)) == []


class _Elsewhere(FaultyStore):
    """A vault of points only, whose manifests claim to be of a vault that the tower does not mean."""

    def put(self, name, parts):
        assert name != layout.VAULT, "the header of a vault that nobody vouches for"
        return super().put(name, parts)


def test_a_header_is_not_put_again_when_the_tower_means_another_vault(rig, tree):
    rig.backup(tree)
    rig.store.delete(layout.VAULT)
    vault = open_vault(_Elsewhere(rig.store))
    notices = Notices()
    instruction = BackupInstruction(
        point_id=new_id(),
        machine=MachineRef(id="machine", name="the machine", key_slots=SLOTS),
        item=ItemRef(id="item", name="the item"),
        vault=VaultRef(id=new_id(), name="another", url="memory://"),
        source=FilesSource(paths=(tree,)),
        type=BackupType.FULL,
    )
    restore_header(vault, instruction, notices)
    assert ([notice.code for notice in notices.listed()], rig.store.size(layout.VAULT)) == (["vault-header"], None)
