"""The scratch cache of a worker: index segments as they lie in the vault, as files of this machine.

It is disposable: whatever happens to it (deleted, changed, full, unwritable, shared by two processes) costs fetching
segments from the vault again, and nothing else. And it is small: all it holds of a machine takes at most one part in a
hundred of the data that those segments speak of, which is less than is protected, as equal data is there once. An index
takes about 40 bytes for each chunk, so that only trees of files below about four kilobytes on average have to do
without.

Rule of the file: every failure means "not cached".
"""

from __future__ import annotations

import contextlib
import os
import tempfile

from shared.vault import layout

SHARE = 100
"""The cache is at most one part in so many of the data."""

_NEW = ".new-"


class IndexCache:
    """Files under ``<cache_dir>/<vault>/<machine>`` for one loading of the index; None for no cache at all.

    Use: ``get`` and ``settle`` for each segment, the largest first, then ``tidy``.
    """

    def __init__(self, cache_dir: str | None, vault_id: str, machine_id: str) -> None:
        self._folder = None if cache_dir is None else os.path.join(cache_dir, vault_id, machine_id)
        self._kept: set[str] = set()
        self._used = self._data = 0
        if self._folder is not None:
            with contextlib.suppress(OSError):
                os.makedirs(self._folder, mode=0o700, exist_ok=True)

    def get(self, name: str) -> bytes | None:
        """Return what the file of a segment holds, which may be anything; None when there is none."""
        if self._folder is None:
            return None
        try:
            with open(os.path.join(self._folder, _file(name)), "rb") as file:
                return file.read()
        except OSError:
            return None

    def settle(self, name: str, content: bytes, *, data: int, new: bool) -> None:
        """Decide whether a segment stays, and write its file if it is ``new``.

        ``data`` is how many bytes of protected data it speaks of.
        """
        self._data += data
        if (self._used + len(content)) * SHARE > self._data:
            return
        self._used += len(content)
        self._kept.add(_file(name))
        if new:
            self._put(_file(name), content)

    def tidy(self) -> None:
        """Remove every file that has not been settled to stay, and what writes that failed have left."""
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            for entry in os.listdir(self._folder):
                # A file in the making by another process may be among them: it does without.
                if entry.startswith(_NEW) or (layout.is_digest(entry) and entry not in self._kept):
                    os.unlink(os.path.join(self._folder, entry))

    def _put(self, file_name: str, content: bytes) -> None:
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            handle, temporary = tempfile.mkstemp(prefix=_NEW, dir=self._folder)  # ``tidy`` removes it if need be
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, os.path.join(self._folder, file_name))


def _file(name: str) -> str:
    return name.rsplit("/", 1)[1]
