"""Sources that are cut at fixed places, and that know what can have changed: only that is read, and nothing is lost."""

from __future__ import annotations

import random
import stat
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.vault.entry import Entry
from tests.unit.engine.rig import Rig
from workers.engine.block_cutting import BlockCutter, BlockMap, aligned, common
from workers.engine.ports import Found, Haste, Survey
from workers.engine.sealing import Sealing
from workers.engine.seen import entry_of
from workers.engine.span import EVERYTHING, Span

BLOCK = 4096
MIB = 1024 * 1024


class DiskStat:
    def __init__(self, size: int, moment: int) -> None:
        self.st_mode = stat.S_IFREG | 0o600
        self.st_ino, self.st_dev, self.st_nlink, self.st_uid, self.st_gid, self.st_rdev = 1, 1, 1, 0, 0, 0
        self.st_size, self.st_mtime_ns, self.st_ctime_ns = size, moment, moment


class Disk:
    """A disk with holes in memory, whose writes are remembered block by block since the last ``mark``."""

    def __init__(self, size: int, *, grain: int = BLOCK) -> None:
        self.size = size
        self.grain = grain
        self.blocks: dict[int, bytes] = {}
        self.dirty: set[int] | None = None
        self.moment = 1

    def write(self, number: int, data: bytes | None) -> None:
        """Put a block, or punch a hole."""
        if data is None:
            self.blocks.pop(number, None)
        else:
            self.blocks[number] = data
        if self.dirty is not None:
            self.dirty.add(number)

    def mark(self) -> None:
        self.dirty = set()
        self.moment += 1

    def content(self) -> bytes:
        whole = bytearray(-(-self.size // self.grain) * self.grain)
        for number, data in self.blocks.items():
            whole[number * self.grain : number * self.grain + len(data)] = data
        return bytes(whole[: self.size])


class DiskSource:
    """The engine's source over one disk; it counts what is read of it."""

    excluded = 0

    def __init__(self, disk: Disk, *, block: int = BLOCK) -> None:
        self.disk = disk
        self.block = block
        self.read = 0

    def scan(self, span: Span = EVERYTHING) -> Iterator[Found]:
        yield Found([b"disk0.raw"], [DiskStat(self.disk.size, self.disk.moment)])

    def survey(self, most: int) -> Survey:
        return Survey([], cut_off=False)

    def complete(self, entry: Entry) -> Entry:
        raise AssertionError(entry)

    def read_whole(self, entry: Entry, room: memoryview) -> Haste:
        return Haste.NO

    def warm(self, entries: Iterable[Entry]) -> None:
        """Nothing to warm."""

    def close(self) -> None:
        """Nothing to let go of."""

    def names_of_owners(self, uids: Iterable[int], gids: Iterable[int]) -> tuple[dict[str, str], dict[str, str]]:
        return {}, {}

    def open(self, entry: Entry) -> OpenedDisk:
        return OpenedDisk(self, entry)


class OpenedDisk:
    def __init__(self, source: DiskSource, entry: Entry) -> None:
        self._source, self._disk = source, source.disk
        self.entry = entry_of(entry.path, DiskStat(self._disk.size, self._disk.moment))

    def changes(self) -> list[tuple[int, int]] | None:
        grain, dirty = self._disk.grain, self._disk.dirty
        return None if dirty is None else [(number * grain, grain) for number in sorted(dirty)]

    def look(self) -> bool:
        return True

    def next_data(self, offset: int) -> int | None:
        return next((at for at, _ in self.data(offset, self._disk.size)), None)

    def data(self, begin: int, end: int) -> list[tuple[int, int]]:
        grain = self._disk.grain
        return common([(number * grain, grain) for number in sorted(self._disk.blocks)], [(begin, end - begin)])

    def read(self, size: int, offset: int) -> bytes:
        return self._disk.content()[offset : offset + size]

    def read_into(self, buffer: memoryview, offset: int) -> int:
        data = self._disk.content()[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        self._source.read += len(data)
        return len(data)

    def close(self) -> None:
        """Nothing is held."""


def backup(rig: Rig, disk: Disk, *, block: int = BLOCK) -> int:
    """Back the disk up, check that the point is the disk, return the bytes that were read of it."""
    source = DiskSource(disk, block=block)
    done = rig.backup("/", source=source)
    disk.mark()
    assert content(rig, disk.size) == disk.content()
    assert done.stats.bytes_read == source.read
    return source.read


def content(rig: Rig, size: int) -> bytes:
    [entry] = list(rig.reader().entries())
    data = b"".join(map(bytes, rig.reader().read_chunks(entry.chunks)))
    whole, at, used = bytearray(size), 0, 0
    for offset, length in (*entry.holes, (size, 0)):
        whole[at:offset] = data[used : used + offset - at]
        used += offset - at
        at = offset + length
    assert used == len(data)
    return bytes(whole)


def a_block(rng: random.Random) -> bytes:
    return rng.randbytes(BLOCK)


@pytest.fixture
def rng() -> random.Random:
    return random.Random(7)


def filled(rng: random.Random, *, blocks: int, of: int) -> Disk:
    disk = Disk(of * BLOCK)
    for number in rng.sample(range(of), blocks):
        disk.write(number, a_block(rng))
    return disk


def test_only_blocks_that_can_have_changed_are_read(rng: random.Random) -> None:
    rig, disk = Rig(), filled(rng, blocks=600, of=1000)
    assert backup(rig, disk) == 600 * BLOCK
    assert backup(rig, disk) == 0
    old = sorted(disk.blocks)
    disk.write(old[3], a_block(rng))
    disk.write(old[4], None)
    disk.write(next(number for number in range(1000) if number not in disk.blocks), a_block(rng))
    assert backup(rig, disk) == 2 * BLOCK


def test_changes_finer_than_a_block_have_the_whole_block_read(rng: random.Random) -> None:
    rig, disk = Rig(), filled(rng, blocks=64, of=64)
    assert backup(rig, disk, block=16 * BLOCK) == 64 * BLOCK
    disk.write(17, a_block(rng))
    disk.write(18, a_block(rng))
    assert backup(rig, disk, block=16 * BLOCK) == 16 * BLOCK


def test_a_disk_that_ends_within_a_block_keeps_its_size(rng: random.Random) -> None:
    rig, disk = Rig(), Disk(10 * BLOCK + 100)
    disk.write(10, rng.randbytes(100))
    disk.write(2, a_block(rng))
    assert backup(rig, disk) == BLOCK + 100
    disk.write(10, rng.randbytes(100))
    assert backup(rig, disk) == 100


@pytest.mark.parametrize("why", ["another size", "another block", "no list of changes"])
def test_everything_is_read_when_the_reference_does_not_fit(rng: random.Random, why: str) -> None:
    rig, disk = Rig(), filled(rng, blocks=32, of=64)
    backup(rig, disk)
    disk.write(1, a_block(rng))
    if why == "another size":
        disk.size += BLOCK
    if why == "no list of changes":
        disk.dirty = None
    assert backup(rig, disk, block=2 * BLOCK if why == "another block" else BLOCK) >= len(disk.blocks) * BLOCK


def test_a_reference_that_does_not_say_how_it_was_cut_is_not_relied_on(
    rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, disk = Rig(), filled(rng, blocks=32, of=64)
    with monkeypatch.context() as older:
        older.setattr(Sealing, "_blocks", lambda _: {})
        backup(rig, disk)
    assert backup(rig, disk) == 32 * BLOCK


def test_blocks_that_the_vault_has_lost_are_read_again(rng: random.Random) -> None:
    rig, disk = Rig(), filled(rng, blocks=32, of=64)
    backup(rig, disk)
    for name in [listed.name for listed in rig.store.list("packs/d/")]:
        rig.store.delete(name)
    assert backup(rig, disk) == 32 * BLOCK


def test_many_backups_of_a_disk_that_changes_at_random_are_the_disk(rng: random.Random) -> None:
    rig, disk = Rig(), Disk(200 * BLOCK - 777)
    for _ in range(12):
        for number in rng.sample(range(199), 20):
            disk.write(number, None if rng.random() < 0.3 else a_block(rng))
        backup(rig, disk)


def test_a_large_disk_is_read_by_ranges_and_its_holes_cost_nothing(rng: random.Random) -> None:
    rig, disk = Rig(), Disk(4096 * MIB, grain=MIB)
    disk.content = lambda: b""  # type: ignore[method-assign]
    for number in (0, 63, 64, 4095):
        disk.write(number, b"")
    source = DiskSource(disk, block=MIB)
    seen = []

    class Opened(OpenedDisk):
        def read_into(self, buffer: memoryview, offset: int) -> int:
            seen.append(offset // MIB)
            buffer[:] = bytes(len(buffer))
            return len(buffer)

    source.open = lambda entry: Opened(source, entry)  # type: ignore[method-assign]
    rig.backup("/", source=source)
    assert sorted(set(seen)) == [0, 63, 64, 4095]


def apart(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges in order from gaps and lengths."""
    found, at = [], 0
    for gap, length in pairs:
        found.append((at + gap, length))
        at += gap + length
    return found


RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=6).map(apart)


def bytes_of(ranges: Iterable[tuple[int, int]]) -> set[int]:
    return {at for offset, length in ranges for at in range(offset, offset + length)}


@given(RANGES, st.sampled_from([1, 2, 4, 8]), st.integers(1, 200))
def test_aligned_ranges_are_exactly_the_blocks_that_were_touched(
    ranges: list[tuple[int, int]], block: int, size: int
) -> None:
    within = common(ranges, [(0, size)])
    touched = {at for at in range(size) if any(at // block == byte // block for byte in bytes_of(within))}
    assert bytes_of(aligned(within, block=block, size=size)) == touched


@given(RANGES, RANGES)
def test_what_is_common_to_ranges_lies_in_both(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    assert bytes_of(common(one, other)) == bytes_of(one) & bytes_of(other)


@given(st.binary(max_size=100), st.sampled_from([1, 2, 8, 64]))
def test_blocks_are_the_data_cut_at_fixed_places_whatever_comes_at_once(data: bytes, block: int) -> None:
    rest = memoryview(data)

    def fill(view: memoryview) -> int:
        nonlocal rest
        got = min(len(view), len(rest), 3)
        view[:got], rest = rest[:got], rest[got:]
        return got

    found = [bytes(one) for blocks in BlockCutter(block).rounds(fill) for one in blocks]
    assert found == [data[at : at + block] for at in range(0, len(data), block)]


def test_an_entry_that_was_cut_otherwise_has_no_map() -> None:
    entry = Entry(b"disk0.raw", 1, 0, 0, 0, 8 * BLOCK, 0, 0, 0, 0, chunks=b"i" * 32 * 3, holes=())
    assert BlockMap.of(entry, block=BLOCK) is None
    entry.holes = ((100, BLOCK),)
    assert BlockMap.of(entry, block=BLOCK) is None


def test_ids_that_do_not_fit_the_ranges_are_refused() -> None:
    with pytest.raises(ValueError, match="2 blocks with 1 ids"):
        BlockMap(size=4 * BLOCK, block=BLOCK).put([(0, 2 * BLOCK)], b"i" * 32)
