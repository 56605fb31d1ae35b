"""A Linux that runs is backed up under load, restored, and boots; nothing that happens to the worker happens to it."""

import subprocess
import sys
import time

import pytest

from shared.contracts.sources import VmSource
from tests.workloads.vm.flights import Field
from tests.workloads.vm.guest import short_folder
from tests.workloads.vm.linux import Linux, make_kit
from workers.sources.vm.agent import Agent
from workers.sources.vm.qmp import Qmp

pytestmark = pytest.mark.timeout(300)

_LOAD = "(n=0; while [ ! -e /run/enough ]; do n=$((n+1)); head -c 20000 /dev/urandom > /data/load$((n % 50)); done) &"


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    return make_kit(str(tmp_path_factory.mktemp("kit")))


@pytest.fixture
def folder():
    with short_folder() as folder:
        yield folder


@pytest.fixture
def linux(kit, folder):
    guest = Linux(kit, folder, kit.new_disk(f"{folder}/d.qcow2"))
    yield guest
    guest.kill()


def _leftovers(linux):
    with Qmp.connect(linux.socket) as qmp:
        nodes = qmp.execute("query-named-block-nodes", {"flat": True})
        names = [node["node-name"] for node in nodes] + [one["id"] for one in qmp.execute("query-block-exports")]
        names += [bitmap.get("name", "") for node in nodes for bitmap in node.get("dirty-bitmaps", ())]
    return [name for name in names if name.startswith(("sky-", "skyharbor-"))]


def _files(linux, number):
    """Have the guest write files and note their sums."""
    linux.run(f"mkdir -p /data/{number}; for i in 1 2 3 4 5; do head -c 300000 /dev/urandom > /data/{number}/$i; done")
    linux.run("cd /data && md5sum [0-9]*/* > /data/sums; cd /")


def test_a_guest_that_writes_all_the_time_is_restored_as_it_was_and_boots(kit, linux, folder):
    item = Field(VmSource(qmp=linux.socket, agent=linux.agent))
    linux.run(_LOAD)
    _files(linux, 1)
    linux.run("echo first > /data/state")
    first = item.backup()
    assert first.warnings == ()
    _files(linux, 2)
    linux.run("echo second > /data/state")
    second = item.backup()
    assert second.warnings == ()
    assert 0 < second.stats.bytes_read < first.stats.bytes_read
    linux.run("echo third > /data/state")
    assert [name for name in _leftovers(linux) if "skyharbor-item-" not in name] == []
    assert item.guard.armed == {}
    for point, state, sums in zip(item.rig.points(), ("first", "second"), (5, 10), strict=True):
        target = f"{folder}/{state}"
        item.restore(target, point=point, format="qcow2")
        item.restore(target, point=point)
        check = ["e2fsck", "-fn", f"{target}/disk0.raw"]
        assert subprocess.run(check, capture_output=True, timeout=60).returncode == 0
        told = subprocess.run(["dumpe2fs", "-h", f"{target}/disk0.raw"], capture_output=True, text=True, timeout=60)
        assert "needs_recovery" not in told.stdout  # it was at rest
        restored = Linux(kit, target, f"{target}/disk0.qcow2")
        try:
            assert restored.run("cat /data/state") == f"{state}\n"
            assert restored.run("cd /data && md5sum -c sums | grep -c OK") == f"{sums}\n"
        finally:
            restored.kill()


def test_a_worker_that_is_killed_while_it_reads_leaves_the_guest_as_it_was(linux):
    linux.run(_LOAD)
    _kill_when(linux, "reading")
    _await(lambda: _leftovers(linux) == [])
    assert linux.run("echo alive > /data/after; sync; cat /data/after") == "alive\n"
    with Qmp.connect(linux.socket) as qmp:
        assert [one["inserted"]["node-name"] for one in qmp.execute("query-block") if one.get("inserted")] == ["n0"]


def test_a_worker_that_is_killed_while_the_guest_is_at_rest_does_not_leave_it_so(linux):
    _kill_when(linux, "frozen")
    # The shell stands still with the disk until the guard has thawed it.
    assert linux.run("echo alive > /data/after; sync; cat /data/after") == "alive\n"
    _await(lambda: _leftovers(linux) == [])
    assert Agent(linux.agent).thaw() == 0


def test_without_an_agent_the_backup_is_made_and_that_is_said(linux):
    # Not SIGTERM: an agent that waits for a host to take its last answer does not hear it.
    linux.run("killall -9 qemu-ga; while pidof qemu-ga; do :; done")
    item = Field(VmSource(qmp=linux.socket, agent=linux.agent))
    done = item.backup()
    assert [notice.code for notice in done.warnings] == ["guest-not-frozen"]
    assert item.guard.armed == {}


def _kill_when(linux, where):
    command = [sys.executable, "-m", "tests.workloads.vm.reader_alone", linux.socket, linux.agent, where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == f"{where}\n"
        worker.kill()


def _await(true):
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)
