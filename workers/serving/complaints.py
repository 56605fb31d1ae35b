"""What is wrong with a served point, told once per place: a guest asks for the same bytes a hundred times.

Rule of the file: telling only; memory is bounded, whatever is damaged.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from shared.errors import SkyharborError
from workers.engine.notices import shown

_REMEMBERED = 4096


class Complaints:
    """Lines about damage for whoever looks after the serving process. Safe to share between threads."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told: OrderedDict[tuple[bytes, int, str], None] = OrderedDict()
        self._lock = threading.Lock()

    def about(self, path: bytes, offset: int, length: int, error: SkyharborError) -> None:
        """Tell that these bytes of a file cannot be read."""
        self._tell((path, offset, error.code), f"{shown(path)}: bytes {offset} to {offset + length - 1}: {error}")

    def about_names(self, path: bytes, error: SkyharborError) -> None:
        """Tell that entries of a folder, or the attributes of a node, cannot be read."""
        self._tell((path, -1, error.code), f"{shown(path)}: what is here cannot be read as a whole: {error}")

    def _tell(self, key: tuple[bytes, int, str], line: str) -> None:
        with self._lock:
            known = key in self._told
            self._told[key] = None
            self._told.move_to_end(key)
            if len(self._told) > _REMEMBERED:
                self._told.popitem(last=False)
        if not known:
            self._say(f"error: {line}")
