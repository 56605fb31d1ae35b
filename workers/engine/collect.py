"""Deletes from a vault what is expired and what nobody needs any more (decision 12), beside running backups.

Every decision is a transaction of the tower; here is all reading and deleting. What happens when it dies: nothing that
any point needs was deleted, and the next run finds what is left to do, in the tower's lists or in the vault.

Rule of the file: the order of the steps.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.contracts.work import CollectDone, CollectInstruction
from shared.vault.vault import Vault
from workers.engine.collecting.compacting import compact
from workers.engine.collecting.expiring import expire
from workers.engine.collecting.fleet import Fleet
from workers.engine.collecting.marking import list_packs, mark
from workers.engine.collecting.needs import Needs
from workers.engine.collecting.round import Round
from workers.engine.collecting.settling import settle
from workers.engine.collecting.sweeping import sweep
from workers.engine.desk import CollectionDesk
from workers.engine.notices import Notices
from workers.engine.ports import Control


def run_collect(
    instruction: CollectInstruction,
    *,
    vault: Vault,
    open_key: Callable[[str], bytes],
    desk: CollectionDesk,
    control: Control,
) -> CollectDone:
    """Collect once and return what was done.

    ``open_key`` returns a machine's DEK or raises ``key-missing``: what could be of such a machine is left alone, and
    so is what could be of a machine with a manifest that cannot be read, or of one that the tower does not know.
    Raises ``Stop`` when the control says so, ``stale-claim``, ``internal`` when the protocol is broken, and the store's
    errors. Memory: about 60 bytes for each pack of the vault.
    """
    notices = Notices()
    fleet = Fleet(instruction.machines, open_key, notices)
    this = Round(vault=vault, desk=desk, control=control, fleet=fleet, notices=notices)
    this.enter("listing packs")
    listed = list_packs(vault)
    settle(this)  # so that points and packs need not wait for jobs that nobody flies any more
    freed = expire(this)
    needs = Needs(this)
    said = sweep(this, needs)
    mark(this, listed, needs=needs, condemned=said.names, freed=freed)
    if instruction.again:
        sweep(this, needs)
    compact(this, listed)
    this.stats.machines_skipped = len(fleet.skipped)
    this.stats.warnings = notices.count
    return CollectDone(stats=this.stats, warnings=notices.listed())
