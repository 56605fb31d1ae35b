"""Journals of ext, block by block: what was committed counts, in its order, and nothing else."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from tests.unit.disks.memory import Memory
from workers.disks.ext.journal import replayed
from workers.disks.volume import Damaged, Volume

SIZE = 1024
MAGIC = 0xC03B3998
FIRST_BLOCK, BLOCKS = 20, 12  # of the journal, in the volume
REVOKE, WIDE, CSUM_2, CSUM_3 = 0x1, 0x2, 0x8, 0x10
Log = Sequence[bytes]


def head(kind: int, sequence: int) -> bytes:
    return struct.pack(">III", MAGIC, kind, sequence)


def tag(block: int, flags: int, features: int) -> bytes:
    if features & CSUM_3:
        return struct.pack(">IIII", block, flags, 0, 0)
    raw = struct.pack(">IHH", block, 0, flags) + (struct.pack(">I", 0) if features & WIDE else b"")
    return raw + (b"\0\0" if features & CSUM_2 else b"")


def writes(sequence: int, *blocks: int, features: int = 0, escaped: bool = False) -> bytes:
    """A descriptor of writes to these blocks: the first tag has a UUID behind it, the last one says so."""
    raw = b""
    for place, block in enumerate(blocks):
        flags = (2 if place else 0) | (8 if block == blocks[-1] else 0) | (1 if escaped else 0)
        raw += tag(block, flags, features) + (b"" if place else bytes(16))
    return head(1, sequence) + raw


def commit(sequence: int) -> bytes:
    return head(2, sequence)


def revoke(sequence: int, *blocks: int) -> bytes:
    return head(5, sequence) + struct.pack(">I", 16 + 4 * len(blocks)) + struct.pack(f">{len(blocks)}I", *blocks)


def data(byte: bytes) -> bytes:
    return byte * SIZE


def volume(log: Log, *, start: int = 1, sequence: int = 7, features: int = REVOKE) -> Memory:
    """A volume of 40 blocks of dots, with a journal whose ring has 11 blocks; the log begins at ``start`` of it."""
    disk = bytearray(b"." * 40 * SIZE)
    superblock = head(4, 0) + struct.pack(">IIIIIIIII", SIZE, BLOCKS, 1, sequence, start, 0, 0, features, 0)
    disk[FIRST_BLOCK * SIZE : (FIRST_BLOCK + BLOCKS) * SIZE] = bytes(BLOCKS * SIZE)
    disk[FIRST_BLOCK * SIZE : FIRST_BLOCK * SIZE + len(superblock)] = superblock
    for number, block in enumerate(log):
        at = 1 + (start - 1 + number) % (BLOCKS - 1)
        disk[(FIRST_BLOCK + at) * SIZE : (FIRST_BLOCK + at) * SIZE + len(block)] = block
    return Memory(disk)


def seen(log: Log, **options: int) -> str:
    """The first eight blocks after the journal was applied, a letter for each."""
    view = opened(log, **options)
    return "".join(chr(view.read(number * SIZE + 5, 1)[0]) for number in range(8))


def opened(log: Log, **options: int) -> Volume:
    return replayed(volume(log, **options), SIZE, range(FIRST_BLOCK, FIRST_BLOCK + BLOCKS))


@pytest.mark.parametrize("features", [REVOKE, WIDE, CSUM_2, CSUM_2 | WIDE, CSUM_3, CSUM_3 | WIDE])
def test_what_was_committed_is_laid_over(features: int) -> None:
    log = [writes(7, 2, 4, features=features), data(b"a"), data(b"b"), commit(7)]
    assert seen(log, features=features) == "..a.b..."


def test_later_transactions_win_and_those_without_a_commit_do_not_count() -> None:
    first = [writes(7, 2), data(b"a"), commit(7)]
    second = [writes(8, 2), data(b"b"), commit(8)]
    assert seen([*first, *second, writes(9, 2), data(b"c")]) == "..b....."


def test_transactions_of_an_earlier_turn_do_not_count() -> None:
    assert seen([writes(7, 2), data(b"a"), commit(7), writes(3, 4), data(b"b"), commit(3)]) == "..a....."


@pytest.mark.parametrize("start", range(1, 12))
def test_the_ring_goes_round(start: int) -> None:
    log = [writes(7, 1, 3), data(b"a"), data(b"b"), commit(7), writes(8, 5), data(b"c"), commit(8)]
    assert seen(log, start=start) == ".a.b.c.."


def test_what_was_revoked_does_not_come_back_but_for_later_writes() -> None:
    log = [
        writes(7, 2, 4),
        data(b"a"),
        data(b"b"),
        commit(7),
        revoke(8, 2, 4),
        commit(8),
        writes(9, 4),
        data(b"c"),
        commit(9),
    ]
    assert seen(log) == "....c..."


def test_numbers_that_begin_again_are_in_order() -> None:
    last = 0xFFFFFFFF
    log = [writes(last, 2), data(b"a"), commit(last), revoke(0, 2), commit(0)]
    assert seen(log, sequence=last) == "........"


def test_blocks_that_look_like_the_journals_own_are_given_back_whole() -> None:
    view = opened([writes(7, 2, escaped=True), bytes(4) + b"x" * (SIZE - 4), commit(7)])
    assert (view.read(2 * SIZE, 6), view.read(2 * SIZE + 2, 4)) == (b"\xc0\x3b\x39\x98xx", b"\x39\x98xx")
    with pytest.raises(Damaged):
        view.where(2 * SIZE, 10)


def test_places_of_what_is_laid_over_are_in_the_journal() -> None:
    view = opened([writes(7, 2), data(b"a"), commit(7)])
    assert view.where(SIZE, 3 * SIZE) == [
        (0, SIZE, SIZE), (0, (FIRST_BLOCK + 2) * SIZE, SIZE), (0, 3 * SIZE, SIZE),
    ]  # fmt: skip
    assert view.read(SIZE + 1000, 2 * SIZE) == b"." * 24 + b"a" * SIZE + b"." * 1000


def test_an_empty_journal_changes_nothing() -> None:
    assert seen([writes(7, 2), data(b"a"), commit(7)], start=0) == "........"


def test_a_journal_without_its_superblock_is_damage() -> None:
    with pytest.raises(Damaged):
        replayed(Memory(bytes(40 * SIZE)), SIZE, range(FIRST_BLOCK, FIRST_BLOCK + BLOCKS))
