"""Making and opening vaults, and who is in them."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from shared.errors import SkyharborError
from shared.storage.memory import MemoryStore
from shared.vault import layout
from shared.vault.layout import PointName
from shared.vault.vault import Vault, create_vault, open_vault
from shared.vault.vault_header import VaultHeader
from tests.support.clock import FakeClock
from tests.unit.vault.bench import ITEM, MACHINE, new_bench, outcome_of, point_id, rewritten_header


def refusal(code: str):
    return pytest.raises(SkyharborError, check=lambda error: error.code == code)


def test_a_vault_opens_as_it_was_made() -> None:
    store = MemoryStore()
    made = create_vault(store, name="main")
    assert open_vault(store).header == made
    assert (made.name, made.format, made.mandatory_flags) == ("main", 1, ())


def test_a_place_without_a_vault_says_so() -> None:
    with refusal("vault-missing"):
        open_vault(MemoryStore())


def test_a_second_vault_at_the_same_place_is_refused() -> None:
    store = MemoryStore()
    first = create_vault(store, name="one")
    store.put("aaa", [b"sorted before vault.json"])
    with refusal("vault-exists"):
        create_vault(store, name="two")
    assert open_vault(store).header == first


def test_a_place_with_other_things_is_refused_and_left_alone() -> None:
    store = MemoryStore()
    store.put("holiday.jpg", [b"x"])
    with refusal("vault-not-empty"):
        create_vault(store, name="main")
    assert [info.name for info in store.list()] == ["holiday.jpg"]


def test_of_many_who_make_a_vault_at_once_one_succeeds() -> None:
    store, start, outcomes = MemoryStore(), threading.Barrier(8), []

    def make() -> None:
        start.wait()
        try:
            outcomes.append(create_vault(store, name="main").id)
        except SkyharborError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == sorted([open_vault(store).id, *["vault-exists"] * 7])


def rewritten(**changes: object) -> MemoryStore:
    store = MemoryStore()
    create_vault(store, name="main")
    store.tamper(layout.VAULT, rewritten_header(store.get(layout.VAULT), **changes))
    return store


@pytest.mark.parametrize("changes", [{"format": 2}, {"format": 2, "id": 7}, {"mandatory_flags": ["parity"]}])
def test_a_vault_of_a_newer_kind_is_not_touched(changes: dict[str, object]) -> None:
    with refusal("vault-unsupported"):
        open_vault(rewritten(**changes))


def test_an_unknown_optional_flag_is_no_obstacle() -> None:
    assert open_vault(rewritten(optional_flags=["colour"], new_field=1)).header.optional_flags == ("colour",)


@pytest.mark.parametrize("changes", [{"magic": "other"}, {"id": "x"}, {"id": None}, {"name": 3}])
def test_a_header_that_makes_no_sense_is_damaged(changes: dict[str, object]) -> None:
    with refusal("object-damaged"):
        open_vault(rewritten(**changes))


def test_a_header_in_which_one_bit_has_changed_is_not_believed() -> None:
    store = MemoryStore()
    create_vault(store, name="main")
    sound = store.get(layout.VAULT)
    believed = []
    for position in range(8 * len(sound)):
        changed = bytearray(sound)
        changed[position // 8] ^= 1 << position % 8
        store.tamper(layout.VAULT, bytes(changed))
        header = outcome_of(lambda: open_vault(store).header)
        if isinstance(header, SkyharborError):
            assert header.code == "object-damaged", position
        else:
            believed.append(header)
    # White space, and the name of the check itself.
    assert (set(believed), len(believed) < len(sound)) == ({VaultHeader(**json_without_check(sound))}, True)


def json_without_check(data: bytes) -> dict[str, Any]:
    fields = json.loads(data)
    del fields["check"]
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def test_a_header_from_before_there_were_checks_is_believed() -> None:
    store = MemoryStore()
    header = create_vault(store, name="main")
    store.tamper(layout.VAULT, json.dumps(json_without_check(store.get(layout.VAULT))).encode())
    assert open_vault(store).header == header


def test_the_newest_card_of_a_machine_counts() -> None:
    clock = FakeClock()
    bench = new_bench()
    vault = Vault(bench.store, bench.vault.header, clock)
    for name, slot in (("atlas", "old"), ("atlas", "new")):
        clock.advance(1)
        vault.put_machine_card(MACHINE, name, [{"slot_id": slot}])
    vault.put_machine_card(point_id(11), "borea", [])
    assert [(card.id, card.name, card.slots) for card in vault.machine_cards()] == [
        (MACHINE, "atlas", ({"slot_id": "new"},)),
        (point_id(11), "borea", ()),
    ]


def test_the_same_card_is_stored_once() -> None:
    bench = new_bench()
    written = [bench.vault.put_machine_card(MACHINE, "atlas", [{"slot_id": "one"}]) for _ in range(3)]
    assert (written[1:], len(bench.names(layout.MACHINES))) == ([0, 0], 1)


def test_a_damaged_card_is_passed_over() -> None:
    bench = new_bench()
    bench.vault.put_machine_card(MACHINE, "atlas", [])
    bench.store.put(layout.card_name(MACHINE, "ff"), [b"{"])
    assert [card.name for card in bench.vault.machine_cards()] == ["atlas"]


def test_foreign_objects_are_no_points() -> None:
    bench = new_bench()
    bench.write(1, {})
    for name in ("readme", f"{ITEM}/Read.me", f"{ITEM}/a/b"):
        bench.store.put(layout.points_prefix(MACHINE) + name.lower(), [b"x"])
    assert bench.vault.points(MACHINE) == [PointName(MACHINE, ITEM, point_id(1))]
    assert bench.vault.points(MACHINE, point_id(5)) == []
    assert bench.vault.has_point(PointName(MACHINE, ITEM, point_id(1)))
    assert not bench.vault.has_point(PointName(MACHINE, ITEM, point_id(2)))


@pytest.mark.parametrize("value", ["", "..", "a/b", "A", "a.b", "x" * 65, "a\n"])
def test_what_is_no_id_never_becomes_a_name(value: str) -> None:
    with refusal("bad-request"):
        layout.check_id(value)
