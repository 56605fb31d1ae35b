"""A file of a point, read at any place, is the file: whatever its holes and chunks are."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.errors import SkyharborError
from shared.storage.memory import MemoryStore
from shared.vault.chunk_table import ID_SIZE
from tests.unit.serving.points import Bench, File, Told, image_of, node, random_file
from workers.images.chunk_cache import ChunkCache
from workers.images.image import open_image

SIZE = 300_000


@pytest.mark.parametrize("seed", range(12))
def test_any_stretch_is_what_the_file_has_there(seed: int) -> None:
    rng = random.Random(seed)
    file = random_file(seed, size=SIZE, holes=rng.choice((0, 1, 40)), smallest=1 + seed * 300, largest=9000)
    reader = Bench().seal([], {b"disk0.raw": file})
    image = image_of(reader, b"disk0.raw")
    stretches = [(0, SIZE), (0, 0), (SIZE, 10), (SIZE - 3, 10), (SIZE + 5, 1)]
    for _ in range(300):
        offset = rng.randrange(SIZE)
        stretches.append((offset, rng.choice((1, 7, 512, 4096, 100_000))))
    for offset, length in stretches:
        assert image.read(offset, length) == file.content[offset : offset + length], (offset, length)
    assert (image.size, image.data) == (SIZE, SIZE - sum(length for _, length in file.holes))


@pytest.mark.parametrize("seed", range(8))
def test_extents_of_any_stretch_are_its_holes_and_data_without_gaps(seed: int) -> None:
    file = random_file(seed, size=20_000, holes=seed, smallest=500, largest=900)
    image = image_of(Bench().seal([], {b"f": file}), b"f")
    is_hole = bytearray(20_000)
    for offset, length in file.holes:
        is_hole[offset : offset + length] = b"\1" * length
    rng = random.Random(seed)
    for _ in range(200):
        offset, length = rng.randrange(20_000), rng.randint(1, 21_000)
        found = bytearray()
        at = offset
        for begin, count, hole in image.extents(offset, length):
            assert (begin, count > 0) == (at, True)
            found += bytes([hole]) * count
            at += count
        assert found == is_hole[offset : offset + length]


def test_an_empty_file_and_a_file_of_one_hole_have_no_bytes_to_read() -> None:
    image = image_of(reader := Bench().seal([], {b"a": File(b""), b"b": File(bytes(9), [(0, 9)])}), b"a")
    assert (image.size, image.read(0, 10), list(image.extents(0, 10))) == (0, b"", [])
    other = image_of(reader, b"b")
    assert (other.read(2, 100), list(other.extents(0, 9)), other.data) == (bytes(7), [(0, 9, True)], 0)


def test_many_readers_at_once_get_the_right_bytes_with_a_cache_of_one_chunk() -> None:
    file = random_file(1, size=SIZE, holes=10, smallest=3000, largest=9000)
    reader = Bench().seal([], {b"f": file})
    image = open_image(next(reader.entries(b"f")), ChunkCache(reader.chunks, keep=1), Told().complaints().about)
    rng = random.Random(3)
    places = [(rng.randrange(SIZE), rng.randint(1, 30_000)) for _ in range(400)]
    with ThreadPoolExecutor(8) as threads:
        parts = list(threads.map(lambda place: image.read(*place), places))
    assert parts == [file.content[offset : offset + length] for offset, length in places]


def test_the_cache_keeps_no_more_bytes_than_it_may() -> None:
    file = random_file(1, size=SIZE, holes=0, smallest=3000, largest=3000)
    reader = Bench().seal([], {b"f": file})
    ids = next(reader.entries(b"f")).chunks
    cache = ChunkCache(reader.chunks, keep=10_000)
    for number in range(len(ids) // ID_SIZE):
        cache.get(ids, number)
    assert cache.kept <= 10_000


def test_reading_forward_asks_the_store_seldom_and_reading_here_and_there_takes_no_more_than_it_needs() -> None:
    store = Counting()
    file = File(random.Random(1).randbytes(8_000_000), cuts=[100_000])
    reader = Bench(store).seal([], {b"f": file})
    forward = image_of(reader, b"f")
    before = len(store.lengths)
    for at in range(0, 8_000_000, 50_000):
        forward.read(at, 50_000)
    assert len(store.lengths) - before <= 4  # of 20 segments
    other = image_of(Bench(store, made=True).open(reader.point.point_id), b"f")
    before = len(store.lengths)
    other.read(4_000_000, 10)
    assert [length < 450_000 for length in store.lengths[before:]] == [True]


class Counting(MemoryStore):
    """A store that remembers how much was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []
        self.spoilt = False

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        data = super().get(name, offset=offset, length=length)
        self.lengths.append(len(data))
        return bytes(len(data)) if self.spoilt else data


