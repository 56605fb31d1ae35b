"""What is read ahead of a file is what is in it, however it is asked for."""

import random

import pytest

from workers.sources.shares import pieces
from workers.sources.shares.pieces import Pieces


class _File:
    """A file in memory that notes what it was asked for."""

    def __init__(self, data):
        self.data = data
        self.begun, self.taken = [], 0

    def begin(self, size, at):
        self.begun.append((at, size))

        def take():
            self.taken += 1
            return self.data[at : at + size]

        return take


@pytest.mark.parametrize("seed", range(6))
def test_any_reads_give_the_bytes_of_the_file(seed, monkeypatch):
    monkeypatch.setattr(pieces, "_PIECE", 1000)
    rng = random.Random(seed)
    data = rng.randbytes(20_000)
    file = _File(data)
    read = Pieces(file.begin, ahead=3)
    at = 0
    for _ in range(200):
        if rng.random() < 0.2:
            at = rng.randrange(22_000)
        read.until = rng.choice((0, at, len(data), 30_000))
        room = bytearray(rng.randrange(1, 3000))
        got = read.fill(memoryview(room), at)
        assert bytes(room[:got]) == data[at : at + len(room)]
        at += got


def test_nothing_is_asked_for_beyond_what_will_be_read(monkeypatch):
    monkeypatch.setattr(pieces, "_PIECE", 1000)
    file = _File(bytes(50_000))
    read = Pieces(file.begin, ahead=9)
    read.until = 2500
    read.fill(memoryview(bytearray(100)), 0)
    assert file.begun == [(0, 100), (100, 1000), (1100, 1000), (2100, 400)]


def test_settling_waits_for_all_that_was_asked_for(monkeypatch):
    monkeypatch.setattr(pieces, "_PIECE", 1000)
    file = _File(bytes(50_000))
    read = Pieces(file.begin, ahead=4)
    read.until = 50_000
    read.fill(memoryview(bytearray(100)), 0)
    read.settle()
    assert file.taken == len(file.begun) == 4
