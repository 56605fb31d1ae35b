"""The end of a unit is told again through silence, and given up at a refusal."""

from __future__ import annotations

from shared.contracts.work import Cancelled, Fence, Outcome
from shared.errors import SkyharborError
from tests.support.clock import FakeClock
from workers.session.reporter import give_back, report

FENCE = Fence(job_id="j", unit=0, epoch=2, claim_id="c")


class Tower:
    """Refuses with the given codes in turn, then takes the outcome."""

    def __init__(self, *codes: str) -> None:
        self._codes = list(codes)
        self.taken: list[Outcome] = []

    def complete(self, fence: Fence, outcome: Outcome) -> None:
        assert fence == FENCE
        if self._codes:
            raise SkyharborError(self._codes.pop(0))
        self.taken.append(outcome)

    def release(self, fence: Fence) -> None:
        self.complete(fence, Cancelled())


def test_silence_is_outlasted() -> None:
    tower, clock = Tower(*["server-unreachable"] * 4), FakeClock()
    assert report(tower.complete, FENCE, Cancelled(), clock=clock, patience=60)
    assert (len(tower.taken), clock.slept) == (1, [1.0, 2.0, 4.0, 5.0])


def test_a_refusal_is_final() -> None:
    tower, clock = Tower("stale-claim"), FakeClock()
    assert not report(tower.complete, FENCE, Cancelled(), clock=clock, patience=60)
    assert (tower.taken, clock.slept) == ([], [])


def test_patience_ends_with_the_lease() -> None:
    tower, clock = Tower(*["server-unreachable"] * 100), FakeClock()
    assert not report(tower.complete, FENCE, Cancelled(), clock=clock, patience=60)
    assert sum(clock.slept) <= 60


def test_a_unit_is_given_back_through_an_outage() -> None:
    tower, clock = Tower(*["server-unreachable"] * 3), FakeClock()
    assert give_back(tower.release, FENCE, clock=clock, patience=20)
    assert (len(tower.taken), clock.slept) == (1, [1.0, 2.0, 4.0])


def test_a_unit_that_is_no_longer_ours_is_not_given_back_again() -> None:
    tower, clock = Tower("server-unreachable", "stale-claim"), FakeClock()
    assert not give_back(tower.release, FENCE, clock=clock, patience=20)
    assert (tower.taken, clock.slept) == ([], [1.0])


def test_a_worker_that_must_end_does_not_wait_for_a_tower_that_stays_away() -> None:
    tower, clock = Tower(*["server-unreachable"] * 100), FakeClock()
    assert not give_back(tower.release, FENCE, clock=clock, patience=20)
    assert sum(clock.slept) <= 20


def test_even_without_patience_the_tower_is_told_once() -> None:
    tower, clock = Tower(), FakeClock()
    assert give_back(tower.release, FENCE, clock=clock, patience=0)
    assert (len(tower.taken), clock.slept) == (1, [])
