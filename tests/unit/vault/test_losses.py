"""Objects that are gone or rotten: what can be found out again is, and nothing is relied on that is not there."""

from __future__ import annotations

import random

import pytest

from shared.errors import SkyharborError
from shared.storage.local import LocalStore
from shared.storage.memory import MemoryStore
from shared.vault import layout
from shared.vault.pack_presence import mark_damaged
from shared.vault.pack_reading import prove_pack
from shared.vault.vault import create_vault, open_vault
from tests.unit.vault.bench import (
    ITEM,
    KEYS,
    MACHINE,
    SLOTS,
    Bench,
    body,
    never_stop,
    new_bench,
    point_id,
    rewritten_header,
)

SEED = random.Random(7)
TREE = {b"%d" % number: SEED.randbytes(700) for number in range(5)}


def healed(bench: Bench, number: int) -> Bench:
    """Write a point after looking what the vault has lost."""
    index = bench.index()
    index.drop_missing_packs(bench.vault)
    writer = bench.writer(number, index=index)
    bench.fill(writer, TREE)
    writer.seal(body=body(), validate=never_stop)
    return bench


@pytest.mark.parametrize("folder", ["packs/d/", "packs/"])
def test_an_old_point_is_read_from_what_a_later_one_stored_again(folder: str) -> None:
    bench = new_bench()
    bench.write(1, TREE)
    for name in bench.names(folder):
        bench.store.delete(name)
    healed(bench, 2)
    assert [bench.read(number, index=bench.index()) for number in (1, 2)] == [TREE, TREE]


def test_an_old_point_whose_packs_no_index_knows_any_more_is_read_from_copies() -> None:
    bench = new_bench()
    bench.write(1, TREE)
    for name in [*bench.names("packs/d/"), *bench.names(layout.INDEX)]:
        bench.store.delete(name)
    healed(bench, 2)
    assert bench.read(1, index=bench.index()) == TREE


def test_a_pack_with_sound_segments_under_a_name_that_is_not_its_hash_is_damaged() -> None:
    bench = new_bench()
    bench.write(1, TREE)
    name = bench.names("packs/d/")[0]
    wrong = layout.pack_name(layout.KIND_DATA, bytes(32))
    data = bench.store.get(name)
    bench.store.put(wrong, [data])
    read: list[int] = []
    prove_pack(bench.store, name, len(data), keys=KEYS, vault_id=bench.vault.id, on_read=read.append)
    assert sum(read) == len(data)
    with pytest.raises(SkyharborError, match="SHA-256") as caught:
        prove_pack(bench.store, wrong, len(data), keys=KEYS, vault_id=bench.vault.id, on_read=read.append)
    assert caught.value.code == "object-damaged"


def test_a_rotten_segment_is_read_from_another_copy() -> None:
    bench = new_bench()
    bench.write(1, TREE)
    for name in bench.names("packs/d/"):
        rotten = bytearray(bench.store.get(name))
        rotten[100] ^= 1
        assert isinstance(bench.store, MemoryStore)
        bench.store.tamper(name, bytes(rotten))
        assert mark_damaged(bench.vault, name, "test")
        assert not mark_damaged(bench.vault, name, "test")
    healed(bench, 2)
    reader = bench.reader(1, index=bench.index())
    ids = b"".join(entry.chunks for entry in reader.entries())
    assert not any(isinstance(content, SkyharborError) for content in reader.chunks.chunks_or_errors(ids))
    assert bench.read(1, index=bench.index()) == TREE


def test_a_marked_pack_is_relied_on_by_no_later_point() -> None:
    bench = new_bench()
    bench.write(1, TREE)
    marked = bench.names("packs/d/")[0]
    mark_damaged(bench.vault, marked, "test")
    assert bench.index().drop_missing_packs(bench.vault) == [marked]
    for number in (2, 3):
        healed(bench, number)
        assert marked not in {pack.name for pack in bench.reader(number).packs}


def test_a_point_is_not_sealed_when_a_pack_it_needs_has_vanished() -> None:
    bench = new_bench()
    bench.write(1, TREE)
    writer = bench.writer(2)
    bench.fill(writer, TREE)
    gone = bench.names("packs/d/")[0]
    bench.store.delete(gone)
    with pytest.raises(SkyharborError, match=gone) as caught:
        writer.seal(body=body(), validate=never_stop)
    writer.abort()
    assert (caught.value.code, len(bench.vault.points(MACHINE))) == ("object-missing", 1)


