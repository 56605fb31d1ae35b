"""When bytes move, under a plan that changes meanwhile."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typing_extensions import Buffer

from shared.clock import SystemClock
from shared.errors import SkyharborError
from shared.model.bandwidth import UNLIMITED, BandwidthPlan, BandwidthWindow, Day
from shared.storage.faulty import Fault, FaultKind, FaultyStore, Verb
from shared.storage.local import LocalStore
from shared.storage.memory import MemoryStore
from shared.storage.object_store import ObjectStore, never_stop
from shared.storage.plan_file import KeptPlan
from shared.storage.retrying import RetryingStore
from shared.storage.shared_bucket import SharedBucket
from shared.storage.throttle import Lane, Throttle
from shared.storage.throttled import SLICE, ThrottledStore
from tests.support.clock import FakeClock

MIB = 1024 * 1024
TEN = BandwidthPlan(upload=10 * MIB, download=10 * MIB)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def plan(tmp_path: Path) -> KeptPlan:
    return KeptPlan(str(tmp_path / "bandwidth" / "v.plan"), TEN)


@pytest.fixture
def throttle(tmp_path: Path, clock: FakeClock, plan: KeptPlan) -> Throttle:
    return Throttle(str(tmp_path / "bandwidth" / "v"), plan.current, clock=clock, now=clock.monotonic)


def seconds(clock: FakeClock, act: Callable[[], object]) -> float:
    began = clock.monotonic()
    act()
    return clock.monotonic() - began


class Writes(MemoryStore):
    """A store that writes every part as it gets it, and remembers when and how much."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self.written: list[tuple[float, int]] = []

    def put(self, name: str, parts: Sequence[Buffer]) -> bool:
        began = self._clock.monotonic()
        taken = []
        for part in parts:
            self.written.append((self._clock.monotonic() - began, memoryview(part).nbytes))
            taken.append(part)
        return super().put(name, taken)


def test_a_pack_is_written_slice_by_slice_at_the_rate_and_in_no_burst(throttle: Throttle, clock: FakeClock) -> None:
    inner = Writes(clock)
    body = bytes(range(256)) * (4 * 4096)
    ThrottledStore(inner, throttle).put("a", [body[:100], body[100:], body])
    assert inner.get("a") == body + body
    through = 0
    for at, size in inner.written:
        assert size <= SLICE
        through += size
        assert through <= 10 * MIB * (at + 0.25) + SLICE
    assert inner.written[-1][0] == pytest.approx((through / MIB - 1 - 2.5) / 10, abs=0.11)


