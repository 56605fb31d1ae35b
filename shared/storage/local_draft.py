"""An object in the making on a local file system: a temporary file that gets its name when it is whole and synced.

Rule of the file: the file appears under its name by a link that never replaces one, or it is removed; whatever the
store does meanwhile (be closed, be opened again), the draft stays in the folder in which it was begun.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence

from typing_extensions import Buffer

from shared.storage.local_files import discard, is_object, link_or_rename, store_errors, sync, sync_folder, write_all
from shared.storage.names import TEMPORARY, check_name

_MODE = 0o400
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class LocalDraft:
    """See the port. ``make_folder`` makes a folder below the descriptor it is given, and makes that durable."""

    def __init__(self, root: int, *, url: str, make_folder: Callable[[int, str], None]) -> None:
        """Begin in the store's folder, in which the one of temporary files exists. OSError when that fails."""
        self._url = url
        self._make_folder = make_folder
        self._temporary = f"{TEMPORARY}/{os.getpid()}-{secrets.token_hex(8)}"
        self._root = os.dup(root)
        try:
            self._descriptor: int | None = os.open(self._temporary, _FLAGS, _MODE, dir_fd=root)
        except OSError:
            os.close(self._root)
            raise

    def write(self, parts: Sequence[Buffer]) -> None:
        """See the port."""
        with store_errors(f"a new object in {self._url}"):
            write_all(self._open(), parts)

    def commit(self, name: str) -> bool:
        """See the port."""
        check_name(name)
        descriptor = self._open()
        try:
            with store_errors(f"{name} in {self._url}"):
                folder = os.path.dirname(name)
                self._make_folder(self._root, folder)
                created = not is_object(self._root, name) and self._publish(descriptor, name)
                # Also when it was there: its creator may not have come to this line yet.
                sync_folder(self._root, folder)
                return created
        finally:
            self.abort()

    def abort(self) -> None:
        """See the port."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        os.close(descriptor)
        discard(self._root, self._temporary)
        os.close(self._root)

    def _publish(self, descriptor: int, name: str) -> bool:
        sync(descriptor)
        return link_or_rename(self._root, descriptor, self._temporary, name)

    def _open(self) -> int:
        if self._descriptor is None:
            raise RuntimeError("the draft has ended")
        return self._descriptor
