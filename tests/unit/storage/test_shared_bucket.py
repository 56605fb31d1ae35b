"""The bucket in the file: exact by its clock, shared between processes, and in nobody's way."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.clock import SystemClock, since_boot
from shared.storage.shared_bucket import SharedBucket
from tests.support.clock import FakeClock

RATE = 1000.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "bandwidth" / "vault.up")


def bucket(path: str, clock: FakeClock) -> SharedBucket:
    return SharedBucket(path, now=clock.monotonic, clock=clock)


def passed(seconds: float, clock: FakeClock, *buckets: SharedBucket, count: int = 100, rate: float = RATE) -> int:
    """How many bytes get through in so many seconds when all of the buckets ask all the time."""
    end, through = clock.monotonic() + seconds, 0
    while clock.monotonic() < end:
        pauses = [each.take(count, rate) for each in buckets]
        through += count * pauses.count(0.0)
        if all(pauses):
            clock.advance(min(pauses))
    return through


def test_the_first_bytes_pass_at_once_and_the_next_when_those_are_paid_for(path: str, clock: FakeClock) -> None:
    one = bucket(path, clock)
    assert (one.take(500, RATE), one.take(1, RATE)) == (0.0, 0.25)  # there is credit for a quarter of a second
    clock.advance(0.2499)
    assert one.take(1, RATE) > 0
    clock.advance(0.0002)
    assert one.take(1, RATE) == 0.0


@pytest.mark.parametrize("buckets", [1, 2, 5])
def test_over_any_time_no_more_than_the_rate_and_a_quarter_second_passes_however_many_ask(
    path: str, clock: FakeClock, buckets: int
) -> None:
    through = passed(60.0, clock, *[bucket(path, clock) for _ in range(buckets)])
    assert 60 * RATE <= through <= (60 + 0.25) * RATE + 100


def test_a_long_pause_saves_up_no_more_than_a_quarter_of_a_second(path: str, clock: FakeClock) -> None:
    one = bucket(path, clock)
    one.take(1, RATE)
    clock.advance(3600)
    assert passed(1e-9, clock, one, count=10) == 260


def test_a_new_rate_holds_at_once_for_what_is_owed_already(path: str, clock: FakeClock) -> None:
    slow, other = bucket(path, clock), bucket(path, clock)
    slow.take(1_000_000, 1.0)
    assert (slow.take(1, 1.0) > 900_000, other.take(1, 1_000_000.0) <= 1.0) == (True, True)


def test_what_has_passed_is_owed_and_what_was_not_used_is_given_back(path: str, clock: FakeClock) -> None:
    one = bucket(path, clock)
    one.take(250, RATE)
    one.owe(1000, RATE)
    assert one.take(1, RATE) == 1.0
    one.owe(-1000, RATE)
    assert one.take(1, RATE) == 0.0


def test_a_debt_outlives_the_process_that_made_it(path: str, clock: FakeClock) -> None:
    before = bucket(path, clock)
    before.take(5250, RATE)
    before.close()
    assert bucket(path, clock).take(1, RATE) == 5.0


def test_after_a_boot_the_clock_begins_anew_and_so_does_the_debt(path: str, clock: FakeClock) -> None:
    bucket(path, clock).take(1_000_000, RATE)
    clock.advance(-999)
    assert bucket(path, clock).take(1, RATE) == 0.0


def record(debt: float, then: float) -> bytes:
    rest = struct.pack("<dd", debt, then)
    return b"skb1" + zlib.crc32(rest).to_bytes(4, "little") + rest


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"\xff" * 24, b"\0" * 24, record(1e9, 1000.0)[:-1], b"XXXX" + record(1e9, 1000.0)[4:],
     record(1e9, 1000.0)[:-1] + b"\0", record(float("nan"), 1000.0), record(float("inf"), 1000.0),
     record(1e9, float("nan")), record(1e9, float("inf"))],
)  # fmt: skip
def test_a_damaged_file_blocks_nobody(path: str, clock: FakeClock, content: bytes) -> None:
    os.makedirs(os.path.dirname(path))
    Path(path).write_bytes(content)
    one = bucket(path, clock)
    assert (one.take(1250, RATE), one.take(1, RATE)) == (0.0, 1.0)


def test_the_record_of_that_test_is_one_that_would_block(path: str, clock: FakeClock) -> None:
    os.makedirs(os.path.dirname(path))
    Path(path).write_bytes(record(1e9, 1000.0))
    assert bucket(path, clock).take(1, RATE) > 1e5


def test_without_a_usable_file_a_process_throttles_itself_alone(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "file").write_bytes(b"")
    one = bucket(str(tmp_path / "file" / "bucket"), clock)
    assert 60 * RATE <= passed(60.0, clock, one) <= (60 + 0.25) * RATE + 100


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=8", "skyharbor-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system needs the right to mount tmpfs")
    (folder / "filler").write_bytes(b"x" * 4096)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_on_a_full_disk_a_process_throttles_itself_alone(full_disk: Path, clock: FakeClock) -> None:
    one = bucket(str(full_disk / "bucket"), clock)
    assert 60 * RATE <= passed(60.0, clock, one) <= (60 + 0.25) * RATE + 100


def test_a_link_in_the_place_of_the_file_is_not_written_through(path: str, clock: FakeClock, tmp_path: Path) -> None:
    os.makedirs(os.path.dirname(path))
    (tmp_path / "precious").write_bytes(b"precious")
    os.symlink(tmp_path / "precious", path)
    bucket(path, clock).take(1, RATE)
    assert (tmp_path / "precious").read_bytes() == b"precious"


def _hold(path: str, ready: multiprocessing.connection.Connection) -> None:
    """Die or stop with the lock in hand, half-way through an update."""
    file = os.open(path, os.O_RDWR)
    fcntl.flock(file, fcntl.LOCK_EX)
    ready.send(True)
    signal.pause()


@pytest.fixture
def holder(path: str, clock: FakeClock) -> Iterator[multiprocessing.process.BaseProcess]:
    """Another process that holds the bucket's lock and does not let go."""
    bucket(path, clock).take(1, RATE)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_hold, args=(path, there))
    process.start()
    assert here.poll(60)
    yield process
    process.kill()
    process.join()


