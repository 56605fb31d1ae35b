"""When a worker still trusts itself, when it renews, and what makes it stop."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from shared.contracts.work import (
    Fence,
    Granted,
    ItemRef,
    MachineRef,
    PointRef,
    Progress,
    Renew,
    Renewed,
    VaultRef,
    Verdict,
    VerifyInstruction,
)
from shared.errors import SkyharborError
from tests.support.clock import FakeClock
from workers.engine.ports import Stop, StopReason
from workers.session.lease_keeper import LeaseKeeper, Tenure


def granted(job: str = "j1") -> Granted:
    point = PointRef(
        point_id="p",
        machine=MachineRef(id="m", name="m"),
        item=ItemRef(id="i", name="i"),
        vault=VaultRef(id="v", name="v", url="memory://v"),
    )
    return Granted(
        fence=Fence(job_id=job, unit=0, epoch=2, claim_id="c"),
        attempt=1,
        lease=60,
        renew_every=15,
        stop_after=40,
        instruction=VerifyInstruction(point=point),
    )


def tenure(clock: FakeClock, commit: list[Fence] | None = None) -> Tenure:
    asked = [] if commit is None else commit
    return Tenure(granted(), clock=clock, trusted_until=clock.monotonic() + 40, commit=asked.append)


def tower_away(answers: list[bool]) -> Callable[[Fence], None]:
    """A tower that gives these answers to the question for leave to seal, and is away afterwards."""

    def commit(_fence: Fence) -> None:
        if not answers or not answers.pop(0):
            raise SkyharborError("server-unreachable", "away")

    return commit


def test_a_tower_that_restarts_at_the_commit_is_asked_again_and_costs_no_attempt() -> None:
    clock = FakeClock()
    began = clock.monotonic()
    held = Tenure(granted(), clock=clock, trusted_until=began + 40, commit=tower_away([False, False, False, True]))

    held.commit()

    assert clock.monotonic() - began < 5


def test_a_tower_that_stays_away_at_the_commit_is_asked_only_while_the_unit_is_trusted() -> None:
    clock = FakeClock()
    began = clock.monotonic()
    held = Tenure(granted(), clock=clock, trusted_until=began + 40, commit=tower_away([]))

    with pytest.raises(Stop) as stop:
        held.commit()

    assert stop.value.reason is StopReason.LOST
    assert 40 < clock.monotonic() - began < 43


def stop_reason(held: Tenure) -> StopReason | None:
    try:
        held.check()
    except Stop as stop:
        return stop.reason
    return None


def test_trust_ends_forty_seconds_after_the_last_confirmed_renewal() -> None:
    clock = FakeClock()
    held = tenure(clock)
    clock.advance(39)
    held.renewed(asked_at=clock.monotonic())
    clock.advance(39.9)
    assert stop_reason(held) is None
    clock.advance(0.2)
    assert stop_reason(held) is StopReason.LOST


def test_trust_counts_from_before_the_question_not_from_the_answer() -> None:
    clock = FakeClock()
    held = tenure(clock)
    asked_at = clock.monotonic()
    clock.advance(30)  # the answer took its time
    held.renewed(asked_at=asked_at)
    clock.advance(11)
    assert stop_reason(held) is StopReason.LOST


def test_lost_overrides_cancelled_because_a_lost_unit_may_not_report() -> None:
    held = tenure(FakeClock())
    held.stop(StopReason.CANCELLED)
    held.stop(StopReason.DRAIN)
    assert stop_reason(held) is StopReason.CANCELLED
    held.stop(StopReason.LOST)
    assert stop_reason(held) is StopReason.LOST


def test_a_stopped_unit_never_asks_for_leave_to_seal() -> None:
    asked: list[Fence] = []
    held = tenure(FakeClock(), asked)
    held.commit()
    held.stop(StopReason.CANCELLED)
    with pytest.raises(Stop):
        held.commit()
    assert len(asked) == 1


@pytest.mark.parametrize(("age", "pause"), [(0.5, 1.0), (20, 4.0), (75, 15.0), (30_000, 15.0)])
def test_renewals_slow_down_with_age_up_to_what_the_tower_asks(age: float, pause: float) -> None:
    clock = FakeClock()
    held = tenure(clock)
    clock.advance(age)
    held.renewed_at = clock.monotonic() - pause + 0.01
    assert not held.due(clock.monotonic())
    held.renewed_at = clock.monotonic() - pause
    assert held.due(clock.monotonic())


class Tower:
    """Answers renewals as it was told to, and says when it has."""

    def __init__(self, *verdicts: str | None) -> None:
        self._verdicts = list(verdicts)
        self.seen: list[Renew] = []
        self.all_answered = threading.Event()

    def renew(self, message: Renew) -> Renewed:
        self.seen.append(message)
        verdict = self._verdicts.pop(0) if self._verdicts else "keep"
        if not self._verdicts:
            self.all_answered.set()
        if verdict is None:
            raise SkyharborError("server-unreachable", "away")
        return Renewed(units=tuple(Verdict(job_id=b.fence.job_id, unit=0, verdict=verdict) for b in message.units))


def kept(tower: Tower, clock: FakeClock, *, advance: float) -> Tenure:
    """A unit under the care of a running keeper until the tower has given all its answers."""
    keeper = LeaseKeeper(tower.renew, worker="w", session="s", clock=clock, on_drain=lambda: None)
    held = keeper.hold(granted(), asked_at=clock.monotonic(), commit=lambda _: None)
    held.progress(Progress(phase="reading", files_done=7))
    clock.advance(advance)
    keeper.start(idle_every=15)
    assert tower.all_answered.wait(10)
    keeper.end()
    return held


def test_a_cancel_verdict_stops_the_unit_and_progress_travels_with_the_renewal() -> None:
    tower = Tower("cancel")
    held = kept(tower, FakeClock(), advance=2)
    assert stop_reason(held) is StopReason.CANCELLED
    assert tower.seen[0].units[0].progress.files_done == 7


def test_a_lost_verdict_stops_the_unit_for_good() -> None:
    assert stop_reason(kept(Tower("lost"), FakeClock(), advance=2)) is StopReason.LOST


def test_a_silent_tower_does_not_extend_the_trust() -> None:
    clock = FakeClock()
    held = kept(Tower(None), clock, advance=30)
    clock.advance(11)
    assert stop_reason(held) is StopReason.LOST


def test_a_unit_granted_during_the_drain_is_told_to_stop_at_once() -> None:
    clock = FakeClock()
    keeper = LeaseKeeper(Tower().renew, worker="w", session="s", clock=clock, on_drain=lambda: None)
    early = keeper.hold(granted("early"), asked_at=clock.monotonic(), commit=lambda _: None)
    keeper.drain()
    late = keeper.hold(granted("late"), asked_at=clock.monotonic(), commit=lambda _: None)
    assert (stop_reason(early), stop_reason(late)) == (StopReason.DRAIN, StopReason.DRAIN)


def test_a_process_whose_name_was_taken_drains_and_ends() -> None:
    clock, ended = FakeClock(), threading.Event()

    def renew(message: Renew) -> Renewed:
        return Renewed(drain=True)

    keeper = LeaseKeeper(renew, worker="w", session="s", clock=clock, on_drain=ended.set)
    held = keeper.hold(granted(), asked_at=clock.monotonic(), commit=lambda _: None)
    clock.advance(2)
    keeper.start(idle_every=15)
    assert ended.wait(10)
    keeper.end()
    assert stop_reason(held) is StopReason.DRAIN


def test_an_answer_that_is_no_answer_does_not_end_the_renewals() -> None:
    clock, asked = FakeClock(), threading.Semaphore(0)

    def renew(message: Renew) -> Renewed:
        asked.release()
        clock.advance(5)
        raise ValueError("a page of a proxy")

    keeper = LeaseKeeper(renew, worker="w", session="s", clock=clock, on_drain=lambda: None)
    keeper.hold(granted(), asked_at=clock.monotonic(), commit=lambda _: None)
    clock.advance(2)
    keeper.start(idle_every=1)
    assert asked.acquire(timeout=10)
    assert asked.acquire(timeout=10), "it asked again after the crash"
    keeper.end()
