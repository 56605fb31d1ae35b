"""The proof, before a vault is made, that a store keeps what a vault relies on.

Some servers answer 200 to a conditional write and overwrite; some disks cannot sync. What a store only claims is found
out here, with one small object of our own, or later by whoever loses a recovery point.

Rule of the file: it asks the store itself and believes nothing else; whatever it finds, it leaves nothing there.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import Protocol, runtime_checkable

from shared.errors import SkyharborError
from shared.storage.object_store import ObjectInfo, ObjectStore

_FIRST = b"first and only"
_SECOND = b"second, and longer"

_OVERWRITES = (
    "It answers a conditional write with success and replaces what is there, so a crash could replace a recovery"
    " point. Use a server that honours 'If-None-Match: *', or a folder of a local disk."
)


@runtime_checkable
class ChecksBodies(Protocol):
    """A backend whose server may check the body of a put against a checksum on the way."""

    def refuses_wrong_checksum(self, name: str) -> bool | None:
        """Send a body with the checksum of another one under a free name; None when the server cannot be asked.

        Afterwards there may be an object of that name.
        """
        ...


def probe(store: ObjectStore) -> tuple[str, ...]:
    """Prove that the store creates once, reads back whole and in part, lists at once and deletes.

    Returns sentences about what it lacks that a vault can do without. Raises ``store-unsafe``, with a hint, when the
    vault cannot do without it, and the store's own errors when it cannot be reached or used. Decorators may be around
    the store. Killed in between: an object ``probe-…`` may remain.
    """
    name = f"probe-{secrets.token_hex(16)}"
    try:
        _prove_creation(store, name)
        _prove_reading(store, name)
    except BaseException:
        with contextlib.suppress(SkyharborError):  # the first thing that went wrong is the one to tell
            store.delete(name)
        raise
    _prove_deletion(store, name)
    return _missing_comforts(store)


def _prove_creation(store: ObjectStore, name: str) -> None:
    _expect(store.put(name, [_FIRST[:5], _FIRST[5:]]), "it does not create an object")
    _expect(not store.put(name, [_SECOND]), "it overwrites objects although told not to", hint=_OVERWRITES)
    found = store.get(name)
    _expect(found != _SECOND, "it overwrites objects although it says that it did not", hint=_OVERWRITES)
    _expect(found == _FIRST, "it does not return what was stored")


def _prove_reading(store: ObjectStore, name: str) -> None:
    _expect(store.get(name, offset=6, length=3) == b"and", "it does not return ranges")
    _expect(store.get(name, offset=10) == b"only", "it does not return the end of an object")
    _expect(store.size(name) == len(_FIRST), "it does not know sizes")
    _expect(_listed(store, name) == [ObjectInfo(name, len(_FIRST))], "it does not list an object that was just put")


def _prove_deletion(store: ObjectStore, name: str) -> None:
    _expect(store.delete(name) and store.size(name) is None, "it does not delete objects")
    _expect(_listed(store, name) == [], "it lists objects that were deleted")


def _missing_comforts(store: ObjectStore) -> tuple[str, ...]:
    backend = _backend(store)
    if not isinstance(backend, ChecksBodies):
        return ()
    name = f"probe-{secrets.token_hex(16)}"
    try:
        refused = backend.refuses_wrong_checksum(name)
    finally:
        with contextlib.suppress(SkyharborError):
            store.delete(name)
    if refused is None:
        return ("whether it refuses a body that does not match its checksum could not be found out",)
    return () if refused else ("it takes a body that does not match its checksum: verify finds such damage, later",)


def _listed(store: ObjectStore, name: str) -> list[ObjectInfo]:
    return [info for info in store.list() if info.name == name]


def _backend(store: ObjectStore) -> object:
    """What all decorators are around."""
    inner = getattr(store, "inner", None)
    return store if inner is None else _backend(inner)


def _expect(fact: bool, otherwise: str, *, hint: str | None = None) -> None:
    if fact:
        return
    fields = {} if hint is None else {"hint": hint}
    raise SkyharborError("store-unsafe", otherwise, **fields)
