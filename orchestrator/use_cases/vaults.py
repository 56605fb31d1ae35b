"""Create, look at and list vaults.

Rule of the file: the storage is written first, the row after it. Killed between the two, the place answers
``vault-exists``
to the next attempt: nothing is ever adopted or overwritten silently.
"""

from __future__ import annotations

from orchestrator.domain.inventory import Vault
from orchestrator.domain.names import check_name, check_text
from orchestrator.domain.paging import Page, PageRequest
from orchestrator.use_cases.ports import UnitOfWork, VaultPort
from shared.errors import SkyharborError


def create_vault(uow: UnitOfWork, *, vaults: VaultPort, actor: str, name: str, url: str) -> Vault:
    """Make a vault at ``url`` and keep it under ``name``.

    Errors: ``bad-request``, ``already-exists`` (nothing was written), ``store-*``, ``vault-exists``,
    ``vault-not-empty``.
    """
    check_name(name, noun="vault")
    check_text(url, field="url")
    if uow.vaults.has_name(name):
        raise SkyharborError("already-exists", f"there is a vault named {name!r}")
    stored = vaults.create(url, name=name)
    uow.vaults.add(stored)
    uow.audit.append(actor=actor, action="vault.create", target=stored.id, detail={"name": name, "url": stored.url})
    uow.commit()
    return get_vault(uow, ref=stored.id)


def get_vault(uow: UnitOfWork, *, ref: str) -> Vault:
    """Return a vault by name or id; ``not-found``."""
    return uow.vaults.get(ref)


def list_vaults(uow: UnitOfWork, *, request: PageRequest) -> Page[Vault]:
    """Return vaults by name."""
    return uow.vaults.page(request)
