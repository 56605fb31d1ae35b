"""Seal the audit log, and read it.

Rule of the file: a line is told by the use case that it tells of, in its transaction; here it is chained. Whoever reads
seals first, so a reader sees everything that was committed before he asked, and all of it chained.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.domain.audit import GENESIS, first_break
from orchestrator.domain.inventory import AuditEntry
from orchestrator.use_cases.ports import UnitOfWork
from shared.errors import SkyharborError

MOST_LINES = 500

SEALED_AT_ONCE = 1000
"""Lines that one transaction chains."""


def seal_audit(uow: UnitOfWork) -> int:
    """Chain what was told, in one transaction, and return how many lines; ``SEALED_AT_ONCE`` means that more may wait.

    Durable when it returns: a line that anybody has read in the chain stays there. Killed in between, nothing moved.
    """
    sealed = uow.audit.seal(limit=SEALED_AT_ONCE)
    uow.commit()
    return sealed


def _seal_all(uow: UnitOfWork) -> None:
    while seal_audit(uow) == SEALED_AT_ONCE:
        pass


def list_audit(uow: UnitOfWork, *, after: int = 0, limit: int = 100) -> Sequence[AuditEntry]:
    """Return lines with a number greater than ``after``, in order, at most ``limit`` (up to 500). Seals before."""
    if not 1 <= limit <= MOST_LINES or not 0 <= after < 1 << 62:
        raise SkyharborError("bad-request", f"limit is 1 to {MOST_LINES} and after is not negative")
    _seal_all(uow)
    return uow.audit.after(after, limit=limit)


def count_unsealed(uow: UnitOfWork) -> int:
    """Return how many lines are told and not in the chain yet: nothing proves those against a change."""
    return uow.audit.unsealed()


def check_audit(uow: UnitOfWork) -> int | None:
    """Return the number of the first line whose hash does not follow, or None when the chain is whole.

    Seals before, and reads everything.
    """
    _seal_all(uow)
    previous, seq = GENESIS, 0
    while lines := uow.audit.after(seq, limit=MOST_LINES):
        broken = first_break(lines, previous=previous, seq=seq)
        if broken is not None:
            return broken
        previous, seq = lines[-1].hash, lines[-1].seq
    return None
