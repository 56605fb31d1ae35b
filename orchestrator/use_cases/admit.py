"""Let waiting jobs start as far as slots allow, and tell the others why they wait.

Rule of the file: one transaction decides, alone; a second one, holding no slots, explains.
"""

from __future__ import annotations

from datetime import datetime

from orchestrator.domain.admission import choose
from orchestrator.domain.system import Leadership
from orchestrator.domain.window import is_open
from orchestrator.use_cases.ports import UnitOfWork

PAGE = 200
MOST_ROUNDS = 50
"""Rounds per tick.

Every round admits something or is the last: a herd is admitted in pages and never read as a whole.
"""

MOST_PROMOTED = 5000


def admit(uow: UnitOfWork, *, leadership: Leadership | None = None) -> int:
    """Admit what fits, in order, and return how many. 0 at once when another transaction is admitting.

    Everything of a tick is kept together: states, slots, epochs, doorbells.
    """
    if not uow.admission.enter():
        return 0
    if leadership is not None:
        uow.leaders.require(leadership)
    uow.admission.promote_due(limit=MOST_PROMOTED)
    closed = closed_policies(uow, now=uow.now())
    admitted = 0
    for _ in range(MOST_ROUNDS):
        candidates = uow.admission.candidates(closed_policies=closed, limit=PAGE)
        if not candidates:
            break
        chosen = choose(candidates, uow.admission.room(candidates))
        if not chosen:
            break
        uow.admission.admit(chosen)
        admitted += len(chosen)
    if admitted:
        uow.wake()
    uow.commit()
    return admitted


def explain_waits(uow: UnitOfWork) -> int:
    """Set the wait reason of every waiting job; returns how many changed."""
    changed = uow.admission.explain_waits(closed_policies=closed_policies(uow, now=uow.now()))
    uow.commit()
    return changed


def closed_policies(uow: UnitOfWork, *, now: datetime) -> list[str]:
    """Return the names of the policies with waiting, scheduled jobs whose window is closed at ``now``.

    The newest version counts, not the one that filed the job: who corrects a window wants it to hold at once.
    """
    return [name for name, spec in uow.policies.waiting().items() if not is_open(spec.window, now)]
