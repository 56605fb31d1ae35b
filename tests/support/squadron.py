"""A formation of helpers that are processes of their own, several at once; without a tower.

Rule of the file: like the tower it gives what was declined or failed to the lead, and nothing to two at a time.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence

from shared.contracts.work import ShardResult, Shards
from tests.support.helper import DECLINED
from tests.support.uncontrolled import Uncontrolled
from workers.engine.ports import Leg


class Squadron:
    """``before`` is what is put before a helper's command, as to run it in another view of the machine."""

    def __init__(self, store: str, *, helpers: int = 2, before: Sequence[str] = ()) -> None:
        self.helpers = helpers
        self.flown_by_helpers: list[int] = []
        self.flown_by_lead: list[int] = []
        self.declined: list[int] = []
        self.failed: list[str] = []
        self._store = store
        self._before = list(before)
        self._orders: dict[int, bytes] = {}
        self._waiting: list[int] = []
        self._free: list[int] = []
        self._results: dict[int, bytes] = {}
        self._flying: dict[int, subprocess.Popen[bytes]] = {}

    def offer(self, payloads: Sequence[bytes]) -> None:
        """See the port."""
        self._orders = dict(enumerate(payloads, 1))
        self._waiting = list(self._orders)
        self._start()

    def ask(self, have: Iterable[int]) -> Shards:
        """See the port; waits until some helper has ended, if any flies."""
        if self._flying:
            self._land(min(self._flying))
        self._start()
        held = set(have)
        results = tuple(ShardResult(unit=u, result=r) for u, r in sorted(self._results.items()) if u not in held)
        return Shards(total=len(self._orders), done=len(self._results), free=len(self._free), results=results)

    def take(self) -> Leg | None:
        """See the port."""
        if not self._free:
            return None
        unit = self._free.pop(0)
        return Leg(unit, self._orders[unit], Uncontrolled())

    def finish(self, leg: Leg, result: bytes) -> None:
        """See the port."""
        self.flown_by_lead.append(leg.unit)
        self._results[leg.unit] = result

    def drop(self, leg: Leg) -> None:
        """See the port."""

    def end(self) -> None:
        """Leave no process behind."""
        for process in self._flying.values():
            process.kill()
            process.communicate()

    def _start(self) -> None:
        while self._waiting and len(self._flying) < self.helpers:
            unit = self._waiting.pop(0)
            command = [*self._before, sys.executable, "-m", "tests.support.helper", self._store, str(unit)]
            pipe = subprocess.PIPE
            process = self._flying[unit] = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
            assert process.stdin is not None
            process.stdin.write(self._orders[unit])
            process.stdin.close()
            process.stdin = None

    def _land(self, unit: int) -> None:
        process = self._flying.pop(unit)
        report, said = process.communicate(timeout=120)
        if process.returncode == 0:
            self._results[unit] = report
            self.flown_by_helpers.append(unit)
            return
        self._free.append(unit)
        if process.returncode == DECLINED:
            self.declined.append(unit)
        else:
            self.failed.append(said.decode())
