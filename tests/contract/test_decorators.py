"""Faults happen as planned, patience hides what may be hidden, and unsafe stores are found out."""

from __future__ import annotations

import os
import signal

import pytest

from shared.errors import SkyharborError
from shared.storage.faulty import Fault, FaultKind, FaultyStore, Verb
from shared.storage.memory import MemoryStore
from shared.storage.object_store import ObjectStore
from shared.storage.retrying import RetryingStore
from shared.storage.s3 import S3Store
from tests.contract.conftest import QUICK
from tests.support.seaweed import SeaweedAccess


class CountingClock:
    """A clock whose sleeps pass at once and are remembered."""

    def __init__(self) -> None:
        self.sleeps: list[float] = []

    def now(self) -> object:
        raise AssertionError("nobody asks")

    def monotonic(self) -> float:
        return sum(self.sleeps)

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)


def outcome_of_put(store: ObjectStore, name: str = "a/b", data: bytes = b"0123456789") -> bool | str:
    try:
        return store.put(name, [data])
    except SkyharborError as error:
        return error.code


@pytest.mark.parametrize(
    ("kind", "outcome", "stored"),
    [
        (FaultKind.FAIL, "store-full", None),
        (FaultKind.DELAY, True, b"0123456789"),
        (FaultKind.TEAR, "store-full", b"01234"),
        (FaultKind.LOSE_REPLY, "store-full", b"0123456789"),
        (FaultKind.CRASH, "store-full", None),
        (FaultKind.CRASH_AFTER, "store-full", b"0123456789"),
        (FaultKind.CRASH_TORN, "store-full", b"01234"),
    ],
)
def test_the_nth_put_goes_wrong_as_said(kind: FaultKind, outcome: bool | str, stored: bytes | None) -> None:
    inner, clock = MemoryStore(), CountingClock()
    fault = Fault(verb=Verb.PUT, nth=2, kind=kind, code="store-full", seconds=9.0)
    store = FaultyStore(inner, [fault], clock=clock)  # type: ignore[arg-type]
    assert [outcome_of_put(store, "first"), outcome_of_put(store, "second")] == [True, outcome]
    found = inner.get("second") if inner.size("second") is not None else None
    assert (found, clock.sleeps) == (stored, [9.0] if kind is FaultKind.DELAY else [])
    dead = kind.startswith("crash")
    assert outcome_of_put(store, "third") == ("store-full" if dead else True)
    assert (store.calls(Verb.PUT), store.crashed, inner.size("third")) == (3, dead, None if dead else 10)


def test_calls_of_all_verbs_are_counted_together() -> None:
    inner = MemoryStore()
    store = FaultyStore(inner, [Fault(verb=Verb.ANY, nth=3, kind=FaultKind.FAIL)])
    store.put("a/b", [b"x"])
    list(store.list())
    with pytest.raises(SkyharborError):
        store.get("a/b")
    assert (store.get("a/b"), store.size("a/b"), store.calls(Verb.ANY)) == (b"x", 1, 5)


@pytest.mark.parametrize("kind", [FaultKind.CRASH, FaultKind.CRASH_AFTER, FaultKind.CRASH_TORN])
def test_after_a_crash_nothing_is_done_any_more(kind: FaultKind) -> None:
    inner = MemoryStore()
    inner.put("kept", [b"x"])
    store = FaultyStore(inner, [Fault(verb=Verb.GET, nth=1, kind=kind)])
    for call in (
        lambda: store.get("kept"),
        lambda: store.size("kept"),
        lambda: store.delete("kept"),
        lambda: store.list(),
    ):
        with pytest.raises(SkyharborError):
            call()
    assert inner.get("kept") == b"x"


def test_a_torn_get_returns_half() -> None:
    inner = MemoryStore()
    inner.put("a", [b"0123456789"])
    store = FaultyStore(inner, [Fault(verb=Verb.GET, nth=1, kind=FaultKind.TEAR)])
    assert [store.get("a", offset=2, length=4), store.get("a")] == [b"23", b"0123456789"]


