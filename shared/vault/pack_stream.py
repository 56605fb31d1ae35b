"""One open pack after the other of one kind: where segments of any thread go.

Rule of the file: appending is the only thing under the lock; compressing came before, finishing and putting come after.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from shared.crypto.domain_keys import DomainKeys
from shared.vault.pack_format import PackBuilder
from shared.vault.segment import Encoded
from shared.vault.uploader import Uploader


class PackStream:
    """Fills packs of ``kind`` up to about ``target`` stored bytes. Safe to share between threads."""

    def __init__(self, keys: DomainKeys, uploader: Uploader, *, vault_id: str, kind: int, target: int) -> None:
        self._keys, self._uploader = keys, uploader
        self._vault_id, self._kind, self._target = vault_id, kind, target
        self._lock = threading.Lock()
        self._open: PackBuilder | None = None

    def append(self, ids: Sequence[bytes], segment: Encoded) -> None:
        """Encrypt the segment into the open pack and send that off when it is full (which may wait for room).

        Raises the failure of any pack before it, or of this one, as does everything that comes after it.
        """
        with self._lock:
            pack = self._opened()
            try:
                pack.add(ids, segment)
            except BaseException as error:
                # What is in the draft now is no pack any more, and the chunks before this segment are lost with it.
                self._open = None
                pack.abort()
                self._uploader.fail(error)
                raise
            if pack.size >= self._target:
                # Waiting for room under the lock holds the other threads back too: that is what bounds memory.
                self._open = None
                self._uploader.submit(pack)

    def flush(self) -> None:
        """Send off the open pack, however small."""
        with self._lock:
            pack, self._open = self._open, None
            if pack:
                self._uploader.submit(pack)

    def drop(self) -> None:
        """Forget the open pack."""
        with self._lock:
            pack, self._open = self._open, None
            if pack:
                pack.abort()

    def _opened(self) -> PackBuilder:
        self._uploader.check()
        if self._open is None:
            self._open = PackBuilder(self._keys, self._uploader.begin(), vault_id=self._vault_id, kind=self._kind)
        return self._open
