"""Looking up chunks in columns answers like a dictionary would."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shared.vault.chunk_table import ABSENT, EMPTY, SEGMENT_DTYPE, ChunkTable, PackInfo, make_table, merge
from shared.vault.index import ChunkIndex, PackFilter
from shared.vault.index_segment import grouped

# Few different prefixes and tails with zero bytes: collisions and odd ids are the normal case here.
ids = st.tuples(st.sampled_from([b"\0" * 8, b"\1" + b"\0" * 7, b"\xff" * 8]), st.integers(0, 3)).map(
    lambda parts: parts[0] + parts[1].to_bytes(1, "big") + bytes(23)
)
held = st.dictionaries(st.integers(0, 4), st.lists(ids, max_size=6, unique=True), max_size=4)


def table_of(packs: dict[int, list[bytes]]) -> ChunkTable:
    """One table: each pack has one segment with its chunks at offsets 0, 10, 20…"""
    infos = [PackInfo(f"pack-{number}", bytes([number]) * 32, 10_000) for number in packs]
    segments = np.zeros(len(packs), dtype=SEGMENT_DTYPE)
    segments["pack"], segments["offset"] = range(len(packs)), [100 + number for number in packs]
    rows = [(at, 10 * place, chunk) for at, chunks in enumerate(packs.values()) for place, chunk in enumerate(chunks)]
    return make_table(
        infos,
        segments,
        b"".join(chunk for _, _, chunk in rows),
        segment=np.array([at for at, _, _ in rows], dtype=np.uint32),
        raw_offset=np.array([offset for _, offset, _ in rows], dtype=np.uint32),
        raw_length=np.full(len(rows), 10, dtype=np.uint32),
    )


def places(packs: dict[int, list[bytes]], chunk: bytes) -> set[tuple[str, int, int]]:
    return {
        (f"pack-{number}", 100 + number, 10 * chunks.index(chunk))
        for number, chunks in packs.items()
        if chunk in chunks
    }


@given(held, st.lists(ids, max_size=10))
def test_find_answers_like_a_dictionary(packs: dict[int, list[bytes]], wanted: list[bytes]) -> None:
    table = table_of(packs)
    rows = table.find(b"".join(wanted))
    for chunk, row in zip(wanted, rows.tolist(), strict=True):
        if row == ABSENT:
            assert not places(packs, chunk)
            continue
        (location,) = table.locations(np.array([row]))
        assert (location.pack, location.offset, location.raw_offset) in places(packs, chunk)


@given(held, ids)
def test_asking_for_one_id_answers_like_asking_for_many(packs: dict[int, list[bytes]], chunk: bytes) -> None:
    table = table_of(packs)
    row = table.row_of(chunk)
    assert row == table.find(chunk)[0]
    assert row == ABSENT or [table.location(row)] == table.locations(np.array([row]))


@given(held, st.lists(ids, max_size=10), st.sets(st.integers(0, 4)))
def test_only_allowed_packs_count(packs: dict[int, list[bytes]], wanted: list[bytes], allowed: set[int]) -> None:
    packs_of_a_point = PackFilter(f"pack-{number}" for number in allowed)
    index = ChunkIndex([table_of(packs)])
    some = {number: chunks for number, chunks in packs.items() if number in allowed}
    few = [index.locate(chunk, packs=packs_of_a_point)[0] for chunk in wanted]
    assert few == index.locate(wanted * 9, packs=packs_of_a_point)[: len(wanted)]
    for chunk, location in zip(wanted, few, strict=True):
        found = location and (location.pack, location.offset, location.raw_offset)
        assert found in places(some, chunk) if location else not places(some, chunk)


@given(st.lists(held, min_size=1, max_size=4))
def test_a_merged_table_knows_what_its_parts_know(parts: list[dict[int, list[bytes]]]) -> None:
    first_wins: dict[int, list[bytes]] = {}
    for part in parts:
        first_wins = {**part, **first_wins}
    table = merge([table_of(part) for part in parts])
    every = sorted({chunk for part in parts for chunks in part.values() for chunk in chunks})
    for chunk, row in zip(every, table.find(b"".join(every)).tolist(), strict=True):
        expected = places(first_wins, chunk)
        assert (row != ABSENT) == bool(expected)
        if row != ABSENT:
            (location,) = table.locations(np.array([row]))
            assert (location.pack, location.offset, location.raw_offset) in expected


def test_an_index_that_grows_pack_by_pack_forgets_nothing() -> None:
    seeded = random.Random(7)
    index, every = ChunkIndex(), []
    for number in range(40):
        chunks = [seeded.randbytes(32) for _ in range(5)]
        every += chunks
        index.add(table_of({number: chunks}))
    assert index.contains_all(every)
    assert [location.pack for location in index.locate(every) if location] == [f"pack-{n // 5}" for n in range(200)]
    assert seeded.randbytes(32) not in index


def test_a_row_takes_less_than_eighty_bytes() -> None:
    seeded = random.Random(1)
    table = table_of({1: [seeded.randbytes(32) for _ in range(2000)]})
    assert table.nbytes / len(table) < 80


def test_an_empty_table_finds_nothing() -> None:
    assert EMPTY.find(bytes(32)).tolist() == [ABSENT]
    assert merge([EMPTY, EMPTY]).find(bytes(32)).tolist() == [ABSENT]


@given(st.lists(st.integers(0, 5), max_size=8), st.integers(1, 10))
def test_tables_are_grouped_in_order_and_within_the_limit(sizes: list[int], most_rows: int) -> None:
    tables = [table_of({0: [bytes(31) + bytes([number]) for number in range(size)]}) for size in sizes]
    groups = list(grouped(tables, most_rows=most_rows))
    assert [table for group in groups for table in group] == tables
    assert all(len(group) == 1 or sum(map(len, group)) <= most_rows for group in groups)
