"""Reservations of many jobs that wait for one thing: what they keep meanwhile of what others could use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orchestrator.domain.admission import Candidate, Holder, all_fit, choose, reserve
from orchestrator.domain.slots import GLOBAL, Places, Room
from shared.model.backup import JobKind

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
LINE, VAULT = ("bandwidth", "berlin"), ("vault", "v")
ROOM = {GLOBAL: Room(10, 10, 16), VAULT: Room(7, 7, 8), LINE: Room(2, 2, 12)}
HOLDERS = {LINE: [Holder(NOW + timedelta(minutes=10), 10)], VAULT: [Holder(NOW + timedelta(minutes=10), 1)]}


def job(name: str, *, location: str = "berlin", minutes: float = 10) -> Candidate:
    places = Places(
        kind=JobKind.BACKUP,
        tenant="t",
        location=location,
        hypervisor="",
        machine_id=f"machine of {name}",
        vault_id="v",
        mib_per_second=10,
    )
    return Candidate(
        job_id=name, epoch=0, item_id=name, places=places, rank=30, latest_start=NOW, estimate=minutes * 60
    )


def test_jobs_that_wait_for_one_line_start_one_after_the_other() -> None:
    heads = [job(f"b{number}") for number in range(8)]
    kept = reserve(heads, room=ROOM, holders=HOLDERS, now=NOW)
    starts = {reservation.job_id: (reservation.starts_at - NOW) // timedelta(minutes=1) for reservation in kept}
    assert starts == {"b0": 10, "b1": 20, "b2": 30, "b3": 40, "b4": 50, "b5": 60}


def test_a_queue_for_a_slow_line_leaves_its_vault_to_others() -> None:
    heads = [job(f"b{number}") for number in range(8)]
    other = job("o", location="oslo", minutes=15)
    kept = reserve(heads, room=ROOM, holders=HOLDERS, now=NOW)
    chosen = choose([*heads, other], room=ROOM, in_use={}, weights={}, reservations=kept, now=NOW)
    assert [need.job_id for need in chosen] == ["o"]


def test_jobs_all_fit_only_if_they_fit_together() -> None:
    heads = [job("o", location="oslo"), job("p", location="oslo")]
    assert [all_fit(heads, room={VAULT: Room(left, left, 8)}) for left in (1, 2)] == [False, True]
    assert reserve(heads, room={VAULT: Room(2, 2, 8)}, holders={}, now=NOW) == []


def test_a_job_that_waits_for_a_line_does_not_fit() -> None:
    assert not all_fit([job("b")], room=ROOM)


def test_slots_that_only_restores_may_use_are_none_for_a_backup() -> None:
    assert not all_fit([job("b")], room={GLOBAL: Room(1, 0, 16)})
