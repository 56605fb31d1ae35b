"""What every step of one collection works with.

Rule of the file: values and counts; no step.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.contracts.work import Progress
from shared.model.backup import CollectStats
from shared.vault.pack_set import PackSet
from shared.vault.vault import Vault
from workers.engine.collecting.fleet import Fleet
from workers.engine.desk import CollectionDesk
from workers.engine.notices import Notices
from workers.engine.ports import Control


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One collection. Used by one thread."""

    vault: Vault
    desk: CollectionDesk
    control: Control
    fleet: Fleet
    notices: Notices
    stats: CollectStats = field(default_factory=CollectStats)
    deleted: PackSet = field(default_factory=PackSet)
    """The packs that this run has deleted."""

    def enter(self, phase: str) -> None:
        """Say what is done next. Raises ``Stop`` when the unit must end."""
        self.control.check()
        self.control.progress(Progress(phase=phase, bytes_done=self.stats.bytes_deleted))
