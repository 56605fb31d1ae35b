"""Disks of a machine in three worker processes at once, one of which is killed in the middle."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_shards import in_flight, leads, told
from tests.support.fleet import Fleet
from tests.support.stack import TERMINAL, Stack, wait_for
from tests.workloads.vm.guest import Guest, make_image, need, short_folder
from tests.workloads.vm.rig import same

pytestmark = pytest.mark.stack

MIB = 1 << 20
SIZE = 512 * MIB
OWN, SECOND, THIRD = "worker:local", "worker:second", "worker:third"


class Workers:
    """The stack's own worker process, which is started again when it ends, and two more."""

    names = (OWN, SECOND, THIRD)

    def __init__(self, stack: Stack, *, before_third: Sequence[str] = ()) -> None:
        socket = next(str(path) for path in stack.home.rglob("valkey.sock"))
        broker = f"redis+socket://{socket}"
        self._stack = stack
        self.second = stack.second_worker("second", broker_url=broker)
        self.third = stack.second_worker("third", broker_url=broker, before=before_third)

    def lead_by(self, leader: str, fleet: Fleet, item: str) -> Any:
        """Start a backup that one of the workers leads, and stop that one's clock; the others' runs on."""
        others = [name for name in self.names if name != leader]
        for name in others:
            self.send(name, signal.SIGSTOP)
        job = fleet.request(item)
        wait_for(lambda: bool(told(fleet, job, "job.offer")), "shards to be offered", seconds=60)
        self.send(leader, signal.SIGSTOP)
        for name in others:
            self.send(name, signal.SIGCONT)
        return job

    def catch(self, name: str, fleet: Fleet, job: Any) -> None:
        """Stop a worker's clock while it has a shard in its hands."""

        def caught() -> bool:
            if not in_flight(fleet, job, name):
                return False
            self.send(name, signal.SIGSTOP)
            if in_flight(fleet, job, name):
                return True
            self.send(name, signal.SIGCONT)
            return False

        wait_for(caught, f"{name} to be caught with a shard in its hands", seconds=60)

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a worker process."""
        if name == OWN:
            self._stack.signal("worker", number)
        else:
            (self.second if name == SECOND else self.third).send_signal(number)

    def end(self) -> None:
        for one in (self.second, self.third):
            one.kill()
            one.wait()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A stack in which 6 MiB to read are worth sharing."""
    stack = Stack(tmp_path / "home", env={"SKYHARBOR_SHARD_ENTRIES": "100"})
    stack.up()
    try:
        yield Fleet.settle(stack, tmp_path / "fleet")
    finally:
        stack.down()


@pytest.fixture
def workers(fleet: Fleet) -> Iterator[Workers]:
    made = Workers(fleet.stack)
    yield made
    made.end()


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """One large disk and two small ones; nothing in them is there twice."""
    need("qemu-img", "qemu-nbd")
    rng, made = random.Random(8), [tmp_path / f"disk{number}.raw" for number in range(3)]
    for path, filled in zip(made, (400, 20, 0), strict=True):
        with open(path, "wb") as disk:
            disk.truncate(SIZE)
            for at in rng.sample(range(SIZE // MIB), filled):
                os.pwrite(disk.fileno(), rng.randbytes(MIB), at * MIB)
    qcow2 = tmp_path / "small.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", made[1], qcow2], check=True, timeout=60)
    return [made[0], qcow2, made[2]]


def test_a_helper_killed_in_the_middle_of_a_disk_costs_the_backup_nothing_but_time(
    fleet: Fleet, workers: Workers, images: list[Path], tmp_path: Path
) -> None:
    stack = fleet.stack
    disks = [word for path in images for word in ("--disk", str(path))]
    stack.ask("item", "add", "vm", "off", "--machine", "m1", "--vault", "v1", *disks)
    stack.ask("vault", "limit", "v1", "--upload", "8MiB/s")  # so that no shard is done in a moment
    job = workers.lead_by(SECOND, fleet, "off")
    workers.catch(OWN, fleet, job)
    stack.ask("vault", "limit", "v1", "--none")
    lost = in_flight(fleet, job, OWN)
    workers.send(OWN, signal.SIGKILL)
    workers.send(SECOND, signal.SIGCONT)
    done = stack.wait_job(job["id"], *TERMINAL, seconds=120)
    assert (done["state"], done["attempt"], leads(fleet, job)) == ("completed", 1, [SECOND])
    assert {unit for _, _, unit in told(fleet, job, "shard.orphaned")} == lost
    claims = [(actor, unit) for _, actor, unit in told(fleet, job, "shard.claim")]
    assert all(len([unit for _, unit in claims if unit == one]) == 2 for one in lost)
    assert THIRD in {actor for actor, _ in claims}
    read = (400 + 20) * MIB
    assert 0 <= done["stats"]["bytes_read"] - read < MIB
    assert (done["stats"]["files"], done["stats"]["warnings"]) == (4, 0)
    assert read < done["stats"]["bytes_transferred"] < 2 * read
    stack.ask("restore", done["point"], "--to", str(tmp_path / "out"), "--wait")
    assert same(str(images[0]), str(tmp_path / "out" / "disk0.raw"))
    assert same(str(tmp_path / "disk1.raw"), str(tmp_path / "out" / "disk1.raw"))
    again = stack.ask("backup", "off", "--wait")
    assert (again["stats"]["bytes_read"], told(fleet, again, "job.offer")) == (0, [])


