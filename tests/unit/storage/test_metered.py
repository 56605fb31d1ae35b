"""Every call, byte, second and error is counted once."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.errors import SkyharborError
from shared.storage.faulty import Fault, FaultKind, FaultyStore, Verb
from shared.storage.memory import MemoryStore
from shared.storage.metered import MeteredStore, StoreUse, VerbUse
from tests.support.clock import FakeClock


def test_what_was_done_is_told_verb_by_verb() -> None:
    clock = FakeClock()
    slow = [Fault(verb=verb, nth=1, kind=FaultKind.DELAY, seconds=2.0) for verb in Verb]
    store = MeteredStore(FaultyStore(MemoryStore(), slow, clock=clock), clock=clock)
    store.put("a", [b"0123", memoryview(b"456789")])
    store.put("b", [b"x"])
    store.get("a")
    store.get("a", offset=8, length=100)
    store.size("a")
    for _ in store.list():
        clock.advance(5.0)  # the reader's own time
    store.delete("a")
    assert store.use == StoreUse(
        put=VerbUse(calls=2, bytes=11, seconds=2.0),
        get=VerbUse(calls=2, bytes=12, seconds=2.0),
        size=VerbUse(calls=1, seconds=2.0),
        list=VerbUse(calls=1, seconds=2.0),
        delete=VerbUse(calls=1, seconds=2.0),
    )


def test_a_call_that_fails_is_a_call_and_an_error_and_no_bytes() -> None:
    faults = [Fault(verb=verb, nth=1, kind=FaultKind.TEAR if verb is Verb.LIST else FaultKind.FAIL) for verb in Verb]
    inner = MemoryStore()
    inner.put("a", [b"x"])
    store = MeteredStore(FaultyStore(inner, faults), clock=FakeClock())
    for call in (
        lambda: store.put("b", [b"x"]),
        lambda: store.get("a"),
        lambda: store.size("a"),
        lambda: list(store.list()),
        lambda: store.delete("a"),
    ):
        with pytest.raises(SkyharborError):
            call()
    failed = VerbUse(calls=1, errors=1)
    assert store.use == StoreUse(put=failed, get=failed, size=failed, list=failed, delete=failed)


def test_a_value_once_read_does_not_change() -> None:
    store = MeteredStore(MemoryStore())
    before = store.use
    store.put("a", [b"x"])
    assert (before, store.use.put.calls) == (StoreUse(), 1)


def test_nothing_is_lost_between_threads() -> None:
    store = MeteredStore(MemoryStore())
    every = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: store.put(f"{number}", [b"xx"]), range(4000)))
    finally:
        sys.setswitchinterval(every)
    assert (store.use.put.calls, store.use.put.bytes) == (4000, 8000)
