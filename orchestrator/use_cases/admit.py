"""Let waiting jobs start as far as slots allow, and tell the others why they wait.

Rule of the file: one transaction decides, alone; a second one, holding no slots, explains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from orchestrator.domain.admission import MOST_HEADS, Candidate, Needs, Reservation, all_fit, choose, reserve
from orchestrator.domain.breaker import SECONDS, retries_allowed, tripped
from orchestrator.domain.retry import after_missed_start
from orchestrator.domain.slots import ScopeKey
from orchestrator.domain.system import Leadership
from orchestrator.domain.window import Closed, why_closed
from orchestrator.use_cases.ports import UnitOfWork

PAGE = 200
MOST_ROUNDS = 50
"""Rounds per tick. Every round admits something or is the last: a herd is admitted in pages, never read as a whole."""

MOST_MOVED = 5000
"""Jobs that one tick promotes or ages, each kind in one statement."""

MOST_ENDED = 200
"""Jobs that one tick expires or stops, one after the other; the rest is for the next one."""


def admit(uow: UnitOfWork, *, leadership: Leadership | None = None) -> int:
    """Admit what fits, in order, and return how many. 0 at once when another transaction is admitting.

    Everything of a tick is kept together: states, slots, epochs, doorbells.
    """
    # What a power cut takes back was never admitted: the jobs wait as before, and of claims of them, which came later,
    # nothing is left either. Waiting for the disk here would make the whole queue wait.
    uow.relax()
    if not uow.admission.enter():
        return 0
    if leadership is not None:
        uow.leaders.require(leadership)
    ended = _move_by_time(uow)
    uow.admission.count_returns()
    now = uow.now()
    closed = [name for names in closed_policies(uow, now=now).values() for name in names]
    heads = uow.admission.heads(closed_policies=closed, limit=MOST_HEADS)
    kept = _reserve(uow, heads, now=now)
    weights, in_use = uow.admission.tenants()
    admitted, besides = 0, list[ScopeKey]()
    for _ in range(MOST_ROUNDS):
        candidates = uow.admission.candidates(closed_policies=closed, besides=besides, limit=PAGE)
        room = uow.admission.room(candidates)
        chosen = choose(candidates, room=room, in_use=in_use, weights=weights, reservations=kept, now=now)
        if chosen:
            uow.admission.admit(chosen)
            admitted += len(chosen)
            in_use = _counted(in_use, candidates, chosen)
        elif candidates and kept and not besides:
            # A page of jobs that only reservations hold back must not hide others: look past what is reserved.
            besides = [scope for reservation in kept for scope in reservation.slots]
        else:
            break
    if admitted or ended:
        uow.wake()
    for action, job_id in ended:  # last, as everybody does: whoever appends has nobody's slots still to wait for
        uow.audit.append(actor="tower", action=action, target=job_id, detail={"because": "window"})
    uow.commit()
    return admitted


def _reserve(uow: UnitOfWork, heads: Sequence[Candidate], *, now: datetime) -> list[Reservation]:
    room = uow.admission.room(heads)
    if all_fit(heads, room=room):  # usual; and who holds the slots of a large installation is a long list
        return []
    return reserve(heads, room=room, holders=uow.admission.holders(heads), now=now)


def _counted(in_use: Mapping[str, int], candidates: Iterable[Candidate], chosen: Iterable[Needs]) -> Mapping[str, int]:
    tenants = {candidate.job_id: candidate.places.tenant for candidate in candidates}
    return Counter(in_use) + Counter(tenants[need.job_id] for need in chosen)


def _move_by_time(uow: UnitOfWork) -> list[tuple[str, str]]:
    """Do what only the time asks for: wake what is due, end what is late, age what waits.

    Returns what is to be told of jobs that were ended or asked to stop: action and job.
    """
    retries = retries_allowed(slots=uow.admission.slots_in_all(), running=uow.admission.retries_running())
    uow.admission.promote_due(limit=MOST_MOVED, retries=retries, tripped=_tripped(uow))
    uow.admission.age(limit=MOST_MOVED)
    missed = uow.admission.overdue_starts(limit=MOST_ENDED)
    for job_id in missed:
        job = uow.jobs.lock(job_id)
        uow.jobs.end_attempt(job, after_missed_start(job))
    late = uow.admission.stop_overdue(limit=MOST_ENDED)
    return [("job.expire", job_id) for job_id in missed] + [("job.stop", job_id) for job_id in late]


def _tripped(uow: UnitOfWork) -> Sequence[str]:
    """Return the error codes whose jobs are not tried again for now."""
    ends = uow.admission.recent_ends(seconds=SECONDS)
    failures = {code: count for code, count in ends.items() if code}
    return tripped(failures=failures, ends=sum(ends.values()))


def explain_waits(uow: UnitOfWork) -> int:
    """Set the wait reason of every waiting job; returns how many changed."""
    uow.relax()
    closed = closed_policies(uow, now=uow.now())
    changed = uow.admission.explain_waits(
        dark=closed[Closed.BLACKOUT], shut=closed[Closed.WINDOW], tripped=_tripped(uow)
    )
    uow.commit()
    return changed


def closed_policies(uow: UnitOfWork, *, now: datetime) -> dict[Closed, list[str]]:
    """Return the names of the policies with waiting, scheduled jobs that may not start at ``now``, by the reason.

    The newest version counts, not the one that filed the job: who corrects a window wants it to hold at once.
    """
    reasons = {name: why_closed(spec, now) for name, spec in uow.policies.waiting().items()}
    return {reason: [name for name, why in reasons.items() if why is reason] for reason in Closed}
