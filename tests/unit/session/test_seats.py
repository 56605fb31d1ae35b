"""Seats are never oversold, and work that found none is asked for again."""

from __future__ import annotations

import threading

import pytest

from shared.clock import SystemClock
from shared.contracts.work import Attempt, Claim, Doorbell, Granted
from shared.errors import SkyharborError
from tests.unit.session.test_lease_keeper import granted
from workers.session.seats import Seats

BELL = Doorbell(job_id="j", epoch=1, unit=0)


class Tower:
    """Hands out the given grants, one per claim; then nothing."""

    def __init__(self, *grants: Granted | None) -> None:
        self._grants = list(grants)
        self._lock = threading.Lock()
        self.claims: list[Claim] = []

    def claim(self, message: Claim) -> Granted | None:
        with self._lock:
            self.claims.append(message)
            return self._grants.pop(0) if self._grants else None


class Flights:
    """Flights that land when told to, and count how many are in the air at once."""

    def __init__(self) -> None:
        self.may_land = threading.Event()
        self.took_off = threading.Semaphore(0)
        self._lock = threading.Lock()
        self.flying = self.most = self.flown = 0

    def fly(self, _granted: Granted, _asked_at: float) -> None:
        with self._lock:
            self.flying += 1
            self.most = max(self.most, self.flying)
        self.took_off.release()
        assert self.may_land.wait(20)
        with self._lock:
            self.flying -= 1
            self.flown += 1


def seats(tower: Tower, flights: Flights, *, concurrency: int) -> Seats:
    return Seats(
        concurrency=concurrency,
        worker="w",
        session="s",
        claim=tower.claim,
        fly=flights.fly,
        clock=SystemClock(),
    )


def test_a_doorbell_without_a_free_seat_is_dropped_and_asked_for_when_a_seat_is_free() -> None:
    tower, flights = Tower(granted("a"), granted("b")), Flights()
    row = seats(tower, flights, concurrency=1)
    row.start_polling(every=3600)
    first = threading.Thread(target=row.answer, args=(BELL,))
    first.start()
    assert flights.took_off.acquire(timeout=10)
    assert row.answer(BELL) is False
    flights.may_land.set()
    assert flights.took_off.acquire(timeout=10), "the dropped doorbell's work was asked for"
    first.join(10)
    row.close()
    assert row.wait_until_empty(patience=10)
    assert (flights.most, flights.flown) == (1, 2)
    assert [claim.doorbell for claim in tower.claims[:2]] == [BELL, None]


def test_a_stale_doorbell_gives_its_seat_back() -> None:
    tower, flights = Tower(None, granted()), Flights()
    flights.may_land.set()
    row = seats(tower, flights, concurrency=1)
    assert row.answer(BELL) is False
    assert row.answer(BELL) is True


def test_an_idle_worker_polls_and_fills_every_seat_but_no_more() -> None:
    tower, flights = Tower(*(granted(str(n)) for n in range(5))), Flights()
    row = seats(tower, flights, concurrency=2)
    row.start_polling(every=0.01)
    assert flights.took_off.acquire(timeout=10)
    assert flights.took_off.acquire(timeout=10)
    flights.may_land.set()
    for _ in range(3):
        assert flights.took_off.acquire(timeout=10)
    row.close()
    assert row.wait_until_empty(patience=10)
    assert (flights.most, flights.flown) == (2, 5)


def test_a_tower_that_is_away_costs_neither_seat_nor_thread() -> None:
    flights = Flights()
    flights.may_land.set()
    answers: list[Granted | None] = [None]

    def claim(message: Claim) -> Granted | None:
        if answers:
            answers.pop()
            raise SkyharborError("server-unreachable", "away")
        return granted()

    row = Seats(concurrency=1, worker="w", session="s", claim=claim, fly=flights.fly, clock=SystemClock())
    assert row.answer(BELL) is False
    assert row.answer(BELL) is True


def test_a_closed_worker_takes_nothing() -> None:
    tower, flights = Tower(granted()), Flights()
    row = seats(tower, flights, concurrency=1)
    row.close()
    assert row.answer(BELL) is False
    assert tower.claims == []


def test_a_draining_worker_claims_nothing_when_its_seat_is_freed() -> None:
    tower, flights = Tower(granted("a"), granted("b")), Flights()
    row = seats(tower, flights, concurrency=1)
    row.start_polling(every=3600)
    first = threading.Thread(target=row.answer, args=(BELL,))
    first.start()
    assert flights.took_off.acquire(timeout=10)
    assert row.answer(BELL) is False  # work waits for the seat
    row.close()
    flights.may_land.set()
    assert row.wait_until_empty(patience=10)
    first.join(10)
    assert (len(tower.claims), flights.flown) == (1, 1)


