"""Files on logical volumes are read as of one moment, and nothing is left behind; for real, in a guest.

One guest runs the cases that every change has to pass, a second one the rest; what they said is looked at here.
"""

import shutil

import pytest

from tests.exam.claims import Claim
from tests.exam.table import note
from tests.workloads.files.lvm.guest import Kit, missing
from tests.workloads.files.lvm.inside import CORE, MORE

pytestmark = pytest.mark.timeout(1300)

_PATIENCE = 1200  # seconds, on machines that do a lot besides
ROW = "files, lvm"
HIDDEN = ["/mnt/data/tree/other", "not-in-snapshot"]
"""What is mounted below the tree, from a disk that is no volume."""


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    if lost := missing():
        pytest.skip(f"{', '.join(lost)} missing: see tools/servers.txt")
    folder = tmp_path_factory.mktemp("kit")
    yield Kit(str(folder))
    shutil.rmtree(folder)  # some hundred megabytes


@pytest.fixture(scope="module")
def core(kit):
    return kit.run([case.__name__ for case in CORE], patience=_PATIENCE)


@pytest.fixture(scope="module")
def more(kit):
    return kit.run([case.__name__ for case in MORE], patience=_PATIENCE)


@pytest.fixture
def claim(record_property):
    """Put the test into the exam's table, under a claim that is the same as that of the other seats."""
    return lambda which: note(record_property, row=ROW, claim=which)


def _refused(told, *words):
    assert told["code"] == "source-failed"
    assert [word for word in words if word not in f"{told['detail']} {told['hint']}"] == []
    assert (told["points"], told["left"]) == (0, [])


def test_files_that_are_written_in_turns_are_of_one_moment_in_a_point(core, claim):
    claim(Claim.CONSISTENT)
    made = core["classic"]["first"], core["classic"]["second"], core["killed"]["next"]
    assert [one["turns"] for one in made if not one["one_moment"]] == []


def test_without_a_snapshot_they_are_not_so_the_writer_does_write(core):
    assert not core["live"]["one_moment"]


def test_what_nobody_writes_to_comes_back_as_it_is(core, claim):
    claim(Claim.RESTORED)
    first = core["classic"]["first"]
    assert (first["still"], first["stats"]["files"], first["warnings"], first["left"]) == (True, 66, [HIDDEN], [])


def test_the_next_snapshot_makes_nothing_look_changed(core, claim):
    claim(Claim.INCREMENT)
    first, second = core["classic"]["first"], core["classic"]["second"]
    assert (second["still"], second["left"]) == (True, [])
    assert (second["stats"]["files_unchanged"], second["stats"]["files_changed"]) == (61, 5)
    assert second["stats"]["bytes_transferred"] < first["stats"]["bytes_transferred"] / 4


def test_what_is_to_be_done_to_a_file_system_when_it_is_mounted_is_done_in_the_snapshot(core):
    assert [line for line in core["classic"]["kernel"] if "1 orphan inode deleted" in line] != []


def test_a_snapshot_that_has_filled_up_is_noticed_and_makes_no_point(core):
    _refused(core["full"], "the snapshot of the-group/data is full", "--snapshot-percent")


def test_the_snapshot_of_a_killed_worker_is_unmounted_and_removed_by_its_guard(core, claim):
    claim(Claim.KILLED)
    told = core["killed"]
    volume, mount, folder = told["there"]
    assert mount == f"/run/skyharbor.snapshots/{volume}"
    assert folder == volume
    assert (told["signal"], told["points"], told["left"]) == (9, 0, [])


def test_after_a_killed_backup_the_next_one_is_right(core, claim):
    claim(Claim.RESUMED)
    following = core["killed"]["next"]
    assert (following["still"], following["one_moment"], following["left"]) == (True, True, [])


def test_a_cancelled_backup_is_no_point_and_leaves_nothing(core, claim):
    claim(Claim.CANCELLED)
    assert core["cancelled"] == {"stopped": True, "points": 0, "left": []}


def test_a_path_on_no_volume_is_refused_with_lvm_and_read_with_auto(core, claim):
    claim(Claim.REFUSED)
    _refused(core["elsewhere"]["lvm"], "/mnt/data/tree/other", "no logical volume")
    assert (core["elsewhere"]["stats"]["files"], core["elsewhere"]["warnings"]) == (1, [])


def test_it_is_told_where_a_backup_is(core, claim):
    claim(Claim.PROGRESS)
    told = core["classic"]["first"]["told"]
    assert told == sorted(told)
    assert told[-1] == core["classic"]["first"]["stats"]["bytes_scanned"]


@pytest.mark.soak
def test_volumes_in_a_thin_pool_with_xfs_are_of_one_moment(more):
    first, second = more["thin"]["first"], more["thin"]["second"]
    assert [(one["one_moment"], one["still"], one["left"]) for one in (first, second)] == [(True, True, [])] * 2
    assert second["stats"]["files_unchanged"] == 61


@pytest.mark.soak
def test_a_volume_that_is_mounted_below_has_a_snapshot_of_its_own_and_both_is_said(more):
    told = more["below"]
    assert (told["one_moment"], told["below"], told["other"], told["left"]) == (True, True, "other", [])
    assert told["warnings"] == [HIDDEN, ["", "not-one-moment"]]


@pytest.mark.soak
def test_a_folder_of_a_volume_that_is_mounted_elsewhere_is_found_in_the_snapshot(more):
    assert more["bound"] == {"same": True}


@pytest.mark.soak
def test_only_what_backups_of_the_item_have_left_is_swept(more):
    told = more["swept"]
    assert told["before"] == ["skyharbor_another", "skyharbor_dead", "skyharbor_untagged", "tagged"]
    assert told["after"] == ["skyharbor_another", "skyharbor_untagged", "tagged"]
    assert told["folders"] == []


@pytest.mark.soak
def test_snapshots_of_thin_snapshots_and_read_only_volumes_are_taken_and_of_others_not(more):
    _refused(more["origins"]["copy"], "the-group/copy is a snapshot itself")
    made = {"code": "", "detail": "it was made", "points": 1, "left": []}
    assert (more["origins"]["branch"], more["origins"]["locked"]) == (made, made)


@pytest.mark.soak
def test_a_group_and_a_pool_without_room_are_refused_and_read_as_they_are_with_auto(more):
    _refused(more["no_room"]["pool"], "the-group/small is full by 9", "Extend the pool")
    _refused(more["no_room"]["group"], "the-group has 0 MiB free")
    assert more["no_room"]["auto"]["warnings"] == [["/mnt/data/tree", "not-in-snapshot"]]


@pytest.mark.soak
def test_without_lvms_programs_it_is_said_what_is_missing(more):
    _refused(more["no_programs"]["lvm"], "lvcreate missing: install lvm2")
    assert more["no_programs"]["auto"]["warnings"] == [["/mnt/data/tree", "not-in-snapshot"]]
