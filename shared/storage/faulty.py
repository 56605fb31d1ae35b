"""Fault injection for any store: fail, delay, tear or lose the reply of the n-th call of a verb, and count the calls.

A crash plays the death of the process that holds the store: from that call on nothing is done any more.

Rule of the file: faults are said beforehand and happen exactly as said; there is no chance in here, so that every
failing test can be run again.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from typing_extensions import Buffer

from shared.clock import Clock, SystemClock
from shared.errors import SkyharborError
from shared.storage.object_store import ObjectInfo, ObjectStore

_Result = TypeVar("_Result")


class Verb(StrEnum):
    """The calls of a store that can go wrong; ``ANY`` counts all of them together."""

    PUT = "put"
    GET = "get"
    SIZE = "size"
    LIST = "list"
    DELETE = "delete"
    ANY = "any"


class FaultKind(StrEnum):
    """What goes wrong."""

    FAIL = "fail"  # nothing is done, the caller gets the error
    DELAY = "delay"  # done after ``seconds``
    TEAR = "tear"  # put: half the bytes are stored under the name, then the error; get: half the bytes; list: half
    LOSE_REPLY = "lose-reply"  # done, but the caller gets the error
    CRASH = "crash"  # nothing is done, by this call and by every later call of any verb
    CRASH_AFTER = "crash-after"  # this call is done, but the caller gets the error, and so does every later call
    CRASH_TORN = "crash-torn"  # a put stores half the bytes under the name; otherwise like ``CRASH``


_CRASHES = frozenset({FaultKind.CRASH, FaultKind.CRASH_AFTER, FaultKind.CRASH_TORN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault, at the ``nth`` call (from 1) of a verb; ``code`` is the error that the caller gets.

    A fault of one verb goes before a fault of ``ANY`` at the same call.
    """

    verb: Verb
    nth: int
    kind: FaultKind = FaultKind.FAIL
    code: str = "store-unreachable"
    seconds: float = 0.0


class FaultyStore:
    """A store with planned faults around another store."""

    def __init__(self, inner: ObjectStore, faults: Sequence[Fault] = (), *, clock: Clock | None = None) -> None:
        self._inner = inner
        self._faults = {(fault.verb, fault.nth): fault for fault in faults}
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._calls: Counter[Verb] = Counter()
        self._crashed: Fault | None = None

    def calls(self, verb: Verb) -> int:
        """Return how often a verb was called, faults included."""
        with self._lock:
            return self._calls[verb]

    @property
    def crashed(self) -> bool:
        """Whether a fault of one of the ``CRASH`` kinds has happened."""
        return self._crashed is not None

    def describe(self) -> str:
        """Return the inner store's URL."""
        return self._inner.describe()

    def put(self, name: str, parts: Sequence[Buffer]) -> bool:
        """See the port."""
        fault = self._next(Verb.PUT)

        def tear() -> bool:
            data = b"".join(parts)
            self._inner.put(name, [data[: len(data) // 2]])
            raise SkyharborError("store-unreachable") if fault is None else _error(fault)

        return self._run(fault, lambda: self._inner.put(name, parts), tear)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See the port."""

        def whole() -> bytes:
            return self._inner.get(name, offset=offset, length=length)

        def tear() -> bytes:
            data = whole()
            return data[: len(data) // 2]

        return self._run(self._next(Verb.GET), whole, tear)

    def size(self, name: str) -> int | None:
        """See the port."""
        return self._run(self._next(Verb.SIZE), lambda: self._inner.size(name), lambda: None)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See the port. A torn listing ends with the error after half of the names."""
        fault = self._next(Verb.LIST)

        def tear() -> Iterator[ObjectInfo]:
            found = list(self._inner.list(prefix))
            yield from found[: len(found) // 2]
            raise SkyharborError("store-unreachable" if fault is None else fault.code, "injected: torn listing")

        return self._run(fault, lambda: self._inner.list(prefix), tear)

    def delete(self, name: str) -> bool:
        """See the port."""
        return self._run(self._next(Verb.DELETE), lambda: self._inner.delete(name), lambda: False)

    def close(self) -> None:
        """Close the inner store."""
        self._inner.close()

    def _next(self, verb: Verb) -> Fault | None:
        with self._lock:
            self._calls[verb] += 1
            self._calls[Verb.ANY] += 1
            if self._crashed is not None:
                return self._crashed
            fault = self._faults.get((verb, self._calls[verb])) or self._faults.get((Verb.ANY, self._calls[Verb.ANY]))
            if fault is not None and fault.kind in _CRASHES:
                # Only the call that dies may still have an effect.
                self._crashed = replace(fault, kind=FaultKind.CRASH)
                if fault.kind is FaultKind.CRASH_TORN and verb is not Verb.PUT:
                    return self._crashed
            return fault

    def _run(self, fault: Fault | None, whole: Callable[[], _Result], tear: Callable[[], _Result]) -> _Result:
        if fault is None:
            return whole()
        match fault.kind:
            case FaultKind.DELAY:
                self._clock.sleep(fault.seconds)
                return whole()
            case FaultKind.TEAR | FaultKind.CRASH_TORN:
                return tear()
            case FaultKind.LOSE_REPLY | FaultKind.CRASH_AFTER:
                whole()
        raise _error(fault)


def _error(fault: Fault) -> SkyharborError:
    return SkyharborError(fault.code, f"injected: {fault.kind} at {fault.verb} {fault.nth}")
