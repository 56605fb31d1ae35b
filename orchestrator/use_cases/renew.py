"""Prolong the leases of one worker process, and tell it what has become of its units.

Rule of the file: one short transaction for all units; a fence that is not current is answered ``lost`` and changes
nothing.
"""

from __future__ import annotations

import msgspec

from orchestrator.domain.names import printable
from orchestrator.domain.work import Beat
from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.work import Heartbeat, Renew, Renewed, Verdict
from shared.errors import SkyharborError

MOST_UNITS = 1000
_BIGGEST = (1 << 63) - 1


def renew(uow: UnitOfWork, *, message: Renew) -> Renewed:
    """Renew what is still the worker's. Verdicts come in the order asked; an empty list is a sign of life."""
    if len(message.units) > MOST_UNITS:
        raise SkyharborError("bad-request", f"at most {MOST_UNITS} units in one renewal")
    uow.relax()  # a lease that is a second older after a power cut is still a lease
    current = uow.workers.seen(message.worker, message.session)
    alive = {}
    if current and message.units:
        alive = {(unit.job_id, unit.unit): unit for unit in uow.units.renew([_beat(beat) for beat in message.units])}
    uow.commit()
    verdicts = []
    for beat in message.units:
        unit = alive.get((beat.fence.job_id, beat.fence.unit))
        verdict = "lost" if unit is None else "cancel" if unit.cancel else "keep"
        verdicts.append(Verdict(job_id=beat.fence.job_id, unit=beat.fence.unit, verdict=verdict))
    bandwidth = {unit.vault_id: unit.bandwidth for unit in alive.values()}
    return Renewed(units=tuple(verdicts), drain=not current, bandwidth=bandwidth)


def _beat(beat: Heartbeat) -> Beat:
    progress = msgspec.to_builtins(beat.progress)
    kept = {
        key: printable(value)[:100] if isinstance(value, str) else max(0, min(value, _BIGGEST))
        for key, value in progress.items()
    }
    return Beat(beat.fence, kept)
