"""The index: which chunks a machine's vault holds, and where.

Rule of the file: it is a cache of the packs' directories. A damaged or missing part costs bytes stored twice, never
data: it is reported and rebuilt from the packs that the machine's points name.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from shared.crypto.domain_keys import DomainKeys
from shared.vault.chunk_table import ABSENT, I64, ID_SIZE, Bool, ChunkTable, Location, PackInfo, merge
from shared.vault.index_loading import load_newer, load_tables
from shared.vault.pack_presence import absent_packs, marked_packs
from shared.vault.pack_set import PackSet
from shared.vault.vault import Vault

_MAX_TABLES = 8
_BIG = 200_000
_FEW = 8  # up to here ids are quicker one by one


class PackFilter:
    """The packs of one point, as a question to tables. Safe to share between threads; costs little per look-up."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        # Weak, because an index replaces its tables while it grows.
        self._allowed: WeakKeyDictionary[ChunkTable, Bool] = WeakKeyDictionary()

    def of(self, table: ChunkTable) -> Bool:
        """Return for every pack of the table whether it is one of these."""
        allowed = self._allowed.get(table)
        if allowed is None:
            allowed = np.array([info.name in self.names for info in table.packs], dtype=bool)
            self._allowed[table] = allowed
        return allowed


class ChunkIndex:
    """Chunks in durable packs. Safe to share between threads; grows while packs are written.

    ``problems`` says what could not be read at loading, one line each. ``recovered`` holds what was rebuilt from
    packs: the next index segment that is written includes it.
    """

    def __init__(
        self,
        tables: Sequence[ChunkTable] = (),
        *,
        problems: Sequence[str] = (),
        recovered: Sequence[ChunkTable] = (),
        segments: frozenset[str] = frozenset(),
    ) -> None:
        everything = [*tables, *recovered]
        self.problems = list(problems)
        self.recovered = tuple(recovered)
        self._tables: tuple[ChunkTable, ...] = (merge(everything),) if everything else ()
        self._forgotten = PackSet()
        self._segments = segments
        self._lock = threading.Lock()

    @classmethod
    def load(cls, vault: Vault, machine_id: str, keys: DomainKeys, *, cache_dir: str | None) -> ChunkIndex:
        """Read all index segments of the machine; 44 bytes of memory per chunk when done, twice that meanwhile.

        With ``cache_dir`` the (encrypted) segments are kept there and only new ones are fetched; the folder may be
        shared, thrown away or unwritable at any time. Segments that cannot be read are listed in ``problems``.
        Raises only what the store raises when it cannot be reached or refuses.
        """
        loaded = load_tables(vault, machine_id, keys, cache_dir=cache_dir)
        return cls(loaded.tables, problems=loaded.problems, recovered=loaded.recovered, segments=loaded.names)

    def catch_up(self, vault: Vault, machine_id: str, keys: DomainKeys) -> None:
        """Add what others have stored since the index was loaded, as far as they have written it down by now.

        What was forgotten stays forgotten. Packs that are here already are not added again. One thread.
        """
        newer = load_newer(vault, machine_id, keys, besides=self._segments)
        self._segments |= newer.names
        self.problems += newer.problems
        for table in newer.tables:
            here = self.pack_names()
            self.add(table.without(np.array([info.name in here for info in table.packs], dtype=bool)))

    def __len__(self) -> int:
        """Number of rows: an id that is stored twice counts twice."""
        return sum(len(table) for table in self._tables)

    @property
    def nbytes(self) -> int:
        """Memory of the columns."""
        return sum(table.nbytes for table in self._tables)

    def __contains__(self, chunk_id: object) -> bool:
        return isinstance(chunk_id, bytes) and any(table.row_of(chunk_id) != ABSENT for table in self._tables)

    def contains_many(self, ids: bytes | Sequence[bytes]) -> Bool:
        """Return for every id (concatenated, or a sequence) whether it is there. One call for many is far cheaper."""
        joined = _joined(ids)
        known = np.zeros(len(joined) // ID_SIZE, dtype=bool)
        for table in self._tables:
            known |= table.find(joined) != ABSENT
        return known

    def contains_all(self, ids: bytes | Sequence[bytes]) -> bool:
        """Tell whether every id is there; True for none."""
        return bool(self.contains_many(ids).all())

    def locate(self, ids: bytes | Sequence[bytes], *, packs: PackFilter | None = None) -> list[Location | None]:
        """Return where each chunk is, None if unknown. With ``packs`` only copies in those count."""
        joined = _joined(ids)
        if len(joined) <= _FEW * ID_SIZE:
            return [self._locate_one(joined[at : at + ID_SIZE], packs) for at in range(0, len(joined), ID_SIZE)]
        places: list[Location | None] = [None] * (len(joined) // ID_SIZE)
        for table, at, rows in self._rows(joined, packs):
            for place, location in zip(at.tolist(), table.locations(rows), strict=True):
                places[place] = location
        return places

    def copies(self, chunk_id: bytes) -> list[Location]:
        """Return every place that the chunk is said to be at."""
        return [table.location(row) for table in self._tables for row in table.rows_of(chunk_id)]

    def packs_of(self, ids: bytes) -> tuple[set[PackInfo], bytes]:
        """Return the packs that hold the chunks (one copy of each), and the ids that are not there."""
        packs: set[PackInfo] = set()
        missing = np.ones(len(ids) // ID_SIZE, dtype=bool)
        for table, at, rows in self._rows(ids, None):
            packs.update(table.packs[number] for number in table.packs_at(rows))
            missing[at] = False
        if not missing.any():
            return packs, b""
        return packs, np.frombuffer(ids, dtype=np.uint8).reshape(-1, ID_SIZE)[missing].tobytes()

    def pack_names(self) -> set[str]:
        """Return the names of all packs that the index covers."""
        return {info.name for table in self._tables for info in table.packs}

    def tables_of(self, ids: bytes, *, first: PackFilter) -> list[ChunkTable]:
        """Return all rows of these ids as small tables: those in the packs that come ``first``, then the others."""
        found = [(table, table.rows_like(ids)) for table in self._tables]
        chosen = [(table, rows, first.of(table)[table.pack_numbers(rows)]) for table, rows in found if len(rows)]
        return [table.take(rows[mine]) for table, rows, mine in chosen if mine.any()] + [
            table.take(rows[~mine]) for table, rows, mine in chosen if not mine.all()
        ]

    def add(self, table: ChunkTable) -> None:
        """Add the chunks of a pack that is durable now. Small tables are merged, so look-ups stay few.

        What was forgotten stays forgotten, wherever it is met again.
        """
        with self._lock:
            tables = [*self._tables, self._remembered(table)]
            if len(tables) > _MAX_TABLES:
                # Small ones first; a big one is only rewritten when the small ones together are as big.
                small = [one for one in tables if len(one) < _BIG]
                big = [one for one in tables if len(one) >= _BIG]
                tables = [*big, merge(small)] if len(small) > 1 else [merge(tables)]
            self._tables = tuple(tables)

    def recover(self, table: ChunkTable) -> None:
        """Add the chunks of a pack that no index segment covers; the next one that is written includes them.

        Before a writer begins.
        """
        self.recovered += (self._remembered(table),)
        self.add(table)

    def drop_missing_packs(self, vault: Vault) -> list[str]:
        """Forget chunks in packs that are not in the store with their right size, or are marked as damaged.

        Returns the names of these packs. What is forgotten is stored again by the backup that reads it, which heals
        the vault. It is forgotten in this index only, because index segments are never changed: every backup must
        begin with this call, or it would rely on what another one has found to be gone. Lists all packs of the vault:
        about a second per 10,000 of them on S3, a few hundredths on a local disk.
        """
        sizes = {info.name: info.size for table in self._tables for info in table.packs}
        absent = absent_packs(vault, sizes)
        marked = marked_packs(vault)
        damaged = [name for name in sizes if name.rsplit("/", 1)[1] in marked] if marked else []
        gone = frozenset([*absent, *damaged])
        if gone:
            self.forget(gone)
            self.problems += [f"pack is missing, damaged or has another size: {name}" for name in sorted(gone)]
        return sorted(gone)

    def forget(self, packs: Iterable[str]) -> None:
        """Forget these packs for good, as far as this index goes: whatever names them later is not added.

        Before a writer begins. A pack that a ``PackSet`` takes for one of them costs being stored again.
        """
        gone = PackSet(packs)  # they may come page by page from afar
        with self._lock:
            self._forgotten.merge(gone)
            self._tables = tuple(self._remembered(table) for table in self._tables)
            self.recovered = tuple(self._remembered(table) for table in self.recovered)

    @property
    def forgotten(self) -> PackSet:
        """The packs that were forgotten."""
        return self._forgotten

    def _remembered(self, table: ChunkTable) -> ChunkTable:
        if not len(self._forgotten):
            return table
        return table.without(self._forgotten.holds([info.name for info in table.packs]))

    def _locate_one(self, chunk_id: bytes, packs: PackFilter | None) -> Location | None:
        for table in self._tables:
            row = table.row_of(chunk_id, packs=None if packs is None else packs.of(table))
            if row != ABSENT:
                return table.location(row)
        return None

    def _rows(self, ids: bytes, packs: PackFilter | None) -> list[tuple[ChunkTable, I64, I64]]:
        """Return for every table which of the ids (positions) it answers, and with which rows."""
        out = []
        open_ = np.arange(len(ids) // ID_SIZE)
        words = np.frombuffer(ids, dtype=np.uint8).reshape(-1, ID_SIZE)
        for table in self._tables:
            allowed = None if packs is None else packs.of(table)
            rows = table.find(ids if len(open_) == len(words) else words[open_].tobytes(), packs=allowed)
            hit = rows != ABSENT
            out.append((table, open_[hit], rows[hit]))
            open_ = open_[~hit]
            if not len(open_):
                break
        return out


def _joined(ids: bytes | Sequence[bytes]) -> bytes:
    return ids if isinstance(ids, bytes) else b"".join(ids)
