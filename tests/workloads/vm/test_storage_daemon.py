"""Where there is no device to put a filter under, a backup job holds the disk still, with room for all of it."""

import os
import subprocess
import time

import pytest

from shared.contracts.sources import VmSource
from shared.errors import SkyharborError
from tests.workloads.vm.guest import make_image, need, short_folder
from tests.workloads.vm.rig import Watch, body_of, order, pull, same
from workers.sources.children import tied
from workers.sources.vm.qmp import Qmp, QmpFailed
from workers.sources.vm.running import RunningSession

SIZE = 64 << 20


class Daemon:
    """A storage daemon whose disk is a file that others write to."""

    def __init__(self, folder):
        self.folder, self.socket, self.disk = folder, f"{folder}/qmp", f"{folder}/disk"
        make_image(f"{folder}/d.qcow2", SIZE)
        open(self.disk, "w").close()
        command = ["qemu-storage-daemon", "--chardev", f"socket,id=m,path={self.socket},server=on,wait=off"]
        command += ["--monitor", "chardev=m", "--blockdev"]
        command += [f"driver=qcow2,node-name=n0,discard=unmap,file.driver=file,file.filename={folder}/d.qcow2"]
        command += ["--export", f"fuse,id=guest,node-name=n0,mountpoint={self.disk},writable=on"]
        self.process = subprocess.Popen(tied([*command]), stderr=subprocess.DEVNULL)
        while os.path.getsize(self.disk) != SIZE:
            if self.process.poll() is not None:
                pytest.skip("this storage daemon cannot export by FUSE here")
            time.sleep(0.01)

    def write(self, offset, pattern, length):
        with open(self.disk, "r+b", buffering=0) as disk:
            assert os.pwrite(disk.fileno(), bytes([pattern]) * length, offset) == length

    def copy(self, name):
        subprocess.run(["cp", "--sparse=always", self.disk, f"{self.folder}/{name}"], check=True, timeout=60)
        return f"{self.folder}/{name}"

    def leftovers(self):
        with Qmp.connect(self.socket) as qmp:
            nodes = qmp.execute("query-named-block-nodes", {"flat": True})
            names = [node["node-name"] for node in nodes] + [one["id"] for one in qmp.execute("query-block-exports")]
            names += [job["device"] for job in qmp.execute("query-block-jobs")]
            bitmaps = [one["name"] for node in nodes for one in node.get("dirty-bitmaps", ()) if "name" in one]
        folders = [name for name in os.listdir(self.folder) if name.startswith(".sky-")]
        return [name for name in names if name.startswith("sky-")] + folders, bitmaps

    def stop(self):
        try:
            with Qmp.connect(self.socket) as qmp:
                qmp.execute("quit")
        except QmpFailed:
            self.process.kill()
        self.process.wait(30)


@pytest.fixture
def daemon():
    need("qemu-storage-daemon", "qemu-img")
    with short_folder() as folder:
        made = Daemon(folder)
        yield made
        made.stop()


def opened(daemon, point, reference=None, **more):
    spec = VmSource(qmp=daemon.socket)
    return RunningSession(order(spec, point, reference, **more), spec)


def test_increments_of_a_disk_that_is_written_to_make_the_same_disk(daemon):
    copy = {"disk0.raw": f"{daemon.folder}/copy"}
    daemon.write(0, 1, 8 << 20)
    then = daemon.copy("then1")
    session = opened(daemon, "p1")
    daemon.write(0, 2, 2 << 20)
    assert pull(session, copy) == 8 << 20
    assert same(then, copy["disk0.raw"])
    session.confirm()
    body = body_of(session)
    session.sealed()
    session.close()
    assert daemon.leftovers() == ([], ["skyharbor-item-p1"])
    session = opened(daemon, "p2", body)
    session.close()  # it failed
    daemon.write(40 << 20, 3, 512)
    then = daemon.copy("then2")
    session = opened(daemon, "p3", body)
    daemon.write(0, 4, 1 << 20)
    assert pull(session, copy) == (2 << 20) + 256 * 1024
    session.sealed()
    session.close()
    assert same(then, copy["disk0.raw"])
    assert daemon.leftovers()[0] == []


def test_the_guard_cleans_up_after_a_dead_worker(daemon):
    guard = Watch()
    session = opened(daemon, "p1", guard=guard)
    assert daemon.leftovers()[0] != []
    guard.strike()
    assert daemon.leftovers() == ([], [])
    daemon.write(0, 4, 1 << 20)
    session.close()


def test_a_scratch_disk_without_room_for_the_whole_disk_is_refused(daemon):
    path = f"{daemon.folder}/small"
    os.mkdir(path)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", path], capture_output=True).returncode:
        pytest.skip("only root can mount a small file system")
    try:
        spec = VmSource(qmp=daemon.socket, scratch=path)
        with pytest.raises(SkyharborError, match="room for the whole disk"):
            RunningSession(order(spec, "p1"), spec)
        assert daemon.leftovers() == ([], [])
        assert os.listdir(path) == []
        daemon.write(0, 4, 1 << 20)
    finally:
        subprocess.run(["umount", "-l", path], check=True)
