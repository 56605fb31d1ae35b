"""Puts small index segments of a machine together, without the rows of packs that are gone.

What happens when it dies: the new segment is there before the old ones go, so rows are there twice, which means
nothing. A backup that meets a segment which has just gone rebuilds what it needs of it from packs.

Rule of the file: a segment is deleted only after another one with all its rows that count is durable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from shared.contracts.collect import MOST_LISTED
from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.storage.object_store import ObjectInfo
from shared.vault import layout
from shared.vault.chunk_table import ChunkTable, merge
from shared.vault.index_segment import decode_index, encode_index
from shared.vault.pack_list import PackList
from shared.vault.pack_set import PackSet
from workers.engine.collecting.abreast import abreast
from workers.engine.collecting.round import Round

_MANY = 64
"""So many segments of a machine are worth the work: a backup leaves at least one."""
_MOST = 64 * 1024 * 1024
"""Bytes of segments that are taken together. Expanded they take a few times as much."""


def compact(this: Round, listed: PackList) -> None:
    """Compact the index of every machine that has many segments and no backup under way.

    ``listed`` are the packs that the vault had when the run began.
    """
    there = PackSet()
    for machine, keys in this.fleet.idle():
        found = _segments(this, machine)
        if len(found) < _MANY:
            continue
        this.enter("compacting the index")
        if not len(there):
            for batch in listed.batches(MOST_LISTED):
                there.add(name for name, _ in batch)
        read = list(_read(this, machine, keys, found))
        if len(read) > 1:
            _replace(this, machine, keys, read, there)


def _segments(this: Round, machine: str) -> list[ObjectInfo]:
    listed = this.vault.store.list(layout.index_prefix(machine))
    return [info for info in listed if layout.is_digest(info.name.rsplit("/", 1)[1])]


def _read(this: Round, machine: str, keys: DomainKeys, found: list[ObjectInfo]) -> Iterator[tuple[str, ChunkTable]]:
    """Yield the tables of small segments, so many as fit; one that is damaged is left where it is."""
    for info, table in abreast(
        _small(found), lambda info: _decoded(this, machine, keys, info.name), check=this.control.check
    ):
        if table is not None:
            yield info.name, table


def _small(found: list[ObjectInfo]) -> Iterator[ObjectInfo]:
    room = _MOST
    for info in sorted(found, key=lambda info: info.size):
        room -= info.size
        if room < 0:
            return
        yield info


def _decoded(this: Round, machine: str, keys: DomainKeys, name: str) -> ChunkTable | None:
    try:
        data = this.vault.store.get(name)
        return decode_index(data, name=name, keys=keys, vault_id=this.vault.id, machine_id=machine)
    except SkyharborError as error:
        if error.code not in ("object-damaged", "object-missing"):
            raise
        return None


def _replace(this: Round, machine: str, keys: DomainKeys, read: list[tuple[str, ChunkTable]], there: PackSet) -> None:
    table = merge([table for _, table in read])
    names = [info.name for info in table.packs]
    doubtful = ~there.holds(names) | this.deleted.holds(names)
    # Deleted by an earlier run, or put since this one began: the store knows.
    gone = np.array(
        [unsure and this.vault.store.size(name) is None for name, unsure in zip(names, doubtful, strict=True)]
    )
    table = table.without(gone.astype(bool))
    if len(table):
        data = encode_index(table, keys=keys, vault_id=this.vault.id, machine_id=machine)
        this.vault.store.put(layout.index_name(machine, hashlib.sha256(data).hexdigest()), [data])
    for _ in abreast([name for name, _ in read], this.vault.store.delete, check=this.control.check):
        pass
