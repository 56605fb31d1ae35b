"""Counting what a store is asked for: calls, bytes, seconds and errors of each verb.

Rule of the file: pure counters; they change nothing of a call and are read as a value, at any time, from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from typing_extensions import Buffer

from shared.clock import Clock, SystemClock
from shared.storage.object_store import ObjectInfo, ObjectStore


@dataclass(frozen=True, slots=True, kw_only=True)
class VerbUse:
    """What one verb has cost. ``seconds`` are those spent inside the store, all threads added up."""

    calls: int = 0
    bytes: int = 0
    seconds: float = 0.0
    errors: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUse:
    """What a store was asked for. Bytes: those given to ``put`` and got from ``get``; calls end with or without error.

    A ``put`` of an object that exists counts its bytes: whether the backend sent them only the backend knows.
    """

    put: VerbUse = VerbUse()
    get: VerbUse = VerbUse()
    size: VerbUse = VerbUse()
    list: VerbUse = VerbUse()
    delete: VerbUse = VerbUse()


class _Call:
    """One call under way; ``bytes`` is what it has moved."""

    bytes = 0


class MeteredStore:
    """A store that counts the calls to another store. Seconds include whatever else the inner store waits for."""

    def __init__(self, inner: ObjectStore, *, clock: Clock | None = None) -> None:
        self.inner = inner
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._use = StoreUse()

    @property
    def use(self) -> StoreUse:
        """What has been counted so far; calls under way are not in it yet."""
        return self._use

    def describe(self) -> str:
        """Return the inner store's URL."""
        return self.inner.describe()

    def put(self, name: str, parts: Sequence[Buffer]) -> bool:
        """See the port."""
        with self._counted("put") as call:
            created = self.inner.put(name, parts)
            call.bytes = sum(memoryview(part).nbytes for part in parts)
            return created

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See the port."""
        with self._counted("get") as call:
            data = self.inner.get(name, offset=offset, length=length)
            call.bytes = len(data)
            return data

    def size(self, name: str) -> int | None:
        """See the port."""
        with self._counted("size"):
            return self.inner.size(name)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See the port. One call, however long the listing; what its reader does in between is not counted."""
        seconds, errors, began = 0.0, 0, self._clock.monotonic()
        try:
            for info in self.inner.list(prefix):
                seconds += self._clock.monotonic() - began
                yield info
                began = self._clock.monotonic()
            seconds += self._clock.monotonic() - began
        except Exception:
            errors = 1
            seconds += self._clock.monotonic() - began
            raise
        finally:
            self._add("list", VerbUse(calls=1, seconds=seconds, errors=errors))

    def delete(self, name: str) -> bool:
        """See the port."""
        with self._counted("delete"):
            return self.inner.delete(name)

    def close(self) -> None:
        """Close the inner store; what was counted stays."""
        self.inner.close()

    @contextmanager
    def _counted(self, verb: str) -> Iterator[_Call]:
        call, began, errors = _Call(), self._clock.monotonic(), 0
        try:
            yield call
        except Exception:
            errors = 1
            raise
        finally:
            seconds = self._clock.monotonic() - began
            self._add(verb, VerbUse(calls=1, bytes=call.bytes, seconds=seconds, errors=errors))

    def _add(self, verb: str, more: VerbUse) -> None:
        with self._lock:
            was: VerbUse = getattr(self._use, verb)
            total = VerbUse(
                calls=was.calls + more.calls,
                bytes=was.bytes + more.bytes,
                seconds=was.seconds + more.seconds,
                errors=was.errors + more.errors,
            )
            self._use = replace(self._use, **{verb: total})