def write_noise(guest: Guest, at: int) -> None:
    """Write a MiB that does not compress, as the guest would, and into the oracle."""
    noise = os.urandom(MIB)
    path = Path(guest.folder) / "noise"
    path.write_bytes(noise)
    guest.io(0, f"write -s {path} {at * MIB} {MIB}")
    with open(guest.oracles[0].path, "r+b") as oracle:
        os.pwrite(oracle.fileno(), noise, at * MIB)


def test_a_lead_killed_in_the_middle_leaves_nothing_in_the_machine_and_the_next_attempt_makes_the_point(
    fleet: Fleet, workers: Workers, tmp_path: Path
) -> None:
    need("qemu-system-x86_64", "qemu-img", "qemu-nbd")
    stack = fleet.stack
    with short_folder() as folder:
        guest = Guest(folder, [(make_image(f"{folder}/d0.qcow2", SIZE), "qcow2")])
        try:
            guest.oracle(0, SIZE)
            stack.ask("item", "add", "vm", "on", "--machine", "m1", "--vault", "v1", "--qmp", guest.socket)
            first = stack.ask("backup", "on", "--wait")
            for at in range(0, 250, 2):
                write_noise(guest, at)
            stack.ask("vault", "limit", "v1", "--upload", "4MiB/s")  # so that no shard is done in a moment
            job = workers.lead_by(OWN, fleet, "on")
            workers.catch(THIRD, fleet, job)
            stack.ask("vault", "limit", "v1", "--none")
            workers.send(OWN, signal.SIGKILL)
            wait_for(lambda: len(guest.bitmaps()) == 1, "the guard to take everything out of the guest", seconds=60)
            assert guest.bitmaps() == {f"skyharbor-{job['item_id']}-{first['point']}"}
            workers.send(THIRD, signal.SIGCONT)  # what it goes on to read is not there any more
            done = stack.wait_job(job["id"], *TERMINAL, seconds=120)
            assert (done["state"], done["attempt"], leads(fleet, job)[0]) == ("completed", 2, OWN)
            assert done["type"] == "incremental"
            assert 0 <= done["stats"]["bytes_read"] - 125 * MIB < MIB
            stack.ask("restore", done["point"], "--to", str(tmp_path / "out"), "--wait")
            assert same(guest.oracles[0].path, str(tmp_path / "out" / "disk0.raw"))
            assert guest.leftovers() == []
        finally:
            guest.kill()


def test_a_worker_that_has_another_file_at_the_path_gives_one_shard_back_and_is_asked_no_more(
    fleet: Fleet, images: list[Path], tmp_path: Path
) -> None:
    """The third worker sees another file system there, as one on another machine would."""
    need("unshare", "mount")
    if os.geteuid() != 0:
        pytest.skip("another view of the files is for root to make")
    stack, other = fleet.stack, tmp_path / "other.raw"
    with open(other, "wb") as disk:
        disk.truncate(SIZE)
    hidden = f'mount --bind {other} {images[0]} && exec "$0" "$@"'
    before = ["unshare", "--mount", "--propagation=private", "sh", "-c", hidden]
    workers = Workers(stack, before_third=before)
    try:
        stack.ask("item", "add", "vm", "off", "--machine", "m1", "--vault", "v1", "--disk", str(images[0]))
        job = workers.lead_by(SECOND, fleet, "off")
        workers.send(OWN, signal.SIGSTOP)
        wait_for(
            lambda: any(actor == THIRD for _, actor, _ in told(fleet, job, "shard.release")),
            "the third worker to give a shard back",
            seconds=60,
        )
        workers.send(OWN, signal.SIGCONT)
        workers.send(SECOND, signal.SIGCONT)
        done = stack.wait_job(job["id"], *TERMINAL, seconds=120)
        assert (done["state"], done["attempt"], done["stats"]["warnings"]) == ("completed", 1, 0)
        # Once for each of its seats at most: they may have asked at the same time.
        assert 0 < len([one for one in told(fleet, job, "shard.claim") if one[1] == THIRD]) <= 4
        assert {unit for _, actor, unit in told(fleet, job, "shard.end") if actor == THIRD} == set()
        stack.ask("restore", done["point"], "--to", str(tmp_path / "out"), "--wait")
        assert same(str(images[0]), str(tmp_path / "out" / "disk0.raw"))
    finally:
        workers.end()
