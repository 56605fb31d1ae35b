"""Reading a machine's index segments, through a local cache, and rebuilding what cannot be read.

Rule of the file: nothing that is wrong with an index segment, the cache or a pack stops a backup; a store that cannot
be reached does.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass, field

from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.vault import layout
from shared.vault.chunk_table import ChunkTable
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
    """What loading found."""

    tables: list[ChunkTable] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    recovered: list[ChunkTable] = field(default_factory=list)


def load_tables(vault: Vault, machine_id: str, keys: DomainKeys, *, cache_dir: str | None) -> LoadedTables:
    """Return all tables of the machine's index; see ``ChunkIndex.load``."""
    loaded = LoadedTables()
    cache = _Cache(cache_dir, vault.id, machine_id)
    names = [info.name for info in vault.store.list(layout.index_prefix(machine_id))]
    segments = [name for name in names if layout.is_digest(name.rsplit("/", 1)[1])]
    for name in segments:
        try:
            loaded.tables.append(_load_one(vault, name, keys, machine_id, cache))
        except SkyharborError as error:
            if error.code not in _BROKEN:
                raise
            loaded.problems.append(f"index segment skipped: {error.detail}")
    cache.keep_only(names)
    if not segments and vault.points(machine_id):
        # Without this the next backup would store everything a second time, silently.
        loaded.problems.append(f"there are points but no index segment in {layout.index_prefix(machine_id)}")
    if loaded.problems:
        _recover(vault, machine_id, keys, loaded)
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


def _load_one(vault: Vault, name: str, keys: DomainKeys, machine_id: str, cache: _Cache) -> ChunkTable:
    cached = cache.get(name)
    if cached is not None:
        # A rotten cache file is not the vault's problem: fetch again.
        with contextlib.suppress(SkyharborError):
            return decode_index(cached, name=name, keys=keys, vault_id=vault.id, machine_id=machine_id)
    data = vault.store.get(name)
    table = decode_index(data, name=name, keys=keys, vault_id=vault.id, machine_id=machine_id)
    cache.put(name, data)
    return table


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


class _Cache:
    """Index segments as files under ``<cache_dir>/<vault>/<machine>``; every failure means 'not cached'."""

    def __init__(self, cache_dir: str | None, vault_id: str, machine_id: str) -> None:
        self._folder = None if cache_dir is None else os.path.join(cache_dir, vault_id, machine_id)
        if self._folder is not None:
            with contextlib.suppress(OSError):
                os.makedirs(self._folder, mode=0o700, exist_ok=True)

    def get(self, name: str) -> bytes | None:
        if self._folder is None:
            return None
        try:
            with open(os.path.join(self._folder, name.rsplit("/", 1)[1]), "rb") as file:
                return file.read()
        except OSError:
            return None

    def put(self, name: str, data: bytes) -> None:
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            handle, temporary = tempfile.mkstemp(prefix=".new-", dir=self._folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                os.replace(temporary, os.path.join(self._folder, name.rsplit("/", 1)[1]))
            except OSError:
                os.unlink(temporary)
                raise

    def keep_only(self, names: list[str]) -> None:
        """Remove files of segments that the vault no longer lists."""
        if self._folder is None:
            return
        listed = {name.rsplit("/", 1)[1] for name in names}
        with contextlib.suppress(OSError):
            for entry in os.listdir(self._folder):
                if layout.is_digest(entry) and entry not in listed:
                    os.unlink(os.path.join(self._folder, entry))
