"""What every thread that reads has one of, made when it first wants it.

Rule of the file: no locks; nothing is shared.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class PerThread(Generic[_T]):
    """Called, it returns the calling thread's own."""

    def __init__(self, make: Callable[[], _T]) -> None:
        self._make = make
        self._threads = threading.local()

    def __call__(self) -> _T:
        """Return it, made if need be."""
        own: _T | None = getattr(self._threads, "own", None)
        if own is None:
            own = self._threads.own = self._make()
        return own
