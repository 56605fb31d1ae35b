"""Condemns packs that no manifest needs.

Rule of the file: candidates are packs that were listed when the run began, before any manifest was read: what a backup
puts later is not looked at. A candidate is condemned only when it opens with a key that hides nothing.
"""

from __future__ import annotations

from shared.contracts.collect import MOST_LISTED, GivenUp
from shared.errors import SkyharborError
from shared.vault import layout
from shared.vault.pack_list import PackList
from shared.vault.pack_owner import pack_owner
from shared.vault.pack_set import PackSet
from shared.vault.vault import Vault
from workers.engine.collecting.abreast import abreast
from workers.engine.collecting.needs import Needs
from workers.engine.collecting.round import Round

_BATCH = 4096


def list_packs(vault: Vault) -> PackList:
    """Return all packs of the vault."""
    packs = PackList()
    for info in vault.store.list(layout.PACKS):
        if layout.parse_pack(info.name) is not None:
            packs.append(info.name, info.size)
    return packs


def mark(this: Round, listed: PackList, *, needs: Needs, condemned: PackSet, freed: PackSet) -> None:
    """Condemn those of the listed packs that nobody needs, but for those that are ``condemned`` already.

    Of a machine with a backup that is not finished only packs in ``freed`` are condemned, which expired points needed:
    the others may be what an interrupted backup will find again.
    """
    this.enter("marking")
    given_up: list[GivenUp] = []
    for batch in listed.batches(_BATCH):
        names = [name for name, _ in batch]
        needed = needs.packs.holds(names)
        for (_, size), wanted in zip(batch, needed.tolist(), strict=True):
            this.stats.packs_needed += wanted
            this.stats.bytes_needed += size if wanted else 0
        idle = ~needed & ~condemned.holds(names)
        given_up += _garbage(this, [pack for pack, yes in zip(batch, idle.tolist(), strict=True) if yes], freed)
        while len(given_up) >= MOST_LISTED:
            _condemn(this, given_up[:MOST_LISTED], needs)
            del given_up[:MOST_LISTED]
    _condemn(this, given_up, needs)


def _garbage(this: Round, packs: list[tuple[str, int]], freed: PackSet) -> list[GivenUp]:
    known, idle = this.fleet.known_keys(), set(this.fleet.idle_keys())
    vault, found = this.vault, []
    for (name, size), owner in abreast(
        packs,
        lambda pack: pack_owner(vault.store, pack[0], known, vault_id=vault.id),
        check=this.control.check,
    ):
        if owner is not None and (owner in idle or name in freed):
            found.append(GivenUp(name, size))
    return found


def _condemn(this: Round, packs: list[GivenUp], needs: Needs) -> None:
    if not packs:
        return
    if needs.packs.holds([pack.name for pack in packs]).any():
        raise SkyharborError("internal", "a pack that a point needs was about to be condemned; none was")
    this.desk.condemn(packs, ())
    size = sum(pack.size for pack in packs)
    this.stats.packs_condemned += len(packs)
    this.stats.bytes_condemned += size
    this.stats.packs_waiting += len(packs)
    this.stats.bytes_waiting += size
