"""Create, look at and list vaults.

Rule of the file: the storage is written first, the row after it. Killed between the two, the same request again
takes the vault as it is; the audit log tells the two apart (``vault.create``, ``vault.adopt``). Nothing is overwritten.
"""

from __future__ import annotations

from orchestrator.domain.inventory import StoredVault, Vault
from orchestrator.domain.names import check_name, check_text
from orchestrator.domain.paging import Page, PageRequest
from orchestrator.use_cases.ports import UnitOfWork, VaultPort
from shared.errors import SkyharborError


def create_vault(uow: UnitOfWork, *, vaults: VaultPort, actor: str, name: str, url: str) -> Vault:
    """Make a vault at ``url`` and keep it under ``name``; one of this very name that stands there already is adopted.

    Errors: ``bad-request``, ``already-exists`` (nothing was written), ``store-*``, ``vault-exists`` (of another name),
    ``vault-not-empty``.
    """
    check_name(name, noun="vault")
    check_text(url, field="url")
    if uow.vaults.has_name(name):
        raise SkyharborError("already-exists", f"there is a vault named {name!r}")
    action, stored = _make_or_adopt(vaults, name=name, url=url)
    uow.vaults.add(stored)
    uow.audit.append(actor=actor, action=action, target=stored.id, detail={"name": name, "url": stored.url})
    uow.commit()
    return get_vault(uow, ref=stored.id)


def _make_or_adopt(vaults: VaultPort, *, name: str, url: str) -> tuple[str, StoredVault]:
    try:
        return "vault.create", vaults.create(url, name=name)
    except SkyharborError as error:
        if error.code != "vault-exists":
            raise
        stored = vaults.describe(url)
        if stored.name != name:
            raise SkyharborError("vault-exists", f"{error.detail}: its name is {stored.name!r}") from error
        return "vault.adopt", stored


def get_vault(uow: UnitOfWork, *, ref: str) -> Vault:
    """Return a vault by name or id; ``not-found``."""
    return uow.vaults.get(ref)


def list_vaults(uow: UnitOfWork, *, request: PageRequest) -> Page[Vault]:
    """Return vaults by name."""
    return uow.vaults.page(request)
