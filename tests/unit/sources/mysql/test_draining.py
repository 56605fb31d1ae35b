"""Whoever must not wait is never made to, whoever may is; and every byte comes out once and in order."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import SkyharborError
from workers.sources.mysql import draining
from workers.sources.mysql.draining import Drain


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    os.close(ends[0])


def written(fd: int, data: bytes) -> threading.Thread:
    """Write all of it, and close, in a thread."""

    def run() -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
        os.close(fd)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def drain_of(fd: int, folder: Path, **more: Any) -> Drain:
    told: dict[str, Any] = {"in_a_hurry": lambda: False, "check": lambda: None, "stall": 60.0, **more}
    return Drain(fd, folder=str(folder), **told)


def rest_of(drain: Drain, rng: random.Random) -> bytes:
    parts, room = [], memoryview(bytearray(3 << 20))
    while got := drain.read_into(room[: rng.randrange(1, len(room))]):
        parts.append(bytes(room[:got]))
    return b"".join(parts)


def test_a_writer_in_a_hurry_is_rid_of_everything_though_nobody_reads(
    pipe: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "_MEMORY", 1 << 20)
    data = random.Random(1).randbytes(9 << 20)
    drain = drain_of(pipe[0], tmp_path, in_a_hurry=lambda: True)
    written(pipe[1], data).join()
    assert rest_of(drain, random.Random(2)) == data
    assert drain.spilled > 0
    drain.close()
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_may_wait_waits_and_nothing_is_put_down(
    pipe: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "_MEMORY", 1 << 20)
    asked = threading.Event()
    data = random.Random(1).randbytes(9 << 20)

    def may_wait() -> bool:
        asked.set()
        return False

    drain = drain_of(pipe[0], tmp_path, in_a_hurry=may_wait)
    writer = written(pipe[1], data)
    asked.wait(30)
    assert writer.is_alive()
    assert rest_of(drain, random.Random(2)) == data
    writer.join()
    assert drain.spilled == 0
    drain.close()


@pytest.mark.parametrize("seed", range(8))
def test_however_memory_and_file_take_turns_the_order_is_kept(
    pipe: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(draining, "_MEMORY", 200_000)
    monkeypatch.setattr(draining, "_PIECE", 50_000)
    data = rng.randbytes(6 << 20)
    drain = drain_of(pipe[0], tmp_path, in_a_hurry=lambda: random.random() < 0.7)
    writer = written(pipe[1], data)
    parts, room = [], memoryview(bytearray(400_000))
    while got := drain.read_into(room[: rng.randrange(1, len(room))]):
        parts.append(bytes(room[:got]))
    assert b"".join(parts) == data
    writer.join()
    drain.close()


def test_a_writer_that_sends_nothing_is_not_waited_for_without_end(pipe: tuple[int, int], tmp_path: Path) -> None:
    checks: list[int] = []
    drain = drain_of(pipe[0], tmp_path, stall=0.1, check=lambda: checks.append(1))
    with pytest.raises(SkyharborError, match="nothing came"):
        drain.read_into(memoryview(bytearray(1)))
    assert checks
    os.close(pipe[1])
    drain.close()


def test_whoever_waits_can_be_stopped(pipe: tuple[int, int], tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    drain = drain_of(pipe[0], tmp_path, check=stop)
    with pytest.raises(Stopped):
        drain.read_into(memoryview(bytearray(1)))
    os.close(pipe[1])
    drain.close()
