"""A vault as a whole: making one, opening one, its machine cards and the list of its points.

Rule of the file: only what can be read without a key. Contents of points are ``reader``'s and ``writer``'s.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice

import msgspec

from shared.clock import Clock, SystemClock
from shared.decoders import json_decoder
from shared.errors import SkyharborError
from shared.storage.object_store import ObjectStore
from shared.vault import layout
from shared.vault.binary import blamed_on
from shared.vault.fences import fenced_points, is_fenced
from shared.vault.layout import PointName
from shared.vault.manifest_header import MAX_HEADER, read_point_slots
from shared.vault.vault_header import FORMAT, VaultHeader, decode_header, encode_header

__all__ = ["FORMAT", "MachineCard", "Slot", "Vault", "VaultHeader", "create_vault", "open_vault"]

_MAX_JSON = 1024 * 1024
_POINTS_ASKED = 64
_USELESS = frozenset({"object-missing", "object-damaged"})

Slot = Mapping[str, str | int]


class MachineCard(msgspec.Struct, frozen=True, kw_only=True):
    """Who a machine id is, and the slots from which its DEK can be unwrapped with a passphrase."""

    id: str
    name: str
    slots: tuple[dict[str, str | int], ...]
    written_at: str


@dataclass(frozen=True, slots=True)
class Vault:
    """An opened vault. Stateless: safe to share between threads.

    ``problems`` says what is wrong with the vault as a whole, one line each, for people: not empty when ``vault.json``
    was lost and the header was made from the manifests.
    """

    store: ObjectStore
    header: VaultHeader
    clock: Clock
    problems: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The vault's id, a UUID as text."""
        return self.header.id

    def put_machine_card(self, machine_id: str, name: str, slots: Sequence[Slot]) -> int:
        """Store who the machine is, unless exactly this is stored already; return the number of bytes written.

        Cards are never changed: a new passphrase or name adds a card and the newest counts. A card that does not say
        what it must is left behind and another one put beside it. Idempotent; safe to race.
        """
        said = {"id": machine_id, "name": name, "slots": [dict(slot) for slot in slots]}
        plain = json.dumps(said, sort_keys=True).encode()
        body = json.dumps({**said, "written_at": self.clock.now().isoformat()}, sort_keys=True).encode()
        for copy in count():
            digest = hashlib.sha256(plain + b"\0" * copy).hexdigest()[:32]
            name_of_card = layout.card_name(machine_id, digest)
            # Whoever lost a race comes back to read what the other one put.
            if self.store.size(name_of_card) is None and self.store.put(name_of_card, [body]):
                return len(body)
            if _says(_read_card(self.store, name_of_card), said):
                return 0
        raise AssertionError("names of cards do not end")

    def put_header(self, *, name: str) -> bool:
        """Put ``vault.json`` again after it was lost; False when there is one, however damaged: nothing is replaced.

        The caller vouches for the id: it must know from elsewhere that this is the vault it means.
        """
        return self.store.put(layout.VAULT, [encode_header(msgspec.structs.replace(self.header, name=name))])

    def machine_cards(self) -> list[MachineCard]:
        """Return the newest readable card of every machine, sorted by machine id; damaged ones are passed over."""
        return _newest_cards(self.store, layout.MACHINES)

    def machine_card(self, machine_id: str) -> MachineCard | None:
        """Return the newest readable card of one machine, None if there is none."""
        cards = _newest_cards(self.store, layout.card_prefix(machine_id))
        return cards[0] if cards else None

    def points(self, machine_id: str, item_id: str | None = None) -> list[PointName]:
        """Return the sealed points of a machine or item, by item and then by point id, which is by time.

        With ``item_id`` None the whole list is sorted by point id. Manifests behind a fence are no points.
        """
        names = list(self.store.list(layout.points_prefix(machine_id, item_id)))
        fenced = fenced_points(self.store, machine_id) if names else frozenset()
        points = [point for info in names if (point := layout.parse_point(info.name)) and point not in fenced]
        return sorted(points, key=lambda point: (point.point_id, point.item_id))

    def has_point(self, point: PointName) -> bool:
        """Tell whether the point is sealed: two small requests at most."""
        return self.store.size(layout.point_name(point)) is not None and not self.is_fenced(point)

    def is_fenced(self, point: PointName) -> bool:
        """Tell whether the point was given up for ever: one small request."""
        return is_fenced(self.store, point)


