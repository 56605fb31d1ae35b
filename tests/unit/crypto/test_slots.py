"""Key slots: what opens them, and what is said when nothing does."""

from __future__ import annotations

import base64
import json

import pytest

from shared.crypto.domain_keys import new_dek
from shared.crypto.slots import Slot, open_slots, seal_slot
from shared.errors import SkyharborError

PASSPHRASE = "correct horse battery staple"
OTHER = "another sixteen characters"
DEK = new_dek()
SLOT = seal_slot(DEK, PASSPHRASE, machine_id="m1")

# Made once with this code and kept: slots of format 1 open forever.
GOLDEN_DEK = bytes(range(32))
GOLDEN: Slot = {
    "slot_id": "5c1effe6c49398737c7f21336a48c476",
    "kind": "passphrase",
    "kdf": "argon2id",
    "memory_kib": 65536,
    "iterations": 3,
    "lanes": 4,
    "salt": "ivN28d36UGWrIr8FWpcELg==",
    "nonce": "dvt90WRKm6T7QX8f",
    "wrapped": "sbQMtKZnEDHkPgV+jbOsvWG9/Q1ASjeJld/V3M+YzF3FkM90koydvoG7cxy/H8YS",
    "commitment": "/weIA0zR5s1OXmhG/ZRg6z6QEuN73xggOwf3h796Usc=",
}


def failure(slots: list[Slot], passphrase: str, machine_id: str = "m1") -> str:
    with pytest.raises(SkyharborError) as caught:
        open_slots(slots, passphrase, machine_id=machine_id)
    assert not passphrase or passphrase not in str(caught.value)
    return caught.value.code


def changed(**values: object) -> Slot:
    return {**SLOT, **values}  # type: ignore[dict-item]


def test_the_passphrase_opens_the_slot_after_a_journey_through_json() -> None:
    assert open_slots([json.loads(json.dumps(SLOT))], PASSPHRASE, machine_id="m1") == DEK


def test_a_golden_slot_opens() -> None:
    assert open_slots([GOLDEN], PASSPHRASE, machine_id="0192a0c0-0000-7000-8000-000000000001") == GOLDEN_DEK


def test_a_slot_opens_whatever_way_its_passphrase_is_spelt() -> None:
    slot = seal_slot(DEK, "Fu\u0308nfzehn Zeichen", machine_id="m1")
    assert open_slots([slot], "F\u00fcnfzehn Zeichen", machine_id="m1") == DEK


def test_any_slot_of_several_opens() -> None:
    second = seal_slot(DEK, OTHER, machine_id="m1")
    assert open_slots([SLOT, second], OTHER, machine_id="m1") == DEK


def test_two_slots_of_one_key_have_nothing_random_in_common() -> None:
    again = seal_slot(DEK, PASSPHRASE, machine_id="m1")
    random = ("slot_id", "salt", "nonce", "wrapped", "commitment")
    assert all(again[name] != SLOT[name] for name in random)


def test_neither_key_nor_passphrase_is_in_a_slot() -> None:
    text = json.dumps(SLOT)
    assert base64.b64encode(DEK).decode() not in text
    assert PASSPHRASE not in text


@pytest.mark.parametrize("passphrase", [OTHER, PASSPHRASE + "\n", PASSPHRASE[:-1], ""])
def test_another_passphrase_is_wrong(passphrase: str) -> None:
    assert failure([SLOT], passphrase) == "wrong-passphrase"


def test_a_short_passphrase_seals_nothing() -> None:
    with pytest.raises(SkyharborError) as caught:
        seal_slot(DEK, "x" * 15, machine_id="m1")
    assert caught.value.code == "passphrase-too-short"


@pytest.mark.parametrize("name", ["salt", "nonce", "wrapped", "commitment"])
def test_a_slot_with_one_flipped_bit_is_damaged_and_not_a_wrong_passphrase(name: str) -> None:
    raw = bytearray(base64.b64decode(str(SLOT[name])))
    raw[5] ^= 1
    damaged = changed(**{name: base64.b64encode(raw).decode()})
    assert [failure([damaged], word) for word in (PASSPHRASE, OTHER)] == ["object-damaged"] * 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory_kib", 1024 * 1024 + 1),
        ("memory_kib", 8),
        ("memory_kib", -1),
        ("memory_kib", True),
        ("memory_kib", "65536"),
        ("iterations", 10**9),
        ("iterations", 0),
        ("lanes", 65),
        ("lanes", 2),
        ("salt", "****"),
        ("salt", 7),
        ("wrapped", ""),
        ("commitment", "AAAA"),
        ("slot_id", "0" * 32),
    ],
)
def test_a_slot_that_asks_for_the_absurd_or_is_no_slot_is_damaged(name: str, value: object) -> None:
    assert failure([changed(**{name: value})], PASSPHRASE) == "object-damaged"


@pytest.mark.parametrize("name", sorted(set(SLOT) - {"kind", "kdf"}))
def test_a_slot_without_one_of_its_values_is_damaged(name: str) -> None:
    assert failure([{key: value for key, value in SLOT.items() if key != name}], PASSPHRASE) == "object-damaged"


def test_a_slot_of_another_machine_does_not_open() -> None:
    assert failure([SLOT], PASSPHRASE, "m2") == "object-damaged"


def test_a_damaged_slot_does_not_hide_a_good_one() -> None:
    assert open_slots([changed(slot_id="0" * 32), SLOT], PASSPHRASE, machine_id="m1") == DEK
    assert failure([changed(slot_id="0" * 32), SLOT], OTHER) == "wrong-passphrase"


def test_slots_of_unknown_kinds_are_passed_over() -> None:
    unknown: Slot = {"kind": "kms", "slot_id": "x"}
    assert open_slots([unknown, SLOT], PASSPHRASE, machine_id="m1") == DEK
    assert failure([unknown], PASSPHRASE) == "vault-unsupported"


def test_no_slot_and_a_flood_of_slots_are_refused() -> None:
    assert (failure([], PASSPHRASE), failure([SLOT] * 33, PASSPHRASE)) == ("key-missing", "object-damaged")
