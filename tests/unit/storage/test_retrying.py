"""How long patience lasts, by a clock that nobody has to wait for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from typing_extensions import Buffer

from shared.errors import SkyharborError
from shared.storage.faulty import Fault, FaultKind, FaultyStore, Verb
from shared.storage.memory import MemoryStore
from shared.storage.retrying import FOR_UNITS, RetryingStore, RetryRule
from tests.support.clock import FakeClock


class Troubled(MemoryStore):
    """A store whose every put takes so many seconds and then fails, until the trouble is over."""

    def __init__(self, clock: FakeClock, *, each: float, until: float = float("inf")) -> None:
        super().__init__()
        self._clock, self._each, self._until = clock, each, clock.monotonic() + until
        self.began: list[float] = []

    def put(self, name: str, parts: Sequence[Buffer]) -> bool:
        self.began.append(self._clock.monotonic())
        self._clock.advance(self._each)
        if self._clock.monotonic() < self._until:
            raise SkyharborError("store-unreachable", "503 SlowDown")
        return super().put(name, parts)


def outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except SkyharborError as error:
        return error.code


@pytest.mark.parametrize("storm", [0.0, 5.0, 30.0])
def test_a_unit_outlives_half_a_minute_of_refusals(storm: float) -> None:
    clock = FakeClock()
    troubled = Troubled(clock, each=0.01, until=storm)
    assert RetryingStore(troubled, rule=FOR_UNITS, clock=clock).put("a", [b"x"])


def test_a_person_who_waits_is_told_after_seconds() -> None:
    clock = FakeClock()
    troubled = Troubled(clock, each=0.01)
    assert outcome(lambda: RetryingStore(troubled, clock=clock).put("a", [b"x"])) == "store-unreachable"
    assert (len(troubled.began), clock.monotonic() - troubled.began[0] < 15) == (6, True)


def test_it_waits_longer_every_time_and_never_longer_than_the_longest_pause() -> None:
    clock = FakeClock()
    troubled = Troubled(clock, each=0.0)
    rule = RetryRule(attempts=5, first_pause=1.0, longest_pause=3.0)
    outcome(lambda: RetryingStore(troubled, rule=rule, clock=clock).put("a", [b"x"]))
    pauses = [after - before for before, after in pairwise(troubled.began)]
    bounds = [(0.5, 1.0), (1.0, 2.0), (1.5, 3.0), (1.5, 3.0)]
    assert [low <= pause <= high for (low, high), pause in zip(bounds, pauses, strict=True)] == [True] * 4


def test_no_try_begins_after_the_patience_however_long_each_one_stalls() -> None:
    clock = FakeClock()
    troubled = Troubled(clock, each=60.0)
    store = RetryingStore(troubled, rule=RetryRule(attempts=100, patience=200.0), clock=clock)
    assert outcome(lambda: store.put("a", [b"x"])) == "store-unreachable"
    assert (len(troubled.began), max(troubled.began) - troubled.began[0] <= 200) == (4, True)


@pytest.mark.parametrize("stalls", [1, 2])
def test_a_unit_outlives_two_packs_that_stall_to_their_deadline(stalls: int) -> None:
    clock = FakeClock()
    troubled = Troubled(clock, each=300.0, until=stalls * 300.0 + 1)
    assert RetryingStore(troubled, rule=FOR_UNITS, clock=clock).put("a", [b"x"])


def test_a_failure_of_any_other_verb_is_outlived() -> None:
    clock = FakeClock()
    inner = MemoryStore()
    inner.put("a", [b"x"])
    faults = [Fault(verb=verb, nth=1, kind=FaultKind.FAIL) for verb in (Verb.GET, Verb.SIZE, Verb.LIST, Verb.DELETE)]
    store = RetryingStore(FaultyStore(inner, faults), clock=clock)
    assert (store.get("a"), store.size("a"), [info.name for info in store.list()]) == (b"x", 1, ["a"])
    assert (store.delete("a"), store.delete("a")) == (True, False)


class Stopped(Exception):
    """What a test's ``check`` raises."""


def test_whoever_waits_notices_a_stop_within_half_a_second() -> None:
    clock = FakeClock()

    def check() -> None:
        if clock.monotonic() >= stop_at:
            raise Stopped

    troubled = Troubled(clock, each=0.0)
    rule = RetryRule(attempts=100, first_pause=60.0, longest_pause=60.0)
    store = RetryingStore(troubled, rule=rule, clock=clock, check=check)
    stop_at = clock.monotonic() + 10.0
    with pytest.raises(Stopped):
        store.put("a", [b"x"])
    assert (clock.monotonic() - stop_at <= 0.5, len(troubled.began)) == (True, 1)


def test_after_a_stop_nothing_is_tried_again() -> None:
    clock = FakeClock()
    troubled = Troubled(clock, each=0.0)

    def stopped_meanwhile() -> None:
        if clock.slept:
            raise Stopped

    store = RetryingStore(troubled, rule=RetryRule(first_pause=0.1), clock=clock, check=stopped_meanwhile)
    with pytest.raises(Stopped):
        store.put("a", [b"x"])
    assert len(troubled.began) == 1


class Undecided(MemoryStore):
    """A server that still works on a put whose connection broke, and refuses further ones of the name meanwhile."""

    def __init__(self, *, refusals: int) -> None:
        super().__init__()
        self._refusals = refusals
        self._first = True

    def put(self, name: str, parts: Sequence[Buffer]) -> bool:
        if self._first:
            self._first = False
            raise SkyharborError("store-unreachable", "connection reset")
        self._refusals -= 1
        return False if self._refusals >= 0 else super().put(name, parts)


def test_told_that_it_exists_and_not_finding_it_the_put_is_tried_again() -> None:
    store = RetryingStore(Undecided(refusals=2), clock=FakeClock())
    assert (store.put("a", [b"x"]), store.get("a")) == (True, b"x")


def test_when_that_never_ends_it_is_the_store_that_is_in_trouble_not_the_vault() -> None:
    store = RetryingStore(Undecided(refusals=1000), clock=FakeClock())
    assert outcome(lambda: store.put("a", [b"x"])) == "store-unreachable"


@pytest.mark.parametrize(
    ("stored", "created"), [(b"0123456789", True), (b"012345678X", False), (b"01234", False), (b"", False)]
)
def test_after_a_lost_reply_only_the_very_same_bytes_are_ours(stored: bytes, created: bool) -> None:
    inner = MemoryStore()
    inner.put("a", [stored])
    store = RetryingStore(FaultyStore(inner, [Fault(verb=Verb.PUT, nth=1)]), clock=FakeClock())
    assert store.put("a", [b"0123", b"", b"456789"]) is created
