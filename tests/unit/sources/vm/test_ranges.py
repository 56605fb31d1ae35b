"""Blocks that ranges touch, and parts of ranges."""

import itertools
import random

from workers.sources.vm.ranges import widened, within


def test_widened_ranges_are_the_blocks_that_have_a_byte_of_them():
    rng = random.Random(1)
    for _ in range(500):
        block, size = 16, rng.randrange(1, 400)
        ranges, at = [], 0
        while at < size:
            at += rng.randrange(40)
            length = min(rng.randrange(1, 60), size - at)
            if length > 0:
                ranges.append((at, length))
            at += max(length, 1)
        told = {byte // block for offset, length in ranges for byte in range(offset, offset + length)}
        found = widened(ranges, block, size)
        assert {number for o, n in found for number in range(o // block, -(-(o + n) // block))} == told
        assert all(o % block == 0 and ((o + n) % block == 0 or o + n == size) for o, n in found)
        assert all(one[0] + one[1] < other[0] for one, other in itertools.pairwise(found))


def test_within_is_what_lies_between():
    rng = random.Random(2)
    for _ in range(500):
        ranges = widened([(rng.randrange(300), 5)], 8, 400) + widened([(rng.randrange(320, 390), 9)], 8, 400)
        begin = rng.randrange(400)
        end = rng.randrange(begin, 401)
        told = {byte for o, n in ranges for byte in range(o, o + n) if begin <= byte < end}
        assert {byte for o, n in within(ranges, begin, end) for byte in range(o, o + n)} == told
