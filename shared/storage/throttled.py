"""A store that moves object bytes no faster than a throttle lets it.

Uploads are paid for before they are written, 1 MiB at a time: the parts are handed to the inner store as slices that
pay when they are asked for. A backend that writes as it asks (a folder) keeps the pace within an object; one that sends
whole bodies (S3) has asked for all of it before it sends, so an object leaves at the speed of the line once it is paid
for. Downloads pay the first 1 MiB before the call and the rest after it, when the true size is known: the next one
waits for it. Sizes, listings and deletions move next to nothing and are free.

Rule of the file: it decides when, never what; the throttle decides how long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import overload

from typing_extensions import Buffer

from shared.storage.object_store import ObjectInfo, ObjectStore, never_stop
from shared.storage.throttle import Lane, Throttle

SLICE = 1024 * 1024
"""Bytes that pass in one piece."""


class ThrottledStore:
    """A store that waits before it calls another. ``check`` may raise to end a wait, from whatever thread waits.

    Put it inside ``RetryingStore``: what is sent twice is paid twice.
    """

    def __init__(self, inner: ObjectStore, throttle: Throttle, *, check: Callable[[], None] = never_stop) -> None:
        self.inner = inner
        self._throttle = throttle
        self._check = check

    def describe(self) -> str:
        """Return the inner store's URL."""
        return self.inner.describe()

    def put(self, name: str, parts: Sequence[Buffer]) -> bool:
        """See the port. An object that the inner store finds to exist before it asks for its bytes costs nothing."""
        return self.inner.put(name, _Paid(parts, self._throttle.up, self._check))

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See the port."""
        paid, got = SLICE if length is None else max(0, min(length, SLICE)), 0
        self._throttle.down.pay(paid, self._check)
        try:
            data = self.inner.get(name, offset=offset, length=length)
            got = len(data)
        finally:
            self._throttle.down.settle(got - paid)
        return data

    def size(self, name: str) -> int | None:
        """See the port."""
        return self.inner.size(name)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See the port."""
        return self.inner.list(prefix)

    def delete(self, name: str) -> bool:
        """See the port."""
        return self.inner.delete(name)

    def close(self) -> None:
        """Close the inner store."""
        self.inner.close()


class _Paid(Sequence[Buffer]):
    """The bytes of an object in slices that are paid for when they are taken: take each once, in order.

    Small parts that follow each other are paid for together, so that the cost goes by the MiB and not by the part.
    """

    def __init__(self, parts: Sequence[Buffer], lane: Lane, check: Callable[[], None]) -> None:
        views = [memoryview(part).cast("B") for part in parts]
        self._slices = [view[at : at + SLICE] for view in views for at in range(0, len(view), SLICE)]
        self._dues = _dues([len(piece) for piece in self._slices])
        self._lane, self._check = lane, check

    def __len__(self) -> int:
        return len(self._slices)

    @overload
    def __getitem__(self, index: int) -> Buffer: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Buffer]: ...

    def __getitem__(self, index: int | slice) -> Buffer | Sequence[Buffer]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        piece = self._slices[index]
        if self._dues[index]:
            self._lane.pay(self._dues[index], self._check)
        return piece


def _dues(sizes: Sequence[int]) -> list[int]:
    """Return for every slice what to pay before it: at the first of each group of at most ``SLICE`` bytes all of it."""
    dues: list[int] = []
    first, gathered = 0, SLICE
    for at, size in enumerate(sizes):
        if gathered + size > SLICE:
            first, gathered = at, 0
        gathered += size
        dues.append(0)
        dues[first] = gathered
    return dues
