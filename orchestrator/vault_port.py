"""The vaults as the control plane sees them: made and described on real storage, never opened for data.

Rule of the file: the adapter of the use cases' ``VaultPort``; it holds no credentials and no keys.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime

import structlog

from orchestrator.domain.inventory import StoredVault
from shared.errors import SkyharborError
from shared.storage.object_store import ObjectStore
from shared.storage.open import create_store, open_store
from shared.storage.probe import probe
from shared.storage.retrying import RetryRule
from shared.vault.vault import VaultHeader, create_vault, open_vault

log = structlog.get_logger()

_RULE = RetryRule(patience=15.0)
"""Somebody waits at a prompt, whose own patience is 30 s."""


class VaultsOnStorage:
    """Opens stores by URL with the credentials of this process's environment."""

    def create(self, url: str, *, name: str) -> StoredVault:
        """Make a vault at an empty place, after the store has proved itself.

        Raises ``vault-exists``, ``vault-not-empty`` (nothing is changed then), ``store-*``. Killed in between: an empty
        folder may remain, which the next call takes.
        """
        with _closing(create_store(url, rule=_RULE)) as store:
            if next(iter(store.list()), None) is None:  # what is there is not ours to write a probe beside
                for lack in probe(store):
                    log.warning("store.lacks", store=store.describe(), what=lack)
            return _stored(create_vault(store, name=name), url)

    def describe(self, url: str) -> StoredVault:
        """Read the header of an existing vault.

        Raises ``vault-missing``, ``vault-unsupported``, ``store-*``, and ``object-damaged`` for a vault that can be
        read but whose header had to be pieced together: nobody should build on that without looking.
        """
        with _closing(open_store(url, rule=_RULE)) as store:
            vault = open_vault(store)
            if vault.problems:
                raise SkyharborError("object-damaged", f"{url}: {'; '.join(vault.problems)}")
            return _stored(vault.header, url)


def _stored(header: VaultHeader, url: str) -> StoredVault:
    return StoredVault(id=header.id, name=header.name, url=url, created_at=datetime.fromisoformat(header.created_at))


@contextlib.contextmanager
def _closing(store: ObjectStore) -> Iterator[ObjectStore]:
    try:
        yield store
    finally:
        store.close()
