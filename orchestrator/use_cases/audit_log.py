"""Read the audit log.

Rule of the file: reading only; lines are written by the use case they tell of, in its transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.domain.audit import GENESIS, first_break
from orchestrator.domain.inventory import AuditEntry
from orchestrator.use_cases.ports import UnitOfWork
from shared.errors import SkyharborError

MOST_LINES = 500


def list_audit(uow: UnitOfWork, *, after: int = 0, limit: int = 100) -> Sequence[AuditEntry]:
    """Return lines with a number greater than ``after``, in order, at most ``limit`` (up to 500)."""
    if not 1 <= limit <= MOST_LINES or not 0 <= after < 1 << 62:
        raise SkyharborError("bad-request", f"limit is 1 to {MOST_LINES} and after is not negative")
    return uow.audit.after(after, limit=limit)


def check_audit(uow: UnitOfWork) -> int | None:
    """Return the number of the first line whose hash does not follow, or None when the chain is whole.

    Reads everything.
    """
    previous, seq = GENESIS, 0
    while lines := uow.audit.after(seq, limit=MOST_LINES):
        broken = first_break(lines, previous=previous, seq=seq)
        if broken is not None:
            return broken
        previous, seq = lines[-1].hash, lines[-1].seq
    return None