def test_a_holder_that_is_stopped_blocks_nobody(
    path: str, clock: FakeClock, holder: multiprocessing.process.BaseProcess
) -> None:
    os.kill(holder.pid or 0, signal.SIGSTOP)
    one = bucket(path, clock)
    assert 10 * RATE <= passed(10.0, clock, one) <= (10 + 0.25) * RATE + 100


def test_a_holder_that_is_killed_is_as_if_it_had_never_been(
    path: str, clock: FakeClock, holder: multiprocessing.process.BaseProcess
) -> None:
    holder.kill()
    holder.join()
    one, other = bucket(path, clock), bucket(path, clock)
    assert (one.take(1250, RATE), other.take(1, RATE) > 0.9, clock.slept) == (0.0, True, [])


def _ask_for(path: str, count: int, rate: float, go: multiprocessing.synchronize.Barrier) -> None:
    one, clock, left = SharedBucket(path), SystemClock(), count
    go.wait(60)
    while left > 0:
        pause = one.take(1024, rate)
        if pause:
            clock.sleep(pause)
        else:
            left -= 1024


def test_two_processes_together_are_no_faster_than_one(path: str) -> None:
    count, rate = 256 * 1024, 512 * 1024.0
    context = multiprocessing.get_context("spawn")
    go = context.Barrier(3)
    both = [context.Process(target=_ask_for, args=(path, count, rate, go)) for _ in range(2)]
    for process in both:
        process.start()
    go.wait(60)
    began = since_boot()
    for process in both:
        process.join()
    assert 2 * count / rate - 0.3 <= since_boot() - began <= 2 * count / rate + 2.0
