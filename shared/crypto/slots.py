"""Key slots: the DEK wrapped under a passphrase, in a form that may lie beside the data.

Rule of the file: a slot is made of JSON values, carries everything that opening needs, and is believed only as far as
it can be checked. Order of checks when opening: shape and limits, the slot's own id (is it what was written?), the
commitment (is this the passphrase?), the tag of the wrapped DEK. So damage and a wrong passphrase are told apart, and
no passphrase or slot can be built that opens to two different DEKs (AES-GCM alone does not commit to its key).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from shared.crypto.domain_keys import DEK_SIZE, TAG_SIZE
from shared.crypto.passphrase import check_passphrase, generate_passphrase, normalise, read_passphrase_file
from shared.errors import SkyharborError

__all__ = ["Slot", "check_passphrase", "generate_passphrase", "open_slots", "read_passphrase_file", "seal_slot"]

Slot = dict[str, str | int]

# RFC 9106, section 4, second recommended option (64 MiB), with its parameters stored in each slot.
_MEMORY_KIB = 64 * 1024
_ITERATIONS = 3
_LANES = 4

# What a slot from storage may ask for: storage must not be able to make a reader take all memory or run for hours.
_MAX_MEMORY_KIB = 1024 * 1024
_MAX_ITERATIONS = 64
_MAX_LANES = 64
_MAX_SLOTS = 32

_SALT_SIZE = 16
_NONCE_SIZE = 12
_KIND = "passphrase"
_KDF = "argon2id"


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A slot whose shape, limits and id are right."""

    memory_kib: int
    iterations: int
    lanes: int
    salt: bytes
    nonce: bytes
    wrapped: bytes
    commitment: bytes


def seal_slot(dek: bytes, passphrase: str, *, machine_id: str) -> Slot:
    """Wrap ``dek`` for a machine under a passphrase; takes about 0.1 s and 64 MiB. Every call gives a different slot.

    The slot opens only with the same passphrase and the same ``machine_id``. Raises ``passphrase-too-short``.
    """
    check_passphrase(passphrase)
    if len(dek) != DEK_SIZE:
        raise ValueError("a DEK has 32 bytes")
    slot: Slot = {
        "kind": _KIND,
        "kdf": _KDF,
        "memory_kib": _MEMORY_KIB,
        "iterations": _ITERATIONS,
        "lanes": _LANES,
        "salt": _text(os.urandom(_SALT_SIZE)),
        "nonce": _text(os.urandom(_NONCE_SIZE)),
    }
    bound = _binding(slot, machine_id)
    wrap_key, commit_key = _stretch(
        passphrase, salt=_raw(slot, "salt"), memory_kib=_MEMORY_KIB, iterations=_ITERATIONS, lanes=_LANES
    )
    slot["wrapped"] = _text(AESGCM(wrap_key).encrypt(_raw(slot, "nonce"), dek, bound))
    slot["commitment"] = _text(hmac.digest(commit_key, bound, "sha256"))
    return {"slot_id": _slot_id(slot, machine_id), **slot}


def open_slots(slots: Sequence[Mapping[str, object]], passphrase: str, *, machine_id: str) -> bytes:
    """Return the DEK from the first slot that the passphrase opens; about 0.1 s for every passphrase slot tried.

    Slots of kinds that this version does not know are passed over. Raises ``wrong-passphrase`` when an undamaged slot
    exists and none of them fits, ``object-damaged`` when every passphrase slot is damaged or was made for another
    machine, ``vault-unsupported`` when all slots are of unknown kinds, ``key-missing`` when there is no slot.
    """
    if not slots:
        raise SkyharborError("key-missing", f"there is no key slot for machine {machine_id}")
    if len(slots) > _MAX_SLOTS:
        raise SkyharborError("object-damaged", f"more than {_MAX_SLOTS} key slots for machine {machine_id}")
    known = [slot for slot in slots if slot.get("kind") == _KIND and slot.get("kdf") == _KDF]
    if not known:
        raise SkyharborError("vault-unsupported", f"no key slot of machine {machine_id} is for a passphrase")
    damaged: list[SkyharborError] = []
    for slot in known:
        try:
            dek = _open_slot(slot, passphrase, machine_id)
        except SkyharborError as error:
            damaged.append(error)
            continue
        if dek is not None:
            return dek
    if len(damaged) == len(known):
        raise damaged[0]
    note = f"; {len(damaged)} damaged key slots could not be tried" if damaged else ""
    raise SkyharborError("wrong-passphrase", f"machine {machine_id}{note}")


