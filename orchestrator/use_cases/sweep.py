"""Ring again where nobody came, and forget what is no longer needed.

Rule of the file: only doorbells and keys are ever deleted; jobs, fires, points and audit lines are not ours.
"""

from __future__ import annotations

from orchestrator.domain.system import Leadership
from orchestrator.use_cases.ports import UnitOfWork
from orchestrator.use_cases.requests import KEY_DAYS

RING_AGAIN_SECONDS = 20.0
"""A broker that lost the doorbell, or a worker that died on its way to the claim, costs this much."""

OUTBOX_DAYS = 7


def ring_again(uow: UnitOfWork, *, leadership: Leadership | None = None) -> int:
    """Ring for admitted jobs that nobody claimed for 20 s; at most once per 20 s and job, for as long as it takes."""
    if leadership is not None:
        uow.leaders.require(leadership)
    rung = uow.outbox.ring_again(after=RING_AGAIN_SECONDS)
    if rung:
        uow.wake()
    uow.commit()
    return rung


def sweep(uow: UnitOfWork, *, leadership: Leadership | None = None) -> int:
    """Delete rung doorbells and Idempotency-Keys older than a week, and return how many; count jobs that have ended."""
    if leadership is not None:
        uow.leaders.require(leadership)
    removed = uow.outbox.sweep(days=OUTBOX_DAYS) + uow.keys.sweep(days=KEY_DAYS)
    uow.jobs.tally()
    uow.commit()
    return removed
