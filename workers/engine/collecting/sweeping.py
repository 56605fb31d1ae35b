"""Deletes condemned packs that are ripe and that no manifest needs.

What happens when it dies: packs that are doomed and not yet deleted, or deleted and not yet reported, are named again
to the next run, which deletes what is left of them.

Rule of the file: manifests are listed after the answer that says what is ripe, and only what was ripe in that answer is
doomed. A needed pack is never deleted: if it were doomed the protocol would be broken, and that ends the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from shared.contracts.collect import MOST_LISTED
from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.layout import damaged_name
from shared.vault.pack_list import PackList
from shared.vault.pack_owner import pack_owner
from shared.vault.pack_presence import marked_packs
from shared.vault.pack_set import PackSet
from workers.engine.collecting.abreast import abreast
from workers.engine.collecting.needs import Needs
from workers.engine.collecting.round import Round
from workers.engine.collecting.settling import settle
from workers.engine.condemned import condemned_packs

_Packs = list[tuple[str, int]]


@dataclass(slots=True)
class Condemned:
    """What the tower said of condemned packs, all pages of it."""

    names: PackSet = field(default_factory=PackSet)
    doomed: PackList = field(default_factory=PackList)
    ripe: PackList = field(default_factory=PackList)
    waiting: PackList = field(default_factory=PackList)


def sweep(this: Round, needs: Needs) -> Condemned:
    """Ask, settle, read, revive, doom, delete. Returns what the tower had said before anything was done."""
    this.enter("asking for ripe packs")
    said = _ask(this)
    settle(this)
    needs.refresh()
    this.enter("sweeping")
    marks = marked_packs(this.vault) if len(said.names) else frozenset()
    for batch in said.doomed.batches(MOST_LISTED):
        _delete(this, batch, needs, marks)
    this.stats.packs_waiting = this.stats.bytes_waiting = 0
    for batch in said.waiting.batches(MOST_LISTED):
        _note_waiting(this, _revive(this, batch, needs))
    for batch in said.ripe.batches(MOST_LISTED):
        _sweep(this, _revive(this, batch, needs), needs, marks)
    return said


def _ask(this: Round) -> Condemned:
    said = Condemned()
    for pack in condemned_packs(this.desk):
        (said.doomed if pack.doomed else said.ripe if pack.ripe else said.waiting).append(pack.name, pack.size)
    for packs in (said.doomed, said.ripe, said.waiting):
        for batch in packs.batches(MOST_LISTED):
            said.names.add(name for name, _ in batch)
    return said


def _revive(this: Round, batch: _Packs, needs: Needs) -> _Packs:
    """Take back what a manifest needs, and return the others."""
    needed = needs.packs.holds([name for name, _ in batch]).tolist()
    back = [name for (name, _), wanted in zip(batch, needed, strict=True) if wanted]
    if back:
        this.desk.condemn((), back)
        this.stats.packs_revived += len(back)
    return [pack for pack, wanted in zip(batch, needed, strict=True) if not wanted]


def _sweep(this: Round, batch: _Packs, needs: Needs, marks: frozenset[str]) -> None:
    mine = list(_provable(this, batch))
    if mine:
        asked = dict(mine)
        allowed = this.desk.doom(list(asked))
        if not asked.keys() >= set(allowed):
            raise SkyharborError("internal", "the tower doomed packs that nobody asked for; none was deleted")
        _delete(this, [(name, asked[name]) for name in allowed], needs, marks)
        for name in allowed:
            del asked[name]
        _note_waiting(this, list(asked.items()))
    hidden = len(batch) - len(mine)
    if hidden:
        message = f"{hidden} packs stay condemned: they may be of machines whose points could not all be read"
        this.notices.add(Notice("", "packs-hidden", message))
        proven = set(mine)
        _note_waiting(this, [pack for pack in batch if pack not in proven])


def _provable(this: Round, batch: _Packs) -> Iterator[tuple[str, int]]:
    """Yield the packs that no manifest can need which we could not read."""
    if not this.fleet.skipped:
        yield from batch
        return
    keys, vault = this.fleet.known_keys(), this.vault
    for pack, owner in abreast(
        batch,
        lambda pack: pack_owner(vault.store, pack[0], keys, vault_id=vault.id),
        check=this.control.check,
    ):
        if owner is not None:
            yield pack


def _delete(this: Round, packs: Sequence[tuple[str, int]], needs: Needs, marks: frozenset[str]) -> None:
    """Delete doomed packs, tell the tower, count."""
    if not packs:
        return
    names = [name for name, _ in packs]
    if needs.packs.holds(names).any():
        needed = next(name for name in names if name in needs.packs)
        raise SkyharborError("internal", f"{needed} was doomed and a point needs it; it was not deleted")

    def delete(pack: tuple[str, int]) -> bool:
        mark = damaged_name(pack[0])
        if mark.rsplit("/", 1)[1] in marks:
            this.vault.store.delete(mark)
        return this.vault.store.delete(pack[0])

    for (_, size), was_there in abreast(packs, delete, check=this.control.check):
        # Some are named again and again: an earlier collector that sleeps may still delete them.
        this.stats.packs_deleted += was_there
        this.stats.bytes_deleted += size if was_there else 0
    this.desk.deleted(names)
    this.deleted.add(names)


def _note_waiting(this: Round, packs: Sequence[tuple[str, int]]) -> None:
    this.stats.packs_waiting += len(packs)
    this.stats.bytes_waiting += sum(size for _, size in packs)
