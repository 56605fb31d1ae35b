"""Whose vault is this, and does this passphrase open it: from a store's URL to the keys of one machine.

Rule of the file: nothing in the vault is trusted before a key has opened it; every copy of the key slots is tried
before the passphrase is called wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from shared.crypto.domain_keys import DomainKeys
from shared.crypto.keyring import read_key_file
from shared.crypto.slots import Slot, open_slots
from shared.errors import SkyharborError
from shared.storage.open import open_store
from shared.storage.read_only import ReadOnlyStore
from shared.vault.layout import PointName, parse_point, point_name
from shared.vault.manifest import read_point_slots
from shared.vault.vault import MachineCard, Vault, open_vault

_HEADER_BYTES = 64 * 1024  # a manifest's plaintext header with dozens of slots
_POINTS_ASKED = 64
_SLOTS_AT_ONCE = 16

_NEXT_COPY = frozenset({"wrong-passphrase", "object-damaged", "key-missing", "vault-unsupported"})


@dataclass(frozen=True, slots=True)
class Unlocked:
    """A vault and the keys of one machine of it. ``machine_name`` is the id when no card says more."""

    vault: Vault
    machine_id: str
    machine_name: str
    keys: DomainKeys


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file of a keyring."""

    path: str


@dataclass(frozen=True, slots=True)
class Passphrase:
    """How to get the passphrase: called once, and only when there is something to open."""

    ask: Callable[[], str]


Proof = KeyFile | Passphrase


def unlock(*, store: str, machine: str, proof: Proof) -> Unlocked:
    """Open the vault at a URL for a machine, given by its name or id.

    The key comes from the key file, or from the slots of the machine's card, or from those in its newest points.
    Raises ``vault-missing``, ``not-found`` (no such machine), ``bad-request`` (several machines of that name),
    ``wrong-passphrase``, ``key-missing``, ``object-damaged`` and the store's errors. Writes nothing.
    """
    vault = open_vault(ReadOnlyStore(open_store(store)))
    card = _find(vault, machine)
    if isinstance(proof, KeyFile):
        dek = read_key_file(proof.path, machine_id=card.id)
    else:
        dek = _unwrap(vault, card, proof.ask())
    return Unlocked(vault, card.id, card.name, DomainKeys.derive(dek))


def _find(vault: Vault, machine: str) -> MachineCard:
    cards = vault.machine_cards()
    found = [card for card in cards if card.id == machine] or [card for card in cards if card.name == machine]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(card.id for card in found)
        raise SkyharborError("bad-request", f"several machines are named {machine}; give the id: {ids}")
    # A machine whose card is lost still has its points, each with the key slots in its header.
    lost = {point.machine_id for info in vault.store.list("points/") if (point := parse_point(info.name))}
    if machine in lost:
        return MachineCard(id=machine, name=machine, slots=(), written_at="")
    known = ", ".join(sorted({card.name for card in cards} | (lost - {card.id for card in cards}))) or "none"
    raise SkyharborError(
        "not-found",
        f"no machine {machine} in the vault {vault.header.name}; there: {known}",
        hint="Give --machine the name or id of a machine that the message lists.",
    )


def _unwrap(vault: Vault, card: MachineCard, passphrase: str) -> bytes:
    try:
        return open_slots(card.slots, passphrase, machine_id=card.id)
    except SkyharborError as error:
        if error.code not in _NEXT_COPY:
            raise
        first = error
    # The card may be damaged, forged, or of another time than the passphrase.
    others = _slots_of_points(vault, card)
    for start in range(0, len(others), _SLOTS_AT_ONCE):
        try:
            return open_slots(others[start : start + _SLOTS_AT_ONCE], passphrase, machine_id=card.id)
        except SkyharborError as error:
            if error.code not in _NEXT_COPY:
                raise
            first = error if error.code == "wrong-passphrase" else first
    raise first


def _slots_of_points(vault: Vault, card: MachineCard) -> list[Slot]:
    """Return the key slots in the headers of the newest points that the card does not have, each once."""
    known = [dict(slot) for slot in card.slots]
    found: list[Slot] = []
    for slots in _headers(vault, vault.points(card.id)[-_POINTS_ASKED:]):
        found.extend(dict(slot) for slot in slots if dict(slot) not in known and dict(slot) not in found)
    return found[:_POINTS_ASKED]


def _headers(vault: Vault, points: Sequence[PointName]) -> Iterator[Sequence[Slot]]:
    for point in reversed(points):
        try:
            yield read_point_slots(vault.store.get(point_name(point), length=_HEADER_BYTES)).slots
        except SkyharborError as error:
            if error.code not in ("object-damaged", "object-missing"):
                raise