def create_vault(store: ObjectStore, *, name: str, clock: Clock = SystemClock()) -> VaultHeader:
    """Make a vault at an empty place.

    Raises ``vault-exists`` or ``vault-not-empty``, having changed nothing. Two callers at once: exactly one succeeds.
    """
    for info in store.list():
        if info.name == layout.VAULT:
            raise SkyharborError("vault-exists", store.describe())
        if store.size(layout.VAULT) is not None:
            raise SkyharborError("vault-exists", store.describe())
        raise SkyharborError("vault-not-empty", f"{store.describe()} holds {info.name}")
    now = clock.now().isoformat()
    header = VaultHeader(id=str(uuid.uuid4()), name=name, created_at=now)
    if not store.put(layout.VAULT, [encode_header(header)]):
        raise SkyharborError("vault-exists", store.describe())
    return header


def open_vault(store: ObjectStore, *, clock: Clock = SystemClock()) -> Vault:
    """Open the vault at this place: one small read, nothing is written.

    When ``vault.json`` is missing or damaged but there are points, the id is taken from the plaintext header of one of
    their manifests, and ``problems`` says so; a wrong id could only make objects unreadable, for it is bound into all.
    Raises ``vault-missing``; ``vault-unsupported`` for a higher format or an unknown mandatory flag;
    ``object-damaged`` when ``vault.json`` cannot be understood and there is no point to ask.
    """
    try:
        return Vault(store=store, header=decode_header(store.get(layout.VAULT, length=_MAX_JSON)), clock=clock)
    except SkyharborError as error:
        if error.code not in _USELESS:
            raise
        lost = error
    header = _header_from_points(store, clock)
    if header is None:
        raise SkyharborError("vault-missing", store.describe()) if lost.code == "object-missing" else lost
    how = "is missing" if lost.code == "object-missing" else f"cannot be used ({lost.detail})"
    problem = f"{layout.VAULT} {how}; the vault's id was taken from the header of a recovery point"
    return Vault(store=store, header=header, clock=clock, problems=(problem,))


def _header_from_points(store: ObjectStore, clock: Clock) -> VaultHeader | None:
    """Return a header with the id that the first manifest with a sound head names; name and time are not known."""
    try:
        names = (point for info in store.list(layout.POINTS) if (point := layout.parse_point(info.name)))
        points = list(islice(names, _POINTS_ASKED))
        fenced = fenced_points(store) if points else frozenset()
    except SkyharborError as error:
        if error.code != "object-missing":  # the store's folder itself is missing
            raise
        return None
    for point in (point for point in points if point not in fenced):
        try:
            said = read_point_slots(store.get(layout.point_name(point), length=MAX_HEADER))
            vault_id = str(uuid.UUID(said.vault))
        except (SkyharborError, ValueError) as error:
            if isinstance(error, SkyharborError) and error.code not in _USELESS:
                raise
            continue
        if (said.vault, said.machine, said.item, said.point) == (vault_id, *point):
            now = clock.now().isoformat()
            return VaultHeader(id=vault_id, name="", created_at=now)
    return None


def _says(card: MachineCard | None, said: Mapping[str, object]) -> bool:
    return card is not None and {"id": card.id, "name": card.name, "slots": list(card.slots)} == said


def _newest_cards(store: ObjectStore, prefix: str) -> list[MachineCard]:
    newest: dict[str, MachineCard] = {}
    for info in store.list(layout.MACHINES):
        if not info.name.startswith(prefix):
            continue
        card = _read_card(store, info.name)
        if card and (card.id not in newest or newest[card.id].written_at < card.written_at):
            newest[card.id] = card
    return [newest[machine] for machine in sorted(newest)]


def _read_card(store: ObjectStore, name: str) -> MachineCard | None:
    try:
        with blamed_on(name):
            card = json_decoder(MachineCard).decode(store.get(name, length=_MAX_JSON))
    except SkyharborError as error:
        if error.code not in _USELESS:
            raise
        return None
    return card if name.startswith(f"{layout.MACHINES}{card.id}.") else None
