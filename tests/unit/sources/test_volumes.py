"""What snapshots of logical volumes are decided by; the volumes themselves are in a guest (tests/workloads/files)."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from shared.errors import SkyharborError
from workers.sources.snapshots import lvm, volumes
from workers.sources.snapshots.programs import change, wait_for_changes
from workers.sources.snapshots.volumes import Volume

MIB = 1 << 20
VOLUME = Volume(
    group="group",
    name="data",
    size=1000 * MIB,
    extent=4 * MIB,
    free=1000 * MIB,
    attributes="-wi-ao----",
    origin="",
    pool="",
    tags=(),
    device=1,
    data_percent=0.0,
    metadata_percent=0.0,
    invalid=False,
)


def _volume(**fields):
    return Volume(**{**{name: getattr(VOLUME, name) for name in Volume.__slots__}, **fields})


@pytest.mark.parametrize(
    ("free", "percent", "extents"),
    [
        (1000, 0, 50),  # a fifth
        (100, 0, 12),  # half of what is free
        (4, 0, 1),  # all of it, when that is the least that there can be
        (1000, 30, 75),
        (300, 30, 75),  # who asks for it gets the last extent
        (1000, 100, 250),
    ],
)
def test_the_room_of_a_snapshot_is_a_share_of_the_volume(free, percent, extents):
    assert lvm.extents_of(_volume(free=free * MIB), percent) == extents


@pytest.mark.parametrize(("free", "percent"), [(0, 0), (296, 30), (0, 1)])
def test_a_group_without_room_is_named_with_what_it_has(free, percent):
    with pytest.raises(SkyharborError, match=f"group has {free} MiB free"):
        lvm.extents_of(_volume(free=free * MIB), percent)


def test_only_a_file_system_that_can_be_mounted_twice_is_taken():
    kinds = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs")
    assert [kind for kind in kinds if not lvm.trouble_with(VOLUME, kind)] == ["ext2", "ext3", "ext4", "xfs"]


def test_who_is_not_root_is_told(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert lvm.trouble() == "a snapshot of a logical volume needs a worker that is root"


def test_a_snapshot_is_sound_until_it_is_full_or_its_pool_has_failed():
    letters = ("swi-aos---", "Vwi-aotz-k", "swi-Ios---", "swi-Sos---", "swi-Mos---", "Vwi---tz-k", "Vwi-aotzFk")
    assert [one for one in letters if _volume(attributes=one).is_sound] == ["swi-aos---", "Vwi-aotz-k"]
    assert not _volume(attributes="swi-aos---", invalid=True).is_sound


@pytest.mark.parametrize("item_id", ["a b", "", "x" * 300, "a,b", "ä"])
def test_whatever_an_item_is_called_its_tag_is_one_that_lvm_takes(item_id):
    assert lvm.tag_of(item_id).removeprefix("skyharbor-item_").isalnum()
    assert len(lvm.tag_of(item_id)) < 128


@pytest.mark.parametrize("said", ["", "{}", '{"report": [{"lv": [{"lv_name": "a"}]}]}', '{"report": [{"lv": 1}]}'])
def test_what_is_no_report_of_volumes_is_an_error_with_a_code(monkeypatch, said):
    monkeypatch.setattr(volumes, "ask", lambda *_: said)
    with pytest.raises(SkyharborError, match="something else than volumes"):
        volumes.volumes()


def test_a_program_that_changes_volumes_goes_on_without_its_worker_and_is_waited_for(tmp_path):
    gate, lock, begun, done = (str(tmp_path / name) for name in ("gate", "lock", "begun", "done"))
    os.mkfifo(gate)
    os.mkfifo(begun)
    script = f"echo > {begun}; read line < {gate}; echo $line > {done}"
    program = f"from workers.sources.snapshots.programs import change; change('sh', '-c', {script!r}, lock={lock!r})"
    with subprocess.Popen([sys.executable, "-c", program]) as worker:
        with open(begun) as told:  # blocks until the program runs
            told.read()
        worker.send_signal(signal.SIGKILL)
    waited = threading.Thread(target=wait_for_changes, args=(lock,))
    waited.start()
    assert not os.path.exists(done)
    with open(gate, "w") as opened:
        opened.write("go on\n")
    waited.join()
    with open(done) as told:
        assert told.read() == "go on\n"


def test_nothing_is_waited_for_where_nothing_was_begun(tmp_path):
    wait_for_changes(str(tmp_path / "lock"))


def test_a_program_that_fails_says_why(tmp_path):
    with pytest.raises(SkyharborError, match="sh: no such volume"):
        change("sh", "-c", "echo no such volume >&2; exit 5", lock=str(tmp_path / "lock"))
