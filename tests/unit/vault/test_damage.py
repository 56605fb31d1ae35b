"""Bit rot: it is noticed, it never becomes wrong bytes, and it takes nothing with it that can be read otherwise."""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Callable

import pytest

from shared.errors import SkyharborError
from shared.storage.memory import MemoryStore
from shared.vault import layout
from shared.vault.chunk_table import ChunkTable
from shared.vault.index import ChunkIndex
from shared.vault.pack_format import TRAILER_SIZE
from shared.vault.pack_reading import read_directory, scan_frames
from shared.vault.vault import open_vault
from tests.unit.vault.bench import KEYS, MACHINE, Bench, body, never_stop, new_bench, outcome_of

SEED = random.Random(5)
TREE = {b"a": b"text " * 50, b"b": SEED.randbytes(250), b"c": SEED.randbytes(450), b"d": b""}
EXPECTED = ("object-damaged", "object-missing")


@functools.cache
def _objects() -> dict[str, bytes]:
    bench = new_bench()
    bench.write(1, TREE)
    return {name: bench.store.get(name) for name in bench.names()}


def copy() -> Bench:
    """The same vault of one point, made anew: packs of one or two segments each."""
    store = MemoryStore()
    for name, data in _objects().items():
        store.put(name, [data])
    return Bench(open_vault(store))


def objects(prefix: str) -> list[str]:
    return [name for name in _objects() if name.startswith(prefix)]


def tamper(bench: Bench, name: str, change: Callable[[bytearray], object]) -> None:
    data = bytearray(bench.store.get(name))
    change(data)
    assert isinstance(bench.store, MemoryStore)
    bench.store.tamper(name, bytes(data))


