"""A store that breaks one promise of the port, as servers and disks in the field do: what the probe must find.

Rule of the file: one flaw at a time, on every call; whatever the flaw does not touch is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

from typing_extensions import Buffer

from shared.storage.object_store import ObjectInfo, ObjectStore


class Flaw(StrEnum):
    """What such a store does wrong."""

    OVERWRITES = "overwrites"  # a second put of a name replaces the object and says that it created it
    OVERWRITES_SILENTLY = "overwrites-silently"  # the same, but it says that it did not
    STORES_NOTHING = "stores-nothing"  # a put is confirmed and forgotten
    NEVER_CREATES = "never-creates"  # every put says that the object was there
    CUTS_SHORT = "cuts-short"  # the last byte is lost
    IGNORES_RANGES = "ignores-ranges"  # a read of a part returns the whole
    FORGETS_SIZES = "forgets-sizes"  # every object has the size 0
    LISTS_LATE = "lists-late"  # what was put last is not listed
    LISTS_DELETED = "lists-deleted"  # what was deleted stays listed
    KEEPS_DELETED = "keeps-deleted"  # a deletion is confirmed and forgotten


class FlawedStore:
    """Another store with a flaw."""

    def __init__(self, inner: ObjectStore, flaw: Flaw) -> None:
        self.inner = inner
        self._flaw = flaw
        self._last_put = ""
        self._deleted: dict[str, ObjectInfo] = {}

    def describe(self) -> str:
        """Return the inner store's URL."""
        return self.inner.describe()

    def put(self, name: str, parts: Sequence[Buffer]) -> bool:
        """See the port, and the flaw."""
        data = b"".join(parts)
        self._last_put = name
        match self._flaw:
            case Flaw.STORES_NOTHING:
                return True
            case Flaw.OVERWRITES | Flaw.OVERWRITES_SILENTLY:
                new = not self.inner.delete(name)
                self.inner.put(name, [data])
                return new or self._flaw is Flaw.OVERWRITES
            case Flaw.CUTS_SHORT:
                return self.inner.put(name, [data[:-1]])
        created = self.inner.put(name, [data])
        return created and self._flaw is not Flaw.NEVER_CREATES

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See the port, and the flaw."""
        if self._flaw is Flaw.IGNORES_RANGES:
            return self.inner.get(name)
        return self.inner.get(name, offset=offset, length=length)

    def size(self, name: str) -> int | None:
        """See the port, and the flaw."""
        size = self.inner.size(name)
        return 0 if size and self._flaw is Flaw.FORGETS_SIZES else size

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See the port, and the flaw."""
        found = {info.name: info for info in self.inner.list(prefix)}
        if self._flaw is Flaw.LISTS_LATE:
            found.pop(self._last_put, None)
        if self._flaw is Flaw.LISTS_DELETED:
            found = {**self._deleted, **found}
        return iter(sorted(found.values(), key=lambda info: info.name))

    def delete(self, name: str) -> bool:
        """See the port, and the flaw."""
        size = self.inner.size(name)
        if size is None:
            return False
        self._deleted[name] = ObjectInfo(name, size)
        return True if self._flaw is Flaw.KEEPS_DELETED else self.inner.delete(name)

    def close(self) -> None:
        """Close the inner store."""
        self.inner.close()
