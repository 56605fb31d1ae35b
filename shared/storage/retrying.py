"""Patience for a store that is reached over a network: transient errors are tried again, later and later.

Rule of the file: only errors whose class is *transient* are retried, and a retry never changes what the port promises:
the answer of ``put`` is still the truth about who created the object. How long one request may take is the backend's
affair (every backend gives each of its requests a deadline); how long all tries together may take is said here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import TypeVar

from typing_extensions import Buffer

from shared.clock import Clock, SystemClock
from shared.errors import ErrorClass, SkyharborError
from shared.storage.object_store import ObjectInfo, ObjectStore, never_stop

_Result = TypeVar("_Result")
_jitter = SystemRandom()

_LONGEST_NAP = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """When to try again. Pauses double from ``first_pause`` to ``longest_pause`` seconds, less a jitter.

    There are at most ``attempts`` tries, and none begins later than ``patience`` seconds after the first one began: a
    call that fails at once is given up after a few seconds by default, one that stalls every time after a few minutes.
    """

    attempts: int = 6
    first_pause: float = 0.2
    longest_pause: float = 5.0
    patience: float = 300.0

    def pause(self, failures: int) -> float:
        """Return the seconds to wait after so many failures (from 1): half of it sure, half of it by chance."""
        most = min(self.longest_pause, self.first_pause * 2.0 ** (failures - 1))
        return most / 2 + _jitter.uniform(0, most / 2)


FOR_UNITS = RetryRule(attempts=14, longest_pause=10.0, patience=900.0)
"""For hours of work with nobody waiting at a prompt: outlives half a minute of refusals, and two stalled packs."""


class RetryingStore:
    """A store that retries transient errors of another store.

    ``check`` is asked before every try but the first and at least twice a second while waiting; what it raises ends
    the call. Any thread may come to call it.
    """

    def __init__(
        self,
        inner: ObjectStore,
        *,
        rule: RetryRule | None = None,
        clock: Clock | None = None,
        check: Callable[[], None] = never_stop,
    ) -> None:
        self.inner = inner
        self._rule = rule or RetryRule()
        self._clock = clock or SystemClock()
        self._check = check

    def describe(self) -> str:
        """Return the inner store's URL."""
        return self.inner.describe()

    def put(self, name: str, parts: Sequence[Buffer]) -> bool:
        """See the port.

        When an earlier try may have been done although its reply was lost, and the object is there now, its bytes are
        read back: equal to ours means that this call created it. (Sealed objects differ even for equal content, by
        their random salt.) Different bytes of the same name: somebody else created it, False.
        """
        tries = self._tries()
        while True:
            try:
                return self.inner.put(name, parts) or (tries.failures > 0 and self._is_ours(name, parts))
            except SkyharborError as error:
                tries.failed(_undecided(error) if tries.failures > 0 else error)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See the port."""
        return self._patiently(lambda: self.inner.get(name, offset=offset, length=length))

    def size(self, name: str) -> int | None:
        """See the port."""
        return self._patiently(lambda: self.inner.size(name))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See the port. A listing that breaks is taken up after the last name that was handed out."""
        last, tries = "", self._tries()
        while True:
            try:
                for info in self.inner.list(prefix):
                    if info.name > last:
                        yield info
                        last = info.name
                        tries = self._tries()
            except SkyharborError as error:
                tries.failed(error)
            else:
                return

    def delete(self, name: str) -> bool:
        """See the port. After a failed try an absent object counts as removed by this call: its reply may be lost."""
        tries = self._tries()
        while True:
            try:
                return self.inner.delete(name) or tries.failures > 0
            except SkyharborError as error:
                tries.failed(error)

    def close(self) -> None:
        """Close the inner store."""
        self.inner.close()

    def _is_ours(self, name: str, parts: Sequence[Buffer]) -> bool:
        """Whether the object has exactly our bytes. ``object-missing`` when it is not there (yet)."""
        views = [memoryview(part).cast("B") for part in parts]
        if self.size(name) not in (None, sum(map(len, views))):
            return False
        stored, at = memoryview(self.get(name)), 0
        for view in views:
            if stored[at : at + len(view)] != view:
                return False
            at += len(view)
        return at == len(stored)

    def _patiently(self, call: Callable[[], _Result]) -> _Result:
        tries = self._tries()
        while True:
            try:
                return call()
            except SkyharborError as error:
                tries.failed(error)

    def _tries(self) -> _Tries:
        return _Tries(self._rule, self._clock, self._check)


class _Tries:
    """The failures of one call, and the waiting between its tries."""

    def __init__(self, rule: RetryRule, clock: Clock, check: Callable[[], None]) -> None:
        self._rule, self._clock, self._check = rule, clock, check
        self._began = clock.monotonic()
        self.failures = 0

    def failed(self, error: SkyharborError) -> None:
        """Return when it is time to try again; raise ``error`` when trying again is no use."""
        self.failures += 1
        if error.kind.error_class is not ErrorClass.TRANSIENT or self.failures >= self._rule.attempts:
            raise error
        now = self._clock.monotonic()
        end = now + self._rule.pause(self.failures)
        if end - self._began > self._rule.patience:
            raise error
        while now < end:
            self._check()
            self._clock.sleep(min(_LONGEST_NAP, end - now))
            now = self._clock.monotonic()
        self._check()


def _undecided(error: SkyharborError) -> SkyharborError:
    """Told that the object is there and not finding it: an earlier try of ours is still on its way at the server."""
    if error.code != "object-missing":
        return error
    return SkyharborError("store-unreachable", f"{error.detail}: an earlier put of it is still under way")
