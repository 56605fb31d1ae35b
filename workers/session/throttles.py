"""The throttles of the vaults that this process works with, and what the tower says of them.

The state folder has two small files per vault and limited direction; worker processes that share the folder share
the bandwidth.

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
from shared.storage.throttle import Throttle

_FILE_NAME = re.compile(r"[0-9a-zA-Z-]{1,64}")


class Throttles:
    """One throttle per vault for the life of the process. Safe to use from several threads."""

    def __init__(self, folder: str, *, clock: Clock, now: Callable[[], float] = since_boot) -> None:
        """Name the folder of the files; it is made when there is a limit to keep."""
        self._folder = folder
        self._clock, self._now = clock, now
        self._lock = threading.Lock()
        self._throttles: dict[str, Throttle] = {}

    def of(self, vault: VaultRef) -> Throttle:
        """Return the vault's throttle, under the plan that came with the vault. ``bad-request`` for what is no id."""
        if not _FILE_NAME.fullmatch(vault.id):
            raise SkyharborError("bad-request", f"{vault.id[:80]!r} is not the id of a vault")
        with self._lock:
            throttle = self._throttles.get(vault.id)
            if throttle is None:
                path = os.path.join(self._folder, vault.id)
                throttle = self._throttles[vault.id] = Throttle(path, vault.bandwidth, clock=self._clock, now=self._now)
            throttle.plan = vault.bandwidth
            return throttle

    def learn(self, plans: Mapping[str, BandwidthPlan]) -> None:
        """Take what the tower said, by vault id; whoever waits already is held by it from the next half second on."""
        with self._lock:
            for vault_id, plan in plans.items():
                throttle = self._throttles.get(vault_id)
                if throttle is not None:
                    throttle.plan = plan
