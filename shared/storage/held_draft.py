"""A draft held in memory, for stores that take an object as a whole.

Rule of the file: it keeps what it is given and adds nothing to what the store's ``put`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from typing_extensions import Buffer

Put = Callable[[str, Sequence[Buffer]], bool]


class HeldDraft:
    """See the port. ``put`` is that of the store."""

    def __init__(self, put: Put) -> None:
        self._put = put
        self._parts: list[Buffer] | None = []

    def write(self, parts: Sequence[Buffer]) -> None:
        """See the port."""
        self._held().extend(parts)

    def commit(self, name: str) -> bool:
        """See the port."""
        parts, self._parts = self._held(), None
        return self._put(name, parts)

    def abort(self) -> None:
        """See the port."""
        self._parts = None

    def _held(self) -> list[Buffer]:
        if self._parts is None:
            raise RuntimeError("the draft has ended")
        return self._parts
