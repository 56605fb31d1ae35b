"""Which packs can be relied on: those that the store lists with their size and that nobody has proven damaged.

A verify that reads a whole pack and finds it damaged leaves a mark, ``damaged/<sha256>``: storage
cannot tell, and the next backup must not rely on the pack. A mark never takes anything away: a false one costs the
chunks of that pack being stored a second time.

Rule of the file: one listing instead of a question per pack, so that every backup can afford it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from shared.vault import layout
from shared.vault.vault import Vault


def absent_packs(vault: Vault, sizes: Mapping[str, int]) -> list[str]:
    """Return, sorted, which of these packs the store does not list with exactly this size.

    Lists all packs of the vault: 10 requests per 10,000 packs on S3, one directory walk on a folder.
    """
    if not sizes:
        return []
    absent = dict(sizes)
    for info in vault.store.list(layout.PACKS):
        if absent.get(info.name) == info.size:
            del absent[info.name]
    return sorted(absent)


def marked_packs(vault: Vault) -> frozenset[str]:
    """Return the SHA-256 in hex of every pack that a verify has proven damaged: nearly always none, one request."""
    return frozenset(info.name.rsplit("/", 1)[1] for info in vault.store.list(layout.DAMAGED))


def mark_damaged(vault: Vault, pack: str, reason: str) -> bool:
    """Mark a pack, given by its object name, as damaged; False when it was marked already.

    Raises what the store raises for a put: a verify may run with credentials that cannot write.
    """
    said = {"pack": pack, "reason": reason, "found_at": vault.clock.now().isoformat()}
    return vault.store.put(layout.damaged_name(pack), [json.dumps(said, sort_keys=True).encode()])
