"""Sets, lists and owners of packs, and an index that forgets some for good."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.storage.memory import MemoryStore
from shared.vault import layout
from shared.vault.index_loading import pack_table
from shared.vault.pack_list import PackList
from shared.vault.pack_owner import pack_owner
from shared.vault.pack_set import PackSet
from shared.vault.point import PackRef
from tests.unit.vault.bench import KEYS, Bench, body, never_stop, new_bench

STRANGER = DomainKeys.derive(b"s" * 32)


def pack(number: int, kind: int = layout.KIND_DATA) -> str:
    return layout.pack_name(kind, hashlib.sha256(b"%d" % number).digest())


@given(st.lists(st.lists(st.integers(0, 60), max_size=20), max_size=6), st.lists(st.integers(0, 60), max_size=20))
def test_a_set_of_packs_is_a_set(added: list[list[int]], asked: list[int]) -> None:
    packs = PackSet()
    for batch in added:
        packs.add(pack(number) for number in batch)
        packs.holds([pack(0)])
    expected = {number for batch in added for number in batch}
    assert len(packs) == len(expected)
    assert packs.holds([pack(number) for number in asked]).tolist() == [number in expected for number in asked]
    other = PackSet([pack(99)])
    packs.merge(other)
    assert pack(99) in packs
    assert len(other) == 1


def test_a_million_packs_take_eight_bytes_each() -> None:
    packs = PackSet(f"packs/d/00/{number * 2**40:064x}"[:-1] + "0" for number in range(3))
    packs.add(layout.pack_name(1, number.to_bytes(8, "big") + bytes(24)) for number in range(1_000_000))
    assert len(packs) >= 1_000_000
    assert packs._sorted.nbytes == 8 * len(packs)


def test_a_list_of_packs_gives_back_what_it_was_given() -> None:
    packs = PackList()
    given_in = [(pack(number, 1 + number % 2), number * 2**20) for number in range(10)]
    for name, size in given_in:
        packs.append(name, size)
    assert [one for batch in packs.batches(3) for one in batch] == given_in
    assert [len(batch) for batch in packs.batches(3)] == [3, 3, 3, 1]
    assert (len(packs), packs.size) == (10, 45 * 2**20)
    with pytest.raises(SkyharborError):
        packs.append("points/a/b/c", 1)


@pytest.fixture
def bench() -> Bench:
    bench = new_bench()
    bench.write(1, {b"a": b"one" * 100})
    return bench


def test_a_pack_belongs_to_the_key_that_it_was_made_with(bench: Bench) -> None:
    for name in bench.names(layout.PACKS):
        assert pack_owner(bench.store, name, [STRANGER, KEYS], vault_id=bench.vault.id) == KEYS
        assert pack_owner(bench.store, name, [STRANGER], vault_id=bench.vault.id) is None


def test_what_is_missing_damaged_or_of_another_vault_belongs_to_nobody(bench: Bench) -> None:
    store = bench.store
    assert isinstance(store, MemoryStore)
    name = bench.names(layout.PACKS)[0]
    sound = store.get(name)
    for data in (b"", sound[:70], sound[:64] + bytes(16), b"X" + sound[1:]):
        store.tamper(name, data)
        assert pack_owner(store, name, [KEYS], vault_id=bench.vault.id) is None
    store.tamper(name, sound)
    assert pack_owner(store, name, [KEYS], vault_id="0198f000-0000-7000-8000-000000000fff") is None
    store.delete(name)
    assert pack_owner(store, name, [KEYS], vault_id=bench.vault.id) is None


def test_a_store_that_does_not_answer_is_no_answer_about_the_owner(bench: Bench) -> None:
    class Away:
        def get(self, *_: object, **__: object) -> bytes:
            raise SkyharborError("store-unreachable")

    with pytest.raises(SkyharborError):
        pack_owner(Away(), pack(1), [KEYS], vault_id=bench.vault.id)  # type: ignore[arg-type]


# ── forgetting ───────────────────────────────────────────────────────────────────────────────────────


def test_a_pack_that_was_forgotten_does_not_come_back_by_any_way(bench: Bench) -> None:
    index = bench.index()
    names = index.pack_names()
    gone = sorted(names)[0]
    size = bench.sizes()[gone]
    table, _ = pack_table(bench.vault, PackRef(gone, size), KEYS)
    ids = table.ids()
    index.forget([gone])
    assert index.pack_names() == names - {gone}
    assert not index.contains_many(ids).any()
    index.add(table)
    index.recover(table)
    index.add(pack_table(bench.vault, PackRef(gone, size), KEYS)[0])
    assert index.pack_names() == names - {gone}
    assert not index.contains_many(ids).any()
    assert sum(len(one) for one in index.recovered) == 0


def test_an_index_segment_does_not_name_what_was_rebuilt_and_then_forgotten(bench: Bench) -> None:
    for segment in bench.names(layout.INDEX):
        bench.store.delete(segment)
    index = bench.index()
    assert index.recovered
    gone = sorted(index.pack_names())[0]
    index.forget([gone])
    writer = bench.writer(2, index=index)
    bench.fill(writer, {b"b": b"two" * 100})
    writer.seal(body=body(), validate=never_stop)
    fresh = bench.index()
    assert fresh.pack_names()
    assert gone not in fresh.pack_names()


def test_packs_that_were_missing_stay_forgotten_too(bench: Bench) -> None:
    index = bench.index()
    gone = sorted(index.pack_names())[0]
    table, _ = pack_table(bench.vault, PackRef(gone, bench.sizes()[gone]), KEYS)
    bench.store.delete(gone)
    assert index.drop_missing_packs(bench.vault) == [gone]
    index.add(table)
    assert gone not in index.pack_names()
