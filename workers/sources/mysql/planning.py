"""Decides what the next step is: an increment on the last point, or a full.

An increment has the pages whose sequence number is above that of the last point. That is right only for the very server
that the point was made of: one that was put back to an earlier state meanwhile, and has written on, gives the same
numbers to other changes. So an increment needs a proof that nothing was put back: that the server has been running
since before the last point was begun, or that its log of changes is, byte for byte, the same up to where that point
was.

Rule of the file: decisions with their reasons, from values; only the log is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from shared.model.backup import Notice
from workers.sources.mysql.binlogs import Gap, proof_of
from workers.sources.mysql.chain import STATE, Info, decoded
from workers.sources.mysql.server import Facts


@dataclass(frozen=True, slots=True)
class Plan:
    """``before`` is what of the last point stays in the new one; without, everything begins anew.

    ``from_lsn`` is 0 for a full. ``log_goes_on``: the log of changes is the one of the last point.
    """

    before: Info | None
    from_lsn: int
    log_goes_on: bool
    notices: tuple[Notice, ...]

    @classmethod
    def full(cls, *notices: Notice) -> Plan:
        """Begin anew."""
        return cls(before=None, from_lsn=0, log_goes_on=False, notices=notices)


def plan_for(state: Mapping[str, str] | None, facts: Facts, *, inode: int) -> Plan:
    """Return what to do on top of a point with this state; None where there is no point to go on from."""
    if state is None:
        return Plan.full()
    before = decoded(state.get(STATE, ""))
    if before is None:
        return _anew(facts, "the last point does not say where it ends")
    log_goes_on = _same_log(before, facts)
    reason = _why_not(before, facts, inode=inode, log_goes_on=log_goes_on)
    if reason is not None:
        return _anew(facts, reason)
    if not before.wants_full:
        return Plan(before.trimmed(), before.last.to_lsn, log_goes_on, ())
    # With the steps before it, so that moments between the last increment and the new full can be restored.
    kept = before.trimmed() if log_goes_on else None
    return Plan(kept, 0, log_goes_on, ())


def _anew(facts: Facts, reason: str) -> Plan:
    return Plan.full(
        Notice(facts.datadir, "full-instead", f"{reason}: everything is read, and the window begins again")
    )


def _why_not(before: Info, facts: Facts, *, inode: int, log_goes_on: bool) -> str | None:
    if before.series != facts.series:
        return f"the server was {before.series} and is {facts.series} now"
    if before.hostname != facts.hostname or before.datadir != facts.datadir or before.inode != inode:
        return "the data folder is another one than at the last point"
    if facts.lsn < before.last.to_lsn:
        return "the server has been put back to an earlier state"
    if not log_goes_on and facts.started_before >= before.last.not_before:
        return "the server was started since the last point, and no log of changes proves that it is the same"
    return None


def _same_log(before: Info, facts: Facts) -> bool:
    if before.last.binlog is None or not before.proof or not facts.binlog:
        return False
    try:
        return proof_of(os.path.dirname(facts.binlog), before.last.binlog) == before.proof
    except Gap:
        return False
