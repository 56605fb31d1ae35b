"""A store that can be read and not written, for work that has no business changing a vault.

Rule of the file: refusals need no look at the store; reading passes through untouched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from typing_extensions import Buffer

from shared.errors import SkyharborError
from shared.storage.names import check_name
from shared.storage.object_store import ObjectInfo, ObjectStore


class ReadOnlyStore:
    """Another store without ``put`` and ``delete``: both raise ``store-read-only`` and do nothing."""

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner

    def describe(self) -> str:
        """Return the inner store's URL."""
        return self.inner.describe()

    def put(self, name: str, parts: Sequence[Buffer]) -> bool:  # noqa: ARG002 - the port's signature
        """Refuse."""
        check_name(name)
        raise SkyharborError("store-read-only", f"{name} was not put into {self.describe()}")

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See the port."""
        return self.inner.get(name, offset=offset, length=length)

    def size(self, name: str) -> int | None:
        """See the port."""
        return self.inner.size(name)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See the port."""
        return self.inner.list(prefix)

    def delete(self, name: str) -> bool:
        """Refuse."""
        check_name(name)
        raise SkyharborError("store-read-only", f"{name} was not deleted from {self.describe()}")

    def close(self) -> None:
        """Close the inner store."""
        self.inner.close()
