"""Writes files of a point where a cluster wants them, in the order in which they lie in the vault.

Rule of the file: whatever cannot be written ends everything: a cluster without one of its files is none.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from shared.errors import SkyharborError
from shared.vault.chunk_table import ID_SIZE
from shared.vault.entry import Entry
from shared.vault.reader import PointReader
from workers.engine.file_writing import fill, raise_if_full
from workers.engine.notices import reason
from workers.sources.postgres import increments

_THREADS = 4
_BATCH = 64
_BATCH_BYTES = 16 << 20


class Owner(NamedTuple):
    """To whom the restored files belong; None for whoever they belonged to at the source."""

    uid: int
    gid: int


class Placed(NamedTuple):
    """A file and its path in the target; ``layers`` are the increments to put on top, oldest first."""

    entry: Entry
    path: bytes
    layers: Sequence[Entry] = ()


class Unpacking:
    """Writes into new places only. ``check`` raises to stop; ``told`` hears how many bytes were written."""

    def __init__(
        self, reader: PointReader, *, owner: Owner | None, check: Callable[[], None], told: Callable[[int, int], None]
    ) -> None:
        self._reader, self._owner, self._check, self._told = reader, owner, check, told
        self.files = self.folders = self.bytes = 0
        self._undressed: list[tuple[bytes, Entry | None, int]] = []

    def folder(self, path: bytes, entry: Entry | None, *, mode: int | None = None) -> None:
        """Make a directory, and those above it; one that is there already is shared. ``dress_folders`` finishes it."""
        with telling(path):
            os.makedirs(path, mode=stat.S_IRWXU, exist_ok=True)
        self._undressed.append((path, entry, mode if mode is not None else entry.mode if entry else stat.S_IRWXU))
        self.folders += 1

    def dress_folders(self, *, but: Sequence[bytes] = ()) -> None:
        """Give directories their owner and mode, the deepest first: until then they are ours to write into."""
        waiting, self._undressed = self._undressed, []
        for path, entry, mode in sorted(waiting, key=lambda one: one[0], reverse=True):
            if path in but:
                self._undressed.append((path, entry, mode))
                continue
            with telling(path):
                self._dress(path, entry, mode)

    def link(self, path: bytes, target: bytes) -> None:
        """Make a symlink."""
        with telling(path):
            os.symlink(target, path)
            self._own(path, None)

    def small(self, path: bytes, data: bytes, like: Entry | None) -> None:
        """Write a file that is there as bytes."""
        with telling(path):
            with open(path, "xb") as file:
                file.write(data)
            self._dress(path, like, like.mode if like else stat.S_IRUSR | stat.S_IWUSR)
        self.files += 1
        self.bytes += len(data)

    def content(self, entry: Entry) -> bytes:
        """Return the content of a small file."""
        return b"".join(self._reader.read_chunks(entry.chunks))

    def files_of(self, placed: Sequence[Placed]) -> None:
        """Write files. Raises ``object-damaged``, ``object-missing``, ``target-full`` and ``target-invalid``."""
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="unpack") as pool:
            calls = []
            try:
                for batch in _batches(self._in_order(placed)):
                    calls.append(pool.submit(self._write, batch))
                    while len(calls) > 2 * _THREADS:
                        self._settle(*calls.pop(0).result())
                for call in calls:
                    self._settle(*call.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _settle(self, files: int, size: int) -> None:
        self.files += files
        self.bytes += size
        self._check()
        self._told(self.files, self.bytes)

    def _in_order(self, placed: Sequence[Placed]) -> list[Placed]:
        """Return files in the order of the vault, so that each segment of it is fetched once."""
        places = iter(self._reader.finder.find(b"".join(one.entry.chunks[:ID_SIZE] for one in placed)))
        found = [(next(places) if one.entry.chunks else None, one) for one in placed]
        found.sort(key=lambda pair: (pair[0].pack, pair[0].offset, pair[0].raw_offset) if pair[0] else ("", 0, 0))
        return [one for _, one in found]

    def _write(self, batch: Sequence[Placed]) -> tuple[int, int]:
        size = 0
        for one in batch:
            with telling(one.path):
                fd = os.open(one.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, stat.S_IRUSR | stat.S_IWUSR)
                try:
                    fill(fd, one.entry, self._reader.read_chunks(one.entry.chunks), _never)
                    if one.layers:
                        layers = (self._reader.read_chunks(layer.chunks) for layer in one.layers)
                        increments.apply(fd, layers, _never)
                    size += os.fstat(fd).st_size
                finally:
                    os.close(fd)
                self._dress(one.path, one.layers[-1] if one.layers else one.entry, None)
        return len(batch), size

    def _dress(self, path: bytes, entry: Entry | None, mode: int | None) -> None:
        self._own(path, entry)
        os.chmod(path, mode if mode is not None else entry.mode if entry else stat.S_IRUSR | stat.S_IWUSR)

    def _own(self, path: bytes, entry: Entry | None) -> None:
        if os.geteuid() != 0:
            return
        if self._owner is not None:
            os.chown(path, self._owner.uid, self._owner.gid, follow_symlinks=False)
        elif entry is not None:
            os.chown(path, entry.uid, entry.gid, follow_symlinks=False)


class telling:  # noqa: N801 - used as a function
    """Turns what the operating system refuses into an error about the target."""

    def __init__(self, path: bytes) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise_if_full(error)
            raise SkyharborError("target-invalid", f"{os.fsdecode(self._path)}: {reason(error)}") from error


def _batches(placed: Sequence[Placed]) -> Iterator[list[Placed]]:
    batch: list[Placed] = []
    size = 0
    for one in placed:
        batch.append(one)
        size += one.entry.size
        if len(batch) >= _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _never() -> None:
    """A check of threads that are asked by the one that waits for them."""
