"""Writing data packs: chunks in, packs out, in whatever process reads the source.

Rule of the file: it stores what it is given and remembers nothing; which chunks are new is for ``PointWriter`` to say,
which packs exist is told by ``on_durable``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from typing_extensions import Buffer

from shared.crypto.domain_keys import DomainKeys
from shared.vault import layout
from shared.vault.pack_format import FinishedPack
from shared.vault.pack_stream import PackStream
from shared.vault.segment import encode_segment
from shared.vault.uploader import Uploader
from shared.vault.vault import Vault

DATA_PACK = 32 * 1024 * 1024


class ChunkWriter:
    """Compresses, encrypts and packs chunks. Safe to share between threads.

    ``on_durable`` is called, in a thread of the uploader, for every pack that has become durable. After a failure
    (raised at whatever call comes next) only ``abort`` may be called.
    """

    def __init__(
        self,
        vault: Vault,
        keys: DomainKeys,
        *,
        on_durable: Callable[[FinishedPack], None],
        zstd_level: int,
        data_pack: int = DATA_PACK,
        in_flight: int = 1,
    ) -> None:
        self._level = zstd_level
        self._uploader = Uploader(vault.store, on_durable, threads=in_flight)
        self._data = PackStream(keys, self._uploader, vault_id=vault.id, kind=layout.KIND_DATA, target=data_pack)

    def add_segment(
        self, ids: Sequence[bytes], chunks: Sequence[Buffer], *, whole: memoryview | None = None, effort: int = 0
    ) -> None:
        """Compress chunks together in this thread and append them to the open data pack.

        The ids must be those of the chunks; ``whole`` is the chunks as one buffer, where there is one;
        ``effort`` is how many levels of zstd above the point's own they are worth.
        1-4 MiB in all is best; waits while enough full packs are on their way.
        """
        self._uploader.check()
        if len(ids) != len(chunks):
            raise ValueError("every chunk needs its id")
        if chunks:
            self._data.append(ids, encode_segment(chunks, self._level + effort, whole=whole))

    def check(self) -> None:
        """Raise the first failure of a put, if there was one."""
        self._uploader.check()

    def flush(self) -> None:
        """Make everything given so far durable. Waits for that; ``on_durable`` was called for all of it."""
        self._data.flush()
        self._uploader.drain()

    def close(self) -> None:
        """End after the last ``flush``: nothing more can be given."""
        self._uploader.stop()

    def abort(self) -> None:
        """Write nothing more: buffers are dropped, puts that have begun are waited for. Idempotent."""
        self._uploader.stop()
        self._data.drop()