def test_who_insists_on_a_damaged_chunk_does_not_have_it_fetched_again() -> None:
    store = Counting()
    image = image_of(Bench(store).seal([], {b"f": File(b"a" * 100 + b"b" * 100, cuts=[100])}), b"f")
    store.spoilt = True
    asked = []
    for _ in range(3):
        with pytest.raises(SkyharborError):
            image.read(50, 1)
        asked.append(len(store.lengths))
    assert asked[0] == asked[1] == asked[2]


def test_a_lost_chunk_is_an_error_about_its_bytes_and_the_rest_is_right() -> None:
    bench, file = Bench(), random_file(5, size=50_000, holes=3, smallest=1000, largest=4000)
    reader = bench.seal([], {b"f": file})
    entry = next(reader.entries(b"f"))
    lost = bench.open(reader.point.point_id)
    bad = 7
    swapped = entry.chunks[: bad * ID_SIZE] + b"\0" * ID_SIZE + entry.chunks[(bad + 1) * ID_SIZE :]
    told = Told()
    entry.chunks = swapped
    image = open_image(entry, ChunkCache(lost.chunks), told.complaints().about)
    begin = sum(map(len, file.data()[:bad]))
    data = [at for at in range(50_000) if not any(o <= at < o + n for o, n in file.holes)]
    inside = set(data[begin : begin + len(file.data()[bad])])
    for at in range(0, 50_000, 97):
        if at in inside:
            with pytest.raises(SkyharborError) as caught:
                image.read(at, 1)
            assert caught.value.code == "object-missing"
        else:
            assert image.read(at, 1) == file.content[at : at + 1]
    assert told.lines
    assert all("/f: bytes " in line for line in told.lines)


def test_what_is_between_two_chunks_of_unknown_length_is_never_guessed() -> None:
    bench = Bench()
    file = File(random.Random(1).randbytes(10_000), cuts=[1000, 2000, 1500, 500, 5000])
    reader = bench.seal([], {b"f": file})
    entry = next(reader.entries(b"f"))
    unknown = b"\1" * ID_SIZE
    entry.chunks = (
        entry.chunks[:ID_SIZE]
        + unknown
        + entry.chunks[2 * ID_SIZE : 3 * ID_SIZE]
        + unknown
        + (entry.chunks[4 * ID_SIZE :])
    )
    image = open_image(entry, ChunkCache(reader.chunks), Told().complaints().about)
    assert (image.read(0, 1000), image.read(5000, 5000)) == (file.content[:1000], file.content[5000:])
    for at in (1000, 2999, 3000, 4499, 4500, 4999):
        with pytest.raises(SkyharborError):
            image.read(at, 1)


def test_damage_is_told_once_for_each_place() -> None:
    bench = Bench()
    reader = bench.seal([], {b"f": File(b"a" * 100, cuts=[50])})
    entry = next(reader.entries(b"f"))
    entry.chunks = entry.chunks[:ID_SIZE] + b"\1" * ID_SIZE
    told = Told()
    image = open_image(entry, ChunkCache(reader.chunks), told.complaints().about)
    for _ in range(5):
        with pytest.raises(SkyharborError):
            image.read(60, 5)
    assert len(told.lines) == 1


@pytest.mark.parametrize("holes", [((5, 2), (6, 2)), ((0, 0),), ((90, 20),)])
def test_holes_that_make_no_sense_are_damage(holes: tuple[tuple[int, int], ...]) -> None:
    reader = Bench().seal([], {b"f": File(b"a" * 100, cuts=[50])})
    entry = next(reader.entries(b"f"))
    entry.holes = holes
    with pytest.raises(SkyharborError, match="holes"):
        open_image(entry, ChunkCache(reader.chunks), Told().complaints().about)


@pytest.mark.parametrize("size", [99, 101, 49])
def test_a_size_that_its_chunks_do_not_have_is_damage(size: int) -> None:
    reader = Bench().seal([], {b"f": File(b"a" * 50 + b"b" * 50, cuts=[50]), b"g": File(b"c" * 50)})
    entry = node(b"f", size=size, chunks=next(reader.entries(b"f")).chunks)
    with pytest.raises(SkyharborError, match="chunks have 100 bytes"):
        open_image(entry, ChunkCache(reader.chunks), Told().complaints().about)
    small = node(b"g", size=size, chunks=next(reader.entries(b"g")).chunks)
    with pytest.raises(SkyharborError, match="chunk has 50 bytes"):
        open_image(small, ChunkCache(reader.chunks), Told().complaints().about).read(0, 1)
