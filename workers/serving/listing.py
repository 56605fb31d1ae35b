"""One reading of a folder, in pieces as large as the kernel asks for.

Rule of the file: a folder of any size costs one page. Where names may be missing, all the others come first and then an
error: a list that ends without one is complete.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator

from shared.errors import SkyharborError
from workers.serving.complaints import Complaints
from workers.serving.tree import Child, Tree


class Listing:
    """The children of a folder from any position on; they are numbered from 1. Hold ``lock`` while using it."""

    def __init__(self, tree: Tree, path: bytes, complaints: Complaints) -> None:
        self.path = path
        self.lock = threading.Lock()
        self._tree, self._complaints = tree, complaints
        self._at = 0
        self._waiting: Child | None = None
        self._error: SkyharborError | None = None
        self._children = tree.children(path)

    def after(self, position: int) -> Iterator[tuple[int, Child]]:
        """Yield the numbered children behind a position. What was yielded last and not taken is yielded again.

        ``OSError`` at the end when something could not be read.
        """
        if position < self._at:  # somebody has gone back
            self._at, self._waiting, self._error = 0, None, None
            self._children = self._tree.children(self.path)
        while (child := self._next()) is not None:
            if self._at < position:
                self._take()
                continue
            yield self._at + 1, child
            self._take()
        if self._error is not None:
            raise OSError(errno.EIO, str(self._error))

    def _take(self) -> None:
        self._at += 1
        self._waiting = None

    def _next(self) -> Child | None:
        """Return the child at the position, None at the end."""
        while self._waiting is None:
            outcome = next(self._children, None)
            if outcome is None:
                return None
            if isinstance(outcome, SkyharborError):
                self._error = outcome
                self._complaints.about_names(self.path, outcome)
            else:
                self._waiting = outcome
        return self._waiting
