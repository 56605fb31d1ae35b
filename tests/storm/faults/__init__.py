"""What the storm does to the stack, by kind: a function of the scene and of the fault's own chance each.

Partitions, silent lines, a fail-over that loses commits and a full disk under the database are tests of their own
(``tests/acceptance/test_partitions.py``, ``test_database_full.py``): they need servers that are not the stack's. What
one machine cannot do is named in ``docs/concurrency.md``. Faults of the store (kills at every call, torn puts, lost
replies, full disks, bit rot) are the matrices in ``tests/faults`` and ``tests/contract``.

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