def test_an_index_that_is_gone_altogether_is_rebuilt_instead_of_stored_again() -> None:
    bench = new_bench()
    bench.write(1, TREE)
    packs = bench.names(layout.PACKS)
    for name in bench.names(layout.INDEX):
        bench.store.delete(name)
    index = bench.index()
    assert (len(index.problems), len(index.recovered)) == (1, len(packs))
    assert bench.write(2, TREE).body.stats["chunks_new"] == 0
    assert bench.names(layout.PACKS) == packs
    assert bench.index().problems == []


def test_a_machine_without_points_misses_no_index() -> None:
    assert new_bench().index().problems == []


# ── vault.json ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("harm", ["gone", "damaged", "one bit"])
def test_a_vault_without_a_usable_header_is_opened_by_its_points(harm: str) -> None:
    bench = new_bench()
    bench.write(1, TREE)
    assert isinstance(bench.store, MemoryStore)
    if harm == "gone":
        bench.store.delete(layout.VAULT)
    elif harm == "one bit":
        wrong = bench.vault.id.translate(str.maketrans("02468ace", "13579bdf"))
        bench.store.tamper(layout.VAULT, bench.store.get(layout.VAULT).replace(bench.vault.id.encode(), wrong.encode()))
    else:
        bench.store.tamper(layout.VAULT, b"{")
    vault = open_vault(bench.store)
    assert (vault.id, len(vault.problems)) == (bench.vault.id, 1)
    assert Bench(vault).read(1) == TREE


def test_a_manifest_with_a_rotten_head_is_not_asked_for_the_vault_s_id() -> None:
    bench = new_bench()
    for number in (1, 2):
        bench.write(number, TREE)
    assert isinstance(bench.store, MemoryStore)
    first = layout.point_name(bench.vault.points(MACHINE)[0])
    bench.store.tamper(first, b"\0" * 500)
    bench.store.put(layout.points_prefix(MACHINE, ITEM) + point_id(0), [bench.store.get(bench.names("points/")[1])])
    bench.store.delete(layout.VAULT)
    assert open_vault(bench.store).id == bench.vault.id


def test_points_that_say_nothing_make_no_vault(tmp_path) -> None:
    store = MemoryStore()
    store.put(layout.points_prefix(MACHINE, ITEM) + point_id(1), [b"rotten"])
    for place in (store, MemoryStore(), LocalStore(str(tmp_path / "nowhere"))):
        with pytest.raises(SkyharborError) as caught:
            open_vault(place)
        assert caught.value.code == "vault-missing"


def test_a_lost_header_is_put_again_and_an_existing_one_never_replaced() -> None:
    bench = new_bench()
    bench.write(1, TREE)
    bench.store.delete(layout.VAULT)
    assert open_vault(bench.store).put_header(name="test")
    again = open_vault(bench.store)
    assert (again.id, again.header.name, again.problems) == (bench.vault.id, "test", ())
    assert not again.put_header(name="other")


def test_a_vault_that_needs_a_newer_reader_is_not_opened_by_its_points() -> None:
    bench = new_bench()
    bench.write(1, TREE)
    assert isinstance(bench.store, MemoryStore)
    bench.store.tamper(layout.VAULT, rewritten_header(bench.store.get(layout.VAULT), format=2))
    with pytest.raises(SkyharborError) as caught:
        open_vault(bench.store)
    assert caught.value.code == "vault-unsupported"


# ── machine cards ────────────────────────────────────────────────────────────────────────────────────


def test_a_damaged_machine_card_is_put_again_beside_it() -> None:
    store = MemoryStore()
    create_vault(store, name="test")
    vault = open_vault(store)
    written = vault.put_machine_card(MACHINE, "atlas", SLOTS)
    for turn in range(2):
        for info in list(store.list(layout.MACHINES)):
            store.tamper(info.name, b"\0" * info.size)
        assert vault.machine_card(MACHINE) is None
        assert vault.put_machine_card(MACHINE, "atlas", SLOTS) > 0
        assert vault.put_machine_card(MACHINE, "atlas", SLOTS) == 0
        card = vault.machine_card(MACHINE)
        assert (written > 0, card and card.slots) == (True, SLOTS), turn