@pytest.mark.parametrize("kind", [FaultKind.FAIL, FaultKind.LOSE_REPLY])
def test_a_retried_put_still_knows_that_it_created_the_object(kind: FaultKind) -> None:
    inner = MemoryStore()
    store = RetryingStore(FaultyStore(inner, [Fault(verb=Verb.PUT, nth=1, kind=kind)]), rule=QUICK)
    assert [outcome_of_put(store), outcome_of_put(store)] == [True, False]
    assert inner.get("a/b") == b"0123456789"


def test_a_retried_put_does_not_claim_what_somebody_else_created() -> None:
    inner = MemoryStore()
    inner.put("a/b", [b"theirs"])
    store = RetryingStore(FaultyStore(inner, [Fault(verb=Verb.PUT, nth=1)]), rule=QUICK)
    assert (outcome_of_put(store), inner.get("a/b")) == (False, b"theirs")


@pytest.mark.parametrize("code", ["store-full", "store-denied", "object-missing", "object-damaged"])
def test_what_patience_cannot_cure_is_not_retried(code: str) -> None:
    faulty = FaultyStore(MemoryStore(), [Fault(verb=Verb.PUT, nth=1, code=code)])
    assert (outcome_of_put(RetryingStore(faulty)), faulty.calls(Verb.PUT)) == (code, 1)


def test_a_torn_listing_is_taken_up_where_it_broke() -> None:
    inner = MemoryStore()
    names = [f"points/{number:03}" for number in range(100)]
    for name in names:
        inner.put(name, [b"x"])
    faults = [Fault(verb=Verb.LIST, nth=n, kind=FaultKind.TEAR) for n in (1, 2)]
    store = RetryingStore(FaultyStore(inner, faults), rule=QUICK)
    assert [info.name for info in store.list("points/")] == names


def test_wrong_s3_credentials_are_denied_for_every_call(seaweed: SeaweedAccess) -> None:
    config = {**seaweed.config(), "secret_access_key": "wrong"}
    store = S3Store("exam", "denied", config=config)  # type: ignore[arg-type]
    codes = []
    for call in (lambda: store.put("a", [b"x"]), lambda: store.get("a"), lambda: list(store.list())):
        with pytest.raises(SkyharborError) as caught:
            call()
        codes.append(caught.value.code)
        assert seaweed.access_key not in str(caught.value)
    assert codes == ["store-denied"] * 3


def test_an_s3_server_that_is_not_there_is_unreachable(seaweed: SeaweedAccess) -> None:
    store = S3Store("exam", config={**seaweed.config(), "endpoint": "http://127.0.0.1:1"})  # type: ignore[arg-type]
    assert outcome_of_put(store) == "store-unreachable"


@pytest.mark.parametrize("again", [False, True], ids=["same store", "new store"])
def test_s3_used_before_a_fork_is_an_error_in_the_child_and_no_hanging(seaweed: SeaweedAccess, again: bool) -> None:
    store = S3Store("exam", "forked", config=seaweed.config())  # type: ignore[arg-type]
    store.put("a", [b"x"])
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        if again:
            store = S3Store("exam", "forked", config=seaweed.config())  # type: ignore[arg-type]
        try:
            store.get("a")
        except SkyharborError as error:
            os._exit(7 if error.code == "internal" else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert (store.get("a"), store.delete("a")) == (b"x", True)


def test_a_bucket_that_is_not_there_reads_as_missing(seaweed: SeaweedAccess) -> None:
    store = S3Store("no-such-bucket", config=seaweed.config())  # type: ignore[arg-type]
    codes = []
    for call in (lambda: store.get("vault.json"), lambda: list(store.list())):
        with pytest.raises(SkyharborError) as caught:
            call()
        codes.append(caught.value.code)
    assert codes == ["object-missing", "object-missing"]
