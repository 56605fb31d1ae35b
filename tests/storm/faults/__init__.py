"""What the storm does to the stack, by kind: a function of the scene and of the fault's own chance each.

Not done, because one machine cannot: a partition between hosts, a fail-over to a standby that lost commits, half-open
TCP, the loss of a disk under the database. Faults of the store (kills at every call, torn puts, lost replies, full
disks, bit rot) are the matrices in ``tests/faults`` and ``tests/contract``.

Rule of the package: a fault ends before its function returns, but for what the stack has to repair by itself. The
function says whether anything was hit: a fault that found nothing to break is not counted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from tests.storm.faults import broker, database, people, processes, stale
from tests.storm.scene import Scene

Fault = Callable[[Scene, random.Random], bool]

QUICK: Mapping[str, Fault] = {**processes.QUICK, **broker.KINDS, **database.KINDS, **people.KINDS, **stale.KINDS}
"""Faults of a second or a few."""

GUSTS = ("cancelled", "leases over", "retried", "stale fences", "forged fences", "hand killed")
"""Quick ones that take no time at all."""

SLOW: Mapping[str, Fault] = processes.SLOW
"""Faults that take a lease or a start of the whole stack."""
