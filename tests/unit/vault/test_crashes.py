"""Whatever breaks at whichever call: sealed points stay whole, and no half point exists."""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading

import pytest

from shared.errors import SkyharborError
from shared.storage.faulty import Fault, FaultKind, FaultyStore, Verb
from shared.storage.object_store import ObjectStore
from shared.storage.retrying import RetryingStore
from shared.vault import layout
from tests.support.clock import FakeClock
from tests.unit.vault.bench import KEYS, MACHINE, Bench, body, file_entry, never_stop, new_bench

OLD = {b"a": b"old" * 100, b"b": b"same" * 200}
NEW = {b"a": b"new" * 100, b"b": b"same" * 200, **{b"c%d" % n: random.Random(n).randbytes(700) for n in range(3)}}


def puts_of_a_backup() -> int:
    bench = new_bench()
    bench.write(1, OLD)
    store = FaultyStore(bench.store)
    bench.on(store).write(2, NEW)
    return store.calls(Verb.PUT)


PUTS = puts_of_a_backup()


def attempt(bench: Bench, store: ObjectStore) -> bool:
    """Try to write the new point; tell whether that said it worked."""
    with contextlib.suppress(SkyharborError):
        bench.on(store).write(2, NEW)
        return True
    return False


@pytest.mark.parametrize("kind", [FaultKind.FAIL, FaultKind.CRASH, FaultKind.LOSE_REPLY])
@pytest.mark.parametrize("nth", range(1, PUTS + 1))
def test_a_backup_that_breaks_at_any_put_leaves_whole_points_only(nth: int, kind: FaultKind) -> None:
    bench = new_bench()
    bench.write(1, OLD)
    worked = attempt(bench, FaultyStore(bench.store, [Fault(verb=Verb.PUT, nth=nth, kind=kind)]))
    trees = {1: OLD, 2: NEW}
    sealed = [int(point.point_id[-4:], 16) for point in bench.vault.points(MACHINE)]
    assert not worked
    assert sealed == ([1, 2] if kind is FaultKind.LOSE_REPLY and nth == PUTS else [1])
    for number in sealed:
        assert bench.read(number, index=bench.index()) == trees[number]
        assert bench.read(number) == trees[number]


@pytest.mark.parametrize("nth", range(1, PUTS + 1))
def test_the_next_attempt_after_a_crash_seals_the_point(nth: int) -> None:
    bench = new_bench()
    bench.write(1, OLD)
    attempt(bench, FaultyStore(bench.store, [Fault(verb=Verb.PUT, nth=nth, kind=FaultKind.CRASH)]))
    assert bench.write(2, NEW).created
    assert bench.read(2, index=bench.index()) == NEW


@pytest.mark.parametrize("nth", range(1, PUTS + 1))
def test_a_lost_reply_that_the_store_tries_again_is_no_failure(nth: int) -> None:
    bench = new_bench()
    bench.write(1, OLD)
    faulty = FaultyStore(bench.store, [Fault(verb=Verb.PUT, nth=nth, kind=FaultKind.LOSE_REPLY)])
    sealed = bench.on(RetryingStore(faulty, clock=FakeClock())).write(2, NEW)
    assert (sealed.created, sealed.manifest_sha256) == (
        True,
        hashlib.sha256(bench.store.get(sealed.manifest)).hexdigest(),
    )
    assert bench.read(2, index=bench.index()) == NEW


def test_there_are_puts_to_break() -> None:
    assert PUTS >= 6


def test_a_failed_put_is_raised_at_every_later_call() -> None:
    bench = new_bench()
    writer = bench.on(FaultyStore(bench.store, [Fault(verb=Verb.PUT, nth=1, code="store-full")])).writer(1)
    bench.on(bench.store).fill(writer, {b"a": b"x" * 50})
    for call in (writer.checkpoint, writer.checkpoint, lambda: writer.reserve([bytes(32)])):
        with pytest.raises(SkyharborError) as caught:
            call()
        assert caught.value.code == "store-full"
    writer.abort()
    assert bench.names(layout.PACKS) == []


def test_a_stale_owner_writes_no_manifest() -> None:
    bench = new_bench()
    writer = bench.writer(1)
    bench.fill(writer, NEW)

    def stale() -> None:
        assert bench.names(layout.INDEX), "the tower is asked when everything else is durable"
        raise SkyharborError("stale-claim")

    with pytest.raises(SkyharborError) as caught:
        writer.seal(body=body(), validate=stale)
    writer.abort()
    assert caught.value.code == "stale-claim"
    assert bench.names(layout.POINTS) == bench.names(layout.MACHINES) == []


def test_an_aborted_writer_writes_nothing_more() -> None:
    bench = new_bench()
    writer = bench.writer(1)
    bench.fill(writer, NEW)
    writer.abort()
    before = bench.names()
    for call in (writer.checkpoint, lambda: writer.seal(body=body(), validate=never_stop), lambda: writer.reserve([])):
        with pytest.raises(RuntimeError):
            call()
    writer.abort()
    assert bench.names() == before


def test_what_a_checkpoint_kept_is_not_stored_again() -> None:
    bench = new_bench()
    lost = bench.writer(1)
    bench.fill(lost, NEW)
    lost.checkpoint()
    lost.abort()
    sealed = bench.write(1, NEW)
    pages = len(bench.reader(1).pages)
    assert (sealed.created, sealed.body.stats["chunks_new"]) == (True, pages)


def test_what_no_checkpoint_kept_is_not_in_the_index() -> None:
    bench = new_bench()
    lost = bench.writer(1)
    bench.fill(lost, NEW)
    lost.abort()
    assert len(bench.index()) == 0


class Gate(FaultyStore):
    """A store whose puts of packs wait until the gate is opened, and say how many wait."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.opened = threading.Event()
        self.waiting = threading.Semaphore(0)

    def put(self, name: str, parts: object) -> bool:
        if name.startswith(layout.PACKS):
            self.waiting.release()
            assert self.opened.wait(30)
        return super().put(name, parts)  # type: ignore[arg-type]


def test_a_slow_store_holds_the_readers_back_instead_of_filling_memory() -> None:
    bench = new_bench()
    gate = Gate(bench.store)
    writer = bench.on(gate).writer(1, data_pack=1)  # every segment is a full pack
    accepted: list[int] = []
    third = threading.Event()

    def feed() -> None:
        for number in range(5):
            chunk = b"%d" % number
            writer.add_segment([KEYS.chunk_id(chunk)], [chunk])
            accepted.append(number)
        third.set()

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert gate.waiting.acquire(timeout=30)
    assert gate.waiting.acquire(timeout=30)
    assert not third.is_set()
    assert len(accepted) <= 2
    gate.opened.set()
    feeder.join()
    writer.add_entries([file_entry(b"a", b"".join(KEYS.chunk_id(b"%d" % number) for number in range(5)))])
    writer.seal(body=body(), validate=never_stop)
    assert bench.read(1) == {b"a": b"01234"}