def test_an_answer_that_is_no_answer_kills_neither_the_poll_nor_a_seat() -> None:
    flights = Flights()
    flights.may_land.set()
    answers = [1]

    def claim(message: Claim) -> Granted | None:
        if answers:
            answers.pop()
            raise ValueError("a page of a proxy")
        return granted()

    row = Seats(concurrency=1, worker="w", session="s", claim=claim, fly=flights.fly, clock=SystemClock())
    row.start_polling(every=0.01)
    assert flights.took_off.acquire(timeout=10), "the poll asked again"
    row.close()
    assert row.wait_until_empty(patience=10)


@pytest.mark.parametrize("first", [granted("a"), None])
def test_after_a_shard_and_after_one_that_was_taken_the_worker_asks_for_the_next(first: Granted | None) -> None:
    tower, flights = Tower(first, granted("b")), Flights()
    flights.may_land.set()
    row = seats(tower, flights, concurrency=1)
    row.start_polling(every=3600)
    shard = Doorbell(job_id="j", epoch=1, unit=4)
    assert row.answer(shard) is (first is not None)
    for _ in range(2 if first else 1):
        assert flights.took_off.acquire(timeout=10), "it asked for more"
    row.close()
    assert row.wait_until_empty(patience=10)
    assert [claim.doorbell for claim in tower.claims[:2]] == [shard, None]


def test_a_shard_does_not_take_the_last_free_seat_of_several() -> None:
    tower, flights = Tower(granted("a"), None, granted("b")), Flights()
    row = seats(tower, flights, concurrency=2)
    shard = Doorbell(job_id="j", epoch=1, unit=4)
    first = threading.Thread(target=row.answer, args=(shard,))
    first.start()
    assert flights.took_off.acquire(timeout=10)
    assert row.answer(shard) is False
    assert len(tower.claims) == 1, "it was not even asked for"
    row.start_polling(every=0.01)
    assert flights.took_off.acquire(timeout=10), "a job takes it"
    flights.may_land.set()
    row.close()
    assert row.wait_until_empty(patience=10)
    first.join(10)
    assert [claim.shards for claim in tower.claims[:3]] == [True, False, False]


def test_a_worker_that_gave_a_shard_back_asks_for_no_other_one_of_that_attempt() -> None:
    tower, flights = Tower(*(granted(str(n)) for n in range(4))), Flights()
    flights.may_land.set()
    row = seats(tower, flights, concurrency=2)
    row.pass_over(granted("declined").fence)
    row.pass_over(granted("declined").fence)
    mine = Attempt(granted("declined").fence.job_id, granted("declined").fence.epoch)
    assert row.answer(Doorbell(job_id=mine.job_id, epoch=mine.epoch, unit=3)) is False
    assert tower.claims == []
    assert row.answer(Doorbell(job_id=mine.job_id, epoch=mine.epoch + 1, unit=3)) is True
    assert row.answer(Doorbell(job_id=mine.job_id, epoch=mine.epoch, unit=0)) is True
    assert [claim.besides for claim in tower.claims] == [(mine,), (mine,)]


@pytest.mark.parametrize("declined", [True, False])
def test_only_after_a_shard_that_it_could_fly_a_worker_asks_for_more_at_once(declined: bool) -> None:
    shard = granted("a")
    bell = Doorbell(job_id=shard.fence.job_id, epoch=shard.fence.epoch, unit=2)

    def fly(_granted: Granted, _asked_at: float) -> None:
        if declined:
            row.pass_over(shard.fence)

    row = Seats(concurrency=2, worker="w", session="s", claim=lambda _: shard, fly=fly, clock=SystemClock())
    assert row.answer(bell) is True
    assert row._ask_now.is_set() is not declined


def test_a_worker_remembers_so_many_attempts_and_no_more() -> None:
    tower, flights = Tower(granted("a")), Flights()
    flights.may_land.set()
    row = seats(tower, flights, concurrency=1)
    for number in range(100):
        row.pass_over(granted(f"job-{number}").fence)
    assert row.answer(BELL) is True
    assert [one.job_id for one in tower.claims[0].besides] == [f"job-{number}" for number in range(36, 100)]
