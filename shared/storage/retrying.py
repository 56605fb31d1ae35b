"""Patience for a store that is reached over a network: transient errors are tried again, a few times, later and later.

Rule of the file: only errors whose class is *transient* are retried, and a retry never changes what the port promises:
the answer of ``put`` is still the truth about who created the object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import TypeVar

from typing_extensions import Buffer

from shared.clock import Clock, SystemClock
from shared.errors import ErrorClass, SkyharborError
from shared.storage.object_store import ObjectInfo, ObjectStore

_Result = TypeVar("_Result")
_jitter = SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """At most ``attempts`` calls; pauses double from ``first_pause`` to ``longest_pause`` seconds, less a jitter."""

    attempts: int = 6
    first_pause: float = 0.2
    longest_pause: float = 5.0

    def pause(self, failures: int) -> float:
        """Return the seconds to wait after so many failures (from 1): half of it sure, half of it by chance."""
        most = min(self.longest_pause, self.first_pause * 2.0 ** (failures - 1))
        return most / 2 + _jitter.uniform(0, most / 2)


class RetryingStore:
    """A store that retries transient errors of another store."""

    def __init__(self, inner: ObjectStore, *, rule: RetryRule | None = None, clock: Clock | None = None) -> None:
        self._inner = inner
        self._rule = rule or RetryRule()
        self._clock = clock or SystemClock()

    def describe(self) -> str:
        """Return the inner store's URL."""
        return self._inner.describe()

    def put(self, name: str, parts: Sequence[Buffer]) -> bool:
        """See the port.

        When an earlier try may have been done although its reply was lost, and the object is there now, its bytes are
        read back: equal to ours means that this call created it. (Sealed objects differ even for equal content, by
        their random salt.) Different bytes of the same name: somebody else created it, False.
        """
        failures = 0
        while True:
            try:
                created = self._inner.put(name, parts)
            except SkyharborError as error:
                failures += 1
                self._pause_or_raise(error, failures)
                continue
            return created or (failures > 0 and self.get(name) == b"".join(parts))

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See the port."""
        return self._patiently(lambda: self._inner.get(name, offset=offset, length=length))

    def size(self, name: str) -> int | None:
        """See the port."""
        return self._patiently(lambda: self._inner.size(name))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See the port. A listing that breaks is taken up after the last name that was handed out."""
        last, failures = "", 0
        while True:
            try:
                for info in self._inner.list(prefix):
                    if info.name > last:
                        yield info
                        last, failures = info.name, 0
            except SkyharborError as error:
                failures += 1
                self._pause_or_raise(error, failures)
            else:
                return

    def delete(self, name: str) -> bool:
        """See the port. After a failed try an absent object counts as removed by this call: its reply may be lost."""
        failures = 0
        while True:
            try:
                return self._inner.delete(name) or failures > 0
            except SkyharborError as error:
                failures += 1
                self._pause_or_raise(error, failures)

    def close(self) -> None:
        """Close the inner store."""
        self._inner.close()

    def _patiently(self, call: Callable[[], _Result]) -> _Result:
        failures = 0
        while True:
            try:
                return call()
            except SkyharborError as error:
                failures += 1
                self._pause_or_raise(error, failures)

    def _pause_or_raise(self, error: SkyharborError, failures: int) -> None:
        if error.kind.error_class is not ErrorClass.TRANSIENT or failures >= self._rule.attempts:
            raise error
        self._clock.sleep(self._rule.pause(failures))
