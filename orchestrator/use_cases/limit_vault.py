"""Say how fast machines may use a vault.

Rule of the file: the new plan replaces the old one as a whole. Running jobs hear of it with their next renewal.
"""

from __future__ import annotations

import msgspec

from orchestrator.domain.bandwidth import check_plan
from orchestrator.domain.inventory import Vault
from orchestrator.use_cases.ports import UnitOfWork
from shared.model.bandwidth import BandwidthPlan


def limit_vault(uow: UnitOfWork, *, actor: str, ref: str, plan: BandwidthPlan) -> Vault:
    """Set the bandwidth plan of a vault and return the vault. Errors: ``not-found``, ``bad-request``."""
    check_plan(plan)
    vault = uow.vaults.get(ref)
    if plan != vault.bandwidth:
        uow.vaults.limit(vault.id, plan)
        uow.audit.append(actor=actor, action="vault.limit", target=vault.id, detail=msgspec.to_builtins(plan))
        uow.commit()
    return uow.vaults.get(vault.id)
