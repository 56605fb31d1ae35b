"""A store in memory, for tests and simulations. It sits the same exam as the real ones.

Rule of the file: it behaves like a store, not like a dictionary: names are checked and bytes are copied.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from typing_extensions import Buffer

from shared.errors import SkyharborError
from shared.storage.held_draft import HeldDraft
from shared.storage.names import check_name, check_prefix, check_range
from shared.storage.object_store import Draft, ObjectInfo

_lock = threading.Lock()
_shared: dict[str, MemoryStore] = {}


class MemoryStore:
    """Objects in a dictionary. ``tamper`` lets a test play the rotting disk."""

    def __init__(self, name: str = "private") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._objects: dict[str, bytes] = {}

    def describe(self) -> str:
        """Return ``memory://`` and the name."""
        return f"memory://{self._name}"

    def put(self, name: str, parts: Sequence[Buffer]) -> bool:
        """See the port."""
        check_name(name)
        data = b"".join(parts)
        with self._lock:
            if name in self._objects:
                return False
            self._objects[name] = data
            return True

    def begin(self) -> Draft:
        """See the port: held in memory."""
        return HeldDraft(self.put)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See the port."""
        check_name(name)
        check_range(offset, length)
        with self._lock:
            data = self._objects.get(name)
        if data is None:
            raise SkyharborError("object-missing", name)
        return data[offset:] if length is None else data[offset : offset + length]

    def size(self, name: str) -> int | None:
        """See the port."""
        check_name(name)
        with self._lock:
            data = self._objects.get(name)
        return None if data is None else len(data)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See the port."""
        check_prefix(prefix)
        with self._lock:
            found = [ObjectInfo(name, len(data)) for name, data in self._objects.items() if name.startswith(prefix)]
        return iter(sorted(found, key=lambda info: info.name))

    def delete(self, name: str) -> bool:
        """See the port."""
        check_name(name)
        with self._lock:
            return self._objects.pop(name, None) is not None

    def close(self) -> None:
        """See the port; the objects stay."""

    def tamper(self, name: str, data: bytes) -> None:
        """Replace an object's bytes, as no honest store ever does. ``object-missing`` when there is none."""
        with self._lock:
            if name not in self._objects:
                raise SkyharborError("object-missing", name)
            self._objects[name] = data


def shared_memory_store(name: str) -> MemoryStore:
    """Return the one store of that name in this process; it lives as long as the process."""
    with _lock:
        return _shared.setdefault(name, MemoryStore(name))
