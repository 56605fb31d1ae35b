"""The throttles of the vaults that this process works with, and what the tower says of them.

The state folder has three small files per limited vault: two buckets and the plan. Worker processes that share the
folder share the bandwidth, and the processes that a worker starts follow the plan in it.

Rule of the file: the newest word of the tower holds, whether it came with a unit or with a renewal.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping

from shared.clock import Clock, since_boot
from shared.contracts.work import VaultRef
from shared.errors import SkyharborError
from shared.model.bandwidth import BandwidthPlan
from shared.storage.plan_file import KeptPlan
from shared.storage.throttle import Throttle, plan_path

_FILE_NAME = re.compile(r"[0-9a-zA-Z-]{1,64}")


class Throttles:
    """One throttle per vault for the life of the process. Safe to use from several threads."""

    def __init__(self, folder: str, *, clock: Clock, now: Callable[[], float] = since_boot) -> None:
        """Name the folder of the files; it is made when there is a limit to keep."""
        self._folder = folder
        self._clock, self._now = clock, now
        self._lock = threading.Lock()
        self._known: dict[str, tuple[KeptPlan, Throttle]] = {}

    def of(self, vault: VaultRef) -> Throttle:
        """Return the vault's throttle, under the plan that came with the vault. ``bad-request`` for what is no id."""
        if not _FILE_NAME.fullmatch(vault.id):
            raise SkyharborError("bad-request", f"{vault.id[:80]!r} is not the id of a vault")
        with self._lock:
            if vault.id not in self._known:
                path = os.path.join(self._folder, vault.id)
                plan = KeptPlan(plan_path(path), vault.bandwidth)
                self._known[vault.id] = plan, Throttle(path, plan.current, clock=self._clock, now=self._now)
            plan, throttle = self._known[vault.id]
            plan.change(vault.bandwidth)
            return throttle

    def learn(self, plans: Mapping[str, BandwidthPlan]) -> None:
        """Take what the tower said, by vault id; whoever waits already is held by it from the next half second on."""
        with self._lock:
            for vault_id, plan in plans.items():
                if vault_id in self._known:
                    self._known[vault_id][0].change(plan)