def flip(position: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[position] ^= 1 << (position % 8)

    return change


def every_flip(name: str) -> range:
    return range(len(_objects()[name]))


def readable_or_damaged(bench: Bench, index: ChunkIndex | None) -> str:
    """Read everything; say ``ok`` when it is the tree, or the error's code. Anything else fails the test."""
    outcome = outcome_of(lambda: bench.read(1, index=index))
    if isinstance(outcome, SkyharborError):
        assert outcome.code in EXPECTED
        return outcome.code
    assert outcome == TREE
    return "ok"


def test_every_flipped_byte_of_a_manifest_is_noticed() -> None:
    (name,) = objects(layout.POINTS)
    for position in every_flip(name):
        bench = copy()
        tamper(bench, name, flip(position))
        with pytest.raises(SkyharborError) as caught:
            bench.reader(1)
        assert caught.value.code == "object-damaged", position


def test_every_shortened_manifest_is_noticed() -> None:
    (name,) = objects(layout.POINTS)
    for length in range(0, len(_objects()[name]), 7):
        bench = copy()
        tamper(bench, name, lambda data, length=length: data.__delitem__(slice(length, None)))
        with pytest.raises(SkyharborError) as caught:
            bench.reader(1)
        assert caught.value.code == "object-damaged", length


def test_every_flipped_byte_of_an_index_segment_is_noticed_and_rebuilt() -> None:
    (name,) = objects(layout.INDEX)
    for position in every_flip(name):
        bench = copy()
        tamper(bench, name, flip(position))
        index = bench.index()
        assert (len(index.problems), len(index.recovered) > 0) == (1, True), position
        assert readable_or_damaged(bench, index) == "ok"


def test_every_shortened_index_segment_is_noticed_and_rebuilt() -> None:
    (name,) = objects(layout.INDEX)
    for length in range(0, len(_objects()[name]), 11):
        bench = copy()
        tamper(bench, name, lambda data, length=length: data.__delitem__(slice(length, None)))
        assert len(bench.index().problems) == 1, length


@pytest.mark.parametrize("with_index", [True, False])
def test_no_flipped_byte_of_a_pack_becomes_a_wrong_byte(with_index: bool) -> None:
    outcomes = set()
    for name in objects(layout.PACKS):
        for position in every_flip(name):
            bench = copy()
            tamper(bench, name, flip(position))
            outcomes.add(readable_or_damaged(bench, bench.index() if with_index else None))
    assert outcomes == {"ok", *(["object-damaged"] if with_index else EXPECTED)}


def test_no_shortened_pack_becomes_a_wrong_byte() -> None:
    for name in objects(layout.PACKS):
        for length in range(0, len(_objects()[name]), 13):
            for index in (None, copy().index()):
                bench = copy()
                tamper(bench, name, lambda data, length=length: data.__delitem__(slice(length, None)))
                readable_or_damaged(bench, index)


def test_a_damaged_segment_is_noticed_wherever_it_is_hit() -> None:
    bench = copy()
    for name, size in bench.sizes(layout.PACKS).items():
        table = read_directory(bench.store, name, size, keys=KEYS, vault_id=bench.vault.id)
        offset, stored = int(table.segments["offset"][0]) + 16, int(table.segments["stored"][0])
        for position in range(offset, offset + stored, 5):
            other = copy()
            tamper(other, name, flip(position))
            assert readable_or_damaged(other, other.index()) == "object-damaged"


def test_a_pack_whose_directory_is_damaged_still_reads() -> None:
    for name in objects(layout.PACKS):
        bench = copy()
        tamper(bench, name, flip(len(_objects()[name]) - TRAILER_SIZE - 5))
        assert readable_or_damaged(bench, None) == "ok"


def test_a_scan_finds_what_the_directory_says() -> None:
    bench = copy()
    for name, size in bench.sizes(layout.PACKS).items():
        found = [
            look(bench.store, name, size, keys=KEYS, vault_id=bench.vault.id) for look in (read_directory, scan_frames)
        ]
        assert rows(found[0]) == rows(found[1]) != []


def rows(table: ChunkTable) -> list:
    ids = table.ids()
    every = [ids[at : at + 32] for at in range(0, len(ids), 32)]
    return list(zip(every, table.locations(table.find(ids)), strict=True))


def test_a_scan_goes_on_behind_a_damaged_segment() -> None:
    bench = new_bench()
    writer = bench.writer(1, data_pack=1_000_000)
    bench.fill(writer, {b"%d" % number: SEED.randbytes(200) for number in range(6)})
    writer.checkpoint()
    writer.abort()
    (name,) = bench.names("packs/d/")
    size = bench.sizes()[name]
    whole = scan_frames(bench.store, name, size, keys=KEYS, vault_id=bench.vault.id)
    for segment in range(6):
        start = int(whole.segments["offset"][segment])
        for position in (start, start + 9, start + 13, start + 20):  # length, ordinal, magic, content
            other = bench.on(MemoryStore())
            other.store.put(name, [bench.store.get(name)])
            tamper(other, name, flip(position))
            found = scan_frames(other.store, name, size, keys=KEYS, vault_id=bench.vault.id)
            assert len(whole) - len(found) == 2, (segment, position)


def test_a_damaged_pack_takes_only_its_own_chunks_with_it() -> None:
    bench = new_bench()
    tree = {b"%d" % number: SEED.randbytes(700) for number in range(5)}
    bench.write(1, tree)
    reader = bench.reader(1, index=bench.index())
    entries = {entry.path: entry.chunks for entry in reader.entries()}
    victim = reader.locate(entries[b"3"])[0].pack
    tamper(bench, victim, flip(100))
    reader = bench.reader(1, index=bench.index())
    outcomes = {
        path: outcome_of(lambda chunks=chunks: b"".join(reader.read_chunks(chunks))) for path, chunks in entries.items()
    }
    lost = outcomes.pop(b"3")
    assert isinstance(lost, SkyharborError)
    assert (lost.code, victim in lost.detail) == ("object-damaged", True)
    assert outcomes == {path: content for path, content in tree.items() if path != b"3"}


def test_a_damaged_page_takes_only_its_own_entries_with_it() -> None:
    bench = new_bench()
    bench.write(1, {b"%06d" % number: b"" for number in range(3000)})
    reader = bench.reader(1)
    first = reader.pages[0]
    victim = reader.locate(first.chunks)[0].pack
    gone = sum(page.entries for page in reader.pages if reader.locate(page.chunks)[0].pack == victim)
    tamper(bench, victim, flip(100))
    outcomes = list(bench.reader(1, index=bench.index()).entries_or_errors())
    assert sum(not isinstance(outcome, SkyharborError) for outcome in outcomes) == 3000 - gone


def test_a_rebuilt_index_is_written_with_the_next_point() -> None:
    bench = copy()
    (name,) = objects(layout.INDEX)
    tamper(bench, name, flip(80))
    bench.write(2, TREE)
    bench.store.delete(name)
    index = bench.index()
    assert (index.problems, readable_or_damaged(bench, index)) == ([], "ok")
    assert index.contains_all(b"".join(entry.chunks for entry in bench.reader(1).entries()))


def test_a_backup_that_looks_for_missing_packs_heals_the_vault() -> None:
    bench = new_bench()
    tree = {b"%d" % number: SEED.randbytes(700) for number in range(5)}
    bench.write(1, tree)
    gone, torn = bench.names("packs/d/")[:2]
    bench.store.delete(gone)
    tamper(bench, torn, lambda data: data.pop())
    index = bench.index()
    assert index.drop_missing_packs(bench.vault) == [gone, torn]
    writer = bench.writer(2, index=index)
    bench.fill(writer, tree)
    writer.seal(body=body(), validate=never_stop)
    assert bench.read(2) == tree
    assert index.drop_missing_packs(bench.vault) == []


def test_a_pack_s_name_is_the_hash_of_its_bytes() -> None:
    for name in objects(layout.PACKS) + objects(layout.INDEX):
        assert name.endswith(hashlib.sha256(_objects()[name]).hexdigest())


def test_a_foreign_object_among_the_index_segments_is_passed_over() -> None:
    bench = copy()
    bench.store.put(layout.index_prefix(MACHINE) + "readme.txt", [b"hello"])
    assert bench.index().problems == []