def _open_slot(slot: Mapping[str, object], passphrase: str, machine_id: str) -> bytes | None:
    """Return the DEK, or None when the passphrase is not this slot's; raises ``object-damaged``."""
    parsed = _parse(slot, machine_id)
    bound = _binding(slot, machine_id)
    wrap_key, commit_key = _stretch(
        passphrase,
        salt=parsed.salt,
        memory_kib=parsed.memory_kib,
        iterations=parsed.iterations,
        lanes=parsed.lanes,
    )
    if not hmac.compare_digest(hmac.digest(commit_key, bound, "sha256"), parsed.commitment):
        return None
    try:
        return AESGCM(wrap_key).decrypt(parsed.nonce, parsed.wrapped, bound)
    except InvalidTag:
        raise _damaged(slot, "its wrapped key does not authenticate") from None


def _stretch(passphrase: str, *, salt: bytes, memory_kib: int, iterations: int, lanes: int) -> tuple[bytes, bytes]:
    """Return the wrapping key and the commitment key."""
    kdf = Argon2id(salt=salt, length=64, iterations=iterations, lanes=lanes, memory_cost=memory_kib)
    stretched = kdf.derive(normalise(passphrase).encode("utf-8"))
    return stretched[:32], stretched[32:]


def _parse(slot: Mapping[str, object], machine_id: str) -> _Parsed:
    parsed = _Parsed(
        memory_kib=_number(slot, "memory_kib", most=_MAX_MEMORY_KIB),
        iterations=_number(slot, "iterations", most=_MAX_ITERATIONS),
        lanes=_number(slot, "lanes", most=_MAX_LANES),
        salt=_raw(slot, "salt", size=_SALT_SIZE),
        nonce=_raw(slot, "nonce", size=_NONCE_SIZE),
        wrapped=_raw(slot, "wrapped", size=DEK_SIZE + TAG_SIZE),
        commitment=_raw(slot, "commitment", size=32),
    )
    if parsed.memory_kib < 8 * parsed.lanes:
        raise _damaged(slot, "its memory_kib is too small for its lanes")
    if slot.get("slot_id") != _slot_id(slot, machine_id):
        raise _damaged(slot, f"it is not as it was written, or not for machine {machine_id}")
    return parsed


def _binding(slot: Mapping[str, object], machine_id: str) -> bytes:
    """Return what wrapping and commitment are bound to: whose slot, what kind, which parameters."""
    names = ("kind", "kdf", "memory_kib", "iterations", "lanes", "salt")
    return b"skyharbor/v1/slot\0" + _canonical({"machine_id": machine_id, **{name: slot[name] for name in names}})


def _slot_id(slot: Mapping[str, object], machine_id: str) -> str:
    """Return the hash that names a slot: damage shows before the passphrase is tried."""
    names = ("kind", "kdf", "memory_kib", "iterations", "lanes", "salt", "nonce", "wrapped", "commitment")
    canonical = _canonical({"machine_id": machine_id, **{name: slot[name] for name in names}})
    return hashlib.sha256(b"skyharbor/v1/slot-id\0" + canonical).hexdigest()[:32]


def _canonical(values: Mapping[str, object]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _number(slot: Mapping[str, object], name: str, *, most: int) -> int:
    value = slot.get(name)
    if type(value) is not int or not 1 <= value <= most:
        raise _damaged(slot, f"its {name} is not between 1 and {most}")
    return value


def _raw(slot: Mapping[str, object], name: str, *, size: int | None = None) -> bytes:
    value = slot.get(name)
    try:
        raw = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or (size is not None and len(raw) != size):
        raise _damaged(slot, f"its {name} cannot be decoded")
    return raw


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _damaged(slot: Mapping[str, object], reason: str) -> SkyharborError:
    return SkyharborError("object-damaged", f"key slot {str(slot.get('slot_id'))[:64]}: {reason}")
