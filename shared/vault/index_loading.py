"""Reading a machine's index segments, through a local cache, and rebuilding what cannot be read.

Rule of the file: nothing that is wrong with an index segment, the cache or a pack stops a backup; a store that cannot
be reached does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container
from dataclasses import dataclass, field

import numpy as np

from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.storage.object_store import ObjectInfo
from shared.vault import layout
from shared.vault.chunk_table import ChunkTable
from shared.vault.index_cache import IndexCache
from shared.vault.index_segment import decode_index
from shared.vault.manifest import read_manifest
from shared.vault.pack_reading import read_directory, scan_frames
from shared.vault.point import PackRef
from shared.vault.vault import Vault

_BROKEN = ("object-damaged", "object-missing")
_POINTS_PER_ITEM = 3
"""How far back a rebuild looks: older packs are found again when a point that needs them is read."""


@dataclass(slots=True)
class LoadedTables:
    """What loading found; ``names`` are the segments that were looked at."""

    tables: list[ChunkTable] = field(default_factory=list)
    names: frozenset[str] = frozenset()
    problems: list[str] = field(default_factory=list)
    recovered: list[ChunkTable] = field(default_factory=list)


def load_tables(vault: Vault, machine_id: str, keys: DomainKeys, *, cache_dir: str | None) -> LoadedTables:
    """Return all tables of the machine's index; see ``ChunkIndex.load``."""
    cache = IndexCache(cache_dir, vault.id, machine_id)
    segments = _segments(vault, machine_id)
    loaded = LoadedTables(names=frozenset(info.name for info in segments))
    # The largest speak of most data: there is room in the cache for the small ones beside them.
    for info in sorted(segments, key=lambda info: (-info.size, info.name)):
        try:
            loaded.tables.append(_load_one(vault, info.name, keys, machine_id, cache))
        except SkyharborError as error:
            if error.code not in _BROKEN:
                raise
            loaded.problems.append(f"index segment skipped: {error.detail}")
    cache.tidy()
    if not segments and vault.points(machine_id):
        # Without this the next backup would store everything a second time, silently.
        loaded.problems.append(f"there are points but no index segment in {layout.index_prefix(machine_id)}")
    if loaded.problems:
        _recover(vault, machine_id, keys, loaded)
    return loaded


def load_newer(vault: Vault, machine_id: str, keys: DomainKeys, *, besides: Container[str]) -> LoadedTables:
    """Return the tables of segments that are not ``besides``: what others have stored meanwhile. Nothing is rebuilt."""
    newer = [info for info in _segments(vault, machine_id) if info.name not in besides]
    loaded, cache = LoadedTables(names=frozenset(info.name for info in newer)), IndexCache(None, vault.id, machine_id)
    for info in newer:
        try:
            loaded.tables.append(_load_one(vault, info.name, keys, machine_id, cache))
        except SkyharborError as error:
            if error.code not in _BROKEN:
                raise
            loaded.problems.append(f"index segment skipped: {error.detail}")
    return loaded


def pack_table(vault: Vault, pack: PackRef, keys: DomainKeys) -> tuple[ChunkTable, str | None]:
    """Return what a pack holds and, if its directory was of no use, why.

    Raises ``object-damaged`` or ``object-missing`` when the pack is beyond that.
    """
    try:
        return read_directory(vault.store, pack.name, pack.size, keys=keys, vault_id=vault.id), None
    except SkyharborError as error:
        if error.code != "object-damaged":
            raise
        return scan_frames(vault.store, pack.name, pack.size, keys=keys, vault_id=vault.id), error.detail


def _segments(vault: Vault, machine_id: str) -> list[ObjectInfo]:
    listed = vault.store.list(layout.index_prefix(machine_id))
    return [info for info in listed if layout.is_digest(info.name.rsplit("/", 1)[1])]


def _load_one(vault: Vault, name: str, keys: DomainKeys, machine_id: str, cache: IndexCache) -> ChunkTable:
    cached = cache.get(name)
    if cached is not None:
        # A rotten cache file is not the vault's problem: fetch again.
        with contextlib.suppress(SkyharborError):
            table = decode_index(cached, name=name, keys=keys, vault_id=vault.id, machine_id=machine_id)
            cache.settle(name, cached, data=_data_bytes(table), new=False)
            return table
    fetched = vault.store.get(name)
    table = decode_index(fetched, name=name, keys=keys, vault_id=vault.id, machine_id=machine_id)
    cache.settle(name, fetched, data=_data_bytes(table), new=True)
    return table


def _data_bytes(table: ChunkTable) -> int:
    """Return how many bytes of protected data a table speaks of: not those of pages, which are the vault's own."""
    kinds = [layout.parse_pack(info.name) for info in table.packs]
    of_data = np.array([kind is not None and kind[0] == layout.KIND_DATA for kind in kinds], dtype=bool)
    return int(table.segments["raw"][of_data[table.segments["pack"]]].sum(dtype=np.uint64))


def _recover(vault: Vault, machine_id: str, keys: DomainKeys, loaded: LoadedTables) -> None:
    covered = {info.name for table in loaded.tables for info in table.packs}
    wanted: dict[str, PackRef] = {}
    seen: dict[str, int] = {}
    for point in reversed(vault.points(machine_id)):
        seen[point.item_id] = seen.get(point.item_id, 0) + 1
        if seen[point.item_id] > _POINTS_PER_ITEM:
            continue
        try:
            manifest = read_manifest(vault, point, keys)
        except SkyharborError as error:
            if error.code not in _BROKEN:
                raise
            loaded.problems.append(f"manifest not used for the index: {error.detail}")
            continue
        wanted.update((pack.name, pack) for pack in manifest.packs if pack.name not in covered)
    for pack in wanted.values():
        try:
            table, problem = pack_table(vault, pack, keys)
        except SkyharborError as error:
            if error.code not in _BROKEN:
                raise
            problem = error.detail
        else:
            loaded.recovered.append(table)
        if problem:
            loaded.problems.append(f"pack directory not readable: {problem}")
