"""Predicts what a first backup adds beside the data: the worker's cache, and what the vault says about the files.

The counts are those of a scan, which reads nothing. The formula is in ``footprint_of``; its constants are measured, on
trees of 1,000 to 130,000 nodes (``python -m tests.benchmarks.footprint`` does it again), where the shape of the numbers
comes from the format (``docs/format``).

Rule of the file: numbers in, numbers out. It knows the engine's and the vault's rules by their own constants.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.vault.index_cache import SHARE
from workers.engine.chunker import AVERAGE_CHUNK
from workers.engine.ports import Found, Stat
from workers.engine.reading import LARGE_FILE

_ROW = 40
_ID = 32
_NODE = 16
_NODES_PER_PAGE = 256 + 64
_SMALLEST = 512
"""What an object of the vault takes without anything in it, generously: head, packs, tag of the cipher."""

_KIND, _FILE, _DIRECTORY = 0o170000, 0o100000, 0o040000
_SECTOR = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What a first backup will add. ``index`` and ``pages`` are bytes of the vault, ``cache`` those of the worker."""

    chunks: int
    cache: int
    index: int
    pages: int


class Census:
    """Counts what a scan meets: ``files`` are all nodes but directories, ``bytes`` their logical size, links once."""

    def __init__(self) -> None:
        self.files = 0
        self.directories = 0
        self.bytes = 0
        self.stored = 0
        """Bytes without the holes of large files, as far as the file system tells: one that compresses tells less."""
        self.chunks = 0
        self._several_names: set[tuple[int, int]] = set()

    def take(self, found: Found) -> None:
        """Count a block of nodes."""
        for info in found.stats:
            kind = info.st_mode & _KIND
            if kind == _DIRECTORY:
                self.directories += 1
                continue
            self.files += 1
            if kind == _FILE and info.st_size and not (info.st_nlink > 1 and self._is_further_name(info)):
                self._take_content(info)

    def _take_content(self, info: Stat) -> None:
        self.bytes += info.st_size
        if info.st_size < LARGE_FILE:
            self.stored += info.st_size
            self.chunks += 1
            return
        stored = min(info.st_size, getattr(info, "st_blocks", info.st_size) * _SECTOR)
        self.stored += stored
        self.chunks += -(-stored // AVERAGE_CHUNK)

    def _is_further_name(self, info: Stat) -> bool:
        node = (info.st_dev, info.st_ino)
        if node in self._several_names:
            return True
        self._several_names.add(node)
        return False


def footprint_of(census: Census) -> Footprint:
    """Predict what a first backup of what was counted adds.

    - Chunks: one for each file that is not empty and below 1 MiB; one for each 2 MiB of larger ones (``chunker``).
    - Index: a row for each chunk and each page. A row is 44 bytes, of which 32 are an id, which nothing compresses;
      measured are 39 to 41 for all of it.
    - Pages: for each chunk its id again, and 16 bytes for each node, in place of 75 and the path, which compress well
      because neighbours are alike; measured are 12 to 19. A page holds 320 nodes on average (``pages``: it ends at one
      path in 256 once it has 64).
    - Cache: the index, unless that is more than a hundredth of the data (``index_cache``): then nothing.

    Equal files are counted as often as they are there, so a tree with many of them comes out below.
    """
    nodes = census.files + census.directories
    pages = -(-nodes // _NODES_PER_PAGE)
    index = _SMALLEST + _ROW * (census.chunks + pages)
    return Footprint(
        chunks=census.chunks,
        cache=index if index * SHARE <= census.stored else 0,
        index=index,
        pages=_SMALLEST + _ID * census.chunks + _NODE * nodes,
    )