@pytest.mark.parametrize("kind", ["memory", "local"])
def test_many_objects_take_as_long_as_their_bytes(
    kind: str, throttle: Throttle, clock: FakeClock, tmp_path: Path
) -> None:
    inner: ObjectStore = MemoryStore() if kind == "memory" else LocalStore.create(str(tmp_path / "store"))
    store = ThrottledStore(inner, throttle)
    assert seconds(clock, lambda: [store.put(f"{n}", [b"x" * MIB] * 8) for n in range(10)]) == pytest.approx(8, abs=0.4)
    assert seconds(clock, lambda: [store.get(f"{n}") for n in range(10)]) == pytest.approx(8, abs=1.3)
    ranges = [(n, at) for n in range(10) for at in range(0, 8 * MIB, MIB // 2)]
    assert seconds(clock, lambda: [store.get(f"{n}", offset=at, length=MIB // 2) for n, at in ranges]) == pytest.approx(
        8, abs=1.3
    )


def test_small_parts_cost_by_the_mib_and_not_by_the_part(throttle: Throttle, clock: FakeClock, tmp_path: Path) -> None:
    asked: list[int] = []

    class Asked(SharedBucket):
        def take(self, count: int, rate: float) -> float:
            asked.append(count)
            return super().take(0, rate)

    throttle.up = Lane(Asked(str(tmp_path / "asked")), lambda: 1, clock)
    ThrottledStore(MemoryStore(), throttle).put("a", [b"x" * 10_000] * 300 + [b"y" * (2 * MIB + 5)])
    assert (sum(asked), len(asked) <= 7, max(asked) <= SLICE) == (3_000_000 + 2 * MIB + 5, True, True)


def test_an_object_that_is_there_already_costs_nothing(throttle: Throttle, clock: FakeClock, tmp_path: Path) -> None:
    store = ThrottledStore(LocalStore.create(str(tmp_path / "store")), throttle)
    body = [b"x" * (32 * MIB)]
    store.put("a", body)
    assert seconds(clock, lambda: [store.put("a", body) for _ in range(10)]) == 0.0


def test_a_read_is_paid_by_what_came_and_not_by_what_was_asked_for(throttle: Throttle, clock: FakeClock) -> None:
    inner = MemoryStore()
    inner.put("a", [b"x" * 100])
    store = ThrottledStore(inner, throttle)
    assert seconds(clock, lambda: [store.get("a", length=1 << 40) for _ in range(1000)]) < 0.2


def test_a_read_that_fails_is_not_paid(throttle: Throttle, clock: FakeClock) -> None:
    store = ThrottledStore(MemoryStore(), throttle)

    def fail() -> None:
        for _ in range(100):
            with pytest.raises(SkyharborError):
                store.get("missing")

    assert seconds(clock, fail) < 0.2


def test_what_is_sent_twice_is_paid_twice(throttle: Throttle, clock: FakeClock) -> None:
    faulty = FaultyStore(MemoryStore(), [Fault(verb=Verb.PUT, nth=1, kind=FaultKind.LOSE_REPLY)])
    waited = FakeClock()
    store = RetryingStore(ThrottledStore(faulty, throttle), clock=waited)
    assert seconds(clock, lambda: store.put("a", [b"x" * MIB] * 20)) == pytest.approx(4.0 - 0.35, abs=0.1)


def test_sizes_listings_and_deletions_are_free(throttle: Throttle, clock: FakeClock) -> None:
    store = ThrottledStore(MemoryStore(), throttle)
    store.put("a", [b"x" * MIB] * 30)
    throttle.up.settle(1000 * MIB)
    throttle.down.settle(1000 * MIB)
    assert seconds(clock, lambda: (store.size("a"), list(store.list()), store.delete("a"))) == 0.0


def test_zero_is_unlimited_and_touches_no_file(tmp_path: Path, clock: FakeClock) -> None:
    plan = KeptPlan(str(tmp_path / "bandwidth" / "v.plan"), UNLIMITED)
    free = Throttle(str(tmp_path / "bandwidth" / "v"), plan.current, clock=clock, now=clock.monotonic)
    store = ThrottledStore(MemoryStore(), free)
    assert seconds(clock, lambda: (store.put("a", [b"x" * MIB] * 64), store.get("a"))) == 0.0
    assert not (tmp_path / "bandwidth").exists()


def test_the_two_directions_do_not_wait_for_each_other(throttle: Throttle, clock: FakeClock) -> None:
    inner = MemoryStore()
    inner.put("a", [b"x" * MIB])
    throttle.up.settle(1000 * MIB)
    assert seconds(clock, lambda: ThrottledStore(inner, throttle).get("a")) == 0.0


def test_a_window_that_opens_while_one_waits_holds_at_once(
    throttle: Throttle, clock: FakeClock, plan: KeptPlan
) -> None:
    # The fake clock begins at midnight UTC.
    window = BandwidthWindow(days=tuple(Day), start="00:01", end="00:00", zone="UTC", upload=MIB)
    plan.change(BandwidthPlan(upload=10 * MIB, windows=(window,)))
    store = ThrottledStore(MemoryStore(), throttle)
    assert seconds(clock, lambda: store.put("a", [b"x" * MIB] * 700)) == pytest.approx(60 + 100, abs=4)


class Stopped(Exception):
    """What a test's ``check`` raises."""


def waiting(throttle: Throttle, clock: FakeClock, then: Callable[[], None]) -> float:
    """Wait for a share that is an hour away; after ten seconds do something. Returns how long that took to matter."""
    throttle.up.settle(3600 * 10 * MIB)
    done: list[float] = []

    def check() -> None:
        if clock.monotonic() >= 1010.0 and not done:
            done.append(clock.monotonic())
            then()

    with contextlib.suppress(Stopped):
        throttle.up.pay(MIB, check)
    return clock.monotonic() - done[0]


@pytest.mark.parametrize("what", ["stop", "lift", "raise"])
def test_whoever_waits_notices_within_half_a_second(
    what: str, throttle: Throttle, clock: FakeClock, plan: KeptPlan
) -> None:
    def change() -> None:
        match what:
            case "stop":
                raise Stopped
            case "lift":
                plan.change(UNLIMITED)
            case _:
                plan.change(BandwidthPlan(upload=1 << 50))

    assert (waiting(throttle, clock, change) <= 0.5, max(clock.slept) <= 0.5) == (True, True)


def test_a_put_that_is_stopped_while_it_waits_leaves_nothing(
    throttle: Throttle, clock: FakeClock, tmp_path: Path
) -> None:
    inner = LocalStore.create(str(tmp_path / "store"))

    def check() -> None:
        if clock.monotonic() > 1001.0:
            raise Stopped

    with pytest.raises(Stopped):
        ThrottledStore(inner, throttle, check=check).put("a", [b"x" * MIB] * 100)
    left = [path.name for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert (left, inner.size("a")) == ([], None)


def test_eight_threads_share_one_share(tmp_path: Path) -> None:
    throttle = Throttle.following(str(tmp_path / "bandwidth" / "v"), BandwidthPlan(upload=32 * MIB))
    clock = SystemClock()
    began = clock.monotonic()
    threads = [threading.Thread(target=lambda: [throttle.up.pay(MIB, never_stop) for _ in range(4)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.6 <= clock.monotonic() - began <= 3.0
