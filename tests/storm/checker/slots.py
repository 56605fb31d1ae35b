"""I3, and the half of I2 that is about time: what is held at one instant, and how it may change to the next.

Rule of the file: a sample is one statement, so it sees one moment; judging needs no database.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.storm.checker.violation import Violation

Scope = tuple[str, str]
Holder = tuple[str, int]
"""A job and the epoch at which it took the slots."""


@dataclass(frozen=True)
class ScopeSample:
    """One scope: how much there is, how much an operator wants, what the tower counts, and who holds how much.

    ``returned`` was given back by ended attempts and is still counted as in use.
    """

    capacity: int
    wanted: int
    in_use: int
    paused: bool
    holds: dict[Holder, int]
    returned: int = 0

    @property
    def held(self) -> int:
        """The sum of the holds."""
        return sum(self.holds.values())


@dataclass(frozen=True)
class SlotSample:
    """All scopes at one moment, and the jobs that must or may hold slots then: (id, item, kind, claimed)."""

    at: float
    scopes: dict[Scope, ScopeSample]
    active: tuple[tuple[str, str, str, bool], ...]


_SQL = """
SELECT
  extract(epoch FROM clock_timestamp())::float8,
  (SELECT json_agg(json_build_array(s.scope, s.key, s.capacity, s.wanted, s.in_use, s.paused)) FROM slot_scope s),
  (SELECT json_agg(json_build_array(h.scope, h.key, h.job_id, h.epoch, h.n)) FROM slot_hold h),
  (SELECT json_agg(json_build_array(r.scope, r.key, r.n)) FROM slot_return r),
  (SELECT json_agg(json_build_array(j.id, j.item_id, j.kind, j.state <> 'available')) FROM job j
   WHERE j.state IN ('running', 'committing') OR (j.state = 'available' AND j.admitted_at IS NOT NULL))
"""


def take_sample(connection: psycopg.Connection[Any]) -> SlotSample:
    """Read one moment."""
    row = connection.execute(_SQL).fetchone()
    assert row is not None
    at, scopes, holds, returns, active = row
    returned: Counter[Scope] = Counter()
    for scope, key, number in returns or ():
        returned[scope, key] += number
    held: dict[Scope, dict[Holder, int]] = {}
    for scope, key, job, epoch, number in holds or ():
        held.setdefault((scope, key), {})[(job, epoch)] = number
    sampled = {
        (scope, key): ScopeSample(capacity, wanted, in_use, paused, held.get((scope, key), {}), returned[scope, key])
        for scope, key, capacity, wanted, in_use, paused in scopes or ()
    }
    return SlotSample(at, sampled, tuple((job, item, kind, claimed) for job, item, kind, claimed in active or ()))


def judge(sample: SlotSample) -> list[Violation]:
    """I3 at one moment; I2: two backups of one item under way."""
    found = []
    for scope, state in sample.scopes.items():
        if state.held > state.capacity or state.in_use > state.capacity:
            found.append(Violation("I3", f"{scope} holds {state.held} of {state.capacity}", state))
        if state.in_use != state.held + state.returned:
            found.append(Violation("I3", f"{scope} counts {state.in_use} in use, held are {state.held}", state))
    holders = {job for state in sample.scopes.values() for job, _ in state.holds}
    active = {job for job, _, _, _ in sample.active}
    found += [Violation("I3", f"job {job} holds slots and is not under way") for job in sorted(holders - active)]
    found += [Violation("I3", f"job {job} is under way without a slot") for job in sorted(active - holders)]
    backups = Counter(item for _, item, kind, _ in sample.active if kind == "backup")
    found += [Violation("I2", f"{n} backups of item {item} are under way") for item, n in backups.items() if n > 1]
    return found


def judge_step(before: SlotSample, after: SlotSample) -> list[Violation]:
    """I3 from one sample to the next, as far as nobody has changed the limits in between.

    Above what an operator wants nothing new is given out, under a pause neither.
    """
    found = []
    for scope, now in after.scopes.items():
        then = before.scopes.get(scope)
        if then is None or (then.wanted, then.paused) != (now.wanted, now.paused):
            continue
        if now.held > max(now.wanted, then.held):
            found.append(Violation("I3", f"{scope} grew to {now.held}, wanted are {now.wanted}", (then, now)))
        new = now.holds.keys() - then.holds.keys()
        if now.paused and new:
            found.append(Violation("I3", f"{scope} is paused and was given to {sorted(new)}", (then, now)))
    return found


def judge_idle(sample: SlotSample) -> list[Violation]:
    """I3: whatever is held though nothing is under way."""
    return [
        Violation("I3", f"{scope} is in use though nothing runs", state)
        for scope, state in sample.scopes.items()
        if state.held or state.in_use != state.returned
    ]
